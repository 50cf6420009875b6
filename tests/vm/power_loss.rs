//! A machine that loses its power at random moments: every file opens, at most two seconds are missing, and the next
//! recorder continues. `KTAPE_ROUNDS` is the number of power losses, `KTAPE_SEED` repeats a run.

use std::path::Path;
use std::time::Duration;

use ktape_tests::device::mount_image;
use ktape_tests::guard::Guard;
use ktape_tests::ktape;
use ktape_tests::random::Random;
use ktape_tests::rotated::{calls, opened, rounds};
use ktape_tests::vm::{Disk, Guest, kernel};
use ktape_tests::workload;

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn slow_power_loss_costs_at_most_two_seconds() {
    let _guard = Guard::exclusive();
    let mut random = Random::seeded();
    let dir = ktape::disk_dir();
    let image = dir.path().join("disk");
    let start = "mount -t ext4 /dev/disk-data /mnt || exit 1
        mkdir -p /mnt/series
        ktape capture -o /mnt/series/ --rotate 2s </dev/null 2>/mnt/said &
        recorder=$!
        until_true grep -q '^ktape: recording to ' /mnt/said
        echo begun $(ktape-workload now)";
    // A second disk shows how long the emulator's disks did not answer: events of that time are lost.
    let control = "while :; do
            dd if=/dev/zero of=/dev/disk-control bs=4096 count=1 conv=fsync 2>/dev/null
            echo answered $(ktape-workload now)
            sleep 0.1
        done &";
    let control_disk = || Disk::new("control", 1 << 20);
    let guest = || Guest::new(&kernel(), workload!()).disk(disk(&image)).disk(control_disk());
    let (mut missing, mut runs, mut before) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds(1) {
        let beats = "while :; do ktape-workload getppid 500; echo beat $(ktape-workload now); done";
        let script = format!("{start}\n{control}\n{beats}");
        let said = guest().cut(&script, "beat", Duration::from_millis(2000 + random.below(6000)));
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
    let ran = guest().run(&format!(
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

fn disk(image: &Path) -> Disk {
    Disk::new("data", 512 << 20).ext4().kept(image)
}
