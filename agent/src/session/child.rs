//! The recorded command: forked first, so that its process id is known, and executed once the hooks are attached.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use thiserror::Error;
use tokio::sync::oneshot;

/// The exit code for a command that cannot be executed, as of a shell, env(1) and time(1).
const NOT_EXECUTABLE: u8 = 126;
/// The exit code for a command that does not exist.
const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that killed the command.
const KILLED_BY: u8 = 128;

/// Why the command cannot be run.
#[derive(Debug, Error)]
pub enum CannotRun {
    /// No directory of `PATH` has a program of this name.
    #[error("cannot run {}: not found in PATH", .0.display())]
    NotInPath(PathBuf),
    /// The path leads nowhere.
    #[error("cannot run {}: no such file", .0.display())]
    NoSuchFile(PathBuf),
    /// Something is there that cannot be executed.
    #[error("cannot run {}: not an executable file", .0.display())]
    NotExecutable(PathBuf),
}

impl CannotRun {
    /// The exit code of ktape.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotInPath(_) | Self::NoSuchFile(_) => NOT_FOUND,
            Self::NotExecutable(_) => NOT_EXECUTABLE,
        }
    }
}

/// A child that waits before its exec.
pub struct WaitingChild {
    /// Its process id.
    pub pid: u32,
    go: File,
    exit: oneshot::Receiver<std::io::Result<ExitStatus>>,
    _waiter: JoinHandle<()>,
}

/// A child that runs.
pub struct RunningChild {
    /// Its process id.
    pub pid: u32,
    pidfd: Option<OwnedFd>,
    /// Becomes ready when it has ended, or could not be executed.
    pub exit: oneshot::Receiver<std::io::Result<ExitStatus>>,
}

/// Forks the command. If our standard output is the capture, the command's goes to standard error.
///
/// # Errors
///
/// The program does not exist, or the system refuses another process.
pub fn fork(command: &[OsString], stdout_is_taken: bool) -> Result<WaitingChild> {
    let (program, args) = command.split_first().context("no command after `--`")?;
    let path = find(program)?;
    let (go_read, go_write) = pipe()?;
    let (pid_read, pid_write) = pipe()?;
    let (sender, exit) = oneshot::channel();
    let mut child = Command::new(&path);
    child.arg0(program).args(args);
    if stdout_is_taken {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().context("cannot duplicate stderr")?;
        child.stdout(stderr);
    }
    let (go_fd, pid_fd, our_end) = (go_read.as_raw_fd(), pid_write.as_raw_fd(), go_write.as_raw_fd());
    // SAFETY: only close, read, write, getpid and _exit are called between fork and exec, which is allowed there.
    // Both descriptors stay open until spawn returns, because the thread below owns them.
    unsafe {
        child.pre_exec(move || {
            let pid = libc::getpid().to_ne_bytes();
            let mut byte = 0u8;
            // Otherwise the child would not notice that the recorder has ended.
            libc::close(our_end);
            if libc::write(pid_fd, pid.as_ptr().cast(), pid.len()) != pid.len() as isize {
                return Err(std::io::Error::last_os_error());
            }
            loop {
                match libc::read(go_fd, (&raw mut byte).cast(), 1) {
                    1 => return Ok(()),
                    // The recorder cannot record, or is gone: the error of a command that was never executed is of no use to
                    // anyone, and the standard library would abort with a message if it cannot be delivered.
                    0 => libc::_exit(1),
                    _ if std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted => {}
                    _ => return Err(std::io::Error::last_os_error()),
                }
            }
        });
    }
    // spawn returns only after the exec, so it has a thread of its own.
    let waiter = std::thread::spawn(move || {
        // The session may have ended without waiting for it.
        let _ = sender.send(spawn_and_wait(child, (go_read, pid_write)));
    });
    let mut pid = [0; 4];
    File::from(pid_read).read_exact(&mut pid).context("cannot start the command")?;
    Ok(WaitingChild { pid: u32::from_ne_bytes(pid), go: File::from(go_write), exit, _waiter: waiter })
}

/// Executes the command and waits for its exit. `ends` are the child's ends of the pipes, closed here once it has them.
fn spawn_and_wait(mut command: Command, ends: (OwnedFd, OwnedFd)) -> std::io::Result<ExitStatus> {
    let spawned = command.spawn();
    drop(ends);
    spawned?.wait()
}

