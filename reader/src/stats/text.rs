//! Cells as text for people, the same in every table and screen.

use jiff::tz::TimeZone;

use crate::fields::{FieldType, Shape};
use crate::text::escape::{Place, escaped};
use crate::text::time;
use crate::text::units::{count_text, duration_text, size_text};

use super::answer::Answer;
use super::datum::Datum;
use super::expr::Cell;
use super::keys::Key;
use super::plan::Plan;
use super::unit::{Base, Unit};

/// Stands for a value that is missing.
pub const MISSING: &str = "-";

/// Stands for groups that did not fit into memory.
pub const OTHER: &str = "other";

/// Writes values as text: numbers with units and separators, times in a zone, hostile bytes escaped.
#[derive(Clone, Debug)]
pub struct Formatter {
    zone: TimeZone,
    with_date: bool,
}

impl Formatter {
    /// For an answer: times in `zone`, with their date if it is about several days, or steps of days.
    pub fn of(plan: &Plan, answer: &Answer, zone: &TimeZone) -> Self {
        const DAY: i64 = 86_400_000_000_000;
        let own = Self::new(zone.clone(), answer.range);
        let step = plan.keys().first().and_then(Key::step_width);
        Self { with_date: own.with_date || step.is_some_and(|width| width >= DAY), ..own }
    }

    /// Times in `zone`, with their date if `range` (wall-clock ns) has several.
    pub fn new(zone: TimeZone, range: Option<(i64, i64)>) -> Self {
        let day = |ns: i64| time::date_time(ns, &zone).get(..10).map(str::to_owned);
        let with_date = range.is_none_or(|(from, to)| day(from) != day(to));
        Self { zone, with_date }
    }

    /// A value of a key.
    pub fn key(&self, value: &Datum, ty: FieldType) -> String {
        match value {
            Datum::Missing => MISSING.to_owned(),
            Datum::Other => OTHER.to_owned(),
            Datum::Text(text) if text.is_empty() => "\"\"".to_owned(),
            Datum::Text(text) => escaped(text, Place::Free).into_owned(),
            Datum::Number(number) => match (ty, ty.shape()) {
                (FieldType::Size, _) => size(*number as f64),
                (_, Shape::Duration) => duration(*number as f64),
                (_, Shape::Time) => self.time(clamped(*number)),
                (_, Shape::Bool) => (if *number == 0 { "false" } else { "true" }).to_owned(),
                (_, Shape::Hundredths) => format!("{:.2}", *number as f64 / 100.0),
                (_, Shape::Number | Shape::Code | Shape::Address | Shape::Text | Shape::Any) => {
                    number.to_string()
                }
            },
        }
    }

    /// A value of a column.
    pub fn cell(&self, cell: &Cell, unit: Unit) -> String {
        let number = match (cell, unit.base) {
            (Cell::Missing, _) => return MISSING.to_owned(),
            (Cell::Datum(value), Base::Field(ty)) => return self.key(value, ty),
            (Cell::Datum(value @ (Datum::Text(_) | Datum::Missing | Datum::Other)), _) => {
                return self.key(value, FieldType::Text);
            }
            (Cell::Number(number), Base::Plain) if !unit.per_second => return count(*number),
            // When something happened is of interest to the millisecond.
            (Cell::Number(number) | Cell::Datum(Datum::Number(number)), Base::Time) => {
                let time = clamped(*number);
                return self.time(time - time.rem_euclid(1_000_000));
            }
            (Cell::Datum(Datum::Number(number)), Base::Plain) => return number.to_string(),
            (cell, _) => cell.number().unwrap_or(0.0),
        };
        let text = match unit.base {
            Base::Plain | Base::Field(_) => real(number),
            // ns per second are a part of one CPU, or of one thread's time.
            Base::Duration if unit.per_second => return percent(number / 1e9),
            Base::Duration => duration(number),
            Base::Size => size(number),
            Base::Time => self.time(number as i64),
            Base::Share => return percent(number),
        };
        if unit.per_second { format!("{text}/s") } else { text }
    }

