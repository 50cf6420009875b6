use std::collections::HashSet;
use std::fs;
use std::path::Path;

use events::UNKNOWN;

use super::cgroup::{self, CgroupReader, Reading};
use super::cgroup_files::CgroupFiles;
use super::cgroup_tree::CgroupTree;
use super::file::{number, pressure, value_of};
use super::{disk, fs as mounted, host};
use crate::agent_events::{CgroupSample, DiskSample, HostSample};

#[test]
fn what_is_not_a_number_is_unknown() {
    assert_eq!(number(b"42\n"), 42);
    assert_eq!(number(b"0"), 0);
    assert_eq!(number(b"18446744073709551614"), u64::MAX - 1);
    for text in [&b""[..], b"max", b"-1", b"1x", b"99999999999999999999", b"123456789012345678901"] {
        assert_eq!(number(text), UNKNOWN, "{}", text.escape_ascii());
    }
    let events = b"low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 0\n";
    assert_eq!(value_of(events, b"max"), 12);
    assert_eq!(value_of(events, b"oom"), 1);
    assert_eq!(value_of(events, b"oom_kill"), 3);
    assert_eq!(value_of(events, b"none"), UNKNOWN);
}

#[test]
fn pressure_is_the_total_in_ns() {
    let text = b"some avg10=7.71 avg60=2.80 avg300=0.79 total=10785020\nfull avg10=7.61 avg60=2.77 avg300=0.79 total=10268220\n";
    assert_eq!(pressure(text, b"some"), 10_785_020_000);
    assert_eq!(pressure(text, b"full"), 10_268_220_000);
    assert_eq!(pressure(b"", b"some"), UNKNOWN);
}

#[test]
fn io_is_summed_over_disks_except_stacked_ones() {
    let text = b"254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 8192\n254:0 Total 12288\n253:0 Read 100\n253:0 Write 200\nTotal 12588\n";
    assert_eq!(cgroup::io_v1(text, &HashSet::new()), (4196, 8392));
    assert_eq!(cgroup::io_v1(text, &HashSet::from([(253, 0)])), (4096, 8192));
    assert_eq!(cgroup::io_v1(b"Total 0\n", &HashSet::new()), (0, 0));
    assert_eq!(cgroup::io_v1(b"", &HashSet::new()), (UNKNOWN, UNKNOWN));
    let text = b"8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n8:0 rbytes=90430464 wbytes=299008000 rios=8950 wios=1252 dbytes=50331648 dios=3021\n";
    let mut row = CgroupSample::unknown(0);
    cgroup::io_v2(text, &HashSet::from([(8, 16)]), &mut row);
    assert_eq!(
        (row.io_read, row.io_written, row.io_reads, row.io_writes),
        (90_430_464, 299_008_000, 8950, 1252)
    );
}

#[test]
fn io_limits_have_the_same_text_in_v1_and_v2() {
    let mut devices = Vec::new();
    cgroup::io_limits_v1(b"254:0 1048576\n8:0 5\n", "wbps", &mut devices);
    cgroup::io_limits_v1(b"254:0 100\n", "wiops", &mut devices);
    let text = |devices: &[(Vec<u8>, Vec<u8>)]| -> Vec<String> {
        let both = devices.iter().map(|(device, limits)| [device.clone(), limits.clone()].concat());
        both.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    };
    assert_eq!(text(&devices), ["254:0 wbps=1048576 wiops=100", "8:0 wbps=5"]);
    let mut all = Vec::new();
    cgroup::io_limits_v2(
        b"254:0 rbps=max wbps=1048576 riops=max wiops=100\n8:0 rbps=max wbps=5 riops=max wiops=max\n",
        &mut all,
    );
    assert_eq!(all, b"254:0 wbps=1048576 wiops=100; 8:0 wbps=5");
}

/// Creates the files of a cgroup.
fn files(dir: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(dir).unwrap();
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
}

