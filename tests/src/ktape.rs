//! Runs `ktape` as a user does: a command line, a file, an exit code.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use capture_format::{CaptureFile, StrId};
use serde_json::Value;

use crate::wait;

/// Path of the binary: `KTAPE_BIN`, else a build with the profile of the tests.
///
/// # Panics
/// If it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = env::var_os("KTAPE_BIN") {
            return binary.into();
        }
        // .../target/PROFILE/deps/TEST, or .../target/PROFILE/xtask
        let own = env::current_exe().expect("the path of the test");
        let dir = own.parent().expect("a test lies in the target directory");
        let profile = if dir.ends_with("deps") { dir.parent().expect("so does its directory") } else { dir };
        let profile = profile.to_path_buf();
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--quiet", "--package", "ktape"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        build.env("CARGO_TARGET_DIR", profile.parent().expect("a profile lies in the target directory"));
        let status = build.status().expect("cargo starts");
        assert!(status.success(), "cannot build ktape: {status}");
        profile.join("ktape")
    })
}

/// A temporary directory in the workspace's target directory, which is on a real disk. `/tmp` may be a tmpfs.
///
/// # Panics
/// If it cannot be created.
pub fn disk_dir() -> tempfile::TempDir {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target");
    std::fs::create_dir_all(&target).expect("the target directory can be made");
    tempfile::tempdir_in(target).expect("a directory in the target directory")
}

/// Whether [`binary`] is a release build. Time limits apply only to release builds.
pub fn is_optimised() -> bool {
    binary().parent().is_some_and(|dir| dir.ends_with("release"))
}

/// Runs `ktape` until it exits.
///
/// # Panics
/// If it cannot be started.
pub fn run(args: &[&str]) -> Output {
    Command::new(binary()).args(args).stdin(Stdio::null()).output().expect("ktape starts")
}

/// Runs `ktape`, which must succeed, and returns its standard output.
///
/// # Panics
/// If it fails.
pub fn stdout(args: &[&str]) -> String {
    let out = run(args);
    assert!(out.status.success(), "ktape {args:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("ktape prints UTF-8 whatever it recorded")
}

/// Output of `ktape containers --format json ARGS`, by full container ID.
///
/// # Panics
/// If it fails or prints invalid JSON.
pub fn containers(args: &[&str]) -> BTreeMap<String, Value> {
    let mut words = vec!["containers", "--format", "json"];
    words.extend(args);
    let id = |container: &Value| text(container, "id").expect("an id").to_owned();
    let all = stdout(&words);
    let all = all.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    all.map(|container| (id(&container), container)).collect()
}

/// Events of a file as JSON objects.
///
/// # Panics
/// If `ktape replay` fails or prints invalid JSON.
pub fn replay_json(file: &Path, args: &[&str]) -> Vec<Value> {
    let file = file.to_string_lossy();
    let mut all = vec!["replay", &file, "--format", "json"];
    all.extend(args);
    stdout(&all)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}")))
        .collect()
}

/// Rows of `ktape stats FILE ARGS` as JSON objects.
///
/// # Panics
/// If it fails or prints invalid JSON.
pub fn stats_json(file: &Path, args: &[&str]) -> Vec<Value> {
    let file = file.to_string_lossy();
    let mut all = vec!["stats", &file, "--format", "json"];
    all.extend(args);
    stdout(&all)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}")))
        .collect()
}

/// Number of events in a file that match an expression.
///
/// # Panics
/// If `ktape replay --count` fails or prints something other than a number.
pub fn count(file: &Path, expression: &str) -> u64 {
    let out = stdout(&["replay", &file.to_string_lossy(), "--count", expression]);
    out.trim_end().parse().unwrap_or_else(|_| panic!("not a bare number: {out:?}"))
}

/// Output of `ktape info --json`.
///
/// # Panics
/// If it fails or prints invalid JSON.
pub fn info(file: &Path) -> Value {
    let out = stdout(&["info", &file.to_string_lossy(), "--json"]);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("not JSON: {error}: {out}"))
}

/// Value of an integer field. ktape prints integers above 2^53 and addresses as strings.
pub fn int(event: &Value, field: &str) -> Option<i64> {
    match event.get(field)? {
        Value::Number(number) => number.as_i64().or_else(|| number.as_u64().map(u64::cast_signed)),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok().map(u64::cast_signed),
            None => text.parse().ok().or_else(|| text.parse().ok().map(u64::cast_signed)),
        },
        _ => None,
    }
}

/// Value of a string field.
pub fn text<'a>(event: &'a Value, field: &str) -> Option<&'a str> {
    event.get(field)?.as_str()
}

/// A field that is a list of strings; empty if the event lacks it.
pub fn list<'a>(event: &'a Value, field: &str) -> Vec<&'a str> {
    let elements = event.get(field).and_then(Value::as_array).into_iter().flatten();
    elements.map(|element| element.as_str().expect("a list of strings")).collect()
}

/// Whether a field is `true` or 1.
pub fn truth(event: &Value, field: &str) -> bool {
    event.get(field).is_some_and(|value| value.as_bool() == Some(true) || value.as_u64() == Some(1))
}

/// A running `ktape capture`. Dropping it kills it.
pub struct Capture {
    child: Child,
    file: PathBuf,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    /// Time from the start of the process until it prints that it records.
    pub startup: Duration,
}

