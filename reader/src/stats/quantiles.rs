//! Quantiles with a bounded relative error: a histogram whose buckets grow with the values, as in HdrHistogram.
//!
//! The place of a value follows from its highest bits, so that adding costs a shift and a count. (DDSketch has the same
//! error and memory, and needs a logarithm per value.)

/// The relative error of quantiles: what is shown differs from a value of that rank by at most this part of it. Half the
/// width of a bucket, 1/128, is less.
pub const RELATIVE_ERROR: f64 = 0.01;

/// Most values to keep one by one, so that groups of few events are exact and small.
const MOST_VALUES: usize = 32;

/// Buckets for each power of two.
const BUCKETS_BITS: u32 = 6;

/// The values of a group: all of them, or how many there are in each bucket.
#[derive(Clone, Debug)]
pub(super) enum Quantiles {
    Values(Vec<i64>),
    Buckets(Box<Buckets>),
}

/// Numbers of values by bucket, for both signs.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    min: i64,
    max: i64,
    /// Of values that are not negative.
    upper: Counts,
    /// Of negative values, by their magnitude.
    lower: Counts,
}

/// Counts of consecutive buckets.
#[derive(Clone, Debug, Default)]
struct Counts {
    /// The bucket of the first count.
    first: usize,
    counts: Vec<u64>,
    total: u64,
}

/// The bucket of a number: exact below 128, then 64 for each power of two.
#[inline]
fn bucket(number: u64) -> usize {
    let shift = (63 - (number | 1 << BUCKETS_BITS).leading_zeros()) - BUCKETS_BITS;
    ((shift as usize) << BUCKETS_BITS) + (number >> shift) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> f64 {
    let shift = (bucket >> BUCKETS_BITS).saturating_sub(1);
    let low = (bucket - (shift << BUCKETS_BITS)) as f64 * (shift as f64).exp2();
    // A bucket of one number is that number.
    low + ((shift as f64).exp2() - 1.0) / 2.0
}

impl Counts {
    #[inline]
    fn add(&mut self, bucket: usize, count: u64) {
        self.total += count;
        match self.counts.get_mut(bucket.wrapping_sub(self.first)) {
            Some(slot) => *slot += count,
            None => self.grow(bucket, count),
        }
    }

    #[cold]
    fn grow(&mut self, bucket: usize, count: u64) {
        // With some room on both sides.
        let (low, high) = (bucket.saturating_sub(16), bucket + 16);
        if self.counts.is_empty() {
            self.first = low;
        } else if low < self.first {
            let missing = self.first - low;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = low;
        }
        if self.counts.len() < high - self.first {
            self.counts.resize(high - self.first, 0);
        }
        self.counts[bucket - self.first] += count;
    }

    fn merge(&mut self, other: &Self) {
        for (at, count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(other.first + at, *count);
        }
    }

    /// The bucket of the value with this rank, from 0 and below the total.
    fn at_rank(&self, rank: u64) -> usize {
        let mut before = 0;
        let found = self.counts.iter().position(|count| {
            before += count;
            before > rank
        });
        self.first + found.unwrap_or_default()
    }
}

impl Buckets {
    #[inline]
    fn add(&mut self, value: i64) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let counts = if value < 0 { &mut self.lower } else { &mut self.upper };
        counts.add(bucket(value.unsigned_abs()), 1);
    }
}

impl Default for Quantiles {
    fn default() -> Self {
        Self::Values(Vec::new())
    }
}

