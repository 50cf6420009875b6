//! `thread_state`: what threads did with their time.
//!
//! Each context switch records how long the thread that leaves the CPU was on it, and how long the one that gets it was off it and
//! how much of that it waited for the CPU. So each switch describes the parts that it ends, and only why a thread slept
//! comes from an earlier event. A system call that returns gives the parts since its entry to that call.

mod names;
mod pieces;
mod texts;
mod thread;

use std::mem;
use std::sync::Arc;

use capture_format::{FormatError, Header, StrId};
use events::{Kind, NO_CALL, UNKNOWN, flags};
use rustc_hash::FxHashMap;

use super::carry::Carry;
use super::merged::Merged;
use super::output::{Common, Output};
use super::{Derive, Range, Recorded};
use crate::model::dictionaries::{FILE, TASK};
use crate::model::{Binding, CallColumns, ChunkView, Rows, column};

use names::Names;
use pieces::{Piece, State};
use texts::Texts;
use thread::{Switch, Thread};

/// The kinds that it is computed from. Of events at the same time, forks come first, and returns of calls before switches.
const FROM: [Kind; 7] =
    [Kind::Fork, Kind::Block, Kind::Stall, Kind::StallOngoing, Kind::Syscall, Kind::Switch, Kind::Exit];

/// What a part has of the flags of its call.
const STRING_FLAGS: u32 =
    flags::STR0_UNREAD | flags::STR0_CUT | flags::STR1_UNREAD | flags::STR1_CUT | flags::STRINGS_UNCERTAIN;

/// How the names of the recorder's threads begin.
const RECORDER: &[u8] = b"ktape";

/// Parts in which a thread runs its own code, between short calls, are put together up to this length, ns.
const MOST_OWN_TIME: u64 = 1_000_000;

/// No thread.
const NONE: u32 = u32::MAX;

macro_rules! own {
    ($kind:ident, $name:literal) => {
        const { column(Kind::$kind, $name) }
    };
}

/// The threads of a capture.
#[derive(Debug)]
pub(super) struct ThreadStates {
    range: Range,
    recorded: Recorded,
    /// Whether files and arguments of calls are wanted.
    has_files: bool,
    threads: Vec<Thread>,
    by_tid: FxHashMap<u64, u32>,
    free: Vec<u32>,
    names: Names,
    carry: Option<Carry>,
    /// By row of the chunk's task dictionary: the thread.
    known: Vec<u32>,
    /// Threads of which the chunk has events.
    touched: Vec<u32>,
    end: u64,
    texts: Texts,
    /// For [`Self::write`].
    parts: Vec<(Piece, bool)>,
}

/// The call that a part was in.
struct Call<'a, 'c> {
    columns: CallColumns<'c>,
    rows: &'a Rows<'c>,
    row: usize,
}

impl ThreadStates {
    pub(super) fn new(recorded: Recorded, has_files: bool, range: Range) -> Self {
        Self {
            range,
            recorded,
            has_files,
            threads: Vec::new(),
            by_tid: FxHashMap::default(),
            free: Vec::new(),
            names: Names::default(),
            carry: None,
            known: Vec::new(),
            touched: Vec::new(),
            end: recorded.started,
            texts: Texts::default(),
            parts: Vec::new(),
        }
    }

    /// The thread in a row of the chunk's task dictionary, of which an event begins at `since` at the latest; none for an idle CPU
    /// and an unknown or hidden thread.
    #[inline]
    fn thread(&mut self, view: &ChunkView<'_>, task: Option<u32>, since: u64) -> Option<u32> {
        let task = task?;
        let known = *self.known.get(task as usize)?;
        if known != NONE {
            return Some(known);
        }
        self.find(view, task, since)
    }

    #[cold]
    fn find(&mut self, view: &ChunkView<'_>, task: u32, since: u64) -> Option<u32> {
        let row = view.task(task);
        if row.tid == 0 {
            return None;
        }
        let process = row.process.map(|process| view.process(process)).unwrap_or_default();
        let index = match self.by_tid.get(&row.tid) {
            Some(index) => *index,
            None => {
                // Without forks, it is not known since when it exists: its first event has to do.
                let Recorded { started, has_forks, .. } = self.recorded;
                let began = if has_forks { started.max(process.start) } else { since };
                self.add(row.tid, began.min(since.max(started)))
            }
        };
        // The recorder's own threads, which are not recorded, are named where they get a CPU from another thread.
        if row.name.starts_with(RECORDER) && process.exe.is_empty() && process.args.is_empty() {
            self.remove(index);
            return None;
        }
        let has_program = !process.exe.is_empty() || !process.args.is_empty();
        let thread = &mut self.threads[index as usize];
        thread.is_kernel = !has_program;
        // Of others, there is no more than the name.
        thread.is_followed |= self.recorded.is_scoped && has_program;
        self.known[task as usize] = index;
        let thread = &mut self.threads[index as usize];
        if thread.task.is_none() {
            self.touched.push(index);
        }
        // The last row has the latest name.
        thread.task = Some(task);
        Some(index)
    }

