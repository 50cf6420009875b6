//! One event, and what its values depend on.

use std::fmt;

use events::{Kind, flags};

use super::calls::Call;
use super::dict_rows::FileRow;
use super::metadata::ContainerNames;
use super::rows::{CallColumns, CallString, ChunkView, Rows};

/// What the values of events depend on outside their chunk.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Names of containers.
    pub names: &'a ContainerNames,
    /// When the capture started, wall-clock ns since 1970.
    pub start: i64,
}

/// One event of an open chunk. Cheap to copy; valid as long as the chunk is open.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What its values depend on outside the chunk.
    pub context: &'a Context<'a>,
    /// Its chunk.
    pub view: &'a ChunkView<'a>,
    /// Its table.
    pub rows: &'a Rows<'a>,
    /// Its row in the table.
    pub row: usize,
}

impl<'a> Event<'a> {
    /// The event in a row of a table of a chunk.
    #[inline]
    pub fn new(context: &'a Context<'a>, view: &'a ChunkView<'a>, rows: &'a Rows<'a>, row: usize) -> Self {
        Self { context, view, rows, row }
    }

    /// Its kind; `None` if this version does not know it.
    #[inline]
    pub fn kind(&self) -> Option<Kind> {
        self.rows.event.kind
    }

    /// The kind with whose name the fields of its columns begin ([`Kind::field_owner`]).
    #[inline]
    pub fn field_owner(&self) -> Option<Kind> {
        self.rows.event.field_owner()
    }

    /// Whether it is about a call, see [`Kind::is_about_call`].
    #[inline]
    pub fn is_about_call(&self) -> bool {
        self.kind().is_some_and(Kind::is_about_call)
    }

    /// The name of its kind, as the file gives it.
    #[inline]
    pub fn kind_name(&self) -> &'a str {
        &self.rows.event.name
    }

    /// When it started, wall-clock ns since 1970; when it ended, if that is all that is known.
    #[inline]
    pub fn start(&self) -> i64 {
        self.view.wall(self.rows.start(self.row))
    }

    /// When it ended, wall-clock ns since 1970.
    #[inline]
    pub fn end(&self) -> i64 {
        self.view.wall(self.rows.end(self.row))
    }

    /// How long it took, ns; `None` if it has no duration, or its start is not known.
    #[inline]
    pub fn duration(&self) -> Option<u64> {
        let duration = self.rows.durations().get(self.row).copied();
        duration.filter(|_| self.flags() & flags::START_UNKNOWN == 0)
    }

    /// The CPU that it ended on; `None` for what no CPU in particular did, such as a sample.
    #[inline]
    pub fn cpu(&self) -> Option<u64> {
        self.rows.cpu(self.row)
    }

    /// Bits of [`events::flags`].
    #[inline]
    pub fn flags(&self) -> u32 {
        self.rows.flags(self.row)
    }

    /// The row of its thread in the chunk's task dictionary.
    #[inline]
    pub fn task(&self) -> Option<u32> {
        self.rows.task(self.row)
    }

    /// The row of the cgroup that it counts for, see [`ChunkView::subject_cgroup`].
    #[inline]
    pub fn cgroup(&self) -> Option<u32> {
        self.view.subject_cgroup(self.rows, self.row)
    }

    /// Its number in the capture, from 1.
    pub fn number(&self) -> u64 {
        self.view.number(self.rows.place, self.row)
    }

    /// A number of one of the kind's own columns, by [`super::column`].
    pub fn column_u64(&self, own: u16) -> Option<u64> {
        self.rows.number(own, self.row)
    }

    /// A signed number of one of the kind's own columns, by [`super::column`].
    pub fn column_i64(&self, own: u16) -> Option<i64> {
        self.rows.signed(own, self.row)
    }

    /// The bytes of one of the kind's own columns, by [`super::column`].
    pub fn column_bytes(&self, own: u16) -> Option<&'a [u8]> {
        self.rows.bytes(own, self.row)
    }

    /// The dictionary row that one of the kind's own columns refers to, by [`super::column`].
    pub fn column_ref(&self, own: u16) -> Option<u32> {
        self.rows.reference(own, self.row)
    }

    /// Whether a thread that it refers to is the idle one of a CPU. Elsewhere the id 0 stands for a thread that is
    /// unknown or hidden; both sides of a switch are always known.
    pub fn is_idle(&self, task: u32) -> bool {
        self.kind() == Some(Kind::Switch) && self.view.task(task).tid == 0 && !self.view.is_hidden(task)
    }

    /// Its syscall: that of a syscall event, the one that a stalled thread is in, or the one that does the same as a request.
    #[inline]
    pub fn call(self) -> CallEvent<'a> {
        self.call_of(CallColumns::new(self.rows))
    }

    /// The same, with the columns of its table at hand.
    #[inline]
    pub fn call_of(self, columns: CallColumns<'a>) -> CallEvent<'a> {
        CallEvent { event: self, columns }
    }
}

