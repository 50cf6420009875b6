//! Programs whose CPU time and memory are measured.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A running program. Dropping it kills it.
pub struct Program {
    shown: String,
    child: Child,
    waited: bool,
}

/// What a program and its children have used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// The greatest resident set so far, of each process, added up, bytes.
    pub peak: u64,
    /// Anonymous memory now: what is resident without files and rings, bytes.
    pub anonymous: u64,
}

impl Program {
    /// Start it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
        Ok(Self { shown, child, waited: false })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, if it is a pipe that was not taken yet.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error, likewise.
    pub fn stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }

    /// Send it a signal.
    pub fn signal(&self, signal: i32) {
        if !self.waited {
            // SAFETY: the child has not been waited for, so the id is still its own.
            unsafe { libc::kill(self.pid().cast_signed(), signal) };
        }
    }

    /// Whether it has ended, with the CPU time that it and its children used.
    fn try_wait(&mut self) -> Result<Option<(ExitStatus, Duration)>> {
        let mut status = 0;
        // SAFETY: a struct of integers, for which all zeroes is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are valid for the call.
        let waited =
            unsafe { libc::wait4(self.pid().cast_signed(), &raw mut status, libc::WNOHANG, &raw mut usage) };
        match waited {
            0 => Ok(None),
            -1 => bail!("cannot wait for {}: {}", self.shown, std::io::Error::last_os_error()),
            _ => {
                self.waited = true;
                Ok(Some((ExitStatus::from_raw(status), of_times(&usage))))
            }
        }
    }

    /// Wait for its end. Gives its status, and the CPU time that it and its children used. `look` is called meanwhile.
    pub fn wait(&mut self, patience: Duration, mut look: impl FnMut(u32)) -> Result<(ExitStatus, Duration)> {
        let start = Instant::now();
        loop {
            if let Some(ended) = self.try_wait()? {
                return Ok(ended);
            }
            if start.elapsed() > patience {
                bail!("{} did not end within {} s", self.shown, patience.as_secs());
            }
            look(self.pid());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// CPU time until now: of the threads of this process and its descendants, and of those that were waited for.
    pub fn cpu(&self) -> Duration {
        let mut all = Duration::ZERO;
        for pid in tree(self.pid()) {
            all += threads_cpu(pid) + waited_for_cpu(pid);
        }
        all
    }

    /// Of it and its descendants.
    pub fn memory(&self) -> Memory {
        let mut all = Memory::default();
        for pid in tree(self.pid()) {
            let one = memory(pid);
            all.peak += one.peak;
            all.anonymous += one.anonymous;
        }
        all
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.waited {
            for pid in tree(self.pid()) {
                // SAFETY: no memory is involved; the tree's root has not been waited for.
                unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
            }
            let _ = self.child.wait();
        }
    }
}

/// Of one process.
pub fn memory(pid: u32) -> Memory {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    Memory { peak: bytes("VmHWM:"), anonymous: bytes("RssAnon:") }
}

fn of_times(usage: &libc::rusage) -> Duration {
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// CPU time of this process and of its children that were waited for.
pub fn own_and_waited_for() -> Duration {
    let of = |who| {
        // SAFETY: a struct of integers, for which all zeroes is a value; the call fills it.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &raw mut usage);
            of_times(&usage)
        }
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

/// A process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Some(fields) = stat(pid) else { continue };
        if let Some(parent) = fields.get(1).and_then(|field| field.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all = vec![root];
    let mut at = 0;
    while at < all.len() {
        all.extend(children.get(&all[at]).into_iter().flatten());
        at += 1;
    }
    all
}

/// The fields of `/proc/PID/stat` from the state on, which is field 3 of proc(5).
pub fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

/// As the scheduler counts it, of each thread.
fn threads_cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(of).sum())
}

/// Fields 16 and 17: children that were waited for. In ticks, of which there are 100 a second for user space on every
/// architecture that ktape knows.
fn waited_for_cpu(pid: u32) -> Duration {
    let ticks =
        |fields: &[String], at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    stat(pid).map_or(Duration::ZERO, |fields| {
        Duration::from_millis(10 * (ticks(&fields, 13) + ticks(&fields, 14)))
    })
}

/// A workload that says when it is ready, works when told, and says how long it took.
pub struct Gated {
    program: Program,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Gated {
    /// Start it, and wait until it is ready.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut program = Program::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let stdin = program.child.stdin.take().context("stdin is a pipe")?;
        let stdout = BufReader::new(program.stdout().context("stdout is a pipe")?);
        let mut gated = Self { program, stdin, stdout };
        gated.line("ready")?;
        Ok(gated)
    }

    /// What follows the first line that begins so.
    fn line(&mut self, prefix: &str) -> Result<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stdout.read_line(&mut line).context("cannot read what the workload prints")? == 0 {
                bail!("the workload ended without printing {prefix:?}");
            }
            if let Some(rest) = line.strip_prefix(prefix) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// Let it work.
    pub fn go(&mut self) -> Result<()> {
        self.stdin.write_all(b"\n").context("the workload does not read")
    }

    /// How long its work took, once it is done.
    pub fn done(&mut self) -> Result<Duration> {
        Ok(Duration::from_nanos(self.line("done ")?.parse().context("no number of nanoseconds")?))
    }

    /// Wait for its end. Gives what it printed since.
    pub fn finish(mut self) -> Result<String> {
        drop(self.stdin);
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).context("cannot read what the workload prints")?;
        let (status, _) = self.program.wait(Duration::from_secs(60), |_| ())?;
        if !status.success() {
            bail!("the workload failed: {status}");
        }
        Ok(rest)
    }
}
