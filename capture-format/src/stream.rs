//! Streams: sequences of numbers, encoded as bytes that zstd compresses well.
//!
//! The first byte holds the encoding (low four bits) and a width in bytes (high four bits). Numbers of a width are stored as
//! planes: the lowest byte of all numbers, then the next byte of all numbers, and so on.

use crate::{
    error::FormatError,
    group::Distinct,
    varint::{Cursor, put, unzigzag, zigzag},
    vector::{self, Extremes},
};

/// All values are `base`.
const CONSTANT: u8 = 0;
/// Each value is `base` plus a number of the width.
const OFFSET: u8 = 1;
/// Each value is the previous one plus `base` plus a number of the width; the first value is stored in full.
const DELTA: u8 = 2;
/// Each value is a number of the width (1 or 2), an index into a nested stream of distinct values.
const DICTIONARY: u8 = 3;
/// Several streams, one for the rows of each key of the table. Only as the first byte of a column of numbers.
pub(crate) const GROUPED: u8 = 4;

/// Dictionaries larger than this need more than two bytes per value.
const MAX_DICTIONARY: usize = 1 << 16;
/// Streams of fewer values have no dictionary.
const MIN_DICTIONARY_ROWS: usize = 16;
/// Values that are sampled to estimate the cost of an encoding.
const SAMPLE: usize = 512;

/// Encodes streams and keeps its scratch memory between them.
#[derive(Debug)]
pub(crate) struct StreamEncoder {
    /// Whether dictionaries are tried. That takes up to a quarter of the time of an encoder, and saves few bytes.
    pub(crate) dictionaries: bool,
    distinct: Distinct,
    numbers: Vec<u32>,
    /// The ranks of the values in a dictionary.
    ranked: Vec<u64>,
}

impl Default for StreamEncoder {
    fn default() -> Self {
        Self { dictionaries: true, distinct: Distinct::default(), numbers: Vec::new(), ranked: Vec::new() }
    }
}

/// The bytes needed for a number, 0 for 0.
fn width(max: u64) -> u8 {
    (64 - max.leading_zeros()).div_ceil(8) as u8
}

#[derive(Clone, Copy)]
struct Range {
    base: u64,
    width: u8,
}

impl Range {
    fn unsigned(extremes: Extremes<u64>) -> Self {
        Self { base: extremes.min, width: width(extremes.max.wrapping_sub(extremes.min)) }
    }

    fn signed(extremes: Extremes<i64>) -> Self {
        Self::unsigned(Extremes { min: extremes.min as u64, max: extremes.max as u64 })
    }
}

/// The ranges of the values (the narrower of the unsigned and the signed reading) and of the differences between them.
fn ranges(values: &[u64]) -> (Range, Range) {
    let delta = match values {
        [] | [_] => Range { base: 0, width: 0 },
        _ => Range::signed(vector::extremes_of_deltas(values)),
    };
    let unsigned = vector::extremes(values);
    if unsigned.max >> 63 == 0 {
        return (Range::unsigned(unsigned), delta);
    }
    let (unsigned, signed) = (Range::unsigned(unsigned), Range::signed(vector::extremes_signed(values)));
    (if signed.width < unsigned.width { signed } else { unsigned }, delta)
}

fn bits(v: u64) -> f64 {
    f64::from(64 - v.leading_zeros())
}

impl StreamEncoder {
    /// Appends the stream of `values`; nothing for no values.
    pub(crate) fn encode(&mut self, values: &[u64], out: &mut Vec<u8>) {
        if values.is_empty() {
            return;
        }
        let (offset, delta) = ranges(values);
        if offset.width == 0 {
            out.push(CONSTANT);
            put(out, zigzag(offset.base));
            return;
        }
        if delta.width == 0 {
            return self.delta(values, delta, out);
        }
        // Bits per value, estimated from evenly spread samples. Planes compress to approximately their entropy, of which the
        // mean length of the numbers is a usable upper bound.
        let step = values.len().div_ceil(SAMPLE);
        let samples = values.len().div_ceil(step) as f64;
        let offset_bits =
            values.iter().step_by(step).map(|v| bits(v.wrapping_sub(offset.base))).sum::<f64>() / samples;
        let delta_bits = values
            .windows(2)
            .step_by(step)
            .map(|w| bits(w[1].wrapping_sub(w[0]).wrapping_sub(delta.base)))
            .sum::<f64>()
            / samples;
        let best = offset_bits.min(delta_bits);
        if self.dictionaries
            && offset.width > 1
            && delta.width > 1
            && values.len() >= MIN_DICTIONARY_ROWS
            && let Some(dictionary_bits) = self.try_dictionary(values)
            && dictionary_bits < best
        {
            return self.dictionary(out);
        }
        // Deltas of unordered values are noisier than the values, and zstd finds repeated plain values.
        if delta_bits < offset_bits * 0.8 {
            self.delta(values, delta, out);
        } else {
            out.push(OFFSET | offset.width << 4);
            put(out, zigzag(offset.base));
            vector::planes(out, offset.width, values, offset.base);
        }
    }

