//! The workloads. Each does a known number of things, so that a file can be compared with what happened.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ktape_tests::cgroup::Cgroup;
use ktape_tests::device::Loop;
use ktape_tests::workload::Workload as Sleepers;

use super::machine;
use super::noted_calls::NotedCall;
use crate::process::{GatedProgram, MeasuredProgram};

/// Names on the command line, in the order in which they run.
pub const NAMES: &[&str] =
    &["getppid", "getppid-all", "md5sum", "pipe", "direct", "buffered", "connections", "mix"];
/// The workloads of `--quick`.
pub const QUICK: &[&str] = &["getppid", "md5sum", "pipe"];

/// Number of cgroups beside the mix.
const CGROUPS: usize = 500;
/// Sleeping processes in each of these cgroups.
const PROCESSES_PER_CGROUP: usize = 40;
/// Files per execution of md5sum.
const FILES_PER_MD5SUM: usize = 16;
/// Number of calls in the mix whose arguments, results and times are compared one by one.
const NOTED_CALLS: usize = 1000;

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
    /// The workload program.
    pub program: PathBuf,
    /// Scratch directory on a real disk.
    pub dir: PathBuf,
    /// Fewer units per run.
    pub quick: bool,
}

impl WorkloadSetup {
    fn words(&self, rest: &[&str]) -> Vec<String> {
        let own = self.program.to_string_lossy().into_owned();
        std::iter::once(own).chain(["bench".to_owned()]).chain(rest.iter().map(|w| (*w).to_owned())).collect()
    }

