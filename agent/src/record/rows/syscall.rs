//! System calls.

use std::sync::{Arc, LazyLock};

use agent_ebpf::records::Header;
use agent_ebpf::spec::{ABIS, NUMBERS};
use capture_format::{ChunkBuilder, StrId};
use events::flags;
use events::{Abi, Kind, NO_CALL, syscall_key};

use super::effects::Effect;
use super::{RowWriter, col};
use crate::agent_events::Link;
use crate::kernel::{FileSource, OpenCall, ScannedTask, file_sources, has_no_result, is_filled_in};
use crate::record::cpu_stream::{CallRecord, CpuRecord, CpuStream, StreamThread};
use crate::record::dictionary_rows::CachedRow;
use crate::record::files::LinkedCall;
use crate::record::processes::{STRING_BITS, Subject};
use ktape_reader::syscalls;

/// What of a call's record goes into the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredCall {
    /// How many arguments it has.
    args: u8,
    /// What is stored of each.
    forms: [Form; 6],
    /// How many of them are strings.
    strings: u8,
    /// Which ones.
    places: [u8; 2],
    /// `execve` or `execveat`: a path and the program's arguments.
    pub exec: bool,
    /// What it changes if it succeeds.
    effect: Effect,
    /// Its string is an address that the kernel fills in, if it returns.
    filled_in: bool,
    /// Bits of each of its events' flags.
    flags: u32,
}

impl StoredCall {
    /// A call that is not in the table: all its registers.
    const UNKNOWN: Self = Self {
        args: 6,
        forms: [Form::Whole; 6],
        strings: 0,
        places: [0; 2],
        exec: false,
        effect: Effect::None,
        filled_in: false,
        flags: 0,
    };

    /// Whether it is `execveat`, which has a descriptor before its path.
    fn is_execveat(&self) -> bool {
        self.exec && self.places[0] == 1
    }

    /// What is to be said of a call of which only the return was seen.
    fn of_return(&self, call: &CallRecord<'_>) -> u32 {
        let read = if self.filled_in {
            if call.ret < 0 { 0 } else { flags::STR0_UNREAD }
        } else if self.exec && call.ret == 0 || call.strings.iter().all(|text| text.is_empty()) {
            0
        } else {
            flags::STRINGS_UNCERTAIN
        };
        flags::START_UNKNOWN | read
    }

    /// The marks of its strings if none of them was read.
    pub fn unread(&self) -> u32 {
        let first = if self.strings > 0 && !self.filled_in { flags::STR0_UNREAD } else { 0 };
        first | if self.strings > 1 { flags::STR1_UNREAD } else { 0 }
    }

    /// Whether its string is an address that the kernel fills in.
    pub fn is_filled_in(&self) -> bool {
        self.filled_in
    }

    /// Whether it changes the path of a file.
    pub fn renames(&self) -> bool {
        self.effect == Effect::Renames
    }

    /// The arguments as they are stored.
    #[inline]
    pub fn apply(&self, mut args: [u64; 6]) -> [u64; 6] {
        for (arg, form) in args.iter_mut().zip(self.forms) {
            *arg = form.apply(*arg);
        }
        args
    }

    /// Those that the call has.
    #[inline]
    pub fn list<'a>(&self, args: &'a [u64; 6]) -> &'a [u64] {
        &args[..usize::from(self.args)]
    }

    /// Where the string of this number is in memory. `None` if the call writes its result there.
    pub fn address(&self, args: &[u64; 6], string: usize) -> Option<u64> {
        let address = args[usize::from(self.places[string]).min(5)];
        let uses = self.list(args).iter().filter(|arg| **arg == address).count();
        (uses == 1).then_some(address)
    }

    /// The first ones of the record's strings, as many as the call has.
    #[inline]
    pub fn strings<'a, T>(&self, strings: &'a [T; 2]) -> &'a [T] {
        &strings[..usize::from(self.strings)]
    }
}

/// Calls by [`syscall_key`].
#[derive(Debug)]
pub(super) struct StoredCalls(Vec<StoredCall>);

impl StoredCalls {
    /// All of the table of syscalls.
    pub fn all() -> &'static Self {
        static ALL: LazyLock<StoredCalls> = LazyLock::new(StoredCalls::new);
        &ALL
    }

    fn new() -> Self {
        let mut stored = vec![StoredCall::UNKNOWN; (ABIS * NUMBERS) as usize];
        for call in syscalls::table().iter() {
            let mut forms = [Form::Nothing; 6];
            for (form, arg) in forms.iter_mut().zip(&call.args) {
                *form = Form::of(arg.ty, call.abi);
            }
            let positions = syscalls::string_positions(&call.args);
            let mut places = [0; 2];
            for (place, position) in places.iter_mut().zip(positions.iter()) {
                *place = *position;
            }
            stored[slot(syscall_key(call.abi, call.nr))] = StoredCall {
                args: call.args.len().min(6) as u8,
                forms,
                strings: positions.len() as u8,
                places,
                exec: matches!(call.name, "execve" | "execveat"),
                effect: Effect::of(call.name),
                filled_in: is_filled_in(call),
                flags: if has_no_result(call) { flags::NO_RESULT } else { 0 },
            };
        }
        Self(stored)
    }

    #[inline]
    pub fn get(&self, key: u32) -> &StoredCall {
        self.0.get(slot(key)).unwrap_or(&StoredCall::UNKNOWN)
    }
}

