//! Names of the values of arguments: flags and enumerations.
//!
//! `cargo xtask constants` generates `constants.tbl`. A capture stores numbers, and the names come from this table when it
//! is read, so captures of older versions have them too.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::names;
use crate::text::number;

#[cfg(test)]
mod tests;

/// An architecture whose numbers the table has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86, also for 32-bit callers.
    #[default]
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The architecture by its name in `uname -m`; x86-64 for another one, as most numbers are the same everywhere.
    pub fn of(machine: &str) -> Self {
        match machine {
            "aarch64" | "arm64" => Self::Aarch64,
            _ => Self::X86_64,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

/// What the bits of an entry stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The name, if they have the entry's value.
    Name(&'static str),
    /// A signal, unless they are 0.
    Signal,
    /// Permissions, unless they are 0.
    Mode,
}

/// The meaning of some bits of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    meaning: Meaning,
    value: u64,
    mask: u64,
    /// Whether it is a second name, which is read but not written.
    is_alias: bool,
}

/// Bits that a value must have: `value & mask == bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitTest {
    /// The bits that count.
    pub mask: u64,
    /// What they must be.
    pub bits: u64,
}

impl BitTest {
    /// Whether a value has these bits.
    #[inline]
    pub fn accepts(self, value: u64) -> bool {
        value & self.mask == self.bits
    }
}

/// The names of the values of an argument.
#[derive(Debug, PartialEq, Eq)]
pub struct ValueSet {
    id: u16,
    /// In the order in which they are written.
    entries: Vec<Entry>,
}

/// All bits, also of negative numbers.
const WHOLE: u64 = u64::MAX;

impl ValueSet {
    /// A number that no other set has.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Appends the names of a value, joined by `|`. Bits without a name follow in hexadecimal; returns false, and appends
    /// nothing, if no bit has a name and the value is not 0.
    pub fn write(&self, value: u64, out: &mut Vec<u8>) -> bool {
        let mut named = 0;
        let mut is_first = true;
        for entry in self.entries.iter().filter(|entry| !entry.is_alias) {
            let bits = value & entry.mask;
            let is_meant = match entry.meaning {
                Meaning::Name(_) => bits == entry.value,
                Meaning::Signal | Meaning::Mode => bits != 0,
            };
            if named & entry.mask != 0 || !is_meant {
                continue;
            }
            if !is_first {
                out.push(b'|');
            }
            is_first = false;
            named |= entry.mask;
            match entry.meaning {
                Meaning::Name(name) => out.extend_from_slice(name.as_bytes()),
                Meaning::Mode => number::octal(bits, out),
                Meaning::Signal => match u32::try_from(bits) {
                    Ok(signal @ 1..=64) => out.extend_from_slice(names::signal_name(signal).as_bytes()),
                    _ => number::decimal(bits, out),
                },
            }
        }
        let rest = value & !named;
        match (is_first, rest) {
            (true, 0) => out.push(b'0'),
            (true, _) => return false,
            (false, 0) => {}
            (false, _) => {
                out.push(b'|');
                number::hex(rest, out);
            }
        }
        true
    }

    /// The tests of names and numbers that are joined by `|`; `None` if one of them is neither.
    fn tests(&self, text: &str) -> Option<Vec<BitTest>> {
        text.split('|').map(|word| self.test(word.trim())).collect()
    }

    fn test(&self, word: &str) -> Option<BitTest> {
        if let Some(value) = number::parse(word) {
            let bits =
                i64::try_from(value).map(|value| value as u64).or_else(|_| u64::try_from(value)).ok()?;
            return Some(BitTest { mask: bits, bits });
        }
        let named =
            |entry: &&Entry| matches!(entry.meaning, Meaning::Name(name) if name.eq_ignore_ascii_case(word));
        if let Some(entry) = self.entries.iter().find(named) {
            return Some(BitTest { mask: entry.mask, bits: entry.value });
        }
        let signals = self.entries.iter().find(|entry| entry.meaning == Meaning::Signal)?;
        Some(BitTest { mask: signals.mask, bits: names::signal_number(word)?.into() })
    }

    /// The number that names and numbers joined by `|` stand for.
    pub fn number(&self, text: &str) -> Option<u64> {
        Some(self.tests(text)?.iter().fold(0, |number, test| number | test.bits))
    }

