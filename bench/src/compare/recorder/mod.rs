//! ktape and the other recorders: how each is started, how it signals that it records, and how it reports lost events.

mod counts;
mod running;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ktape_tests::run;

pub use self::counts::ktape_info;
pub use self::running::{RecorderFigures, RunningRecorder};

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
    /// ktape with default options, except for what it wants.
    Ktape(Ktape),
    /// `trace-cmd record`, with zstd compression if true.
    TraceCmd(bool),
    /// `perf record`, with `-z` compression if true.
    Perf(bool),
    /// Two empty programs on the entry and return of system calls: the minimum cost of recording them.
    EmptyHooks,
    /// `bpftrace` that prints a line per call to a file.
    Bpftrace,
    /// `perf trace` to a file.
    PerfTrace,
    /// `strace -f` of the workload to a file.
    Strace,
}

/// A ktape binary, and what it is to record.
#[derive(Clone, Debug, PartialEq)]
pub struct Ktape {
    /// Name in the report.
    pub name: &'static str,
    /// The program.
    pub binary: PathBuf,
    /// Arguments that select what is recorded; none: everything, as by default.
    pub select: &'static [&'static str],
    /// The workloads that it runs beside; `None` for all but [`UNWANTED`].
    pub workloads: Option<&'static [&'static str]>,
}

/// The workload whose calls no recorder there wants.
const UNWANTED: &str = "unwanted";

impl Ktape {
    /// The recorders of one binary: with default options; with a container that does not exist; with a call that the workload
    /// does not make. `names` are their names in the report.
    pub fn each(binary: &Path, names: [&'static str; 3]) -> [Recorder; 3] {
        let [all, container, call] = names;
        let of = |name, select, workloads| {
            Recorder::Ktape(Self { name, binary: binary.to_path_buf(), select, workloads })
        };
        let unwanted: Option<&[&str]> = Some(&[UNWANTED]);
        [
            of(all, &[], None),
            of(container, &["--container", "0123456789ab"], unwanted),
            of(call, &["-e", "openat"], unwanted),
        ]
    }

    /// The recorder with one hook instead of two for system calls.
    pub fn without_durations(binary: &Path) -> Recorder {
        Recorder::Ktape(Self {
            name: "ktape-no-duration",
            binary: binary.to_path_buf(),
            select: &["--no-duration"],
            workloads: Some(&["getppid", "open-close"]),
        })
    }
}

impl Recorder {
    /// Name in the tables and on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ktape(ktape) => ktape.name,
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

    /// Whether it is a ktape that records everything.
    pub fn is_whole_ktape(&self) -> bool {
        matches!(self, Self::Ktape(ktape) if ktape.select.is_empty())
    }

    /// Whether it runs beside this workload.
    pub fn takes_part(&self, workload: &str) -> bool {
        match self {
            Self::None => true,
            // They measure only the cost of a call.
            Self::EmptyHooks => matches!(workload, "getppid" | UNWANTED | "open-close"),
            Self::Ktape(Ktape { workloads: Some(workloads), .. }) => workloads.contains(&workload),
            // The others would record the call.
            _ => workload != UNWANTED,
        }
    }

    /// The program that must be installed, and its Debian package.
    pub fn needs(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None | Self::Ktape(_) | Self::EmptyHooks => None,
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
            Self::Ktape(ktape) => (ktape.binary.as_path(), "--version"),
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
            Self::Ktape(ktape) => {
                let mut command = Command::new(&ktape.binary);
                command.args(["capture", "--force", "-o"]).arg(file).args(ktape.select);
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
                let root = format!("/proc/{}/root/sys/kernel/tracing", running.pid());
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
