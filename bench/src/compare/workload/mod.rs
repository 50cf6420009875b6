//! The workloads. Each does a known number of things, so that a file can be compared with what happened.

mod calls;
mod files;
mod network;
mod processes;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::noted_calls::NotedCall;
use crate::process::{GatedProgram, MeasuredProgram};

/// Names on the command line, in the order in which they run.
pub const NAMES: &[&str] = &[
    "getppid",
    "getppid-all",
    "unwanted",
    "open-close",
    "md5sum",
    "pipe",
    "direct",
    "buffered",
    "transactions",
    "connections",
    "web-server",
    "exec-storm",
    "mix",
];
/// The workloads of `--quick`.
pub const QUICK: &[&str] = &["getppid", "open-close", "md5sum", "pipe"];

/// A prepared workload.
pub struct BenchWorkload {
    /// One of [`NAMES`].
    pub name: &'static str,
    /// Description for the report.
    pub title: String,
    /// What the workload counts, in the singular.
    pub unit: &'static str,
    /// Number of units per run.
    pub units: u64,
    /// Events that a capture of a run must have.
    pub expect: Vec<ExpectedEvents>,
    work: WorkCommands,
    /// Devices and processes that must exist while the workload runs.
    _beside: Vec<Box<dyn std::any::Any>>,
}

/// The number of events in a capture that must match a filter.
#[derive(Clone, Debug)]
pub struct ExpectedEvents {
    /// Filter expression of ktape.
    pub expression: String,
    /// Kind of the events, for messages.
    pub kind: &'static str,
    /// Exact number of events.
    pub count: u64,
}

enum WorkCommands {
    /// Programs that wait for a start signal and time themselves; they work in parallel.
    Gated(Vec<Vec<String>>),
    /// One program, timed from start to exit.
    Whole(Vec<String>),
    /// The first program is timed; the second notes each of its calls meanwhile.
    Noted(Vec<String>, Vec<String>),
}

/// The result of one run of a workload.
pub struct WorkloadRun {
    /// Duration of the work; of the slowest program if there are several.
    pub took: Duration,
    /// The calls that the workload noted, in order.
    pub noted: Vec<NotedCall>,
}

/// What all workloads are prepared with.
pub struct WorkloadSetup {
    /// The workload program of the tests.
    pub program: PathBuf,
    /// `bench-load`.
    pub load: PathBuf,
    /// Scratch directory on a real disk.
    pub dir: PathBuf,
    /// Fewer units per run.
    pub quick: bool,
}

/// The programs that a workload runs, and the Debian packages that contain them.
pub fn needs(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "transactions" => &[("/usr/bin/sqlite3", "sqlite3")],
        "connections" | "web-server" => &[("/usr/bin/ip", "iproute2")],
        _ => &[],
    }
}

impl WorkloadSetup {
    /// The command line of a workload of `ktape-workload`.
    fn words(&self, rest: &[&str]) -> Vec<String> {
        words_of(&self.program, &["bench"], rest)
    }

    /// The command line of a workload of `bench-load`.
    fn load_words(&self, rest: &[&str]) -> Vec<String> {
        words_of(&self.load, &[], rest)
    }

    /// The number of units per run: it takes a few seconds, long enough that a disturbance of some milliseconds has no
    /// visible effect.
    fn units(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// Path of a file in the scratch directory.
    fn file(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// Prepares a workload of [`NAMES`].
    pub fn prepare(&self, name: &str) -> Result<BenchWorkload> {
        match name {
            "getppid" => Ok(calls::getppid(self)),
            "getppid-all" => Ok(calls::getppid_all(self)),
            "unwanted" => Ok(calls::unwanted(self)),
            "open-close" => calls::open_close(self),
            "pipe" => Ok(calls::pipe(self)),
            "md5sum" => files::md5sum(self),
            "direct" => Ok(files::direct(self)),
            "buffered" => Ok(files::buffered(self)),
            "transactions" => files::transactions(self),
            "connections" => Ok(network::connections(self)),
            "web-server" => network::web_server(self),
            "exec-storm" => Ok(processes::exec_storm(self)),
            "mix" => processes::mix(self),
            _ => bail!("unknown workload {name}"),
        }
    }
}

fn words_of(program: &Path, first: &[&str], rest: &[&str]) -> Vec<String> {
    let words = first.iter().chain(rest).map(|word| (*word).to_owned());
    std::iter::once(program.to_string_lossy().into_owned()).chain(words).collect()
}

/// Exactly `count` system calls that match.
fn syscalls(expression: String, count: u64) -> ExpectedEvents {
    ExpectedEvents { expression, kind: "syscall", count }
}

impl BenchWorkload {
    /// Runs the workload once. `seed` determines the noted calls.
    pub fn run(&self, seed: u64) -> Result<WorkloadRun> {
        match &self.work {
            WorkCommands::Gated(commands) => {
                let mut running = commands
                    .iter()
                    .map(|words| GatedProgram::start(&mut command(words)))
                    .collect::<Result<Vec<_>>>()?;
                for one in &mut running {
                    one.go()?;
                }
                let took = running.iter_mut().map(GatedProgram::done).collect::<Result<Vec<_>>>()?;
                for one in running {
                    one.finish()?;
                }
                Ok(WorkloadRun { took: took.into_iter().max().unwrap_or_default(), noted: Vec::new() })
            }
            WorkCommands::Whole(words) => {
                let start = Instant::now();
                let mut program = MeasuredProgram::start(command(words).stdout(Stdio::null()))?;
                let (status, _) = program.wait(Duration::from_secs(300), |_| ())?;
                let took = start.elapsed();
                if !status.success() {
                    bail!("{} failed: {status}", words.join(" "));
                }
                Ok(WorkloadRun { took, noted: Vec::new() })
            }
            WorkCommands::Noted(timed, noted) => {
                let noted: Vec<String> = noted
                    .iter()
                    .map(|word| if word == "SEED" { seed.to_string() } else { word.clone() })
                    .collect();
                let mut noting = GatedProgram::start(&mut command(&noted))?;
                let mut running = GatedProgram::start(&mut command(timed))?;
                noting.go()?;
                running.go()?;
                let took = running.done()?;
                running.finish()?;
                noting.done()?;
                Ok(WorkloadRun { took, noted: NotedCall::parse_all(&noting.finish()?)? })
            }
        }
    }

    /// Runs 1% of the `getppid` loop, as a child of `wrapper` if that is given. Returns the time and the number of calls;
    /// `None` for other workloads.
    pub fn run_reduced(&self, wrapper: Option<&[String]>) -> Result<Option<(Duration, u64)>> {
        let (WorkCommands::Gated(commands), "getppid") = (&self.work, self.name) else { return Ok(None) };
        let units = self.units / 100;
        let mut words = wrapper.unwrap_or_default().to_vec();
        for word in &commands[0] {
            let is_count = *word == self.units.to_string();
            words.push(if is_count { units.to_string() } else { word.clone() });
        }
        let mut running = GatedProgram::start(&mut command(&words))?;
        running.go()?;
        let took = running.done()?;
        running.finish()?;
        Ok(Some((took, units)))
    }
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stderr(Stdio::null());
    command
}
