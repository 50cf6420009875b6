//! What is kept of the events of all groups, one column for each thing that is gathered.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::datum::Datum;
use super::distinct::Distinct;
use super::expr::Cell;
use super::function::{Function, Gathered};
use super::quantiles::Quantiles;

/// Number and sum of values. The sum is exact: 2^63 values of 64 bits fit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    count: u64,
    sum: i128,
}

impl Sum {
    #[inline]
    pub(super) fn add(&mut self, value: i128) {
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }
}

/// Mean and the sum of squared differences from it (Welford; merged as by Chan et al.).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        let difference = value - self.mean;
        self.mean += difference / self.count as f64;
        self.squares += difference * (value - self.mean);
    }

    fn merge(&mut self, other: &Self) {
        let count = self.count + other.count;
        if other.count == 0 {
            return;
        }
        let difference = other.mean - self.mean;
        let part = other.count as f64 / count as f64;
        self.squares += other.squares + difference * difference * self.count as f64 * part;
        self.mean += difference * part;
        self.count = count;
    }

    fn stddev(&self) -> Option<f64> {
        (self.count >= 2).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }
}

/// Least and greatest value.
pub(super) type Extremes = Option<(i128, i128)>;

/// Adds a value.
#[inline]
pub(super) fn extend(extremes: &mut Extremes, value: i128) {
    *extremes = Some(match *extremes {
        None => (value, value),
        Some((least, greatest)) => (least.min(value), greatest.max(value)),
    });
}

/// A value with the time of its event, wall-clock ns. Of events at the same time, the greatest value counts for `last` and
/// the least for `first`, so that the order of reading does not matter.
pub(super) type Timed = Option<(i64, Datum)>;

/// A hash of a value that is the same everywhere, with bits that are all equally good.
pub(super) fn hash(value: &Datum) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// One thing that is gathered, of all groups.
#[derive(Clone, Debug)]
pub(super) enum Store {
    Count(Vec<u64>),
    Sum(Vec<Sum>),
    Extremes(Vec<Extremes>),
    Moments(Vec<Moments>),
    Quantiles(Vec<Quantiles>),
    Distinct(Vec<Distinct>),
    First(Vec<Timed>),
    Last(Vec<Timed>),
}

/// Does the same with the vector of each variant.
macro_rules! for_each_store {
    ($store:expr, $vec:ident => $body:expr) => {
        match $store {
            Store::Count($vec) => $body,
            Store::Sum($vec) => $body,
            Store::Extremes($vec) => $body,
            Store::Moments($vec) => $body,
            Store::Quantiles($vec) => $body,
            Store::Distinct($vec) => $body,
            Store::First($vec) | Store::Last($vec) => $body,
        }
    };
}

impl Store {
    pub(super) fn new(kind: Gathered) -> Self {
        match kind {
            Gathered::Count => Self::Count(Vec::new()),
            Gathered::Sum => Self::Sum(Vec::new()),
            Gathered::Extremes => Self::Extremes(Vec::new()),
            Gathered::Moments => Self::Moments(Vec::new()),
            Gathered::Quantiles => Self::Quantiles(Vec::new()),
            Gathered::Distinct => Self::Distinct(Vec::new()),
            Gathered::First => Self::First(Vec::new()),
            Gathered::Last => Self::Last(Vec::new()),
        }
    }

    /// Makes room for this number of groups.
    pub(super) fn resize(&mut self, groups: usize) {
        for_each_store!(self, list => list.resize_with(groups, Default::default));
    }

