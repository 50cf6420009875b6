//! Compares the arguments that ktape records with those that strace logs of the same calls, position by position, and what
//! descriptors stand for.
//!
//! Both look at one run: strace follows a program, and ktape records it meanwhile. Where they write the same value in another
//! way (`fidelity/value.rs`), that is no difference. `fidelity/reason.rs` has the reasons for which names may differ.

mod log;
mod names;
mod programs;
mod reason;
mod sockets;
mod structs;
mod undecoded;
mod value;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::ktape;
use sockets::Sockets;
use value::Verdict;

pub use names::Names;
pub use programs::{PROGRAMS, Program};
pub use reason::Reason;
pub use undecoded::{Why, why};

/// A call with its arguments as text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Logged {
    name: String,
    args: Vec<String>,
    /// What follows the equals sign.
    result: String,
}

/// What was found of the arguments of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls that both have.
    pub calls: u64,
    /// Positions of arguments that strace shows.
    pub positions: u64,
    /// Of these, those with the same value.
    pub same: u64,
    /// Of these, those whose value ktape does not record: what a pointer points to.
    pub not_recorded: u64,
    /// Of these, the contents of buffers, which ktape does not record by design.
    pub content: u64,
    /// Of these, addresses of buffers without their content, not recorded by design either.
    pub addresses: u64,
    /// Of these, those for which one of both has a number and the other one a name.
    pub nameless: u64,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.positions += other.positions;
        self.same += other.same;
        self.not_recorded += other.not_recorded;
        self.content += other.content;
        self.addresses += other.addresses;
        self.nameless += other.nameless;
    }

    /// Those of which ktape has another value than strace.
    pub fn different(&self) -> u64 {
        self.positions - self.same - self.not_recorded - self.content - self.addresses - self.nameless
    }
}

/// What was found in one or several runs.
#[derive(Clone, Debug, Default)]
pub struct Fidelity {
    /// By system call.
    pub calls: BTreeMap<String, Figures>,
    /// What descriptors stand for, among arguments and results.
    pub names: Names,
    /// Arguments of which ktape has another value than strace, each with both.
    pub differences: Vec<String>,
    /// Calls that strace logged and ktape did not record.
    pub missing: Vec<String>,
    /// Arguments of which ktape does not record what a pointer points to, by call and position.
    pub undecoded: BTreeMap<(String, usize), Undecoded>,
}

/// Arguments at one position that ktape does not decode and strace does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undecoded {
    /// How many.
    pub count: u64,
    /// One of them, as strace shows it.
    pub example: String,
}

impl Fidelity {
    /// Adds what was found in another run.
    pub fn add(&mut self, other: Self) {
        for (name, figures) in &other.calls {
            self.calls.entry(name.clone()).or_default().add(figures);
        }
        self.names.add(other.names);
        self.differences.extend(other.differences);
        self.missing.extend(other.missing);
        for (at, undecoded) in other.undecoded {
            let all = self.undecoded.entry(at).or_insert(Undecoded { count: 0, ..undecoded.clone() });
            all.count += undecoded.count;
        }
    }

    /// Whether nothing differs and nothing is not decoded, but for known reasons.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
            && self.missing.is_empty()
            && self.names.are_equal()
            && self.unexpected().next().is_none()
    }

    /// Arguments that ktape does not decode for no reason that is known, each with what strace shows.
    pub fn unexpected(&self) -> impl Iterator<Item = String> {
        let is_unexpected =
            |((call, position), _): &(&(String, usize), &Undecoded)| why(call, *position).is_none();
        self.undecoded.iter().filter(is_unexpected).map(|((call, position), undecoded)| {
            format!("{call}, argument {position}, {} times: {} (strace)", undecoded.count, undecoded.example)
        })
    }

    /// The sum over all calls.
    pub fn total(&self) -> Figures {
        let mut total = Figures::default();
        self.calls.values().for_each(|figures| total.add(figures));
        total
    }

    /// A table by system call, those with the most positions that are not recorded, or not by design, first.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| call | calls | positions | same | not recorded | content | addresses | nameless | different |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        let mut rows: Vec<(&str, &Figures)> = self.calls.iter().map(|(name, f)| (name.as_str(), f)).collect();
        rows.sort_by_key(|(_, figures)| {
            std::cmp::Reverse((figures.not_recorded, figures.content + figures.addresses))
        });
        let total = self.total();
        for (name, f) in rows.into_iter().chain([("all", &total)]) {
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
                f.calls,
                f.positions,
                f.same,
                f.not_recorded,
                f.content,
                f.addresses,
                f.nameless,
                f.different()
            );
        }
        text
    }
}

