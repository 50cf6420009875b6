//! Points in time as text.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::{number, units};

/// Why a point in time is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The text has none of the known forms.
    #[error(
        "`{0}` is not a time: write 2026-11-22T12:00:01Z, 2026-11-22 12:00, 12:00 or 12:00:01, +5s (from the start) or -10s (from the end)"
    )]
    Syntax(String),
    /// The time of day occurs several times in the capture, on different days or during a clock change.
    #[error("`{0}` occurs more than once in this capture: write it with a date, such as {1}")]
    Ambiguous(String, String),
    /// The time of day does not occur in a capture of several days.
    #[error("`{0}` does not occur in this capture: write it with a date, such as {1}")]
    Nowhere(String, String),
    /// A clock change repeats the time of day on this date.
    #[error("`{0}` occurs twice because clocks were set back: write it with an offset, such as {1}")]
    Repeated(String, String),
    /// The time is relative to an end that is not known.
    #[error("`{0}` is relative to the end, which is not known while capturing or when reading from a pipe")]
    NoEnd(String),
    /// The time zone does not exist.
    #[error("`{0}` is not a time zone: write a name such as Europe/Berlin, or an offset such as +02:00")]
    Zone(String),
}

/// A point in time as written by the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSpec {
    text: String,
    form: TimeForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeForm {
    Wall(i64),
    Local(DateTime),
    Clock(Time),
    FromStart(u64),
    FromEnd(u64),
}

/// The time span of a capture, against which times are resolved.
#[derive(Clone, Debug)]
pub struct Span {
    /// Start of the capture, wall-clock ns since 1970.
    pub start: i64,
    /// End of the capture, wall-clock ns since 1970; `None` if not known yet.
    pub end: Option<i64>,
    /// The zone for times of day.
    pub zone: TimeZone,
}

impl Span {
    /// How far its zone is ahead of UTC at its start, ns.
    pub fn utc_offset(&self) -> i64 {
        i64::from(self.zone.to_offset(stamp(self.start)).seconds()) * 1_000_000_000
    }
}

impl TimeSpec {
    /// Parses a date with or without time and offset (RFC 3339, also with spaces, as `ktape info` prints it), a time of
    /// day, `+` offset or `-` offset. A date without offset is in the zone of the [`Span`].
    ///
    /// # Errors
    /// [`TimeError::Syntax`].
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let bad = || TimeError::Syntax(text.to_owned());
        let form = if let Some(offset) = text.strip_prefix('+') {
            TimeForm::FromStart(units::duration(offset).map_err(|_| bad())?)
        } else if let Some(offset) = text.strip_prefix('-') {
            TimeForm::FromEnd(units::duration(offset).map_err(|_| bad())?)
        } else if let Some(time) = clock(text) {
            TimeForm::Clock(time)
        } else {
            let joined = text.replace(" +", "+").replace(" -", "-");
            match joined.parse::<Timestamp>() {
                Ok(stamp) => TimeForm::Wall(i64::try_from(stamp.as_nanosecond()).map_err(|_| bad())?),
                Err(_) => TimeForm::Local(text.parse().map_err(|_| bad())?),
            }
        };
        Ok(Self { text: text.to_owned(), form })
    }

    /// The time as wall-clock ns since 1970.
    ///
    /// # Errors
    /// If a time of day does not occur exactly once in the capture, or the time is relative to an end that is not known.
    pub fn resolve(&self, span: &Span) -> Result<i64, TimeError> {
        match self.form {
            TimeForm::Wall(ns) => Ok(ns),
            TimeForm::FromStart(ns) => Ok(span.start.saturating_add_unsigned(ns)),
            TimeForm::FromEnd(ns) => match span.end {
                Some(end) => Ok(end.saturating_sub_unsigned(ns)),
                None => Err(TimeError::NoEnd(self.text.clone())),
            },
            TimeForm::Clock(time) => self.on_its_day(time, span),
            TimeForm::Local(moment) => {
                let moment = span.zone.to_ambiguous_timestamp(moment);
                let out_of_range = || TimeError::Syntax(self.text.clone());
                let ns = |stamp: Timestamp| i64::try_from(stamp.as_nanosecond()).map_err(|_| out_of_range());
                if matches!(moment.offset(), AmbiguousOffset::Fold { .. }) {
                    let earlier = ns(moment.earlier().map_err(|_| out_of_range())?)?;
                    return Err(TimeError::Repeated(self.text.clone(), rfc3339(earlier)));
                }
                ns(moment.compatible().map_err(|_| out_of_range())?)
            }
        }
    }

    fn on_its_day(&self, time: Time, span: &Span) -> Result<i64, TimeError> {
        let first = day(span.start, &span.zone);
        let last = span.end.map_or(first, |end| day(end, &span.zone)).max(first);
        let mut here = Vec::new();
        let mut date = first;
        loop {
            let moment = span.zone.to_ambiguous_timestamp(date.to_datetime(time));
            // During the hour that a clock change repeats, a time of day occurs twice.
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

/// `HH:MM` or `HH:MM:SS[.fraction]`.
fn clock(text: &str) -> Option<Time> {
    let with_seconds;
    let text = match text.len() {
        5 => {
            with_seconds = format!("{text}:00");
            &with_seconds
        }
        _ => text,
    };
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

/// Parses a zone: a name (`Europe/Berlin`, `UTC`) or an offset (`+02:00`).
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

/// The recording host's zone: by name if this machine's database has it, else its UTC offset at the start of the capture,
/// in seconds east.
pub fn host_zone(name: &str, offset_seconds: i32) -> TimeZone {
    TimeZone::get(name)
        .unwrap_or_else(|_| Offset::from_seconds(offset_seconds).map_or(TimeZone::UTC, TimeZone::fixed))
}

/// RFC 3339 in UTC with nanoseconds.
pub fn rfc3339(ns: i64) -> String {
    format!("{:.9}", stamp(ns))
}

/// Date, time (without fraction) and offset in readable form.
pub fn date_time(ns: i64, zone: &TimeZone) -> String {
    stamp(ns).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Writes wall-clock times. Caches the text of the last second, since consecutive events mostly share it.
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
