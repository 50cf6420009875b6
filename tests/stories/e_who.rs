//! e. Who killed it, or was it the memory limit? Who filled the disk, who holds the file descriptors?

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use ktape_tests::container::{Options, Runtime, with_mount};
use ktape_tests::device::Loop;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;
use serde_json::{Value, json};

use super::{cgroup, ended, finished, printed, short};

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
    let touched = hungry.output();
    drop((victim, hungry));
    capture.stop();

    // Who killed it?
    let killed = ["signals", "signal.signal = SIGKILL and signal.cause = user", "--by"];
    let by = "proc.name,proc.pid,container.id,signal.target.pid,signal.target.container,signal.result";
    let of_victim = format!("signal.signal = SIGKILL and signal.cause = user and signal.target.pid = {pid}");
    let rows = ktape::stats_json(&file, &["signals", &of_victim, "--by", by, "--sort", "last:asc"]);
    let first = &rows[0];
    assert_eq!((text(first, "proc.name"), int(first, "proc.pid")), (Some("sh"), Some(killer_pid)), "{first}");
    assert_eq!(
        (text(first, "container.id"), text(first, "signal.result")),
        (Some("host"), Some("delivered"))
    );
    assert_eq!(text(first, "signal.target.container"), Some(short('1').as_str()), "{first}");
    // Nothing sent one to the other container.
    let others = ktape::stats_json(&file, &[&killed[..], &["signal.target.pid"]].concat());
    assert!(others.iter().all(|row| int(row, "signal.target.pid") != Some(hungry_pid)), "{others:#?}");

    // That one reached its memory limit.
    let ooms = ktape::stats_json(&file, &["oom"]);
    assert_eq!(ooms.len(), 1, "{ooms:#?}");
    let oom = &ooms[0];
    assert_eq!((int(oom, "proc.pid"), text(oom, "oom.scope")), (Some(hungry_pid), Some("cgroup")), "{oom}");
    assert_eq!((text(oom, "oom.limited"), int(oom, "limit")), (Some(&*cgroup('2')), Some(limit)), "{oom}");
    let (anon, memory) = (int(oom, "victim anon").unwrap(), int(oom, "memory").unwrap());
    assert!((limit * 3 / 4..=limit).contains(&anon) && (anon..=limit).contains(&memory), "{oom}");

    // What did it do in the 500 ms before? It printed each MiB that it touched.
    let printed: i64 = touched.lines().filter(|line| line.starts_with("ate")).count() as i64;
    let near = ["--before", "evt.type = oom", "500ms", "proc.name = ktape-workload"];
    let rows = ktape::stats_json(
        &file,
        &[
            &near[..],
            &["--by", "syscall.type", "-c", "calls = count,longest = max(evt.latency),first = min(evt.time)"],
        ]
        .concat(),
    );
    let of = |call: &str| rows.iter().find(|row| text(row, "syscall.type") == Some(call));
    let (mapped, wrote) =
        (int(of("mmap").unwrap(), "calls").unwrap(), int(of("write").unwrap(), "calls").unwrap());
    eprintln!("{printed} MiB, {rows:#?}");
    // All of it was in that time: the last MiB was mapped, and never printed.
    assert_eq!(wrote, printed, "{rows:#?}");
    assert!((printed..=printed + 30).contains(&mapped), "{rows:#?}");
    let time = text(oom, "time").unwrap();
    let earliest = rows.iter().filter_map(|row| text(row, "first")).min().unwrap();
    assert!(earliest <= time, "{earliest} {time}");
    let all = ktape::count(
        &file,
        &format!("container.id = {} and evt.type = write and proc.name = ktape-workload", short('2')),
    );
    assert_eq!(all as i64, printed);
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
    let fds = std::fs::read_dir(format!("/proc/{}/fd", holder.pid)).unwrap().count() as i64;
    // Two samples later it has been seen.
    let seen = std::time::Instant::now();
    ktape_tests::wait::until("two samples", super::TIMEOUT, || {
        (seen.elapsed() > std::time::Duration::from_millis(600)).then_some(())
    });
    capture.stop();
    drop((logs, other, holder));

    // Into which files, by whom, how much? As much as there is in them.
    let size = |name: &str| std::fs::metadata(mount.path().join(name)).unwrap().len() as i64;
    let in_data = "fd.name startswith /data/";
    let rows = ktape::stats_json(&file, &["files", in_data, "--by", "container.id,fd.name"]);
    let written: BTreeMap<_, _> = rows
        .iter()
        .map(|row| {
            (
                (text(row, "container.id").unwrap(), text(row, "fd.name").unwrap()),
                int(row, "written").unwrap(),
            )
        })
        .collect();
    let (third, fourth) = (short('3'), short('4'));
    let of_files = [((&*third, "/data/logs"), size("logs")), ((&*fourth, "/data/other"), size("other"))];
    assert_eq!(written, BTreeMap::from(of_files));
    assert_eq!(size("logs"), 40 << 20);
    // Into which directories?
    let rows = ktape::stats_json(&file, &["directories", in_data]);
    let directory = &rows[0];
    assert_eq!(
        (text(directory, "fd.directory"), int(directory, "files")),
        (Some("/data"), Some(2)),
        "{rows:#?}"
    );
    assert_eq!(int(directory, "written"), Some(size("logs") + size("other")), "{rows:#?}");
    // And the room that is left.
    let room = [
        "-e",
        "sample_fs",
        "--by",
        "sample_fs.mount",
        "-c",
        "used = max(sample_fs.bytes_free) - min(sample_fs.bytes_free)",
    ];
    let rows = ktape::stats_json(&file, &room);
    let ours = rows.iter().find(|row| text(row, "sample_fs.mount") == mount.path().to_str()).unwrap();
    assert!((38 << 20..=46 << 20).contains(&int(ours, "used").unwrap()), "{ours}");

    // Who has the most descriptors?
    let rows = ktape::stats_json(&file, &["pids", "container.id != host", "--sort", "descriptors"]);
    assert_eq!(text(&rows[0], "sample.cgroup|cgroup.path"), Some(&*cgroup('5')), "{rows:#?}");
    assert_eq!(int(&rows[0], "descriptors"), Some(fds), "{rows:#?}");
}

