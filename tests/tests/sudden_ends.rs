//! A daemon that is killed, and a machine that loses its power, at moments that nobody chose: every file opens, little is
//! missing, and the series goes on. `KTAPE_ROUNDS` says how often, `KTAPE_SEED` repeats a run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ktape_tests::device::mount_image;
use ktape_tests::guest::{Disk, Guest, kernel};
use ktape_tests::ktape::{self, Capture, text};
use ktape_tests::random::Random;
use ktape_tests::workload::Workload;
use ktape_tests::{kernel_test, workload};

fn rounds(usual: u32) -> u32 {
    std::env::var("KTAPE_ROUNDS").map_or(usual, |text| text.parse().expect("KTAPE_ROUNDS is a number"))
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap()
}

fn nanoseconds(rfc3339: &str) -> i64 {
    let time: jiff::Timestamp = rfc3339.parse().unwrap();
    i64::try_from(time.as_nanosecond()).unwrap()
}

fn files(series: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(series)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ktape"))
        .collect();
    all.sort();
    all
}

/// Every file opens; the wall clock, ns, of the last event of all, and the ids of the series.
fn opened(series: &Path) -> (i64, BTreeSet<String>) {
    let mut last = i64::MIN;
    let mut ids = BTreeSet::new();
    for file in files(series) {
        let info = ktape::info(&file);
        ids.insert(text(&info, "uuid").unwrap().to_owned());
        if info["events"].as_u64() != Some(0) {
            last = last.max(nanoseconds(text(&info, "end").unwrap()));
        }
        let count = ktape::run(&["replay", file.to_str().unwrap(), "--count"]);
        assert_eq!(count.status.code(), Some(0), "{}", String::from_utf8_lossy(&count.stderr));
        let events = String::from_utf8(count.stdout).unwrap();
        assert_eq!(events.trim(), info["events"].to_string(), "{}", file.display());
    }
    (last, ids)
}

#[test]
fn slow_killed_daemons_lose_a_second_and_go_on() {
    let _guard = kernel_test!();
    let dir = ktape::disk_dir();
    let series = dir.path().join("series");
    fs::create_dir(&series).unwrap();
    let mut random = Random::seeded();
    let load = Workload::start(workload!(), &["rate", "20000", "3600"]);
    let mut missing = Vec::new();
    for round in 0..rounds(6) {
        // A trailing slash: a series of files in this directory.
        let capture = Capture::start(Path::new(&format!("{}/", series.display())), &["--rotate", "1s"]);
        let began = now();
        std::thread::sleep(Duration::from_millis(random.below(3000)));
        let killed = now();
        capture.kill();
        let (last, ids) = opened(&series);
        assert_eq!(ids.len(), 1, "round {round}: {ids:?}");
        missing.push((killed - last.max(began)) / 1_000_000);
    }
    load.kill();
    eprintln!("{} files; missing, ms: {missing:?}", files(&series).len());
    assert!(missing.iter().all(|missing| *missing <= 1250), "{missing:?}");
}

#[test]
fn slow_a_machine_without_power_loses_two_seconds_and_goes_on() {
    let _guard = kernel_test!();
    let mut random = Random::seeded();
    let dir = ktape::disk_dir();
    let image = dir.path().join("disk");
    let start = "mount -t ext4 /dev/disk-data /mnt || exit 1
        mkdir -p /mnt/series
        ktape capture -o /mnt/series/ --rotate 2s </dev/null 2>/mnt/said &
        recorder=$!
        until_true grep -q '^recording' /mnt/said
        echo begun $(ktape-workload now)";
    // A second disk tells how long the emulator's disks have not answered: what was recorded then is nowhere.
    let control = "while :; do
            dd if=/dev/zero of=/dev/disk-control bs=4096 count=1 conv=fsync 2>/dev/null
            echo answered $(ktape-workload now)
            sleep 0.1
        done &";
    let control_disk = || Disk::new("control", 1 << 20);
    let guest = || Some(Guest::new(&kernel(), workload!())?.disk(disk(&image)).disk(control_disk()));
    let (mut missing, mut runs, mut before) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds(1) {
        let Some(guest) = guest() else { return };
        let beats = "while :; do ktape-workload getppid 500; echo beat $(ktape-workload now); done";
        let script = format!("{start}\n{control}\n{beats}");
        let said = guest.cut(&script, "beat", Duration::from_millis(2000 + random.below(6000)));
        let times = |word: &str| -> Vec<i64> {
            let lines = said.lines().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok());
            let times: Vec<i64> = lines.collect();
            assert!(!times.is_empty(), "no {word} in {said}");
            times
        };
        let (begun, beat) = (times("begun")[0], times("beat").pop().unwrap());
        let answered = times("answered").pop().unwrap().min(beat);
        let mount = mount_image(&image);
        let series = mount.path().join("series");
        let (last, ids) = opened(&series);
        before = calls(&series);
        assert_eq!(ids.len(), 1, "round {round}: {ids:?}");
        missing.push((answered - last) / 1_000_000);
        runs.push(((beat - begun) / 1_000_000, (beat - answered) / 1_000_000));
    }
    // More is missing than was recorded where nothing of a run is on the disk.
    eprintln!("missing, ms: {missing:?}; how long recorded, and then without an answer of a disk: {runs:?}");
    assert!(missing.iter().all(|missing| *missing <= 2250), "{missing:?} {runs:?}");

    // And an end as it should be.
    let Some(guest) = guest() else { return };
    let ran = guest.run(&format!(
        "{start}
        ktape-workload getppid 12345
        kill -TERM $recorder
        wait $recorder || {{ cat /mnt/said; exit 2; }}
        umount /mnt"
    ));
    ran.expect_success();
    let mount = mount_image(&image);
    let series = mount.path().join("series");
    let (_, ids) = opened(&series);
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(calls(&series), before + 12_345);
}

/// The workload's calls in all files.
fn calls(series: &Path) -> u64 {
    files(series).iter().map(|file| ktape::count(file, "evt.type=getppid and proc.name=ktape-workload")).sum()
}

fn disk(image: &Path) -> Disk {
    Disk::new("data", 512 << 20).ext4().kept(image)
}
