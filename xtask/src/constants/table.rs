//! The table: sections with the values of their names.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};

use super::sets::{Change, Item, Kind, List, Section, unsigned};
use super::source::{Value, Values};

const HEAD: &str = "\
# Made by `cargo xtask constants`; do not edit.
# [set ...]: names of sets, or call.argument; then NAME VALUE MASK [arch]: the name stands for the value of the bits of the mask.
";

/// A line of the table, or two if the architectures differ.
#[derive(Clone)]
struct Entry {
    name: String,
    value: Value,
    mask: Mask,
    alias: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mask {
    /// The value itself.
    Own,
    /// The whole value.
    All,
    /// These bits.
    Bits(u64),
}

/// The text of the table.
pub fn write(sections: &[Section], values: &Values) -> Result<String> {
    let mut written: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
    let mut text = HEAD.to_owned();
    for section in sections {
        let of_section = || format!("in [{}]", section.names.join(" "));
        let mut entries = Vec::new();
        for item in &section.items {
            match item {
                Item::Include { set, flags_only } => {
                    let included = written.get(set.as_str()).with_context(|| format!("no section {set}"));
                    let included = included.with_context(of_section)?.iter();
                    entries.extend(included.filter(|e| !flags_only || e.mask == Mask::Own).cloned());
                }
                Item::Number { name, mask } => entries.push(Entry {
                    name: (*name).to_owned(),
                    value: Value::common(0),
                    mask: Mask::Bits(*mask),
                    alias: false,
                }),
                Item::Names(list) => entries.extend(list_entries(list, values).with_context(of_section)?),
            }
        }
        let _ = writeln!(text, "[{}]", section.names.join(" "));
        for entry in &entries {
            write_entry(&mut text, entry);
        }
        for name in &section.names {
            ensure!(written.insert(name, entries.clone()).is_none(), "two sections of {name}");
        }
    }
    Ok(text)
}

/// The entries of a list, in the order in which they are tried: flags by their lowest bit, those of several bits before
/// the ones that they contain; other values ascending, names of the same value in the order of the list.
fn list_entries(list: &List, values: &Values) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for (name, value) in named_values(&list.words, values)? {
        match list.change {
            Change::Htons => found.push((name, value.map(|v| i64::from((v as u16).swap_bytes())))),
            Change::Bit => found.push((name, value.map(|bit| 1 << bit))),
            Change::Int if value.first() < 0 => {
                found.push((name.clone(), value));
                found.push((name, value.map(|v| i64::from(v as u32))));
            }
            Change::Int | Change::None => found.push((name, value)),
        }
    }
    let mask = match list.kind {
        Kind::Flags => Mask::Own,
        Kind::Values => Mask::All,
        Kind::Field { mask, .. } => Mask::Bits(mask),
    };
    match list.kind {
        Kind::Flags => found.sort_by_key(|(_, value)| {
            let value = value.first();
            (value & value.wrapping_neg(), Reverse(value.count_ones()))
        }),
        Kind::Values | Kind::Field { .. } => found.sort_by_key(|(_, value)| value.first()),
    }
    let shift = if let Kind::Field { shift, .. } = list.kind { shift } else { 0 };
    let mut previous = None;
    let entry = |(name, value): (String, Value)| {
        let alias = list.alias || previous.replace(value) == Some(value);
        Entry { name, value: value.map(|v| v << shift), mask, alias }
    };
    Ok(found.into_iter().map(entry).collect())
}

/// The names that the words of a list stand for.
fn named_values(words: &[String], values: &Values) -> Result<Vec<(String, Value)>> {
    let (excluded, words): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with('-'));
    let excluded: Vec<&str> = excluded.iter().map(|word| &word[1..]).collect();
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for word in words {
        if let Some((name, value)) = word.split_once('=') {
            names.insert(name);
            found.push((name.to_owned(), given_value(name, value, values)?));
        } else if word.ends_with('*') {
            let (module, pattern) = match word.split_once("::") {
                Some((module, pattern)) => (Some(module), pattern),
                None => (None, word.as_str()),
            };
            let matching = |name: &&str| matches(name, pattern) && !excluded.iter().any(|e| matches(name, e));
            let mut matched: Vec<(Value, &str)> = values
                .names(module)
                .filter(matching)
                .filter_map(|name| Some((values.get(name)?, name)))
                .collect();
            ensure!(!matched.is_empty(), "no name matches {word}");
            matched.sort_by_key(|(value, name)| (value.first(), *name));
            matched.retain(|(_, name)| names.insert(*name));
            found.extend(matched.into_iter().map(|(value, name)| (name.to_owned(), value)));
        } else {
            let value = values.get(word).with_context(|| format!("{word} has no value"))?;
            ensure!(names.insert(word), "{word} is listed twice");
            found.push((word.clone(), value));
        }
    }
    Ok(found)
}

/// The value of `NAME=VALUE`, which must not exist in the crate.
fn given_value(name: &str, text: &str, values: &Values) -> Result<Value> {
    let (text, arch) = match text.split_once('@') {
        Some((text, arch)) => (text, Some(arch)),
        None => (text, None),
    };
    let (digits, sign) = text.strip_prefix('-').map_or((text, 1), |digits| (digits, -1));
    let value = match unsigned(digits) {
        Some(number) => Value::common(sign * i64::try_from(number)?),
        None => values.get(text).with_context(|| format!("{text} has no value"))?,
    };
    let value = match arch {
        None => value,
        Some("x86_64") => Value { aarch64: None, ..value },
        Some("aarch64") => Value { x86_64: None, ..value },
        Some(arch) => bail!("{name}: unknown architecture {arch}"),
    };
    if let Some(known) = values.get(name) {
        let both = known.x86_64.and(value.x86_64).or(known.aarch64.and(value.aarch64));
        ensure!(both.is_none(), "{name}: the crate has its value; remove it from the list");
    }
    Ok(value)
}

fn matches(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

fn write_entry(text: &mut String, entry: &Entry) {
    let Value { x86_64, aarch64 } = entry.value;
    let lines = if x86_64 == aarch64 {
        [(x86_64, ""), (None, "")]
    } else {
        [(x86_64, " x86_64"), (aarch64, " aarch64")]
    };
    for (value, arch) in lines {
        let Some(value) = value else { continue };
        let _ = match entry.mask {
            Mask::Own => write!(text, "{} {value:#x} {value:#x}{arch}", entry.name),
            Mask::Bits(mask) if entry.name.starts_with('%') => write!(text, "{} 0 {mask:#x}", entry.name),
            Mask::Bits(mask) => write!(text, "{} {value:#x} {mask:#x}{arch}", entry.name),
            // Requests of ioctl are hexadecimal, small numbers are not.
            Mask::All if value >= 0x1000 => write!(text, "{} {value:#x} *{arch}", entry.name),
            Mask::All => write!(text, "{} {value} *{arch}", entry.name),
        };
        text.push_str(if entry.alias { " alias\n" } else { "\n" });
    }
}
