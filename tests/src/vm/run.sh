# The test's script, and the way back.
# Without translation of newlines, without echo.
stty -F /dev/ttyS1 raw -echo
sh -c '. /functions; . /script' </dev/null >/dev/ttyS1 2>&1
status=$?
if ! tar -cf /dev/disk-out -C /out .; then
    status=99
fi
sync
printf '\nktape-guest-exit %s\n' "$status" >/dev/ttyS1
poweroff -f
