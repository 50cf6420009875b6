//! What of each call's record goes into the file.

use std::sync::LazyLock;

use agent_ebpf::spec::{ABIS, NUMBERS};
use capture_format::{ChunkBuilder, StrId};
use events::flags;
use events::{Abi, syscall_key};

use super::effects::Effect;
use crate::kernel::{has_no_result, is_filled_in, room_of};
use crate::record::cpu_stream::CallRecord;
use ktape_reader::syscalls::{self, ArgType, STRINGS_MAX, StructRule, sockaddr};

/// What of a call's record goes into the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredCall {
    /// How many arguments it has.
    pub(super) args: u8,
    /// What is stored of each.
    pub(super) forms: [Form; 6],
    /// How many strings its record has.
    strings: u8,
    /// The first one of them is the addresses of several messages.
    has_addresses: bool,
    /// The second one of them is two, with a NUL between them.
    is_double: bool,
    /// Which of them the call fills in or changes.
    pub(super) filled: [bool; 2],
    /// Which of them are only filled in.
    pub(super) out: [bool; 2],
    /// Which ones.
    places: [u8; 2],
    /// `execve` or `execveat`: a path and the program's arguments.
    pub exec: bool,
    /// What it changes if it succeeds.
    pub(super) effect: Effect,
    /// Its string is an address that the kernel fills in, if it returns.
    pub(super) filled_in: bool,
    /// Where its record has the room for that, and the argument that it belongs to.
    room: Option<(u8, u8)>,
    /// Its first string is a structure if this holds for the argument at that position; else something else is in its place.
    has_struct: Option<StructRule>,
    /// Bits of each of its events' flags.
    pub(super) flags: u32,
}

impl StoredCall {
    /// A call that is not in the table: all its registers.
    const UNKNOWN: Self = Self {
        args: 6,
        forms: [Form::Whole; 6],
        strings: 0,
        has_addresses: false,
        is_double: false,
        filled: [false; 2],
        out: [false; 2],
        places: [0; 2],
        exec: false,
        effect: Effect::None,
        filled_in: false,
        room: None,
        has_struct: None,
        flags: 0,
    };

    /// Whether it is `execveat`, which has a descriptor before its path.
    pub fn is_execveat(&self) -> bool {
        self.exec && self.places[0] == 1
    }

    /// What is to be said of a call of which only the return was seen.
    pub fn of_return(&self, call: &CallRecord<'_>) -> u32 {
        let read = if self.filled_in {
            if call.ret < 0 { 0 } else { flags::STR0_UNREAD }
        } else if self.exec && call.ret == 0
            || call.strings.iter().zip(self.filled).all(|(text, is_filled)| text.is_empty() || is_filled)
        {
            0
        } else {
            flags::STRINGS_UNCERTAIN
        };
        flags::START_UNKNOWN | read
    }

    /// The marks of its strings if none of them was read.
    pub fn unread(&self) -> u32 {
        let is_given = |string: u8| self.strings > string && !self.out[usize::from(string)];
        let first = if is_given(0) && !self.filled_in { flags::STR0_UNREAD } else { 0 };
        first | if is_given(1) { flags::STR1_UNREAD } else { 0 }
    }

    /// Whether its string is an address that the kernel fills in.
    pub fn is_filled_in(&self) -> bool {
        self.filled_in
    }

    /// Whether it changes the path of a file.
    pub fn renames(&self) -> bool {
        self.effect == Effect::Renames
    }

    /// The arguments of a record with these flags, with the room for a socket address in the place of the pointer to it: all
    /// bits if its entry was not seen.
    #[inline]
    pub fn with_room(&self, mut args: [u64; 6], bits: u32) -> [u64; 6] {
        if let Some((from, to)) = self.room {
            let is_unknown = bits & (flags::START_UNKNOWN | flags::SECCOMP) != 0;
            args[usize::from(to)] = if is_unknown { u64::MAX } else { args[usize::from(from)] };
        }
        args
    }

    /// The marks and strings of a record with these arguments: what was read where a number points to is none.
    #[inline]
    pub fn without_number<'a>(
        &self,
        args: &[u64; 6],
        bits: u32,
        strings: [&'a [u8]; 2],
    ) -> (u32, [&'a [u8]; 2]) {
        match self.has_struct {
            Some((at, has_struct)) if !has_struct(args[usize::from(at).min(5)]) => {
                (bits & !(flags::STR0_UNREAD | flags::STR0_CUT | flags::STRINGS_UNCERTAIN), [b"", strings[1]])
            }
            _ => (bits, strings),
        }
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

    /// Whether it fills in structures.
    pub fn fills(&self) -> bool {
        self.filled[0] || self.filled[1]
    }

    /// The strings of a record as they are stored, and how many there are.
    #[inline]
    pub fn interned(
        &self,
        builder: &mut ChunkBuilder,
        strings: &[&[u8]; 2],
    ) -> ([StrId; STRINGS_MAX], usize) {
        let mut stored = [strings[0], strings[1], b""];
        let mut count = usize::from(self.strings);
        if self.has_addresses {
            stored[0] = sockaddr::without_last_empty(strings[0]);
        }
        if self.is_double {
            let at = strings[1].iter().position(|byte| *byte == 0).unwrap_or(strings[1].len());
            (stored[1], stored[2]) = (&strings[1][..at], strings[1].get(at + 1..).unwrap_or_default());
            count = STRINGS_MAX;
        }
        let mut ids = [StrId::default(); STRINGS_MAX];
        for (id, bytes) in ids.iter_mut().zip(stored).take(count) {
            *id = builder.intern(bytes);
        }
        (ids, count)
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
            let (mut places, mut filled, mut out) = ([0; 2], [false; 2], [false; 2]);
            for (at, position) in positions.iter().enumerate().take(2) {
                let ty = call.args[usize::from(*position)].ty;
                (places[at], filled[at], out[at]) = (*position, ty.is_filled_in(), ty == ArgType::StructOut);
            }
            stored[slot(syscall_key(call.abi, call.nr))] = StoredCall {
                args: call.args.len().min(6) as u8,
                forms,
                strings: positions.len().min(2) as u8,
                has_addresses: call.args.iter().any(|arg| arg.ty == ArgType::Mmsghdr),
                is_double: positions.len() > 2,
                filled,
                out,
                places,
                exec: matches!(call.name, "execve" | "execveat"),
                effect: Effect::of(call.name),
                filled_in: is_filled_in(call),
                room: room_of(call),
                has_struct: syscalls::has_struct(call.name),
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
pub(super) enum Form {
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
    pub fn apply(self, register: u64) -> u64 {
        match self {
            Self::Whole => register,
            Self::Low => register & 0xffff_ffff,
            Self::SignedLow => register as u32 as i32 as i64 as u64,
            Self::Presence => u64::from(register != 0),
            Self::Nothing => 0,
        }
    }

    /// The form that agrees with [`syscalls::stored`] for this type.
    fn of(ty: ArgType, abi: Abi) -> Self {
        const PROBES: [u64; 4] = [0, 1, 0xffff_ffff, 0xdead_beef_8000_0001];
        let agrees = |form: &Self| PROBES.iter().all(|&r| form.apply(r) == syscalls::stored(ty, abi, r));
        Self::ALL.into_iter().find(agrees).unwrap_or(Self::Whole)
    }
}
