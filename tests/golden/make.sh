#!/bin/sh
# Makes the captures of this directory anew, as root, with the release binary and ktape-workload in PATH. They are made once
# for each version of the format, and kept from then on. `KTAPE_GOLDEN=write cargo test -p ktape --test offline` writes what is
# expected of them: review it before you commit it.
set -eu
cd "$(dirname "$0")"
version=0.1
cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
id=4f3c2a9b8d7e4f3c2a9b8d7e4f3c2a9b8d7e4f3c2a9b8d7e4f3c2a9b8d7e4f3c
group=$cgroups/docker/$id
mkdir -p "$group"
trap 'rmdir "$group" "$cgroups/docker" 2>/dev/null || true' EXIT

# Calls, processes and signals of a container and of the host.
rm -f calls-$version.ktape
ktape capture -o calls-$version.ktape --label team=golden --label 'note=a b' \
    -e getppid,openat,read,kill,execve,exit_group,fork,exec,exit,signal,cgroup_attach -- \
    sh -c 'echo $$ >"$1/cgroup.procs"; cat /etc/hostname /none >/dev/null 2>&1; ktape-workload getppid 20; kill -0 $$;
        (kill -TERM $$; :) & sleep 5' sh "$group" || true

# Every kind that can be had in two seconds.
rm -f kinds-$version.ktape file
ktape capture -o kinds-$version.ktape -e switch,block,net,stall,sample,exec,connect,fsync --sample 1s -- \
    sh -c 'dd if=/dev/zero of=file bs=64k count=8 oflag=direct conv=fsync 2>/dev/null; ktape-workload tcp-many 3; sleep 1.2'
rm -f file

# A recorder that was killed: no index, and the end of a chunk is missing.
rm -f whole
ktape capture -o whole -e getppid -- ktape-workload rate 300 3
head -c $(($(wc -c <whole) - 17000)) whole >killed-$version.ktape
rm -f whole
