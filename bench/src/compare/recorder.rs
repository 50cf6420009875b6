//! ktape and its peers: how each is started, how it says that it records, and what it says that it has lost.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{Memory, Program};
use ktape_tests::run;

/// How long a recorder may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of each CPU's ring of the peers, KiB: what ktape takes by default on a machine with enough memory.
const RING_KIB: u32 = 8 << 10;
/// What carries as much as ktape's default does: all calls, switches, and block requests with their submitters.
const EVENTS: &[&str] = &[
    "raw_syscalls:sys_enter",
    "raw_syscalls:sys_exit",
    "sched:sched_switch",
    "block:block_bio_queue",
    "block:block_rq_issue",
    "block:block_rq_complete",
];

/// What is beside the workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorder {
    /// Nothing: what the others are compared with.
    None,
    /// With default options; the name, and the binary.
    Ktape(&'static str, PathBuf),
    /// `trace-cmd record`; whether compressed.
    TraceCmd(bool),
    /// `perf record`; whether compressed.
    Perf(bool),
    /// The same, with a container that is not the workload's: what an event costs that is not wanted.
    KtapeOther(PathBuf),
    /// Two programs that do nothing, on the entry and the return of calls: what no recorder of calls can do without.
    EmptyHooks,
    /// `bpftrace` that prints a line for each call, to a file.
    Bpftrace,
    /// `perf trace`, to a file.
    PerfTrace,
    /// `strace -f` of the workload, to a file.
    Strace,
}

