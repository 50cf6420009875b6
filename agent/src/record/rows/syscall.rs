//! System calls.

use std::sync::Arc;

use agent_ebpf::records::Header;
use capture_format::ChunkBuilder;
use events::flags;
use events::{Kind, NO_CALL};

use super::effects::Effect;
use super::entered::Buffer;
use super::{RowWriter, col};
use crate::agent_events::Link;
use crate::kernel::{FileSource, OpenCall, ScannedTask, file_sources};
use crate::record::cpu_stream::{CallRecord, CpuRecord, CpuStream, StreamThread};
use crate::record::dictionary_rows::CachedRow;
use crate::record::files::LinkedCall;
use crate::record::processes::{STRING_BITS, Subject};
use ktape_reader::syscalls;

/// The path that a call of `execveat` was given. Where it is not absolute, and there is a descriptor, the kernel makes a path of
/// both (`alloc_bprm` in `fs/exec.c`).
fn without_descriptor(path: &[u8], fd: i32) -> &[u8] {
    match path.strip_prefix(format!("/dev/fd/{fd}").as_bytes()) {
        Some(b"") => b"",
        Some([b'/', given @ ..]) => given,
        _ => path,
    }
}

/// Whether a program with these arguments is the interpreter of a script that was executed with the given ones: the kernel
/// replaces the first one by the interpreter, its argument and the path (`load_script` in `fs/binfmt_script.c`). Otherwise they
/// are the same, unless another thread changed them meanwhile: then those of the program are what the kernel was given.
fn is_of_script(program: &[u8], given: &[u8]) -> bool {
    let count = |args: &[u8]| args.iter().filter(|byte| **byte == 0).count();
    let first = given.iter().position(|byte| *byte == 0).map_or(0, |nul| nul + 1);
    count(program) > count(given) && program.ends_with(&given[first..])
}

/// The marks of the first and the second string.
const MARKS_OF_STRINGS: [u32; 2] =
    [flags::STR0_UNREAD | flags::STR0_CUT, flags::STR1_UNREAD | flags::STR1_CUT];

impl RowWriter {
    /// Writes the row of a record of a CPU's own ring buffer, if it is wanted.
    #[inline]
    pub fn add_of_cpu(&mut self, builder: &mut ChunkBuilder, stream: &mut CpuStream, bytes: &[u8]) {
        match CpuRecord::read(bytes) {
            Some(CpuRecord::Call(call)) => {
                if self.processes.has_orphans() {
                    self.processes.adopt_orphans(call.time);
                }
                if call.was_entered || self.calls.get(call.key).exec {
                    self.entered_call(builder, stream, call);
                } else if call.again {
                    self.compared_call(builder, stream, call);
                } else {
                    let _ = self.call(builder, stream, &call);
                }
            }
            Some(CpuRecord::Entered(call)) => self.entered.enter(stream.thread.tid, &call),
            Some(CpuRecord::Again(call)) => self.read_again(builder, stream.thread, &call),
            Some(CpuRecord::Switch(time, switch)) => {
                if self.processes.has_orphans() {
                    self.processes.adopt_orphans(time);
                }
                self.switch(builder, stream.cpu(), time, &switch);
            }
            None => self.written.add_damaged(),
        }
    }