    fn is_known(&self, view: &ChunkView<'_>, task: u32) -> bool {
        self.by_tid.contains_key(&view.task(task).tid)
    }

    fn add(&mut self, tid: u64, began: u64) -> u32 {
        // Its end was lost.
        if let Some(old) = self.by_tid.get(&tid).copied() {
            self.remove(old);
        }
        let thread = Thread::new(tid, began);
        let index = match self.free.pop() {
            Some(index) => {
                self.threads[index as usize] = thread;
                index
            }
            None => {
                self.threads.push(thread);
                self.threads.len() as u32 - 1
            }
        };
        self.by_tid.insert(tid, index);
        index
    }

    /// Forgets a thread that has ended; its row stays valid until the end of the chunk.
    fn remove(&mut self, index: u32) {
        let thread = &mut self.threads[index as usize];
        thread.is_over = true;
        if thread.task.is_none() {
            thread.task = Some(0);
            self.touched.push(index);
        }
        if self.by_tid.get(&thread.tid) == Some(&index) {
            self.by_tid.remove(&thread.tid);
        }
    }

    /// Writes the parts of a thread up to now. Those since `entry` were in a call.
    fn write(
        &mut self,
        view: &ChunkView<'_>,
        (index, task): (u32, u32),
        (entry, call): (u64, Option<&Call<'_, '_>>),
        out: &mut Output,
    ) -> Result<(), FormatError> {
        let mut parts = mem::take(&mut self.parts);
        parts.clear();
        let thread = &mut self.threads[index as usize];
        thread.pieces.split(entry, &mut parts);
        if !thread.is_followed {
            parts.clear();
        }
        let mut written = Ok(());
        for (piece, is_inside) in &parts {
            let call = call.filter(|_| *is_inside);
            if call.is_none() && piece.state == State::Running {
                if self.own_time(index, piece) {
                    continue;
                }
                written = written.and_then(|()| self.write_own_time(view, (index, task), out));
                self.threads[index as usize].own_time = Some(*piece);
            } else {
                if piece.state != State::Running {
                    written = written.and_then(|()| self.write_own_time(view, (index, task), out));
                }
                written = written.and_then(|()| self.write_piece(view, task, *piece, call, out));
            }
        }
        self.parts = parts;
        written
    }

    /// Adds a part in which the thread ran its own code to the one before, if only short calls are between them: most of the
    /// parts of a busy thread are of this kind.
    #[inline]
    fn own_time(&mut self, index: u32, piece: &Piece) -> bool {
        let range = self.range;
        let Some(last) = &mut self.threads[index as usize].own_time else { return false };
        let is_within = |time: u64| !(last.start < time && time < piece.end);
        // At the ends of the range, parts are cut.
        if piece.end - last.start > MOST_OWN_TIME || !is_within(range.from) || !is_within(range.to) {
            return false;
        }
        last.end = piece.end;
        last.dur += piece.dur;
        true
    }

    /// Writes these parts.
    fn write_own_time(
        &mut self,
        view: &ChunkView<'_>,
        (index, task): (u32, u32),
        out: &mut Output,
    ) -> Result<(), FormatError> {
        match self.threads[index as usize].own_time.take() {
            Some(piece) => self.write_piece(view, task, piece, None, out),
            None => Ok(()),
        }
    }

