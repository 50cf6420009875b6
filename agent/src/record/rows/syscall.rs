//! System calls.

use agent_ebpf::records::Header;
use agent_ebpf::spec::{ABIS, NUMBERS};
use capture_format::{ChunkBuilder, StrId};
use events::flags;
use events::{Abi, Kind, syscall_key};

use super::{Rows, col};
use crate::kernel::ScannedTask;
use crate::record::decode;
use ktape_reader::syscalls;

/// What of a syscall record goes into the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// How many arguments it has.
    args: u8,
    /// What of each is kept.
    forms: [Form; 6],
    /// How many of them are strings.
    strings: u8,
    /// `execve` or `execveat`.
    exec: bool,
}

/// What of an argument register is kept: [`syscalls::stored`], worked out in advance.
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

impl Rows {
    #[inline]
    pub(super) fn syscall(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let mut record = decode::syscall(bytes)?;
        let call = &mut record.call;
        let stored = self.stored.get(slot(call.key)).copied().unwrap_or(UNKNOWN_CALL);
        let exec_path =
            if stored.exec && call.ret == 0 { self.processes.take_exec_path(call.head.tid) } else { None };
        if !self.wanted.contains(Kind::Syscall) || !self.cgroups.wants(call.head.cgroup) {
            return Some(());
        }
        let mut strings = record.strings;
        if let Some(exec_path) = &exec_path {
            strings[0] = &exec_path.path;
            call.head.flags = call.head.flags & !(flags::STR0_UNREAD | flags::STR0_CUT) | exec_path.bits;
        }
        self.count(call.head.cgroup);
        let index = self.common(builder, Kind::Syscall, &call.head, call.uid);
        let mut ids = [StrId::default(); 2];
        for (id, bytes) in ids.iter_mut().zip(&strings[..usize::from(stored.strings)]) {
            *id = builder.intern(bytes);
        }
        let mut args = record.args;
        for (arg, form) in args.iter_mut().zip(stored.forms) {
            *arg = form.apply(*arg);
        }
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "dur"), call.dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(call.key));
        table.push_i64(col!(Syscall, "ret"), call.ret);
        table.push_list_u64(col!(Syscall, "args"), &args[..usize::from(stored.args)]);
        table.push_list_bytes(col!(Syscall, "strs"), &ids[..usize::from(stored.strings)]);
        table.end_row();
        Some(())
    }

    /// The arguments of a call as they are stored, and how many there are.
    pub(super) fn stored_args(&self, key: u32, mut args: [u64; 6]) -> ([u64; 6], usize) {
        let stored = self.stored.get(slot(key)).copied().unwrap_or(UNKNOWN_CALL);
        for (arg, form) in args.iter_mut().zip(stored.forms) {
            *arg = form.apply(*arg);
        }
        (args, usize::from(stored.args))
    }

    /// Writes the calls that the scan at the end found threads in.
    pub fn unfinished(&mut self, builder: &mut ChunkBuilder, task: &ScannedTask, now: u64) {
        let info = &task.info;
        // Calls may have begun while the hooks were taken out.
        if info.call == u32::MAX
            || info.call_start > now
            || !self.wanted.contains(Kind::Syscall)
            || !self.cgroups.wants(info.cgroup)
        {
            return;
        }
        let mut bits = flags::UNFINISHED | flags::AT_END;
        let mut dur = 0;
        if info.call_start == 0 {
            bits |= flags::START_UNKNOWN;
        } else {
            dur = now.saturating_sub(info.call_start);
        }
        let stored = self.stored.get(slot(info.call)).copied().unwrap_or(UNKNOWN_CALL);
        if stored.strings > 0 {
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
        let index = self.common(builder, Kind::Syscall, &head, info.uid);
        let mut args = info.args;
        for (arg, form) in args.iter_mut().zip(stored.forms) {
            *arg = form.apply(*arg);
        }
        let empty = [StrId::default(); 2];
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "dur"), dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(info.call));
        table.push_i64(col!(Syscall, "ret"), 0);
        table.push_list_u64(col!(Syscall, "args"), &args[..usize::from(stored.args)]);
        table.push_list_bytes(col!(Syscall, "strs"), &empty[..usize::from(stored.strings)]);
        table.end_row();
    }
}

/// A call that the table does not know: its registers are all there is.
pub(super) const UNKNOWN_CALL: Stored = Stored { args: 6, forms: [Form::Whole; 6], strings: 0, exec: false };

#[inline]
pub(super) fn slot(key: u32) -> usize {
    let nr = key & 0xffff;
    if nr >= NUMBERS { usize::MAX } else { ((key >> 16) * NUMBERS + nr) as usize }
}

pub(super) fn stored_calls() -> Vec<Stored> {
    let mut stored = vec![UNKNOWN_CALL; (ABIS * NUMBERS) as usize];
    for call in syscalls::table().iter() {
        let mut forms = [Form::Nothing; 6];
        for (form, arg) in forms.iter_mut().zip(&call.args) {
            *form = Form::of(arg.ty, call.abi);
        }
        stored[slot(syscall_key(call.abi, call.nr))] = Stored {
            args: call.args.len().min(6) as u8,
            forms,
            strings: syscalls::string_positions(&call.args).len() as u8,
            exec: matches!(call.name, "execve" | "execveat"),
        };
    }
    stored
}
