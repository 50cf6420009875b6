//! Runs programs with a time limit that neither they nor their children can exceed.
//!
//! Under a limit, a program runs in its own session, and the whole session is killed when its time is up. Processes that
//! survive SIGKILL, because they are in uninterruptible sleep, are named in the error and left behind.

use std::cell::RefCell;
use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Time between SIGTERM and SIGKILL, in which the test runner stops its tests.
const TERM_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for a process to exit after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two checks whether a program has exited.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The limit of the current step.
#[derive(Clone)]
struct StepLimit {
    name: String,
    length: Duration,
    end: Instant,
}

thread_local! {
    static LIMIT: RefCell<Option<StepLimit>> = const { RefCell::new(None) };
}

/// The signal that asked this process to stop, or 0.
static RECEIVED_SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Runs `work` so that the programs it starts are killed after `length`. Limits nest; the earliest deadline applies.
///
/// # Errors
/// Those of `work`, in which a program fails if it exceeds the limit or starts after it.
pub fn within<T>(name: &str, length: Duration, work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(handle_signals);
    let outer = LIMIT.with_borrow(Clone::clone);
    let own = StepLimit { name: name.to_owned(), length, end: Instant::now() + length };
    let earliest = match &outer {
        Some(outer) if outer.end < own.end => outer.clone(),
        _ => own,
    };
    LIMIT.set(Some(earliest));
    let result = work();
    LIMIT.set(outer);
    result
}

/// Runs a program with inherited output until it exits. `shown` is its name in errors.
///
/// # Errors
/// If it does not start or does not exit in time.
pub fn status(command: &mut Command, shown: &str) -> Result<ExitStatus> {
    let Some(limit) = LIMIT.with_borrow(Clone::clone) else {
        return command.status().with_context(|| format!("cannot run `{shown}`"));
    };
    let mut child = start(command, shown)?;
    finish(&mut child, &limit, shown)
}

/// Runs a program until it exits and returns its standard output. `shown` is its name in errors.
///
/// # Errors
/// If it does not start or does not exit in time.
pub fn output(command: &mut Command, shown: &str) -> Result<(ExitStatus, Vec<u8>)> {
    let Some(limit) = LIMIT.with_borrow(Clone::clone) else {
        let out = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let out = out.and_then(Child::wait_with_output).with_context(|| format!("cannot run `{shown}`"))?;
        return Ok((out.status, out.stdout));
    };
    let mut child = start(command.stdout(Stdio::piped()), shown)?;
    let mut pipe = child.stdout.take().context("stdout is a pipe")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = pipe.read_to_end(&mut text).map(|_| text);
        // The receiver is gone after a timeout.
        let _ = sender.send(read);
    });
    let status = finish(&mut child, &limit, shown)?;
    match receiver.recv_timeout(KILL_TIMEOUT) {
        Ok(read) => Ok((status, read.with_context(|| format!("cannot read the output of `{shown}`"))?)),
        Err(_) => bail!("`{shown}` has exited, but a process that it started keeps its output open"),
    }
}

/// Starts the program as a session leader and without input, so that it cannot wait for a user.
fn start(command: &mut Command, shown: &str) -> Result<Child> {
    command.stdin(Stdio::null());
    // SAFETY: setsid and prctl are async-signal-safe, so they may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() < 0 || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.spawn().with_context(|| format!("cannot run `{shown}`"))
}

