//! Rotation on a disk that fails or hangs: memory stays bounded, losses are counted, and the capture ends.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ktape_tests::device::{Loop, run};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};
use ktape_tests::workload::Workload;
use ktape_tests::{wait, workload};

/// What the recorder may use beside its rings, KiB.
const MEMORY_KIB: u64 = 64 << 10;

fn anonymous(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The device is a loop over a file in a file system that becomes full: writes to it fail with an I/O error.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn io_error_ends_the_capture() {
    let _guard = Guard::exclusive();
    let small = tempfile::tempdir().unwrap();
    run(&["mount", "-t", "tmpfs", "-o", "size=40m", "none", small.path().to_str().unwrap()]);
    let unmount = Unmount(small.path());
    let device = Loop::over(&small.path().join("disk"), 256 << 20, false);
    let mount = device.mount();
    let series = format!("{}/", mount.path().display());
    let capture =
        Capture::start(Path::new(&series), &["--rotate", "4MiB", "--min-free", "0", "-e", "syscall"]);
    let pid = capture.pid();
    let load = Workload::start(workload!(), &["rate", "1500000", "120"]);
    // Nothing is left of what is behind the device.
    fs::write(small.path().join("filler"), vec![0u8; 64 << 20]).unwrap_err();
    let mut most = 0;
    wait::until("the capture to end by itself", Duration::from_secs(60), || {
        most = most.max(anonymous(pid));
        fs::metadata(format!("/proc/{pid}/exe")).is_err().then_some(())
    });
    let ended = capture.wait();
    load.kill();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("cannot write") && last.contains("what was written before is readable"), "{last}");
    assert!(most < MEMORY_KIB, "{most} KiB");
    drop((mount, device, unmount));
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn hanging_device_bounds_memory_of_rotation() {
    let _guard = Guard::exclusive();
    let disk = Loop::make(512 << 20, false);
    let mount = disk.mount();
    let series = format!("{}/", mount.path().display());
    let capture = Capture::start(Path::new(&series), &["--rotate", "1s", "-e", "syscall,fork,exec,exit"]);
    let pid = capture.pid();
    Workload::start(workload!(), &["rate", "20000", "2"]).finish();
    let frozen = mount.freeze();
    let load = Workload::start(workload!(), &["getppid", "12000000"]);
    let maker = load.pid();
    let mut most = 0;
    let began = Instant::now();
    wait::until("six seconds to pass", Duration::from_secs(20), || {
        most = most.max(anonymous(pid));
        (began.elapsed() > Duration::from_secs(6)).then_some(())
    });
    load.finish();
    drop(frozen);
    // It goes on, once the rings are empty again: what comes then is written. A single call tells, tried until one is there.
    let count = |pid: u32| ktape::count(mount.path(), &format!("evt.type=getppid and proc.pid={pid}"));
    wait::until("it to go on", Duration::from_secs(20), || {
        let one = Workload::start(workload!(), &["getppid", "1"]);
        let (pid, began) = (one.pid(), Instant::now());
        one.finish();
        while began.elapsed() < Duration::from_secs(3) {
            if count(pid) == 1 {
                return Some(());
            }
        }
        None
    });
    let load = Workload::start(workload!(), &["getppid", "1234"]);
    let after = load.pid();
    load.finish();
    most = most.max(anonymous(pid));
    let ended = capture.stop();
    assert!(most < MEMORY_KIB, "{most} KiB");
    assert_eq!(count(after), 1234, "{}", ended.stderr);
    let (written, lost) = (count(maker), ktape::info(mount.path())["lost"].as_u64().unwrap());
    eprintln!("{written} written, {lost} lost, {most} KiB");
    assert!(lost > 0 && written < 12_000_000 && written + lost >= 12_000_000, "{written} and {lost}");
    let check = ktape::run(&["check", mount.path().to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));

    // Stopped while it waits, it gives up in time, and is gone when the disk answers: a thread in the kernel's hands
    // cannot be killed.
    let capture = Capture::start(Path::new(&series), &["--rotate", "1s"]);
    let pid = capture.pid();
    let frozen = mount.freeze();
    Workload::start(workload!(), &["getppid", "3000000"]).finish();
    let began = Instant::now();
    capture.signal(libc::SIGTERM);
    wait::until("all but what the disk holds to be gone", Duration::from_secs(6), || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let held = |task: &fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").map_or('X', |(_, rest)| rest.chars().next().unwrap_or('X'));
            !matches!(state, 'D' | 'Z' | 'X')
        };
        (tasks.filter(held).count() == 0).then_some(())
    });
    let took = began.elapsed();
    drop(frozen);
    let ended = capture.wait();
    eprintln!("it gave up after {took:?}: {}", ended.stderr);
    assert!(took < Duration::from_millis(5500), "{took:?}");
    let check = ktape::run(&["check", mount.path().to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
}
