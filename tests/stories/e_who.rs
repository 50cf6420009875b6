//! e. Who killed it, or was it the memory limit? Who filled the disk, who holds the file descriptors?

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use ktape_tests::container::{Options, Runtime, with_mount};
use ktape_tests::device::Loop;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;
use serde_json::json;

use super::{cgroup, container, ended, finished, printed, short};

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn e_who_killed_it() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let sleep = Options { cgroup: &cgroup('1'), args: &["/bin/sleep", "100"], seccomp: false };
    let victim = runtime.start("victim", &sleep);
    let pid = i64::from(victim.pid);
    let killer = Command::new("/bin/sh")
        .args(["-c", &format!("exec /bin/sh -c 'kill -9 {pid}; exit 5'")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let killer_pid = i64::from(killer.id());
    assert_eq!(finished(killer).code(), Some(5));
    ended(&victim);

    // One that does it to itself, by its memory.
    let limit = 32 << 20;
    let options = Options {
        cgroup: &cgroup('2'),
        args: &["/bin/ktape-workload", "incident", "eat", "256"],
        seccomp: false,
    };
    let hungry = runtime.start_with("hungry", &options, |config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": limit } });
    });
    let hungry_pid = i64::from(hungry.pid);
    ended(&hungry);
    drop((victim, hungry));
    capture.stop();

    let signals =
        ktape::replay_json(&file, &[&format!("signal.signal = SIGKILL and signal.target_pid = {pid}")]);
    let first = &signals[0];
    assert_eq!(int(first, "proc.pid"), Some(killer_pid), "{first}");
    assert_eq!(text(first, "proc.name"), Some("sh"), "{first}");
    assert_eq!(container(first), "host", "{first}");
    assert_eq!(text(first, "signal.cause"), Some("user"), "{first}");
    assert_eq!(text(first, "signal.result"), Some("delivered"), "{first}");
    assert_eq!(text(first, "signal.target.container"), Some(short('1').as_str()), "{first}");
    let exits = |pid: i64| {
        let expression = format!("evt.category = exit and proc.pid = {pid} and exit.process = true");
        ktape::replay_json(&file, &[&expression])
    };
    assert_eq!(text(&exits(pid)[0], "exit.signal"), Some("SIGKILL"));
    assert!(int(&exits(pid)[0], "evt.rawtime") > int(first, "evt.rawtime"));

    // The other one died of the same signal, without a sender.
    assert_eq!(text(&exits(hungry_pid)[0], "exit.signal"), Some("SIGKILL"));
    let sent =
        format!("signal.signal = SIGKILL and signal.target_pid = {hungry_pid} and signal.cause = user");
    assert_eq!(ktape::count(&file, &sent), 0);
    let ooms = ktape::replay_json(&file, &["-e", "oom"]);
    assert_eq!(ooms.len(), 1, "{ooms:#?}");
    let oom = &ooms[0];
    assert_eq!(int(oom, "proc.pid"), Some(hungry_pid), "{oom}");
    assert_eq!(container(oom), short('2'), "{oom}");
    assert_eq!(text(oom, "oom.scope"), Some("cgroup"), "{oom}");
    assert_eq!(int(oom, "oom.limit"), Some(limit), "{oom}");
    let anon = int(oom, "oom.anon").unwrap();
    assert!((limit * 3 / 4..=limit).contains(&anon), "{oom}");
    let memory = int(oom, "oom.memory").unwrap();
    assert!((anon..=limit).contains(&memory), "{oom}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn e_who_filled_the_disk_and_who_holds_the_descriptors() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let disk = Loop::make(64 << 20, false);
    let mount = disk.mount();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["--sample", "200ms"]);
    let write = |digit: char, name: &str, count: &str| {
        let of = format!("of=/data/{name}");
        let count = format!("count={count}");
        let args = ["/bin/dd", "if=/dev/zero", of.as_str(), "bs=1M", &count];
        let options = Options { cgroup: &cgroup(digit), args: &args, seccomp: false };
        let container = runtime.start_with(name, &options, |config| {
            with_mount(config, mount.path(), "/data");
            // busybox has no zeroes of its own.
            with_mount(config, std::path::Path::new("/dev/zero"), "/dev/zero");
        });
        ended(&container);
        container
    };
    let logs = write('3', "logs", "40");
    let other = write('4', "other", "2");
    let options = Options {
        cgroup: &cgroup('5'),
        args: &["/bin/ktape-workload", "incident", "hold-fds", "700"],
        seccomp: false,
    };
    let holder = runtime.start("holder", &options);
    printed(&holder, "ready");
    // Two samples later it has been seen.
    let seen = std::time::Instant::now();
    ktape_tests::wait::until("two samples", super::TIMEOUT, || {
        (seen.elapsed() > std::time::Duration::from_millis(600)).then_some(())
    });
    capture.stop();
    drop((logs, other, holder));

    // Into which files, by whom? The descriptors are those of the calls that opened them.
    let opened = ktape::replay_json(&file, &["evt.type in (open, openat) and fd.name startswith /data/"]);
    let mut files = BTreeMap::new();
    for open in &opened {
        // What was lost on a busy machine passes every filter.
        if text(open, "evt.type") == Some("loss") {
            eprintln!("lost: {open}");
            continue;
        }
        let key = (int(open, "proc.pid"), int(open, "evt.rawres"));
        files.insert(key, text(open, "evt.arg.filename").unwrap().to_owned());
    }
    let mut written: BTreeMap<(String, String), i64> = BTreeMap::new();
    for write in ktape::replay_json(&file, &["evt.type = write and evt.failed = false and proc.name = dd"]) {
        // busybox moves the descriptor to 1.
        let pid = int(&write, "proc.pid");
        let Some((_, name)) = files.iter().find(|(key, _)| key.0 == pid) else { continue };
        if int(&write, "evt.arg.count") == Some(1 << 20) {
            let key = (container(&write).to_owned(), name.clone());
            *written.entry(key).or_default() += int(&write, "evt.rawres").unwrap();
        }
    }
    assert_eq!(
        written,
        BTreeMap::from([
            ((short('3'), "/data/logs".to_owned()), 40 << 20),
            ((short('4'), "/data/other".to_owned()), 2 << 20),
        ])
    );
    // And the room that is left.
    let expression = format!("sample_fs.mount = {:?}", mount.path().to_str().unwrap());
    let room: Vec<_> = ktape::replay_json(&file, &["-e", "sample_fs", &expression])
        .iter()
        .filter_map(|sample| int(sample, "sample_fs.bytes_free"))
        .collect();
    let gone = room.first().unwrap() - room.last().unwrap();
    assert!((38 << 20..=46 << 20).contains(&gone), "{room:?}");

    // The most descriptors of each container.
    let mut fds: BTreeMap<String, i64> = BTreeMap::new();
    for sample in ktape::replay_json(&file, &["-e", "sample", "container.id != host"]) {
        let most = fds.entry(container(&sample).to_owned()).or_default();
        *most = (*most).max(int(&sample, "sample.fds").unwrap_or(0));
    }
    let most = fds.iter().max_by_key(|(_, fds)| **fds).unwrap();
    assert_eq!(*most.0, short('5'), "{fds:?}");
    assert!((700..=710).contains(most.1), "{fds:?}");
}