    /// A call whose strings are not in its record.
    #[cold]
    fn entered_call(&mut self, builder: &mut ChunkBuilder, stream: &mut CpuStream, call: CallRecord<'_>) {
        let stored = self.calls.get(call.key);
        let fills = call.again && stored.fills();
        if call.again && !fills {
            self.read_again(builder, stream.thread, &call);
        }
        let tid = stream.thread.tid;
        let exec_path = if stored.exec && call.ret == 0 { self.processes.take_exec_path(tid) } else { None };
        let args: Arc<[u8]>;
        let mut entered = None;
        let masked;
        let (mut strings, mut bits) = (call.strings, call.flags);
        let given;
        let given_args;
        if let Some(exec_path) = &exec_path {
            given = self.entered.remove(tid, call.key, true);
            self.entered.forget(tid);
            args = self.processes.args_of(tid);
            strings = [&exec_path.path, &args];
            bits = bits & !STRING_BITS | exec_path.bits;
            if stored.is_execveat() {
                strings[0] = without_descriptor(strings[0], call.args[0] as i32);
            }
            const INCOMPLETE: u32 = flags::STR1_CUT | flags::STR1_UNREAD;
            if let Some(given) = given.as_ref().filter(|given| given.bits & INCOMPLETE == 0) {
                given_args = self.processes.masked(given.strings()[1]);
                if is_of_script(&args, &given_args) {
                    strings[1] = &given_args;
                    bits &= !INCOMPLETE;
                }
            }
        } else if call.was_entered {
            entered = self.entered.remove(tid, call.key, stored.exec);
            bits &= !(STRING_BITS | flags::STRINGS_UNCERTAIN);
            match &entered {
                Some(entered) => {
                    strings = entered.strings();
                    bits |= entered.bits;
                }
                None => {
                    strings = [b""; 2];
                    bits |= stored.unread();
                }
            }
        }
        let mut buffers = entered.as_ref().map_or([Buffer::default(); 2], |entered| entered.compared);
        if fills {
            if !stored.filled[0] && !call.strings[0].is_empty() {
                let compared = self.compare_path(builder, stream.thread.pid, &call, strings[0]);
                bits |= compared.bits();
                buffers = compared.buffers;
            }
            for (at, marks) in MARKS_OF_STRINGS.into_iter().enumerate() {
                let is_read = stored.out[at] || !call.strings[at].is_empty();
                if stored.filled[at] && is_read {
                    strings[at] = call.strings[at];
                    bits = bits & !marks | call.flags & marks;
                }
            }
        }
        if stored.exec && exec_path.is_none() {
            masked = self.processes.masked(strings[1]);
            strings[1] = &masked;
        }
        // After an exec, the registers are those of the new program: what they held is known only to have been there.
        let args = if self.returns_only && exec_path.is_some() { [1; 6] } else { call.args };
        let row = self.call(builder, stream, &CallRecord { strings, flags: bits, args, ..call });
        if let Some(row) = row {
            self.entered.wrote(buffers, self.chunk.number, row);
        }
    }

