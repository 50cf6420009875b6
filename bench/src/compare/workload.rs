//! What is recorded: each does a known number of things, so that the file can be held against it.

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
use super::notes::Note;
use crate::process::{Gated, Program};

/// By these names on the command line.
pub const NAMES: &[&str] =
    &["getppid", "getppid-all", "md5sum", "pipe", "direct", "buffered", "connections", "mix"];
/// Of the quick look.
pub const QUICK: &[&str] = &["getppid", "md5sum", "pipe"];

/// How many cgroups and processes are beside the mix.
const CGROUPS: usize = 500;
const PROCESSES_EACH: usize = 40;
/// Files that one md5sum reads.
const FILES_EACH: usize = 16;
/// Calls whose arguments and results are compared one by one.
const NOTES: usize = 1000;

/// A workload, prepared.
pub struct Workload {
    /// One of [`NAMES`].
    pub name: &'static str,
    /// What is done, for people.
    pub title: String,
    /// What is counted, in the singular.
    pub unit: &'static str,
    /// How many of them it does.
    pub units: u64,
    /// What has to be in a file of it.
    pub expect: Vec<Expect>,
    work: Work,
    /// What has to exist meanwhile.
    _beside: Vec<Box<dyn std::any::Any>>,
}

/// How many events of a file match an expression.
#[derive(Clone, Debug)]
pub struct Expect {
    /// In ktape's language.
    pub expression: String,
    /// The kind of events, as losses name it.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
}

enum Work {
    /// Programs with a gate, started together.
    Gated(Vec<Vec<String>>),
    /// One program, timed from outside.
    Whole(Vec<String>),
    /// The first is timed; the second notes what it does.
    Noted(Vec<String>, Vec<String>),
}

/// What came of a run.
pub struct Ran {
    /// How long the work took.
    pub took: Duration,
    /// What it noted.
    pub notes: Vec<Note>,
}

/// Where and how large.
pub struct Place {
    /// The workload program.
    pub program: PathBuf,
    /// On a real disk.
    pub dir: PathBuf,
    /// The quick look.
    pub quick: bool,
}

impl Place {
    fn words(&self, rest: &[&str]) -> Vec<String> {
        let own = self.program.to_string_lossy().into_owned();
        std::iter::once(own).chain(["bench".to_owned()]).chain(rest.iter().map(|w| (*w).to_owned())).collect()
    }

