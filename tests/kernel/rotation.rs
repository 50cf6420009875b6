//! Rotation and retention: files stay within their limits, and other files are not touched.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload::Workload;
use ktape_tests::{wait, workload};

const MIB: u64 = 1 << 20;

/// The files of a series, the oldest first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ktape"))
        .collect();
    all.sort();
    all
}

/// Of every file, and that it is sound.
fn infos(dir: &Path) -> Vec<serde_json::Value> {
    files(dir)
        .iter()
        .map(|file| {
            let check = ktape::run(&["check", file.to_str().unwrap()]);
            assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stderr));
            ktape::info(file)
        })
        .collect()
}

fn uuids(dir: &Path) -> BTreeSet<String> {
    infos(dir).iter().map(|info| text(info, "uuid").unwrap().to_owned()).collect()
}

fn calls(dir: &Path, pid: u32) -> u64 {
    let question = format!("evt.type=getppid and proc.pid={pid}");
    files(dir).iter().map(|file| ktape::count(file, &question)).sum()
}

/// Bytes on the disk.
fn usage(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let sizes = fs::read_dir(dir).unwrap().filter_map(|entry| entry.ok()?.metadata().ok());
    sizes.map(|meta| meta.blocks() * 512).sum()
}

fn start(dir: &Path, args: &[&str]) -> Capture {
    Capture::start(Path::new(&format!("{}/", dir.display())), args)
}

/// Makes this many calls; returns the process that made them.
fn flood(calls: u64) -> u32 {
    let load = Workload::start(workload!(), &["getppid", &calls.to_string()]);
    let pid = load.pid();
    load.finish();
    pid
}

