//! Samples of resources against the files that the kernel keeps them in, read beside the recorder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ktape_tests::cgroup;
use ktape_tests::container::{Options, Runtime};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::readings::{absent, bracketed, last, number, read, total, value};
use ktape_tests::wait::{TIMEOUT, until};

const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";
const MIB: i64 = 1 << 20;
const ALL: &str = "sample,sample_host,sample_disk,sample_fs";

/// Where a v1 controller has the container's cgroup.
fn v1(controller: &str) -> PathBuf {
    let dir = Path::new("/sys/fs/cgroup").join(controller).join("docker").join(A);
    assert!(dir.is_dir(), "{} is missing: this test knows the hybrid layout", dir.display());
    dir
}

/// The numbers in the container's cgroup files.
fn cgroup_files() -> BTreeMap<&'static str, i64> {
    let v2 = cgroup::v2_root().join("docker").join(A);
    let cpu2 = read(v2.join("cpu.stat"));
    let (cpu, memory, pids, blkio) = (v1("cpu"), v1("memory"), v1("pids"), v1("blkio"));
    let cpu_stat = read(cpu.join("cpu.stat"));
    let memory_stat = read(memory.join("memory.stat"));
    let processes = read(v2.join("cgroup.procs"));
    let fds: usize = processes
        .lines()
        .map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.flatten().count()))
        .sum();
    let io = |file: &str, what: &str| -> i64 {
        let text = read(blkio.join(file));
        let lines = text.lines().filter(|line| line.contains(what));
        lines.map(|line| number(line.rsplit_once(' ').unwrap().1)).sum()
    };
    let (bytes, ops) = ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive");
    BTreeMap::from([
        ("sample.processes", processes.lines().count() as i64),
        ("sample.threads", read(v2.join("cgroup.threads")).lines().count() as i64),
        ("sample.fds", fds as i64),
        ("sample.mem", number(&read(memory.join("memory.usage_in_bytes")))),
        ("sample.mem_peak", number(&read(memory.join("memory.max_usage_in_bytes")))),
        ("sample.mem_anon", value(&memory_stat, "total_rss")),
        ("sample.mem_file", value(&memory_stat, "total_cache")),
        ("sample.mem_limit", number(&read(memory.join("memory.limit_in_bytes")))),
        ("sample.mem_failures", number(&read(memory.join("memory.failcnt")))),
        ("sample.oom_kills", value(&read(memory.join("memory.oom_control")), "oom_kill")),
        ("sample.cpu_time", value(&cpu2, "usage_usec") * 1000),
        ("sample.cpu_user", value(&cpu2, "user_usec") * 1000),
        ("sample.cpu_system", value(&cpu2, "system_usec") * 1000),
        ("sample.cpu_shares", number(&read(cpu.join("cpu.shares")))),
        ("sample.cpu_quota", number(&read(cpu.join("cpu.cfs_quota_us"))) * 1000),
        ("sample.cpu_period", number(&read(cpu.join("cpu.cfs_period_us"))) * 1000),
        ("sample.cpu_periods", value(&cpu_stat, "nr_periods")),
        ("sample.cpu_throttled", value(&cpu_stat, "nr_throttled")),
        ("sample.cpu_throttled_time", value(&cpu_stat, "throttled_time")),
        ("sample.pids", number(&read(pids.join("pids.current")))),
        ("sample.pids_max", number(&read(pids.join("pids.max")))),
        ("sample.pids_failures", value(&read(pids.join("pids.events")), "max")),
        ("sample.io_read", io(bytes, "Read")),
        ("sample.io_written", io(bytes, "Write")),
        ("sample.io_reads", io(ops, "Read")),
        ("sample.io_writes", io(ops, "Write")),
        ("sample.cpu_pressure", total(&read(v2.join("cpu.pressure")), "some")),
        ("sample.mem_pressure", total(&read(v2.join("memory.pressure")), "some")),
        ("sample.io_pressure", total(&read(v2.join("io.pressure")), "some")),
    ])
}

/// The whole disk that a file lies on, as `major:minor`.
fn disk_of(path: &Path) -> String {
    let device = fs::metadata(path).unwrap().dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    match fs::read_to_string(format!("/sys/dev/block/{number}/partition")) {
        Ok(_) => read(format!("/sys/dev/block/{number}/../dev")).trim().to_owned(),
        Err(_) => number,
    }
}

