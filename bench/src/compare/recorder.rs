//! ktape and the other recorders: how each is started, how it signals that it records, and how it reports lost events.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{MeasuredProgram, MemoryUse};
use ktape_tests::run;

/// Limit for a recorder to start, and to exit.
const RECORDER_TIMEOUT: Duration = Duration::from_secs(120);
/// Per-CPU ring buffer size of the other recorders, KiB: ktape's default on a machine with enough memory.
const RING_KIB: u32 = 8 << 10;
/// Tracepoints that match what ktape records by default: all calls, switches, and block requests with their submitters.
const EVENTS: &[&str] = &[
    "raw_syscalls:sys_enter",
    "raw_syscalls:sys_exit",
    "sched:sched_switch",
    "block:block_bio_queue",
    "block:block_rq_issue",
    "block:block_rq_complete",
];

/// What runs beside the workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorder {
    /// No recorder: the baseline for all others.
    None,
    /// ktape with default options: name in the report, and binary.
    Ktape(&'static str, PathBuf),
    /// `trace-cmd record`, with zstd compression if true.
    TraceCmd(bool),
    /// `perf record`, with `-z` compression if true.
    Perf(bool),
    /// ktape with `--container` of another container: the cost of an event that is filtered out.
    KtapeOther(PathBuf),
    /// Two empty programs on the entry and return of system calls: the minimum cost of recording them.
    EmptyHooks,
    /// `bpftrace` that prints a line per call to a file.
    Bpftrace,
    /// `perf trace` to a file.
    PerfTrace,
    /// `strace -f` of the workload to a file.
    Strace,
}

impl Recorder {
    /// Name in the tables and on the command line.
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

    /// Whether it is so slow that it gets only 1% of the work.
    pub fn is_slow(&self) -> bool {
        matches!(self, Self::Bpftrace | Self::PerfTrace | Self::Strace)
    }

    /// Whether it runs beside this workload.
    pub fn takes_part(&self, workload: &str) -> bool {
        // These two measure only the cost of a call.
        !matches!(self, Self::KtapeOther(_) | Self::EmptyHooks) || workload == "getppid"
    }

    /// The program that must be installed, and its Debian package.
    pub fn needs(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None | Self::Ktape(..) | Self::KtapeOther(_) | Self::EmptyHooks => None,
            Self::TraceCmd(_) => Some(("/usr/bin/trace-cmd", "trace-cmd")),
            Self::Perf(_) | Self::PerfTrace => Some(("/usr/bin/perf", "linux-perf")),
            Self::Bpftrace => Some(("/usr/bin/bpftrace", "bpftrace")),
            Self::Strace => Some(("/usr/bin/strace", "strace")),
        }
    }

    /// The version that the program prints; empty without a program.
    pub fn version(&self) -> String {
        let (program, argument) = match self {
            Self::None | Self::EmptyHooks => return String::new(),
            Self::Ktape(_, binary) | Self::KtapeOther(binary) => (binary.as_path(), "--version"),
            _ => (Path::new(self.needs().map_or("", |(file, _)| file)), "--version"),
        };
        let text = run::try_output(Command::new(program).arg(argument)).unwrap_or_default();
        // trace-cmd prints its version only in its usage message.
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
        line.unwrap_or_else(|| {
            let usage = Command::new(program).output().map(|out| out.stdout).unwrap_or_default();
            let usage = String::from_utf8_lossy(&usage).into_owned();
            usage.lines().map(str::trim).find(|line| line.contains("version")).unwrap_or_default().to_owned()
        })
    }

    /// The words before the command line of a workload, for recorders that start it themselves.
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

    /// Starts the recorder and waits until it records. `None` if there is no program to start.
    pub fn start(&self, file: &Path) -> Result<Option<RunningRecorder>> {
        let set_pipes = |command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        };
        let running = match self {
            // The caller attaches the empty hooks.
            Self::None | Self::EmptyHooks | Self::PerfTrace | Self::Strace => return Ok(None),
            Self::Ktape(_, binary) | Self::KtapeOther(binary) => {
                let mut command = Command::new(binary);
                command.args(["capture", "--force", "-o"]).arg(file);
                if matches!(self, Self::KtapeOther(_)) {
                    command.args(["--container", "0123456789ab"]);
                }
                set_pipes(&mut command);
                RunningRecorder::start(self, file, &mut command, Some("recording"))?
            }
            Self::TraceCmd(zstd) => {
                let mut command = without_function_tracer(Path::new("/usr/bin/trace-cmd"));
                command.arg("record").arg("-o").arg(file).arg("-b").arg(RING_KIB.to_string());
                command.args(["--compression", if *zstd { "zstd" } else { "none" }]);
                for event in EVENTS {
                    // Otherwise trace-cmd records its own writes, endlessly.
                    command.args(["-e", event, "-f", "COMM != \"trace-cmd\""]);
                }
                set_pipes(&mut command);
                let mut running = RunningRecorder::start(self, file, &mut command, None)?;
                // trace-cmd buffers its messages, so its state is read from tracefs: the one in its own mount namespace.
                let root = format!("/proc/{}/root/sys/kernel/tracing", running.program.pid());
                let on = |path: String| fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
                running.wait_until(|| {
                    on(format!("{root}/tracing_on"))
                        && EVENTS
                            .iter()
                            .all(|event| on(format!("{root}/events/{}/enable", event.replacen(':', "/", 1))))
                })?;
                running
            }
            Self::Perf(compressed) => {
                let fifos = [file.with_extension("control"), file.with_extension("ack")];
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
                    // Otherwise perf records its own writes, endlessly.
                    command.args(["-e", event, "--exclude-perf"]);
                }
                set_pipes(&mut command);
                let mut running = RunningRecorder::start(self, file, &mut command, None)?;
                enable(&fifos)?;
                running.mark_started();
                for fifo in &fifos {
                    fs::remove_file(fifo).with_context(|| format!("cannot remove {}", fifo.display()))?;
                }
                running
            }
            Self::Bpftrace => bpftrace(
                self,
                file,
                "tracepoint:raw_syscalls:sys_exit /comm != \"bpftrace\"/ \
                 { printf(\"%llu %d %s %d %ld\\n\", nsecs, cpu, comm, args->id, args->ret); }",
            )?,
        };
        Ok(Some(running))
    }
}

