//! Numbers for the values of keys, and for the groups that they make up.

use std::collections::HashMap;

use rustc_hash::FxHashMap;

use crate::fields::Value;

use super::datum::Datum;

/// The code of [`Value::Missing`].
pub(super) const MISSING: u32 = 0;

/// The code of [`Datum::Other`].
pub(super) const OTHER: u32 = 1;

/// How many codes stand for no value of their own.
const RESERVED: usize = 2;

/// Numbers for the different values of a key. [`MISSING`] and [`OTHER`] are the same for all keys.
#[derive(Debug, Default)]
pub(super) struct Codes {
    numbers: FxHashMap<i128, u32>,
    // Text of a file is hostile, so its hash has a seed.
    texts: HashMap<Box<[u8]>, u32, foldhash::quality::RandomState>,
    bytes: usize,
}

impl Codes {
    /// The code of a value.
    pub(super) fn code(&mut self, value: Value<'_>) -> u32 {
        let next = self.len() as u32;
        match value {
            Value::Missing => MISSING,
            Value::Int(number) => *self.numbers.entry(number).or_insert(next),
            Value::Bytes(text) => {
                if let Some(code) = self.texts.get(text) {
                    return *code;
                }
                self.texts.insert(text.into(), next);
                self.bytes += text.len();
                next
            }
        }
    }

    /// How many codes there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len() + self.texts.len() + RESERVED
    }

    /// All values, by code.
    pub(super) fn values(&self) -> Vec<Datum> {
        let mut values = vec![Datum::Missing; self.len()];
        values[OTHER as usize] = Datum::Other;
        for (number, code) in &self.numbers {
            values[*code as usize] = Datum::Number(*number);
        }
        for (text, code) in &self.texts {
            values[*code as usize] = Datum::Text(text.clone());
        }
        values
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.texts.capacity() * 32 + self.numbers.capacity() * 33
    }
}

/// Numbers for the different combinations of the codes of all keys.
#[derive(Debug)]
pub(super) struct Groups {
    /// For each key after the first, the number of a combination with what comes before it. That of one key is its code.
    levels: Vec<FxHashMap<u64, u32>>,
    /// The codes of each group, one after the other.
    codes: Vec<u32>,
    keys: usize,
    len: usize,
    /// By code, for one key: the group plus one.
    single: Vec<u32>,
}

impl Groups {
    pub(super) fn new(keys: usize) -> Self {
        let levels = vec![FxHashMap::default(); keys.saturating_sub(1)];
        Self { levels, codes: Vec::new(), keys, len: 0, single: Vec::new() }
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The codes of a group.
    pub(super) fn codes(&self, group: usize) -> &[u32] {
        &self.codes[group * self.keys..(group + 1) * self.keys]
    }

    /// The group with these codes, one for each key.
    pub(super) fn group(&mut self, codes: &[u32]) -> u32 {
        match codes {
            [] => {
                self.len = 1;
                0
            }
            [code] => {
                let at = *code as usize;
                if self.single.len() <= at {
                    self.single.resize(at + 1, 0);
                }
                if self.single[at] == 0 {
                    self.codes.push(*code);
                    self.len += 1;
                    self.single[at] = self.len as u32;
                }
                self.single[at] - 1
            }
            [first, others @ ..] => {
                let mut number = *first;
                for (level, code) in self.levels.iter_mut().zip(others) {
                    let next = level.len() as u32;
                    number = *level.entry(u64::from(number) << 32 | u64::from(*code)).or_insert(next);
                }
                if number as usize == self.len {
                    self.codes.extend_from_slice(codes);
                    self.len += 1;
                }
                number
            }
        }
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        let levels: usize = self.levels.iter().map(|level| level.capacity() * 13).sum();
        levels + (self.codes.capacity() + self.single.capacity()) * 4
    }
}
