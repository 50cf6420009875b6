//! From the body of a chunk to columns: the directory, frames, streams, lists. Everything is checked before it is used.

use std::{
    borrow::Cow,
    cell::RefCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    column_type::TableId,
    error::FormatError,
    group::Groups,
    intern::{StrId, Strings},
    limits::{
        MAX_DECODED, MAX_FRAME, MAX_FRAME_RATIO, MAX_LIST, MAX_LIST_VALUES, MAX_ROWS, MAX_STRING_BYTES,
        MAX_STRINGS, MAX_TABLES,
    },
    schema::Schema,
    stream,
    varint::Cursor,
};

/// The decoded values of a column.
#[derive(Debug)]
pub(crate) enum ColumnData {
    U64(Vec<u64>),
    I64(Vec<i64>),
    Refs(Vec<u32>),
    Strings(Vec<StrId>),
    ListU64 { ends: Vec<u32>, values: Vec<u64> },
    ListStrings { ends: Vec<u32>, values: Vec<StrId> },
}

#[derive(Debug)]
pub(crate) struct StoredTable {
    pub(crate) rows: u32,
    /// The rows by the table's key, once a column needed them.
    pub(crate) groups: OnceLock<Arc<Groups>>,
    pub(crate) columns: Vec<StoredColumn>,
}

#[derive(Debug)]
pub(crate) struct StoredColumn {
    pub(crate) place: ColumnPlace,
    pub(crate) data: OnceLock<ColumnData>,
}

/// Lists stored position by position over all rows.
pub(crate) const LIST_PLAIN: u8 = 0;
/// Lists stored position by position over the rows of each key.
pub(crate) const LIST_GROUPED: u8 = 1;

/// Where the encoded bytes of a column are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum ColumnPlace {
    /// Nowhere: the column was never encoded.
    #[default]
    None,
    /// In frame 0.
    Inline { from: usize, to: usize },
    /// In a frame of its own: where it is in the body, and its uncompressed length.
    Frame { from: usize, to: usize, raw: usize },
}

/// The body of a chunk, frame 0 decompressed.
#[derive(Debug, Default)]
pub(crate) struct Body {
    bytes: Bytes,
    first: Vec<u8>,
    offset: u64,
    /// Values of the list columns decoded so far.
    pub(crate) list_values: AtomicU64,
    strings: usize,
    string_lengths: ColumnPlace,
    string_bytes: ColumnPlace,
}

impl Body {
    /// Where the chunk's block is.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the body.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The encoded bytes of a column.
    pub(crate) fn encoded(&self, place: &ColumnPlace) -> Result<Cow<'_, [u8]>, FormatError> {
        Ok(match *place {
            ColumnPlace::None => Cow::Borrowed(&[]),
            ColumnPlace::Inline { from, to } => Cow::Borrowed(&self.first[from..to]),
            ColumnPlace::Frame { from, to, raw } => {
                Cow::Owned(decompress(&self.bytes[from..to], raw, MAX_FRAME_RATIO, self.offset, "frame")?)
            }
        })
    }

    pub(crate) fn strings(&self) -> Result<Strings, FormatError> {
        let lengths = u64s(&self.encoded(&self.string_lengths)?, self.offset, self.strings)?;
        let bytes = self.encoded(&self.string_bytes)?.into_owned();
        let mut end = 0u64;
        let mut ends = Vec::with_capacity(lengths.len());
        for len in lengths {
            end = end.saturating_add(len);
            FormatError::limit(self.offset, "end of a string", end, bytes.len() as u64)?;
            ends.push(end as u32);
        }
        if end != bytes.len() as u64 {
            let found = bytes.len() as u64;
            return Err(FormatError::invalid(self.offset, "bytes of all strings", end, found));
        }
        Ok(Strings::new(bytes.into(), ends))
    }
}

/// Decompresses one zstd frame to exactly `raw` bytes. Allocates only after the frame's own size and the allowed `ratio` of
/// `raw` to the packed length are checked.
pub(crate) fn decompress(
    bytes: &[u8],
    raw: usize,
    ratio: u64,
    offset: u64,
    what: &'static str,
) -> Result<Vec<u8>, FormatError> {
    thread_local! {
        static CONTEXT: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    FormatError::limit(offset, what, raw as u64, (bytes.len() as u64).saturating_mul(ratio))?;
    let failed = |found: String| {
        FormatError::malformed(offset, what, format_args!("a zstd frame of {raw} bytes"), found)
    };
    match zstd::zstd_safe::get_frame_content_size(bytes) {
        Ok(Some(stated)) if stated == raw as u64 => {}
        Ok(Some(stated)) => return Err(failed(format!("one of {stated} bytes"))),
        Ok(None) => return Err(failed("one that does not state its size".into())),
        Err(_) => return Err(failed("something else".into())),
    }
    let out = CONTEXT.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(zstd::bulk::Decompressor::new()?),
        };
        context.decompress(bytes, raw)
    });
    let out = out.map_err(|e| failed(format!("a damaged one ({e})")))?;
    if out.len() != raw {
        return Err(failed(format!("one of {} bytes", out.len())));
    }
    Ok(out)
}

