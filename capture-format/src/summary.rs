//! The summary of a chunk: what is in it, readable without decompressing it.

use crate::{
    codec,
    column_type::TableId,
    derive::{Decode, Encode},
    error::FormatError,
    limits::{MAX_COLUMNS, MAX_ROWS, MAX_SUMMARY_VALUES, MAX_TABLES},
    pressure::Pressure,
    varint::Cursor,
};

/// A value of a summary column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SummaryValue<'a> {
    /// Of a U64 column.
    U64(u64),
    /// Of a Bytes column.
    Bytes(&'a [u8]),
}

/// The values of one column in a chunk.
#[derive(Clone, Debug)]
pub enum SummaryValues<'a> {
    /// The schema does not list the column for summaries.
    NotKept,
    /// More values than a summary may hold: the chunk may contain any value.
    TooMany,
    /// All values.
    Kept(SummaryIter<'a>),
}

impl SummaryValues<'_> {
    /// Whether the chunk may contain a value for which `test` holds; true if its values are not known.
    pub fn may_contain(self, mut test: impl FnMut(SummaryValue<'_>) -> bool) -> bool {
        match self {
            Self::NotKept | Self::TooMany => true,
            Self::Kept(mut values) => values.any(|(value, _)| test(value)),
        }
    }
}

/// Distinct values in ascending order, each with its count. For a column of an event table that is the number of rows; for
/// a column of a dictionary it is how many event rows refer to rows with this value, directly or through other dictionaries.
#[derive(Clone, Debug)]
pub struct SummaryIter<'a> {
    cursor: Cursor<'a>,
    left: usize,
    kind: u8,
    previous: u64,
}

impl<'a> Iterator for SummaryIter<'a> {
    type Item = (SummaryValue<'a>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.try_next().ok()?;
        if item.is_none() {
            self.left = 0;
        }
        item
    }
}

impl<'a> SummaryIter<'a> {
    fn empty() -> Self {
        Self { cursor: Cursor::new(&[], 0), left: 0, kind: KIND_U64, previous: 0 }
    }

    fn try_next(&mut self) -> Result<Option<(SummaryValue<'a>, u64)>, FormatError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let value = if self.kind == KIND_U64 {
            self.previous = self.previous.wrapping_add(self.cursor.varint("summary value")?);
            SummaryValue::U64(self.previous)
        } else {
            let len = self.cursor.varint("length of a summary value")?;
            SummaryValue::Bytes(self.cursor.bytes(usize::try_from(len).unwrap_or(usize::MAX))?)
        };
        Ok(Some((value, self.cursor.varint("count of a summary value")?)))
    }
}

pub(crate) const KIND_TOO_MANY: u8 = 0;
pub(crate) const KIND_U64: u8 = 1;
pub(crate) const KIND_BYTES: u8 = 2;

/// The summary of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkSummary {
    /// The earliest start (end minus duration) of an event, in ns of the boot clock. All three times are 0 if the chunk has
    /// no event with a time.
    pub start_min: u64,
    /// The earliest end of an event, in ns of the boot clock.
    pub end_min: u64,
    /// The latest end of an event, in ns of the boot clock.
    pub end_max: u64,
    /// Wall clock minus boot clock for this chunk, in ns.
    pub wall_offset: i64,
    /// Why the chunk was compressed less than usual, if it was.
    pub pressure: Pressure,
    /// Rows and values, packed as in the file, since an index keeps one summary for every second of a capture.
    detail: Box<[u8]>,
}

/// The times in a chunk's summary, in ns of the boot clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventTimes {
    pub(crate) start_min: u64,
    pub(crate) end_min: u64,
    pub(crate) end_max: u64,
}

/// The summary as it is stored, without the field that was appended: the byte of [`Pressure`], which older files do not have.
#[derive(Encode, Decode)]
struct StoredSummary {
    start_min: u64,
    end_min: u64,
    end_max: u64,
    wall_offset: i64,
    detail: Vec<u8>,
}