    /// Adds what another store of the same kind has of `from` to what this one has of `to`.
    pub(super) fn merge(&mut self, to: usize, other: &Self, from: usize) {
        match (self, other) {
            (Self::Count(own), Self::Count(other)) => own[to] += other[from],
            (Self::Sum(own), Self::Sum(other)) => {
                own[to].count += other[from].count;
                own[to].sum = own[to].sum.saturating_add(other[from].sum);
            }
            (Self::Extremes(own), Self::Extremes(other)) => {
                if let Some((least, greatest)) = other[from] {
                    extend(&mut own[to], least);
                    extend(&mut own[to], greatest);
                }
            }
            (Self::Moments(own), Self::Moments(other)) => own[to].merge(&other[from]),
            (Self::Quantiles(own), Self::Quantiles(other)) => own[to].merge(&other[from]),
            (Self::Distinct(own), Self::Distinct(other)) => own[to].merge(&other[from]),
            (Self::First(own), Self::First(other)) => {
                if let Some((time, value)) = &other[from] {
                    first(&mut own[to], *time, || value.clone());
                }
            }
            (Self::Last(own), Self::Last(other)) => {
                if let Some((time, value)) = &other[from] {
                    last(&mut own[to], *time, || value.clone());
                }
            }
            (own, other) => unreachable!("{own:?} is not gathered like {other:?}"),
        }
    }

    /// The value of a function that is computed from this.
    pub(super) fn value(&self, function: Function, group: usize) -> Cell {
        let real = |number: Option<f64>| number.map_or(Cell::Missing, Cell::Real);
        match (self, function) {
            (Self::Count(counts), _) => Cell::Number(counts[group].into()),
            (Self::Sum(sums), Function::Avg) => match sums[group] {
                Sum { count: 0, .. } => Cell::Missing,
                Sum { count, sum } => Cell::Real(sum as f64 / count as f64),
            },
            (Self::Sum(sums), _) => Cell::Number(sums[group].sum),
            (Self::Extremes(extremes), Function::Min) => {
                extremes[group].map_or(Cell::Missing, |(least, _)| Cell::Number(least))
            }
            (Self::Extremes(extremes), _) => {
                extremes[group].map_or(Cell::Missing, |(_, greatest)| Cell::Number(greatest))
            }
            (Self::Moments(moments), _) => real(moments[group].stddev()),
            // Values are whole numbers.
            (Self::Quantiles(quantiles), Function::Quantile(quantile)) => quantiles[group]
                .quantile(quantile)
                .map_or(Cell::Missing, |value| Cell::Number(value.round() as i128)),
            (Self::Quantiles(_), _) => Cell::Missing,
            (Self::Distinct(distinct), _) => Cell::Number(distinct[group].count().0.into()),
            (Self::First(values) | Self::Last(values), _) => match &values[group] {
                None => Cell::Missing,
                Some((_, value)) => Cell::Datum(value.clone()),
            },
        }
    }

    /// Whether the number of different values of a group is an estimate.
    pub(super) fn is_estimate(&self, group: usize) -> bool {
        matches!(self, Self::Distinct(distinct) if !distinct[group].count().1)
    }

    /// Bytes of memory that all groups use.
    pub(super) fn bytes(&self) -> usize {
        let own = for_each_store!(self, list => size_of_val(list.as_slice()));
        own + match self {
            Self::Quantiles(list) => list.iter().map(Quantiles::heap_bytes).sum(),
            Self::Distinct(list) => list.iter().map(Distinct::heap_bytes).sum(),
            Self::First(list) | Self::Last(list) => {
                list.iter().flatten().map(|(_, value)| value.heap_bytes()).sum()
            }
            Self::Count(_) | Self::Sum(_) | Self::Extremes(_) | Self::Moments(_) => 0,
        }
    }
}

/// Keeps a value if its event started before the one that is kept.
#[inline]
pub(super) fn first(kept: &mut Timed, time: i64, mut value: impl FnMut() -> Datum) {
    match kept {
        Some((at, _)) if *at < time => {}
        Some((at, old)) if *at == time => {
            let value = value();
            if value != Datum::Missing && value < *old {
                *old = value;
            }
        }
        _ => keep(kept, time, value()),
    }
}

/// Keeps a value if its event started after the one that is kept.
#[inline]
pub(super) fn last(kept: &mut Timed, time: i64, mut value: impl FnMut() -> Datum) {
    match kept {
        Some((at, _)) if *at > time => {}
        Some((at, old)) if *at == time => {
            let value = value();
            if value > *old {
                *old = value;
            }
        }
        _ => keep(kept, time, value()),
    }
}

fn keep(kept: &mut Timed, time: i64, value: Datum) {
    if value != Datum::Missing {
        *kept = Some((time, value));
    }
}