    fn delta(&mut self, values: &[u64], delta: Range, out: &mut Vec<u8>) {
        out.push(DELTA | delta.width << 4);
        put(out, zigzag(values[0]));
        put(out, zigzag(delta.base));
        vector::planes_of_deltas(out, delta.width, values, delta.base);
    }

    /// Numbers the distinct values; returns the estimated bits per value, `None` if there are too many.
    fn try_dictionary(&mut self, values: &[u64]) -> Option<f64> {
        self.distinct.reset(values.len().min(1024));
        self.numbers.clear();
        for (i, &v) in values.iter().enumerate() {
            self.numbers.push(self.distinct.add(v));
            if self.distinct.len() > 512 + i / 4 {
                return None;
            }
        }
        let n = values.len() as f64;
        let used: f64 =
            self.distinct.counts().iter().map(|&c| f64::from(c) * (n / f64::from(c)).log2()).sum();
        let stored: f64 = self.distinct.values().iter().map(|&v| bits(zigzag(v))).sum();
        (self.distinct.len() <= MAX_DICTIONARY).then_some((used + stored) / n)
    }

    fn dictionary(&mut self, out: &mut Vec<u8>) {
        let (ranks, order) = self.distinct.ranks();
        let width = if order.len() <= 256 { 1 } else { 2 };
        out.push(DICTIONARY | width << 4);
        put(out, order.len() as u64);
        let values: Vec<u64> = order.iter().map(|&n| self.distinct.values()[n as usize]).collect();
        // The values are ascending, so deltas are small; dictionaries must not nest.
        if values.len() > 1 {
            self.delta(&values, ranges(&values).1, out);
        } else {
            out.push(CONSTANT);
            put(out, zigzag(values[0]));
        }
        self.ranked.clear();
        self.ranked.extend(self.numbers.iter().map(|&n| u64::from(ranks[n as usize])));
        vector::planes(out, width, &self.ranked, 0);
    }
}

/// Adds the numbers of the width to `values`, plane by plane.
fn add_planes(cursor: &mut Cursor<'_>, width: u8, values: &mut [u64]) -> Result<(), FormatError> {
    let bytes = cursor.bytes(width as usize * values.len())?;
    for (plane, bytes) in bytes.chunks_exact(values.len().max(1)).enumerate() {
        for (value, &byte) in values.iter_mut().zip(bytes) {
            *value = value.wrapping_add(u64::from(byte) << (8 * plane));
        }
    }
    Ok(())
}

/// Appends the `count` values of a stream.
pub(crate) fn decode(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<u64>) -> Result<(), FormatError> {
    decode_nested(cursor, count, out, false)
}

fn decode_nested(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<u64>,
    nested: bool,
) -> Result<(), FormatError> {
    if count == 0 {
        return Ok(());
    }
    let start = out.len();
    let tag = cursor.byte()?;
    let (encoding, width) = (tag & 15, tag >> 4);
    match encoding {
        CONSTANT if width == 0 => {
            let base = unzigzag(cursor.varint("constant")?);
            out.resize(start + count, base);
        }
        OFFSET if (1..=8).contains(&width) => {
            let base = unzigzag(cursor.varint("base")?);
            out.resize(start + count, base);
            add_planes(cursor, width, &mut out[start..])?;
        }
        DELTA if width <= 8 => {
            let first = unzigzag(cursor.varint("first value")?);
            let base = unzigzag(cursor.varint("base")?);
            out.push(first);
            out.resize(start + count, base);
            add_planes(cursor, width, &mut out[start + 1..])?;
            let mut previous = first;
            for value in &mut out[start + 1..] {
                previous = previous.wrapping_add(*value);
                *value = previous;
            }
        }
        DICTIONARY if (1..=2).contains(&width) && !nested => {
            let limit = MAX_DICTIONARY.min(count);
            let entries = cursor.count("entries of a dictionary", limit)?;
            let mut values = Vec::with_capacity(entries);
            decode_nested(cursor, entries, &mut values, true)?;
            out.resize(start + count, 0);
            add_planes(cursor, width, &mut out[start..])?;
            for value in &mut out[start..] {
                let found = *value;
                *value = *values.get(found as usize).ok_or_else(|| {
                    let expected = format_args!("below {entries}");
                    FormatError::invalid(cursor.offset(), "number of a dictionary entry", expected, found)
                })?;
            }
        }
        // Any other byte: numbers of encodings and widths that the format does not have.
        _ => {
            let expected = "a known encoding with a width that it allows";
            return Err(FormatError::invalid(cursor.offset(), "encoding of a stream", expected, tag.into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