/// A small file system in memory; gone when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success());
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn every_call_is_in_exactly_one_rotated_file() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    // Of block I/O, which comes in interrupts, the kernel skips some now and then.
    let capture = start(dir.path(), &["--rotate", "1s", "-e", "syscall"]);
    let load = Workload::start(workload!(), &["rate", "20000", "6"]);
    let pid = load.pid();
    load.finish();
    let ended = capture.stop();
    let infos = infos(dir.path());
    // A file ends with a chunk, which has up to a second of its own.
    assert!(infos.len() >= 3, "{} files: {}", infos.len(), ended.stderr);
    assert!(infos.iter().all(|info| info["lost"] == 0 && info["unfinished"] == 0), "{infos:#?}");
    assert_eq!(uuids(dir.path()).len(), 1);
    let calls = calls(dir.path(), pid);
    assert!(calls >= 120_000, "{calls}");
    // Read as one, it is the same.
    let all = ktape::count(dir.path(), &format!("evt.type=getppid and proc.pid={pid}"));
    assert_eq!(all, calls);
    assert!(ended.stderr.contains(&format!("{} files written, 0 deleted", infos.len())), "{}", ended.stderr);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn rotated_files_stay_within_rotate_and_max_size() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let (rotate, max) = (512 << 10, 3 * MIB);
    let args = ["--rotate", "512KiB", "--max-size", "3MiB", "-e", "syscall", "--min-free", "0"];
    let capture = start(dir.path(), &args);
    let mut load = Workload::start(workload!(), &["rate", "400000", "12"]);
    let (mut most, mut largest) = (0, 0);
    wait::until("files to be deleted", Duration::from_secs(60), || {
        most = most.max(usage(dir.path()));
        let sizes = files(dir.path()).into_iter().filter_map(|file| Some(fs::metadata(file).ok()?.len()));
        largest = largest.max(sizes.max().unwrap_or(0));
        load.has_ended().then_some(())
    });
    let ended = capture.stop();
    assert!(!ended.stderr.contains(" 0 deleted"), "{}", ended.stderr);
    assert!(most <= max && most > max / 2, "{most} of {max}");
    assert!(largest <= rotate && largest > rotate / 2, "{largest} of {rotate}");
    assert!(infos(dir.path()).iter().all(|info| info["lost"] == 0));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn keep_limits_number_and_age_of_files() {
    let _guard = Guard::exclusive();
    for (keep, expected) in [("2", 2..=2), ("2s", 2..=4)] {
        let dir = tempfile::tempdir().unwrap();
        let capture = start(dir.path(), &["--rotate", "1s", "--keep", keep]);
        Workload::start(workload!(), &["rate", "1000", "6"]).finish();
        let ended = capture.stop();
        let files = files(dir.path()).len();
        assert!(expected.contains(&files), "--keep {keep}: {files} files: {}", ended.stderr);
        assert!(!ended.stderr.contains(" 0 deleted"), "{}", ended.stderr);
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn rotation_continues_and_leaves_foreign_files_alone() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let args = ["--rotate", "1h", "--keep", "2"];
    let capture = start(dir.path(), &args);
    let first = files(dir.path()).remove(0);
    // No other recorder writes the same series.
    let text = format!("{}/", dir.path().display());
    let out = ktape::run(&["capture", "-d", "1s", "-o", &text, "--rotate", "1h"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("another ktape writes `"), "{out:?}");
    capture.stop();
    let name = first.file_name().unwrap().to_str().unwrap();
    let prefix = &name[..name.len() - "20261126T000000.000Z.ktape".len()];
    // A capture of its own, and no capture, under such names.
    let (own, none) =
        (dir.path().join(format!("{prefix}1.ktape")), dir.path().join(format!("{prefix}2.ktape")));
    ktape::record(&own, &[], &["true"]);
    fs::write(&none, b"mine").unwrap();

    let mut ids = BTreeSet::new();
    for round in 0..3 {
        let capture = start(dir.path(), &args);
        if round == 1 {
            capture.kill();
        } else {
            capture.stop();
        }
        ids.insert(text_of(&ktape::info(
            files(dir.path()).iter().rfind(|f| **f != own && **f != none).unwrap(),
        )));
    }
    assert_eq!(ids.len(), 1, "one series has one id");
    assert!(!first.exists(), "the oldest is gone");
    assert!(own.exists() && none.exists());
    assert_eq!(files(dir.path()).len(), 4);
}

fn text_of(info: &serde_json::Value) -> String {
    text(info, "uuid").unwrap().to_owned()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn sighup_starts_the_next_file() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let capture = start(dir.path(), &["--rotate", "1h"]);
    for wanted in 2..=3 {
        wait::until("a chunk in the file", wait::TIMEOUT, || {
            (fs::metadata(files(dir.path()).last()?).ok()?.len() > 100_000 || {
                flood(1000);
                ktape::info(files(dir.path()).last()?)["chunks"].as_u64()? > 0
            })
            .then_some(())
        });
        capture.signal(libc::SIGHUP);
        wait::until("the next file", wait::TIMEOUT, || {
            flood(10);
            (files(dir.path()).len() == wanted).then_some(())
        });
    }
    capture.stop();
    assert_eq!(uuids(dir.path()).len(), 1);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn max_size_ends_a_single_file() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["--max-size", "512KiB", "-e", "syscall"]);
    let pid = flood(3_000_000);
    let ended = capture.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopped: --max-size limit of 512.0 KiB reached"), "{}", ended.stderr);
    let size = fs::metadata(&file).unwrap().len();
    assert!(size <= 512 << 10 && size > 256 << 10, "{size}");
    assert_eq!(ktape::run(&["check", file.to_str().unwrap()]).status.code(), Some(0));
    let written = ktape::count(&file, &format!("evt.type=getppid and proc.pid={pid}"));
    assert!(written > 0 && written < 3_000_000);
    // Events between the limit and the end are counted as lost.
    assert!(ktape::info(&file)["lost"].as_u64().unwrap() > 0);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn min_free_ends_a_file_and_deletes_rotated_files() {
    let _guard = Guard::exclusive();
    let small = Small::mount(16 * MIB);
    let file = small.path().join("x.ktape");
    let capture = Capture::start(&file, &["--min-free", "8MiB", "-e", "syscall"]);
    let load = Workload::start(workload!(), &["rate", "2000000", "60"]);
    let ended = capture.wait();
    load.kill();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("below the --min-free limit of 8.0 MiB"), "{}", ended.stderr);
    assert!(fs::metadata(&file).unwrap().len() <= 8 * MIB);
    assert_eq!(ktape::run(&["check", file.to_str().unwrap()]).status.code(), Some(0));
    // There is no room to begin with.
    let out =
        ktape::run(&["capture", "-d", "1s", "--min-free", "15MiB", "-o", &format!("{}2", file.display())]);
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("free some space or pass --min-free 0"), "{said}");
    assert_eq!(fs::read_dir(small.path()).unwrap().count(), 1);
    fs::remove_file(&file).unwrap();

    let capture = start(small.path(), &["--rotate", "512KiB", "--min-free", "12MiB", "-e", "syscall"]);
    let pid = flood(8_000_000);
    let ended = capture.stop();
    assert!(!ended.stderr.contains(" 0 deleted"), "{}", ended.stderr);
    assert!(usage(small.path()) <= 4 * MIB);
    assert!(calls(small.path(), pid) > 0);
    assert!(infos(small.path()).iter().all(|info| info["lost"] == 0));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn full_disk_leaves_a_readable_file_and_counts_losses() {
    const MADE: u64 = 6_000_000;
    let _guard = Guard::exclusive();
    let small = Small::mount(4 * MIB);
    let file = small.path().join("x.ktape");
    let capture = Capture::start(&file, &["--min-free", "0", "-e", "syscall"]);
    let pid = flood(MADE);
    let ended = capture.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopped: out of disk space"), "{}", ended.stderr);
    let check = ktape::run(&["check", file.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stderr));
    let info = ktape::info(&file);
    assert_eq!(info["unfinished"], 0, "{info}");
    let written = ktape::count(&file, &format!("evt.type=getppid and proc.pid={pid}"));
    let lost: i64 = ktape::replay_json(&file, &["-e", "loss"])
        .iter()
        .filter(|loss| text(loss, "loss.stage") == Some("writer"))
        .filter_map(|loss| int(loss, "loss.count"))
        .sum();
    assert!(written > 0 && lost > 0, "{written} written, {lost} lost");
    fs::remove_file(&file).unwrap();

    // A series makes room.
    let capture = start(small.path(), &["--rotate", "512KiB", "--min-free", "0", "-e", "syscall"]);
    flood(MADE);
    let ended = capture.stop();
    assert!(!ended.stderr.contains(" 0 deleted"), "{}", ended.stderr);
    assert!(infos(small.path()).iter().all(|info| info["unfinished"] == 0));
}

/// Bits of linux/capability.h: SYS_PTRACE, SYS_NICE, DAC_READ_SEARCH, SYSLOG, PERFMON, BPF.
const KEPT: u64 = 1 << 19 | 1 << 23 | 1 << 2 | 1 << 34 | 1 << 38 | 1 << 39;
/// And CHOWN, DAC_OVERRIDE, FOWNER, for further files.
const FOR_FILES: u64 = 1 | 1 << 1 | 1 << 3;

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn unneeded_capabilities_are_dropped() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let look = |capture: &Capture, allowed: u64| {
        let mut threads = 0;
        for task in fs::read_dir(format!("/proc/{}/task", capture.pid())).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let set = |key: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
                u64::from_str_radix(line.trim(), 16).unwrap()
            };
            for key in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert_eq!(set(key) & !allowed, 0, "{key} {status}");
            }
            threads += 1;
        }
        assert!(threads >= 4, "{threads}");
    };
    let capture = Capture::start(&dir.path().join("x.ktape"), &[]);
    look(&capture, KEPT);
    capture.stop();
    let capture = start(dir.path(), &["--rotate", "1s"]);
    look(&capture, KEPT | FOR_FILES);
    capture.stop();
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn service_manager_is_notified() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(wait::TIMEOUT)).unwrap();
    let file = dir.path().join("x.ktape");
    let mut command = Command::new(ktape::binary());
    command
        .args(["capture", "-o"])
        .arg(&file)
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .env("WATCHDOG_USEC", "400000")
        .env_remove("WATCHDOG_PID");
    let capture = Capture::spawn(command, &file);
    let next = || {
        let mut buffer = [0; 256];
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len]).trim().to_owned()
    };
    assert_eq!(next(), "READY=1");
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    capture.signal(libc::SIGTERM);
    let last = wait::until("the notification of the end", wait::TIMEOUT, || {
        let word = next();
        (word != "WATCHDOG=1").then_some(word)
    });
    assert_eq!(last, "STOPPING=1");
    assert!(capture.wait().status.success());
}
