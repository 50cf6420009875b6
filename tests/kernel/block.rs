//! Block requests, on loop devices without other users, against what the kernel counts for the device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use ktape_tests::device::{Loop, Stat, Throttle, run, stat};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text, truth};
use ktape_tests::wait;
use ktape_tests::workload;
use ktape_tests::workload::Workload;

const MIB: u64 = 1 << 20;

/// The requests of a device during a capture, and the kernel's own counts.
struct Recorded {
    requests: Vec<Value>,
    stat: [u64; 17],
    /// The workload's process id, and what it printed.
    pid: u32,
    said: String,
    lost: u64,
}

impl Recorded {
    /// Of these operations.
    fn of(&self, op: &str) -> Vec<&Value> {
        self.requests.iter().filter(|event| text(event, "block.op") == Some(op)).collect()
    }

    /// The counts of requests and sectors are the kernel's.
    fn assert_counts(&self) {
        let count = |op: &str| self.of(op).len() as u64;
        let sectors = |op: &str| self.of(op).into_iter().map(bytes).sum::<u64>() / 512;
        let ours = [
            ("reads", count("read"), stat::READS),
            ("read sectors", sectors("read"), stat::READ_SECTORS),
            ("writes", count("write") + count("write_zeroes"), stat::WRITES),
            ("written sectors", sectors("write") + sectors("write_zeroes"), stat::WRITE_SECTORS),
            ("discards", count("discard"), stat::DISCARDS),
            ("discarded sectors", sectors("discard"), stat::DISCARD_SECTORS),
            ("flushes", count("flush"), stat::FLUSHES),
        ];
        for (what, ours, field) in ours {
            assert_eq!(ours, self.stat[field], "{what}: ktape's count and /sys/block/*/stat");
        }
    }
}

fn bytes(event: &Value) -> u64 {
    int(event, "block.bytes").unwrap().cast_unsigned()
}

fn requests(file: &Path, device: &Loop) -> Vec<Value> {
    ktape::replay_json(file, &["-e", "block", &format!("block.dev={}", device.name())])
}

/// Waits until the device has nothing to do, and gives its counts.
fn settled(device: &Loop) -> Stat {
    let in_flight = format!("/sys/block/{}/inflight", device.name());
    wait::until("the device to be idle", wait::TIMEOUT, || {
        let text = std::fs::read_to_string(&in_flight).unwrap();
        text.split_whitespace().all(|word| word == "0").then_some(())
    });
    device.stat()
}

/// Records a command to its end.
fn record_words(device: &Loop, words: &[String], file: &Path) -> Recorded {
    let capture = Capture::start(file, &["-e", "block,syscall"]);
    let before = settled(device);
    let child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", out.status);
    let stat = settled(device).since(&before);
    capture.stop();
    let lost = ktape::info(file)["lost"].as_u64().unwrap();
    let said = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    Recorded { requests: requests(file, device), stat, pid, said, lost }
}

/// Records the workload program with these arguments, so that nothing is lost: on some hypervisors the kernel does not run
/// the programs when a completion interrupts the hypervisor's own agent. That is counted.
fn record(device: &Loop, args: &[&str]) -> Recorded {
    for _ in 0..5 {
        let recorded = record_once(device, args);
        let count = |op: &str| recorded.of(op).len() as u64;
        let made = count("read") + count("write") + count("write_zeroes");
        let counted = recorded.stat[stat::READS] + recorded.stat[stat::WRITES];
        if recorded.lost == 0 || made == counted {
            return recorded;
        }
        eprintln!("{made} of {counted} requests recorded, {} events lost: once more", recorded.lost);
    }
    panic!("events were lost each time");
}

fn record_once(device: &Loop, args: &[&str]) -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let mut words = vec![workload!().to_string_lossy().into_owned(), "block".to_owned()];
    words.extend(args.iter().map(|arg| (*arg).to_owned()));
    record_words(device, &words, &dir.path().join("x.ktape"))
}

