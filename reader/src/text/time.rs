//! Points in time, as people write and read them.

use jiff::civil::{Date, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::{number, units};

/// What is wrong with a point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// None of the known forms.
    #[error(
        "`{0}` is not a time: write RFC 3339 (2026-11-22T12:00:01Z), 12:00:01, +5s (from the start) or -10s (from the end)"
    )]
    Syntax(String),
    /// A time of day that the capture has on two days, or twice on one.
    #[error("`{0}` is on more than one day of this capture: write it with its date, such as {1}")]
    Ambiguous(String, String),
    /// A time of day that is on no day of a capture of several days.
    #[error("`{0}` is on no day of this capture: write it with its date, such as {1}")]
    Nowhere(String, String),
    /// The end is not known.
    #[error("`{0}` counts from the end, which is not known when reading from a pipe or live")]
    NoEnd(String),
    /// No such zone.
    #[error("`{0}` is not a time zone: write a name such as Europe/Berlin, or an offset such as +02:00")]
    Zone(String),
}

/// A point in time as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSpec {
    text: String,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Wall(i64),
    Clock(Time),
    FromStart(u64),
    FromEnd(u64),
}

/// What a point in time can be relative to.
#[derive(Clone, Debug)]
pub struct Span {
    /// When the capture starts, wall-clock ns since 1970.
    pub start: i64,
    /// When it ends, or `None` if that is not known yet.
    pub end: Option<i64>,
    /// The zone that times are printed in.
    pub zone: TimeZone,
}

impl TimeSpec {
    /// Reads one of the four forms.
    ///
    /// # Errors
    /// [`TimeError::Syntax`].
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let bad = || TimeError::Syntax(text.to_owned());
        let form = if let Some(offset) = text.strip_prefix('+') {
            Form::FromStart(units::duration(offset).map_err(|_| bad())?)
        } else if let Some(offset) = text.strip_prefix('-') {
            Form::FromEnd(units::duration(offset).map_err(|_| bad())?)
        } else if let Some(time) = clock(text) {
            Form::Clock(time)
        } else {
            let stamp: Timestamp = text.parse().map_err(|_| bad())?;
            Form::Wall(i64::try_from(stamp.as_nanosecond()).map_err(|_| bad())?)
        };
        Ok(Self { text: text.to_owned(), form })
    }

    /// Wall-clock ns since 1970.
    ///
    /// # Errors
    /// If a time of day is on several days of the capture, or its end is asked for and not known.
    pub fn resolve(&self, span: &Span) -> Result<i64, TimeError> {
        match self.form {
            Form::Wall(ns) => Ok(ns),
            Form::FromStart(ns) => Ok(span.start.saturating_add_unsigned(ns)),
            Form::FromEnd(ns) => match span.end {
                Some(end) => Ok(end.saturating_sub_unsigned(ns)),
                None => Err(TimeError::NoEnd(self.text.clone())),
            },
            Form::Clock(time) => self.on_its_day(time, span),
        }
    }

    fn on_its_day(&self, time: Time, span: &Span) -> Result<i64, TimeError> {
        let first = day(span.start, &span.zone);
        let last = span.end.map_or(first, |end| day(end, &span.zone)).max(first);
        let mut here = Vec::new();
        let mut date = first;
        loop {
            let moment = span.zone.to_ambiguous_timestamp(date.to_datetime(time));
            // The hour that a clock change repeats has two readings, both possible.
            for stamp in [moment.earlier(), moment.later()].into_iter().flatten() {
                let ns = i64::try_from(stamp.as_nanosecond()).unwrap_or(i64::MAX);
                if !here.contains(&ns) {
                    here.push(ns);
                }
            }
            if date >= last || here.len() > 64 {
                break;
            }
            let Ok(next) = date.checked_add(1.day()) else { break };
            date = next;
        }
        let example = || rfc3339(here.first().copied().unwrap_or(span.start));
        if first == last && here.len() == 1 {
            return Ok(here[0]);
        }
        let end = span.end.unwrap_or(i64::MAX);
        let mut inside = here.iter().filter(|ns| (span.start..=end).contains(ns));
        match (inside.next(), inside.next()) {
            (Some(ns), None) => Ok(*ns),
            (Some(_), Some(_)) => Err(TimeError::Ambiguous(self.text.clone(), example())),
            (None, _) => Err(TimeError::Nowhere(self.text.clone(), example())),
        }
    }
}

