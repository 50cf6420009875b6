//! A chunk opened by kinds and columns instead of numbers.

use std::cell::OnceCell;

use capture_format::{Chunk, FormatError, StrId, TableView};
use events::flags;
use events::{CPU_UNKNOWN, KIND_COUNT, KINDS, Kind};

use super::binding::{Binding, EventTable};
use super::dict_rows::{CgroupRow, Dict, FileRow};
use super::dictionaries::{CGROUP, FILE, PROCESS, TASK, dict_column};
use super::schema::{cgroup_column, column};

/// [`cgroup_column`] of each kind, by [`events::Kind::index`].
const CGROUP_COLUMNS: [Option<u16>; KIND_COUNT] = {
    let mut columns = [None; KIND_COUNT];
    let mut i = 0;
    while i < KIND_COUNT {
        columns[i] = cgroup_column(KINDS[i]);
        i += 1;
    }
    columns
};

/// The columns that only syscalls have, stalls in one, and requests of io_uring. Each is decoded when it is first used; one
/// that the file lacks is empty.
#[derive(Clone, Copy, Debug)]
pub struct CallColumns<'c> {
    table: TableView<'c>,
    nr: Option<u16>,
    ret: Option<u16>,
    args: Option<u16>,
    strs: Option<u16>,
    files: [Option<u16>; 2],
}

/// What is known of a string argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallString<'c> {
    /// The pointer was null.
    Null,
    /// The kernel side could not read it, or did not try.
    Unread,
    /// The recorder does not read this one.
    NotRecorded,
    /// Its bytes.
    Read {
        /// What was kept.
        bytes: &'c [u8],
        /// There was more.
        cut: bool,
        /// The kernel may have used another one.
        uncertain: bool,
    },
}

impl<'c> CallColumns<'c> {
    /// The columns of a table.
    pub fn new(rows: &Rows<'c>) -> Self {
        const NONE: u16 = u16::MAX;
        const SYSCALL: [u16; 6] = [
            column(Kind::Syscall, "nr"),
            column(Kind::Syscall, "ret"),
            column(Kind::Syscall, "args"),
            column(Kind::Syscall, "strs"),
            column(Kind::Syscall, "file"),
            column(Kind::Syscall, "file2"),
        ];
        const STALL: [u16; 6] = [
            column(Kind::Stall, "nr"),
            NONE,
            column(Kind::Stall, "args"),
            column(Kind::Stall, "strs"),
            column(Kind::Stall, "file"),
            column(Kind::Stall, "file2"),
        ];
        const URING: [u16; 6] = [
            column(Kind::Uring, "call"),
            column(Kind::Uring, "result"),
            column(Kind::Uring, "args"),
            column(Kind::Uring, "strs"),
            column(Kind::Uring, "file"),
            column(Kind::Uring, "file2"),
        ];
        const THREAD_STATE: [u16; 6] = [
            column(Kind::ThreadState, "call"),
            NONE,
            column(Kind::ThreadState, "args"),
            column(Kind::ThreadState, "strs"),
            column(Kind::ThreadState, "file"),
            column(Kind::ThreadState, "file2"),
        ];
        let own = match (rows.event.field_owner(), rows.event.kind) {
            (Some(Kind::Stall), _) => STALL,
            (_, Some(Kind::Uring)) => URING,
            (_, Some(Kind::ThreadState)) => THREAD_STATE,
            (_, Some(Kind::Syscall)) => SYSCALL,
            _ => [NONE; 6],
        };
        let [nr, ret, args, strs, file, file2] =
            own.map(|own| if own == NONE { None } else { rows.event.known(own) });
        Self { table: rows.table, nr, ret, args, strs, files: [file, file2] }
    }

