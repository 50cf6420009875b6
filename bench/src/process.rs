//! Child processes whose CPU time and memory are measured.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A running program. Dropping it kills the program and its descendants.
pub struct MeasuredProgram {
    name: String,
    child: Child,
    waited: bool,
}

/// Memory use, summed over a process and its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemoryUse {
    /// Peak resident set size (`VmHWM`) of each process, bytes.
    pub peak: u64,
    /// Current anonymous memory (`RssAnon`), without files and ring buffers, bytes.
    pub anonymous: u64,
}

impl MeasuredProgram {
    /// Starts `command`.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, waited: false })
    }

    /// Process ID of the program itself.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the pipe of its standard output; `None` if it has none or it was taken before.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Takes the pipe of its standard error; `None` if it has none or it was taken before.
    pub fn stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.child.stderr.take()
    }

    /// Sends a signal to the program, unless it was already reaped.
    pub fn signal(&self, signal: i32) {
        if !self.waited {
            // SAFETY: the child has not been reaped, so its process ID cannot have been reused.
            unsafe { libc::kill(self.pid().cast_signed(), signal) };
        }
    }

    /// If the program has exited: its status and the CPU time of it and the children that it reaped.
    fn try_wait(&mut self) -> Result<Option<(ExitStatus, Duration)>> {
        let mut status = 0;
        // SAFETY: rusage is a struct of integers, so all zeroes is a valid value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are valid for the call.
        let waited =
            unsafe { libc::wait4(self.pid().cast_signed(), &raw mut status, libc::WNOHANG, &raw mut usage) };
        match waited {
            0 => Ok(None),
            -1 => bail!("cannot wait for {}: {}", self.name, std::io::Error::last_os_error()),
            _ => {
                self.waited = true;
                Ok(Some((ExitStatus::from_raw(status), cpu_of(&usage))))
            }
        }
    }

    /// Waits until the program exits, calling `poll` with its process ID every 2 ms. Returns its status and the CPU time of
    /// it and the children that it reaped.
    ///
    /// # Errors
    /// If it does not exit within `timeout`.
    pub fn wait(&mut self, timeout: Duration, mut poll: impl FnMut(u32)) -> Result<(ExitStatus, Duration)> {
        let start = Instant::now();
        loop {
            if let Some(exited) = self.try_wait()? {
                return Ok(exited);
            }
            if start.elapsed() > timeout {
                bail!("{} did not exit within {} s", self.name, timeout.as_secs());
            }
            poll(self.pid());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// CPU time so far of the program and its descendants, including exited children that were reaped.
    pub fn cpu(&self) -> Duration {
        let mut all = Duration::ZERO;
        for pid in tree(self.pid()) {
            all += threads_cpu(pid) + reaped_children_cpu(pid);
        }
        all
    }

    /// Memory use of the program and its descendants.
    pub fn memory(&self) -> MemoryUse {
        let mut all = MemoryUse::default();
        for pid in tree(self.pid()) {
            let one = memory(pid);
            all.peak += one.peak;
            all.anonymous += one.anonymous;
        }
        all
    }
}

impl Drop for MeasuredProgram {
    fn drop(&mut self) {
        if !self.waited {
            for pid in tree(self.pid()) {
                // SAFETY: kill touches no memory; the root of the tree has not been reaped.
                unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
            }
            let _ = self.child.wait();
        }
    }
}

/// Memory use of one process; zero if it is gone.
pub fn memory(pid: u32) -> MemoryUse {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    MemoryUse { peak: bytes("VmHWM:"), anonymous: bytes("RssAnon:") }
}

/// User plus system time.
fn cpu_of(usage: &libc::rusage) -> Duration {
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// CPU time of this process and of its reaped children.
pub fn own_cpu() -> Duration {
    let of = |who| {
        // SAFETY: rusage is a struct of integers, so all zeroes is a valid value; getrusage fills it in.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &raw mut usage);
            cpu_of(&usage)
        }
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

/// Process IDs of `root` and all its descendants.
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

/// The fields of `/proc/PID/stat` from the state on: index 0 is field 3 in proc(5).
pub fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

/// CPU time of all threads of a process, including those that have exited; more precise than the ticks in `stat`. Zero if the
/// process is gone.
fn threads_cpu(pid: u32) -> Duration {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both pointers are valid for the calls.
    let read = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    if !read {
        return Duration::ZERO;
    }
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

/// CPU time of reaped children: `cutime` and `cstime`, fields 16 and 17 in proc(5). They are in ticks, 100 per second in
/// user space on every architecture that ktape supports.
fn reaped_children_cpu(pid: u32) -> Duration {
    let ticks =
        |fields: &[String], at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    stat(pid).map_or(Duration::ZERO, |fields| {
        Duration::from_millis(10 * (ticks(&fields, 13) + ticks(&fields, 14)))
    })
}

/// A workload that prints `ready`, starts its work when it reads a line from stdin, and then prints `done` with the ns it took.
pub struct GatedProgram {
    program: MeasuredProgram,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl GatedProgram {
    /// Starts the workload and waits until it prints `ready`.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut program = MeasuredProgram::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let stdin = program.child.stdin.take().context("stdin is a pipe")?;
        let stdout = BufReader::new(program.stdout().context("stdout is a pipe")?);
        let mut gated = Self { program, stdin, stdout };
        gated.line("ready")?;
        Ok(gated)
    }

    /// Reads lines up to the first that starts with `prefix`, and returns the rest of that line.
    ///
    /// # Errors
    /// If the workload exits before.
    pub fn line(&mut self, prefix: &str) -> Result<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stdout.read_line(&mut line).context("cannot read the workload's output")? == 0 {
                bail!("the workload exited without printing {prefix:?}");
            }
            if let Some(rest) = line.strip_prefix(prefix) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// Lets the workload start its work.
    pub fn go(&mut self) -> Result<()> {
        self.stdin.write_all(b"\n").context("cannot start the workload's work")
    }

    /// Waits until the work is done and returns the time it took, as the workload measured it.
    pub fn done(&mut self) -> Result<Duration> {
        Ok(Duration::from_nanos(self.line("done ")?.parse().context("the workload's time is not a number")?))
    }

    /// Closes stdin, waits until the workload exits, and returns the rest of its output.
    pub fn finish(mut self) -> Result<String> {
        drop(self.stdin);
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).context("cannot read the workload's output")?;
        let (status, _) = self.program.wait(Duration::from_secs(60), |_| ())?;
        if !status.success() {
            bail!("the workload failed: {status}");
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_of_threads_that_have_exited_counts() {
        let pid = std::process::id();
        let before = threads_cpu(pid);
        let used = thread::spawn(|| {
            let (start, own) =
                (Instant::now(), || fs::read_to_string("/proc/thread-self/schedstat").unwrap());
            let ns = || own().split(' ').next().unwrap().parse::<u64>().unwrap();
            while ns() < 20_000_000 {
                assert!(start.elapsed() < Duration::from_secs(60), "this thread gets no CPU time");
            }
            Duration::from_nanos(ns())
        });
        let used = used.join().unwrap();
        assert!(threads_cpu(pid) - before >= used, "{before:?} + {used:?}");
    }
}
