//! From a filled chunk to the bytes of its block.

use std::collections::HashMap;

use crate::{
    block::{self, BlockKind},
    builder::{ChunkBuilder, ColumnBuilder, wrong_builder},
    column_type::{ColumnType, TableId},
    decode::{LIST_GROUPED, LIST_PLAIN},
    error::FormatError,
    group::{Distinct, Groups},
    limits::{MAX_BODY, MAX_FRAME, MAX_SUMMARY},
    pressure::Pressure,
    schema::TableSchema,
    stream::{self, StreamEncoder},
    summarize,
    summary::ChunkSummary,
    varint::put,
};

/// How list columns are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColumnLayout {
    /// Position by position over all rows.
    Plain,
    /// Position by position over the rows of each key.
    #[default]
    Grouped,
}

/// How to encode chunks.
#[derive(Clone, Copy, Debug)]
pub struct EncodeOptions {
    /// The zstd level, 1 to 22.
    pub level: i32,
    /// How list columns are stored.
    pub layout: ColumnLayout,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { level: 3, layout: ColumnLayout::Grouped }
    }
}

/// The zstd level of chunks that are compressed less.
const REDUCED_LEVEL: i32 = -5;

/// The size of a column in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnSize {
    /// The table, `None` for the strings of the chunk.
    pub table: Option<TableId>,
    /// The column's index (of the strings: 0 the lengths, 1 the bytes).
    pub column: u16,
    /// Rows of the table (for strings: how many there are).
    pub rows: u32,
    /// Bytes before zstd.
    pub encoded: u32,
    /// Bytes of its own frame; 0 if it is in frame 0.
    pub packed: u32,
}

/// The block of a chunk, ready to be written.
#[derive(Debug)]
pub struct EncodedBlock {
    pub(crate) block: Vec<u8>,
    /// The chunk's summary.
    pub summary: ChunkSummary,
    /// The size of each column.
    pub columns: Vec<ColumnSize>,
}

impl EncodedBlock {
    /// Bytes that the block takes in the file.
    pub fn size(&self) -> usize {
        self.block.len()
    }
}

/// Columns of at most this many encoded bytes are stored together in frame 0. A frame of its own costs approximately 20 bytes
/// and cannot refer to repeated bytes of its neighbours.
const INLINE_MAX: usize = 1024;

/// Columns of fewer rows are not grouped.
const MIN_GROUPED_ROWS: usize = 64;
/// What was smaller is remembered of columns with at least this many rows; fewer are cheap to try, and are no measure.
const MIN_CHOICE_ROWS: usize = 4096;
/// For how many chunks it is remembered.
const CHOICE_CHUNKS: u8 = 15;

/// Whether a column was smaller in groups when both ways were last tried.
#[derive(Clone, Copy, Debug)]
struct Choice {
    grouped: bool,
    /// For how many more chunks this is used.
    chunks: u8,
}

