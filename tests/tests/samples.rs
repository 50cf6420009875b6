//! Samples of resources against the files that the kernel keeps them in, read beside the recorder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ktape_tests::cgroup;
use ktape_tests::container::{Options, Runtime};
use ktape_tests::kernel_test;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::wait::{PATIENCE, until};
use serde_json::Value;

const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";
const MIB: i64 = 1 << 20;
const ALL: &str = "sample,sample_host,sample_disk,sample_fs";

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn number(text: &str) -> i64 {
    text.trim().parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

/// The number behind a word, as in `memory.stat`.
fn value(text: &str, key: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix([' ', ':']));
    number(line.unwrap_or_else(|| panic!("no {key} in {text:?}")).split_whitespace().next().unwrap())
}

/// The total of a pressure file, in ns.
fn total(text: &str, line: &str) -> i64 {
    let line = text.lines().find(|candidate| candidate.starts_with(line)).expect("a line of pressure");
    number(line.rsplit_once("total=").expect("a total").1) * 1000
}

/// The last events of a kind for which this holds.
fn last(events: &[Value], kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = events.iter().rfind(|event| text(event, "evt.type") == Some(kind) && wanted(event));
    found.unwrap_or_else(|| panic!("no {kind} that fits among {} events", events.len())).clone()
}

/// Each field lies between two readings, made before and after it; where they agree, it is exact.
fn bracketed(event: &Value, before: &BTreeMap<&str, i64>, after: &BTreeMap<&str, i64>) {
    let mut wrong = Vec::new();
    for (field, &one) in before {
        let other = after[field];
        match int(event, field) {
            Some(found) if (one.min(other)..=one.max(other)).contains(&found) => {}
            found => wrong.push(format!("{field}: {found:?}, not in {one}..={other}")),
        }
    }
    assert!(wrong.is_empty(), "{}\n{event}", wrong.join("\n"));
}

fn absent(event: &Value, fields: &[&str]) {
    for field in fields {
        assert!(event.get(field).is_none(), "{field} should not be known: {event}");
    }
}

/// Where a v1 controller has the container's cgroup.
fn v1(controller: &str) -> PathBuf {
    let dir = Path::new("/sys/fs/cgroup").join(controller).join("docker").join(A);
    assert!(dir.is_dir(), "{} is missing: this test knows the hybrid layout", dir.display());
    dir
}