    /// Prepares a workload of [`NAMES`].
    pub fn prepare(&self, name: &'static str) -> Result<BenchWorkload> {
        // A run takes a few seconds: long enough that a disturbance of some milliseconds has no visible effect.
        let scale = |full: u64, quick: u64| if self.quick { quick } else { full };
        let own = "proc.name = ktape-workload";
        let mut beside: Vec<Box<dyn std::any::Any>> = Vec::new();
        let (title, unit, units, expect, work) = match name {
            "getppid" => {
                let n = scale(3_000_000, 2_000_000);
                (
                    "getppid in a loop on one CPU".to_owned(),
                    "call",
                    n,
                    vec![syscalls(format!("evt.type = getppid and {own}"), n)],
                    WorkCommands::Gated(vec![self.words(&["getppid", &n.to_string(), "0"])]),
                )
            }
            "getppid-all" => {
                let (n, cpus) = (scale(3_000_000, 2_000_000), machine::cpus());
                let loops =
                    (0..cpus).map(|cpu| self.words(&["getppid", &n.to_string(), &cpu.to_string()])).collect();
                (
                    format!("getppid in a loop on each of {cpus} CPUs"),
                    "call on each CPU",
                    n,
                    vec![syscalls(format!("evt.type = getppid and {own}"), n * cpus as u64)],
                    WorkCommands::Gated(loops),
                )
            }
            "md5sum" => {
                let files = scale(50_000, 10_000) as usize;
                let list = small_files(&self.dir.join("files"), files)?;
                let runs = files.div_ceil(FILES_PER_MD5SUM) as u64;
                let words = ["xargs", "-a", &list, "-P2", &format!("-n{FILES_PER_MD5SUM}"), "md5sum"];
                (
                    format!("xargs -P2 -n{FILES_PER_MD5SUM} md5sum over {files} small cached files"),
                    "file",
                    files as u64,
                    vec![
                        ExpectedEvents {
                            expression: "evt.category = exec and proc.name = md5sum".to_owned(),
                            kind: "exec",
                            count: runs,
                        },
                        syscalls(
                            format!(
                                "evt.type = openat and proc.name = md5sum and evt.arg.filename startswith \"{}\"",
                                self.dir.join("files").display()
                            ),
                            files as u64,
                        ),
                    ],
                    WorkCommands::Whole(words.map(str::to_owned).to_vec()),
                )
            }
            "pipe" => {
                let n = scale(200_000, 100_000);
                (
                    "two processes on one CPU pass a byte back and forth".to_owned(),
                    "round trip",
                    n,
                    vec![syscalls(
                        format!("{own} and evt.type in (read, write) and evt.rawres = 1 and evt.arg.fd >= 3"),
                        4 * n,
                    )],
                    WorkCommands::Gated(vec![self.words(&["pipe", &n.to_string()])]),
                )
            }
            "direct" => {
                let n = scale(30_000, 10_000);
                let device = Loop::over(&self.dir.join("disk"), 64 << 20, false);
                device.fill();
                let path = device.path().to_owned();
                let expression = format!("evt.category = block and block.dev = {} and {own}", device.name());
                beside.push(Box::new(device));
                (
                    "direct reads of 4 KiB from a loop device".to_owned(),
                    "read",
                    n,
                    vec![
                        ExpectedEvents { expression, kind: "block", count: n },
                        syscalls(format!("evt.type = pread64 and {own} and evt.rawres = 4096"), n),
                    ],
                    WorkCommands::Gated(vec![self.words(&["direct", &n.to_string(), &path])]),
                )
            }
            "buffered" => {
                let n = scale(200_000, 50_000);
                let path = self.dir.join("buffered").to_string_lossy().into_owned();
                (
                    "buffered writes of 4 KiB, and an fsync at the end".to_owned(),
                    "write",
                    n,
                    vec![syscalls(format!("evt.type = write and {own} and evt.rawres = 4096"), n)],
                    WorkCommands::Gated(vec![self.words(&["buffered", &n.to_string(), &path])]),
                )
            }
            "connections" => {
                let n = scale(8_000, 3_000);
                let mut words: Vec<String> = ["unshare", "-n"].map(str::to_owned).to_vec();
                words.extend(self.words(&["connections", &n.to_string()]));
                (
                    "TCP connections over loopback, one after the other, one byte each way".to_owned(),
                    "connection",
                    n,
                    vec![
                        syscalls(format!("evt.type = connect and {own}"), n),
                        syscalls(format!("evt.type = accept4 and {own}"), n),
                        ExpectedEvents {
                            expression: format!("evt.category = net and {own} and net.new = SYN_SENT"),
                            kind: "net",
                            count: n,
                        },
                    ],
                    WorkCommands::Gated(vec![words]),
                )
            }
            "mix" => {
                let n = scale(500, 200);
                beside.push(Box::new(start_sleeping_processes(&self.program)?));
                let cpus = machine::cpus() as u64;
                let path = self.dir.join("mix").to_string_lossy().into_owned();
                fs::write(&path, [b'x'; 3000]).context("cannot write the file of the mix")?;
                let noted = self.dir.join("noted").to_string_lossy().into_owned();
                (
                    format!(
                        "on each CPU: execute a process, read a file twenty times; beside {CGROUPS} cgroups with {} processes in all",
                        CGROUPS * PROCESSES_PER_CGROUP
                    ),
                    "execution on each CPU",
                    n,
                    vec![
                        ExpectedEvents {
                            expression: "evt.category = exec and exec.args contains \"bench nothing\""
                                .to_owned(),
                            kind: "exec",
                            count: n * cpus,
                        },
                        syscalls(
                            format!("evt.type = openat and evt.arg.filename = \"{path}\""),
                            20 * n * cpus,
                        ),
                    ],
                    WorkCommands::Noted(
                        self.words(&["mix", &n.to_string(), &path]),
                        self.words(&["noted", &NOTED_CALLS.to_string(), "SEED", &noted]),
                    ),
                )
            }
            _ => bail!("unknown workload {name}"),
        };
        Ok(BenchWorkload { name, title, unit, units, expect, work, _beside: beside })
    }
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

/// Creates small files below `dir`, which stay in the page cache. Returns the path of a file that lists them.
fn small_files(dir: &Path, count: usize) -> Result<String> {
    let list = dir.join("list");
    let mut names = String::new();
    for i in 0..count {
        let sub = dir.join(format!("{:02}", i % 50));
        if i < 50 {
            fs::create_dir_all(&sub).with_context(|| format!("cannot create {}", sub.display()))?;
        }
        let file = sub.join(format!("{i}.txt"));
        // 300 to 4,300 bytes.
        let body = vec![b'a' + (i % 26) as u8; 300 + i * 37 % 4000];
        fs::write(&file, body).with_context(|| format!("cannot write {}", file.display()))?;
        names.push_str(&file.to_string_lossy());
        names.push('\n');
    }
    let mut file = File::create(&list).with_context(|| format!("cannot write {}", list.display()))?;
    file.write_all(names.as_bytes()).context("cannot write the list of files")?;
    machine::settle();
    Ok(list.to_string_lossy().into_owned())
}

/// Sleeping processes in cgroups.
struct SleepingProcesses {
    // Fields drop in order: a cgroup can be removed only after its processes have exited.
    sleepers: Vec<Sleepers>,
    _cgroups: Vec<Arc<Cgroup>>,
}

fn start_sleeping_processes(program: &Path) -> Result<SleepingProcesses> {
    let mut all = SleepingProcesses { sleepers: Vec::new(), _cgroups: Vec::new() };
    for i in 0..CGROUPS {
        let cgroup = Arc::new(Cgroup::make(&format!("/ktape-bench/{i}")));
        // The shell enters the cgroup, so that all processes start in it.
        let script = format!(
            "echo $$ >{}/cgroup.procs && exec {} sleepers {PROCESSES_PER_CGROUP}",
            cgroup.dir().display(),
            program.display()
        );
        all.sleepers.push(Sleepers::start(Path::new("/bin/sh"), &["-c", &script]));
        all._cgroups.push(cgroup);
    }
    for sleepers in &mut all.sleepers {
        let line = sleepers.line();
        if line != "READY" {
            bail!("the sleeping processes failed to start: {line}");
        }
    }
    Ok(all)
}

impl Drop for SleepingProcesses {
    fn drop(&mut self) {
        for sleepers in self.sleepers.drain(..) {
            sleepers.finish();
        }
    }
}