impl ChunkSummary {
    pub(crate) fn new(times: EventTimes, wall_offset: i64, detail: Vec<u8>) -> Self {
        let EventTimes { start_min, end_min, end_max } = times;
        Self { start_min, end_min, end_max, wall_offset, pressure: Pressure::NONE, detail: detail.into() }
    }

    /// Rows of a table in this chunk, 0 if there are none.
    pub fn rows(&self, table: TableId) -> u32 {
        self.tables().find(|(id, _)| *id == table).map_or(0, |(_, rows)| rows)
    }

    /// The tables that have rows, with the number of rows.
    pub fn tables(&self) -> impl Iterator<Item = (TableId, u32)> {
        let mut cursor = Cursor::new(&self.detail, 0);
        let count = cursor.varint("tables").unwrap_or(0);
        (0..count).map_while(move |_| Some((table_id(&mut cursor).ok()?, cursor.varint("rows").ok()? as u32)))
    }

    /// The distinct values of a summary column, with their counts.
    pub fn values(&self, table: TableId, column: u16) -> SummaryValues<'_> {
        if self.rows(table) == 0 {
            return SummaryValues::Kept(SummaryIter::empty());
        }
        let mut found = SummaryValues::NotKept;
        // The summary was checked when it was made or read, so the walk does not fail.
        let _ = walk(&self.detail, 0, |id, c, values| {
            if id == table && c == column {
                found = values;
            }
        });
        found
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.detail.len()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let stored = StoredSummary {
            start_min: self.start_min,
            end_min: self.end_min,
            end_max: self.end_max,
            wall_offset: self.wall_offset,
            detail: self.detail.to_vec(),
        };
        let mut bytes = codec::encode("chunk summary", &stored)?;
        bytes.push(self.pressure.to_byte());
        Ok(bytes)
    }

    pub(crate) fn decode(offset: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        let (stored, appended): (StoredSummary, _) = codec::decode_front(offset, "chunk summary", bytes)?;
        walk(&stored.detail, offset, |_, _, _| {})?;
        let StoredSummary { start_min, end_min, end_max, wall_offset, detail } = stored;
        let pressure = appended.first().map_or(Pressure::NONE, |byte| Pressure::from_byte(*byte));
        let times = EventTimes { start_min, end_min, end_max };
        Ok(Self { pressure, ..Self::new(times, wall_offset, detail) })
    }
}

fn table_id(cursor: &mut Cursor<'_>) -> Result<TableId, FormatError> {
    Ok(TableId(cursor.count("table number", u16::MAX as usize)? as u16))
}

/// Checks all of `detail` and passes each column's values to `show`.
fn walk<'a>(
    detail: &'a [u8],
    offset: u64,
    mut show: impl FnMut(TableId, u16, SummaryValues<'a>),
) -> Result<(), FormatError> {
    let mut cursor = Cursor::new(detail, offset);
    for _ in 0..cursor.count("tables of a summary", MAX_TABLES)? {
        table_id(&mut cursor)?;
        cursor.count("rows of a table", MAX_ROWS)?;
    }
    for _ in 0..cursor.count("columns of a summary", MAX_TABLES * MAX_COLUMNS)? {
        let table = table_id(&mut cursor)?;
        let column = cursor.count("column number", MAX_COLUMNS)? as u16;
        let kind = cursor.byte()?;
        if kind == KIND_TOO_MANY {
            show(table, column, SummaryValues::TooMany);
            continue;
        }
        if kind != KIND_U64 && kind != KIND_BYTES {
            return Err(FormatError::invalid(offset, "kind of summary", "0, 1 or 2", kind.into()));
        }
        let left = cursor.count("values of a summary column", MAX_SUMMARY_VALUES)?;
        let values = SummaryIter { cursor: cursor.clone(), left, kind, previous: 0 };
        let mut checked = values.clone();
        while checked.try_next()?.is_some() {}
        cursor = checked.cursor;
        show(table, column, SummaryValues::Kept(values));
    }
    cursor.end("chunk summary")
}