    /// The bits that a value must have to contain all of the names and numbers joined by `|`. No bits are those of no value
    /// but 0.
    pub fn bits(&self, text: &str) -> Option<BitTest> {
        let all = self.tests(text)?;
        let all =
            all.iter().map(|test| if test.mask == 0 { BitTest { mask: WHOLE, ..*test } } else { *test });
        let one = all.fold(BitTest { mask: 0, bits: 0 }, |sum, test| BitTest {
            mask: sum.mask | test.mask,
            bits: sum.bits | test.bits,
        });
        Some(one)
    }

    /// All names, second ones too.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.entries.iter().filter_map(|entry| match entry.meaning {
            Meaning::Name(name) => Some(name),
            Meaning::Signal | Meaning::Mode => None,
        })
    }
}

/// The sets of an architecture.
#[derive(Debug, Default)]
pub struct ValueSets {
    sets: Vec<ValueSet>,
    /// Position in `sets` by name: a tag (`open_flags`), or `call.argument`.
    by_name: HashMap<&'static str, u16>,
    /// For a tag or `call.argument`: the sets for the names of the value of another argument.
    by_other: HashMap<&'static str, Vec<(&'static str, u16)>>,
}

/// The sets of an architecture, parsed on first use.
pub fn value_sets(arch: Arch) -> &'static ValueSets {
    static X86_64: LazyLock<ValueSets> = LazyLock::new(|| ValueSets::parse(TABLE, Arch::X86_64));
    static AARCH64: LazyLock<ValueSets> = LazyLock::new(|| ValueSets::parse(TABLE, Arch::Aarch64));
    match arch {
        Arch::X86_64 => &X86_64,
        Arch::Aarch64 => &AARCH64,
    }
}

const TABLE: &str = include_str!("constants.tbl");

impl ValueSets {
    /// Parses the table. Ignores lines that do not parse; a test checks that there are none.
    fn parse(text: &'static str, arch: Arch) -> Self {
        let mut all = Self::default();
        // Those of both architectures differ.
        let first_id = if arch == Arch::X86_64 { 0 } else { 1 << 15 };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(names) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                let place = all.sets.len() as u16;
                all.sets.push(ValueSet { id: first_id + place, entries: Vec::new() });
                for name in names.split_ascii_whitespace() {
                    match name.split_once('@') {
                        None => _ = all.by_name.insert(name, place),
                        Some((name, value)) => all.by_other.entry(name).or_default().push((value, place)),
                    }
                }
            } else if let (Some((entry, only)), Some(set)) = (entry(line), all.sets.last_mut())
                && only.is_none_or(|only| only == arch.name())
            {
                set.entries.push(entry);
            }
        }
        all
    }

    /// The set with this name.
    pub fn named(&'static self, name: &str) -> Option<&'static ValueSet> {
        self.by_name.get(name).map(|place| &self.sets[usize::from(*place)])
    }

    /// The names of an argument's values.
    pub fn of(&'static self, call: &str, argument: &str, tag: &str) -> Option<&'static ValueSet> {
        let own = self.by_name.get(format!("{call}.{argument}").as_str());
        own.or_else(|| self.by_name.get(tag)).map(|place| &self.sets[usize::from(*place)])
    }

    /// The names of the values of an argument that depend on another argument: the name of the other's value, and the set
    /// for it. The first one of a name counts.
    pub fn by_other(
        &'static self,
        call: &str,
        argument: &str,
        tag: &str,
    ) -> impl Iterator<Item = (&'static str, &'static ValueSet)> + Clone {
        let of = |name: &str| self.by_other.get(name).map_or(&[][..], Vec::as_slice);
        let found = of(&format!("{call}.{argument}")).iter().chain(of(tag));
        found.map(|(name, place)| (*name, &self.sets[usize::from(*place)]))
    }
}

/// Parses a line such as `O_DIRECT 0x4000 0x4000 x86_64`; the architecture is that of an entry that only one has.
fn entry(line: &'static str) -> Option<(Entry, Option<&'static str>)> {
    let mut words = line.split_ascii_whitespace();
    let meaning = match words.next()? {
        "%signal" => Meaning::Signal,
        "%mode" => Meaning::Mode,
        name => Meaning::Name(name),
    };
    let value = words.next().and_then(number::parse)?;
    let value = i64::try_from(value).map(|value| value as u64).or_else(|_| u64::try_from(value)).ok()?;
    let mask = match words.next()? {
        "*" => WHOLE,
        mask => u64::try_from(number::parse(mask)?).ok()?,
    };
    let mut entry = Entry { meaning, value, mask, is_alias: false };
    let mut only = None;
    for word in words {
        match word {
            "alias" => entry.is_alias = true,
            _ if Arch::ALL.iter().any(|arch| arch.name() == word) => only = Some(word),
            _ => return None,
        }
    }
    Some((entry, only))
}
