//! Samples of the host, its disks and its file systems against the files that the kernel keeps them in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ktape_tests::device::{self, Loop, Undo};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::readings::{absent, bracketed, last, number, read, total, value};
use ktape_tests::wait::{TIMEOUT, until};

const MIB: i64 = 1 << 20;

/// The host's numbers in `/proc`: counters, and values that can fall.
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
        // Can fall a little: the kernel computes the idle time of a CPU when it is read.
        ("sample_host.cpu_iowait", cpu[4] * tick),
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
        "sample_host.fds" => 1000,
        field if field.starts_with("sample_host.mem") => 1 << 30,
        "sample_host.swap_used" => 64 * MIB,
        _ => 50,
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn host_sample_equals_proc() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let (grows, other) = host_files();
    ktape::record(&file, &["-e", "sample_host", "--sample", "100ms"], &["sleep", "0.5"]);
    let (grown, others) = host_files();
    let load: f64 = read("/proc/loadavg").split(' ').next().unwrap().parse().unwrap();
    let rows = ktape::replay_json(&file, &["-e", "sample_host"]);
    assert!(rows.len() >= 3, "{} rows", rows.len());
    for row in &rows {
        bracketed(row, &grows, &grown);
        let low = other.iter().map(|(field, &one)| (*field, one.min(others[field]) - slack(field))).collect();
        let high =
            other.iter().map(|(field, &one)| (*field, one.max(others[field]) + slack(field))).collect();
        bracketed(row, &low, &high);
        absent(row, &["evt.cpu", "container.id"]);
        let sampled = row["sample_host.load1"].as_f64().unwrap();
        assert!((sampled - load).abs() <= 1.0, "{load}: {row}");
    }
    let file_name = file.to_str().unwrap();
    let args = ["replay", file_name, "-e", "sample_host", "--format", "csv", "--fields", "sample_host.load1"];
    let csv: Vec<f64> = ktape::stdout(&args).lines().skip(1).map(|line| line.parse().unwrap()).collect();
    let json: Vec<f64> = rows.iter().map(|row| row["sample_host.load1"].as_f64().unwrap()).collect();
    assert_eq!(csv, json);
    let selected = |range: &str| ktape::count(&file, &format!("sample_host.load1 {range}"));
    let all = rows.len() as u64;
    assert_eq!(selected(&format!("<= {:.2}", load + 1.0)), all);
    assert_eq!(selected(&format!("> {:.2}", load + 1.0)), 0);
}

/// The numbers of a disk in `/sys`.
fn disk_files(disk: &Loop) -> BTreeMap<&'static str, i64> {
    let stat = read(format!("/sys/block/{}/stat", disk.name()));
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
#[ignore = "needs root and a kernel with BTF"]
fn disk_sample_equals_its_stat_file() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let image = dir.path().join("image");
    let disk = Loop::over(&image, 64 << 20, false);
    let file = dir.path().join("x.ktape");
    let start = disk_files(&disk);
    let capture = Capture::start(&file, &["-e", "sample_disk", "--sample", "100ms"]);
    direct_io(disk.path());
    let before = until("the disk to be quiet", TIMEOUT, || {
        let one = disk_files(&disk);
        std::thread::sleep(Duration::from_millis(120));
        (one == disk_files(&disk)).then_some(one)
    });
    capture.stop();
    let events = ktape::replay_json(&file, &["-e", "sample_disk"]);
    let row = last(&events, "sample_disk", |event| text(event, "sample_disk.dev") == Some(disk.name()));
    bracketed(&row, &before, &disk_files(&disk));
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
#[ignore = "needs root and a kernel with BTF"]
fn file_system_sample_equals_statfs() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let disk = Loop::over(&dir.path().join("image"), 64 << 20, false);
    let mount = dir.path().join("with space");
    fs::create_dir(&mount).unwrap();
    let at = mount.to_str().unwrap();
    device::run(&["mkfs.ext4", "-q", "-F", disk.path()]);
    let _mounted = Undo::by(&format!("umount -l '{at}'"));
    device::run(&["mount", disk.path(), at]);
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "sample_fs", "--sample", "100ms"]);
    fs::write(mount.join("some"), vec![1; 5 << 20]).unwrap();
    device::run(&["sync", "-f", at]);
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
    let row = last(&events, "sample_fs", |event| text(event, "sample_fs.source") == Some(disk.path()));
    bracketed(&row, &fields(&stat), &fields(&stat_after));
    assert_eq!(text(&row, "sample_fs.mount"), mount.to_str(), "{row}");
    assert_eq!(text(&row, "sample_fs.fs_type"), Some("ext4"), "{row}");
    for event in &events {
        let ty = text(event, "sample_fs.fs_type").unwrap();
        assert!(!["tmpfs", "proc", "overlay", "cgroup2"].contains(&ty), "{event}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn hanging_file_system_is_named_and_others_are_sampled() {
    let _guard = Guard::exclusive();
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
