//! a. A container's writes hang: who waits, where in the kernel, for which disk; and was the disk slow, or were they
//! held back?

use std::collections::BTreeSet;
use std::path::Path;

use ktape_tests::container::{Options, Runtime, with_mount};
use ktape_tests::device::{Loop, Mount, Undo};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::{v1, workload};
use serde_json::{Value, json};

use super::{cgroup, container, ended, id, short};

/// What each of three threads writes, and what the container may write in a second.
const KIB: u64 = 768;
const RATE: u64 = 512 << 10;

/// A container that writes to `mount` and is limited on the device `limited` (major:minor), and its recording.
fn hang(mount: &Mount, limited: &str, file: &Path) {
    let runtime = Runtime::new(&[workload!()]);
    let capture = Capture::start(file, &["--stall", "500ms", "--sample", "500ms"]);
    // Should this test be killed, its writes shall not be held for long.
    let controller = v1::root("blkio").expect("blkio is on v1").join(&cgroup('a')[1..]);
    let limit = controller.join("blkio.throttle.write_bps_device");
    let lift = Undo::by(&format!("echo '{limited} 0' > '{}'", limit.display()));
    let kib = KIB.to_string();
    let args = ["/bin/ktape-workload", "incident", "stuck", "/data", &kib];
    let options = Options { cgroup: &cgroup('a'), args: &args, seccomp: false };
    let load = runtime.start_with("a", &options, |config| {
        with_mount(config, mount.path(), "/data");
        let (major, minor) = limited.split_once(':').expect("major:minor");
        let number = |text: &str| text.parse::<u32>().expect("a number");
        config["linux"]["resources"] = json!({
            "blockIO": {
                "throttleWriteBpsDevice": [{ "major": number(major), "minor": number(minor), "rate": RATE }],
            },
        });
    });
    ended(&load);
    eprintln!("{}", load.output());
    drop(lift);
    drop(load);
    capture.stop();
}

fn stalls(file: &Path) -> Vec<Value> {
    ktape::replay_json(file, &["-e", "stall", "--container", &id('a')[..6]])
}

/// The longest stall, and the longest time that the device took for a write, in ns; and all bytes written to it.
fn longest(file: &Path, device: &Loop) -> (i64, i64, u64) {
    let stalled = stalls(file).iter().filter_map(|stall| int(stall, "stall.dur")).max().unwrap();
    let expression = format!("block.dev = {} and block.op = write", device.name());
    let writes = ktape::replay_json(file, &["-e", "block", &expression]);
    let served = writes.iter().filter_map(|block| int(block, "block.service")).max().unwrap();
    let bytes: i64 = writes.iter().filter_map(|block| int(block, "block.bytes")).sum();
    (stalled, served, u64::try_from(bytes).unwrap())
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn a_throttled_container() {
    let _guard = Guard::exclusive();
    let device = Loop::make(64 << 20, false);
    let mount = device.mount();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    hang(&mount, &device.number(), &file);

    // Who waits, and for what?
    let stalls = stalls(&file);
    let mut waiting = BTreeSet::new();
    for stall in &stalls {
        assert_eq!(container(stall), short('a'), "{stall}");
        assert_eq!(text(stall, "proc.name"), Some("ktape-workload"), "{stall}");
        assert!(int(stall, "stall.dur").unwrap() >= 500_000_000, "{stall}");
        let thread = text(stall, "thread.name").unwrap();
        waiting.insert(thread);
        let (call, function) = match thread {
            "fsync-0" => ("fsync", "ext4_sync_file"),
            _ => ("write", "iomap_dio"),
        };
        assert_eq!(text(stall, "stall.nr"), Some(call), "{stall}");
        assert!(text(stall, "stall.stack").unwrap().contains(function), "{stall}");
        assert!(!text(stall, "stall.wait").unwrap().is_empty(), "{stall}");
        assert_eq!(text(stall, "stall.dev"), Some(device.name()), "{stall}");
    }
    assert_eq!(waiting, BTreeSet::from(["direct-0", "direct-1", "fsync-0"]));
    // Reported once at its end, and while it lasted.
    let phases: BTreeSet<_> = stalls.iter().filter_map(|stall| text(stall, "stall.phase")).collect();
    assert!(phases.contains("woken") && !phases.contains("asleep"), "{phases:?}");
    assert!(ktape::count(&file, "evt.type = stall_ongoing and stall.phase = asleep") >= 3);

    // Was the disk slow? Its slowest request shows that it was not, and all that was written went through it.
    let (stalled, served, bytes) = longest(&file, &device);
    eprintln!("longest stall {stalled} ns, slowest write {served} ns");
    // 2.25 MiB at 512 KiB/s.
    assert!(stalled > 2_000_000_000, "{stalled}");
    assert!(served * 4 < stalled, "the disk took {served} ns");
    assert!(bytes >= (3 * KIB) << 10, "{bytes}");

    // Was it the container's limit? Kernel workers submitted what it had held, and it belongs to the container all the same.
    let held =
        ktape::replay_json(&file, &["-e", "block", "--container", &id('a')[..6], "block.throttled = true"]);
    assert!(held.iter().any(|block| text(block, "block.dev") == Some(device.name())), "{held:#?}");
    assert!(held.iter().all(|block| text(block, "block.owner") == Some(&*cgroup('a'))), "{held:#?}");

    // So who held them back?
    let samples = ktape::replay_json(&file, &["-e", "sample", "--container", &id('a')[..6]]);
    let limits: BTreeSet<_> = samples.iter().filter_map(|sample| text(sample, "sample.io_limits")).collect();
    eprintln!("{limits:?}");
    let number = device.number();
    let told = |limit: &&str| limit.contains(&RATE.to_string()) && limit.contains(&number);
    assert!(limits.iter().any(told), "{limits:?}");
}

/// The same from the container's side, but now its disk is slow: it lies in a file on another one, which is held back.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn a_slow_disk() {
    let _guard = Guard::exclusive();
    let below = Loop::make(96 << 20, true);
    let below_mount = below.mount();
    let device = Loop::over(&below_mount.path().join("disk"), 32 << 20, true);
    device.fill();
    let mount = device.mount();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    hang(&mount, &below.number(), &file);
    let stalls = stalls(&file);
    assert!(stalls.iter().any(|stall| text(stall, "stall.dev") == Some(device.name())), "{stalls:#?}");
    let (stalled, served, bytes) = longest(&file, &device);
    eprintln!("longest stall {stalled} ns, slowest write {served} ns");
    assert!(stalled > 2_000_000_000, "{stalled}");
    assert!(served * 2 > stalled, "the disk took {served} ns");
    assert!(bytes >= (3 * KIB) << 10, "{bytes}");
}