    /// Which call ([`events::syscall_key`]), of all rows.
    #[inline]
    pub fn keys(&self) -> &'c [u64] {
        self.nr.and_then(|column| self.table.u64(column).ok()).unwrap_or(&[])
    }

    /// The results of all rows.
    #[inline]
    pub fn results(&self) -> &'c [i64] {
        self.ret.and_then(|column| self.table.i64(column).ok()).unwrap_or(&[])
    }

    /// What the descriptors of all rows stand for, by their slot (0 or 1): rows of the file dictionary.
    #[inline]
    pub fn files(&self, slot: usize) -> &'c [u32] {
        let column = self.files.get(slot).copied().flatten();
        column.and_then(|column| self.table.refs(column).ok()).unwrap_or(&[])
    }

    /// The strings of a row.
    #[inline]
    pub fn strings(&self, row: usize) -> &'c [StrId] {
        let list = self.strs.and_then(|column| self.table.list_bytes(column).ok());
        list.map_or(&[], |list| list.get(row))
    }

    /// The key of a row's call.
    #[inline]
    pub fn key(&self, row: usize) -> u64 {
        self.keys().get(row).copied().unwrap_or(u64::MAX)
    }

    /// The arguments of a row.
    #[inline]
    pub fn args(&self, row: usize) -> &'c [u64] {
        let list = self.args.and_then(|column| self.table.list_u64(column).ok());
        list.map_or(&[], |list| list.get(row))
    }

    /// Whether the path in a slot (0 or 1) that belongs to the argument at `position` is empty or missing.
    pub fn is_empty_path(&self, rows: &Rows<'c>, row: usize, slot: u8, position: usize) -> bool {
        let unread = if slot == 0 { flags::STR0_UNREAD } else { flags::STR1_UNREAD };
        match self.strings(row).get(usize::from(slot)) {
            // That of a null pointer is marked as one that could not be read.
            Some(id) if rows.flags(row) & unread == 0 => rows.table.chunk().str(*id).is_empty(),
            _ => self.args(row).get(position) == Some(&0),
        }
    }

    /// The string in a slot (0 to 2) that belongs to the argument at `position`.
    pub fn string(&self, rows: &Rows<'c>, row: usize, slot: u8, position: usize) -> CallString<'c> {
        let bits = rows.flags(row);
        let ids = self.strings(row);
        // Arguments are decoded only where a null pointer is possible.
        let is_there = ids.get(usize::from(slot)).is_some_and(|id| !rows.table.chunk().str(*id).is_empty());
        if !is_there && self.args(row).get(position) == Some(&0) {
            return CallString::Null;
        }
        // The third string is read with the second one, if that is whole.
        let is_third_read = || ids.get(2).is_some_and(|id| !rows.table.chunk().str(*id).is_empty());
        let (unread, cut) = match slot {
            0 => (flags::STR0_UNREAD, flags::STR0_CUT),
            1 if is_third_read() => (flags::STR1_UNREAD, 0),
            _ => (flags::STR1_UNREAD, flags::STR1_CUT),
        };
        match ids.get(usize::from(slot)) {
            Some(id) if bits & unread == 0 => {
                let uncertain = bits & flags::STRINGS_UNCERTAIN != 0;
                CallString::Read { bytes: rows.table.chunk().str(*id), cut: bits & cut != 0, uncertain }
            }
            // Captures before 0.2 have two at most.
            None if slot >= 2 => CallString::NotRecorded,
            _ => CallString::Unread,
        }
    }
}

/// A container's id as it is mostly shown: the first 12 characters of 64 hexadecimal ones, other names
/// whole.
pub fn short_id(id: &[u8]) -> &[u8] {
    if id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit) { &id[..12] } else { id }
}

/// A chunk, opened.
#[derive(Debug)]
pub struct ChunkView<'c> {
    /// The chunk.
    pub chunk: &'c Chunk,
    /// Its segment.
    pub binding: &'c Binding,
    /// How many events the capture has before this chunk.
    pub first_number: u64,
    tables: Vec<Option<Rows<'c>>>,
    pub(super) processes: Dict<'c>,
    pub(super) tasks: Dict<'c>,
    cgroups: Dict<'c>,
    files: Dict<'c>,
    ranks: OnceCell<Vec<Vec<u32>>>,
}

/// An event table of a chunk, with the columns that every kind has: each is decoded when it is first used. A column that the
/// file lacks is empty, and so is one that is damaged ([`Chunk::failure`]).
#[derive(Clone, Copy, Debug)]
pub struct Rows<'c> {
    /// What the table is.
    pub event: &'c EventTable,
    /// Where it stands in [`Binding::events`].
    pub place: usize,
    /// The table.
    pub table: TableView<'c>,
}

