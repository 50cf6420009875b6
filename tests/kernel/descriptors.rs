//! Names of descriptors: those of the kernel's `/proc/PID/fd`, and of the file that a call worked on.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text, truth};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

/// A call on a descriptor, as the workload printed it.
#[derive(Debug)]
struct Marked<'a> {
    number: i64,
    pid: i64,
    what: &'a str,
    ty: &'a str,
    inode: i64,
    is_deleted: bool,
    name: &'a str,
}

impl<'a> Marked<'a> {
    fn parse(line: &'a str) -> Self {
        let words: Vec<&str> = line.split('\t').collect();
        let [number, pid, what, ty, inode, deleted, name] = words[..] else { panic!("not a call: {line}") };
        let [number, pid, inode] = [number, pid, inode].map(|text| text.parse().unwrap());
        Self { number, pid, what, ty, inode, is_deleted: deleted == "true", name }
    }
}

/// Starts a load in a directory of its own, and waits until it is ready.
fn start(load: &str, dir: &Path) -> Workload {
    std::fs::create_dir(dir).unwrap();
    let mut load = Workload::start(workload!(), &[load, dir.to_str().unwrap()]);
    assert_eq!(load.line(), "ready");
    load
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn descriptors_of_every_kind_have_the_names_that_the_kernel_has_for_them() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let start = |name: &str| start("descriptors", &dir.path().join(name));
    let mut before = start("before");
    let capture = Capture::start(&file, &[]);
    let mut after = start("after");
    before.go();
    after.go();
    let out = [before.finish(), after.finish()];
    capture.stop();

    for (out, when) in out.iter().zip(["before", "after"]) {
        assert!(out.lines().count() >= 40, "{out}");
        let wrong = differences(&file, out);
        assert!(wrong.is_empty(), "opened {when} the capture began: {wrong:#?}");
    }
}

/// A file is known by its mount, and not by where that is.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn files_on_a_mount_that_is_moved_have_the_path_that_they_have_then() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let out = workload::run(workload!(), &["descriptors-move", dir.path().to_str().unwrap(), "50"]);
    capture.stop();
    assert_eq!(out.lines().count(), 100, "{out}");
    let wrong = differences(&file, &out);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the events of the calls that a workload printed have otherwise than the kernel.
fn differences(file: &Path, out: &str) -> Vec<String> {
    let fields = "proc.pid,evt.rawarg.offset,fd.name,fd.type,fd.ino,fd.deleted";
    let events =
        ktape::replay_json(file, &["evt.type=lseek and evt.rawarg.offset >= 1000000", "--fields", fields]);
    let number = |event: &Value| (int(event, "proc.pid").unwrap(), int(event, "evt.rawarg.offset").unwrap());
    let events: HashMap<_, _> = events.iter().map(|event| (number(event), event)).collect();
    let of = |call: Marked<'_>| {
        let event = events.get(&(call.pid, call.number)).unwrap_or_else(|| panic!("no {call:?}"));
        Some(format!("{}: {}", call.what, difference(&call, event)?))
    };
    out.lines().map(Marked::parse).filter_map(of).collect()
}

/// What the event of a call has otherwise than the kernel.
fn difference(call: &Marked<'_>, event: &Value) -> Option<String> {
    // For the kernel, memory without a name is deleted.
    let is_deleted = call.is_deleted && call.ty != "memfd";
    let found =
        (text(event, "fd.name"), text(event, "fd.type"), int(event, "fd.ino"), truth(event, "fd.deleted"));
    let expected = (Some(call.name), Some(call.ty), Some(call.inode), is_deleted);
    (found != expected).then(|| format!("{expected:?} (kernel), {found:?} (ktape)"))
}

/// What became of the reads of the race.
#[derive(Debug, Default)]
struct Race {
    named: u64,
    unknown: u64,
    /// Lost events.
    missing: u64,
    wrong: Vec<String>,
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn a_descriptor_that_other_threads_replace_has_the_name_of_the_file_that_was_read() {
    const READS: u64 = 150_000;
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "pread64", "--buffer", "32MiB"]);
    let path = dir.path().to_str().unwrap();
    let out = workload::run(workload!(), &["descriptor-race", path, "8", &READS.to_string()]);
    capture.stop().expect_little_loss();
    let race = check_race(&file, dir.path(), &out);
    eprintln!(
        "{} reads have the right name, {} none, {} another one",
        race.named,
        race.unknown,
        race.wrong.len()
    );
    assert!(race.wrong.is_empty(), "{:#?}", &race.wrong[..race.wrong.len().min(20)]);
    let all = race.named + race.unknown;
    // What was replaced between entry and return is unknown: of these reads, which do nothing else, 0.1 to 2 %.
    assert!(all >= 100_000 && race.unknown * 20 < all && race.missing <= 20, "{race:?}");
}

fn check_race(file: &Path, dir: &Path, out: &str) -> Race {
    let fields = ["evt.type=pread64 and evt.rawarg.count >= 1048576", "--fields", "evt.rawarg.count,fd.name"];
    let events = ktape::replay_json(file, &fields);
    let names: HashMap<i64, Option<&str>> = events
        .iter()
        .map(|event| (int(event, "evt.rawarg.count").unwrap(), text(event, "fd.name")))
        .collect();
    let mut race = Race::default();
    for line in out.lines() {
        let (count, number) = line.split_once(' ').unwrap();
        let expected = dir.join(format!("file-{number}"));
        match names.get(&count.parse().unwrap()) {
            Some(Some(name)) if Path::new(name) == expected => race.named += 1,
            Some(Some(name)) => race.wrong.push(format!("read {}, recorded {name}", expected.display())),
            Some(None) => race.unknown += 1,
            None => race.missing += 1,
        }
    }
    race
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn almost_all_calls_with_a_descriptor_have_a_name_whenever_their_process_began() {
    const LINES: u64 = 20;
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let start = |name: &str| start("descriptor-load", &dir.path().join(name));
    let mut before = start("before");
    let capture = Capture::start(&file, &["--buffer", "32MiB"]);
    let mut after = start("after");
    for _ in 0..LINES {
        before.line();
        after.line();
    }
    capture.stop();
    drop((before, after));
    // Calls with an invalid descriptor work on nothing.
    let valid = "fd.num >= 0 and evt.res != EBADF";
    let all = ktape::count(&file, valid);
    let unnamed = format!("{valid} and not fd.name exists");
    let unnamed = ktape::replay_json(&file, &[&unnamed]);
    eprintln!("{} of {all} calls with a descriptor have no name", unnamed.len());
    let shown = &unnamed[..unnamed.len().min(20)];
    assert!(all > 20_000, "{all}");
    assert!((unnamed.len() as u64) * 1000 <= all, "{} of {all}: {shown:#?}", unnamed.len());
}
