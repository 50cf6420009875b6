# Runs the test's script and returns its output, its exit status and /out.
# A serial line must not translate newlines or echo.
stty -F /dev/ttyS1 raw -echo
sh -c '. /functions; . /script' </dev/null >/dev/ttyS1 2>&1
status=$?
if ! tar -cf /dev/disk-out -C /out .; then
    status=99
fi
sync
printf '\nktape-guest-exit %s\n' "$status" >/dev/ttyS1
poweroff -f