/// `HH:MM:SS[.fraction]`.
fn clock(text: &str) -> Option<Time> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes[2] != b':' || bytes[5] != b':' {
        return None;
    }
    let field = |from: usize| -> Option<i8> {
        let digits = text.get(from..from + 2)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let nanos = match text.get(8..)? {
        "" => 0,
        fraction => {
            let digits = fraction.strip_prefix('.')?;
            if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            digits.parse::<i32>().ok()? * 10i32.pow(9 - digits.len() as u32)
        }
    };
    Time::new(field(0)?, field(3)?, field(6)?, nanos).ok()
}

fn stamp(ns: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_nanos(ns)).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn day(ns: i64, zone: &TimeZone) -> Date {
    stamp(ns).to_zoned(zone.clone()).date()
}

/// A zone by name (`Europe/Berlin`, `UTC`) or offset (`+02:00`).
///
/// # Errors
/// [`TimeError::Zone`].
pub fn zone(text: &str) -> Result<TimeZone, TimeError> {
    let bad = || TimeError::Zone(text.to_owned());
    if let Some(rest) = text.strip_prefix(['+', '-']) {
        let digits: String = rest.chars().filter(|c| *c != ':').collect();
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let value: i32 = digits.parse().map_err(|_| bad())?;
        let seconds = (value / 100 * 60 + value % 100) * 60;
        let signed = if text.starts_with('-') { -seconds } else { seconds };
        return Offset::from_seconds(signed).map(TimeZone::fixed).map_err(|_| bad());
    }
    TimeZone::get(text).map_err(|_| bad())
}

/// The recording host's zone: by name if this machine's database knows it, else its offset then.
pub fn host_zone(name: &str, offset_seconds: i32) -> TimeZone {
    TimeZone::get(name)
        .unwrap_or_else(|_| Offset::from_seconds(offset_seconds).map_or(TimeZone::UTC, TimeZone::fixed))
}

/// RFC 3339 in UTC with nine digits.
pub fn rfc3339(ns: i64) -> String {
    format!("{:.9}", stamp(ns))
}

/// Date, time to the second and offset, for people.
pub fn date_time(ns: i64, zone: &TimeZone) -> String {
    stamp(ns).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Writes wall-clock times. Remembers the last second, since most events share it with their
/// neighbour.
#[derive(Clone, Debug)]
pub struct ClockWriter {
    zone: TimeZone,
    full: bool,
    second: i64,
    text: Vec<u8>,
}

impl ClockWriter {
    /// Writes `12:00:01.123456789` in a zone.
    pub fn time_of_day(zone: TimeZone) -> Self {
        Self { zone, full: false, second: i64::MIN, text: Vec::new() }
    }

    /// Writes `2026-11-22T12:00:01.123456789Z`.
    pub fn rfc3339() -> Self {
        Self { zone: TimeZone::UTC, full: true, second: i64::MIN, text: Vec::new() }
    }

    /// Appends a time, wall-clock ns since 1970.
    pub fn write(&mut self, ns: i64, out: &mut Vec<u8>) {
        let second = ns.div_euclid(1_000_000_000);
        if second != self.second || self.text.is_empty() {
            let format = if self.full { "%Y-%m-%dT%H:%M:%S." } else { "%H:%M:%S." };
            let zoned = stamp(second.saturating_mul(1_000_000_000)).to_zoned(self.zone.clone());
            self.text.clear();
            self.text.extend_from_slice(zoned.strftime(format).to_string().as_bytes());
            self.second = second;
        }
        out.extend_from_slice(&self.text);
        number::nanos(ns.rem_euclid(1_000_000_000) as u32, out);
        if self.full {
            out.push(b'Z');
        }
    }
}

#[cfg(test)]
mod tests;
