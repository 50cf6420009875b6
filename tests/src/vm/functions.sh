# Functions for the tests' scripts.

# record NAME ARGS...: start a capture to /out/NAME, and wait until it records.
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
            echo "ktape did not start recording"
            exit 98
        fi
        sleep 0.1
    done
}

# recorded: stop the capture. With SIGTERM, because background processes of a shell ignore SIGINT.
recorded() {
    kill -TERM "$recorder"
    wait "$recorder" || { cat "$recording.err"; echo "ktape failed"; exit 97; }
}

# until_true COMMAND...: repeat a command until it succeeds, at most 30 s.
until_true() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ]; then
            echo "timeout: waited for: $*"
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

# is_clean: whether there are no dirty pages.
is_clean() {
    [ "$(awk '/^(Dirty|Writeback):/ { sum += $2 } END { print sum }' /proc/meminfo)" -eq 0 ]
}
