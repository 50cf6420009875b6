//! Whether two texts stand for the same file behind a descriptor.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Logged;
use super::log::descriptor;
use super::reason::Reason;
use super::sockets::Sockets;
use super::value::unescaped;

/// What was found of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    Explained(Reason),
    /// ktape has none.
    Unknown,
    Wrong,
}

/// A name that strace has, and what ktape has.
#[derive(Debug)]
pub(super) struct Compared<'a> {
    pub verdict: Verdict,
    /// The position of the argument; `None` for the result.
    pub position: Option<usize>,
    pub strace: &'a str,
    pub ktape: &'a str,
}

/// What was found of the names in one or several runs.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Those that strace or ktape has.
    pub compared: u64,
    /// Of these, those that are the same in ktape.
    pub equal: u64,
    /// Of these, those that differ for a reason.
    pub explained: BTreeMap<Reason, u64>,
    /// Those that ktape does not have, each with what strace has.
    pub unknown: Vec<String>,
    /// Those of which ktape has another one, each with both.
    pub wrong: Vec<String>,
}

impl Names {
    pub(super) fn count(&mut self, call: &str, compared: &Compared<'_>) {
        self.compared += 1;
        let Compared { verdict, position, .. } = compared;
        let [strace, ktape] =
            [compared.strace, compared.ktape].map(|name| if name.is_empty() { "no name" } else { name });
        let place = position.map_or_else(|| "result".to_owned(), |position| format!("argument {position}"));
        let difference = format!("{call}, {place}: {strace} (strace), {ktape} (ktape)");
        match verdict {
            Verdict::Equal => self.equal += 1,
            Verdict::Explained(reason) => *self.explained.entry(*reason).or_default() += 1,
            Verdict::Unknown => self.unknown.push(difference),
            Verdict::Wrong => self.wrong.push(difference),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.equal += other.equal;
        for (reason, count) in other.explained {
            *self.explained.entry(reason).or_default() += count;
        }
        self.unknown.extend(other.unknown);
        self.wrong.extend(other.wrong);
    }

    /// A table of the reasons.
    pub fn table(&self) -> String {
        let mut text = String::from("| names that differ for a reason | |\n|---|---:|\n");
        for (reason, count) in &self.explained {
            let _ = writeln!(text, "| {} | {count} |", reason.text());
        }
        text
    }

    /// Whether no name differs without a reason.
    pub fn are_equal(&self) -> bool {
        self.unknown.is_empty() && self.wrong.is_empty()
    }
}

/// Compares all names that strace or ktape has of a call.
pub(super) fn of_call<'a>(strace: &'a Logged, ktape: &'a Logged, sockets: &Sockets) -> Vec<Compared<'a>> {
    let found = |at: usize| ktape.args.get(at).and_then(|arg| named(arg)).unwrap_or_default();
    let arguments = strace.args.iter().enumerate().map(|(i, arg)| (Some(i), named(arg), found(i)));
    let result = (None, named(&strace.result), named(&ktape.result).unwrap_or_default());
    let compared = arguments.chain([result]).filter_map(|(position, name, found)| {
        let name = name.unwrap_or_default();
        let verdict = match position.and_then(|position| why_missing(strace, position)) {
            _ if name.is_empty() && (found.is_empty() || shows_no_names(&strace.name)) => return None,
            _ if name.is_empty() => Verdict::Wrong,
            Some(reason) if found.is_empty() => Verdict::Explained(reason),
            _ => compare(name, found, sockets),
        };
        Some(Compared { verdict, position, strace: name, ktape: found })
    });
    compared.collect()
}

/// Whether strace has no names of the descriptors of a call: of a range, it shows the numbers.
fn shows_no_names(call: &str) -> bool {
    call == "close_range"
}

/// What a descriptor stands for, with brackets and marks.
fn named(text: &str) -> Option<&str> {
    let (_, name) = descriptor(text)?;
    // A comment may follow.
    let end = name.rfind('>')? + 1;
    Some(&name[..if name[end..].starts_with(DELETED) { end + DELETED.len() } else { end }])
}

const DELETED: &str = "(deleted)";

/// Why ktape has no name of an argument.
fn why_missing(call: &Logged, position: usize) -> Option<Reason> {
    match (&*call.name, position) {
        ("dup2" | "dup3", 1) => Some(Reason::SecondDescriptor),
        ("waitid", 1) => Some(Reason::DependentArgument),
        _ if call.args.get(position + 1).is_some_and(|next| next.starts_with("\"/")) => {
            Some(Reason::AbsolutePath)
        }
        _ => None,
    }
}

fn compare(strace: &str, ktape: &str, sockets: &Sockets) -> Verdict {
    if ktape.is_empty() {
        return Verdict::Unknown;
    }
    if unescaped(strace) == unescaped(ktape) {
        return Verdict::Equal;
    }
    let inner =
        |text: &'_ str| text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).map(str::to_owned);
    let (Some(ours), theirs) = (inner(ktape.trim_end_matches(DELETED)), strace.trim_end_matches(DELETED))
    else {
        return Verdict::Wrong;
    };
    let is_as_deleted = strace.ends_with(DELETED) == ktape.ends_with(DELETED);
    let Some(theirs) = inner(theirs) else { return Verdict::Wrong };
    let device =
        theirs.rsplit_once('<').filter(|(_, rest)| rest.starts_with("char ") || rest.starts_with("block "));
    let is_same = |text: &str| unescaped(text) == unescaped(&ours);
    if is_as_deleted && device.is_some_and(|(path, _)| is_same(path)) {
        return Verdict::Explained(Reason::DeviceNumbers);
    }
    if theirs.starts_with("/memfd:") && is_same(&theirs) {
        return Verdict::Explained(Reason::Memory);
    }
    let reason = special(&theirs, &ours).filter(|_| is_as_deleted);
    match reason.or_else(|| sockets.why(&theirs, &ours)) {
        Some(reason) => Verdict::Explained(reason),
        None => Verdict::Wrong,
    }
}

/// Why the names of a file without a path differ.
fn special(strace: &str, ktape: &str) -> Option<Reason> {
    let is_referent = match ktape {
        "anon_inode:[pidfd]" => strace.starts_with("pid:"),
        "anon_inode:[signalfd]" => strace.starts_with("signalfd:["),
        _ => false,
    };
    // `net:[4026531840]` and `namespace:[4026531840]`.
    let is_namespace = ktape.strip_prefix("namespace:").is_some_and(|number| {
        let kind = strace.strip_suffix(number).and_then(|kind| kind.strip_suffix(':'));
        kind.is_some_and(|kind| kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    });
    match (is_referent, is_namespace) {
        (true, _) => Some(Reason::Referent),
        (_, true) => Some(Reason::Namespace),
        _ => None,
    }
}