    /// Prepare the workload of this name.
    pub fn prepare(&self, name: &'static str) -> Result<Workload> {
        // So that no run takes longer than some seconds, nor so short that a disturbance of milliseconds shows.
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
                    Work::Gated(vec![self.words(&["getppid", &n.to_string(), "0"])]),
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
                    Work::Gated(loops),
                )
            }
            "md5sum" => {
                let files = scale(50_000, 10_000) as usize;
                let list = small_files(&self.dir.join("files"), files)?;
                let runs = files.div_ceil(FILES_EACH) as u64;
                let words = ["xargs", "-a", &list, "-P2", &format!("-n{FILES_EACH}"), "md5sum"];
                (
                    format!("xargs -P2 -n{FILES_EACH} md5sum over {files} small cached files"),
                    "file",
                    files as u64,
                    vec![
                        Expect {
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
                    Work::Whole(words.map(str::to_owned).to_vec()),
                )
            }
            "pipe" => {
                let n = scale(200_000, 100_000);
                (
                    "two processes on one CPU pass a byte to and fro".to_owned(),
                    "round trip",
                    n,
                    vec![syscalls(
                        format!("{own} and evt.type in (read, write) and evt.rawres = 1 and evt.arg.fd >= 3"),
                        4 * n,
                    )],
                    Work::Gated(vec![self.words(&["pipe", &n.to_string()])]),
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
                    "reads of 4 KiB from a loop device, without the page cache".to_owned(),
                    "read",
                    n,
                    vec![
                        Expect { expression, kind: "block", count: n },
                        syscalls(format!("evt.type = pread64 and {own} and evt.rawres = 4096"), n),
                    ],
                    Work::Gated(vec![self.words(&["direct", &n.to_string(), &path])]),
                )
            }
            "buffered" => {
                let n = scale(200_000, 50_000);
                let path = self.dir.join("buffered").to_string_lossy().into_owned();
                (
                    "writes of 4 KiB through the page cache, and an fsync".to_owned(),
                    "write",
                    n,
                    vec![syscalls(format!("evt.type = write and {own} and evt.rawres = 4096"), n)],
                    Work::Gated(vec![self.words(&["buffered", &n.to_string(), &path])]),
                )
            }
            "connections" => {
                let n = scale(8_000, 3_000);
                let mut words: Vec<String> = ["unshare", "-n"].map(str::to_owned).to_vec();
                words.extend(self.words(&["connections", &n.to_string()]));
                (
                    "connections over loopback, one after the other, a byte each way".to_owned(),
                    "connection",
                    n,
                    vec![
                        syscalls(format!("evt.type = connect and {own}"), n),
                        syscalls(format!("evt.type = accept4 and {own}"), n),
                        Expect {
                            expression: format!("evt.category = net and {own} and net.new = SYN_SENT"),
                            kind: "net",
                            count: n,
                        },
                    ],
                    Work::Gated(vec![words]),
                )
            }
            "mix" => {
                let n = scale(500, 200);
                beside.push(Box::new(crowd(&self.program)?));
                let cpus = machine::cpus() as u64;
                let path = self.dir.join("mix").to_string_lossy().into_owned();
                fs::write(&path, [b'x'; 3000]).context("cannot write the file of the mix")?;
                let noted = self.dir.join("noted").to_string_lossy().into_owned();
                (
                    format!(
                        "a process executed and a file read twenty times, on each CPU, beside {CGROUPS} cgroups with {} processes",
                        CGROUPS * PROCESSES_EACH
                    ),
                    "execution on each CPU",
                    n,
                    vec![
                        Expect {
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
                    Work::Noted(
                        self.words(&["mix", &n.to_string(), &path]),
                        self.words(&["noted", &NOTES.to_string(), "SEED", &noted]),
                    ),
                )
            }
            _ => bail!("there is no workload {name}"),
        };
        Ok(Workload { name, title, unit, units, expect, work, _beside: beside })
    }
}

fn syscalls(expression: String, count: u64) -> Expect {
    Expect { expression, kind: "syscall", count }
}

impl Workload {
    /// Do it once.
    pub fn run(&self, seed: u64) -> Result<Ran> {
        match &self.work {
            Work::Gated(commands) => {
                let mut running = commands
                    .iter()
                    .map(|words| Gated::start(&mut command(words)))
                    .collect::<Result<Vec<_>>>()?;
                for one in &mut running {
                    one.go()?;
                }
                let took = running.iter_mut().map(Gated::done).collect::<Result<Vec<_>>>()?;
                for one in running {
                    one.finish()?;
                }
                Ok(Ran { took: took.into_iter().max().unwrap_or_default(), notes: Vec::new() })
            }
            Work::Whole(words) => {
                let start = Instant::now();
                let mut program = Program::start(command(words).stdout(Stdio::null()))?;
                let (status, _) = program.wait(Duration::from_secs(300), |_| ())?;
                let took = start.elapsed();
                if !status.success() {
                    bail!("{} failed: {status}", words.join(" "));
                }
                Ok(Ran { took, notes: Vec::new() })
            }
            Work::Noted(timed, noted) => {
                let noted: Vec<String> = noted
                    .iter()
                    .map(|word| if word == "SEED" { seed.to_string() } else { word.clone() })
                    .collect();
                let mut notes = Gated::start(&mut command(&noted))?;
                let mut running = Gated::start(&mut command(timed))?;
                notes.go()?;
                running.go()?;
                let took = running.done()?;
                running.finish()?;
                notes.done()?;
                Ok(Ran { took, notes: Note::read(&notes.finish()?)? })
            }
        }
    }

    /// A hundredth of the calls of a loop, as the child of another program if one is given. `None` if it is no such loop.
    pub fn run_slowly(&self, wrapper: Option<&[String]>) -> Result<Option<(Duration, u64)>> {
        let (Work::Gated(commands), "getppid") = (&self.work, self.name) else { return Ok(None) };
        let units = self.units / 100;
        let mut words = wrapper.unwrap_or_default().to_vec();
        for word in &commands[0] {
            let is_count = *word == self.units.to_string();
            words.push(if is_count { units.to_string() } else { word.clone() });
        }
        let mut running = Gated::start(&mut command(&words))?;
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

/// Small files below this directory, their names in a file, which is returned; and their contents in the page cache.
fn small_files(dir: &Path, count: usize) -> Result<String> {
    let list = dir.join("list");
    let mut names = String::new();
    for i in 0..count {
        let sub = dir.join(format!("{:02}", i % 50));
        if i < 50 {
            fs::create_dir_all(&sub).with_context(|| format!("cannot make {}", sub.display()))?;
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

/// Cgroups full of sleeping processes.
struct Crowd {
    // Processes first: a cgroup with one cannot be removed.
    sleepers: Vec<Sleepers>,
    _cgroups: Vec<Arc<Cgroup>>,
}

fn crowd(program: &Path) -> Result<Crowd> {
    let mut crowd = Crowd { sleepers: Vec::new(), _cgroups: Vec::new() };
    for i in 0..CGROUPS {
        let cgroup = Arc::new(Cgroup::make(&format!("/ktape-bench/{i}")));
        // It enters before it becomes many.
        let script = format!(
            "echo $$ >{}/cgroup.procs && exec {} sleepers {PROCESSES_EACH}",
            cgroup.dir().display(),
            program.display()
        );
        crowd.sleepers.push(Sleepers::start(Path::new("/bin/sh"), &["-c", &script]));
        crowd._cgroups.push(cgroup);
    }
    for sleepers in &mut crowd.sleepers {
        let line = sleepers.line();
        if line != "READY" {
            bail!("the sleepers say {line}");
        }
    }
    Ok(crowd)
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for sleepers in self.sleepers.drain(..) {
            sleepers.finish();
        }
    }
}