    fn write_piece(
        &mut self,
        view: &ChunkView<'_>,
        task: u32,
        piece: Piece,
        call: Option<&Call<'_, '_>>,
        out: &mut Output,
    ) -> Result<(), FormatError> {
        let (start, end) = (piece.start.max(self.range.from), piece.end.min(self.range.to));
        if start >= end {
            return Ok(());
        }
        if self.texts.generation != out.generation() {
            self.texts = Texts::new(out);
        }
        let mut name = |number: u32| match number {
            0 => self.texts.empty,
            number => out.text(self.names.name(number)),
        };
        let (wait, dev) = (name(piece.wait), name(piece.dev));
        let task = out.row(view, TASK, task)?;
        let mut strings = [StrId(0); 3];
        let mut count = 0;
        let (mut key, mut args, mut marks): (u64, &[u64], u32) = (NO_CALL.into(), &[], 0);
        let mut files = [self.texts.no_file; 2];
        if let Some(call) = call {
            key = call.columns.key(call.row);
        }
        if let Some(call) = call.filter(|_| self.has_files) {
            args = call.columns.args(call.row);
            marks = call.rows.flags(call.row) & STRING_FLAGS;
            for (to, from) in strings.iter_mut().zip(call.columns.strings(call.row)) {
                *to = out.string(view, *from)?;
                count += 1;
            }
            for (slot, to) in files.iter_mut().enumerate() {
                if let Some(row) = call.columns.files(slot).get(call.row) {
                    *to = out.row(view, FILE, *row)?;
                }
            }
        }
        let waits = || call.is_some() && view.binding.calls.get(key).is_some_and(|call| call.is_wait);
        let state = match piece.state {
            State::OffCpu if waits() => State::Sleeping,
            state => state,
        };
        let state = self.texts.states[state as usize];
        out.event(Kind::ThreadState, Common { time: end, task, flags: marks }, |table| {
            // Parts that were put together are shorter than what lies between start and end.
            table.push_u64(4, piece.dur.min(end - start));
            table.push_bytes(5, state);
            table.push_u64(6, key);
            table.push_list_u64(7, args);
            table.push_list_bytes(8, &strings[..count]);
            table.push_ref(9, files[0]);
            table.push_ref(10, files[1]);
            table.push_bytes(11, wait);
            table.push_bytes(12, dev);
        })
    }

    /// Keeps what is needed of the threads of a chunk.
    fn leave_chunk(&mut self, view: &ChunkView<'_>, out: &mut Output) -> Result<(), FormatError> {
        for at in 0..self.touched.len() {
            let index = self.touched[at];
            let thread = &self.threads[index as usize];
            let Some(task) = thread.task else { continue };
            if thread.is_kernel {
                self.write(view, (index, task), (u64::MAX, None), out)?;
            }
            self.write_own_time(view, (index, task), out)?;
        }
        let carry = self.carry.get_or_insert_with(|| Carry::new(Arc::clone(out.schema()), TASK));
        for index in self.touched.drain(..) {
            let thread = &mut self.threads[index as usize];
            let task = thread.task.take();
            if thread.is_over {
                self.free.push(index);
            } else if let Some(task) = task {
                thread.carried = Some(carry.keep(view, task)?);
            }
        }
        if carry.is_large() {
            let live = self.threads.iter_mut().filter(|thread| !thread.is_over);
            carry.compact(live.filter_map(|thread| thread.carried.as_mut()))?;
        }
        Ok(())
    }

    fn switch(
        &mut self,
        view: &ChunkView<'_>,
        rows: &Rows<'_>,
        row: usize,
        out: &mut Output,
    ) -> Result<(), FormatError> {
        let time = rows.end(row);
        let number = |own: u16| rows.number(own, row).filter(|number| *number != UNKNOWN);
        let ran = number(own!(Switch, "ran"));
        let state = number(own!(Switch, "state")).unwrap_or(u64::MAX);
        // The last switch of a thread comes after its exit.
        let leaving = rows.task(row).filter(|task| !thread::is_end(state) || self.is_known(view, *task));
        if let Some(index) = self.thread(view, leaving, time - ran.unwrap_or(0).min(time)) {
            let is_preempted = number(own!(Switch, "preempted")).is_some_and(|value| value != 0);
            let thread = &mut self.threads[index as usize];
            // Those of the recorder are only known as threads that get a CPU.
            let is_named = rows.task(row).is_some_and(|task| !view.task(task).name.is_empty());
            thread.is_followed |= !self.recorded.is_scoped && is_named;
            thread.leave(time, ran, State::after(state, is_preempted));
            if thread::is_end(state) {
                let task = rows.task(row).unwrap_or(0);
                self.write(view, (index, task), (u64::MAX, None), out)?;
                self.remove(index);
            }
        }
        let off_cpu = number(own!(Switch, "off_cpu"));
        let next = rows.reference(own!(Switch, "next"), row);
        if let Some(index) = self.thread(view, next, time - off_cpu.unwrap_or(0).min(time)) {
            let switch = Switch { time, off_cpu, runnable: number(own!(Switch, "runnable")) };
            self.threads[index as usize].enter(switch);
        }
        Ok(())
    }