/// Encodes chunks and keeps its scratch memory between them. Use one for each thread that encodes.
pub struct Encoder {
    options: EncodeOptions,
    /// Why the chunk at hand is compressed less, if it is.
    pressure: Pressure,
    zstd: zstd::bulk::Compressor<'static>,
    streams: StreamEncoder,
    distinct: Distinct,
    /// The rows of the current table, grouped by this key column.
    groups: Option<(u16, Groups)>,
    choices: HashMap<(TableId, u16), Choice>,
    /// The current column, encoded.
    column: Vec<u8>,
    /// The same column in the grouped encoding, for comparison.
    grouped: Vec<u8>,
    wide: Vec<u64>,
    references: Vec<u64>,
    having: Vec<u32>,
    /// Frame 0 before compression.
    first: Vec<u8>,
    /// All other frames, compressed.
    frames: Vec<u8>,
    sizes: Vec<ColumnSize>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Encoder {
    /// Creates an encoder.
    ///
    /// # Errors
    /// [`FormatError::Io`] if zstd does not accept the level or cannot allocate memory.
    pub fn new(options: EncodeOptions) -> Result<Self, FormatError> {
        Ok(Self {
            options,
            pressure: Pressure::NONE,
            zstd: zstd::bulk::Compressor::new(options.level).map_err(FormatError::io("start zstd"))?,
            streams: StreamEncoder::default(),
            distinct: Distinct::default(),
            groups: None,
            choices: HashMap::new(),
            column: Vec::new(),
            grouped: Vec::new(),
            wide: Vec::new(),
            references: Vec::new(),
            having: Vec::new(),
            first: Vec::new(),
            frames: Vec::new(),
            sizes: Vec::new(),
        })
    }

    /// Sets whether the following chunks are compressed less, and why: without dictionaries, and with a low zstd level.
    /// `docs/format.md` has the figures (section 13).
    ///
    /// # Errors
    /// [`FormatError::Io`] if zstd does not accept the level.
    pub fn set_pressure(&mut self, pressure: Pressure) -> Result<(), FormatError> {
        if pressure.is_none() != self.pressure.is_none() {
            let level = self.options.level;
            let level = if pressure.is_none() { level } else { level.min(REDUCED_LEVEL) };
            self.zstd.set_compression_level(level).map_err(FormatError::io("set the level of zstd"))?;
            self.streams.dictionaries = pressure.is_none();
            if pressure.is_none() {
                // They were made without dictionaries.
                self.choices.clear();
            }
        }
        self.pressure = pressure;
        Ok(())
    }

    /// Encodes a chunk. The builder keeps its content; [`ChunkBuilder::clear`] prepares it for the next chunk.
    ///
    /// # Errors
    /// [`FormatError::Column`] if a column does not have one value for each row, or a reference or string number is out of
    /// range; [`FormatError::Limit`] if the chunk is too large; [`FormatError::Io`] if zstd fails.
    pub fn encode(&mut self, builder: &ChunkBuilder) -> Result<EncodedBlock, FormatError> {
        summarize::check(builder)?;
        let mut summary = summarize::summarize(builder);
        summary.pressure = self.pressure;
        self.first.clear();
        self.frames.clear();
        self.sizes.clear();
        self.strings(builder)?;
        let filled: Vec<usize> = (0..builder.tables.len()).filter(|&i| builder.rows_at(i) > 0).collect();
        put(&mut self.first, filled.len() as u64);
        for i in filled {
            let schema = &builder.schema.tables()[i];
            put(&mut self.first, schema.id.0.into());
            put(&mut self.first, builder.rows_at(i).into());
            let columns = &builder.tables[i].columns;
            self.groups = None;
            for c in 0..columns.len() {
                self.column(schema, columns, c);
                self.store(Some(schema.id), c, builder.rows_at(i))?;
            }
        }
        self.finish(summary)
    }

    fn strings(&mut self, builder: &ChunkBuilder) -> Result<(), FormatError> {
        let ends = builder.strings.ends();
        put(&mut self.first, ends.len() as u64);
        self.wide.clear();
        let mut previous = 0;
        self.wide.extend(ends.iter().map(|&end| u64::from(end - std::mem::replace(&mut previous, end))));
        self.column.clear();
        self.streams.encode(&self.wide, &mut self.column);
        self.store(None, 0, ends.len() as u32)?;
        self.column.clear();
        self.column.extend_from_slice(builder.strings.arena());
        self.store(None, 1, ends.len() as u32)
    }

    /// Encodes a column into `self.column`.
    fn column(&mut self, schema: &TableSchema, columns: &[ColumnBuilder], c: usize) {
        self.column.clear();
        let keys = |key: u16| match &columns[key as usize] {
            ColumnBuilder::U64(keys) => keys.as_slice(),
            ColumnBuilder::U32(_) | ColumnBuilder::ListU64 { .. } | ColumnBuilder::ListU32 { .. } => {
                wrong_builder(ColumnType::U64)
            }
        };
        match (&columns[c], schema.columns[c].ty) {
            (ColumnBuilder::U64(values), ColumnType::U64 | ColumnType::I64) => {
                let other = |key: &u16| *key as usize != c && schema.time != Some(c as u16);
                match schema.key().filter(other) {
                    Some(key) => self.plain_or_grouped((schema.id, c as u16), key, keys(key), values),
                    None => self.streams.encode(values, &mut self.column),
                }
            }
            // References that follow the key are about the call, as what its descriptors stand for; those before it are not.
            (ColumnBuilder::U32(values), ColumnType::Ref(_))
                if schema.key().is_some_and(|key| c > key.into()) =>
            {
                let mut rows = std::mem::take(&mut self.references);
                rows.clear();
                rows.extend(values.iter().map(|&v| u64::from(v)));
                if let Some(key) = schema.key() {
                    self.plain_or_grouped((schema.id, c as u16), key, keys(key), &rows);
                }
                self.references = rows;
            }
            (ColumnBuilder::U32(values), ColumnType::Bytes | ColumnType::Ref(_)) => {
                self.wide.clear();
                self.wide.extend(values.iter().map(|&v| u64::from(v)));
                self.streams.encode(&self.wide, &mut self.column);
            }
            (ColumnBuilder::ListU64 { ends, values }, ColumnType::U64List { key }) => {
                self.list(key, keys(key), ends, |i| values[i]);
            }
            (ColumnBuilder::ListU32 { ends, values }, ColumnType::BytesList { key }) => {
                self.list(key, keys(key), ends, |i| values[i].into());
            }
            (_, ty) => wrong_builder(ty),
        }
    }

    /// The rows grouped by their key, computed once for all columns of the table that need them.
    fn take_groups(&mut self, key: u16, keys: &[u64]) -> Groups {
        match self.groups.take() {
            Some((k, groups)) if k == key => groups,
            _ => Groups::new(keys, &mut self.distinct),
        }
    }

    /// Encodes a column in one piece or group by group, whichever was smaller when both were last tried: columns of one
    /// kind are alike from chunk to chunk.
    fn plain_or_grouped(&mut self, column: (TableId, u16), key: u16, keys: &[u64], values: &[u64]) {
        if self.options.layout == ColumnLayout::Plain || values.len() < MIN_GROUPED_ROWS {
            return self.streams.encode(values, &mut self.column);
        }
        match self.choices.get_mut(&column) {
            Some(choice) if choice.chunks > 0 => {
                choice.chunks -= 1;
                if choice.grouped {
                    self.grouped(key, keys, values);
                    std::mem::swap(&mut self.grouped, &mut self.column);
                } else {
                    self.streams.encode(values, &mut self.column);
                }
            }
            _ => {
                let grouped = self.try_both(key, keys, values);
                if values.len() >= MIN_CHOICE_ROWS {
                    self.choices.insert(column, Choice { grouped, chunks: CHOICE_CHUNKS });
                }
            }
        }
    }

    /// Encodes a column in both ways and keeps the grouped encoding unless it is larger; returns whether it did. At equal
    /// size it compresses better, since similar values are next to each other.
    fn try_both(&mut self, key: u16, keys: &[u64], values: &[u64]) -> bool {
        self.streams.encode(values, &mut self.column);
        // Of one byte per value groups save nothing, and they would break runs of equal values.
        if self.column.len() <= values.len() + values.len() / 2 {
            return false;
        }
        self.grouped(key, keys, values);
        let smaller = self.grouped.len() <= self.column.len() + self.column.len() / 64;
        if smaller {
            std::mem::swap(&mut self.grouped, &mut self.column);
        }
        smaller
    }

    /// Encodes a column group by group into `self.grouped`.
    fn grouped(&mut self, key: u16, keys: &[u64], values: &[u64]) {
        let groups = self.take_groups(key, keys);
        self.grouped.clear();
        self.grouped.push(stream::GROUPED);
        for rows in groups.iter() {
            self.wide.clear();
            self.wide.extend(rows.iter().map(|&row| values[row as usize]));
            self.streams.encode(&self.wide, &mut self.grouped);
        }
        self.groups = Some((key, groups));
    }

    fn list(&mut self, key: u16, keys: &[u64], ends: &[u32], value: impl Fn(usize) -> u64) {
        let groups = match self.options.layout {
            ColumnLayout::Plain => Groups::single(keys.len()),
            ColumnLayout::Grouped => self.take_groups(key, keys),
        };
        self.column.push(match self.options.layout {
            ColumnLayout::Plain => LIST_PLAIN,
            ColumnLayout::Grouped => LIST_GROUPED,
        });
        let start = |row: u32| if row == 0 { 0 } else { ends[row as usize - 1] };
        let len = |row: u32| ends[row as usize] - start(row);
        let mut longest = Vec::new();
        for rows in groups.iter() {
            let first = len(rows[0]);
            if rows.iter().all(|&row| len(row) == first) {
                put(&mut self.column, u64::from(first) + 1);
                longest.push((first, true));
                continue;
            }
            put(&mut self.column, 0);
            self.wide.clear();
            self.wide.extend(rows.iter().map(|&row| u64::from(len(row))));
            longest.push((self.wide.iter().copied().max().unwrap_or(0) as u32, false));
            self.streams.encode(&self.wide, &mut self.column);
        }
        for (rows, (longest, same)) in groups.iter().zip(longest) {
            for position in 0..longest {
                self.wide.clear();
                let at = |row: u32| value((start(row) + position) as usize);
                if same {
                    self.wide.extend(rows.iter().map(|&row| at(row)));
                } else {
                    self.having.clear();
                    self.having.extend(rows.iter().copied().filter(|&row| len(row) > position));
                    self.wide.extend(self.having.iter().map(|&row| at(row)));
                }
                self.streams.encode(&self.wide, &mut self.column);
            }
        }
        if self.options.layout == ColumnLayout::Grouped {
            self.groups = Some((key, groups));
        }
    }

    /// Stores the encoded column in frame 0 or in a frame of its own.
    fn store(&mut self, table: Option<TableId>, column: usize, rows: u32) -> Result<(), FormatError> {
        let encoded = self.column.len();
        let mut packed = 0;
        if encoded <= INLINE_MAX {
            put(&mut self.first, (encoded as u64) << 1);
            self.first.extend_from_slice(&self.column);
        } else {
            FormatError::limit(None, "length of a frame", encoded as u64, MAX_FRAME as u64)?;
            packed = self.compress(FrameOf::Column)?;
            put(&mut self.first, (encoded as u64) << 1 | 1);
            put(&mut self.first, packed as u64);
        }
        self.sizes.push(ColumnSize {
            table,
            column: column as u16,
            rows,
            encoded: encoded as u32,
            packed: packed as u32,
        });
        Ok(())
    }

    /// Compresses to the end of `self.frames`; returns the number of bytes added.
    fn compress(&mut self, what: FrameOf) -> Result<usize, FormatError> {
        let source = match what {
            FrameOf::Column => &self.column,
            FrameOf::First => &self.first,
        };
        let start = self.frames.len();
        self.frames.resize(start + zstd::zstd_safe::compress_bound(source.len()), 0);
        let len = self
            .zstd
            .compress_to_buffer(source, &mut self.frames[start..])
            .map_err(FormatError::io("compress a frame"))?;
        self.frames.truncate(start + len);
        Ok(len)
    }

    fn finish(&mut self, summary: ChunkSummary) -> Result<EncodedBlock, FormatError> {
        let summary_bytes = summary.encode()?;
        FormatError::limit(
            None,
            "length of a chunk's summary",
            summary_bytes.len() as u64,
            MAX_SUMMARY as u64,
        )?;
        FormatError::limit(None, "length of frame 0", self.first.len() as u64, MAX_FRAME as u64)?;
        let frames = self.frames.len();
        let packed = self.compress(FrameOf::First)?;
        let mut head = Vec::with_capacity(20);
        put(&mut head, self.first.len() as u64);
        put(&mut head, packed as u64);
        let (others, first) = self.frames.split_at(frames);
        let body_len = head.len() + first.len() + others.len();
        FormatError::limit(None, "length of a chunk's body", body_len as u64, MAX_BODY as u64)?;
        let block = block::build(BlockKind::Chunk, &summary_bytes, &[&head, first, others]);
        Ok(EncodedBlock { block, summary, columns: self.sizes.clone() })
    }
}

#[derive(Clone, Copy)]
enum FrameOf {
    Column,
    First,
}