fn direct(device: &Loop, how: &str, total: u64, block: u64) -> Recorded {
    record(device, &["direct", device.path(), how, &total.to_string(), &block.to_string(), "0"])
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn direct_io_is_recorded_to_the_byte() {
    let _guard = Guard::exclusive();
    let device = Loop::make(80 * MIB, true);
    let block = 128 << 10;
    for how in ["write", "read"] {
        let recorded = direct(&device, how, 64 * MIB, block);
        assert_eq!(recorded.said, "done");
        recorded.assert_counts();
        let mine: Vec<&Value> = recorded
            .of(how)
            .into_iter()
            .filter(|e| int(e, "proc.pid") == Some(recorded.pid.into()))
            .collect();
        assert_eq!(mine.len() as u64, 64 * MIB / block);
        for (i, event) in mine.iter().enumerate() {
            assert_eq!(bytes(event), block, "{event}");
            assert_eq!(int(event, "block.sector"), Some(i as i64 * block as i64 / 512), "{event}");
            assert_eq!(text(event, "block.dev"), Some(device.name()), "{event}");
            assert_eq!(text(event, "block.devno"), Some(&*device.number()), "{event}");
            assert_eq!(text(event, "block.rq_flags"), Some("sync"), "{event}");
            assert_eq!(int(event, "block.bios"), Some(1), "{event}");
            assert_eq!(int(event, "block.issues"), Some(1), "{event}");
            assert_eq!(text(event, "block.error"), None, "{event}");
            assert_eq!(text(event, "block.via"), None, "{event}");
            // The workload is charged for its own requests, whether the kernel reports it (a v2 controller) or not.
            let kind = text(event, "block.owner_kind").unwrap();
            assert!(kind == "bio" || kind == "submitter", "{event}");
            assert_eq!(text(event, "block.owner"), text(event, "cgroup.path"), "{event}");
            assert_eq!(text(event, "proc.name"), Some("ktape-workload"), "{event}");
            let [dur, queued, service] =
                ["block.dur", "block.queued", "block.service"].map(|field| int(event, field).unwrap());
            assert_eq!(dur, queued + service, "{event}");
            assert!(service > 0 && dur < 5_000_000_000, "{event}");
        }
    }
}

/// Sectors of a file's data, as the file system reports it: first and last.
fn extents(file: &Path) -> Vec<(i64, i64)> {
    let text = run(&["filefrag", "-b512", "-e", &file.to_string_lossy()]);
    // `ext: logical_offset: physical_offset: length: expected: flags`
    let rows = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let number = fields.next()?.trim().parse::<u64>();
        let (first, last) = fields.nth(1)?.split_once("..")?;
        number.is_ok().then(|| (first.trim().parse().unwrap(), last.trim().parse().unwrap()))
    });
    rows.collect()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn buffered_writes_and_file_system_metadata_are_recorded() {
    let _guard = Guard::exclusive();
    let device = Loop::make(256 * MIB, true);
    let mount = device.mount();
    let file = mount.path().join("data");
    run(&["sync", "-f", &mount.path().to_string_lossy()]);
    let recorded = record(&device, &["buffered", &file.to_string_lossy(), &(64 * MIB).to_string()]);
    recorded.assert_counts();
    let extents = extents(&file);
    assert!(!extents.is_empty());
    let is_data = |event: &Value| {
        let sector = int(event, "block.sector").unwrap_or(-1);
        extents.iter().any(|(first, last)| (*first..=*last).contains(&sector))
    };
    let (data, rest): (Vec<&Value>, Vec<&Value>) = recorded.of("write").into_iter().partition(|e| is_data(e));
    assert_eq!(data.into_iter().map(bytes).sum::<u64>(), 64 * MIB);
    assert!(!rest.is_empty());
    for event in rest {
        // The journal's thread, metadata by its flag, or a flush that carries nothing.
        let flags = text(event, "block.rq_flags").unwrap_or_default();
        let journal = text(event, "proc.name").is_some_and(|name| name.starts_with("jbd2/"));
        assert!(journal || flags.contains("meta") || bytes(event) == 0, "{event}");
        assert!(bytes(event) > 0 || flags.contains("preflush"), "{event}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn merged_split_flush_and_discard_requests_are_recorded() {
    let _guard = Guard::exclusive();
    let device = Loop::make(80 * MIB, true);
    for way in ["up", "down"] {
        let recorded = record(&device, &["merge", device.path(), "32", way]);
        recorded.assert_counts();
        let [event] = recorded.of("write")[..] else { panic!("{:#?}", recorded.requests) };
        assert_eq!(int(event, "block.bios"), Some(32), "{event}");
        assert_eq!(recorded.stat[stat::WRITE_MERGES], 31);
        assert_eq!((int(event, "block.sector"), bytes(event)), (Some(0), 128 << 10), "{event}");
        assert_eq!(int(event, "proc.pid"), Some(recorded.pid.into()), "{event}");
    }

    // Larger than a request may be: several, each with its submitter.
    let recorded = direct(&device, "write", 8 * MIB, 8 * MIB);
    recorded.assert_counts();
    let mut parts = recorded.of("write");
    parts.sort_by_key(|event| int(event, "block.sector"));
    assert!(parts.len() > 1, "{parts:#?}");
    let mut next = 0;
    for event in parts {
        assert_eq!(int(event, "proc.pid"), Some(recorded.pid.into()), "{event}");
        assert_eq!(int(event, "block.sector"), Some(next), "{event}");
        assert!(int(event, "block.queued").is_some() && !truth(event, "evt.start_unknown"), "{event}");
        next += int(event, "block.bytes").unwrap() / 512;
    }
    assert_eq!(next, 8 * MIB as i64 / 512);

    // A flush is requested by an empty write, which is never issued; the flush that the device gets has no owner.
    let recorded = record(&device, &["flush", device.path()]);
    recorded.assert_counts();
    let [asked] = recorded.of("write")[..] else { panic!("{:#?}", recorded.requests) };
    assert_eq!((bytes(asked), int(asked, "block.issues")), (0, Some(0)), "{asked}");
    assert!(text(asked, "block.rq_flags").unwrap().contains("preflush"), "{asked}");
    assert_eq!(int(asked, "proc.pid"), Some(recorded.pid.into()), "{asked}");
    assert_eq!((int(asked, "block.sector"), int(asked, "block.service")), (None, None), "{asked}");
    let [flush] = recorded.of("flush")[..] else { panic!("{:#?}", recorded.requests) };
    assert_eq!((int(flush, "block.issues"), int(flush, "block.bios")), (Some(1), Some(0)), "{flush}");
    assert_eq!((text(flush, "block.owner_kind"), int(flush, "proc.pid")), (Some("unknown"), None), "{flush}");
    assert!(!truth(flush, "evt.start_unknown"), "{flush}");
    assert!(int(asked, "block.dur") >= int(flush, "block.service"), "{asked} {flush}");

    // Data, then a flush of the device, in one request.
    let recorded = direct(&device, "dsync", 4096, 4096);
    recorded.assert_counts();
    let data: Vec<&Value> = recorded.of("write").into_iter().filter(|event| bytes(event) > 0).collect();
    let [event] = data[..] else { panic!("{:#?}", recorded.requests) };
    assert_eq!((bytes(event), int(event, "block.issues")), (4096, Some(1)), "{event}");
    assert_eq!(int(event, "proc.pid"), Some(recorded.pid.into()), "{event}");

    for (option, op) in [("-f", "discard"), ("-z", "write_zeroes")] {
        let dir = tempfile::tempdir().unwrap();
        let words = ["blkdiscard", option, "-o", "4194304", "-l", "2097152", device.path()];
        let recorded = record_words(&device, &words.map(str::to_owned), &dir.path().join("x.ktape"));
        recorded.assert_counts();
        let done = recorded.of(op);
        assert_eq!(done.iter().map(|event| bytes(event)).sum::<u64>(), 2 * MIB, "{:#?}", recorded.requests);
        assert_eq!(int(done[0], "block.sector"), Some(8192), "{}", done[0]);
    }
}

/// The file behind the device ends in the middle of a request: the first half of it is read, the request goes back and is issued
/// again, and then fails.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn partial_completions_requeues_and_errors_are_recorded() {
    let _guard = Guard::exclusive();
    let device = Loop::make(8 * MIB, true);
    let file = std::fs::OpenOptions::new().write(true).open(device.file()).unwrap();
    file.set_len(4 * MIB + (64 << 10)).unwrap();
    let size = (128 << 10).to_string();
    let recorded = record(&device, &["direct", device.path(), "read", &size, &size, &(4 * MIB).to_string()]);
    assert_eq!(recorded.said, format!("Err({})", libc::EIO));
    let mine: Vec<&Value> =
        recorded.of("read").into_iter().filter(|e| int(e, "proc.pid") == Some(recorded.pid.into())).collect();
    let [event] = mine[..] else { panic!("{mine:#?}") };
    assert_eq!(int(event, "block.issues"), Some(2), "{event}");
    assert_eq!(text(event, "block.error"), Some("EIO"), "{event}");
    assert_eq!((bytes(event), int(event, "block.sector")), (128 << 10, Some(8192)), "{event}");
    let [dur, queued, service] =
        ["block.dur", "block.queued", "block.service"].map(|field| int(event, field).unwrap());
    assert!(queued + service < dur, "the first issue took time as well: {event}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn partition_requests_name_partition_and_disk() {
    let _guard = Guard::exclusive();
    let device = Loop::make(16 * MIB, true);
    run(&["addpart", device.path(), "1", "2048", "8192"]);
    let partition = format!("{}p1", device.path());
    wait::until("the partition's device", wait::TIMEOUT, || Path::new(&partition).exists().then_some(()));
    let recorded = record(&device, &["direct", &partition, "write", "65536", "65536", "4096"]);
    recorded.assert_counts();
    let mine: Vec<&Value> = recorded
        .of("write")
        .into_iter()
        .filter(|e| int(e, "proc.pid") == Some(recorded.pid.into()))
        .collect();
    let [event] = mine[..] else { panic!("{:#?}", recorded.requests) };
    assert_eq!(text(event, "block.via"), Some(&*format!("{}p1", device.name())), "{event}");
    assert_eq!(int(event, "block.sector"), Some(2048 + 8), "{event}");
}

/// The file behind the device is on a file system that is frozen: requests neither return nor fail.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn requests_in_flight_at_start_and_end_are_recorded() {
    let _guard = Guard::exclusive();
    let outer = Loop::make(128 * MIB, true);
    let mount = outer.mount();
    let device = Loop::over(&mount.path().join("disk"), 32 * MIB, true);
    device.fill();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { dir.path().join(name) };
    let depth: i64 = 128;

    let capture = Capture::start(&file("first"), &["-e", "block"]);
    let mut slow = Workload::start(workload!(), &["block", "pile", device.path(), "140"]);
    // Started before and frozen after, so that a failure thaws first and then waits for it.
    assert_eq!(slow.line(), "ready");
    let frozen = mount.freeze();
    slow.go();
    let in_flight = format!("/sys/block/{}/inflight", device.name());
    wait::until("the device to take no more", wait::TIMEOUT, || {
        let text = std::fs::read_to_string(&in_flight).unwrap();
        let writes: i64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        (writes >= depth).then_some(())
    });
    wait::until_blocked(slow.pid(), slow.pid(), libc::SYS_io_submit);
    capture.stop();
    let late = Capture::start(&file("second"), &["-e", "block"]);
    drop(frozen);
    assert_eq!(slow.line(), "done");
    late.stop();

    let unfinished: Vec<Value> = requests(&file("first"), &device)
        .into_iter()
        .filter(|event| int(event, "proc.pid") == Some(slow.pid().into()))
        .collect();
    let mut by_issues: BTreeMap<i64, i64> = BTreeMap::new();
    for event in &unfinished {
        assert!(truth(event, "evt.unfinished") && truth(event, "evt.at_end"), "{event}");
        assert_eq!((bytes(event), text(event, "block.op")), (4096, Some("write")), "{event}");
        let issues = int(event, "block.issues").unwrap();
        let [dur, queued] = ["block.dur", "block.queued"].map(|field| int(event, field).unwrap());
        match int(event, "block.service") {
            Some(service) => assert!(issues == 1 && dur == queued + service, "{event}"),
            None => assert!(issues == 0 && dur == queued, "{event}"),
        }
        *by_issues.entry(issues).or_default() += 1;
    }
    // All that the device takes at a time, and the one that waits for a free place.
    assert_eq!(by_issues, BTreeMap::from([(0, 1), (1, depth)]));

    let finished = requests(&file("second"), &device);
    let unknown = finished.iter().filter(|event| truth(event, "evt.start_unknown"));
    assert_eq!(unknown.clone().count() as i64, depth + 1);
    for event in unknown {
        assert_eq!((int(event, "proc.pid"), int(event, "block.queued")), (None, None), "{event}");
        assert_eq!((text(event, "block.op"), bytes(event)), (Some("write"), 4096), "{event}");
    }
    let all = finished.iter().filter(|event| text(event, "block.op") == Some("write")).count();
    assert_eq!(all, 140, "every write ends in the second capture");
}

/// How long the slowest request waited and was served, and the longest call of the workload, in ms.
fn slowest(recorded: &Recorded, file: &Path) -> (i64, i64, i64) {
    let most = |field: &str| {
        recorded.of("write").into_iter().filter_map(|event| int(event, field)).max().unwrap_or(0) / 1_000_000
    };
    let filter = format!("proc.pid={} and evt.type=pwrite64", recorded.pid);
    let calls = ktape::replay_json(file, &[&filter]);
    let call = calls.iter().filter_map(|event| int(event, "evt.latency")).max().unwrap() / 1_000_000;
    (most("block.queued"), most("block.service"), call)
}

/// The same limit, once on the device itself and once on the one below it. Only the second makes a slow device: what a throttle
/// holds back has not reached the first tracepoint.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn throttling_and_slow_devices_are_distinguished() {
    let _guard = Guard::exclusive();
    let outer = Loop::make(96 * MIB, true);
    let mount = outer.mount();
    let device = Loop::over(&mount.path().join("disk"), 16 * MIB, true);
    device.fill();
    run(&["sync", "-f", &mount.path().to_string_lossy()]);
    let dir = tempfile::tempdir().unwrap();
    let program = workload!().to_string_lossy().into_owned();
    let total = MIB.to_string();
    let words = [&*program, "block", "direct", device.path(), "write", &total, "262144", "0"];
    let measure = |name: &str, number: &str| {
        let throttle = Throttle::make(name, number, MIB)?;
        let file = dir.path().join(name);
        let started = Instant::now();
        let recorded = record_words(&device, &throttle.wrap(&words), &file);
        assert!(started.elapsed() > Duration::from_millis(500), "the limit had no effect");
        let times = slowest(&recorded, &file);
        eprintln!("{name}: queued, service, call: {times:?} ms");
        Some(times)
    };
    let Some((queued, service, call)) = measure("ktape-throttled", &device.number()) else {
        panic!("this test needs a v1 blkio hierarchy");
    };
    assert!(call >= 150 && queued + service < call / 2, "throttled: {queued} + {service} of {call} ms");
    let (queued, service, call) = measure("ktape-slow", &outer.number()).unwrap();
    assert!(call >= 150 && service > call / 2, "slow: {queued} + {service} of {call} ms");
}

/// A request that a driver makes for itself: the serial number of a virtio disk.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn driver_requests_are_recorded() {
    let _guard = Guard::exclusive();
    let serial = "/sys/block/vda/serial";
    assert!(Path::new(serial).exists(), "this test needs a virtio disk");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "block"]);
    std::fs::read(serial).unwrap();
    let own = capture.pid();
    capture.stop();
    let events = ktape::replay_json(&file, &["block.op=driver"]);
    let [event] = &events[..] else { panic!("{events:#?}") };
    assert_eq!(text(event, "block.dev"), Some("vda"), "{event}");
    assert_eq!((int(event, "block.sector"), bytes(event)), (None, 20), "{event}");
    assert!(!truth(event, "evt.start_unknown"), "{event}");
    assert_eq!(ktape::count(&file, &format!("proc.pid={own}")), 0, "the recorder's own requests");
}
