//! The lists of names in `constants/sets`.
//!
//! A section begins with a line of the names that the reader looks it up by: `[tag call.argument]`, or, where another
//! argument of the call decides, `[tag@NAME call.argument@NAME]`. Lines that begin with a space continue the one before. Then
//! follow, in the order of the table:
//!
//! - `flags: NAME ...`: names of bits, each a set of its own;
//! - `values: NAME ...`: names of the whole value;
//! - `field MASK: NAME ...`: names of the value of the bits of MASK; `field MASK << N: ...`: of the value shifted;
//! - `signal MASK`, `mode MASK`: the bits are the number of a signal, or permissions;
//! - `include SET`, `include SET flags`: everything of an earlier section, or its flags only.
//!
//! `alias` before a list: names that are accepted, but never printed. `htons`: the bytes of 16-bit values are swapped.
//! `bit`: values are the numbers of bits.
//! `int`: negative values may also appear zero-extended from 32 bits. A name is one of:
//!
//! - `NAME`: the value is that of the crate;
//! - `NAME=1`, `NAME=OTHER`, `NAME=1@aarch64`: for names that the crate does not have;
//! - `PREFIX_*`, `module::*`: all names of the crate, or of one module of it; `-NAME`, `-PREFIX_*`: but these.
//!
//! Of two names of one value in a list, the first one is printed and the other becomes an alias.

use anyhow::{Context, Result, bail};

/// Names and contents of the lists, in the order of the table.
pub const FILES: [(&str, &str); 6] = [
    ("files.txt", include_str!("sets/files.txt")),
    ("memory.txt", include_str!("sets/memory.txt")),
    ("processes.txt", include_str!("sets/processes.txt")),
    ("network.txt", include_str!("sets/network.txt")),
    ("system.txt", include_str!("sets/system.txt")),
    ("ioctl.txt", include_str!("sets/ioctl.txt")),
];

/// Arguments without a set, each with the reason.
#[cfg(test)]
pub const WITHOUT_NAMES: &str = include_str!("without_names.txt");

/// A section.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// `tag`, `call.argument`, either with `@NAME`.
    pub names: Vec<String>,
    pub items: Vec<Item>,
}

/// A line of a section.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Include {
        set: String,
        flags_only: bool,
    },
    /// `%signal` or `%mode`.
    Number {
        name: &'static str,
        mask: u64,
    },
    Names(List),
}

/// A list of names.
#[derive(Debug, PartialEq, Eq)]
pub struct List {
    pub kind: Kind,
    pub alias: bool,
    pub change: Change,
    pub words: Vec<String>,
}

/// What the names of a list stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Flags,
    Values,
    Field { mask: u64, shift: u32 },
}

/// How values differ from those of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    /// Bytes of 16 bits swapped.
    Htons,
    /// The bit of this number.
    Bit,
    /// Negative values also zero-extended from 32 bits.
    Int,
}

/// Parses a file.
pub fn parse(text: &str) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    for line in logical_lines(text)? {
        let of_line = || format!("cannot parse {line:?}");
        if let Some(names) = line.strip_prefix('[') {
            let names = names.strip_suffix(']').with_context(of_line)?;
            let names = names.split_ascii_whitespace().map(str::to_owned).collect();
            sections.push(Section { names, items: Vec::new() });
        } else {
            let section = sections.last_mut().with_context(of_line)?;
            section.items.push(item(&line).with_context(of_line)?);
        }
    }
    Ok(sections)
}

/// Lines without comments, continuations joined.
fn logical_lines(text: &str) -> Result<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        if line.starts_with(' ') {
            let Some(last) = lines.last_mut() else { bail!("the first line continues another") };
            last.push_str(line);
        } else {
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}

fn item(line: &str) -> Option<Item> {
    let Some((head, words)) = line.split_once(':') else {
        let mut words = line.split(' ');
        let (word, argument, rest) = (words.next()?, words.next()?, words.next());
        return match (word, rest) {
            ("signal", None) => Some(Item::Number { name: "%signal", mask: unsigned(argument)? }),
            ("mode", None) => Some(Item::Number { name: "%mode", mask: unsigned(argument)? }),
            ("include", None) => Some(Item::Include { set: argument.to_owned(), flags_only: false }),
            ("include", Some("flags")) => Some(Item::Include { set: argument.to_owned(), flags_only: true }),
            _ => None,
        };
    };
    let alias = head.strip_prefix("alias ");
    let head = alias.unwrap_or(head);
    let (change, head) = match head.split_once(' ') {
        Some(("htons", head)) => (Change::Htons, head),
        Some(("int", head)) => (Change::Int, head),
        Some(("bit", head)) => (Change::Bit, head),
        _ => (Change::None, head),
    };
    let kind = match *head.split(' ').collect::<Vec<_>>() {
        ["flags"] => Kind::Flags,
        ["values"] => Kind::Values,
        ["field", mask] => Kind::Field { mask: unsigned(mask)?, shift: 0 },
        ["field", mask, "<<", shift] => Kind::Field { mask: unsigned(mask)?, shift: shift.parse().ok()? },
        _ => return None,
    };
    let words = words.split_ascii_whitespace().map(str::to_owned).collect();
    Some(Item::Names(List { kind, alias: alias.is_some(), change, words }))
}

/// A number: `12`, `0xc`, `0o14`.
pub fn unsigned(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    match text.strip_prefix("0o") {
        Some(digits) => u64::from_str_radix(digits, 8).ok(),
        None => text.parse().ok(),
    }
}