impl<'c> Rows<'c> {
    #[inline]
    fn u64(&self, column: Option<u16>) -> &'c [u64] {
        column.and_then(|column| self.table.u64(column).ok()).unwrap_or(&[])
    }

    /// When events ended, boot clock ns.
    #[inline]
    pub fn times(&self) -> &'c [u64] {
        self.u64(self.event.time)
    }

    /// How long they took, ns.
    #[inline]
    pub fn durations(&self) -> &'c [u64] {
        self.u64(self.event.duration)
    }

    /// On which CPU.
    #[inline]
    pub fn cpus(&self) -> &'c [u64] {
        self.u64(self.event.known(1))
    }

    /// Rows of the task dictionary.
    #[inline]
    pub fn tasks(&self) -> &'c [u32] {
        self.event.known(2).and_then(|column| self.table.refs(column).ok()).unwrap_or(&[])
    }

    /// Bits of [`flags`].
    #[inline]
    pub fn all_flags(&self) -> &'c [u64] {
        self.u64(self.event.known(3))
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.table.rows()
    }

    /// Whether there are none; a table without rows is not opened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When an event ended, boot clock ns.
    #[inline]
    pub fn end(&self, row: usize) -> u64 {
        self.times().get(row).copied().unwrap_or(0)
    }

    /// When it started; when it ended, if that is all that is known.
    #[inline]
    pub fn start(&self, row: usize) -> u64 {
        self.end(row).saturating_sub(self.durations().get(row).copied().unwrap_or(0))
    }

    /// The record's flags.
    #[inline]
    pub fn flags(&self, row: usize) -> u32 {
        self.all_flags().get(row).copied().unwrap_or(0) as u32
    }

    /// The CPU that it ended on; `None` for what no CPU in particular did, such as a sample.
    #[inline]
    pub fn cpu(&self, row: usize) -> Option<u64> {
        self.cpus().get(row).copied().filter(|&cpu| cpu != CPU_UNKNOWN)
    }

    /// The row of its task.
    #[inline]
    pub fn task(&self, row: usize) -> Option<u32> {
        self.tasks().get(row).copied()
    }

    /// A number of one of the kind's own columns, by this version's index.
    pub fn number(&self, own: u16, row: usize) -> Option<u64> {
        self.table.u64(self.event.known(own)?).ok()?.get(row).copied()
    }

    /// A signed number, likewise.
    pub fn signed(&self, own: u16, row: usize) -> Option<i64> {
        self.table.i64(self.event.known(own)?).ok()?.get(row).copied()
    }

    /// A string, likewise.
    pub fn bytes(&self, own: u16, row: usize) -> Option<&'c [u8]> {
        let id = *self.table.bytes(self.event.known(own)?).ok()?.get(row)?;
        Some(self.table.chunk().str(id))
    }

    /// A row of a dictionary, likewise.
    pub fn reference(&self, own: u16, row: usize) -> Option<u32> {
        self.table.refs(self.event.known(own)?).ok()?.get(row).copied()
    }

    /// Decodes all columns, so that nothing is found damaged later.
    ///
    /// # Errors
    /// For the first column that is damaged.
    pub fn decode_all(&self) -> Result<(), FormatError> {
        self.event.columns.iter().try_for_each(|c| self.table.column(c.index).map(|_| ()))
    }
}

impl<'c> ChunkView<'c> {
    /// Opens a chunk. Decodes the dictionaries.
    ///
    /// # Errors
    /// If one of those is damaged.
    pub fn open(chunk: &'c Chunk, binding: &'c Binding) -> Result<Self, FormatError> {
        let tables = binding
            .events
            .iter()
            .enumerate()
            .map(|(place, event)| chunk.table(event.id).map(|table| Rows { event, place, table }))
            .collect();
        Ok(Self {
            chunk,
            binding,
            first_number: 0,
            tables,
            processes: Dict::new(chunk, binding, PROCESS)?,
            tasks: Dict::new(chunk, binding, TASK)?,
            cgroups: Dict::new(chunk, binding, CGROUP)?,
            files: Dict::new(chunk, binding, FILE)?,
            ranks: OnceCell::new(),
        })
    }

