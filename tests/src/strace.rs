//! Parses the output of strace: its log (`strace -f -a1 -s0 -o LOG`) as a list of calls per thread, and its summary (`-c`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A result; addresses are reinterpreted as signed.
    Value(i64),
    /// Name of the error that the caller got.
    Error(String),
    /// Name of the kernel-internal code for a call that a signal interrupted.
    Restart(String),
    /// The call does not return, or its thread was killed in it.
    Never,
}

impl Outcome {
    /// Converts the value of the result register.
    pub fn from_raw(raw: i64) -> Self {
        let number = i32::try_from(-raw).unwrap_or(0);
        match number {
            512 => Self::Restart("ERESTARTSYS".into()),
            513 => Self::Restart("ERESTARTNOINTR".into()),
            514 => Self::Restart("ERESTARTNOHAND".into()),
            516 => Self::Restart("ERESTART_RESTARTBLOCK".into()),
            1..=4095 => Self::Error(errno_name(number).unwrap_or_else(|| number.to_string())),
            _ => Self::Value(raw),
        }
    }
}

/// Name of an error number, from the C library.
pub fn errno_name(number: i32) -> Option<String> {
    unsafe extern "C" {
        fn strerrorname_np(number: libc::c_int) -> *const libc::c_char;
    }
    // SAFETY: the function accepts any number and returns NULL or a static string.
    let name = unsafe {
        let name = strerrorname_np(number);
        (!name.is_null()).then(|| CStr::from_ptr(name))
    }?;
    Some(name.to_string_lossy().into_owned())
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Name, `syscall_N` if strace has none.
    pub name: String,
    /// Result.
    pub outcome: Outcome,
}

/// Calls of each thread, in order. The thread ID is the one at the return of a call.
pub type Threads = BTreeMap<u32, Vec<Call>>;

/// Command line that runs a program under strace, with a log that [`read`] parses.
pub fn command(log: &Path, program: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = ["strace", "-f", "-a1", "-s0", "-o"].map(str::to_owned).into();
    words.push(log.to_string_lossy().into_owned());
    words.extend(program.iter().map(|word| (*word).to_owned()));
    words
}

/// Reads and parses a log.
///
/// # Panics
/// If the file cannot be read or has an unknown kind of line.
pub fn read(log: &Path) -> Threads {
    let bytes = fs::read(log).unwrap_or_else(|error| panic!("cannot read {}: {error}", log.display()));
    parse(&String::from_utf8_lossy(&bytes))
}

/// Parses the text of a log.
///
/// # Panics
/// If it has an unknown kind of line.
pub fn parse(text: &str) -> Threads {
    let mut log = LogParser::default();
    for line in text.lines() {
        log.line(line);
    }
    log.threads
}

#[derive(Default)]
struct LogParser {
    threads: Threads,
    /// Unfinished calls, by thread.
    open: HashMap<u32, String>,
    /// The thread that entered `exit_group` last.
    exiting: Option<u32>,
    /// Threads whose unfinished `exit_group` may be that of another thread.
    uncertain: HashSet<u32>,
}

/// Whether a call goes on after its line. An exec by a thread that is not the leader ends it with `<pid changed to N ...>` if
/// nothing else was logged since it began; it is resumed under the leader's id.
fn is_open(tail: &str) -> bool {
    let is_renamed = || tail.rsplit_once('<').is_some_and(|(_, mark)| mark.starts_with("pid changed to "));
    tail.ends_with("<unfinished ...>") || tail.ends_with("<detached ...>") || is_renamed()
}

