//! How long reading takes, and how much memory.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::recorder::Recorder;
use crate::process::{self, Program};

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is asked of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Every event, as text.
    All,
    /// The events of the programs of this name only.
    Name(&'static str),
    /// Something that nothing matches.
    Nothing,
}

impl Question {
    /// In order.
    pub const EACH: [Self; 3] = [Self::All, Self::Name("xargs"), Self::Nothing];

    /// For people.
    pub fn title(self) -> String {
        match self {
            Self::All => "all, as text".to_owned(),
            Self::Name(name) => format!("those of {name}"),
            Self::Nothing => "a filter that matches nothing".to_owned(),
        }
    }
}

/// A file, and who reads it.
pub struct Reader {
    /// Who.
    pub name: String,
    /// What wrote it.
    recorder: Option<Recorder>,
    /// What is read.
    pub file: PathBuf,
}

/// What came of a question.
pub struct Answer {
    /// Who read.
    pub reader: String,
    /// What was asked.
    pub question: Question,
    /// Lines that were printed.
    pub lines: u64,
    /// Each reading, without printing.
    pub readings: Vec<Reading>,
}

/// One reading.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Wall time.
    pub took: Duration,
    /// CPU time.
    pub cpu: Duration,
    /// The greatest resident set, bytes.
    pub peak: u64,
}

impl Reader {
    /// By the program that wrote it.
    pub fn of(recorder: &Recorder, file: PathBuf) -> Self {
        Self { name: recorder.name().to_owned(), recorder: Some(recorder.clone()), file }
    }

    /// sysdig, of a file that it can read.
    pub fn sysdig(file: PathBuf) -> Self {
        Self { name: "sysdig".to_owned(), recorder: None, file }
    }

    fn command(&self, question: Question) -> Option<Command> {
        let words = |program: &Path, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words);
            command
        };
        let mut command = match &self.recorder {
            Some(Recorder::Ktape(_, binary)) => {
                let mut command = words(binary, &["replay"]);
                command.arg(&self.file);
                match question {
                    Question::All => {}
                    Question::Name(name) => {
                        command.args(["--filter", &format!("proc.name = {name}")]);
                    }
                    Question::Nothing => {
                        command.args(["--filter", "evt.type = reboot"]);
                    }
                }
                command
            }
            Some(Recorder::TraceCmd(_)) => {
                let mut command = words(Path::new("trace-cmd"), &["report"]);
                // After the file a filter is taken, and ignored.
                match question {
                    Question::All => {}
                    Question::Name(name) => {
                        command.args(["-F", &format!(".*:COMM == \"{name}\"")]);
                    }
                    Question::Nothing => {
                        command.args(["-F", "raw_syscalls/sys_enter:id == 169"]);
                    }
                }
                command.arg("-i").arg(&self.file);
                command
            }
            Some(Recorder::Perf(_)) => {
                let mut command = words(Path::new("perf"), &["script", "-i"]);
                command.arg(&self.file);
                match question {
                    Question::All => {}
                    Question::Name(name) => {
                        command.args(["--comm", name]);
                    }
                    Question::Nothing => {
                        command.args(["--comm", "nobody"]);
                    }
                }
                command
            }
            Some(_) => return None,
            None => {
                let mut command = words(Path::new("sysdig"), &["-r"]);
                command.arg(&self.file);
                match question {
                    Question::All => {}
                    Question::Name(name) => {
                        command.arg(format!("proc.name={name}"));
                    }
                    Question::Nothing => {
                        command.arg("evt.type=reboot");
                    }
                }
                command
            }
        };
        command.stdin(Stdio::null()).stderr(Stdio::null());
        Some(command)
    }

    /// How many lines are printed: a filter that is not understood would print them all. `None` if this reads no such file.
    pub fn lines(&self, question: Question) -> Result<Option<u64>> {
        let Some(mut command) = self.command(question) else { return Ok(None) };
        let mut program = Program::start(command.stdout(Stdio::piped()))?;
        let mut lines = 0;
        let mut buffer = vec![0u8; 1 << 16];
        let mut stdout = program.stdout().context("stdout is a pipe")?;
        loop {
            let read = stdout.read(&mut buffer).context("cannot read what is printed")?;
            if read == 0 {
                break;
            }
            lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        let (status, _) = program.wait(PATIENCE, |_| ())?;
        if !status.success() {
            bail!("{} cannot read {}: {status}", self.name, self.file.display());
        }
        Ok(Some(lines))
    }

    /// Ask it once.
    pub fn read(&self, question: Question) -> Result<Option<Reading>> {
        let Some(mut command) = self.command(question) else { return Ok(None) };
        let start = Instant::now();
        let mut program = Program::start(command.stdout(Stdio::null()))
            .with_context(|| format!("cannot read as {}", self.name))?;
        let mut peak = 0;
        let (status, cpu) = program.wait(PATIENCE, |pid| peak = peak.max(process::memory(pid).peak))?;
        let took = start.elapsed();
        if !status.success() {
            bail!("{} cannot read {}: {status}", self.name, self.file.display());
        }
        Ok(Some(Reading { took, cpu, peak }))
    }
}