impl Recorder {
    /// As in the tables, and on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ktape(name, _) => name,
            Self::KtapeOther(_) => "ktape-other-container",
            Self::EmptyHooks => "empty-hooks",
            Self::TraceCmd(false) => "trace-cmd",
            Self::TraceCmd(true) => "trace-cmd-zstd",
            Self::Perf(false) => "perf",
            Self::Perf(true) => "perf-z",
            Self::Bpftrace => "bpftrace",
            Self::PerfTrace => "perf-trace",
            Self::Strace => "strace",
        }
    }

    /// Whether it is so slow that it gets a hundredth of the work.
    pub fn is_slow(&self) -> bool {
        matches!(self, Self::Bpftrace | Self::PerfTrace | Self::Strace)
    }

    /// Whether it is run beside this workload.
    pub fn takes_part(&self, workload: &str) -> bool {
        // Both are about the cost of a call.
        !matches!(self, Self::KtapeOther(_) | Self::EmptyHooks) || workload == "getppid"
    }

    /// The program that has to be installed, and Debian's package of it.
    pub fn needs(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None | Self::Ktape(..) | Self::KtapeOther(_) | Self::EmptyHooks => None,
            Self::TraceCmd(_) => Some(("/usr/bin/trace-cmd", "trace-cmd")),
            Self::Perf(_) | Self::PerfTrace => Some(("/usr/bin/perf", "linux-perf")),
            Self::Bpftrace => Some(("/usr/bin/bpftrace", "bpftrace")),
            Self::Strace => Some(("/usr/bin/strace", "strace")),
        }
    }

    /// Its version, as it says itself.
    pub fn version(&self) -> String {
        let (program, argument) = match self {
            Self::None | Self::EmptyHooks => return String::new(),
            Self::Ktape(_, binary) | Self::KtapeOther(binary) => (binary.as_path(), "--version"),
            _ => (Path::new(self.needs().map_or("", |(file, _)| file)), "--version"),
        };
        let text = run::try_output(Command::new(program).arg(argument)).unwrap_or_default();
        // trace-cmd only says it in its usage.
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
        line.unwrap_or_else(|| {
            let usage = Command::new(program).output().map(|out| out.stdout).unwrap_or_default();
            let usage = String::from_utf8_lossy(&usage).into_owned();
            usage.lines().map(str::trim).find(|line| line.contains("version")).unwrap_or_default().to_owned()
        })
    }

    /// What is put before the command line of a workload, for those that start it themselves.
    pub fn wrapper(&self, file: &Path) -> Option<Vec<String>> {
        let file = file.to_string_lossy().into_owned();
        let words: &[&str] = match self {
            Self::Strace => &["strace", "-f", "-q", "-o"],
            Self::PerfTrace => &["perf", "trace", "-f", "-o"],
            _ => return None,
        };
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        words.push(file);
        if *self == Self::PerfTrace {
            words.push("--".to_owned());
        }
        Some(words)
    }

    /// Start it, and wait until it records. `None` if there is nothing to start.
    pub fn start(&self, file: &Path) -> Result<Option<Recording>> {
        let out = |command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        };
        let recording = match self {
            // The hooks are attached by whoever measures.
            Self::None | Self::EmptyHooks | Self::PerfTrace | Self::Strace => return Ok(None),
            Self::Ktape(_, binary) | Self::KtapeOther(binary) => {
                let mut command = Command::new(binary);
                command.args(["capture", "--force", "-o"]).arg(file);
                if matches!(self, Self::KtapeOther(_)) {
                    command.args(["--container", "0123456789ab"]);
                }
                out(&mut command);
                Recording::start(self, file, &mut command, Some("recording"))?
            }
            Self::TraceCmd(zstd) => {
                let mut command = shadowed(Path::new("/usr/bin/trace-cmd"));
                command.arg("record").arg("-o").arg(file).arg("-b").arg(RING_KIB.to_string());
                command.args(["--compression", if *zstd { "zstd" } else { "none" }]);
                for event in EVENTS {
                    // Its own recording would be recorded, without end.
                    command.args(["-e", event, "-f", "COMM != \"trace-cmd\""]);
                }
                out(&mut command);
                let mut recording = Recording::start(self, file, &mut command, None)?;
                // It says nothing that a pipe would see at once. The tracefs is that of its own mount namespace.
                let root = format!("/proc/{}/root/sys/kernel/tracing", recording.program.pid());
                let on = |path: String| fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
                recording.until(|| {
                    on(format!("{root}/tracing_on"))
                        && EVENTS
                            .iter()
                            .all(|event| on(format!("{root}/events/{}/enable", event.replacen(':', "/", 1))))
                })?;
                recording
            }
            Self::Perf(compressed) => {
                let fifos = [file.with_extension("control"), file.with_extension("answer")];
                for fifo in &fifos {
                    make_fifo(fifo)?;
                }
                let mut command = Command::new("/usr/bin/perf");
                command.args(["record", "-a", "-o"]).arg(file).args(["-m", &format!("{RING_KIB}K")]);
                command.args(["-D", "-1"]);
                command.arg(format!("--control=fifo:{},{}", fifos[0].display(), fifos[1].display()));
                if *compressed {
                    command.arg("-z");
                }
                for event in EVENTS {
                    // Likewise.
                    command.args(["-e", event, "--exclude-perf"]);
                }
                out(&mut command);
                let mut recording = Recording::start(self, file, &mut command, None)?;
                enable(&fifos)?;
                recording.begun();
                for fifo in &fifos {
                    fs::remove_file(fifo).with_context(|| format!("cannot remove {}", fifo.display()))?;
                }
                recording
            }
            Self::Bpftrace => bpftrace(
                self,
                file,
                "tracepoint:raw_syscalls:sys_exit /comm != \"bpftrace\"/ \
                 { printf(\"%llu %d %s %d %ld\\n\", nsecs, cpu, comm, args->id, args->ret); }",
            )?,
        };
        Ok(Some(recording))
    }
}

