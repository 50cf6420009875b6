//! Capture files: concatenation, a killed recorder, flipped bits, truncation, pipes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::random::Random;
use ktape_tests::workload;
use ktape_tests::workload::Workload;

fn end(event: &Value) -> i64 {
    int(event, "evt.rawtime").unwrap() + int(event, "evt.latency").unwrap_or(0)
}

/// The events without their numbers, which are counted anew.
fn unnumbered(events: &[Value]) -> Vec<String> {
    let mut all: Vec<String> = events
        .iter()
        .map(|event| {
            let mut event = event.clone();
            for field in ["evt.num", "evt.reltime"] {
                event.as_object_mut().unwrap().remove(field);
            }
            event.to_string()
        })
        .collect();
    all.sort_unstable();
    all
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn concatenated_captures_read_as_one() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    // They overlap in time, so that reading one after the other is not enough.
    let first = Capture::start(&file("a.ktape"), &[]);
    workload::run(workload!(), &["rate", "1000", "1"]);
    let second = Capture::start(&file("b.ktape"), &["-e", "getppid,fork,exec,exit"]);
    workload::run(workload!(), &["rate", "1000", "1"]);
    first.stop();
    workload::run(workload!(), &["rate", "1000", "1"]);
    second.stop();

    let mut both = fs::read(file("a.ktape")).unwrap();
    both.extend(fs::read(file("b.ktape")).unwrap());
    fs::write(file("c.ktape"), both).unwrap();
    let (a, b) = (ktape::replay_json(&file("a.ktape"), &[]), ktape::replay_json(&file("b.ktape"), &[]));
    let c = ktape::replay_json(&file("c.ktape"), &[]);
    assert!(a.len() > 2000 && b.len() > 2000);
    assert_eq!(c.len(), a.len() + b.len());
    assert!(c.windows(2).all(|pair| end(&pair[0]) <= end(&pair[1])), "not in time order");
    let mut expected = unnumbered(&a);
    expected.extend(unnumbered(&b));
    expected.sort_unstable();
    assert!(unnumbered(&c) == expected, "not the same events");
    let check = ktape::run(&["check", file("c.ktape").to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stderr));
    let info = ktape::info(&file("c.ktape"));
    assert_eq!(
        info["events"].as_u64(),
        Some(c.iter().filter(|e| text(e, "evt.type") != Some("loss")).count() as u64)
    );
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn slow_kill_loses_at_most_one_second() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let load = Workload::start(workload!(), &["rate", "5000", "600"]);
    let mut random = Random::new(0x6b74_6170_6521);
    let mut worst = 0;
    for round in 0..20 {
        let file = dir.path().join(format!("{round}.ktape"));
        let capture = Capture::start(&file, &[]);
        std::thread::sleep(Duration::from_millis(random.below(2500)));
        let killed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        capture.kill();
        let out = ktape::run(&["replay", file.to_str().unwrap(), "--format", "json"]);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(0), "round {round}: {stderr}");
        let lines = String::from_utf8(out.stdout).unwrap();
        let last = lines.lines().last().map(|line| end(&serde_json::from_str(line).unwrap()));
        let Some(last) = last else {
            continue;
        };
        let missing = i64::try_from(killed).unwrap() - last;
        worst = worst.max(missing);
        assert!(missing < 1_250_000_000, "round {round}: {missing} ns are missing");
        fs::remove_file(&file).unwrap();
    }
    eprintln!("at most {} ms were missing", worst / 1_000_000);
    load.kill();
}

/// A file of some chunks, how many events it has, and how many the fullest two seconds have: more than any chunk.
fn some_chunks(dir: &Path) -> (Vec<u8>, u64, u64) {
    let file = dir.join("whole.ktape");
    let capture = Capture::start(&file, &["-e", "getppid,fork,exec,exit"]);
    workload::run(workload!(), &["rate", "2000", "6"]);
    capture.stop();
    let events = ktape::replay_json(&file, &[]);
    let ends: Vec<i64> = events.iter().map(end).collect();
    let fullest = ends
        .iter()
        .enumerate()
        .map(|(i, start)| ends[i..].iter().take_while(|end| **end < start + 2_000_000_000).count())
        .max()
        .unwrap();
    (fs::read(&file).unwrap(), events.len() as u64, fullest as u64)
}