/// The row of the cgroup `/a` of a simulated machine, with at most `max_open` open files.
fn row_of(root: &Path, names: &[&str], identity: &str, max_open: usize) -> CgroupSample {
    use std::os::unix::fs::MetadataExt;
    let mounted = |name: &str| names.contains(&name).then(|| (root.join(name), b"/".to_vec()));
    let point = root.join(identity);
    let files = CgroupFiles::new((identity, &point, b"/"), mounted).unwrap();
    let mut reader = CgroupReader::new(files, max_open);
    let mut tree = CgroupTree::default();
    tree.add(fs::metadata(&point).unwrap().ino(), b"/".to_vec(), None);
    tree.add(fs::metadata(point.join("a")).unwrap().ino(), b"/a".to_vec(), None);
    let Reading::Row(first) = reader.read_row(&mut tree, 1, 1, false) else { panic!("no row") };
    let Reading::Row(mut second) = reader.read_row(&mut tree, 1, 2, true) else { panic!("no row") };
    assert!(matches!(reader.read_row(&mut tree, 1, 3, false), Reading::Quiet));
    assert_eq!((first.interval, first.cpu_used), (UNKNOWN, UNKNOWN));
    let growth = [second.cpu_used, second.throttled_for, second.bytes_read, second.bytes_written];
    assert_eq!((second.interval, growth), (1, [0; 4]));
    second.interval = UNKNOWN;
    [second.cpu_used, second.throttled_for, second.bytes_read, second.bytes_written] = [UNKNOWN; 4];
    second.time = first.time;
    assert_eq!(first, second, "a file that is open is read again from its beginning");
    let Reading::Row(above) = reader.read_row(&mut tree, 0, 4, false) else { panic!("no row") };
    assert_eq!(
        (above.processes, above.threads),
        (first.processes, first.threads),
        "a cgroup includes its descendants"
    );
    fs::remove_dir_all(point.join("a")).unwrap();
    *first
}

#[test]
fn a_row_has_the_growth_since_the_last_one() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let cgroup = dir.path().join("v2/a");
    let write = |usage: u64, throttled: u64, read: u64| {
        let stat = format!("usage_usec {usage}\nnr_periods 1\nnr_throttled 0\nthrottled_usec {throttled}\n");
        let io = format!("254:0 rbytes={read} wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n");
        files(
            &cgroup,
            &[("cpu.stat", &stat), ("io.stat", &io), ("cgroup.procs", ""), ("cgroup.threads", "")],
        );
    };
    write(1_000, 10, 4096);
    let root = dir.path().join("v2");
    let mounted = |name: &str| (name == "v2").then(|| (root.clone(), b"/".to_vec()));
    let mut reader = CgroupReader::new(CgroupFiles::new(("v2", &root, b"/"), mounted).unwrap(), 0);
    let mut tree = CgroupTree::default();
    tree.add(fs::metadata(&cgroup).unwrap().ino(), b"/a".to_vec(), None);
    let mut row = |time: u64| match reader.read_row(&mut tree, 0, time, true) {
        Reading::Row(row) => row,
        other => panic!("{other:?}"),
    };
    row(5);
    write(1_750, 10, 12_288);
    let second = row(1_000_005);
    let growth = [second.cpu_used, second.throttled_for, second.bytes_read, second.bytes_written];
    assert_eq!((second.interval, growth), (1_000_000, [750_000, 0, 8192, 0]));
    // A counter that was reset, as for a cgroup of the same path, has no growth.
    write(3, 10, 12_288);
    assert_eq!((row(2_000_005).cpu_used, row(3_000_005).cpu_used), (UNKNOWN, 0));
}

