# What the scripts of tests may use.

# record NAME ARGS...: capture to /out/NAME, and return when it records.
record() {
    recording=/out/$1
    shift
    ktape capture -o "$recording" "$@" </dev/null >/dev/null 2>"$recording.err" &
    recorder=$!
    tries=0
    until grep -qs '^ktape: recording to ' "$recording.err"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 400 ] || ! kill -0 "$recorder"; then
            cat "$recording.err"
            echo "no recording"
            exit 98
        fi
        sleep 0.1
    done
}

# End it. A shell's background processes ignore Ctrl-C.
recorded() {
    kill -TERM "$recorder"
    wait "$recorder" || { cat "$recording.err"; echo "the recording failed"; exit 97; }
}

# until_true COMMAND...: try for 30 s.
until_true() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ]; then
            echo "waited in vain for: $*"
            tail -n 20 /out/*.log
            exit 96
        fi
        sleep 0.1
    done
}

# device NAME: major:minor of /dev/disk-NAME.
device() {
    disk=$(readlink "/dev/disk-$1")
    cat "/sys/block/${disk##*/}/dev"
}

# is_clean: whether no page waits to be written.
is_clean() {
    [ "$(awk '/^(Dirty|Writeback):/ { sum += $2 } END { print sum }' /proc/meminfo)" -eq 0 ]
}
