//! CPU time of the threads of a recorder.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::Duration;

/// Stages of ktape's recorder, and the threads that run them.
pub const STAGES: [(&str, &str); 3] =
    [("drain", "ktape-drain"), ("encode", "ktape-encode"), ("write", "ktape-write")];

/// Measures the CPU time of each thread of a process.
pub struct ThreadMeter {
    pid: u32,
    /// By thread ID.
    threads: HashMap<u32, ThreadTime>,
}

#[derive(Default)]
struct ThreadTime {
    name: String,
    before: Duration,
    now: Duration,
}

impl ThreadMeter {
    /// Starts to measure. The CPU time that its threads have used so far does not count.
    pub fn start(pid: u32) -> Self {
        let mut meter = Self { pid, threads: HashMap::new() };
        meter.sample();
        for thread in meter.threads.values_mut() {
            thread.before = thread.now;
        }
        meter
    }

    /// Reads the CPU times. Of a thread that exits, the time since the last sample is missing.
    pub fn sample(&mut self) {
        let tasks = format!("/proc/{}/task", self.pid);
        for entry in fs::read_dir(tasks).into_iter().flatten().flatten() {
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
            let tid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // The first number is the time on a CPU, ns.
            let now = read("schedstat").and_then(|text| text.split(' ').next()?.parse().ok());
            let (Some(tid), Some(now)) = (tid, now) else { continue };
            let thread = self.threads.entry(tid).or_default();
            // A thread has the name of its creator at first.
            if let Some(name) = read("comm") {
                thread.name = name.trim_end().to_owned();
            }
            thread.now = Duration::from_nanos(now);
        }
    }

    /// The CPU time from the start to the last sample, by thread name.
    pub fn used(self) -> BTreeMap<String, Duration> {
        let mut used = BTreeMap::new();
        for thread in self.threads.into_values() {
            *used.entry(thread.name).or_default() += thread.now.saturating_sub(thread.before);
        }
        used
    }
}

/// CPU time of each of [`STAGES`], and of everything else: what is left of `total`.
pub fn by_stage(total: Duration, threads: &BTreeMap<String, Duration>) -> [Duration; 4] {
    let [drain, encode, write] = STAGES.map(|(_, thread)| threads.get(thread).copied().unwrap_or_default());
    [drain, encode, write, total.saturating_sub(drain + encode + write)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_stage_used_belongs_to_the_others() {
        let ms = Duration::from_millis;
        let threads = [("ktape-drain", 40), ("ktape-encode", 30), ("ktape-names", 5), ("ktape", 1)]
            .map(|(name, used)| (name.to_owned(), ms(used)));
        let by_stage = by_stage(ms(80), &BTreeMap::from(threads));
        assert_eq!(by_stage, [ms(40), ms(30), ms(0), ms(10)]);
    }

    #[test]
    fn time_of_threads_counts_from_the_start_by_name() {
        let mut meter = ThreadMeter::start(std::process::id());
        let own = |meter: &ThreadMeter| meter.threads[&std::process::id()].now;
        let before = own(&meter);
        meter.sample();
        let name = meter.threads[&std::process::id()].name.clone();
        let passed = own(&meter) - before;
        assert!(meter.used()[&name] >= passed, "{name}");
    }
}