/// Writes a file of this size and puts it out of memory.
fn cold_file(path: &Path, bytes: i64) {
    use std::os::fd::AsRawFd;
    fs::write(path, vec![7; bytes as usize]).unwrap();
    let file = fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    // SAFETY: an open descriptor and integers.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn container_sample_equals_cgroup_files() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    // Reads from the disk more than its memory, uses more CPU than its quota, allocates more than its memory, makes
    // more processes than it may have (and the one that made them ends). Then nothing more happens in it.
    let script = "while [ ! -e /tmp/go ]; do sleep 0.02; done
        cat /tmp/cold >/dev/null
        i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done
        dd if=/dev/zero of=/dev/null bs=100M count=1
        (while :; do sleep 100 & done)
        echo full
        exec sleep 100";
    let path = format!("/docker/{A}");
    let capture = Capture::start(&file, &["-e", &format!("{ALL},cgroup_mkdir"), "--sample", "200ms"]);
    let container = runtime
        .start("sampled", &Options { cgroup: &path, args: &["/bin/sh", "-c", script], seccomp: false });
    let inside = PathBuf::from(format!("/proc/{}/root/tmp", container.pid));
    cold_file(&inside.join("cold"), 48 * MIB);
    let write = |controller: &str, name: &str, text: &str| {
        fs::write(v1(controller).join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    write("memory", "memory.limit_in_bytes", &(32 * MIB).to_string());
    write("cpu", "cpu.shares", "512");
    write("cpu", "cpu.cfs_quota_us", "5000");
    write("pids", "pids.max", "20");
    let disk = disk_of(&inside.join("cold"));
    write("blkio", "blkio.throttle.read_bps_device", &format!("{disk} 1073741824"));
    write("blkio", "blkio.throttle.write_iops_device", &format!("{disk} 100000"));
    let first = cgroup_files();
    fs::write(inside.join("go"), "").unwrap();
    until("the container to have done it all", TIMEOUT, || {
        let pids = number(&read(v1("pids").join("pids.current")));
        (container.output().contains("full") && pids == 19).then_some(())
    });
    // Quiet: the same twice.
    let before = until("the container to be quiet", TIMEOUT, || {
        let one = cgroup_files();
        std::thread::sleep(Duration::from_millis(30));
        (one == cgroup_files()).then_some(one)
    });
    capture.stop();
    let after = cgroup_files();

    let events = ktape::replay_json(&file, &["-e", "sample", &format!("container.full_id={A}")]);
    let row = last(&events, "sample", |_| true);
    bracketed(&row, &before, &after);
    assert_eq!(text(&row, "sample.cgroup"), Some(path.as_str()), "{row}");
    assert_eq!(text(&row, "container.full_id"), Some(A), "{row}");
    assert_eq!(int(&row, "cgroup.id"), Some(container.cgroup_id() as i64), "{row}");
    assert_eq!(
        text(&row, "sample.io_limits"),
        Some(format!("{disk} rbps=1073741824 wiops=100000").as_str()),
        "{row}"
    );
    // The cpu controller is v1's.
    absent(&row, &["sample.cpu_weight"]);
    let is = |field: &str, expected: i64| assert_eq!(int(&row, field), Some(expected), "{field}: {row}");
    is("sample.mem_limit", 32 * MIB);
    is("sample.cpu_shares", 512);
    is("sample.cpu_quota", 5_000_000);
    is("sample.cpu_period", 100_000_000);
    is("sample.pids_max", 20);
    is("sample.pids", 19);
    is("sample.processes", 19);
    is("sample.threads", 19);
    is("sample.oom_kills", 1);
    let least = |field: &str, least: i64| {
        let found = int(&row, field).unwrap_or_default() - first.get(field).copied().unwrap_or_default();
        assert!(found >= least, "{field}: {found} < {least}: {row}");
    };
    least("sample.pids_failures", 1);
    least("sample.mem_failures", 1);
    least("sample.io_read", 48 * MIB);
    least("sample.io_reads", 5);
    least("sample.cpu_time", 50_000_000);
    least("sample.cpu_throttled", 1);
    least("sample.cpu_throttled_time", 1);
    assert!(int(&row, "sample.mem_peak").unwrap() > 31 * MIB, "{row}");

    // There are rows from while it ran, and counters only grow.
    assert!(events.len() >= 3, "{} rows", events.len());
    for pair in events.windows(2) {
        for field in ["sample.cpu_time", "sample.io_read", "sample.cpu_periods", "sample.mem_failures"] {
            assert!(int(&pair[0], field) <= int(&pair[1], field), "{field}: {} {}", pair[0], pair[1]);
        }
    }
    // The growth in a row is the difference of the counters.
    let growth = [
        ("sample.cpu_used", "sample.cpu_time"),
        ("sample.throttled_for", "sample.cpu_throttled_time"),
        ("sample.bytes_read", "sample.io_read"),
        ("sample.bytes_written", "sample.io_written"),
    ];
    // Of a new cgroup, the first row counts since its creation.
    let created =
        ktape::replay_json(&file, &["-e", "cgroup_mkdir", &format!("cgroup_mkdir.cgroup = {path}")]);
    let since = int(&events[0], "evt.rawtime").unwrap() - int(&created[0], "evt.rawtime").unwrap();
    assert_eq!(int(&events[0], "sample.interval"), Some(since), "{}", events[0]);
    assert!(int(&events[0], "sample.cpu_used") > Some(0), "{}", events[0]);
    for (used, counter) in growth {
        assert_eq!(int(&events[0], used), int(&events[0], counter), "{used}: {}", events[0]);
    }
    // Others existed before.
    let host = ktape::replay_json(&file, &["-e", "sample", "cgroup.path = /"]);
    absent(&host[0], &["sample.interval", "sample.cpu_used", "sample.bytes_read", "sample.throttled_for"]);
    for pair in events.windows(2) {
        let difference = |field: &str| Some(int(&pair[1], field)? - int(&pair[0], field)?);
        assert_eq!(int(&pair[1], "sample.interval"), difference("evt.rawtime"), "{}", pair[1]);
        for (used, counter) in growth {
            assert_eq!(int(&pair[1], used), difference(counter), "{used}: {} {}", pair[0], pair[1]);
        }
    }
    let percent = (int(&row, "sample.mem").unwrap() * 100 + 16 * MIB) / (32 * MIB);
    let selected = format!("sample.mem_percent = {percent} and sample.pids_percent = 95");
    assert!(ktape::count(&file, &format!("container.full_id={A} and {selected}")) >= 1, "{row}");
    assert!(ktape::count(&file, &format!("container.full_id={A} and sample.cpu_limit_percent > 50")) >= 1);

    // The cgroup above counts what is below.
    let above = ktape::replay_json(&file, &["-e", "sample", "cgroup.path=/docker"]);
    let above = above.last().expect("a row of /docker");
    assert_eq!(int(above, "sample.processes"), Some(19), "{above}");
    assert_eq!(int(above, "sample.fds"), int(&row, "sample.fds"), "{above}");
    assert_eq!(ktape::count(&file, "loss.kind=sample"), 0);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn sample_off_records_none_and_container_filter_keeps_host_samples() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[]);
    let dir = tempfile::tempdir().unwrap();
    let (off, one) = (dir.path().join("off"), dir.path().join("one"));
    let sleep = ["/bin/sleep", "100"];
    let path = format!("/docker/{A}");
    let _container = runtime.start("only", &Options { cgroup: &path, args: &sleep, seccomp: false });
    ktape::record(
        &off,
        &["--sample", "off", "-e", "sample,sample_host,sample_disk,sample_fs,exec"],
        &["sleep", "0.3"],
    );
    for kind in ALL.split(',') {
        assert_eq!(ktape::count(&off, &format!("evt.category={kind}")), 0, "{kind}");
    }
    let capture = Capture::start(&one, &["--sample", "50ms", "-e", ALL, "--container", &A[..8]]);
    std::thread::sleep(Duration::from_millis(200));
    capture.stop();
    let samples = ktape::replay_json(&one, &["evt.category=sample"]);
    assert!(samples.len() >= 2, "the first and the last are always told: {samples:?}");
    for row in &samples {
        assert_eq!(text(row, "container.full_id"), Some(A), "{row}");
    }
    assert!(ktape::count(&one, "evt.category=sample_host") >= 2);
}

/// Many cgroups, with a process in some of them.
struct Crowd {
    dirs: Vec<PathBuf>,
    children: Vec<Child>,
}

impl Crowd {
    fn make(count: usize, processes: usize) -> Self {
        let mut crowd = Self { dirs: Vec::new(), children: Vec::new() };
        for root in cgroup::roots() {
            let parent = root.join("ktape-crowd");
            if fs::create_dir(&parent).is_ok() {
                crowd.dirs.push(parent.clone());
                for number in 0..count {
                    let dir = parent.join(number.to_string());
                    fs::create_dir(&dir).unwrap();
                    crowd.dirs.push(dir);
                }
            }
        }
        let v2 = cgroup::v2_root().join("ktape-crowd");
        for number in 0..processes {
            let mut sleep = Command::new("sh");
            let script = "echo $$ > \"$0\"; while :; do sleep 0.3; done";
            sleep.args(["-c", script]).arg(v2.join(number.to_string()).join("cgroup.procs"));
            sleep.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            crowd.children.push(sleep.spawn().unwrap());
        }
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let start = Instant::now();
        for dir in self.dirs.iter().rev() {
            // A sleep of a child may be in it for a moment still.
            while fs::remove_dir(dir).is_err() && start.elapsed() < TIMEOUT {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn sampling_three_hundred_cgroups_is_cheap() {
    let _guard = Guard::exclusive();
    let _crowd = Crowd::make(300, 100);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", ALL]);
    let tasks = PathBuf::from(format!("/proc/{}/task", capture.pid()));
    let thread = until("the thread that samples", TIMEOUT, || {
        let tasks = fs::read_dir(&tasks).ok()?.flatten();
        let mut tasks = tasks.map(|task| task.path());
        tasks.find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "ktape-sample\n"))
    });
    let used = || number(read(thread.join("schedstat")).split(' ').next().unwrap());
    std::thread::sleep(Duration::from_millis(500));
    let (began, before) = (Instant::now(), used());
    std::thread::sleep(Duration::from_secs(6));
    let share = (used() - before) as f64 * 100.0 / began.elapsed().as_nanos() as f64;
    println!("first round {:.1} ms; then {share:.3} % of a CPU", before as f64 / 1e6);
    capture.stop();
    println!("{} rows", ktape::count(&file, "evt.category=sample"));
    assert!(share < 2.0, "{share} % of a CPU");
    assert!(
        ktape::count(&file, "cgroup.path startswith /ktape-crowd/") >= 600,
        "the first and the last at least"
    );
}