/// Runs a program under strace under ktape and compares what both have of it. `dir` is for their files.
///
/// # Panics
/// If one of them cannot be started or fails. If the two differ because of events that ktape lost, which may be of any
/// process, they run again; if that happens five times.
pub fn run(program: &Program, dir: &Path) -> Fidelity {
    let (log, file) = (dir.join("strace.log"), dir.join("x.ktape"));
    let log_text = log.to_string_lossy();
    // Structures with all their members, but programs without their environments.
    let whole = ["-e", "abbrev=execve,execveat"];
    let mut command = vec!["strace", "-f", "-yy", "-a1", "-s", "65536", "-o", &log_text];
    command.extend(whole);
    command.extend(["sh", "-c", program.script, "sh"]);
    let dir_text = dir.to_string_lossy();
    command.push(&dir_text);
    for _ in 0..5 {
        ktape::record(&file, &["--force", "--buffer", "64MiB"], &command);
        let found = compare(&log::read(&log), &recorded(&file));
        let lost = ktape::replay_json(&file, &["-e", "loss"]);
        if lost.is_empty() || found.is_equal() {
            return found;
        }
        eprintln!("{}: once more, as events were lost: {lost:#?}", program.name);
    }
    panic!("{}: the two differ, and each time events were lost", program.name);
}

/// The calls of each thread in a capture, in the order of their returns.
fn recorded(file: &Path) -> BTreeMap<u32, Vec<Logged>> {
    let mut threads: BTreeMap<u32, Vec<Logged>> = BTreeMap::new();
    let fields = ["evt.category=syscall", "--fields", "thread.tid,evt.type,evt.args"];
    let events = ktape::replay_json(file, &fields);
    // Only text has what a returned descriptor stands for.
    let lines = ktape::stdout(&["replay", &file.to_string_lossy(), "evt.category=syscall"]);
    assert_eq!(events.len(), lines.lines().count());
    for (event, line) in events.iter().zip(lines.lines()) {
        let Some(tid) = ktape::int(event, "thread.tid").and_then(|tid| u32::try_from(tid).ok()) else {
            continue;
        };
        let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, args) = (text("evt.type"), text("evt.args"));
        let result = line.rsplit_once(&format!(" {name}({args}) = ")).map_or("", |(_, result)| result);
        // Its duration follows.
        let result = result.rsplit_once(" <").map_or(result, |(result, _)| result).to_owned();
        threads.entry(tid).or_default().push(Logged { name, args: log::split(&args), result });
    }
    threads
}

/// How many calls of ktape may have no partner in a row: strace does not log what its own child does before it executes the
/// program.
const UNLOGGED: usize = 64;

fn compare(expected: &BTreeMap<u32, Vec<Logged>>, found: &BTreeMap<u32, Vec<Logged>>) -> Fidelity {
    let mut fidelity = Fidelity::default();
    let sockets = Sockets::of(expected.values().flatten());
    for (tid, expected) in expected {
        let found = found.get(tid).map_or(&[][..], Vec::as_slice);
        let mut next = 0;
        for call in expected {
            let window = &found[next..found.len().min(next + UNLOGGED)];
            let Some(at) = window.iter().position(|other| other.name == call.name) else {
                fidelity.missing.push(format!("thread {tid}: {}({})", call.name, call.args.join(", ")));
                continue;
            };
            next += at + 1;
            compare_call(call, &window[at], &mut fidelity);
            for compared in names::of_call(call, &window[at], &sockets) {
                fidelity.names.count(&call.name, &compared);
            }
        }
    }
    fidelity
}

fn compare_call(expected: &Logged, found: &Logged, fidelity: &mut Fidelity) {
    let figures = fidelity.calls.entry(expected.name.clone()).or_default();
    figures.calls += 1;
    for (position, wanted) in value::positions(&expected.name, &expected.args) {
        // The thread ended in the call.
        if wanted.is_empty() || wanted.ends_with("<unfinished ...>") {
            continue;
        }
        figures.positions += 1;
        let got = found.args.get(position).map_or("nothing", String::as_str);
        match value::same(&expected.name, wanted, got) {
            Verdict::Same => figures.same += 1,
            Verdict::NotRecorded => {
                figures.not_recorded += 1;
                let undecoded = fidelity.undecoded.entry((expected.name.clone(), position)).or_default();
                undecoded.count += 1;
                wanted.clone_into(&mut undecoded.example);
            }
            Verdict::Content => figures.content += 1,
            Verdict::Address => figures.addresses += 1,
            Verdict::Nameless => figures.nameless += 1,
            Verdict::Different => fidelity
                .differences
                .push(format!("{}, argument {position}: {wanted} (strace), {got} (ktape)", expected.name)),
        }
    }
}

#[cfg(test)]
mod tests;