#[test]
fn the_first_row_of_a_cgroup_counts_since_its_creation_if_that_was_recorded() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("v2");
    let stat = "usage_usec 1750\nnr_periods 1\nnr_throttled 1\nthrottled_usec 20\n";
    let io = "254:0 rbytes=4096 wbytes=512 rios=1 wios=0 dbytes=0 dios=0\n";
    files(
        &root.join("a"),
        &[("cpu.stat", stat), ("io.stat", io), ("cgroup.procs", ""), ("cgroup.threads", "")],
    );
    let mounted = |name: &str| (name == "v2").then(|| (root.clone(), b"/".to_vec()));
    let id = fs::metadata(root.join("a")).unwrap().ino();
    let first = |added: &[Option<u64>]| {
        let mut reader = CgroupReader::new(CgroupFiles::new(("v2", &root, b"/"), mounted).unwrap(), 0);
        let mut tree = CgroupTree::default();
        added.iter().for_each(|created| tree.add(id, b"/a".to_vec(), *created));
        let Reading::Row(row) = reader.read_row(&mut tree, 0, 5_000_000, true) else { panic!("no row") };
        (row.interval, [row.cpu_used, row.throttled_for, row.bytes_read, row.bytes_written])
    };
    let since_creation = (4_000_000, [1_750_000, 20_000, 4096, 512]);
    assert_eq!(first(&[Some(1_000_000)]), since_creation);
    assert_eq!(
        first(&[None, Some(1_000_000)]),
        since_creation,
        "it was listed before its creation was reported"
    );
    assert_eq!(first(&[None]), (UNKNOWN, [UNKNOWN; 4]));
    // More CPU time than there was: the counters are those of another cgroup.
    let stat = "usage_usec 999000000000\nnr_periods 1\nnr_throttled 1\nthrottled_usec 20\n";
    files(&root.join("a"), &[("cpu.stat", stat)]);
    assert_eq!(first(&[Some(1_000_000)]), (UNKNOWN, [UNKNOWN; 4]));
}

#[test]
fn v1_files_become_a_row() {
    for max_open in [0, 100] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).join("a");
        files(
            &at("cpuacct"),
            &[
                ("cpuacct.usage", "5000000001\n"),
                ("cpuacct.usage_user", "4000000001\n"),
                ("cpuacct.usage_sys", "1000000000\n"),
            ],
        );
        files(
            &at("cpu"),
            &[
                (
                    "cpu.stat",
                    "nr_periods 10\nnr_throttled 3\nthrottled_time 123456789\nnr_bursts 0\nburst_time 0\n",
                ),
                ("cpu.shares", "512\n"),
                ("cpu.cfs_quota_us", "50000\n"),
                ("cpu.cfs_period_us", "100000\n"),
            ],
        );
        files(
            &at("memory"),
            &[
                ("memory.usage_in_bytes", "8192\n"),
                ("memory.max_usage_in_bytes", "16384\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.failcnt", "7\n"),
                ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
                ("memory.stat", "cache 1\nrss 2\ntotal_cache 4096\ntotal_rss 2048\ntotal_rss_huge 9\n"),
            ],
        );
        files(
            &at("pids"),
            &[
                ("pids.current", "4\n"),
                ("pids.max", "max\n"),
                ("pids.events", "max 5\n"),
                ("cgroup.procs", "1\n2\n"),
                ("tasks", "1\n2\n3\n"),
            ],
        );
        files(
            &at("blkio"),
            &[
                ("blkio.throttle.io_service_bytes_recursive", "254:0 Read 4096\n254:0 Write 0\nTotal 4096\n"),
                ("blkio.throttle.io_serviced_recursive", "254:0 Read 1\n254:0 Write 0\nTotal 1\n"),
                ("blkio.throttle.read_bps_device", "254:0 1048576\n"),
                ("blkio.throttle.write_bps_device", ""),
            ],
        );
        let row = row_of(dir.path(), &["cpuacct", "cpu", "memory", "pids", "blkio"], "pids", max_open);
        let expected = CgroupSample {
            cgroup: row.cgroup,
            processes: 2,
            threads: 3,
            fds: row.fds,
            mem: 8192,
            mem_peak: 16384,
            mem_anon: 2048,
            mem_file: 4096,
            mem_failures: 7,
            oom_kills: 2,
            cpu_time: 5_000_000_001,
            cpu_user: 4_000_000_001,
            cpu_system: 1_000_000_000,
            cpu_shares: 512,
            cpu_quota: 50_000_000,
            cpu_period: 100_000_000,
            cpu_periods: 10,
            cpu_throttled: 3,
            cpu_throttled_time: 123_456_789,
            pids: 4,
            pids_failures: 5,
            io_read: 4096,
            io_written: 0,
            io_reads: 1,
            io_writes: 0,
            io_limits: b"254:0 rbps=1048576".to_vec(),
            ..CgroupSample::unknown(row.time)
        };
        assert_eq!(row, expected);
    }
}