/// Starts bpftrace with these probes; it prints to `file`.
fn bpftrace(recorder: &Recorder, file: &Path, probes: &str) -> Result<RunningRecorder> {
    /// Printed by the BEGIN probe, once all probes are attached.
    const READY: &str = "records\n";
    let mut command = Command::new("/usr/bin/bpftrace");
    command.arg("-o").arg(file).arg("-e").arg(format!("BEGIN {{ printf(\"records\\n\"); }} {probes}"));
    command.env("BPFTRACE_PERF_RB_PAGES", (RING_KIB / 4).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = RunningRecorder::start(recorder, file, &mut command, None)?;
    running.wait_until(|| fs::read_to_string(file).is_ok_and(|text| text.contains(READY)))?;
    Ok(running)
}

/// A running recorder.
pub struct RunningRecorder {
    recorder: Recorder,
    file: PathBuf,
    program: MeasuredProgram,
    /// Standard output and standard error so far.
    output: Arc<Mutex<String>>,
    output_readers: Vec<JoinHandle<()>>,
    /// Time from the start of the process until it records.
    pub startup: Duration,
    started: Instant,
    cpu_before: Duration,
}

/// What a recorder used and recorded in one run.
#[derive(Clone, Debug, Default)]
pub struct RecorderFigures {
    /// CPU time from when it records until it exits.
    pub cpu: Duration,
    /// Size of its file, bytes.
    pub bytes: u64,
    /// Lost events that it reports.
    pub lost: u64,
    /// Number of returned system calls in its file; `None` if counting them takes long.
    pub calls: Option<u64>,
    /// Memory use at the end of the workload.
    pub memory: MemoryUse,
    /// Time from the start of the process until it records.
    pub startup: Duration,
}

impl RunningRecorder {
    /// Starts `command`. With `ready`, waits until the program prints this text; without it, the caller has to wait until
    /// the program records.
    fn start(
        recorder: &Recorder,
        file: &Path,
        command: &mut Command,
        ready: Option<&'static str>,
    ) -> Result<Self> {
        let started = Instant::now();
        let mut program = MeasuredProgram::start(command)?;
        let output = Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = mpsc::channel();
        let mut output_readers = Vec::new();
        let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            program.stdout().map(|pipe| Box::new(pipe) as Box<_>),
            program.stderr().map(|pipe| Box::new(pipe) as Box<_>),
        ];
        for pipe in pipes.into_iter().flatten() {
            let (output, sender) = (Arc::clone(&output), sender.clone());
            output_readers.push(thread::spawn(move || {
                let mut line = Vec::new();
                let mut pipe = BufReader::new(pipe);
                while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    let text = String::from_utf8_lossy(&line);
                    if ready.is_some_and(|ready| text.contains(ready)) {
                        // This fails if the text occurs again, after the receiver is gone.
                        let _ = sender.send(());
                    }
                    output.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push_str(&text);
                    line.clear();
                }
            }));
        }
        drop(sender);
        let mut running = Self {
            recorder: recorder.clone(),
            file: file.to_path_buf(),
            program,
            output,
            output_readers,
            startup: Duration::ZERO,
            started,
            cpu_before: Duration::ZERO,
        };
        if ready.is_some() && receiver.recv_timeout(RECORDER_TIMEOUT).is_err() {
            bail!("{} does not start recording: {}", recorder.name(), running.output());
        }
        running.mark_started();
        Ok(running)
    }

    fn mark_started(&mut self) {
        self.startup = self.started.elapsed();
        self.cpu_before = self.program.cpu();
    }

    fn wait_until(&mut self, mut is_recording: impl FnMut() -> bool) -> Result<()> {
        while !is_recording() {
            if self.started.elapsed() > RECORDER_TIMEOUT {
                bail!("{} does not start recording: {}", self.recorder.name(), self.output());
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.mark_started();
        Ok(())
    }

    fn output(&self) -> String {
        self.output.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Stops the recorder with SIGINT, as Ctrl-C does, and waits until it exits.
    pub fn stop(mut self) -> Result<RecorderFigures> {
        let memory = self.program.memory();
        self.program.signal(libc::SIGINT);
        let (status, cpu) = self.program.wait(RECORDER_TIMEOUT, |_| ())?;
        for reader in self.output_readers.drain(..) {
            // These threads do not panic.
            let _ = reader.join();
        }
        let output = self.output();
        // perf and bpftrace do not exit with status 0 after SIGINT.
        if !status.success() && !matches!(self.recorder, Recorder::Perf(_) | Recorder::Bpftrace) {
            bail!("{} failed: {status}\n{output}", self.recorder.name());
        }
        let bytes = fs::metadata(&self.file)
            .with_context(|| format!("{} wrote no file:\n{output}", self.recorder.name()))?
            .len();
        let (lost, calls) = self.recorder.counts(&self.file, &output)?;
        let cpu = cpu.saturating_sub(self.cpu_before);
        Ok(RecorderFigures { cpu, bytes, lost, calls, memory, startup: self.startup })
    }
}

impl Recorder {
    /// The number of lost events that it reports, and the number of returned calls in its file.
    fn counts(&self, file: &Path, output: &str) -> Result<(u64, Option<u64>)> {
        match self {
            Self::Ktape(_, binary) | Self::KtapeOther(binary) => {
                let info = ktape_info(binary, file)?;
                let lost = info["lost"].as_u64().context("ktape info --json has no number of lost events")?;
                // ktape also records the calls of 20,000 sleepers that have not returned at the end; others do not.
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
            Self::Bpftrace => Ok((output.lines().filter_map(bpftrace_lost).sum(), None)),
            Self::None | Self::EmptyHooks | Self::PerfTrace | Self::Strace => Ok((0, None)),
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

/// Runs a program in its own mount namespace, in which scratch files cover the function tracer's files: trace-cmd 3.1 opens
/// those for writing, which a locked-down kernel forbids.
fn without_function_tracer(program: &Path) -> Command {
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
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())
        .context("the path contains a NUL byte")?;
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } != 0 {
        bail!("cannot create {}: {}", path.display(), std::io::Error::last_os_error());
    }
    Ok(())
}

/// Makes perf record, and waits for its acknowledgement. perf opens both fifos at once and reads the first after it has set up
/// its events.
fn enable([control, ack]: &[PathBuf; 2]) -> Result<()> {
    let mut commands =
        OpenOptions::new().read(true).write(true).open(control).context("cannot open a fifo of perf")?;
    let mut acks: File = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(ack)
        .context("cannot open a fifo of perf")?;
    commands.write_all(b"enable\n").context("cannot write to a fifo of perf")?;
    let start = Instant::now();
    let mut received = Vec::new();
    let mut buffer = [0u8; 64];
    while !received.windows(3).any(|window| window == b"ack") {
        if start.elapsed() > RECORDER_TIMEOUT {
            bail!("perf does not start recording");
        }
        match acks.read(&mut buffer) {
            Ok(read) => received.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error).context("cannot read a fifo of perf"),
        }
    }
    Ok(())
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
