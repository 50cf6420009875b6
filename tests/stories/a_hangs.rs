//! a. A container's writes hang: who waits, where in the kernel, for which disk; and was the disk slow, or were they
//! held back?

use std::collections::BTreeSet;
use std::path::Path;

use ktape_tests::container::{Options, Runtime, with_mount};
use ktape_tests::device::{Loop, Mount, Undo, stat};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::{v1, workload};
use serde_json::{Value, json};

use super::{cgroup, ended, id, short};

/// What each of three threads writes, and what the container may write in a second.
const KIB: u64 = 768;
const RATE: u64 = 512 << 10;

/// A container that writes to `mount` and is limited on the device `limited` (major:minor), and its recording. Returns what it
/// printed.
fn hang(mount: &Mount, limited: &str, file: &Path) -> String {
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
    let output = load.output();
    eprintln!("{output}");
    drop(lift);
    drop(load);
    capture.stop();
    output
}

/// The longest of its calls is that of the program's log: which has the time around it, in whole ms.
fn assert_as_logged(row: &Value, output: &str) {
    let ms = 1_000_000;
    let direct = logged(output, "direct-0").max(logged(output, "direct-1"));
    let write = int(row, "longest write").unwrap();
    assert!((direct - 300 * ms..direct + ms).contains(&write), "{write} {direct}");
    let (fsync, logged) = (int(row, "longest fsync").unwrap(), logged(output, "fsync-0"));
    assert!((logged - 300 * ms..logged + ms).contains(&fsync), "{fsync} {logged}");
}

/// What the program's log has: how long each of its threads wrote, ns.
fn logged(output: &str, thread: &str) -> i64 {
    let line = output.lines().find_map(|line| line.strip_prefix(thread)).expect("a line for each thread");
    line.trim().parse::<i64>().expect("a number of ms") * 1_000_000
}

/// The answer to "slow or throttled?": the rows of the container, and of the disk in it.
fn answer(file: &Path, device: &Loop) -> (Value, Value) {
    let rows = ktape::stats_json(file, &["slow-or-throttled", "--container", &id('a')[..6]]);
    eprintln!("{rows:#?}");
    let number = device.number();
    let disk = rows.iter().find(|row| text(row, "block.devno|fd.dev") == Some(&*number)).expect("the disk");
    (rows[0].clone(), disk.clone())
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn a_throttled_container() {
    let _guard = Guard::exclusive();
    let device = Loop::make(64 << 20, false);
    let mount = device.mount();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let before = device.stat();
    let output = hang(&mount, &device.number(), &file);
    let counted = device.stat().since(&before);
    let (all, disk) = answer(&file, &device);

    // Its writes took seconds, as its log has it, and its three threads hung.
    assert_as_logged(&disk, &output);
    assert_eq!(
        (text(&all, "block.owner.container|container.id"), int(&all, "hung threads")),
        (Some(&*short('a')), Some(3))
    );
    let hang = int(&all, "longest hang").unwrap();
    // 2.25 MiB at 512 KiB/s.
    assert!(hang > 2_000_000_000, "{hang}");
    // The disk was not slow: the kernel counts less time for all of its writes together.
    let (served, counted_ms) = (int(&disk, "longest in disk").unwrap(), counted[stat::WRITE_MS] as i64);
    assert!(served <= (counted_ms + 1) * 1_000_000 && served * 4 < hang, "{served} {counted_ms} {hang}");
    let bytes = int(&disk, "bytes").unwrap();
    let sectors = counted[stat::WRITE_SECTORS] as i64;
    assert!(bytes >= ((3 * KIB) << 10) as i64 && bytes <= sectors * 512, "{bytes} {sectors}");
    // A limit held its requests, and this is the limit.
    assert!(int(&disk, "throttled").unwrap() > 0, "{disk}");
    let limits = text(&all, "limits").unwrap();
    assert!(limits.contains(&device.number()) && limits.contains(&RATE.to_string()), "{limits}");

    // In which call and kernel function did each thread hang?
    let by = "stall.nr,thread.name";
    let columns = "hangs = count,longest = max(stall.dur),stack = last(stall.stack),disk = last(stall.dev)";
    let selected = ["-e", "stall", "--container", &id('a')[..6]];
    let hangs = ktape::stats_json(&file, &[&selected[..], &["--by", by, "-c", columns]].concat());
    let mut waiting = BTreeSet::new();
    for row in &hangs {
        let thread = text(row, "thread.name").unwrap();
        waiting.insert(thread);
        let (call, function) = match thread {
            "fsync-0" => ("fsync", "ext4_sync_file"),
            _ => ("write", "iomap_dio"),
        };
        assert_eq!((text(row, "stall.nr"), text(row, "disk")), (Some(call), Some(device.name())), "{row}");
        assert!(text(row, "stack").unwrap().contains(function), "{row}");
        assert!(int(row, "longest").unwrap() >= 500_000_000, "{row}");
    }
    assert_eq!(waiting, BTreeSet::from(["direct-0", "direct-1", "fsync-0"]));
    // They were reported while they lasted, too.
    assert!(ktape::count(&file, "evt.type = stall_ongoing and stall.phase = asleep") >= 3);
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
    let before = device.stat();
    let output = hang(&mount, &below.number(), &file);
    let counted = device.stat().since(&before);
    let (all, disk) = answer(&file, &device);
    assert_as_logged(&disk, &output);
    let (hang, served) = (int(&all, "longest hang").unwrap(), int(&disk, "longest in disk").unwrap());
    let counted_ms = counted[stat::WRITE_MS] as i64;
    assert!(hang > 2_000_000_000, "{hang}");
    // This time it is the disk, by the kernel's count as well.
    assert!(served * 2 > hang && served <= (counted_ms + 1) * 1_000_000, "{served} {counted_ms} {hang}");
    assert_eq!(int(&disk, "throttled"), Some(0), "{disk}");
    let limits = text(&all, "limits").unwrap_or_default();
    assert!(!limits.contains(&device.number()), "{limits}");
}