    /// Returns its row, if it is wanted.
    #[inline]
    pub(super) fn call(
        &mut self,
        builder: &mut ChunkBuilder,
        stream: &mut CpuStream,
        call: &CallRecord<'_>,
    ) -> Option<u32> {
        let thread = stream.thread;
        // From the time before the kernel side knew that it reads the output.
        let is_reader = self.readers.is_some() && self.scope.is_excluded(thread.pid);
        if is_reader || !self.wants_cgroup(Kind::Syscall, thread.cgroup) {
            return None;
        }
        self.count(thread.cgroup);
        let stored = self.calls.get(call.key);
        let task = self.task_of(builder, stream, call.time);
        let (marks, strings) = stored.without_number(&call.args, call.flags, call.strings);
        let mut bits = marks | stored.flags;
        if self.returns_only {
            bits |= stored.of_return(call);
        }
        if self.written.is_late(call.time) {
            bits |= flags::LATE;
        }
        if stored.effect != Effect::None && call.ret >= 0 {
            self.follow(stored.effect, stream.thread.tid, call);
        }
        let index = self.chunk.index.event(Kind::Syscall);
        let files = self.file_rows(builder, call.files);
        let (ids, strings) = stored.interned(builder, &strings);
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "time"), call.time);
        table.push_u64(col!(Syscall, "cpu"), u64::from(stream.cpu()));
        table.push_ref(col!(Syscall, "task"), task);
        table.push_u64(col!(Syscall, "flags"), u64::from(bits));
        table.push_u64(col!(Syscall, "dur"), call.dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(call.key));
        table.push_i64(col!(Syscall, "ret"), call.ret);
        let args = stored.with_room(call.args, call.flags);
        let args = args.iter().zip(&stored.forms).take(usize::from(stored.args));
        table.push_list_of(col!(Syscall, "args"), args.map(|(arg, form)| form.apply(*arg)));
        table.push_list_bytes(col!(Syscall, "strs"), &ids[..strings]);
        table.push_ref(col!(Syscall, "file"), files[0]);
        table.push_ref(col!(Syscall, "file2"), files[1]);
        Some(table.end_row())
    }

    /// The row of the task dictionary for a stream's thread.
    #[inline]
    fn task_of(&mut self, builder: &mut ChunkBuilder, stream: &mut CpuStream, time: u64) -> u32 {
        let thread = stream.thread;
        let doubtful = self.processes.has_orphans();
        let (row, changes) = stream.row;
        if !doubtful
            && changes == self.processes.changes()
            && let Some(row) = row.of(self.chunk.number)
        {
            return row;
        }
        if doubtful {
            let head =
                Header { time, cgroup: thread.cgroup, pid: thread.pid, tid: thread.tid, ..Header::default() };
            self.processes.settle_parent(Kind::Syscall, &head);
        }
        let subject =
            Subject { pid: thread.pid, tid: thread.tid, cgroup: thread.cgroup, uid: Some(thread.uid) };
        let row = self.task(builder, subject);
        stream.row = (CachedRow { chunk: self.chunk.number, row }, self.processes.changes());
        row
    }

    /// Writes the call that the scan at the end, at `now`, found a thread in.
    pub fn unfinished(&mut self, builder: &mut ChunkBuilder, task: &ScannedTask, now: u64) {
        let info = &task.info;
        // Calls may have begun while the hooks were detached.
        if info.call == NO_CALL || info.call_start > now {
            return;
        }
        let thread = StreamThread { cgroup: info.cgroup, pid: info.pid, tid: info.tid, uid: info.uid };
        let head =
            Header { time: now, cgroup: info.cgroup, pid: info.pid, tid: info.tid, ..Header::default() };
        self.processes.set_parent(&head, info.ppid);
        let stored = self.calls.get(info.call);
        let entered = self.entered.remove(info.tid, info.call, stored.exec);
        let (strings, mut bits) = match &entered {
            Some(entered) => (entered.strings(), entered.bits),
            None => ([&b""[..]; 2], stored.unread()),
        };
        let mut dur = 0;
        if info.call_start == 0 {
            bits |= flags::START_UNKNOWN;
        } else {
            dur = now.saturating_sub(info.call_start);
        }
        let masked = self.processes.masked(strings[1]);
        let strings = if stored.exec { [strings[0], &masked] } else { strings };
        let call = syscalls::table().get_key(info.call);
        let sources = call.map_or([FileSource::None; 2], file_sources);
        let links = LinkedCall { pid: info.pid, tid: info.tid, sources, args: &info.args }.read(info.files);
        let call =
            Unfinished { key: info.call, args: info.args, bits, dur, strings, files: info.files, links };
        self.write_unfinished(builder, thread, now, &call);
    }

    /// Writes the call that a CPU's thread was in at the end, at `now`.
    pub fn unfinished_on_cpu(
        &mut self,
        builder: &mut ChunkBuilder,
        stream: &CpuStream,
        open: &OpenCall,
        now: u64,
    ) {
        let Some(CpuRecord::Call(call)) = CpuRecord::read(&open.draft) else { return };
        if open.start > now {
            return;
        }
        let stored = self.calls.get(open.key);
        let call = Unfinished {
            key: open.key,
            args: call.args,
            bits: if stored.filled_in { 0 } else { call.flags },
            dur: now - open.start,
            strings: call.strings,
            files: call.files,
            links: [Link::NONE; 2],
        };
        self.write_unfinished(builder, stream.thread, now, &call);
    }

    fn write_unfinished(
        &mut self,
        builder: &mut ChunkBuilder,
        thread: StreamThread,
        now: u64,
        call: &Unfinished<'_>,
    ) {
        if !self.wants_cgroup(Kind::Syscall, thread.cgroup) {
            return;
        }
        let stored = self.calls.get(call.key);
        let (marks, strings) = stored.without_number(&call.args, call.bits, call.strings);
        let head = Header {
            time: now,
            cgroup: thread.cgroup,
            pid: thread.pid,
            tid: thread.tid,
            flags: flags::UNFINISHED | flags::AT_END | marks,
            kind: Kind::Syscall as u8,
            ..Header::default()
        };
        self.count(thread.cgroup);
        let index = self.common(builder, Kind::Syscall, &head, thread.uid);
        let files = self.linked_rows(builder, call.files, &call.links);
        let args = stored.apply(stored.with_room(call.args, call.bits));
        let (ids, strings) = stored.interned(builder, &strings);
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "dur"), call.dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(call.key));
        table.push_i64(col!(Syscall, "ret"), 0);
        table.push_list_u64(col!(Syscall, "args"), stored.list(&args));
        table.push_list_bytes(col!(Syscall, "strs"), &ids[..strings]);
        table.push_ref(col!(Syscall, "file"), files[0]);
        table.push_ref(col!(Syscall, "file2"), files[1]);
        table.end_row();
    }
}

/// A call that has not returned when the recording ends.
struct Unfinished<'a> {
    key: u32,
    args: [u64; 6],
    bits: u32,
    dur: u64,
    strings: [&'a [u8]; 2],
    files: [u64; 2],
    links: [Link; 2],
}
