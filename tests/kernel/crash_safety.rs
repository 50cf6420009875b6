//! A recorder that is killed at random moments: every file opens, at most a second is missing, and the next recorder
//! continues. `KTAPE_ROUNDS` is the number of kills, `KTAPE_SEED` repeats a run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};
use ktape_tests::random::Random;
use ktape_tests::rotated::{files, now, opened, rounds};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn slow_killed_rotating_recorder_loses_at_most_one_second() {
    let _guard = Guard::exclusive();
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