/// What the cgroup files say of the container.
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
fn a_containers_row_is_what_its_cgroup_files_say() {
    let _guard = kernel_test!();
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
    let capture = Capture::start(&file, &["-e", ALL, "--sample", "200ms"]);
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
    until("the container to have done it all", PATIENCE, || {
        let pids = number(&read(v1("pids").join("pids.current")));
        (container.output().contains("full") && pids == 19).then_some(())
    });
    // Quiet: the same twice.
    let before = until("the container to be quiet", PATIENCE, || {
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

    // It was told while it went on, and counters only grow.
    assert!(events.len() >= 3, "{} rows", events.len());
    for pair in events.windows(2) {
        for field in ["sample.cpu_time", "sample.io_read", "sample.cpu_periods", "sample.mem_failures"] {
            assert!(int(&pair[0], field) <= int(&pair[1], field), "{field}: {} {}", pair[0], pair[1]);
        }
    }
    // The cgroup above counts what is below.
    let above = ktape::replay_json(&file, &["-e", "sample", "cgroup.path=/docker"]);
    let above = above.last().expect("a row of /docker");
    assert_eq!(int(above, "sample.processes"), Some(19), "{above}");
    assert_eq!(int(above, "sample.fds"), int(&row, "sample.fds"), "{above}");
    assert_eq!(ktape::count(&file, "loss.kind=sample"), 0);
}

/// What `/proc` says of the host: what only grows, and what does not.
fn host_files() -> (BTreeMap<&'static str, i64>, BTreeMap<&'static str, i64>) {
    let stat = read("/proc/stat");
    let cpu: Vec<i64> = stat.lines().next().unwrap().split_whitespace().skip(1).map(number).collect();
    let tick = 10_000_000;
    let memory = read("/proc/meminfo");
    let kib = |key| value(&memory, key) * 1024;
    let load = read("/proc/loadavg");
    let words: Vec<&str> = load.split_whitespace().collect();
    let files = read("/proc/sys/fs/file-nr");
    let files: Vec<i64> = files.split_whitespace().map(number).collect();
    let io = read("/proc/pressure/io");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes =
        processes.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit()).count();
    let growing = BTreeMap::from([
        ("sample_host.cpus", stat.lines().filter(|line| line.starts_with("cpu")).count() as i64 - 1),
        ("sample_host.cpu_user", (cpu[0] + cpu[1]) * tick),
        ("sample_host.cpu_system", cpu[2] * tick),
        ("sample_host.cpu_idle", cpu[3] * tick),
        ("sample_host.cpu_irq", (cpu[5] + cpu[6]) * tick),
        ("sample_host.cpu_steal", cpu[7] * tick),
        ("sample_host.forks", value(&stat, "processes")),
        ("sample_host.switches", value(&stat, "ctxt")),
        ("sample_host.fds_max", files[2]),
        ("sample_host.mem_total", kib("MemTotal")),
        ("sample_host.oom_kills", value(&read("/proc/vmstat"), "oom_kill")),
        ("sample_host.cpu_pressure", total(&read("/proc/pressure/cpu"), "some")),
        ("sample_host.mem_pressure", total(&read("/proc/pressure/memory"), "some")),
        ("sample_host.io_pressure", total(&io, "some")),
        ("sample_host.io_pressure_full", total(&io, "full")),
    ]);
    let other = BTreeMap::from([
        // May go back a little: idle time of a CPU is counted by whoever asks.
        ("sample_host.cpu_iowait", cpu[4] * tick),
        ("sample_host.load1", number(&words[0].replace('.', ""))),
        ("sample_host.running", value(&stat, "procs_running")),
        ("sample_host.blocked", value(&stat, "procs_blocked")),
        ("sample_host.processes", processes as i64),
        ("sample_host.threads", number(words[3].split_once('/').unwrap().1)),
        ("sample_host.fds", files[0]),
        ("sample_host.mem_available", kib("MemAvailable")),
        ("sample_host.mem_free", kib("MemFree")),
        ("sample_host.mem_cached", kib("Cached")),
        ("sample_host.mem_dirty", kib("Dirty")),
        ("sample_host.mem_writeback", kib("Writeback")),
        ("sample_host.swap_used", kib("SwapTotal") - kib("SwapFree")),
    ]);
    (growing, other)
}

/// How far a number that goes up and down may be from the readings before and after it.
fn slack(field: &str) -> i64 {
    match field {
        "sample_host.cpu_iowait" => 1_000_000_000,
        "sample_host.load1" => 100,
        "sample_host.fds" => 1000,
        field if field.starts_with("sample_host.mem") => 1 << 30,
        "sample_host.swap_used" => 64 * MIB,
        _ => 50,
    }
}

#[test]
fn the_hosts_row_is_what_proc_says() {
    let _guard = kernel_test!();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let (grows, other) = host_files();
    ktape::record(&file, &["-e", "sample_host", "--sample", "100ms"], &["sleep", "0.5"]);
    let (grown, others) = host_files();
    let rows = ktape::replay_json(&file, &["-e", "sample_host"]);
    assert!(rows.len() >= 3, "{} rows", rows.len());
    for row in &rows {
        bracketed(row, &grows, &grown);
        let low = other.iter().map(|(field, &one)| (*field, one.min(others[field]) - slack(field))).collect();
        let high =
            other.iter().map(|(field, &one)| (*field, one.max(others[field]) + slack(field))).collect();
        bracketed(row, &low, &high);
        absent(row, &["evt.cpu", "container.id"]);
    }
}

/// A loop device with a file behind it.
struct Loop {
    device: String,
    mount: Option<PathBuf>,
}

impl Loop {
    fn make(file: &Path, bytes: u64) -> Self {
        fs::File::create(file).unwrap().set_len(bytes).unwrap();
        let out =
            Command::new("losetup").args(["-f", "--show"]).arg(file).stdin(Stdio::null()).output().unwrap();
        assert!(out.status.success(), "losetup: {}", String::from_utf8_lossy(&out.stderr));
        Self { device: String::from_utf8(out.stdout).unwrap().trim().to_owned(), mount: None }
    }

    fn name(&self) -> &str {
        self.device.rsplit_once('/').unwrap().1
    }

    fn mount(&mut self, at: &Path) {
        run("mkfs.ext4", &["-q", "-F", &self.device]);
        run("mount", &[&self.device, &at.to_string_lossy()]);
        self.mount = Some(at.to_path_buf());
    }

    /// What `/sys` says of it.
    fn files(&self) -> BTreeMap<&'static str, i64> {
        let stat = read(format!("/sys/block/{}/stat", self.name()));
        let stat: Vec<i64> = stat.split_whitespace().map(number).collect();
        let ms = 1_000_000;
        BTreeMap::from([
            ("sample_disk.reads", stat[0]),
            ("sample_disk.read_bytes", stat[2] * 512),
            ("sample_disk.read_time", stat[3] * ms),
            ("sample_disk.writes", stat[4]),
            ("sample_disk.written_bytes", stat[6] * 512),
            ("sample_disk.write_time", stat[7] * ms),
            ("sample_disk.in_flight", stat[8]),
            ("sample_disk.busy", stat[9] * ms),
            ("sample_disk.queue_time", stat[10] * ms),
        ])
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Some(mount) = &self.mount {
            let _ = Command::new("umount").arg("-l").arg(mount).status();
        }
        let _ = Command::new("losetup").args(["-d", &self.device]).status();
    }
}