/// What is readable of a damaged file; `None` if nothing is, with an error that gives the reason.
fn survivors(file: &Path) -> Option<u64> {
    let out = ktape::run(&["replay", file.to_str().unwrap(), "--count"]);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    let code = out.status.code();
    assert!(code == Some(0) || code == Some(1), "{:?}: {stderr}", out.status);
    if code == Some(1) {
        assert!(!stderr.trim().is_empty(), "failed without a word");
    }
    String::from_utf8(out.stdout).unwrap().trim().parse().ok()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn bit_flip_costs_at_most_one_chunk() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let (whole, events, chunk) = some_chunks(dir.path());
    let file = dir.path().join("flipped.ktape");
    let mut random = Random::new(0x666c_6970);
    let mut unreadable = 0;
    let mut undetected = 0;
    for _ in 0..300 {
        let mut bytes = whole.clone();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        fs::write(&file, bytes).unwrap();
        match survivors(&file) {
            Some(left) => {
                assert!(left + chunk >= events && left <= events, "flip at {at}: {left} of {events} left");
            }
            None => unreadable += 1,
        }
        let check = ktape::run(&["check", file.to_str().unwrap()]);
        undetected += u32::from(check.status.code() == Some(0));
    }
    eprintln!("{unreadable} flips cost the file, {undetected} were not noticed by check");
    assert!(unreadable <= 10, "{unreadable} of 300 flips cost the whole file");
    assert_eq!(undetected, 0);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn truncation_costs_only_the_truncated_chunks() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let (whole, events, chunk) = some_chunks(dir.path());
    let file = dir.path().join("cut.ktape");
    let mut random = Random::new(0x63_7574);
    let mut left_by_length = Vec::new();
    for _ in 0..300 {
        let length = random.below(whole.len() as u64) as usize;
        fs::write(&file, &whole[..length]).unwrap();
        let left = survivors(&file).unwrap_or(0);
        assert!(left <= events);
        left_by_length.push((length, left));
    }
    left_by_length.sort_unstable();
    assert!(left_by_length.windows(2).all(|pair| pair[0].1 <= pair[1].1), "a longer file has fewer events");
    for pair in left_by_length.windows(2) {
        assert!(pair[1].1 - pair[0].1 <= 2 * chunk, "{pair:?}");
    }
    let (length, left) = left_by_length[left_by_length.len() - 1];
    assert!(left + chunk >= events, "{left} of {events} events in {length} of {} bytes", whole.len());
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn capture_pipes_into_replay() {
    let _guard = Guard::exclusive();
    let mut capture = Command::new(ktape::binary())
        .args(["capture", "-o", "-", "-d", "2s", "-e", "getppid"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let replay = Command::new(ktape::binary())
        .args(["replay", "-", "--count", "evt.type=getppid and proc.args contains 4242"])
        .stdin(capture.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The reader counts only what this makes, however long the recorder takes to begin.
    let mut made = 0;
    while capture.try_wait().unwrap().is_none() {
        workload::run(workload!(), &["getppid", "4242"]);
        made += 4242;
    }
    assert!(capture.wait().unwrap().success());
    let out = replay.wait_with_output().unwrap();
    assert!(out.status.success());
    let counted: u64 = String::from_utf8(out.stdout).unwrap().trim().parse().unwrap();
    assert!(counted > 0 && counted <= made, "{counted} of {made}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn closed_stdout_is_not_an_error() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    ktape::record(&file, &[], &[workload!().to_str().unwrap(), "getppid", "200000"]);
    let mut replay = Command::new(ktape::binary())
        .arg("replay")
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(replay.stdout.take());
    let out = replay.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}
