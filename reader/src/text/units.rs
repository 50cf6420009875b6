//! Durations and sizes with units.

use super::number;

/// Why a duration or size is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text is not a duration.
    #[error("`{0}` is not a duration: write a number with a unit, such as 30s, 10m, 1h30m, 500ms")]
    Duration(String),
    /// The text is not a size.
    #[error("`{0}` is not a size: write a number of bytes or one with a unit, such as 256MiB, 10MB, 1G")]
    Size(String),
    /// The value exceeds 2^63.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Parses a duration (`30s`, `1h30m`, `1.5ms`); returns nanoseconds.
///
/// # Errors
/// If a unit is missing or unknown, or the sum exceeds 2^63 ns.
pub fn duration(text: &str) -> Result<u64, UnitError> {
    let bad = || UnitError::Duration(text.to_owned());
    if text.is_empty() {
        return Err(bad());
    }
    let mut rest = text;
    let mut total = 0f64;
    let mut exact = 0u128;
    while !rest.is_empty() {
        let (value, fraction, after) = leading_number(rest).ok_or_else(bad)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let unit: u64 = match &after[..unit_end] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60 * 1_000_000_000,
            "h" => 3_600 * 1_000_000_000,
            "d" => 86_400 * 1_000_000_000,
            _ => return Err(bad()),
        };
        exact += u128::from(value) * u128::from(unit);
        total += fraction * unit as f64;
        rest = &after[unit_end..];
    }
    let sum = exact + total.round() as u128;
    match u64::try_from(sum) {
        Ok(ns) if ns <= i64::MAX as u64 => Ok(ns),
        _ => Err(UnitError::TooLarge(text.to_owned())),
    }
}

/// Parses a size (`4096`, `256MiB`, `10MB`, `1G`); returns bytes. `K`, `M`, `G`, `T` and the forms with `iB` are powers
/// of 1024, those with `B` powers of 1000.
///
/// # Errors
/// If the unit is unknown or the size exceeds 2^63 bytes.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let bad = || UnitError::Size(text.to_owned());
    let (value, fraction, unit) = leading_number(text).ok_or_else(bad)?;
    let unit: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(bad()),
    };
    let sum = u128::from(value) * u128::from(unit) + (fraction * unit as f64).round() as u128;
    match u64::try_from(sum) {
        Ok(bytes) if bytes <= i64::MAX as u64 => Ok(bytes),
        _ => Err(UnitError::TooLarge(text.to_owned())),
    }
}

/// The number at the start: its integer part, its fraction, and the rest of the text.
fn leading_number(text: &str) -> Option<(u64, f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let whole = text[..end].parse().ok()?;
    let Some(after) = text[end..].strip_prefix('.') else { return Some((whole, 0.0, &text[end..])) };
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    let fraction = format!("0.{}", &after[..digits]).parse().ok()?;
    if digits == 0 { None } else { Some((whole, fraction, &after[digits..])) }
}

/// Appends a duration in readable form: `850ns`, `12.4us`, `3.0ms`, `82.1s`, `1h02m05s`.
pub fn write_duration(ns: u64, out: &mut Vec<u8>) {
    let tenths = |ns: u64, unit: u64, name: &str, out: &mut Vec<u8>| {
        let tenths = ns / (unit / 10);
        number::decimal(tenths / 10, out);
        out.push(b'.');
        out.push(b'0' + (tenths % 10) as u8);
        out.extend_from_slice(name.as_bytes());
    };
    match ns {
        0..1_000 => {
            number::decimal(ns, out);
            out.extend_from_slice(b"ns");
        }
        1_000..1_000_000 => tenths(ns, 1_000, "us", out),
        1_000_000..1_000_000_000 => tenths(ns, 1_000_000, "ms", out),
        1_000_000_000..600_000_000_000 => tenths(ns, 1_000_000_000, "s", out),
        _ => {
            let seconds = ns / 1_000_000_000;
            let pair = |value: u64, out: &mut Vec<u8>| {
                out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
            };
            if seconds >= 3600 {
                number::decimal(seconds / 3600, out);
                out.push(b'h');
                pair(seconds / 60 % 60, out);
            } else {
                number::decimal(seconds / 60, out);
            }
            out.push(b'm');
            pair(seconds % 60, out);
            out.push(b's');
        }
    }
}

/// A duration in readable form, as [`write_duration`] writes it.
pub fn duration_text(ns: u64) -> String {
    let mut out = Vec::new();
    write_duration(ns, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// A size in readable form: `17 B`, `4.0 KiB`, `1.2 GiB`.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count with separators: `1,234,567`.
pub fn count_text(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
