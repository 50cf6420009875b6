//! Quantiles with a bounded relative error.

use sketches_ddsketch::{Config, DDSketch};

/// The relative error of quantiles: what is shown differs from a value of that rank by at most this part of it.
pub const RELATIVE_ERROR: f64 = 0.01;

/// Most values to keep one by one, so that groups of few events are exact and small.
const MOST_VALUES: usize = 32;

/// Enough for 1 ns to 10 years at [`RELATIVE_ERROR`] without dropping the resolution of low values.
const BINS: u32 = 2048;

/// The values of a group: all of them, or a sketch.
#[derive(Clone)]
pub(super) enum Quantiles {
    Values(Vec<f64>),
    Sketch(Box<DDSketch>),
}

impl Default for Quantiles {
    fn default() -> Self {
        Self::Values(Vec::new())
    }
}

impl Quantiles {
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        match self {
            Self::Sketch(sketch) => sketch.add(value),
            Self::Values(values) if values.len() < MOST_VALUES => values.push(value),
            Self::Values(_) => self.sketch().add(value),
        }
    }

    /// The sketch, made of the values if there was none.
    fn sketch(&mut self) -> &mut DDSketch {
        if let Self::Values(values) = self {
            let mut sketch = DDSketch::new(Config::new(RELATIVE_ERROR, BINS, 1e-9));
            values.iter().for_each(|value| sketch.add(*value));
            *self = Self::Sketch(Box::new(sketch));
        }
        match self {
            Self::Sketch(sketch) => sketch,
            Self::Values(_) => unreachable!("it has just become a sketch"),
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match other {
            Self::Values(values) => values.iter().for_each(|value| self.add(*value)),
            Self::Sketch(sketch) => {
                let merged = self.sketch().merge(sketch);
                debug_assert!(merged.is_ok(), "all sketches have one configuration");
            }
        }
    }

    /// The value whose rank among `n` is `quantile * (n - 1)`, rounded down; `None` if there are none.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        match self {
            Self::Values(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                let rank = quantile * sorted.len().saturating_sub(1) as f64;
                sorted.get(rank as usize).copied()
            }
            Self::Sketch(sketch) => {
                let value = sketch.quantile(quantile).ok().flatten()?;
                // The value of a bin can lie beyond the values in it.
                Some(value.clamp(sketch.min()?, sketch.max()?))
            }
        }
    }

    /// Bytes of memory that it refers to.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Values(values) => values.capacity() * size_of::<f64>(),
            // Bins are allocated 128 at a time.
            Self::Sketch(sketch) => size_of::<DDSketch>() + sketch.length().next_multiple_of(128) * 8,
        }
    }
}

impl std::fmt::Debug for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Values(values) => f.debug_tuple("Values").field(values).finish(),
            Self::Sketch(sketch) => f.debug_tuple("Sketch").field(&sketch.count()).finish(),
        }
    }
}
