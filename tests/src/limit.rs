//! Programs within a limit of time: nothing that this starts, and nothing that those start, can keep it from ending.
//!
//! A program under a limit runs in a session of its own. When its time is up the whole session is killed; what even
//! SIGKILL does not end (a process that sleeps in the kernel) is named and left behind.

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

/// Between SIGTERM and SIGKILL: the test runner uses it to end its tests.
const GRACE: Duration = Duration::from_secs(15);
/// How long a killed process may take to go.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How long a program's end is waited for before looking again.
const PAUSE: Duration = Duration::from_millis(20);

/// What is running, and until when it may.
#[derive(Clone)]
struct Limit {
    name: String,
    length: Duration,
    end: Instant,
}

thread_local! {
    static LIMIT: RefCell<Option<Limit>> = const { RefCell::new(None) };
}

/// The signal that asked this task to end, or 0.
static ASKED_TO_END: AtomicI32 = AtomicI32::new(0);

/// Do `work`, in which no program runs longer than until `length` from now. Limits nest; the earliest end counts.
///
/// # Errors
/// Those of the work; and if it began a program after its time was up.
pub fn within<T>(name: &str, length: Duration, work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(handle_signals);
    let outer = LIMIT.with_borrow(Clone::clone);
    let own = Limit { name: name.to_owned(), length, end: Instant::now() + length };
    let earliest = match &outer {
        Some(outer) if outer.end < own.end => outer.clone(),
        _ => own,
    };
    LIMIT.set(Some(earliest));
    let result = work();
    LIMIT.set(outer);
    result
}

/// Run to its end, with inherited output.
///
/// # Errors
/// If it does not start, or not end in time.
pub fn status(command: &mut Command, shown: &str) -> Result<ExitStatus> {
    let Some(limit) = LIMIT.with_borrow(Clone::clone) else {
        return command.status().with_context(|| format!("cannot run `{shown}`"));
    };
    let mut child = start(command, shown)?;
    finish(&mut child, &limit, shown)
}

/// Run to its end, and give what it wrote to stdout.
///
/// # Errors
/// If it does not start, or not end in time.
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
        // Nobody listens any more if this took too long.
        let _ = sender.send(read);
    });
    let status = finish(&mut child, &limit, shown)?;
    match receiver.recv_timeout(LAST_WAIT) {
        Ok(read) => Ok((status, read.with_context(|| format!("cannot read what `{shown}` printed"))?)),
        Err(_) => bail!("`{shown}` has ended, but something that it started keeps its output open"),
    }
}

/// Start it as leader of a session, with no input: then it cannot wait for a user either.
fn start(command: &mut Command, shown: &str) -> Result<Child> {
    command.stdin(Stdio::null());
    // SAFETY: both are plain system calls, which may be made between fork and exec.
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

fn finish(child: &mut Child, limit: &Limit, shown: &str) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for `{shown}`"))? {
            let strays = members(child.id());
            if !strays.is_empty() {
                eprintln!("`{shown}` left behind, killed now: {}", names(&strays));
                kill_session(child, Duration::from_secs(1));
            }
            return Ok(status);
        }
        let signal = ASKED_TO_END.load(Ordering::Relaxed);
        if signal != 0 {
            let left = kill_session(child, GRACE);
            bail!("{}: `{shown}` was ended because of signal {signal}{}", limit.name, still_there(&left));
        }
        if Instant::now() >= limit.end {
            let left = kill_session(child, GRACE);
            bail!(
                "{}: `{shown}` was killed: the step's limit of {} s was reached{}",
                limit.name,
                limit.length.as_secs(),
                still_there(&left)
            );
        }
        thread::sleep(PAUSE);
    }
}

fn still_there(left: &[Process]) -> String {
    if left.is_empty() { String::new() } else { format!("; even SIGKILL did not end {}", names(left)) }
}

/// SIGTERM to the leader's process group, then SIGKILL to everything in its session. Gives what remains.
fn kill_session(child: &mut Child, grace: Duration) -> Vec<Process> {
    let session = child.id();
    let Ok(leader) = libc::pid_t::try_from(session) else { return Vec::new() };
    // SAFETY: a plain system call. The id is the child's while it or anything of its group is there; should all be
    // gone, the call fails.
    unsafe { libc::kill(-leader, libc::SIGTERM) };
    if wait_for_none(child, grace).is_empty() {
        return Vec::new();
    }
    for process in members(session) {
        // SAFETY: as above.
        unsafe { libc::kill(process.pid, libc::SIGKILL) };
    }
    wait_for_none(child, LAST_WAIT)
}

