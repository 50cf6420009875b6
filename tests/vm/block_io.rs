//! Disks in a virtual machine, where cgroup2 has `io` and `memory`: whose pages a kernel thread writes, and whether a
//! disk or a limit is slow.

use std::path::Path;

use ktape_tests::container::Options;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, int, text, truth};
use ktape_tests::vm::{Disk, Guest, Ran, kernel};
use ktape_tests::workload;
use serde_json::{Value, json};

const MIB: i64 = 1 << 20;
const SECOND: i64 = 1_000_000_000;

/// The requests of a device, given as major:minor.
fn requests(file: &Path, device: &str) -> Vec<Value> {
    ktape::replay_json(file, &["-e", "block"])
        .into_iter()
        .filter(|event| text(event, "block.devno") == Some(device))
        .collect()
}

fn sum<'a>(events: impl IntoIterator<Item = &'a Value>, field: &str) -> i64 {
    events.into_iter().filter_map(|event| int(event, field)).sum()
}

/// A line `KEY REST` of what the script printed.
fn said<'a>(ran: &'a Ran, key: &str) -> &'a str {
    ran.output
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no line {key}:\n{}", ran.output))
}

/// `key=NUMBER` of a line of `io.stat`.
fn accounted(io_stat: &str, key: &str) -> i64 {
    let value = io_stat.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    value.expect("a key of io.stat").parse().expect("a number")
}

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn written_back_pages_belong_to_the_container_that_dirtied_them() {
    let _guard = Guard::shared();
    let mut guest = Guest::new(&kernel(), workload!());
    let sizes = [("a", 24), ("b", 10)];
    for (name, mib) in sizes {
        let load = format!(
            "dd if=/dev/zero of=/mnt/{name} bs=64k count={} && echo written && exec sleep 80",
            mib * 16
        );
        let args = ["/bin/sh", "-c", load.as_str()];
        let cgroup = format!("/docker/{}", name.repeat(64));
        guest = guest.bundle(name, &Options { cgroup: &cgroup, args: &args, seccomp: false }, |config| {
            let mount = json!({ "destination": "/mnt", "type": "bind", "source": "/mnt", "options": ["rbind", "rw"] });
            config["mounts"].as_array_mut().expect("a list").push(mount);
        });
    }
    let ran = guest.disk(Disk::new("data", 256 << 20).ext4()).run(
        "mount -t ext4 /dev/disk-data /mnt || exit 1
        echo device $(device data)
        # Nothing is written before both are done, and then at once, by kernel threads.
        echo 60000 >/proc/sys/vm/dirty_expire_centisecs
        echo 0 >/proc/sys/vm/dirty_writeback_centisecs
        echo 90 >/proc/sys/vm/dirty_ratio
        echo 80 >/proc/sys/vm/dirty_background_ratio
        record x.ktape -e block,cgroup_mkdir,cgroup_rmdir
        runc run -d --pid-file /run/a -b /bundles/a a </dev/null >/out/a.log 2>&1 || exit 2
        runc run -d --pid-file /run/b -b /bundles/b b </dev/null >/out/b.log 2>&1 || exit 3
        until_true grep -q written /out/a.log
        until_true grep -q written /out/b.log
        echo dirty $(awk '/^Dirty:/ { print $2 }' /proc/meminfo) KiB
        echo 1 >/proc/sys/vm/dirty_expire_centisecs
        echo 10 >/proc/sys/vm/dirty_writeback_centisecs
        until_true is_clean
        for name in a b; do
            echo stat-$name $(grep \"^$(device data) \" /sys/fs/cgroup/docker/$name*/io.stat)
        done
        recorded
        runc delete -f a; runc delete -f b; umount /mnt",
    );
    ran.expect_success();
    let device = said(&ran, "device");
    let all = requests(&ran.file("x.ktape"), device);
    eprintln!("{}", ran.output);
    for (name, mib) in sizes {
        let path = format!("/docker/{}", name.repeat(64));
        let own = |op| {
            let path = path.as_str();
            all.iter().filter(move |event| {
                text(event, "block.owner") == Some(path) && text(event, "block.op") == Some(op)
            })
        };
        let (bytes, expected) = (sum(own("write"), "block.bytes"), mib * MIB);
        assert!((bytes - expected).abs() <= expected / 100, "{name}: {bytes} bytes of {expected}");
        // The kernel's own account of the same; of metadata that was read for it, too.
        let stat = said(&ran, &format!("stat-{name}"));
        assert_eq!(bytes, accounted(stat, "wbytes"), "{name}");
        assert_eq!(sum(own("read"), "block.bytes"), accounted(stat, "rbytes"), "{name}");
        for event in own("write") {
            assert_eq!(text(event, "block.owner_kind"), Some("bio"), "{event}");
            let thread = text(event, "thread.name").unwrap_or_default();
            assert!(thread.starts_with("kworker/"), "written by {thread}: {event}");
        }
    }
}

/// What a limit holds is dispatched by a worker of the kernel; the container that it belongs to is the one that is charged.
#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn throttled_requests_belong_to_the_container_that_is_charged() {
    let _guard = Guard::shared();
    let path = format!("/docker/{}", "d".repeat(64));
    let ran = Guest::new(&kernel(), workload!()).disk(Disk::new("limited", 64 << 20)).run(&format!(
        "mkdir -p /sys/fs/cgroup/docker && echo +io >/sys/fs/cgroup/docker/cgroup.subtree_control || exit 1
        echo device $(device limited)
        echo \"$(cat /sys/fs/cgroup/cgroup.controllers)\"
        load() {{
            echo 0 >/sys/fs/cgroup{path}/cgroup.procs
            exec dd if=/dev/zero of=/dev/disk-limited bs=256k count=6 oflag=direct
        }}
        limited() {{
            mkdir /sys/fs/cgroup{path}
            echo \"$(device limited) wbps=1048576\" >/sys/fs/cgroup{path}/io.max || exit 2
            (load) || exit 3
            echo stat-$1 $(grep \"^$(device limited) \" /sys/fs/cgroup{path}/io.stat)
            until_true rmdir /sys/fs/cgroup{path}
        }}
        record all.ktape -e block
        limited all
        recorded
        record own.ktape -e block --container dddddddddddd
        limited own
        recorded",
    ));
    ran.expect_success();
    for (name, args) in
        [("all", &["-e", "block", "--container", "dddddddddddd"][..]), ("own", &["-e", "block"])]
    {
        let file = ran.file(&format!("{name}.ktape"));
        let mut events = ktape::replay_json(&file, args);
        events.retain(|event| text(event, "block.devno") == Some(said(&ran, "device")));
        let written = events.iter().filter(|event| text(event, "block.op") == Some("write"));
        assert_eq!(
            sum(written, "block.bytes"),
            accounted(said(&ran, &format!("stat-{name}")), "wbytes"),
            "{name}"
        );
        assert!(events.iter().all(|event| text(event, "block.owner") == Some(&*path)), "{name}: {events:#?}");
        assert!(
            events.iter().all(|event| text(event, "block.owner_kind") == Some("bio")),
            "{name}: {events:#?}"
        );
        let held: Vec<_> = events.iter().filter(|event| truth(event, "block.throttled")).collect();
        assert!(!held.is_empty(), "{name}: {events:#?}");
        for event in held {
            let thread = text(event, "thread.name").unwrap_or_default();
            assert!(thread.starts_with("kworker/"), "{name}: submitted by {thread}: {event}");
            assert_eq!(int(event, "block.queued"), None, "{name}: {event}");
        }
    }
}

/// What slow writes look like, in ns.
#[derive(Debug)]
struct Slow {
    /// The longest `write` of `dd`.
    call: i64,
    /// The longest time that a request was with its device.
    service: i64,
    /// What the requests came through.
    via: Vec<String>,
}

/// Those of the cgroup `/NAME` to the disk NAME.
fn slow(ran: &Ran, file: &Path, name: &str) -> Slow {
    let requests = requests(file, said(ran, name));
    let data: Vec<&Value> = requests.iter().filter(|e| int(e, "block.bytes") > Some(0)).collect();
    assert_eq!(sum(data.iter().copied(), "block.bytes"), 3 * MIB, "{name}");
    let longest = |field: &str| data.iter().filter_map(|e| int(e, field)).max().expect("a request");
    let calls =
        ktape::replay_json(file, &[&format!("evt.type=write and proc.name=dd and cgroup.path=/{name}")]);
    let mut via: Vec<String> = data.iter().filter_map(|e| text(e, "block.via").map(str::to_owned)).collect();
    via.dedup();
    Slow {
        call: calls.iter().filter_map(|event| int(event, "evt.latency")).max().expect("a write"),
        service: longest("block.service"),
        via,
    }
}

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn slow_disk_and_io_limit_are_distinguished() {
    let _guard = Guard::shared();
    let guest = Guest::new(&kernel(), workload!());
    let ran = guest
        .program("/usr/sbin/dmsetup")
        .disk(Disk::new("limited", 64 << 20))
        .disk(Disk::new("delayed", 64 << 20))
        .disk(Disk::new("slow", 64 << 20).slow(512 << 10))
        .run(
            "for name in limited delayed slow; do
                mkdir /sys/fs/cgroup/$name
                echo $name $(device $name)
            done
            echo \"$(device limited) wbps=524288\" >/sys/fs/cgroup/limited/io.max
            lower=$(readlink /dev/disk-delayed)
            export DM_DISABLE_UDEV=1
            dmsetup create delayed --table \"0 131072 delay $lower 0 0 $lower 0 1500\" || exit 1
            load() {
                echo 0 >/sys/fs/cgroup/$1/cgroup.procs
                exec dd if=/dev/zero of=$2 bs=1M count=3 oflag=direct
            }
            record x.ktape -e block,stall,write,cgroup_mkdir
            (load limited /dev/disk-limited) & limited=$!
            (load delayed /dev/mapper/delayed) & delayed=$!
            (load slow /dev/disk-slow) & slow=$!
            wait $limited && wait $delayed && wait $slow || exit 2
            recorded",
        );
    ran.expect_success();
    let file = ran.file("x.ktape");
    let case = |name| slow(&ran, &file, name);
    let (limited, delayed, slow) = (case("limited"), case("delayed"), case("slow"));
    eprintln!("limited {limited:?}\ndelayed {delayed:?}\nslow {slow:?}");
    for case in [&limited, &delayed, &slow] {
        assert!(case.call > SECOND, "{case:?}");
    }
    // A slow device has the requests all the time.
    assert!(slow.service > SECOND && slow.via.is_empty(), "{slow:?}");
    // The limit holds them back before they exist, and the device is fast.
    assert!(limited.service < SECOND / 2 && limited.via.is_empty(), "{limited:?}");
    // So does a device above, which they name.
    assert!(delayed.service < SECOND / 2, "{delayed:?}");
    assert_eq!(delayed.via, ["dm-0"]);
    // All three are recorded as stalls, each no longer than its call.
    let stalls = ktape::replay_json(&file, &["evt.type=stall and proc.name=dd"]);
    for (name, case, device) in
        [("limited", &limited, "vdb"), ("delayed", &delayed, "dm-0"), ("slow", &slow, "vdd")]
    {
        let cgroup = format!("/{name}");
        let own: Vec<_> = stalls.iter().filter(|e| text(e, "cgroup.path") == Some(cgroup.as_str())).collect();
        assert!(own.iter().any(|e| text(e, "stall.phase") == Some("woken")), "{name}: {own:?}");
        for event in own {
            assert_eq!(text(event, "stall.nr"), Some("write"), "{event}");
            assert_eq!(text(event, "stall.dev"), Some(device), "{event}");
            assert!(int(event, "stall.dur").is_some_and(|dur| dur <= case.call), "{case:?}: {event}");
            assert!(
                text(event, "stall.stack").is_some_and(|stack| stack.contains("blkdev_write_iter")),
                "{event}"
            );
        }
    }
}