    fn call(
        &mut self,
        view: &ChunkView<'_>,
        (rows, columns): (&Rows<'_>, CallColumns<'_>),
        row: usize,
        out: &mut Output,
    ) -> Result<(), FormatError> {
        let bits = rows.flags(row);
        let end = rows.end(row);
        let entry = if bits & flags::START_UNKNOWN != 0 { 0 } else { rows.start(row) };
        let since = if entry == 0 { end } else { entry };
        let (Some(index), Some(task)) = (self.thread(view, rows.task(row), since), rows.task(row)) else {
            return Ok(());
        };
        let has_returned = bits & flags::UNFINISHED == 0;
        let thread = &mut self.threads[index as usize];
        (thread.is_followed, thread.is_kernel) = (true, false);
        thread.call(end, has_returned);
        self.write(view, (index, task), (entry, Some(&Call { columns, rows, row })), out)
    }

    fn hang(&mut self, view: &ChunkView<'_>, rows: &Rows<'_>, row: usize) {
        let Some(index) = self.thread(view, rows.task(row), rows.start(row)) else { return };
        let text = |own: u16| rows.bytes(own, row).unwrap_or_default();
        let wait = self.names.number(text(own!(Stall, "wait")));
        let dev = self.names.number(text(own!(Stall, "dev")));
        let thread = &mut self.threads[index as usize];
        if rows.event.kind == Some(Kind::StallOngoing) {
            thread.hangs(rows.end(row), wait, dev);
        } else {
            thread.pieces.name_waits(rows.start(row), wait, dev);
        }
    }
}

impl Derive for ThreadStates {
    fn chunk(&mut self, view: &ChunkView<'_>, out: &mut Output) -> Result<(), FormatError> {
        self.known.clear();
        self.known.resize(view.task_rows(), NONE);
        self.end = self.end.max(view.chunk.summary().end_max);
        let table = |kind: Kind| view.tables().find(|rows| rows.event.kind == Some(kind));
        let of_kind: Vec<(Kind, &Rows<'_>)> =
            FROM.into_iter().filter_map(|kind| Some((kind, table(kind)?))).collect();
        let rows_of = |kind: Kind| of_kind.iter().find(|(known, _)| *known == kind).map(|(_, rows)| *rows);
        let calls = rows_of(Kind::Syscall).map(|rows| (rows, CallColumns::new(rows)));
        let switches = rows_of(Kind::Switch);
        for (kind, row) in Merged::new(view, &FROM) {
            match kind {
                Kind::Syscall => {
                    if let Some(calls) = calls {
                        self.call(view, calls, row, out)?;
                    }
                }
                Kind::Switch => {
                    if let Some(rows) = switches {
                        self.switch(view, rows, row, out)?;
                    }
                }
                kind => {
                    let Some(rows) = rows_of(kind) else { continue };
                    match kind {
                        Kind::Fork => {
                            let child = rows.number(own!(Fork, "child_tid"), row).unwrap_or(0);
                            if child != 0 {
                                let child = self.add(child, rows.end(row));
                                self.threads[child as usize].is_followed = true;
                            }
                        }
                        Kind::Block => {
                            let dev = rows.bytes(own!(Block, "dev"), row).unwrap_or_default();
                            let dev = self.names.number(dev);
                            if let Some(index) = self.thread(view, rows.task(row), rows.start(row)) {
                                self.threads[index as usize].block = Some((rows.end(row), dev));
                            }
                        }
                        Kind::Exit => {
                            let task = rows.task(row).unwrap_or(0);
                            if let Some(index) = self.thread(view, rows.task(row), rows.end(row)) {
                                self.threads[index as usize].exit(rows.end(row));
                                self.write(view, (index, task), (u64::MAX, None), out)?;
                                self.remove(index);
                            }
                        }
                        _ => self.hang(view, rows, row),
                    }
                }
            }
        }
        self.leave_chunk(view, out)
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), FormatError> {
        let Some(mut carry) = self.carry.take() else { return Ok(()) };
        let chunk = carry.take()?;
        let header = Header { schema: Arc::clone(chunk.schema()), ..Header::default() };
        let binding = Binding::new(Arc::new(header));
        let view = ChunkView::open(&chunk, &binding)?;
        let end = self.end.min(self.range.to);
        let live: Vec<u32> = self.by_tid.values().copied().collect();
        for index in live {
            let thread = &mut self.threads[index as usize];
            let Some(task) = thread.carried else { continue };
            thread.end(end);
            self.write(&view, (index, task), (u64::MAX, None), out)?;
            self.write_own_time(&view, (index, task), out)?;
        }
        Ok(())
    }
}