#[test]
fn v2_files_become_a_row() {
    let dir = tempfile::tempdir().unwrap();
    files(
        &dir.path().join("v2/a"),
        &[
            (
                "cpu.stat",
                "usage_usec 300\nuser_usec 200\nsystem_usec 100\nnice_usec 0\nnr_periods 10\nnr_throttled 3\nthrottled_usec 45\n",
            ),
            ("cpu.weight", "100\n"),
            ("cpu.max", "max 100000\n"),
            ("memory.current", "8192\n"),
            ("memory.peak", "16384\n"),
            ("memory.max", "65536\n"),
            ("memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 0\n"),
            ("memory.stat", "anon 2048\nfile 4096\nkernel 9\nfile_mapped 1\n"),
            ("pids.current", "4\n"),
            ("pids.max", "100\n"),
            ("pids.events", "max 5\n"),
            ("cgroup.procs", "1\n"),
            ("cgroup.threads", "1\n2\n3\n"),
            ("io.stat", ""),
            ("io.max", "8:0 rbps=max wbps=1000 riops=max wiops=max\n"),
            (
                "cpu.pressure",
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            ),
            ("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2\n"),
            ("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"),
        ],
    );
    let row = row_of(dir.path(), &["v2"], "v2", 100);
    let expected = CgroupSample {
        cgroup: row.cgroup,
        processes: 1,
        threads: 3,
        fds: row.fds,
        mem: 8192,
        mem_peak: 16384,
        mem_anon: 2048,
        mem_file: 4096,
        mem_limit: 65536,
        mem_failures: 12,
        oom_kills: 3,
        cpu_time: 300_000,
        cpu_user: 200_000,
        cpu_system: 100_000,
        cpu_weight: 100,
        cpu_period: 100_000_000,
        cpu_periods: 10,
        cpu_throttled: 3,
        cpu_throttled_time: 45_000,
        pids: 4,
        pids_max: 100,
        pids_failures: 5,
        io_read: 0,
        io_written: 0,
        io_reads: 0,
        io_writes: 0,
        io_limits: b"8:0 wbps=1000".to_vec(),
        cpu_pressure: 1000,
        mem_pressure: 2000,
        io_pressure: 3000,
        ..CgroupSample::unknown(row.time)
    };
    assert_eq!(row, expected);
}

#[test]
fn the_host_is_read_from_proc() {
    let mut row = HostSample::unknown(0);
    let stat = b"cpu  37202 1 6386 416279 1179 2 125 52 7 0\ncpu0 18142 0 2485 210004 113 0 10 25 0 0\ncpu1 19060 0 3901 206274 1066 0 115 27 0 0\nintr 531413 0 0\nctxt 738864\nbtime 1795473936\nprocesses 9261\nprocs_running 2\nprocs_blocked 1\nsoftirq 310430 0\n";
    host::stat(stat, 10_000_000, &mut row);
    host::loadavg(b"12.05 0.06 0.09 1/88 9257\n", &mut row);
    host::meminfo(
        b"MemTotal:       100 kB\nMemFree:        40 kB\nMemAvailable:   60 kB\nBuffers:        1 kB\nCached:         20 kB\nSwapCached:     0 kB\nSwapTotal:      30 kB\nSwapFree:       10 kB\nDirty:          3 kB\nWriteback:      2 kB\n",
        &mut row,
    );
    let expected = HostSample {
        cpus: 2,
        cpu_user: 372_030_000_000,
        cpu_system: 63_860_000_000,
        cpu_idle: 4_162_790_000_000,
        cpu_iowait: 11_790_000_000,
        cpu_irq: 1_270_000_000,
        cpu_steal: 520_000_000,
        load1: 1205,
        running: 2,
        blocked: 1,
        threads: 88,
        forks: 9261,
        switches: 738_864,
        mem_total: 102_400,
        mem_free: 40_960,
        mem_available: 61_440,
        mem_cached: 20_480,
        mem_dirty: 3072,
        mem_writeback: 2048,
        swap_used: 20_480,
        ..HostSample::unknown(0)
    };
    assert_eq!(row, expected);
}

