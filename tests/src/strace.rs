//! What strace saw: its log (`strace -f -a1 -s0 -o LOG`) as ordered calls of each thread, and its summary (`-c`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A result; addresses as their bits.
    Value(i64),
    /// An error that the caller saw, by name.
    Error(String),
    /// The kernel's own mark for a call that a signal interrupted, by name.
    Restart(String),
    /// No result: the call does not return, or its thread was killed in it.
    Never,
}

impl Outcome {
    /// From the value that the kernel leaves in the result register.
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

/// The C library's name of an error number.
pub fn errno_name(number: i32) -> Option<String> {
    unsafe extern "C" {
        fn strerrorname_np(number: libc::c_int) -> *const libc::c_char;
    }
    // SAFETY: the function takes any number and gives NULL or a string that lives forever.
    let name = unsafe {
        let name = strerrorname_np(number);
        (!name.is_null()).then(|| CStr::from_ptr(name))
    }?;
    Some(name.to_string_lossy().into_owned())
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name, `syscall_N` if strace knows none.
    pub name: String,
    /// Its result.
    pub outcome: Outcome,
}

/// The calls of each thread, in order. The thread id is the one at the call's return.
pub type Threads = BTreeMap<u32, Vec<Call>>;

/// The command line that runs a program under strace with a log that [`parse`] reads.
pub fn command(log: &Path, program: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = ["strace", "-f", "-a1", "-s0", "-o"].map(str::to_owned).into();
    words.push(log.to_string_lossy().into_owned());
    words.extend(program.iter().map(|word| (*word).to_owned()));
    words
}

/// Read a log.
///
/// # Panics
/// If the file cannot be read, or has a line that this does not understand.
pub fn read(log: &Path) -> Threads {
    let bytes = fs::read(log).unwrap_or_else(|error| panic!("cannot read {}: {error}", log.display()));
    parse(&String::from_utf8_lossy(&bytes))
}

/// Read a log's text.
///
/// # Panics
/// If a line is not understood.
pub fn parse(text: &str) -> Threads {
    let mut log = Log::default();
    for line in text.lines() {
        log.line(line);
    }
    log.threads
}

#[derive(Default)]
struct Log {
    threads: Threads,
    /// Calls that have not ended, by thread.
    open: HashMap<u32, String>,
    /// The thread that entered `exit_group` last.
    exiting: Option<u32>,
    /// Threads whose entry may be another's.
    doubtful: HashSet<u32>,
}

impl Log {
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
            self.doubtful.remove(&tid);
            self.push(tid, name, outcome(tail).unwrap_or_else(|| panic!("no result: {line}")));
        } else {
            let (name, tail) = rest.split_once('(').unwrap_or_else(|| panic!("not a call: {line}"));
            let before = if name == "exit_group" { self.exiting.replace(tid) } else { None };
            match outcome(tail) {
                Some(outcome) => self.push(tid, name, outcome),
                None if tail.ends_with("<unfinished ...>") || tail.ends_with("<detached ...>") => {
                    self.open.insert(tid, name.to_owned());
                    if before.is_some_and(|other| other != tid) {
                        self.doubtful.insert(tid);
                    }
                }
                None => panic!("neither a result nor unfinished: {line}"),
            }
        }
    }

    /// `exited with N +++`, `killed by SIG +++`, `superseded by execve in pid N +++`.
    fn end(&mut self, tid: u32, how: &str) {
        if let Some(name) = self.open.remove(&tid) {
            // A thread that is killed while strace looks at its entry is sometimes logged with the `exit_group` of another
            // one, which is what kills it. Its own would be logged as resumed.
            let name = if self.doubtful.remove(&tid) { "?" } else { &name };
            self.push(tid, name, Outcome::Never);
        }
        if let Some(other) = how.strip_prefix("superseded by execve in pid ") {
            // The thread that executes goes on under the leader's id, which is this one.
            let other = other.trim_end_matches(" +++").parse().expect("a thread id");
            if let Some(name) = self.open.remove(&other) {
                self.open.insert(tid, name);
            }
        }
    }

    fn push(&mut self, tid: u32, name: &str, outcome: Outcome) {
        // A thread that was never seen at an entry, because it was killed at once.
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

/// The result after the last `) = `, if there is one.
fn outcome(tail: &str) -> Option<Outcome> {
    let at = tail.rfind(")  = ").map(|at| at + 5).or_else(|| tail.rfind(") = ").map(|at| at + 4))?;
    let mut words = tail[at..].split_whitespace();
    let result = words.next()?;
    Some(match result {
        "?" => match words.next() {
            // The thread was gone before strace could look.
            Some("<unavailable>") => Outcome::Never,
            Some(restart) => Outcome::Restart(restart.to_owned()),
            None => Outcome::Never,
        },
        "-1" => match words.next() {
            Some(name) if name.starts_with('E') => Outcome::Error(name.to_owned()),
            // strace has a name for each error of the kernel, and no call returns -1 otherwise: it read what was left
            // where a thread was being killed.
            _ => {
                eprintln!("strace read no result: {tail}");
                Outcome::Never
            }
        },
        number => Outcome::Value(value(number)?),
    })
}

/// Decimal (a register of `rt_sigreturn` may be above what is signed), `0x` hex, or octal with a leading zero (umask).
fn value(text: &str) -> Option<i64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(u64::cast_signed);
    }
    if text.len() > 1 && text.starts_with('0') {
        return i64::from_str_radix(text, 8).ok();
    }
    text.parse().ok().or_else(|| text.parse().ok().map(u64::cast_signed))
}

/// How often a program makes each call: `strace -f -c`, run now.
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