fn run(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().expect("the program starts");
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Writes and reads 8 MiB around the page cache.
fn direct_io(device: &str) {
    use std::io::{Read, Write};
    #[repr(align(4096))]
    struct Aligned([u8; 1 << 20]);
    let mut options = fs::OpenOptions::new();
    let mut file = options.read(true).write(true).custom_flags(libc::O_DIRECT).open(device).unwrap();
    let mut buffer = Box::new(Aligned([5; 1 << 20]));
    for _ in 0..8 {
        file.write_all(&buffer.0).unwrap();
    }
    for _ in 0..8 {
        file.read_exact(&mut buffer.0).unwrap();
    }
}

#[test]
fn a_disks_row_is_what_its_stat_says() {
    let _guard = kernel_test!();
    let dir = ktape::disk_dir();
    let image = dir.path().join("image");
    let disk = Loop::make(&image, 64 << 20);
    let file = dir.path().join("x.ktape");
    let start = disk.files();
    let capture = Capture::start(&file, &["-e", "sample_disk", "--sample", "100ms"]);
    direct_io(&disk.device);
    let before = until("the disk to be quiet", PATIENCE, || {
        let one = disk.files();
        std::thread::sleep(Duration::from_millis(120));
        (one == disk.files()).then_some(one)
    });
    capture.stop();
    let events = ktape::replay_json(&file, &["-e", "sample_disk"]);
    let row = last(&events, "sample_disk", |event| text(event, "sample_disk.dev") == Some(disk.name()));
    bracketed(&row, &before, &disk.files());
    assert_eq!(before["sample_disk.read_bytes"] - start["sample_disk.read_bytes"], 8 * MIB);
    assert_eq!(before["sample_disk.written_bytes"] - start["sample_disk.written_bytes"], 8 * MIB);
    assert_eq!(text(&row, "sample_disk.maps_to"), image.to_str(), "{row}");
    let number = read(format!("/sys/block/{}/dev", disk.name()));
    assert_eq!(text(&row, "sample_disk.devno"), Some(number.trim()), "{row}");
    // A loop device without a file is no disk.
    for event in &events {
        let dev = text(event, "sample_disk.dev").unwrap();
        assert_ne!(read(format!("/sys/block/{dev}/size")).trim(), "0", "{event}");
    }
}

fn statvfs(path: &Path) -> libc::statvfs64 {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a C struct of integers, for which all zeroes is a value.
    let mut stat: libc::statvfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a NUL, and `stat` is large enough.
    assert_eq!(unsafe { libc::statvfs64(path.as_ptr(), &raw mut stat) }, 0);
    stat
}

#[test]
fn a_file_systems_row_is_what_statfs_says() {
    let _guard = kernel_test!();
    let dir = ktape::disk_dir();
    let mut disk = Loop::make(&dir.path().join("image"), 64 << 20);
    let mount = dir.path().join("with space");
    fs::create_dir(&mount).unwrap();
    disk.mount(&mount);
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "sample_fs", "--sample", "100ms"]);
    fs::write(mount.join("some"), vec![1; 5 << 20]).unwrap();
    run("sync", &["-f", &mount.to_string_lossy()]);
    let stat = statvfs(&mount);
    capture.stop();
    let stat_after = statvfs(&mount);
    let fields = |stat: &libc::statvfs64| {
        let size = stat.f_frsize as i64;
        BTreeMap::from([
            ("sample_fs.bytes", stat.f_blocks as i64 * size),
            ("sample_fs.bytes_free", stat.f_bfree as i64 * size),
            ("sample_fs.bytes_available", stat.f_bavail as i64 * size),
            ("sample_fs.inodes", stat.f_files as i64),
            ("sample_fs.inodes_free", stat.f_ffree as i64),
        ])
    };
    let events = ktape::replay_json(&file, &["-e", "sample_fs"]);
    let row = last(&events, "sample_fs", |event| text(event, "sample_fs.source") == Some(&disk.device));
    bracketed(&row, &fields(&stat), &fields(&stat_after));
    assert_eq!(text(&row, "sample_fs.mount"), mount.to_str(), "{row}");
    assert_eq!(text(&row, "sample_fs.fs_type"), Some("ext4"), "{row}");
    for event in &events {
        let ty = text(event, "sample_fs.fs_type").unwrap();
        assert!(!["tmpfs", "proc", "overlay", "cgroup2"].contains(&ty), "{event}");
    }
}