#[inline]
fn slot(key: u32) -> usize {
    let nr = key & 0xffff;
    if nr >= NUMBERS { usize::MAX } else { ((key >> 16) * NUMBERS + nr) as usize }
}

/// What of an argument register is stored: [`syscalls::stored`], worked out in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// All of it.
    Whole,
    /// The lower half.
    Low,
    /// The lower half, sign-extended.
    SignedLow,
    /// Whether it is zero.
    Presence,
    /// Nothing.
    Nothing,
}

impl Form {
    const ALL: [Self; 5] = [Self::Nothing, Self::Presence, Self::Whole, Self::Low, Self::SignedLow];

    #[inline]
    fn apply(self, register: u64) -> u64 {
        match self {
            Self::Whole => register,
            Self::Low => register & 0xffff_ffff,
            Self::SignedLow => register as u32 as i32 as i64 as u64,
            Self::Presence => u64::from(register != 0),
            Self::Nothing => 0,
        }
    }

    /// The form that agrees with [`syscalls::stored`] for this type.
    fn of(ty: syscalls::ArgType, abi: Abi) -> Self {
        const PROBES: [u64; 4] = [0, 1, 0xffff_ffff, 0xdead_beef_8000_0001];
        let agrees = |form: &Self| PROBES.iter().all(|&r| form.apply(r) == syscalls::stored(ty, abi, r));
        Self::ALL.into_iter().find(agrees).unwrap_or(Self::Whole)
    }
}

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
        if call.again {
            self.read_again(builder, stream.thread, &call);
        }
        let stored = self.calls.get(call.key);
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
                None => bits |= stored.unread(),
            }
        }
        if stored.exec && exec_path.is_none() {
            masked = self.processes.masked(strings[1]);
            strings[1] = &masked;
        }
        // After an exec, the registers are those of the new program: what they held is known only to have been there.
        let args = if self.returns_only && exec_path.is_some() { [1; 6] } else { call.args };
        let row = self.call(builder, stream, &CallRecord { strings, flags: bits, args, ..call });
        if let (Some(row), Some(entered)) = (row, &entered) {
            self.entered.wrote(entered.compared, self.chunk.number, row);
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
        let mut bits = call.flags | stored.flags;
        if self.returns_only {
            bits |= stored.of_return(call);
        }
        if self.written.is_late(call.time) {
            bits |= flags::LATE;
        }
        if stored.effect != Effect::None && call.ret == 0 {
            self.follow(stored.effect, stream.thread.tid, call);
        }
        let index = self.chunk.index.event(Kind::Syscall);
        let files = self.file_rows(builder, call.files);
        let mut ids = [StrId::default(); 2];
        for (id, bytes) in ids.iter_mut().zip(stored.strings(&call.strings)) {
            *id = builder.intern(bytes);
        }
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "time"), call.time);
        table.push_u64(col!(Syscall, "cpu"), u64::from(stream.cpu()));
        table.push_ref(col!(Syscall, "task"), task);
        table.push_u64(col!(Syscall, "flags"), u64::from(bits));
        table.push_u64(col!(Syscall, "dur"), call.dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(call.key));
        table.push_i64(col!(Syscall, "ret"), call.ret);
        let args = call.args.iter().zip(&stored.forms).take(usize::from(stored.args));
        table.push_list_of(col!(Syscall, "args"), args.map(|(arg, form)| form.apply(*arg)));
        table.push_list_bytes(col!(Syscall, "strs"), stored.strings(&ids));
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
        let head = Header {
            time: now,
            cgroup: thread.cgroup,
            pid: thread.pid,
            tid: thread.tid,
            flags: flags::UNFINISHED | flags::AT_END | call.bits,
            kind: Kind::Syscall as u8,
            ..Header::default()
        };
        self.count(thread.cgroup);
        let index = self.common(builder, Kind::Syscall, &head, thread.uid);
        let files = self.linked_rows(builder, call.files, &call.links);
        let args = stored.apply(call.args);
        let mut ids = [StrId::default(); 2];
        for (id, bytes) in ids.iter_mut().zip(stored.strings(&call.strings)) {
            *id = builder.intern(bytes);
        }
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "dur"), call.dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(call.key));
        table.push_i64(col!(Syscall, "ret"), 0);
        table.push_list_u64(col!(Syscall, "args"), stored.list(&args));
        table.push_list_bytes(col!(Syscall, "strs"), stored.strings(&ids));
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
