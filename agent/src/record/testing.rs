//! The recorder without a kernel, for unit tests and for `benches/record_path.rs`: ring buffers in memory, and the
//! path from their bytes to encoded chunks. Not an interface for anything else.

use std::sync::Arc;

use agent_ebpf::records::cpu::{IDENTITY_WORDS, SWITCH_WORDS, SwitchWords, shape, sort, word};
use capture_format::{ChunkBuilder, EncodeOptions, EncodedBlock, Encoder, FormatError, Schema};
use events::KINDS;

use super::cgroups::Cgroups;
pub use super::decode::{Plain, bytes_of};
use super::merge::{Flow, Merge, Pass, Record};
use super::processes::Processes;
use super::rows::{RowWriter, Scope};
use super::source::{RecordSource, Sources};
use crate::containers::{ContainerFilter, Hierarchy};

/// Bytes before each record: its length, and padding, as in the kernel's ring buffers.
const RECORD_HEADER: usize = 8;

/// A ring buffer in memory.
#[derive(Debug)]
pub struct MemoryRing {
    data: Vec<u8>,
    position: usize,
    released: usize,
    size: usize,
    busy: bool,
}

impl MemoryRing {
    /// An empty one of `size` bytes.
    pub fn new(size: usize) -> Self {
        Self { data: Vec::new(), position: 0, released: 0, size, busy: false }
    }

    /// Adds a record. False if there is no room until records are read and released.
    pub fn push(&mut self, record: &[u8]) -> bool {
        if self.released == self.data.len() {
            self.data.clear();
            (self.position, self.released) = (0, 0);
        }
        let len = RECORD_HEADER + record.len().next_multiple_of(8);
        let fits = self.data.len() - self.released + len <= self.size;
        if fits {
            let end = self.data.len() + len;
            self.data.extend_from_slice(&(record.len() as u64).to_ne_bytes());
            self.data.extend_from_slice(record);
            self.data.resize(end, 0);
        }
        fits
    }

    /// While it is busy, the first record that was not read is unfinished.
    pub fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// All records are there again.
    pub fn rewind(&mut self) {
        (self.position, self.released) = (0, 0);
    }
}

impl RecordSource for MemoryRing {
    #[inline]
    fn peek(&mut self) -> Option<&[u8]> {
        if self.busy {
            return None;
        }
        let header = self.data.get(self.position..)?.first_chunk::<RECORD_HEADER>()?;
        let start = self.position + RECORD_HEADER;
        self.data.get(start..start + u64::from_ne_bytes(*header) as usize)
    }

    #[inline]
    fn advance(&mut self, len: usize) {
        self.position += RECORD_HEADER + len.next_multiple_of(8);
    }

    #[inline]
    fn release(&mut self) {
        self.released = self.position;
    }

    #[inline]
    fn unreleased(&self) -> u64 {
        (self.position - self.released) as u64
    }

    fn backlog(&self) -> u64 {
        (self.data.len() - self.position) as u64
    }

    #[inline]
    fn size(&self) -> u64 {
        self.size as u64
    }
}

/// A call as a CPU's own ring buffer has it.
#[derive(Clone, Debug, Default)]
pub struct CallWords<'a> {
    /// One of [`sort`](agent_ebpf::records::cpu::sort).
    pub sort: u32,
    /// When it returned, ns.
    pub time: u64,
    /// How long it took, ns.
    pub dur: u64,
    /// Its result.
    pub ret: i64,
    /// Its key.
    pub key: u32,
    /// Arguments: six if there are strings.
    pub args: &'a [u64],
    /// Strings, if the record has any.
    pub strings: Option<[&'a [u8]; 2]>,
    /// Bits of [`events::flags`], stored with strings only.
    pub flags: u32,
    /// Ids of files. Without strings, only those that are not 0 are stored.
    pub files: [u64; 2],
}

impl CallWords<'_> {
    /// The bytes of the record.
    pub fn record(&self) -> Vec<u8> {
        let mut words = vec![self.time, 0, self.ret as u64];
        words.extend(self.args);
        if self.strings.is_none() {
            words.extend(self.files.iter().filter(|id| **id != 0));
        }
        if let Some(strings) = self.strings {
            words.resize(word::LENGTHS, 0);
            let [first, second] = strings.map(|text| text.len() as u64);
            words.push(first | second << 16 | u64::from(self.flags) << 32);
            words.push(self.dur);
            words.extend(self.files);
            for text in strings {
                let mut bytes = text.to_vec();
                bytes.resize(bytes.len().next_multiple_of(8), 0xaa);
                let (chunks, _) = bytes.as_chunks();
                words.extend(chunks.iter().map(|chunk| u64::from_ne_bytes(*chunk)));
            }
        }
        let shape = u64::from(shape::of(self.sort, self.key, words.len() as u32)) << 32;
        words[word::SHAPE] = shape | self.dur & 0xffff_ffff;
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}