impl LogParser {
    fn line(&mut self, line: &str) {
        let (tid, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no thread id: {line}"));
        let tid: u32 = tid.parse().unwrap_or_else(|_| panic!("no thread id: {line}"));
        let rest = rest.trim_start();
        if rest.starts_with("---") || rest.starts_with('[') || rest.starts_with("strace: ") {
            return;
        }
        if let Some(end) = rest.strip_prefix("+++ ") {
            self.end(tid, end);
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (name, tail) =
                resumed.split_once(" resumed>").unwrap_or_else(|| panic!("not a resumed call: {line}"));
            self.open.remove(&tid);
            self.uncertain.remove(&tid);
            self.push(tid, name, outcome(tail).unwrap_or_else(|| panic!("no result: {line}")));
        } else {
            let (name, tail) = rest.split_once('(').unwrap_or_else(|| panic!("not a call: {line}"));
            let before = if name == "exit_group" { self.exiting.replace(tid) } else { None };
            match outcome(tail) {
                Some(outcome) => self.push(tid, name, outcome),
                None if is_open(tail) => {
                    self.open.insert(tid, name.to_owned());
                    if before.is_some_and(|other| other != tid) {
                        self.uncertain.insert(tid);
                    }
                }
                None => panic!("neither a result nor unfinished: {line}"),
            }
        }
    }

    /// `exited with N +++`, `killed by SIG +++`, `superseded by execve in pid N +++`.
    fn end(&mut self, tid: u32, how: &str) {
        if let Some(name) = self.open.remove(&tid) {
            // If a thread is killed while strace inspects its entry, strace sometimes logs the `exit_group` of the thread that
            // kills it. A real `exit_group` of this thread would be logged as resumed.
            let name = if self.uncertain.remove(&tid) { "?" } else { &name };
            self.push(tid, name, Outcome::Never);
        }
        if let Some(other) = how.strip_prefix("superseded by execve in pid ") {
            // The thread that calls execve continues with the leader's ID, which is `tid`.
            let other = other.trim_end_matches(" +++").parse().expect("a thread id");
            if let Some(name) = self.open.remove(&other) {
                self.open.insert(tid, name);
            }
        }
    }

    fn push(&mut self, tid: u32, name: &str, outcome: Outcome) {
        // The thread was killed before strace could read its entry.
        if name.bytes().all(|byte| byte == b'?') {
            return;
        }
        let name = match name.strip_prefix("syscall_0x") {
            Some(hex) => format!("syscall_{}", u32::from_str_radix(hex, 16).expect("a number in hex")),
            None => name.to_owned(),
        };
        self.threads.entry(tid).or_default().push(Call { name, outcome });
    }
}

/// The result after the last `) = `; `None` if there is none.
fn outcome(tail: &str) -> Option<Outcome> {
    let at = tail.rfind(")  = ").map(|at| at + 5).or_else(|| tail.rfind(") = ").map(|at| at + 4))?;
    let mut words = tail[at..].split_whitespace();
    let result = words.next()?;
    Some(match result {
        "?" => match words.next() {
            // The thread exited before strace could read the result.
            Some("<unavailable>") => Outcome::Never,
            Some(restart) => Outcome::Restart(restart.to_owned()),
            None => Outcome::Never,
        },
        "-1" => match words.next() {
            Some(name) if name.starts_with('E') => Outcome::Error(name.to_owned()),
            // strace knows all errors, and no call returns -1 otherwise: it read a stale register of a thread that was being
            // killed.
            _ => {
                eprintln!("strace read no valid result: {tail}");
                Outcome::Never
            }
        },
        number => Outcome::Value(value(number)?),
    })
}

/// Parses decimal (`rt_sigreturn` may exceed the signed range), `0x` hexadecimal, or octal with a leading zero (umask).
fn value(text: &str) -> Option<i64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(u64::cast_signed);
    }
    if text.len() > 1 && text.starts_with('0') {
        return i64::from_str_radix(text, 8).ok();
    }
    text.parse().ok().or_else(|| text.parse().ok().map(u64::cast_signed))
}

/// Runs a program under `strace -f -c` and returns the number of each call.
///
/// # Panics
/// If strace or the program fails.
pub fn count(program: &[&str], dir: &Path) -> BTreeMap<String, u64> {
    let summary: PathBuf = dir.join("strace-c");
    let status = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(&summary)
        .args(program)
        .stderr(std::process::Stdio::null())
        .status()
        .expect("strace starts");
    assert!(status.success(), "strace -c {program:?}: {status}");
    parse_summary(&fs::read_to_string(&summary).expect("strace wrote its summary"))
}

fn parse_summary(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, calls) = (words.next()?, words.next()?);
            (name != "total").then_some(())?;
            Some((name.to_owned(), calls.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