    /// A time, wall-clock ns: to the second, if it is a whole one.
    pub fn time(&self, ns: i64) -> String {
        let mut out = Vec::new();
        if self.with_date {
            out.extend_from_slice(time::date_time(ns, &self.zone).get(..11).unwrap_or_default().as_bytes());
        }
        time::ClockWriter::time_of_day(self.zone.clone()).write(ns, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        // A time step begins at a whole unit: digits that are 0 in all of them are noise.
        match text.split_once('.') {
            Some((whole, fraction)) => match fraction.trim_end_matches('0').len().next_multiple_of(3) {
                0 => whole.to_owned(),
                digits => format!("{whole}.{}", &fraction[..digits]),
            },
            None => text,
        }
    }
}

fn clamped(ns: i128) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

fn count(number: i128) -> String {
    match u64::try_from(number.unsigned_abs()) {
        Ok(magnitude) => format!("{}{}", if number < 0 { "-" } else { "" }, count_text(magnitude)),
        Err(_) => number.to_string(),
    }
}

fn signed(number: f64, text: impl Fn(u64) -> String) -> String {
    format!("{}{}", if number < 0.0 { "-" } else { "" }, text(number.abs().round() as u64))
}

fn duration(ns: f64) -> String {
    signed(ns, duration_text)
}

fn size(bytes: f64) -> String {
    signed(bytes, size_text)
}

fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent != 0.0 && percent.abs() < 0.1 { format!("{percent:.3}%") } else { format!("{percent:.1}%") }
}

/// With about three digits.
fn real(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude >= 100.0 || number == number.trunc() && magnitude >= 1.0 {
        count(number.round() as i128)
    } else if magnitude >= 10.0 {
        format!("{number:.1}")
    } else if magnitude >= 0.01 || number == 0.0 {
        format!("{number:.2}")
    } else {
        format!("{number:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatter() -> Formatter {
        Formatter::new(TimeZone::UTC, Some((0, 1)))
    }

    #[test]
    fn numbers_have_units() {
        let cell = |number: f64, unit| formatter().cell(&Cell::Real(number), unit);
        assert_eq!(cell(1234.4, Unit::PLAIN), "1,234");
        assert_eq!(cell(12.34, Unit::PLAIN), "12.3");
        assert_eq!(cell(0.5, Unit::PLAIN.per_second()), "0.50/s");
        assert_eq!(cell(3.0, Unit::PLAIN), "3");
        assert_eq!(cell(0.001, Unit::PLAIN), "1.00e-3");
        assert_eq!(cell(1.5e6, Unit::of(Base::Duration)), "1.5ms");
        assert_eq!(cell(-1.5e6, Unit::of(Base::Duration)), "-1.5ms");
        assert_eq!(cell(0.53e9, Unit::of(Base::Duration).per_second()), "53.0%");
        assert_eq!(cell(4096.0, Unit::of(Base::Size).per_second()), "4.0 KiB/s");
        assert_eq!(cell(0.123, Unit::of(Base::Share)), "12.3%");
        assert_eq!(cell(0.00012, Unit::of(Base::Share)), "0.012%");
        assert_eq!(formatter().cell(&Cell::Missing, Unit::PLAIN), "-");
        assert_eq!(formatter().cell(&Cell::Number(-1234), Unit::PLAIN), "-1,234");
    }

    #[test]
    fn keys_are_not_separated_and_hostile_text_is_escaped() {
        let key = |value: Datum, ty| formatter().key(&value, ty);
        assert_eq!(key(Datum::Number(12345), FieldType::Unsigned), "12345");
        assert_eq!(key(Datum::Number(1), FieldType::Bool), "true");
        assert_eq!(key(Datum::Text(b"a\x1b[1m"[..].into()), FieldType::Text), "a\\e[1m");
        assert_eq!(key(Datum::Text(b""[..].into()), FieldType::Text), "\"\"");
        assert_eq!(key(Datum::Missing, FieldType::Text), "-");
        assert_eq!(key(Datum::Number(1_000_000_000), FieldType::Time), "00:00:01");
        assert_eq!(key(Datum::Number(1_500_000_000), FieldType::Time), "00:00:01.500");
        assert_eq!(key(Datum::Number(1_500_010_000), FieldType::Time), "00:00:01.500010");
        let last = Cell::Number(1_500_010_000);
        assert_eq!(formatter().cell(&last, Unit::of(Base::Time)), "00:00:01.500");
        let days = Formatter::new(TimeZone::UTC, Some((0, 86_400_000_000_000)));
        assert_eq!(days.key(&Datum::Number(1_000_000_000), FieldType::Time), "1970-01-01 00:00:01");
    }
}