impl Quantiles {
    /// Adds a value; what is beyond 64 bits counts as the greatest or least number of 64 bits.
    #[inline]
    pub(super) fn add(&mut self, value: i128) {
        let value = i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX });
        match self {
            Self::Buckets(buckets) => buckets.add(value),
            Self::Values(values) if values.len() < MOST_VALUES => values.push(value),
            Self::Values(_) => self.buckets().add(value),
        }
    }

    /// The buckets, filled with the values if there were none.
    fn buckets(&mut self) -> &mut Buckets {
        if let Self::Values(values) = self {
            let (upper, lower) = (Counts::default(), Counts::default());
            let mut buckets = Buckets { min: i64::MAX, max: i64::MIN, upper, lower };
            values.iter().for_each(|value| buckets.add(*value));
            *self = Self::Buckets(Box::new(buckets));
        }
        match self {
            Self::Buckets(buckets) => buckets,
            Self::Values(_) => unreachable!("it has just become buckets"),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match other {
            Self::Values(values) => values.iter().for_each(|value| self.add((*value).into())),
            Self::Buckets(other) => {
                let own = self.buckets();
                own.min = own.min.min(other.min);
                own.max = own.max.max(other.max);
                own.upper.merge(&other.upper);
                own.lower.merge(&other.lower);
            }
        }
    }

    /// The value whose rank among `n` is `quantile * (n - 1)`, rounded down; `None` if there are none.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        match self {
            Self::Values(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable();
                let rank = quantile * sorted.len().saturating_sub(1) as f64;
                sorted.get(rank as usize).map(|value| *value as f64)
            }
            Self::Buckets(buckets) => {
                let Buckets { min, max, upper, lower } = &**buckets;
                let rank = (quantile * (upper.total + lower.total - 1) as f64) as u64;
                let value = match rank.checked_sub(lower.total) {
                    Some(rank) => middle(upper.at_rank(rank)),
                    None => -middle(lower.at_rank(lower.total - 1 - rank)),
                };
                Some(value.clamp(*min as f64, *max as f64))
            }
        }
    }

    /// Bytes of memory that it refers to.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Values(values) => values.capacity() * size_of::<i64>(),
            Self::Buckets(buckets) => {
                let counts = buckets.upper.counts.capacity() + buckets.lower.counts.capacity();
                size_of::<Buckets>() + counts * size_of::<u64>()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of every magnitude.
    fn numbers(count: usize) -> impl Iterator<Item = i64> {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> (state % 64)) as i64
        })
        .take(count)
    }

    fn of(values: impl Iterator<Item = i64>) -> Quantiles {
        let mut quantiles = Quantiles::default();
        values.for_each(|value| quantiles.add(value.into()));
        quantiles
    }

    const PARTS: [f64; 7] = [0.0, 0.01, 0.25, 0.5, 0.9, 0.999, 1.0];

    fn exact(sorted: &[i64], part: f64) -> f64 {
        sorted[(part * (sorted.len() - 1) as f64) as usize] as f64
    }

    #[test]
    fn quantiles_are_within_the_stated_error() {
        for sign in [1, -1] {
            for count in [1, 2, 31, 32, 33, 1_000, 100_000] {
                let mut values: Vec<i64> = numbers(count).map(|value| value.wrapping_mul(sign)).collect();
                let quantiles = of(values.iter().copied());
                values.sort_unstable();
                for part in PARTS {
                    let (found, expected) = (quantiles.quantile(part).unwrap(), exact(&values, part));
                    let error = (found - expected).abs();
                    assert!(error <= expected.abs() / 128.0 + 0.5, "{count} {part}: {found} {expected}");
                }
            }
        }
        assert!(of(std::iter::empty()).quantile(0.5).is_none());
    }

    #[test]
    fn buckets_follow_each_other() {
        let mut last = 0;
        for number in (0..4096).chain((12..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]))
        {
            let found = bucket(number);
            assert!(found == last || found == last + 1 || number >= 4096 && found >= last, "{number}");
            assert!((middle(found) - number as f64).abs() <= number as f64 / 128.0 + 1.0, "{number}");
            last = found;
        }
        // Below 128, each number has a bucket of its own.
        assert!((0..128).all(|number| middle(bucket(number)) == number as f64));
        assert_eq!(bucket(u64::MAX), 3775);
    }

    #[test]
    fn merging_equals_adding() {
        for (middle, end) in [(10, 30), (10, 50), (40, 45), (1_000, 3_000)] {
            let mut merged = of(numbers(middle));
            merged.merge(&of(numbers(end).skip(middle)));
            let whole = of(numbers(end));
            PARTS.iter().for_each(|part| assert_eq!(merged.quantile(*part), whole.quantile(*part)));
        }
    }
}