/// Reads the directory of a chunk: which tables it has and where their columns are.
pub(crate) fn directory(
    schema: &Schema,
    bytes: Bytes,
    offset: u64,
) -> Result<(Body, Vec<Option<StoredTable>>), FormatError> {
    let mut head = Cursor::new(&bytes, offset);
    let raw = head.count("length of frame 0", MAX_FRAME)?;
    let packed = head.count("packed length of frame 0", bytes.len())?;
    let from = bytes.len() - head.remaining();
    let first = decompress(head.bytes(packed)?, raw, MAX_FRAME_RATIO, offset, "frame 0")?;
    let mut reader = Directory {
        cursor: Cursor::new(&first, offset),
        first_len: first.len(),
        body_len: bytes.len(),
        next_frame: from + packed,
    };
    let strings = reader.cursor.count("strings", MAX_STRINGS)?;
    let string_lengths = reader.place(MAX_FRAME)?;
    let string_bytes = reader.place(MAX_STRING_BYTES)?;
    let mut tables: Vec<Option<StoredTable>> = schema.tables().iter().map(|_| None).collect();
    let mut decoded = strings as u64 * 12;
    for _ in 0..reader.cursor.count("tables", MAX_TABLES)? {
        let id = TableId(reader.cursor.count("table number", u16::MAX as usize)? as u16);
        let rows = reader.cursor.count("rows", MAX_ROWS)?;
        let index = schema.index(id).filter(|&i| tables[i].is_none() && rows > 0).ok_or_else(|| {
            let expected = "a table of the schema, each once and with rows";
            FormatError::invalid(offset, "table number", expected, id.0.into())
        })?;
        let mut columns = Vec::with_capacity(schema.tables()[index].columns.len());
        for column in &schema.tables()[index].columns {
            decoded += rows as u64 * column.ty.decoded_bytes();
            columns.push(StoredColumn { place: reader.place(MAX_FRAME)?, data: OnceLock::new() });
        }
        tables[index] = Some(StoredTable { rows: rows as u32, groups: OnceLock::new(), columns });
    }
    FormatError::limit(offset, "bytes of all columns", decoded, MAX_DECODED)?;
    reader.cursor.end("directory")?;
    if reader.next_frame != bytes.len() {
        let found = bytes.len() as u64;
        return Err(FormatError::invalid(offset, "bytes of all frames", reader.next_frame, found));
    }
    let body =
        Body { bytes, first, offset, list_values: AtomicU64::new(0), strings, string_lengths, string_bytes };
    Ok((body, tables))
}

struct Directory<'a> {
    cursor: Cursor<'a>,
    first_len: usize,
    body_len: usize,
    next_frame: usize,
}

impl Directory<'_> {
    fn place(&mut self, limit: usize) -> Result<ColumnPlace, FormatError> {
        let head = self.cursor.count("length of a column", limit.saturating_mul(2) + 1)?;
        let len = head >> 1;
        if head & 1 == 0 {
            let from = self.first_len - self.cursor.remaining();
            self.cursor.bytes(len)?;
            return Ok(ColumnPlace::Inline { from, to: from + len });
        }
        let packed = self.cursor.count("packed length of a column", self.body_len - self.next_frame)?;
        let from = self.next_frame;
        self.next_frame += packed;
        Ok(ColumnPlace::Frame { from, to: self.next_frame, raw: len })
    }
}

/// A column of numbers: one stream, or one for each key.
pub(crate) fn numbers(
    bytes: &[u8],
    offset: u64,
    rows: usize,
    groups: impl FnOnce() -> Result<Arc<Groups>, FormatError>,
) -> Result<Vec<u64>, FormatError> {
    if bytes.first() != Some(&stream::GROUPED) {
        return u64s(bytes, offset, rows);
    }
    let mut cursor = Cursor::new(&bytes[1..], offset);
    let mut out = vec![0; rows];
    let mut scratch = Vec::new();
    for rows in groups()?.iter() {
        scratch.clear();
        stream::decode(&mut cursor, rows.len(), &mut scratch)?;
        rows.iter().zip(&scratch).for_each(|(&row, &value)| out[row as usize] = value);
    }
    cursor.end("column")?;
    Ok(out)
}