fn finish(child: &mut Child, limit: &StepLimit, shown: &str) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for `{shown}`"))? {
            let strays = members(child.id());
            if !strays.is_empty() {
                eprintln!("`{shown}` left processes behind, killing them: {}", names(&strays));
                kill_session(child, Duration::from_secs(1));
            }
            return Ok(status);
        }
        let signal = RECEIVED_SIGNAL.load(Ordering::Relaxed);
        if signal != 0 {
            let left = kill_session(child, TERM_TIMEOUT);
            bail!("{}: `{shown}` was killed after signal {signal}{}", limit.name, survivors(&left));
        }
        if Instant::now() >= limit.end {
            let left = kill_session(child, TERM_TIMEOUT);
            bail!(
                "{}: `{shown}` was killed: it exceeded the limit of {} s{}",
                limit.name,
                limit.length.as_secs(),
                survivors(&left)
            );
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn survivors(left: &[SessionMember]) -> String {
    if left.is_empty() {
        String::new()
    } else {
        format!("; these processes survived SIGKILL: {}", names(left))
    }
}

/// Sends SIGTERM to the leader's process group, and SIGKILL to its whole session after `grace`. Returns what survives.
fn kill_session(child: &mut Child, grace: Duration) -> Vec<SessionMember> {
    let session = child.id();
    let Ok(leader) = libc::pid_t::try_from(session) else { return Vec::new() };
    // SAFETY: kill touches no memory. The ID stays the child's while any process of its group exists; otherwise the call fails.
    unsafe { libc::kill(-leader, libc::SIGTERM) };
    if wait_for_none(child, grace).is_empty() {
        return Vec::new();
    }
    for process in members(session) {
        // SAFETY: as above.
        unsafe { libc::kill(process.pid, libc::SIGKILL) };
    }
    wait_for_none(child, KILL_TIMEOUT)
}

fn wait_for_none(child: &mut Child, timeout: Duration) -> Vec<SessionMember> {
    let start = Instant::now();
    loop {
        // Reaps the leader. The result is not needed: the list below shows whether it still runs.
        let _ = child.try_wait();
        let left = members(child.id());
        if left.is_empty() || start.elapsed() >= timeout {
            return left;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// A running process of a session.
struct SessionMember {
    pid: libc::pid_t,
    name: String,
    state: char,
}

fn names(processes: &[SessionMember]) -> String {
    let each: Vec<_> = processes
        .iter()
        .map(|SessionMember { pid, name, state }| format!("{name} ({pid}, state {state})"))
        .collect();
    each.join(", ")
}

/// The processes of a session, without zombies.
fn members(session: u32) -> Vec<SessionMember> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let state = fields.next()?.chars().next()?;
            // The fields after the state are parent, group and session.
            let own = fields.nth(2)?.parse::<u32>().ok()?;
            (own == session && !matches!(state, 'Z' | 'X')).then(|| SessionMember {
                pid,
                name: name.to_owned(),
                state,
            })
        })
        .collect()
}

extern "C" fn on_signal(signal: libc::c_int) {
    RECEIVED_SIGNAL.store(signal, Ordering::Relaxed);
}

/// Catches the signals that stop this process: Ctrl-C does not reach programs in their own session.
fn handle_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic. An ignored signal stays ignored (nohup).
        unsafe {
            if libc::signal(signal, on_signal as *const () as libc::sighandler_t) == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_IGN);
            }
        }
    }
}

/// Restores the default action of signals, for work whose children are killed with this process.
pub fn leave_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: installs no handler. An ignored signal stays ignored (nohup).
        unsafe {
            if libc::signal(signal, libc::SIG_DFL) == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_IGN);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn limited<T>(millis: u64, work: impl FnOnce() -> Result<T>) -> (Result<T>, Duration) {
        let start = Instant::now();
        let result = within("the step", Duration::from_millis(millis), work);
        (result, start.elapsed())
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let (result, took) = limited(300, || status(&mut sh("sleep 987 & sleep 987"), "hangs"));
        let message = format!("{:#}", result.unwrap_err());
        assert_eq!(message, "the step: `hangs` was killed: it exceeded the limit of 0 s");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn a_program_that_ignores_sigterm_is_killed() {
        let mut child = start(&mut sh("trap '' TERM; sleep 988; sleep 988"), "ignores").unwrap();
        thread::sleep(Duration::from_millis(200));
        assert!(kill_session(&mut child, Duration::from_millis(300)).is_empty());
        assert!(child.try_wait().unwrap().is_some());
    }

    #[test]
    fn all_process_groups_of_the_session_are_killed() {
        // With job control, the shell gives each job its own group, as the test runner does.
        let (result, _) = limited(500, || status(&mut sh("set -m; sleep 986 & exec sleep 989"), "groups"));
        result.unwrap_err();
        let left = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let text = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            (text == b"sleep\x00986\0").then_some(())
        });
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_background_process_that_holds_the_output_does_not_block_the_caller() {
        let (result, took) = limited(60_000, || output(&mut sh("sleep 985 & echo hello"), "strays"));
        let (status, text) = result.unwrap();
        assert!(status.success());
        assert_eq!(text, b"hello\n");
        assert!(took < Duration::from_secs(4), "{took:?}");
    }

    #[test]
    fn a_daemon_that_holds_the_output_is_an_error() {
        let (result, took) =
            limited(60_000, || output(&mut sh("setsid sleep 8 & sleep 0.3; echo hello"), "daemon"));
        let message = format!("{:#}", result.unwrap_err());
        assert!(message.contains("keeps its output open"), "{message}");
        assert!(took < Duration::from_secs(7), "{took:?}");
    }

    #[test]
    fn the_earliest_of_nested_deadlines_applies() {
        let (result, _) =
            limited(200, || within("inner", Duration::from_secs(60), || status(&mut sh("sleep 984"), "x")));
        assert!(format!("{:#}", result.unwrap_err()).starts_with("the step: "));
    }

    #[test]
    fn the_exit_status_is_returned() {
        let (result, _) = limited(60_000, || status(&mut sh("exit 7"), "seven"));
        assert_eq!(result.unwrap().code(), Some(7));
    }
}