    /// The event tables that have rows.
    pub fn tables(&self) -> impl Iterator<Item = &Rows<'c>> {
        self.tables.iter().flatten()
    }

    /// The table at a place of [`Binding::events`], if it has rows.
    pub fn table(&self, place: usize) -> Option<&Rows<'c>> {
        self.tables.get(place)?.as_ref()
    }

    /// Boot clock to wall clock, ns since 1970.
    #[inline]
    pub fn wall(&self, boot: u64) -> i64 {
        (boot as i64).saturating_add(self.chunk.summary().wall_offset)
    }

    /// How many tasks the chunk knows.
    pub fn task_rows(&self) -> usize {
        self.tasks.rows
    }

    /// How many processes the chunk knows.
    pub fn process_rows(&self) -> usize {
        self.processes.rows
    }

    /// How many cgroups the chunk knows.
    pub fn cgroup_rows(&self) -> usize {
        self.cgroups.rows
    }

    /// How many files the chunk knows.
    pub fn file_rows(&self) -> usize {
        self.files.rows
    }

    /// A row of the cgroup dictionary.
    pub fn cgroup(&self, row: u32) -> CgroupRow<'c> {
        const C: [u16; 7] = [
            dict_column(CGROUP, "id"),
            dict_column(CGROUP, "birth"),
            dict_column(CGROUP, "path"),
            dict_column(CGROUP, "container"),
            dict_column(CGROUP, "runtime"),
            dict_column(CGROUP, "chain"),
            dict_column(CGROUP, "pod_uid"),
        ];
        let d = &self.cgroups;
        CgroupRow {
            id: d.number(C[0], row),
            birth: d.number(C[1], row),
            path: d.string(self.chunk, C[2], row),
            container: d.string(self.chunk, C[3], row),
            runtime: d.string(self.chunk, C[4], row),
            chain: d.string(self.chunk, C[5], row),
            pod_uid: d.string(self.chunk, C[6], row),
        }
    }

    /// A row of the file dictionary.
    pub fn file(&self, row: u32) -> FileRow<'c> {
        const C: [u16; 10] = [
            dict_column(FILE, "type"),
            dict_column(FILE, "path"),
            dict_column(FILE, "local"),
            dict_column(FILE, "remote"),
            dict_column(FILE, "proto"),
            dict_column(FILE, "dev"),
            dict_column(FILE, "ino"),
            dict_column(FILE, "deleted"),
            dict_column(FILE, "cut"),
            dict_column(FILE, "peer_pid"),
        ];
        let d = &self.files;
        FileRow {
            ty: d.string(self.chunk, C[0], row),
            path: d.string(self.chunk, C[1], row),
            local: d.string(self.chunk, C[2], row),
            remote: d.string(self.chunk, C[3], row),
            proto: d.string(self.chunk, C[4], row),
            dev: d.number(C[5], row),
            ino: d.number(C[6], row),
            is_deleted: d.number(C[7], row) != 0,
            is_cut: d.number(C[8], row) != 0,
            peer_pid: d.number(C[9], row),
        }
    }

    /// The cgroup that an event counts for: that of its task, or of the column `cgroup` that lost events and samples have.
    pub fn subject_cgroup(&self, rows: &Rows<'c>, row: usize) -> Option<u32> {
        match rows.event.kind.and_then(|kind| CGROUP_COLUMNS[kind.index()]) {
            Some(column) => rows.reference(column, row),
            None => self.cgroup_of(rows.task(row)?),
        }
    }

    /// The cgroup of a task.
    pub fn cgroup_of(&self, task: u32) -> Option<u32> {
        self.tasks.reference(const { dict_column(TASK, "cgroup") }, task)
    }

    /// Whether a task stands for a hidden one: that of a container that is not selected.
    pub fn is_hidden(&self, task: u32) -> bool {
        self.cgroup_of(task).is_some_and(|cgroup| self.cgroup(cgroup).is_hidden()) && self.task(task).tid == 0
    }

    /// The process of a task.
    pub fn process_of(&self, task: u32) -> Option<u32> {
        self.tasks.reference(const { dict_column(TASK, "process") }, task)
    }

    /// The number of an event in the capture, from 1: chunks one after the other, within a chunk by
    /// end time.
    pub fn number(&self, place: usize, row: usize) -> u64 {
        let ranks = self.ranks.get_or_init(|| self.rank());
        let rank = ranks.get(place).and_then(|r| r.get(row)).copied().unwrap_or(0);
        self.first_number + u64::from(rank) + 1
    }

    fn rank(&self) -> Vec<Vec<u32>> {
        let mut order: Vec<(u64, u32, u32)> = Vec::new();
        for rows in self.tables() {
            order.extend((0..rows.len()).map(|row| (rows.end(row), rows.place as u32, row as u32)));
        }
        order.sort_unstable();
        let mut ranks: Vec<Vec<u32>> =
            self.tables.iter().map(|t| vec![0; t.as_ref().map_or(0, Rows::len)]).collect();
        for (rank, (_, place, row)) in order.into_iter().enumerate() {
            ranks[place as usize][row as usize] = rank as u32;
        }
        ranks
    }

    /// Whether some event was written after later ones: then rows are not in order of time.
    pub fn has_late(&self) -> bool {
        self.tables().any(|rows| rows.all_flags().iter().any(|f| *f as u32 & flags::LATE != 0))
    }
}
