//! Requests of io_uring: what the kernel side keeps of them while they are in flight, and the record of their completion.

use super::{Header, plain};

/// 64-bit words of a submission queue entry, without what follows in entries of 128 bytes.
pub const SQE_WORDS: usize = 8;
/// Operations that the map of [`Op`]s has room for: an operation is a byte.
pub const OPS: u32 = 256;

/// Bits in [`Request::bits`].
pub mod bits {
    /// What has completed is not known: this kernel does not report it, and several requests of the ring with the same user data are
    /// in flight, or none is.
    pub const AMBIGUOUS: u32 = 1 << 0;
    /// The submission was not seen.
    pub const UNKNOWN: u32 = 1 << 1;
    /// The submission queue entry could not be read.
    pub const NO_ENTRY: u32 = 1 << 2;
    /// The first string was sent, as a [`super::Text`].
    pub const TEXT0: u32 = 1 << 3;
    /// The second string was sent.
    pub const TEXT1: u32 = 1 << 4;
}

/// Where the integer is that stands for a file, in the [`crate::spec::file::ARGUMENT`] bits of [`Op::files`].
pub mod fd_at {
    /// `fd`.
    pub const FD: u8 = 0;
    /// `len`.
    pub const LEN: u8 = 1;
    /// `splice_fd_in`.
    pub const SPLICE: u8 = 2;
    /// The lower half of `off`.
    pub const OFF: u8 = 3;
}

/// Bits of [`Op::flags`].
pub mod op_flags {
    /// Its result is a descriptor, unless the file goes to a place among the ring's own files.
    pub const RETURNS_FILE: u8 = 1 << 0;
    /// It accepts a connection.
    pub const ACCEPTS: u8 = 1 << 1;
    /// A completion that announces another one is nevertheless the last that counts: the other one only gives a buffer back.
    pub const NOTIFIES: u8 = 1 << 2;
    /// With bit 0 of `ioprio` it completes again and again.
    pub const MULTISHOT_PRIO0: u8 = 1 << 3;
    /// With bit 1 of `ioprio` it completes again and again.
    pub const MULTISHOT_PRIO1: u8 = 1 << 4;
    /// With bit 0 of `len` it completes again and again.
    pub const MULTISHOT_LEN: u8 = 1 << 5;
    /// With bit 6 of its flags it completes again and again.
    pub const MULTISHOT_FLAGS: u8 = 1 << 6;
    /// It completes again and again.
    pub const MULTISHOT: u8 = 1 << 7;
}

/// What the kernel side looks up of an operation. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Op {
    /// What stands for files: bits of [`mod@crate::spec::file`], with one of [`fd_at`] in place of an argument.
    pub files: [u8; 2],
    /// How both strings are read, one of [`mod@crate::spec::read`].
    pub how: [u8; 2],
    /// The words of the submission queue entry that point to them.
    pub at: [u8; 2],
    /// The word with the length of an address.
    pub len_at: u8,
    /// Bits of [`op_flags`].
    pub flags: u8,
    /// Where the request keeps the kernel's own copies of the strings (`struct filename *`), 0 if nowhere.
    pub names: [u16; 2],
    /// Always 0.
    pub reserved: u32,
}

/// A request in flight. 144 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// When it was submitted, ns of CLOCK_BOOTTIME.
    pub start: u64,
    /// A number of its own: that of its strings.
    pub id: u64,
    /// The cgroup of the thread that submitted it.
    pub cgroup: u64,
    /// What its descriptors stand for, by id.
    pub files: [u64; 2],
    /// Its `user_data`.
    pub user_data: u64,
    /// Its submission queue entry, zeroes if that could not be read.
    pub sqe: [u64; SQE_WORDS],
    /// The process that submitted it.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The thread's effective user id.
    pub uid: u32,
    /// One of [`mod@bits`].
    pub bits: u32,
    /// Bits of [`events::flags`] about its strings.
    pub marks: u32,
    /// The operation (`IORING_OP_*`).
    pub opcode: u32,
    /// How many other requests have the same user data, where that is all that identifies them.
    pub others: u32,
    /// Always 0.
    pub reserved: u32,
}

/// A completed request. The header's subject is the thread that submitted it. 200 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Uring {
    /// Common part; `time` is the completion.
    pub head: Header,
    /// What is known from its submission.
    pub request: Request,
    /// The file that its result stands for, by id.
    pub made: u64,
    /// Its result; errors are negative.
    pub result: i32,
    /// Flags of the completion (`IORING_CQE_F_*`).
    pub cqe_flags: u32,
    /// 1 if more completions follow.
    pub more: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Most bytes of a string, its NUL included.
pub const TEXT: usize = 4096;

/// What precedes the bytes of a [`Text`]. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TextHead {
    /// Common part.
    pub head: Header,
    /// The request's [`Request::id`].
    pub id: u64,
    /// Which of its strings.
    pub slot: u32,
    /// How many bytes of it follow.
    pub len: u32,
}

/// A string of a request, sent when that is submitted. No event, and a system call by its kind; its [`Header::class`] is
/// [`Text::CLASS`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// What precedes the bytes.
    pub fixed: TextHead,
    /// The bytes.
    pub bytes: [u8; TEXT],
}

impl Text {
    /// In [`Header::class`].
    pub const CLASS: u8 = 18;
}

plain! {
    Op = 16;
    Request = 48 + 64 + 32;
    Uring = 32 + 144 + 24;
    TextHead = 32 + 16;
    Text = 48 + TEXT;
}