/// The record of a thread whose calls follow.
pub fn identity_record(time: u64, cgroup: u64, [pid, tid]: [u32; 2], uid: u32) -> Vec<u8> {
    let shape = u64::from(shape::of(sort::IDENTITY, 0, IDENTITY_WORDS)) << 32 | u64::from(uid);
    let ids = u64::from(pid) | u64::from(tid) << 32;
    [time, shape, cgroup, ids].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// The record of a context switch.
pub fn switch_record(time: u64, switch: &SwitchWords) -> Vec<u8> {
    let shape = u64::from(shape::of(sort::SWITCH, 0, SWITCH_WORDS)) << 32;
    [&time.to_ne_bytes(), &shape.to_ne_bytes(), bytes_of(switch)].concat()
}

/// A hierarchy that is not mounted: all its cgroups come from records.
pub fn no_hierarchy() -> Hierarchy {
    Hierarchy {
        name: "v2".to_owned(),
        subsys: None,
        number: 0,
        mount: "/nonexistent".into(),
        root: b"/".to_vec(),
        initial_namespace: true,
        hybrid: false,
    }
}

/// Which ring buffers of a CPU a record is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingSort {
    /// Its own ring buffer.
    Cpu,
    /// The event ring buffer.
    Events,
    /// The lifecycle ring buffer.
    Lifecycle,
}

/// The path from the bytes of ring buffers to encoded chunks, stage by stage.
pub struct RecordPath {
    schema: Arc<Schema>,
    cpus: usize,
    merge: Merge<MemoryRing>,
    rows: RowWriter,
    builder: ChunkBuilder,
    encoder: Encoder,
}

impl RecordPath {
    /// For this many CPUs, with ring buffers of `ring_bytes` each and a level of zstd. Records of all kinds are written.
    ///
    /// # Errors
    /// zstd cannot be started.
    pub fn new(cpus: usize, ring_bytes: usize, level: i32) -> Result<Self, FormatError> {
        let schema = Arc::new(ktape_reader::model::schema());
        let rings = || (0..cpus).map(|_| MemoryRing::new(ring_bytes)).collect();
        let merge = Merge::new(Sources { cpus: rings(), events: rings(), lifecycle: rings() });
        Ok(Self {
            rows: new_rows(&schema),
            builder: ChunkBuilder::new(schema.clone()),
            encoder: Encoder::new(EncodeOptions { level, ..EncodeOptions::default() })?,
            schema,
            cpus,
            merge,
        })
    }

    /// Puts a record into a ring buffer. False if there is no room.
    pub fn push(&mut self, cpu: usize, sort: RingSort, record: &[u8]) -> bool {
        if sort == RingSort::Cpu {
            return self.merge.cpu_mut(cpu).push(record);
        }
        let (events, lifecycle) = self.merge.sources_mut();
        let rings = if sort == RingSort::Events { events } else { lifecycle };
        rings[cpu].push(record)
    }

    /// Begins a new recording with the same records in its ring buffers.
    pub fn rewind(&mut self) {
        (0..self.cpus).for_each(|cpu| self.merge.cpu_mut(cpu).rewind());
        let (events, lifecycle) = self.merge.sources_mut();
        events.iter_mut().chain(lifecycle).for_each(MemoryRing::rewind);
        self.rows = new_rows(&self.schema);
        self.builder.clear();
    }

    /// First stage: merges all records, decodes them and writes their rows. Returns how many events were written.
    pub fn fill(&mut self) -> u64 {
        let Self { merge, rows, builder, .. } = self;
        merge.pull_lifecycle();
        let pass = merge.pass(u64::MAX, |record| {
            match record {
                Record::Cpu(stream, record) => rows.add_of_cpu(builder, stream, record),
                Record::Whole(record) => rows.add(builder, record),
            }
            Flow::Go
        });
        debug_assert_eq!(pass, Pass::Done);
        rows.events()
    }

    /// Second stage: encodes and compresses the chunk.
    ///
    /// # Errors
    /// It has too many rows.
    pub fn encode(&mut self) -> Result<EncodedBlock, FormatError> {
        self.encoder.encode(&self.builder)
    }

    /// Records that could not be decoded.
    pub fn damaged(&self) -> u64 {
        self.rows.damaged()
    }
}

fn new_rows(schema: &Arc<Schema>) -> RowWriter {
    let cgroups = Cgroups::none(no_hierarchy(), ContainerFilter::default());
    RowWriter::new(schema, Processes::new(false), cgroups, Scope::new(&KINDS, None))
}

#[cfg(test)]
pub(super) use view::*;

