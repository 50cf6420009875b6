//! Recorders while they run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::counts::Counts;
use super::{RECORDER_TIMEOUT, Recorder};
use crate::compare::threads::ThreadMeter;
use crate::process::{MeasuredProgram, MemoryUse};

/// A running recorder.
pub struct RunningRecorder {
    recorder: Recorder,
    file: PathBuf,
    program: MeasuredProgram,
    /// Standard output and standard error so far.
    output: Arc<Mutex<String>>,
    output_readers: Vec<JoinHandle<()>>,
    /// Time from the start of the process until it records.
    startup: Duration,
    started: Instant,
    cpu_before: Duration,
    threads: Option<ThreadMeter>,
}

/// What a recorder used and recorded in one run.
#[derive(Clone, Debug, Default)]
pub struct RecorderFigures {
    /// CPU time from when it records until it exits.
    pub cpu: Duration,
    /// Size of its file, bytes.
    pub bytes: u64,
    /// Of ktape: the part of `cpu` that each thread used, by name. Threads of the same name are added.
    pub threads: BTreeMap<String, Duration>,
    /// What its file contains.
    pub counts: Counts,
    /// Memory use at the end of the workload.
    pub memory: MemoryUse,
    /// Time from the start of the process until it records.
    pub startup: Duration,
}

impl RunningRecorder {
    /// Starts `command`. With `ready`, waits until the program prints this text; without it, the caller has to wait until
    /// the program records.
    pub fn start(
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
            threads: None,
        };
        if ready.is_some() && receiver.recv_timeout(RECORDER_TIMEOUT).is_err() {
            bail!("{} does not start recording: {}", recorder.name(), running.output());
        }
        running.mark_started();
        Ok(running)
    }

    /// Marks the moment from which it records: time and CPU from now on count as recording.
    pub fn mark_started(&mut self) {
        self.startup = self.started.elapsed();
        self.cpu_before = self.program.cpu();
        let is_ktape = matches!(self.recorder, Recorder::Ktape(_));
        self.threads = is_ktape.then(|| ThreadMeter::start(self.pid()));
    }

    /// Process ID.
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Waits until `is_recording` is true.
    ///
    /// # Errors
    /// If that takes longer than [`RECORDER_TIMEOUT`].
    pub fn wait_until(&mut self, mut is_recording: impl FnMut() -> bool) -> Result<()> {
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
        let mut threads = self.threads.take();
        // Before the signal: a thread can exit before the first sample after it.
        threads.iter_mut().for_each(ThreadMeter::sample);
        self.program.signal(libc::SIGINT);
        let (status, cpu) = self.program.wait(RECORDER_TIMEOUT, |_| {
            if let Some(threads) = &mut threads {
                threads.sample();
            }
        })?;
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
        Ok(RecorderFigures {
            cpu: cpu.saturating_sub(self.cpu_before),
            bytes,
            threads: threads.map(ThreadMeter::used).unwrap_or_default(),
            counts: self.recorder.counts(&self.file, &output)?,
            memory,
            startup: self.startup,
        })
    }
}