/// A column that is one stream.
pub(crate) fn u64s(bytes: &[u8], offset: u64, rows: usize) -> Result<Vec<u64>, FormatError> {
    let mut cursor = Cursor::new(bytes, offset);
    let mut out = Vec::with_capacity(rows);
    stream::decode(&mut cursor, rows, &mut out)?;
    cursor.end("column")?;
    Ok(out)
}

/// A column that is one stream of numbers below `bound`.
pub(crate) fn u32s(
    bytes: &[u8],
    offset: u64,
    rows: usize,
    what: &'static str,
    bound: usize,
) -> Result<Vec<u32>, FormatError> {
    narrow(&u64s(bytes, offset, rows)?, offset, what, bound)
}

/// Narrows numbers, which must be below `bound`.
pub(crate) fn narrow(
    values: &[u64],
    offset: u64,
    what: &'static str,
    bound: usize,
) -> Result<Vec<u32>, FormatError> {
    let max = values.iter().copied().max().unwrap_or(0);
    if !values.is_empty() && max >= bound as u64 {
        return Err(FormatError::invalid(offset, what, format_args!("below {bound}"), max));
    }
    Ok(values.iter().map(|&v| v as u32).collect())
}

/// A list column: where each row's list ends, and the values. `taken` counts the values of all list columns of the chunk,
/// since a few bytes can encode many.
pub(crate) fn list(
    bytes: &[u8],
    offset: u64,
    rows: usize,
    groups: impl FnOnce() -> Result<Arc<Groups>, FormatError>,
    taken: &AtomicU64,
) -> Result<(Vec<u32>, Vec<u64>), FormatError> {
    let mut cursor = Cursor::new(bytes, offset);
    let groups = match cursor.byte()? {
        LIST_PLAIN => Arc::new(Groups::single(rows)),
        LIST_GROUPED => groups()?,
        found => {
            return Err(FormatError::invalid(offset, "layout of a list column", "0 or 1", found.into()));
        }
    };
    let mut lens = vec![0u32; rows];
    // Of each group, the length of its lists if all have the same one.
    let mut fixed = Vec::new();
    let mut scratch = Vec::new();
    for rows in groups.iter() {
        let head = cursor.count("length of lists", MAX_LIST + 1)?;
        fixed.push((head > 0).then(|| head as u32 - 1));
        if head > 0 {
            rows.iter().for_each(|&row| lens[row as usize] = head as u32 - 1);
            continue;
        }
        scratch.clear();
        stream::decode(&mut cursor, rows.len(), &mut scratch)?;
        for (&row, &len) in rows.iter().zip(&scratch) {
            FormatError::limit(offset, "length of a list", len, MAX_LIST as u64)?;
            lens[row as usize] = len as u32;
        }
    }
    let total: u64 = lens.iter().map(|&l| u64::from(l)).sum();
    FormatError::limit(offset, "values of a list column", total, MAX_LIST_VALUES as u64)?;
    let all = taken.fetch_add(total, Ordering::Relaxed).saturating_add(total);
    FormatError::limit(offset, "values of all list columns", all, MAX_DECODED / 8)?;
    let mut ends = Vec::with_capacity(lens.len());
    let mut end = 0;
    for len in &lens {
        end += len;
        ends.push(end);
    }
    let mut values = vec![0; total as usize];
    let mut having = Vec::new();
    for (rows, fixed) in groups.iter().zip(fixed) {
        if let Some(len) = fixed {
            for position in 0..len {
                scratch.clear();
                stream::decode(&mut cursor, rows.len(), &mut scratch)?;
                for (&row, &value) in rows.iter().zip(&scratch) {
                    values[(ends[row as usize] - len + position) as usize] = value;
                }
            }
            continue;
        }
        for position in 0.. {
            having.clear();
            having.extend(rows.iter().copied().filter(|&row| lens[row as usize] > position));
            if having.is_empty() {
                break;
            }
            scratch.clear();
            stream::decode(&mut cursor, having.len(), &mut scratch)?;
            for (&row, &value) in having.iter().zip(&scratch) {
                let row = row as usize;
                values[(ends[row] - lens[row] + position) as usize] = value;
            }
        }
    }
    cursor.end("list column")?;
    Ok((ends, values))
}
