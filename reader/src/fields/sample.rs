//! Shares that follow from several numbers of a sample of a cgroup, in percent.

use events::{Kind, UNKNOWN};

use super::value::{Value, optional};
use crate::model::{Event, column};

macro_rules! own {
    ($name:literal) => {
        const { column(Kind::Sample, $name) }
    };
}

/// The shortest interval with a share of CPU time, ns: the last round can follow the one before at once, and the kernel
/// counts some CPU time in ticks of several ms.
const INTERVAL_MIN: u128 = 50_000_000;

/// CPU time used, of that of one CPU.
pub(super) fn cpu_percent<'a>(event: &Event<'a>) -> Value<'a> {
    percent(known(event, own!("cpu_used")), interval(event))
}

fn interval(event: &Event<'_>) -> Option<u128> {
    known(event, own!("interval")).filter(|ns| *ns >= INTERVAL_MIN)
}

/// CPU time used, of what the quota allows.
pub(super) fn cpu_limit_percent<'a>(event: &Event<'a>) -> Value<'a> {
    let (quota, period) = (known(event, own!("cpu_quota")), known(event, own!("cpu_period")));
    let allowed = || Some(interval(event)? * quota? / period.filter(|ns| *ns > 0)?);
    percent(known(event, own!("cpu_used")), allowed())
}

/// Memory in use, of the limit.
pub(super) fn mem_percent<'a>(event: &Event<'a>) -> Value<'a> {
    percent(known(event, own!("mem")), known(event, own!("mem_limit")))
}

/// Tasks, of the limit.
pub(super) fn pids_percent<'a>(event: &Event<'a>) -> Value<'a> {
    percent(known(event, own!("pids")), known(event, own!("pids_max")))
}

/// A number of the sample, wide enough for products.
fn known(event: &Event<'_>, own: u16) -> Option<u128> {
    event.column_u64(own).filter(|value| *value != UNKNOWN).map(u128::from)
}

/// Rounded to the nearest percent; missing without a whole.
fn percent<'a>(part: Option<u128>, whole: Option<u128>) -> Value<'a> {
    let share = || {
        let whole = whole.filter(|whole| *whole > 0)?;
        u64::try_from((part? * 100 + whole / 2) / whole).ok()
    };
    optional(share())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_and_need_both_numbers() {
        assert_eq!(percent(Some(1), Some(3)), Value::Int(33));
        assert_eq!(percent(Some(2), Some(3)), Value::Int(67));
        assert_eq!(percent(Some(5), Some(2)), Value::Int(250), "more than one CPU");
        assert_eq!(percent(Some(0), Some(2)), Value::Int(0));
        for (part, whole) in [(None, Some(1)), (Some(1), None), (Some(1), Some(0))] {
            assert_eq!(percent(part, whole), Value::Missing);
        }
    }
}