impl Capture {
    /// Starts `ktape capture -o FILE ARGS` and waits until it records.
    ///
    /// # Panics
    /// If it exits before that, or does not record within [`wait::TIMEOUT`].
    pub fn start(file: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.arg("capture").arg("-o").arg(file).args(args);
        Self::spawn(command, file)
    }

    /// Starts another command that runs `ktape capture`, and waits until it records. `file` is its output.
    ///
    /// # Panics
    /// As [`Capture::start`].
    pub fn spawn(mut command: Command, file: &Path) -> Self {
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stderr = Arc::new(Mutex::new(String::new()));
        let recording = Arc::new(OnceLock::new());
        let reader = {
            let (stderr, recording) = (Arc::clone(&stderr), Arc::clone(&recording));
            let mut lines = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
            std::thread::spawn(move || {
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                    if line.starts_with("ktape: recording") {
                        recording.get_or_init(|| started.elapsed());
                    }
                    stderr.lock().expect("no reader panicked").push_str(&line);
                    line.clear();
                }
            })
        };
        let mut capture =
            Self { child, file: file.to_path_buf(), stderr, reader: Some(reader), startup: Duration::ZERO };
        capture.startup = wait::until("the capture to begin", wait::TIMEOUT, || {
            if recording.get().is_none()
                && let Some(status) = capture.child.try_wait().expect("the capture can be waited for")
            {
                // A short capture may exit before its first line is read.
                capture.drain();
                assert!(recording.get().is_some(), "did not record, {status}:\n{}", capture.stderr());
            }
            recording.get().copied()
        });
        capture
    }

    /// Process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file it writes.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Standard error so far.
    ///
    /// # Panics
    /// If the thread that reads it panicked.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("no reader panicked").clone()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the capture has exited.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: the child has not been reaped, so its process ID cannot have been reused.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "cannot signal the capture: {}", std::io::Error::last_os_error());
    }

    /// Waits until it exits by itself.
    ///
    /// # Panics
    /// If it does not exit within a minute.
    pub fn wait(mut self) -> Ended {
        let status = wait::until("the capture to end", Duration::from_secs(60), || {
            self.child.try_wait().expect("the capture can be waited for")
        });
        self.drain();
        Ended { status, stderr: self.stderr(), file: self.file.clone() }
    }

    /// Stops it with SIGINT, as Ctrl-C does. It must succeed.
    ///
    /// # Panics
    /// If it fails or does not exit.
    pub fn stop(self) -> Ended {
        self.signal(libc::SIGINT);
        let ended = self.wait();
        assert!(ended.status.success(), "the capture failed: {}\n{}", ended.status, ended.stderr);
        ended
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// If it has exited before.
    pub fn kill(self) -> Ended {
        self.signal(libc::SIGKILL);
        let ended = self.wait();
        assert_eq!(ended.status.signal(), Some(libc::SIGKILL));
        ended
    }

    fn drain(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panicked");
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // The capture still runs only after a failed assertion.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A capture that has exited.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its whole standard error.
    pub stderr: String,
    /// Its output file.
    pub file: PathBuf,
}

impl Ended {
    /// Asserts that at most 20 events were lost, and only calls, requests, switches or connections that the kernel skipped or
    /// had no memory for. Lifecycle events must never be lost.
    ///
    /// # Panics
    /// If anything else was lost.
    pub fn expect_little_loss(&self) {
        let lost = replay_json(&self.file, &["-e", "loss"]);
        let few = lost.iter().filter_map(|loss| int(loss, "loss.count")).sum::<i64>() <= 20;
        let is_minor = |loss: &Value| {
            matches!(text(loss, "loss.stage"), Some("recursion" | "storage"))
                && matches!(text(loss, "loss.kind"), Some("syscall" | "block" | "switch" | "net"))
        };
        assert!(few && lost.iter().all(is_minor), "{}{lost:#?}", self.stderr);
    }
}

/// All strings in a file after decompression: those of its chunks, and its metadata.
///
/// # Panics
/// If it cannot be read.
pub fn all_strings(file: &Path) -> Vec<Vec<u8>> {
    let capture = CaptureFile::open(file).expect("a capture");
    let mut all = Vec::new();
    for entry in capture.chunks() {
        let chunk = capture.read_chunk(entry).expect("a whole chunk");
        let count = u32::try_from(chunk.string_count().expect("strings")).expect("not so many");
        all.extend((0..=count).map(|n| chunk.str(StrId(n)).to_vec()));
    }
    let metadata = capture.metadata();
    for key in metadata.keys() {
        all.extend(metadata.values(key).flat_map(|(name, value)| [name.into(), value.into()]));
    }
    all
}

/// Runs `ktape capture -o FILE ARGS -- COMMAND` until it exits. Both must succeed.
///
/// # Panics
/// If ktape fails, or its exit code is not that of the command.
pub fn record(file: &Path, args: &[&str], command: &[&str]) -> Ended {
    let file_text = file.to_string_lossy();
    let mut all = vec!["capture", "-o", &file_text];
    all.extend(args);
    all.push("--");
    all.extend(command);
    let out = run(&all);
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    let expected = command_code(&stderr).unwrap_or(0);
    assert_eq!(out.status.code(), Some(expected), "ktape {all:?}: {}\n{stderr}", out.status);
    Ended { status: out.status, stderr, file: file.to_path_buf() }
}

/// The exit code of the recorded command, as `ktape capture` reports it, if it was not killed.
fn command_code(stderr: &str) -> Option<i32> {
    stderr.lines().find_map(|line| line.strip_prefix("ktape: command exited with code ")?.parse().ok())
}
