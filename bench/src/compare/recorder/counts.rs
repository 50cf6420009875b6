//! What recorders report about their files.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use ktape_tests::run;

use super::Recorder;

/// Numbers of events in a file, and of those that are missing in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Lost events that the recorder reports.
    pub lost: u64,
    /// Returned system calls; `None` if counting them takes long.
    pub calls: Option<u64>,
    /// Events of all kinds; only of ktape.
    pub events: Option<u64>,
}

impl Recorder {
    /// What it reports about its file, there or in its output.
    pub fn counts(&self, file: &Path, output: &str) -> Result<Counts> {
        match self {
            Self::Ktape(ktape) => {
                let info = ktape_info(&ktape.binary, file)?;
                let lost = info["lost"].as_u64().context("ktape info --json has no number of lost events")?;
                // ktape also records the calls of 20,000 sleepers that have not returned at the end; others do not.
                let unfinished = info["unfinished"].as_u64().unwrap_or(0);
                let calls = info["kinds"]["syscall"].as_u64().map(|calls| calls.saturating_sub(unfinished));
                Ok(Counts { lost, calls, events: info["events"].as_u64() })
            }
            Self::TraceCmd(_) => {
                let stat = run::output(Command::new("trace-cmd").args(["report", "--stat", "-i"]).arg(file))?;
                Ok(Counts { lost: stat.lines().filter_map(trace_cmd_lost).sum(), ..Counts::default() })
            }
            Self::Perf(_) => {
                let mut report = Command::new("perf");
                report.args(["report", "--stats", "-i"]).arg(file).stderr(Stdio::null());
                let stats = run::output(&mut report)?;
                Ok(Counts { lost: perf_lost(&stats), calls: perf_calls(&stats), events: None })
            }
            Self::Bpftrace => {
                Ok(Counts { lost: output.lines().filter_map(bpftrace_lost).sum(), ..Counts::default() })
            }
            Self::None | Self::EmptyHooks | Self::PerfTrace | Self::Strace => Ok(Counts::default()),
        }
    }
}

/// `ktape info --json`.
pub fn ktape_info(ktape: &Path, file: &Path) -> Result<serde_json::Value> {
    let info = run::output(Command::new(ktape).args(["info", "--json"]).arg(file))?;
    serde_json::from_str(&info).context("ktape info --json printed invalid JSON")
}

/// Lost events in a line of `trace-cmd report --stat`. "entries", reported as left in the ring buffer, are in the file: they
/// were only not read yet when the statistics were taken.
fn trace_cmd_lost(line: &str) -> Option<u64> {
    let (key, value) = line.split_once(": ")?;
    let counts = ["overrun", "commit overrun", "dropped events"].contains(&key);
    counts.then(|| value.trim().parse().ok()).flatten()
}

/// Lost samples in the output of `perf report --stats`. Older versions print only the number of times that samples were lost.
fn perf_lost(stats: &str) -> u64 {
    let row = |key: &str| {
        let line = stats.lines().find_map(|line| line.trim().strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    row("LOST_SAMPLES events:").or_else(|| row("LOST events:")).unwrap_or(0)
}

/// Number of `sys_exit` samples in the output of `perf report --stats`: the row after the event's heading.
fn perf_calls(stats: &str) -> Option<u64> {
    let (_, rest) = stats.split_once("raw_syscalls:sys_exit stats:")?;
    rest.trim_start().strip_prefix("SAMPLE events:")?.split_whitespace().next()?.parse().ok()
}

fn bpftrace_lost(line: &str) -> Option<u64> {
    line.strip_prefix("Lost ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_events_are_parsed() {
        let stat = "CPU: 0\nentries: 5\noverrun: 19656\ncommit overrun: 1\nbytes: 4170676\ndropped events: 2\nread events: 9\n";
        assert_eq!(stat.lines().filter_map(trace_cmd_lost).sum::<u64>(), 19659);
        assert_eq!(perf_lost("  TOTAL events: 7\n   LOST events:   3 (1%)\n LOST_SAMPLES events:  70\n"), 70);
        assert_eq!(perf_lost("  TOTAL events: 7\n   LOST events:   3 (1%)\n"), 3);
        assert_eq!(perf_lost("  TOTAL events: 7\n"), 0);
        assert_eq!(perf_calls("raw_syscalls:sys_exit stats:\n   SAMPLE events:  42\n"), Some(42));
        assert_eq!(bpftrace_lost("Lost 22456 events"), Some(22456));
        assert_eq!(bpftrace_lost("Attaching 3 probes..."), None);
    }
}
