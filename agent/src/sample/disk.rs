//! Samples of disks, from `/proc/diskstats`, with the disks or the file below each, from `/sys/block`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use events::UNKNOWN;
use rustc_hash::FxHashMap;

use super::cgroup::REPORT_INTERVAL;
use super::file::{ProcFile, lines, number, scaled, words};
use crate::agent_events::DiskSample;

/// Time between two looks into sysfs for a disk, ns. A disk without a row is also inspected when its counters change.
const INSPECT_INTERVAL: u64 = 10_000_000_000;
/// Bytes of a sector in `/proc/diskstats`, whatever the disk's own sector size.
const SECTOR: u64 = 512;

/// The state of a block device.
#[derive(Debug)]
struct Disk {
    /// Whether it has rows: it is a disk, not a partition, and its size is not 0.
    shown: bool,
    maps_to: Vec<u8>,
    inspected: u64,
    last: Option<DiskSample>,
    reported: u64,
}

/// All block devices.
pub(super) struct Disks {
    stats: ProcFile,
    sys: PathBuf,
    known: FxHashMap<Vec<u8>, Disk>,
    text: Vec<u8>,
}

impl Disks {
    /// The disks of this machine.
    pub(super) fn new() -> Self {
        Self {
            stats: ProcFile::by_line("/proc/diskstats"),
            sys: PathBuf::from("/sys/block"),
            known: FxHashMap::default(),
            text: Vec::new(),
        }
    }

    /// Reads the rows of disks with changed counters, and of each disk every [`REPORT_INTERVAL`]; with `always`, of all.
    /// Updates `stacked`, the numbers (major, minor) of disks that are stacked on others.
    pub(super) fn rows(
        &mut self,
        now: u64,
        always: bool,
        stacked: &mut HashSet<(u64, u64)>,
    ) -> Vec<DiskSample> {
        let mut rows = Vec::new();
        let mut text = std::mem::take(&mut self.text);
        self.stats.read(&mut text);
        let mut seen = 0;
        for line in lines(&text) {
            let Some(row) = parse(line, now) else { continue };
            seen += 1;
            let disk = self.known.entry(row.dev.clone()).or_insert(Disk {
                shown: false,
                maps_to: Vec::new(),
                inspected: 0,
                last: None,
                reported: 0,
            });
            let same = disk.last.as_ref().is_some_and(|last| DiskSample { time: now, ..last.clone() } == row);
            if always
                || disk.inspected == 0
                || !same && !disk.shown
                || now - disk.inspected >= INSPECT_INTERVAL
            {
                (disk.shown, disk.maps_to) = inspect(&self.sys, &row.dev);
                disk.inspected = now;
                let number = (row.devno >> 20, row.devno & 0xf_ffff);
                if disk.shown && has_slaves(&self.sys, &row.dev) {
                    stacked.insert(number);
                } else {
                    stacked.remove(&number);
                }
            } else if !same && is_loop(&row.dev) {
                // It may have another backing file now.
                (disk.shown, disk.maps_to) = inspect(&self.sys, &row.dev);
            }
            if disk.shown && (always || !same || now - disk.reported >= REPORT_INTERVAL) {
                disk.reported = now;
                rows.push(DiskSample { maps_to: disk.maps_to.clone(), ..row.clone() });
            }
            disk.last = Some(row);
        }
        if self.known.len() > 2 * seen + 16 {
            // Removed disks.
            self.known.retain(|_, disk| disk.last.as_ref().is_some_and(|last| last.time == now));
        }
        self.text = text;
        rows
    }
}

/// Parses a line of `/proc/diskstats`.
pub(super) fn parse(line: &[u8], time: u64) -> Option<DiskSample> {
    let mut words = words(line);
    let (major, minor) = (number(words.next()?), number(words.next()?));
    let dev = words.next()?.to_vec();
    let mut values = [UNKNOWN; 11];
    for value in &mut values {
        *value = number(words.next()?);
    }
    let ms = |value| scaled(value, 1_000_000);
    let bytes = |value| scaled(value, SECTOR);
    Some(DiskSample {
        dev,
        devno: major << 20 | minor,
        reads: values[0],
        read_bytes: bytes(values[2]),
        read_time: ms(values[3]),
        writes: values[4],
        written_bytes: bytes(values[6]),
        write_time: ms(values[7]),
        in_flight: values[8],
        busy: ms(values[9]),
        queue_time: ms(values[10]),
        ..DiskSample::unknown(time)
    })
}

fn is_loop(name: &[u8]) -> bool {
    name.strip_prefix(b"loop").is_some_and(|rest| rest.iter().all(u8::is_ascii_digit))
}

/// The directory of a disk in sysfs, which replaces slashes in names by exclamation marks.
fn directory(sys: &Path, name: &[u8]) -> PathBuf {
    let name: Vec<u8> = name.iter().map(|&b| if b == b'/' { b'!' } else { b }).collect();
    sys.join(OsStr::from_bytes(&name))
}

fn slaves(directory: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(directory.join("slaves")) else { return Vec::new() };
    let mut names: Vec<Vec<u8>> = entries.flatten().map(|entry| entry.file_name().into_vec()).collect();
    names.sort();
    names
}

fn has_slaves(sys: &Path, name: &[u8]) -> bool {
    !slaves(&directory(sys, name)).is_empty()
}

/// Whether a block device has rows (see [`Disk::shown`]), and what it maps to: the disks below, or the file of a loop
/// device.
pub(super) fn inspect(sys: &Path, name: &[u8]) -> (bool, Vec<u8>) {
    let directory = directory(sys, name);
    // Partitions are not in this directory; a loop device without a file has size 0.
    let size = fs::read(directory.join("size")).map_or(0, |size| number(&size));
    if size == 0 || size == UNKNOWN {
        return (false, Vec::new());
    }
    match fs::read(directory.join("loop/backing_file")) {
        Ok(file) => (true, file.strip_suffix(b"\n").unwrap_or(&file).to_vec()),
        Err(_) => (true, slaves(&directory).join(&b' ')),
    }
}
