//! Running the workload program, and what it agrees on with the tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The first argument of the `prctl` calls that mark a place in a recording: no option of the kernel's, so the call
/// fails with EINVAL and does nothing.
pub const MARKER: u32 = 0x6b74_6170;
/// The second argument of the marker before the work.
pub const BEGIN: u32 = 1;
/// The second argument of the marker after the work.
pub const END: u32 = 2;

/// A workload that tells when it is ready, and goes on when told.
pub struct Workload {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Workload {
    /// Start the program with these arguments.
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

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints, without the newline.
    ///
    /// # Panics
    /// If it ended instead.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).expect("the workload's output can be read");
        assert!(read > 0, "the workload {} ended instead of printing a line", self.pid());
        line.trim_end().to_owned()
    }

    /// Let it go on: one byte on its stdin.
    ///
    /// # Panics
    /// If it ended.
    pub fn go(&mut self) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(b"\n").expect("the workload reads its stdin");
    }

    /// Close its stdin and wait for a successful end. Gives what it printed since.
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

    /// Whether it has ended.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the workload can be waited for").is_some()
    }

    /// Kill it.
    pub fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        // It may have ended by itself: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Run the program to its end.
///
/// # Panics
/// If it fails.
pub fn run(program: &Path, args: &[&str]) -> String {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().expect("the workload starts");
    assert!(out.status.success(), "{args:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("the workload prints text")
}
