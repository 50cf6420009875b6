//! The number of different values: exact up to a bound, then estimated.

use rustc_hash::FxHashSet;

/// Most different values to keep one by one.
pub const EXACT: usize = 4096;

/// The logarithm of the number of registers.
const PRECISION: u32 = 13;

/// Number of registers.
const REGISTERS: usize = 1 << PRECISION;

/// The standard error of estimates, 1.04/sqrt(registers): 1.15 %.
pub const STANDARD_ERROR: f64 = 0.0115;

/// Hashes of the values of a group, or a HyperLogLog of them.
#[derive(Clone, Debug)]
pub(super) enum Distinct {
    Exact(FxHashSet<u64>),
    /// For each register, the greatest number of leading zeros plus one that was seen.
    Estimate(Box<[u8; REGISTERS]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(FxHashSet::default())
    }
}

impl Distinct {
    /// Adds a value by its hash, all of whose bits must be equally good.
    #[inline]
    pub(super) fn add(&mut self, hash: u64) {
        match self {
            Self::Exact(hashes) => {
                hashes.insert(hash);
                if hashes.len() > EXACT {
                    self.registers();
                }
            }
            Self::Estimate(registers) => note(registers, hash),
        }
    }

    fn registers(&mut self) -> &mut [u8; REGISTERS] {
        if let Self::Exact(hashes) = self {
            let mut registers = Box::new([0; REGISTERS]);
            hashes.iter().for_each(|hash| note(&mut registers, *hash));
            *self = Self::Estimate(registers);
        }
        match self {
            Self::Estimate(registers) => registers,
            Self::Exact(_) => unreachable!("it has just become an estimate"),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match other {
            Self::Exact(hashes) => hashes.iter().for_each(|hash| self.add(*hash)),
            Self::Estimate(theirs) => {
                for (own, their) in self.registers().iter_mut().zip(theirs.iter()) {
                    *own = (*own).max(*their);
                }
            }
        }
    }

    /// How many, and whether that is exact.
    pub(super) fn count(&self) -> (u64, bool) {
        match self {
            Self::Exact(hashes) => (hashes.len() as u64, true),
            Self::Estimate(registers) => (estimate(registers), false),
        }
    }

    /// Bytes of memory that it refers to.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Exact(hashes) => hashes.capacity() * 9,
            Self::Estimate(_) => REGISTERS,
        }
    }
}

fn note(registers: &mut [u8; REGISTERS], hash: u64) {
    let register = (hash >> (64 - PRECISION)) as usize;
    // The guard bit bounds the rank.
    let rank = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() + 1;
    registers[register] = registers[register].max(rank as u8);
}

/// The improved raw estimator of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017),
/// algorithm 6: without bias over the whole range, and without tables.
fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    const Q: usize = (64 - PRECISION) as usize;
    let m = REGISTERS as f64;
    let mut counts = [0u32; Q + 2];
    registers.iter().for_each(|rank| counts[usize::from(*rank).min(Q + 1)] += 1);
    let mut z = m * tau(1.0 - f64::from(counts[Q + 1]) / m);
    for count in counts[1..=Q].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += m * sigma(f64::from(counts[0]) / m);
    (m * m / (2.0 * std::f64::consts::LN_2) / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(value: u64) -> u64 {
        // splitmix64
        let mut z = value.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let mut distinct = Distinct::default();
        for value in 0..EXACT as u64 {
            distinct.add(hash(value));
            distinct.add(hash(value / 2));
        }
        assert_eq!(distinct.count(), (EXACT as u64, true));
    }

    #[test]
    fn estimates_are_within_four_standard_errors() {
        for count in [4_097u64, 10_000, 20_000, 50_000, 200_000, 1_000_000] {
            let mut distinct = Distinct::default();
            (0..count).for_each(|value| distinct.add(hash(value)));
            let (estimate, exact) = distinct.count();
            let error = (estimate as f64 / count as f64 - 1.0).abs();
            assert!(!exact && error < 4.0 * STANDARD_ERROR, "{count}: {estimate}");
        }
    }

    #[test]
    fn merging_equals_adding() {
        let range = |from: u64, to: u64| {
            let mut distinct = Distinct::default();
            (from..to).for_each(|value| distinct.add(hash(value)));
            distinct
        };
        for (middle, end) in [(100, 300), (5_000, 9_000), (100, 9_000), (8_900, 9_000)] {
            let mut merged = range(0, middle);
            merged.merge(&range(middle / 2, end));
            assert_eq!(merged.count(), range(0, end).count(), "{middle} {end}");
        }
    }
}
