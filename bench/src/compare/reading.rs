//! Measures the time and memory that each tool needs to read its own file.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::recorder::Recorder;
use crate::process::{self, MeasuredProgram};

/// Limit for one read.
const READ_TIMEOUT: Duration = Duration::from_secs(300);

/// What a tool prints of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadQuery {
    /// Every event, as text.
    All,
    /// Only events of processes with this name.
    Name(&'static str),
    /// A filter that matches no event.
    Nothing,
}

impl ReadQuery {
    /// In the order of the report.
    pub const EACH: [Self; 3] = [Self::All, Self::Name("xargs"), Self::Nothing];

    /// As in the report and in `--json`.
    pub fn title(self) -> String {
        match self {
            Self::All => "all, as text".to_owned(),
            Self::Name(name) => format!("events of {name}"),
            Self::Nothing => "a filter that matches nothing".to_owned(),
        }
    }
}

/// A tool that reads one file.
pub struct CaptureReader {
    /// Name of the tool in the report.
    pub name: String,
    /// The recorder that wrote the file; `None` means sysdig.
    recorder: Option<Recorder>,
    /// The file to read.
    pub file: PathBuf,
}

/// The result of one query with one reader.
pub struct ReadResult {
    /// Name of the reader.
    pub reader: String,
    /// What was read.
    pub query: ReadQuery,
    /// Number of lines that the reader printed.
    pub lines: u64,
    /// Reads with the output to `/dev/null`.
    pub timings: Vec<ReadTiming>,
}

/// Cost of one read.
#[derive(Clone, Copy, Debug)]
pub struct ReadTiming {
    /// Wall-clock time.
    pub took: Duration,
    /// CPU time.
    pub cpu: Duration,
    /// Peak resident set size, bytes.
    pub peak: u64,
}

impl CaptureReader {
    /// Reads `file` with the tool that recorded it.
    pub fn of(recorder: &Recorder, file: PathBuf) -> Self {
        Self { name: recorder.name().to_owned(), recorder: Some(recorder.clone()), file }
    }

    /// Reads `file` with sysdig.
    pub fn sysdig(file: PathBuf) -> Self {
        Self { name: "sysdig".to_owned(), recorder: None, file }
    }

    fn command(&self, query: ReadQuery) -> Option<Command> {
        let words = |program: &Path, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words);
            command
        };
        let mut command = match &self.recorder {
            Some(Recorder::Ktape(ktape)) => {
                let mut command = words(&ktape.binary, &["replay"]);
                command.arg(&self.file);
                match query {
                    ReadQuery::All => {}
                    ReadQuery::Name(name) => {
                        command.args(["--filter", &format!("proc.name = {name}")]);
                    }
                    ReadQuery::Nothing => {
                        command.args(["--filter", "evt.type = reboot"]);
                    }
                }
                command
            }
            Some(Recorder::TraceCmd(_)) => {
                let mut command = words(Path::new("trace-cmd"), &["report"]);
                // trace-cmd accepts a filter after the file, but ignores it.
                match query {
                    ReadQuery::All => {}
                    ReadQuery::Name(name) => {
                        command.args(["-F", &format!(".*:COMM == \"{name}\"")]);
                    }
                    ReadQuery::Nothing => {
                        command.args(["-F", "raw_syscalls/sys_enter:id == 169"]);
                    }
                }
                command.arg("-i").arg(&self.file);
                command
            }
            Some(Recorder::Perf(_)) => {
                let mut command = words(Path::new("perf"), &["script", "-i"]);
                command.arg(&self.file);
                match query {
                    ReadQuery::All => {}
                    ReadQuery::Name(name) => {
                        command.args(["--comm", name]);
                    }
                    ReadQuery::Nothing => {
                        command.args(["--comm", "nobody"]);
                    }
                }
                command
            }
            Some(_) => return None,
            None => {
                let mut command = words(Path::new("sysdig"), &["-r"]);
                command.arg(&self.file);
                match query {
                    ReadQuery::All => {}
                    ReadQuery::Name(name) => {
                        command.arg(format!("proc.name={name}"));
                    }
                    ReadQuery::Nothing => {
                        command.arg("evt.type=reboot");
                    }
                }
                command
            }
        };
        command.stdin(Stdio::null()).stderr(Stdio::null());
        Some(command)
    }

    /// Reads the file once and counts the printed lines, to detect a filter that the tool ignores. `None` if the recorder has
    /// no reader.
    pub fn count_lines(&self, query: ReadQuery) -> Result<Option<u64>> {
        let Some(mut command) = self.command(query) else { return Ok(None) };
        let mut program = MeasuredProgram::start(command.stdout(Stdio::piped()))?;
        let mut lines = 0;
        let mut buffer = vec![0u8; 1 << 16];
        let mut stdout = program.stdout().context("stdout is a pipe")?;
        loop {
            let read = stdout.read(&mut buffer).context("cannot read the reader's output")?;
            if read == 0 {
                break;
            }
            lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        let (status, _) = program.wait(READ_TIMEOUT, |_| ())?;
        if !status.success() {
            bail!("{} cannot read {}: {status}", self.name, self.file.display());
        }
        Ok(Some(lines))
    }

    /// Reads the file once and measures the cost. `None` if the recorder has no reader.
    pub fn time(&self, query: ReadQuery) -> Result<Option<ReadTiming>> {
        let Some(mut command) = self.command(query) else { return Ok(None) };
        let start = Instant::now();
        let mut program = MeasuredProgram::start(command.stdout(Stdio::null()))
            .with_context(|| format!("cannot read {} with {}", self.file.display(), self.name))?;
        let mut peak = 0;
        let (status, cpu) = program.wait(READ_TIMEOUT, |pid| peak = peak.max(process::memory(pid).peak))?;
        let took = start.elapsed();
        if !status.success() {
            bail!("{} cannot read {}: {status}", self.name, self.file.display());
        }
        Ok(Some(ReadTiming { took, cpu, peak }))
    }
}