/// bpftrace with these probes, its output in the file.
fn bpftrace(recorder: &Recorder, file: &Path, probes: &str) -> Result<Recording> {
    const MARK: &str = "records\n";
    let mut command = Command::new("/usr/bin/bpftrace");
    command.arg("-o").arg(file).arg("-e").arg(format!("BEGIN {{ printf(\"records\\n\"); }} {probes}"));
    command.env("BPFTRACE_PERF_RB_PAGES", (RING_KIB / 4).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut recording = Recording::start(recorder, file, &mut command, None)?;
    recording.until(|| fs::read_to_string(file).is_ok_and(|text| text.contains(MARK)))?;
    Ok(recording)
}

/// A recorder at work.
pub struct Recording {
    recorder: Recorder,
    file: PathBuf,
    program: Program,
    said: Arc<Mutex<String>>,
    listeners: Vec<JoinHandle<()>>,
    /// From its start until it recorded.
    pub startup: Duration,
    started: Instant,
    cpu_before: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// CPU time from when it recorded to its end.
    pub cpu: Duration,
    /// Of its file.
    pub bytes: u64,
    /// Events that it says that it has lost.
    pub lost: u64,
    /// Returns of calls in its file, where that is quickly told.
    pub calls: Option<u64>,
    /// At the end of the workload.
    pub memory: Memory,
    /// From its start until it recorded.
    pub startup: Duration,
}

impl Recording {
    fn start(
        recorder: &Recorder,
        file: &Path,
        command: &mut Command,
        mark: Option<&'static str>,
    ) -> Result<Self> {
        let started = Instant::now();
        let mut program = Program::start(command)?;
        let said = Arc::new(Mutex::new(String::new()));
        let (seen, sees) = mpsc::channel();
        let mut listeners = Vec::new();
        let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            program.stdout().map(|pipe| Box::new(pipe) as Box<_>),
            program.stderr().map(|pipe| Box::new(pipe) as Box<_>),
        ];
        for pipe in pipes.into_iter().flatten() {
            let (said, seen) = (Arc::clone(&said), seen.clone());
            listeners.push(thread::spawn(move || {
                let mut line = Vec::new();
                let mut pipe = BufReader::new(pipe);
                while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    let text = String::from_utf8_lossy(&line);
                    if mark.is_some_and(|mark| text.contains(mark)) {
                        // Nobody listens any more after the first.
                        let _ = seen.send(());
                    }
                    said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(&text);
                    line.clear();
                }
            }));
        }
        drop(seen);
        let mut recording = Self {
            recorder: recorder.clone(),
            file: file.to_path_buf(),
            program,
            said,
            listeners,
            startup: Duration::ZERO,
            started,
            cpu_before: Duration::ZERO,
        };
        if mark.is_some() && sees.recv_timeout(PATIENCE).is_err() {
            bail!("{} does not begin: {}", recorder.name(), recording.said());
        }
        recording.begun();
        Ok(recording)
    }

    fn begun(&mut self) {
        self.startup = self.started.elapsed();
        self.cpu_before = self.program.cpu();
    }

    fn until(&mut self, mut begun: impl FnMut() -> bool) -> Result<()> {
        while !begun() {
            if self.started.elapsed() > PATIENCE {
                bail!("{} does not begin: {}", self.recorder.name(), self.said());
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.begun();
        Ok(())
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// End it, as Ctrl-C does.
    pub fn stop(mut self) -> Result<Recorded> {
        let memory = self.program.memory();
        self.program.signal(libc::SIGINT);
        let (status, cpu) = self.program.wait(PATIENCE, |_| ())?;
        for listener in self.listeners.drain(..) {
            // It has nothing to panic about.
            let _ = listener.join();
        }
        let said = self.said();
        // perf ends by the signal that ended it.
        if !status.success() && !matches!(self.recorder, Recorder::Perf(_) | Recorder::Bpftrace) {
            bail!("{} failed: {status}\n{said}", self.recorder.name());
        }
        let bytes = fs::metadata(&self.file)
            .with_context(|| format!("{} wrote no file:\n{said}", self.recorder.name()))?
            .len();
        let (lost, calls) = self.recorder.counts(&self.file, &said)?;
        let cpu = cpu.saturating_sub(self.cpu_before);
        Ok(Recorded { cpu, bytes, lost, calls, memory, startup: self.startup })
    }
}

impl Recorder {
    /// How many events it says that it has lost, and how many returns of calls are in its file.
    fn counts(&self, file: &Path, said: &str) -> Result<(u64, Option<u64>)> {
        match self {
            Self::Ktape(_, binary) | Self::KtapeOther(binary) => {
                let info = ktape_info(binary, file)?;
                let lost = info["lost"].as_u64().context("ktape info says nothing of losses")?;
                // Those of 20,000 sleepers, which have not returned when it ends, are in no peer's file.
                let unfinished = info["unfinished"].as_u64().unwrap_or(0);
                Ok((lost, info["kinds"]["syscall"].as_u64().map(|calls| calls.saturating_sub(unfinished))))
            }
            Self::TraceCmd(_) => {
                let stat = run::output(Command::new("trace-cmd").args(["report", "--stat", "-i"]).arg(file))?;
                Ok((stat.lines().filter_map(trace_cmd_lost).sum(), None))
            }
            Self::Perf(_) => {
                let mut report = Command::new("perf");
                report.args(["report", "--stats", "-i"]).arg(file).stderr(Stdio::null());
                let stats = run::output(&mut report)?;
                Ok((perf_lost(&stats), perf_calls(&stats)))
            }
            Self::Bpftrace => Ok((said.lines().filter_map(bpftrace_lost).sum(), None)),
            Self::None | Self::EmptyHooks | Self::PerfTrace | Self::Strace => Ok((0, None)),
        }
    }
}

/// `ktape info --json`.
pub fn ktape_info(ktape: &Path, file: &Path) -> Result<serde_json::Value> {
    let info = run::output(Command::new(ktape).args(["info", "--json"]).arg(file))?;
    serde_json::from_str(&info).context("ktape info --json prints no JSON")
}

/// "entries", said to be left in the ring, were only not read yet when it was asked: they are in the file.
fn trace_cmd_lost(line: &str) -> Option<u64> {
    let (key, value) = line.split_once(": ")?;
    let counts = ["overrun", "commit overrun", "dropped events"].contains(&key);
    counts.then(|| value.trim().parse().ok()).flatten()
}

/// Two rows: how many times something was lost, and how many samples in all; older ones have the first alone.
fn perf_lost(stats: &str) -> u64 {
    let row = |key: &str| {
        let line = stats.lines().find_map(|line| line.trim().strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    row("LOST_SAMPLES events:").or_else(|| row("LOST events:")).unwrap_or(0)
}

/// The row after the heading of the event.
fn perf_calls(stats: &str) -> Option<u64> {
    let (_, rest) = stats.split_once("raw_syscalls:sys_exit stats:")?;
    rest.trim_start().strip_prefix("SAMPLE events:")?.split_whitespace().next()?.parse().ok()
}

fn bpftrace_lost(line: &str) -> Option<u64> {
    line.strip_prefix("Lost ")?.split(' ').next()?.parse().ok()
}

/// A program in a mount namespace of its own, where the files of the function tracer that trace-cmd 3.1 cannot do without are
/// shadowed: where the kernel is locked down nobody may write to them.
fn shadowed(program: &Path) -> Command {
    const SCRIPT: &str = "t=/sys/kernel/tracing; mountpoint -q $t || mount -t tracefs tracefs $t; \
        d=$(mktemp -d); mount -t tmpfs tmpfs $d; \
        for f in $t/set_ftrace_*; do : >$d/${f##*/}; mount --bind $d/${f##*/} $f; done; \
        echo 1 >$d/enabled; mount --bind $d/enabled /proc/sys/kernel/ftrace_enabled; \
        umount -l $d; rmdir $d; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]).arg(program);
    command
}

fn make_fifo(path: &Path) -> Result<()> {
    let _ = fs::remove_file(path);
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).context("a NUL in a path")?;
    // SAFETY: a string that ends with a NUL.
    if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } != 0 {
        bail!("cannot make {}: {}", path.display(), std::io::Error::last_os_error());
    }
    Ok(())
}

/// perf opens the control fifo without waiting, and reads it once it has set up its events.
fn enable([control, answer]: &[PathBuf; 2]) -> Result<()> {
    let mut commands =
        OpenOptions::new().read(true).write(true).open(control).context("cannot open a fifo")?;
    let mut answers: File = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(answer)
        .context("cannot open a fifo")?;
    commands.write_all(b"enable\n").context("cannot write to a fifo")?;
    let start = Instant::now();
    let mut said = Vec::new();
    let mut buffer = [0u8; 64];
    while !said.windows(3).any(|window| window == b"ack") {
        if start.elapsed() > PATIENCE {
            bail!("perf does not begin");
        }
        match answers.read(&mut buffer) {
            Ok(read) => said.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error).context("cannot read a fifo"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read() {
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