fn wait_for_none(child: &mut Child, patience: Duration) -> Vec<Process> {
    let start = Instant::now();
    loop {
        // Reaps the leader; what this says is found in the list.
        let _ = child.try_wait();
        let left = members(child.id());
        if left.is_empty() || start.elapsed() >= patience {
            return left;
        }
        thread::sleep(PAUSE);
    }
}

/// A process that has not ended.
struct Process {
    pid: libc::pid_t,
    name: String,
    state: char,
}

fn names(processes: &[Process]) -> String {
    let each: Vec<_> = processes
        .iter()
        .map(|Process { pid, name, state }| format!("{name} ({pid}, state {state})"))
        .collect();
    each.join(", ")
}

/// The living processes of a session.
fn members(session: u32) -> Vec<Process> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let state = fields.next()?.chars().next()?;
            // After the state: parent, group, session.
            let own = fields.nth(2)?.parse::<u32>().ok()?;
            (own == session && !matches!(state, 'Z' | 'X')).then(|| Process {
                pid,
                name: name.to_owned(),
                state,
            })
        })
        .collect()
}

extern "C" fn on_signal(signal: libc::c_int) {
    ASKED_TO_END.store(signal, Ordering::Relaxed);
}

/// What runs in its own session is not reached by Ctrl-C: pass it on.
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

/// From here on signals end this process again, as they do before the first limit: for work whose own children end with it.
pub fn leave_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: no handler of ours is needed any more. An ignored signal stays ignored (nohup).
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
    fn what_hangs_is_killed_with_all_it_started() {
        let (result, took) = limited(300, || status(&mut sh("sleep 987 & sleep 987"), "hangs"));
        let message = format!("{:#}", result.unwrap_err());
        assert_eq!(message, "the step: `hangs` was killed: the step's limit of 0 s was reached");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn what_ignores_sigterm_is_killed_too() {
        let mut child = start(&mut sh("trap '' TERM; sleep 988; sleep 988"), "ignores").unwrap();
        thread::sleep(Duration::from_millis(200));
        assert!(kill_session(&mut child, Duration::from_millis(300)).is_empty());
        assert!(child.try_wait().unwrap().is_some());
    }

    #[test]
    fn another_group_of_the_session_is_killed_too() {
        // An interactive-like shell gives each job a group, as the test runner does.
        let (result, _) = limited(500, || status(&mut sh("set -m; sleep 986 & exec sleep 989"), "groups"));
        result.unwrap_err();
        let left = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let text = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            (text == b"sleep\x00986\0").then_some(())
        });
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_stray_that_holds_the_output_does_not_hold_the_caller() {
        let (result, took) = limited(60_000, || output(&mut sh("sleep 985 & echo hello"), "strays"));
        let (status, text) = result.unwrap();
        assert!(status.success());
        assert_eq!(text, b"hello\n");
        assert!(took < Duration::from_secs(4), "{took:?}");
    }

    #[test]
    fn a_daemon_that_holds_the_output_is_an_error_not_a_hang() {
        let (result, took) =
            limited(60_000, || output(&mut sh("setsid sleep 8 & sleep 0.3; echo hello"), "daemon"));
        let message = format!("{:#}", result.unwrap_err());
        assert!(message.contains("keeps its output open"), "{message}");
        assert!(took < Duration::from_secs(7), "{took:?}");
    }

    #[test]
    fn the_earliest_of_nested_limits_counts() {
        let (result, _) =
            limited(200, || within("inner", Duration::from_secs(60), || status(&mut sh("sleep 984"), "x")));
        assert!(format!("{:#}", result.unwrap_err()).starts_with("the step: "));
    }

    #[test]
    fn the_exit_status_is_kept() {
        let (result, _) = limited(60_000, || status(&mut sh("exit 7"), "seven"));
        assert_eq!(result.unwrap().code(), Some(7));
    }
}