#[test]
fn a_line_of_diskstats_is_a_disk() {
    let line = b" 254       0 vda 68913 23362 6590178 27309 46196 43624 7891864 30167 3 15268 58261 4857 74 959688 767 345 15";
    let expected = DiskSample {
        dev: b"vda".to_vec(),
        devno: 254 << 20,
        reads: 68913,
        read_bytes: 6_590_178 * 512,
        read_time: 27_309_000_000,
        writes: 46196,
        written_bytes: 7_891_864 * 512,
        write_time: 30_167_000_000,
        in_flight: 3,
        busy: 15_268_000_000,
        queue_time: 58_261_000_000,
        ..DiskSample::unknown(5)
    };
    assert_eq!(disk::parse(line, 5), Some(expected));
    assert_eq!(disk::parse(b"254 0 vda 1", 5), None);
    let sys = tempfile::tempdir().unwrap();
    files(&sys.path().join("loop0"), &[("size", "0\n")]);
    files(&sys.path().join("loop1/loop"), &[("backing_file", "/a b\n")]);
    files(&sys.path().join("loop1"), &[("size", "8\n")]);
    files(&sys.path().join("dm-0/slaves/sdb"), &[]);
    files(&sys.path().join("dm-0/slaves/sda1"), &[]);
    files(&sys.path().join("dm-0"), &[("size", "8\n")]);
    files(&sys.path().join("cciss!c0d0"), &[("size", "8\n")]);
    assert_eq!(disk::inspect(sys.path(), b"loop0"), (false, vec![]));
    assert_eq!(disk::inspect(sys.path(), b"loop1"), (true, b"/a b".to_vec()));
    assert_eq!(disk::inspect(sys.path(), b"dm-0"), (true, b"sda1 sdb".to_vec()));
    assert_eq!(disk::inspect(sys.path(), b"cciss/c0d0"), (true, vec![]));
    assert_eq!(disk::inspect(sys.path(), b"vda1"), (false, vec![]));
}

#[test]
fn each_super_block_is_sampled_once() {
    let table = b"22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
60 27 254:0 /var/x /etc/hosts rw - ext4 /dev/vda rw
61 27 8:1 /part /a rw - xfs /dev/sda1 rw
62 27 8:1 / /mnt/with\\040space rw master:1 - xfs /dev/sda1 rw
63 27 0:50 / /nfs rw - nfs4 server:/export rw
64 27 0:51 / /ssh rw - fuse.sshfs host:/ rw
65 27 0:52 / /run rw - tmpfs tmpfs rw
66 27 0:53 / /merged rw - overlay overlay rw
broken line
";
    let found: Vec<(String, String)> = mounted::mounts(table)
        .into_iter()
        .map(|mount| (String::from_utf8(mount.point).unwrap(), String::from_utf8(mount.source).unwrap()))
        .collect();
    let expected =
        [("/", "/dev/vda"), ("/mnt/with space", "/dev/sda1"), ("/nfs", "server:/export"), ("/ssh", "host:/")];
    assert_eq!(found, expected.map(|(point, source)| (point.to_owned(), source.to_owned())));
}
