//! Runs the workload program, and defines the constants that it shares with the tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// First argument of the `prctl` calls that mark a position in a capture. The kernel has no such option, so the call fails
/// with EINVAL and has no effect.
pub const MARKER: u32 = 0x6b74_6170;
/// Second argument of the marker before the work.
pub const BEGIN: u32 = 1;
/// Second argument of the marker after the work.
pub const END: u32 = 2;

/// A workload that prints lines when it is ready and continues when it reads from stdin. Dropping it kills it.
pub struct Workload {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Workload {
    /// Starts the program.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(program: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        Self { child, stdin, stdout }
    }

    /// Process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line of its output and returns it without trailing whitespace.
    ///
    /// # Panics
    /// If it exits instead.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).expect("the workload's output can be read");
        assert!(read > 0, "the workload {} exited instead of printing a line", self.pid());
        line.trim_end().to_owned()
    }

    /// Lets the workload continue, by a newline on its stdin.
    ///
    /// # Panics
    /// If it has exited.
    pub fn go(&mut self) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(b"\n").expect("the workload reads its stdin");
    }

    /// Closes its stdin, waits until it exits, and returns the rest of its output.
    ///
    /// # Panics
    /// If it fails.
    pub fn finish(mut self) -> String {
        drop(self.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("the workload's output can be read");
        let status = self.child.wait().expect("the workload can be waited for");
        assert!(status.success(), "the workload failed: {status}");
        rest
    }

    /// Whether it has exited.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the workload can be waited for").is_some()
    }

    /// Kills it with SIGKILL.
    pub fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        // Fails if the workload has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs the program until it exits and returns its output.
///
/// # Panics
/// If it fails.
pub fn run(program: &Path, args: &[&str]) -> String {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().expect("the workload starts");
    assert!(out.status.success(), "{args:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("the workload prints text")
}
