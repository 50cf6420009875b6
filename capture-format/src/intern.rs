//! The strings of a chunk: each distinct one is stored once and has a number.

use std::hash::{BuildHasher, RandomState};

/// The number of a string in its chunk. 0 is the empty string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StrId(pub u32);

impl StrId {
    /// The empty string.
    pub const EMPTY: Self = Self(0);
}

/// Strings by number. The empty string has number 0 and is not stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strings {
    bytes: bytes::Bytes,
    ends: Vec<u32>,
}

impl Strings {
    pub(crate) fn new(bytes: bytes::Bytes, ends: Vec<u32>) -> Self {
        Self { bytes, ends }
    }

    /// The string with this number, empty if there is none.
    #[inline]
    pub(crate) fn get(&self, id: StrId) -> &[u8] {
        let Some(i) = (id.0 as usize).checked_sub(1).filter(|&i| i < self.ends.len()) else { return b"" };
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.bytes[start..self.ends[i] as usize]
    }

    /// Number of strings, including the empty one.
    pub(crate) fn len(&self) -> usize {
        self.ends.len() + 1
    }
}

/// Assigns equal numbers to equal strings. The hash has a random seed, since recorded programs may choose strings that collide.
#[derive(Debug)]
pub(crate) struct Interner {
    arena: Vec<u8>,
    ends: Vec<u32>,
    /// A hash table: upper half of the hash, and number of the string; number 0 if free.
    slots: Vec<(u32, u32)>,
    seed: [u64; 2],
}

const FIRST_SLOTS: usize = 256;

impl Interner {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        let seed = [random.hash_one(1u8) | 1, random.hash_one(2u8) | 1];
        Self { arena: Vec::new(), ends: Vec::new(), slots: vec![(0, 0); FIRST_SLOTS], seed }
    }

    #[inline]
    pub(crate) fn intern(&mut self, s: &[u8]) -> StrId {
        if s.is_empty() {
            return StrId::EMPTY;
        }
        let hash = hash(s, self.seed);
        let mask = self.slots.len() - 1;
        let mut i = hash as usize & mask;
        let upper = (hash >> 32) as u32;
        loop {
            let (h, number) = self.slots[i];
            if number == 0 {
                break;
            }
            if h == upper && self.get(number) == s {
                return StrId(number);
            }
            i = (i + 1) & mask;
        }
        self.add(s, upper, i)
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, s: &[u8], upper: u32, slot: usize) -> StrId {
        self.arena.extend_from_slice(s);
        self.ends.push(self.arena.len() as u32);
        let number = self.ends.len() as u32;
        self.slots[slot] = (upper, number);
        if self.ends.len() * 2 > self.slots.len() {
            self.grow();
        }
        StrId(number)
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![(0, 0); mask + 1];
        for number in 1..=self.ends.len() as u32 {
            let hash = hash(self.get(number), self.seed);
            let mut i = hash as usize & mask;
            while slots[i].1 != 0 {
                i = (i + 1) & mask;
            }
            slots[i] = ((hash >> 32) as u32, number);
        }
        self.slots = slots;
    }

    #[inline]
    fn get(&self, number: u32) -> &[u8] {
        let i = number as usize - 1;
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.arena[start..self.ends[i] as usize]
    }

    /// The string with this number, empty if there is none.
    pub(crate) fn str(&self, id: StrId) -> &[u8] {
        if id.0 == 0 || id.0 as usize > self.ends.len() { b"" } else { self.get(id.0) }
    }

    /// All strings except the empty one, concatenated.
    pub(crate) fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// Where each string ends in the arena.
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub(crate) fn approx_bytes(&self) -> usize {
        self.arena.len() + self.ends.len() * 4 + self.slots.len() * 8
    }

    /// Removes all strings but keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.ends.clear();
        self.slots.fill((0, 0));
    }

    pub(crate) fn into_strings(self) -> Strings {
        Strings::new(self.arena.into(), self.ends)
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

/// Multiplies eight bytes at a time into the state; the multipliers depend on the seed.
#[inline]
fn hash(s: &[u8], seed: [u64; 2]) -> u64 {
    let mut state = seed[0] ^ s.len() as u64;
    let mut words = s.chunks_exact(8);
    for word in &mut words {
        // The conversion cannot fail: chunks_exact returns eight bytes.
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        state = fold(state ^ word, seed[1] ^ 0x9e37_79b9_7f4a_7c15);
    }
    let rest = words.remainder();
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    fold(state ^ u64::from_le_bytes(word), seed[1] ^ 0xd6e8_feb8_6659_fd93) ^ state.rotate_left(29)
}

#[cfg(test)]
mod tests;
