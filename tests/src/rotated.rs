//! Checks rotated captures in a directory, also after a crash.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::ktape::{self, text};

/// Number of rounds of a randomised test: `KTAPE_ROUNDS`, else `usual`.
///
/// # Panics
/// If `KTAPE_ROUNDS` is not a number.
pub fn rounds(usual: u32) -> u32 {
    std::env::var("KTAPE_ROUNDS").map_or(usual, |text| text.parse().expect("KTAPE_ROUNDS is a number"))
}

/// Current wall-clock time, ns since 1970.
///
/// # Panics
/// If the clock is set before 1970.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap()
}

fn nanoseconds(rfc3339: &str) -> i64 {
    let time: jiff::Timestamp = rfc3339.parse().unwrap();
    i64::try_from(time.as_nanosecond()).unwrap()
}

/// The captures in a directory, sorted by name.
///
/// # Panics
/// If it cannot be listed.
pub fn files(series: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(series)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ktape"))
        .collect();
    all.sort();
    all
}

/// Asserts that every file opens, and that `info` and `replay` count the same number of events in it. Returns the time of
/// the last event (wall clock, ns since 1970) and the UUIDs of the captures.
///
/// # Panics
/// If a file does not open or the counts differ.
pub fn opened(series: &Path) -> (i64, BTreeSet<String>) {
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

/// Number of the workload's `getppid` calls in all files.
///
/// # Panics
/// If a file cannot be read.
pub fn calls(series: &Path) -> u64 {
    files(series).iter().map(|file| ktape::count(file, "evt.type=getppid and proc.name=ktape-workload")).sum()
}