/// What the descriptor among the arguments of an event stands for.
#[derive(Clone, Copy)]
pub struct FileRef<'a> {
    view: &'a ChunkView<'a>,
    row: u32,
}

impl<'a> FileRef<'a> {
    /// The file; `None` if it is unknown.
    pub fn file(self) -> Option<FileRow<'a>> {
        Some(self.view.file(self.row)).filter(FileRow::is_known)
    }
}

impl fmt::Debug for FileRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileRef").field(&self.row).finish()
    }
}

/// What the files of a call and their names follow from, see [`CallEvent::files_key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilesKey {
    call: u64,
    files: [u32; 2],
    strings: [u32; 2],
    marks: u32,
    /// The arguments that are 0, as bits.
    null: u32,
}

impl FilesKey {
    const MARKS: u32 = flags::STR0_UNREAD | flags::STR0_CUT | flags::STR1_UNREAD | flags::STR1_CUT;
}

/// An event with the columns of its syscall at hand.
#[derive(Clone, Copy, Debug)]
pub struct CallEvent<'a> {
    /// The event.
    pub event: Event<'a>,
    columns: CallColumns<'a>,
}

impl<'a> CallEvent<'a> {
    /// Which call ([`events::syscall_key`]); [`events::NO_CALL`] or more if there is none.
    #[inline]
    pub fn key(&self) -> u64 {
        self.columns.key(self.event.row)
    }

    /// The call's name and arguments, if the capture has its signature.
    pub fn call(&self) -> Option<&'a Call> {
        self.event.view.binding.calls.get(self.key())
    }

    /// Appends the call's name, `syscall_123` if the capture has none.
    pub fn write_name(&self, out: &mut Vec<u8>) {
        self.event.view.binding.calls.write_name(self.key(), out);
    }

    /// Its argument registers.
    #[inline]
    pub fn args(&self) -> &'a [u64] {
        self.columns.args(self.event.row)
    }

    /// The string in a slot (0 to 2) that belongs to the argument at `position`.
    pub fn string(&self, slot: u8, position: usize) -> CallString<'a> {
        self.columns.string(self.event.rows, self.event.row, slot, position)
    }

    /// What the descriptor in a slot stands for: 0 is the first one, or the directory that its path starts from; 1 is the
    /// second one, or the one that it returned. `None` if that is unknown, or it has none.
    pub fn file(&self, slot: u8) -> Option<FileRow<'a>> {
        self.file_ref(slot)?.file()
    }

    /// The same, to be looked up when it is needed.
    #[inline]
    pub fn file_ref(&self, slot: u8) -> Option<FileRef<'a>> {
        let row = *self.columns.files(usize::from(slot)).get(self.event.row)?;
        Some(FileRef { view: self.event.view, row })
    }

    /// The string that is the argument at a position; `None` if its type has none, or none is stored of this one.
    pub fn string_argument(&self, position: u8) -> Option<CallString<'a>> {
        let slot = (*self.call()?.strings.get(usize::from(position))?)?;
        Some(self.string(slot, position.into()))
    }

    /// What its files and their names follow from. Calls of a chunk with equal keys have the same ones.
    #[inline]
    pub fn files_key(&self) -> FilesKey {
        let row = self.event.row;
        let strings = self.columns.strings(row);
        let string = |slot: usize| strings.get(slot).map_or(u32::MAX, |id| id.0);
        let file = |slot: usize| self.columns.files(slot).get(row).copied().unwrap_or(u32::MAX);
        let marks = self.event.flags() & FilesKey::MARKS;
        // Where a string is missing, this is the difference between a null pointer and one that was not read.
        let null = if marks & (flags::STR0_UNREAD | flags::STR1_UNREAD) == 0 {
            0
        } else {
            let nulls = self.args().iter().enumerate().filter(|(_, value)| **value == 0);
            nulls.fold(0, |bits, (position, _)| bits | 1 << position)
        };
        FilesKey { call: self.key(), files: [file(0), file(1)], strings: [string(0), string(1)], marks, null }
    }

    /// Whether the path that is the argument at a position is empty or missing; `None` if its type has none.
    pub fn is_empty_path(&self, position: u8) -> Option<bool> {
        let slot = (*self.call()?.strings.get(usize::from(position))?)?;
        Some(self.columns.is_empty_path(self.event.rows, self.event.row, slot, position.into()))
    }

    /// What it returned; `None` if it has not returned, or never gives a result.
    pub fn result(&self) -> Option<i64> {
        match self.event.flags() & (flags::UNFINISHED | flags::NO_RESULT) {
            0 => self.columns.results().get(self.event.row).copied(),
            _ => None,
        }
    }
}