/// Its script reads a file and deletes it, two shells below its first process.
const THEFT: &str = "cd /data/vault; sh -c 'cat key > /tmp/copy; rm ./key; true'; true";

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn e_who_read_and_deleted_a_file() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[]);
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("vault")).unwrap();
    let secret = vec![b's'; 5_000];
    std::fs::write(data.path().join("vault/key"), &secret).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let options = Options { cgroup: &cgroup('8'), args: &["/bin/sh", "-c", THEFT], seccomp: false };
    let thief = runtime.start_with("thief", &options, |config| with_mount(config, data.path(), "/data"));
    ended(&thief);
    let pid = i64::from(thief.pid);
    drop(thief);
    capture.stop();
    assert!(!data.path().join("vault/key").exists());

    let rows = ktape::stats_json(&file, &["file-users", "fd.name = /data/vault/key"]);
    eprintln!("{rows:#?}");
    let of = |name: &str| rows.iter().find(|row| text(row, "proc.name") == Some(name)).unwrap();
    let (cat, rm) = (of("cat"), of("rm"));
    // busybox copies it with sendfile.
    let numbers = ["opened", "read", "copied", "written", "deleted"].map(|name| int(cat, name).unwrap());
    assert_eq!(numbers, [1, 0, secret.len() as i64, 0, 0], "{cat}");
    assert_eq!((int(rm, "opened"), int(rm, "read"), int(rm, "deleted")), (Some(0), Some(0), Some(1)));
    assert_eq!(
        (text(rm, "command"), int(rm, "user")),
        (Some("rm -c cat key > /tmp/copy; rm ./key; true"), Some(0)),
        "{rm}"
    );
    // Both below two shells, in this container: the inner one has the commands among its arguments.
    for row in [cat, rm] {
        assert!(ancestors(row, "proc.aname").starts_with("sh sh"), "{row}");
        assert!(ancestors(row, "ancestors").contains("cat key > /tmp/copy"), "{row}");
    }
    // By the ids of all ancestors as well.
    let by = [
        "--by",
        "proc.name,proc.apid[2],container.id",
        "-c",
        "count",
        "fd.name = /data/vault/key and evt.type in (unlink, unlinkat)",
    ];
    let rows = ktape::stats_json(&file, &by);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(
        (int(&rows[0], "proc.apid[2]"), text(&rows[0], "container.id")),
        (Some(pid), Some(&*short('8')))
    );
}

/// All ancestors of a row, as one text.
fn ancestors(row: &Value, column: &str) -> String {
    match &row[column] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}