/// What is in a chunk, for assertions.
#[cfg(test)]
mod view {
    use std::sync::Arc;

    use capture_format::{Chunk, ChunkBuilder, Header};
    use events::{Kind, flags};
    use ktape_reader::model::{Binding, ChunkView, Rows, column, testing};

    /// An event, as a reader sees it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct SeenEvent {
        pub kind: Kind,
        pub time: u64,
        pub pid: u64,
        pub late: bool,
    }

    /// A loss row, as a reader sees it.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct SeenLoss {
        pub stage: String,
        pub kind: Option<Kind>,
        /// 0 if unknown.
        pub cgroup: u64,
        pub cpu: Option<u64>,
        pub count: u64,
        pub from: u64,
        pub to: u64,
    }

    /// A chunk, opened.
    pub(crate) struct SeenChunk {
        chunk: Chunk,
        binding: Binding,
    }

    impl SeenChunk {
        pub(crate) fn new(builder: ChunkBuilder) -> Self {
            let schema = builder.schema().clone();
            let header = Header { schema, ..testing::header(1) };
            Self { chunk: Chunk::from_builder(builder).unwrap(), binding: Binding::new(Arc::new(header)) }
        }

        pub(crate) fn view(&self) -> ChunkView<'_> {
            ChunkView::open(&self.chunk, &self.binding).unwrap()
        }

        /// The wall clock minus the boot clock, ns.
        pub(crate) fn wall_offset(&self) -> i64 {
            self.chunk.summary().wall_offset
        }

        /// All events but losses and clocks, in the order of their tables and rows.
        pub(crate) fn events(&self) -> Vec<SeenEvent> {
            let view = self.view();
            let mut events = Vec::new();
            for rows in view.tables() {
                let kind = rows.event.kind.unwrap();
                if matches!(kind, Kind::Loss | Kind::Clock) {
                    continue;
                }
                for row in 0..rows.len() {
                    let process = rows.task(row).and_then(|task| view.process_of(task));
                    events.push(SeenEvent {
                        kind,
                        time: rows.end(row),
                        pid: process.map_or(0, |process| view.process(process).pid),
                        late: rows.flags(row) & flags::LATE != 0,
                    });
                }
            }
            events
        }

        /// Times of the events of one kind, in the order of their rows.
        pub(crate) fn times(&self, kind: Kind) -> Vec<u64> {
            self.events().into_iter().filter(|event| event.kind == kind).map(|event| event.time).collect()
        }

        /// Losses, sorted.
        pub(crate) fn losses(&self) -> Vec<SeenLoss> {
            let view = self.view();
            let mut losses = Vec::new();
            for (rows, row) in rows_of(&view, Kind::Loss) {
                let number = |name| rows.number(column(Kind::Loss, name), row).unwrap();
                let cgroup = rows.reference(column(Kind::Loss, "cgroup"), row).unwrap();
                let stage = rows.bytes(column(Kind::Loss, "stage"), row).unwrap();
                losses.push(SeenLoss {
                    stage: String::from_utf8(stage.to_vec()).unwrap(),
                    kind: Kind::from_number(number("kind") as u8),
                    cgroup: view.cgroup(cgroup).id,
                    cpu: rows.cpu(row),
                    count: number("count"),
                    from: number("from"),
                    to: rows.end(row),
                });
            }
            losses.sort();
            losses
        }

        /// Steps of the wall clock, ns: the first clock row of a recording is one of 0.
        pub(crate) fn clock_steps(&self) -> Vec<i64> {
            let view = self.view();
            rows_of(&view, Kind::Clock)
                .map(|(rows, row)| rows.signed(column(Kind::Clock, "step"), row).unwrap())
                .collect()
        }

        /// A number of a column, for each event of a kind.
        pub(crate) fn numbers(&self, kind: Kind, name: &str) -> Vec<u64> {
            let view = self.view();
            rows_of(&view, kind).map(|(rows, row)| rows.number(column(kind, name), row).unwrap()).collect()
        }

        /// A text of a column, for each event of a kind.
        pub(crate) fn texts(&self, kind: Kind, name: &str) -> Vec<String> {
            let view = self.view();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            rows_of(&view, kind)
                .map(|(rows, row)| text(rows.bytes(column(kind, name), row).unwrap()))
                .collect()
        }
    }

    /// The rows of a kind.
    pub(crate) fn rows_of<'v, 'c>(
        view: &'v ChunkView<'c>,
        kind: Kind,
    ) -> impl Iterator<Item = (&'v Rows<'c>, usize)> {
        let tables = view.tables().filter(move |rows| rows.event.kind == Some(kind));
        tables.flat_map(|rows| (0..rows.len()).map(move |row| (rows, row)))
    }
}