#[test]
fn a_file_system_that_does_not_answer_is_named_and_the_others_are_told() {
    let _guard = kernel_test!();
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("hung");
    fs::create_dir(&mount).unwrap();
    let file = dir.path().join("x.ktape");
    // A FUSE mount in a mount namespace of the recorder's own. The connection ends with the recorder, which is the
    // only process that has it: nothing can be left waiting.
    let script = r#"exec 9<>/dev/fuse
        mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 none "$1" || exit 1
        exec "$2" capture -o "$3" -e sample_fs --sample 200ms"#;
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(&mount).arg(ktape::binary()).arg(&file);
    let capture = Capture::spawn(command, &file);
    std::thread::sleep(Duration::from_millis(2500));
    let began = Instant::now();
    capture.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "the end took {:?}", began.elapsed());
    let events = ktape::replay_json(&file, &["-e", "sample_fs"]);
    let hung = last(&events, "sample_fs", |event| text(event, "sample_fs.fs_type") == Some("fuse"));
    assert_eq!(text(&hung, "sample_fs.mount"), mount.to_str(), "{hung}");
    absent(&hung, &["sample_fs.bytes", "sample_fs.bytes_free", "sample_fs.inodes"]);
    let told = last(&events, "sample_fs", |event| event.get("sample_fs.bytes").is_some());
    assert_ne!(text(&told, "sample_fs.mount"), mount.to_str());
    assert!(int(&told, "evt.rawtime") > int(&hung, "evt.rawtime").map(|ns| ns - 2_000_000_000), "{told}");
}

#[test]
fn off_makes_none_and_a_container_filter_leaves_the_host() {
    let _guard = kernel_test!();
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
            while fs::remove_dir(dir).is_err() && start.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

#[test]
fn three_hundred_cgroups_cost_little() {
    let _guard = kernel_test!();
    let _crowd = Crowd::make(300, 100);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", ALL]);
    let tasks = PathBuf::from(format!("/proc/{}/task", capture.pid()));
    let thread = until("the thread that samples", PATIENCE, || {
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
