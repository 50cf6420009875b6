//! System calls.

use std::sync::Arc;

use agent_ebpf::records::Header;
use agent_ebpf::spec::{ABIS, NUMBERS};
use capture_format::{ChunkBuilder, StrId};
use events::flags;
use events::{Abi, Kind, NO_CALL, syscall_key};

use super::{RowWriter, col};
use crate::kernel::{ScannedTask, is_filled_in};
use crate::record::decode;
use crate::record::processes::STRING_BITS;
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
    /// `execve` or `execveat`: a path and the program's arguments.
    exec: bool,
    /// Its string is an address that the kernel fills in, if it returns.
    filled_in: bool,
}

impl StoredCall {
    /// A call that is not in the table: all its registers.
    const UNKNOWN: Self =
        Self { args: 6, forms: [Form::Whole; 6], strings: 0, exec: false, filled_in: false };

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

    /// The first ones of the record's strings, as many as the call has.
    #[inline]
    fn strings<'a, T>(&self, strings: &'a [T; 2]) -> &'a [T] {
        &strings[..usize::from(self.strings)]
    }
}

/// Calls by [`syscall_key`].
#[derive(Debug)]
pub(super) struct StoredCalls(Vec<StoredCall>);

impl StoredCalls {
    /// From the table of syscalls.
    pub fn new() -> Self {
        let mut stored = vec![StoredCall::UNKNOWN; (ABIS * NUMBERS) as usize];
        for call in syscalls::table().iter() {
            let mut forms = [Form::Nothing; 6];
            for (form, arg) in forms.iter_mut().zip(&call.args) {
                *form = Form::of(arg.ty, call.abi);
            }
            stored[slot(syscall_key(call.abi, call.nr))] = StoredCall {
                args: call.args.len().min(6) as u8,
                forms,
                strings: syscalls::string_positions(&call.args).len() as u8,
                exec: matches!(call.name, "execve" | "execveat"),
                filled_in: is_filled_in(call),
            };
        }
        Self(stored)
    }

    #[inline]
    pub fn get(&self, key: u32) -> StoredCall {
        self.0.get(slot(key)).copied().unwrap_or(StoredCall::UNKNOWN)
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

impl RowWriter {
    #[inline]
    pub(super) fn syscall(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let mut record = decode::syscall(bytes)?;
        let call = &mut record.call;
        let stored = self.calls.get(call.key);
        let exec_path =
            if stored.exec && call.ret == 0 { self.processes.take_exec_path(call.head.tid) } else { None };
        // From the time before the kernel side knew that it reads the output.
        let is_reader = self.readers.is_some() && self.scope.is_excluded(call.head.pid);
        if is_reader || !self.wants_cgroup(Kind::Syscall, call.head.cgroup) {
            return Some(());
        }
        let mut strings = record.strings;
        let args: Arc<[u8]>;
        let masked;
        if let Some(exec_path) = &exec_path {
            args = self.processes.args_of(call.head.tid);
            strings = [&exec_path.path, &args];
            call.head.flags = call.head.flags & !STRING_BITS | exec_path.bits;
        } else if stored.exec {
            masked = self.processes.masked(strings[1]);
            strings[1] = &masked;
        }
        self.count(call.head.cgroup);
        let index = self.common(builder, Kind::Syscall, &call.head, call.uid);
        let mut ids = [StrId::default(); 2];
        for (id, bytes) in ids.iter_mut().zip(stored.strings(&strings)) {
            *id = builder.intern(bytes);
        }
        let args = stored.apply(record.args);
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "dur"), call.dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(call.key));
        table.push_i64(col!(Syscall, "ret"), call.ret);
        table.push_list_u64(col!(Syscall, "args"), stored.list(&args));
        table.push_list_bytes(col!(Syscall, "strs"), stored.strings(&ids));
        table.end_row();
        Some(())
    }

    /// Writes the call that the scan at the end, at `now`, found a thread in.
    pub fn unfinished(&mut self, builder: &mut ChunkBuilder, task: &ScannedTask, now: u64) {
        let info = &task.info;
        // Calls may have begun while the hooks were detached.
        if info.call == NO_CALL || info.call_start > now || !self.wants_cgroup(Kind::Syscall, info.cgroup) {
            return;
        }
        let mut bits = flags::UNFINISHED | flags::AT_END;
        let mut dur = 0;
        if info.call_start == 0 {
            bits |= flags::START_UNKNOWN;
        } else {
            dur = now.saturating_sub(info.call_start);
        }
        let stored = self.calls.get(info.call);
        if stored.strings > 0 && !stored.filled_in {
            bits |= flags::STR0_UNREAD;
        }
        if stored.strings > 1 {
            bits |= flags::STR1_UNREAD;
        }
        let head = Header {
            time: now,
            cgroup: info.cgroup,
            pid: info.pid,
            tid: info.tid,
            flags: bits,
            kind: Kind::Syscall as u8,
            ..Header::default()
        };
        self.count(info.cgroup);
        self.processes.set_parent(&head, info.ppid);
        let index = self.common(builder, Kind::Syscall, &head, info.uid);
        let args = stored.apply(info.args);
        let empty = [StrId::default(); 2];
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "dur"), dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(info.call));
        table.push_i64(col!(Syscall, "ret"), 0);
        table.push_list_u64(col!(Syscall, "args"), stored.list(&args));
        table.push_list_bytes(col!(Syscall, "strs"), stored.strings(&empty));
        table.end_row();
    }
}