impl WaitingChild {
    /// Lets it execute.
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn go(mut self) -> Result<RunningChild> {
        // It waits for us, so the id is still its own.
        let pidfd = pidfd_open(self.pid);
        self.go.write_all(&[1]).context("cannot start the command: its process is gone")?;
        Ok(RunningChild { pid: self.pid, pidfd, exit: self.exit })
    }
}

impl RunningChild {
    /// Passes a signal on, unless the command got it already: Ctrl-C goes to the whole foreground
    /// group of a terminal.
    pub fn signal(&self, signal: i32) {
        if signal == libc::SIGINT && in_foreground() {
            return;
        }
        if let Some(pidfd) = &self.pidfd {
            let none = std::ptr::null::<libc::siginfo_t>();
            // SAFETY: a descriptor of ours and integers; a null pointer stands for the usual siginfo.
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
        }
    }
}

fn pidfd_open(pid: u32) -> Option<OwnedFd> {
    // SAFETY: integers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: a new descriptor that nothing else owns.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Whether this process is in the foreground group of its terminal.
fn in_foreground() -> bool {
    let Ok(terminal) = File::open("/dev/tty") else { return false };
    // SAFETY: a descriptor of ours; no memory is passed.
    unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) == libc::getpgrp() }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = std::io::pipe().context("cannot create a pipe")?;
    Ok((read.into(), write.into()))
}

/// Looks the program up in PATH, so that the child makes one exec and not one per directory.
fn find(program: &OsStr) -> Result<PathBuf, CannotRun> {
    let is_program = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|meta| {
            meta.is_file() && std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o111 != 0
        })
    };
    if program.as_encoded_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return match std::fs::metadata(&path) {
            Ok(_) if is_program(&path) => Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(CannotRun::NoSuchFile(path)),
            Ok(_) | Err(_) => Err(CannotRun::NotExecutable(path)),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| is_program(path));
    found.ok_or_else(|| CannotRun::NotInPath(PathBuf::from(program)))
}

/// How the command ended, for a message that begins with "command".
pub fn describe(status: &std::io::Result<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Err(error) => format!("could not be executed: {error}"),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with code {code}"),
            (None, Some(signal)) => {
                let core = if status.core_dumped() { " (core dumped)" } else { "" };
                format!("was killed by {}{core}", ktape_reader::names::signal_name(signal as u32))
            }
            (None, None) => "ended".to_owned(),
        },
    }
}

/// The exit code that shows the caller how the command ended: its own, 128 and the number of the signal that killed it, or
/// 126 or 127 if it could not be executed.
pub fn exit_code(status: &std::io::Result<ExitStatus>) -> ExitCode {
    ExitCode::from(match status {
        Ok(status) => code_of(*status),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => NOT_FOUND,
        Err(_) => NOT_EXECUTABLE,
    })
}

fn code_of(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        // Of an exit status, the kernel keeps the low eight bits.
        (Some(code), _) => code as u8,
        (None, Some(signal)) => KILLED_BY.wrapping_add(signal as u8),
        (None, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn exit_codes_are_passed_on_and_signals_follow_128() {
        let of = |raw: i32| (code_of(ExitStatus::from_raw(raw)), describe(&Ok(ExitStatus::from_raw(raw))));
        assert_eq!(of(0), (0, "exited with code 0".to_owned()));
        assert_eq!(of(3 << 8), (3, "exited with code 3".to_owned()));
        assert_eq!(of(255 << 8), (255, "exited with code 255".to_owned()));
        assert_eq!(of(9), (137, "was killed by SIGKILL".to_owned()));
        assert_eq!(of(6 | 0x80), (134, "was killed by SIGABRT (core dumped)".to_owned()));
        assert_eq!(of(64).0, 192);
    }

    #[test]
    fn exit_codes_126_and_127_are_those_of_a_shell() {
        let error = |program: &str| {
            let error = find(OsStr::new(program)).unwrap_err();
            (error.exit_code(), error.to_string())
        };
        assert_eq!(error("/no/such"), (127, "cannot run /no/such: no such file".to_owned()));
        assert_eq!(
            error("no-such-program"),
            (127, "cannot run no-such-program: not found in PATH".to_owned())
        );
        assert_eq!(error("/etc/passwd"), (126, "cannot run /etc/passwd: not an executable file".to_owned()));
        assert_eq!(error("/tmp/."), (126, "cannot run /tmp/.: not an executable file".to_owned()));
        assert_eq!(error("/etc/passwd/x").0, 126);
        assert!(find(OsStr::new("sh")).is_ok());
    }
}
