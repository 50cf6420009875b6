//! Reads the log of strace with the arguments of each call, and splits arguments.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use super::Logged;

/// The calls of each thread that returned, in order.
///
/// # Panics
/// If the file cannot be read.
pub(super) fn read(log: &Path) -> BTreeMap<u32, Vec<Logged>> {
    let bytes = fs::read(log).unwrap_or_else(|error| panic!("cannot read {}: {error}", log.display()));
    parse(&String::from_utf8_lossy(&bytes))
}

pub(super) fn parse(text: &str) -> BTreeMap<u32, Vec<Logged>> {
    let mut threads: BTreeMap<u32, Vec<Logged>> = BTreeMap::new();
    // What was logged of a call that another thread's line interrupted.
    let mut open: HashMap<u32, String> = HashMap::new();
    for line in text.lines() {
        let Some((tid, rest)) = line.split_once(' ') else { continue };
        let (Ok(tid), rest) = (tid.parse::<u32>(), rest.trim_start()) else { continue };
        if let Some(other) = rest.strip_prefix("+++ superseded by execve in pid ") {
            // The thread that executes continues with the leader's id, which is `tid`.
            let call = other.trim_end_matches(" +++").parse().ok().and_then(|other| open.remove(&other));
            open.extend(call.map(|call| (tid, call)));
            continue;
        }
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            open.insert(tid, begin.trim_end().to_owned());
            continue;
        }
        let whole = match rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, end)) => open.remove(&tid).unwrap_or_default() + end,
            None => rest.to_owned(),
        };
        threads.entry(tid).or_default().extend(call(&whole));
    }
    threads
}

/// A call that returned.
fn call(text: &str) -> Option<Logged> {
    let (name, rest) = text.split_once('(')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let (args, result) = rest.rsplit_once(")  = ").or_else(|| rest.rsplit_once(") = "))?;
    is_name.then(|| Logged { name: name.to_owned(), args: split(args), result: result.trim().to_owned() })
}

/// Whether the beginning of an argument is a descriptor.
pub(super) fn is_descriptor(text: &str) -> bool {
    let text = text.trim();
    text == "AT_FDCWD" || text.parse::<i32>().is_ok()
}

/// A descriptor, and what it stands for with its brackets and marks, if that is there.
pub(super) fn descriptor(text: &str) -> Option<(&str, &str)> {
    let end = text.find('<').unwrap_or(text.len());
    // `1<<CAP_CHOWN` is none.
    let (number, name) = text.split_at(end);
    (is_descriptor(number) && !name.starts_with("<<")).then_some((number, name))
}

/// Splits arguments at the commas that are in no brackets and no string. Comments are removed.
pub(super) fn split(text: &str) -> Vec<String> {
    let (mut args, mut current) = (Vec::new(), String::new());
    let (mut depth, mut in_string, mut in_comment) = (0, false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if in_comment {
            if c == '*' && chars.next_if_eq(&'/').is_some() {
                in_comment = false;
            }
            continue;
        }
        match c {
            '\\' if in_string => {
                current.push(c);
                current.extend(chars.next());
                continue;
            }
            '"' => in_string = !in_string,
            // What a descriptor stands for, in which `>` is escaped; `1<<CAP_CHOWN` is none.
            '<' if !in_string && is_descriptor(&current) && chars.peek() != Some(&'<') => {
                current.push(c);
                // A device has its numbers inside: `</dev/null<char 1:3>>`.
                let mut inside = 1;
                for c in chars.by_ref() {
                    current.push(c);
                    inside += i32::from(c == '<') - i32::from(c == '>' && !current.ends_with("->"));
                    if inside == 0 {
                        break;
                    }
                }
                continue;
            }
            '/' if !in_string && chars.next_if_eq(&'*').is_some() => {
                in_comment = true;
                continue;
            }
            '(' | '[' | '{' if !in_string => depth += 1,
            ')' | ']' | '}' if !in_string => depth -= 1,
            ',' if !in_string && depth == 0 => {
                args.push(current.trim().to_owned());
                current.clear();
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    if !current.trim().is_empty() || !args.is_empty() {
        args.push(current.trim().to_owned());
    }
    args
}
