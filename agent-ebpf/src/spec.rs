//! What the kernel side reads for each syscall: a map of one [`Spec`] for each ABI and number,
//! filled by the agent from its syscall table.

/// Numbers that the map has room for, in each ABI.
pub const NUMBERS: u32 = 1024;
/// ABIs in the map ([`events::Abi`]).
pub const ABIS: u32 = 3;

/// How an argument is read from user memory.
pub mod read {
    /// Nothing to read.
    pub const NONE: u8 = 0;
    /// A NUL-terminated string.
    pub const STRING: u8 = 1;
    /// A socket address whose length is the argument that follows.
    pub const SOCKADDR: u8 = 2;
    /// Room for a socket address, which the kernel fills in; its length is an `int` that the argument that follows points
    /// to.
    pub const SOCKADDR_OUT: u8 = 3;
    /// A `struct msghdr` that points to a socket address.
    pub const MSGHDR: u8 = 4;
    /// The same with 32-bit pointers.
    pub const MSGHDR32: u8 = 5;
    /// A `struct msghdr` that points to room for a socket address, which the kernel fills in.
    pub const MSGHDR_OUT: u8 = 6;
    /// The same with 32-bit pointers.
    pub const MSGHDR_OUT32: u8 = 7;
    /// The arguments of a program: an array of pointers to strings, with a null pointer at its end.
    pub const ARGV: u8 = 8;
    /// The same with 32-bit pointers.
    pub const ARGV32: u8 = 9;
    /// A string; the one that another argument points to follows its NUL. The second one of a call only.
    pub const TWO_STRINGS: u8 = 10;
    /// An array of `struct mmsghdr`, as many as the argument that follows states, each of which may point to a socket address:
    /// of each address its length in one byte, 0 for none, then the address.
    pub const MMSGHDR: u8 = 11;
    /// The same with 32-bit pointers.
    pub const MMSGHDR32: u8 = 12;
    /// The same with room for addresses, which the kernel fills in; as many as the result states.
    pub const MMSGHDR_OUT: u8 = 13;
    /// The same with 32-bit pointers.
    pub const MMSGHDR_OUT32: u8 = 14;
    /// Bytes that the call is given, as many as [`super::Spec::unit`] and [`super::Spec::count`] say. This and the next two
    /// are the highest ones.
    pub const BYTES: u8 = 15;
    /// Bytes that the call changes: read at the entry and again at the return.
    pub const BYTES_BOTH: u8 = 16;
    /// Bytes that the call fills in.
    pub const BYTES_OUT: u8 = 17;

    /// Whether it is one of the four kinds of arrays of messages.
    #[inline(always)]
    pub const fn is_messages(how: u8) -> bool {
        how >= MMSGHDR && how < BYTES
    }

    /// Bytes of a pointer in the array, for one of the last two: by arithmetic, since each branch doubles the work of the
    /// kernel's verifier.
    #[inline(always)]
    pub const fn argv_width(how: u8) -> u64 {
        8 >> (how - ARGV)
    }

    /// The same way for callers with 32-bit pointers.
    pub const fn with_32_bit_pointers(how: u8) -> u8 {
        match how {
            MSGHDR => MSGHDR32,
            MSGHDR_OUT => MSGHDR_OUT32,
            MMSGHDR => MMSGHDR32,
            MMSGHDR_OUT => MMSGHDR_OUT32,
            ARGV => ARGV32,
            _ => how,
        }
    }
}

/// Bits of [`Spec::flags`].
pub mod spec_flags {
    /// Not wanted in this capture.
    pub const SKIP: u8 = 1 << 0;
    /// `execve` and `execveat`: arguments and numbers in the registers are gone at return.
    pub const EXEC: u8 = 1 << 1;
    /// Never gives a result.
    pub const NO_RESULT: u8 = 1 << 2;
    /// `fork`, `vfork`, `clone` and `clone3`: they return in the child too.
    pub const FORK: u8 = 1 << 3;
    /// `accept` and `accept4`: they show which process a connection belongs to.
    pub const ACCEPT: u8 = 1 << 5;
    /// `sched_yield`: gives the CPU up by itself.
    pub const YIELD: u8 = 1 << 4;
    /// Sends a signal as the process that makes the call (`kill`, `pidfd_send_signal`).
    pub const KILL: u8 = 1 << 6;
    /// Fills in bytes that are recorded ([`super::read::BYTES_OUT`], [`super::read::BYTES_BOTH`]).
    pub const FILLS: u8 = 1 << 7;
}

/// How many units of bytes there are: bits of [`Spec::count`].
pub mod count {
    /// The argument that has the number, or the pointer to the second string of [`super::read::TWO_STRINGS`].
    pub const ARGUMENT: u8 = 7;
    /// One.
    pub const ONE: u8 = 1 << 3;
    /// The result has the number.
    pub const RESULT: u8 = 1 << 4;
    /// The argument points to an `int` that is the number, of bytes that are filled in.
    pub const POINTED: u8 = 1 << 6;
    /// None if what points to them is no pointer: below 65536, where nothing is mapped.
    pub const IF_POINTER: u8 = 1 << 7;
    /// As many words of 8 bytes as have this number of bits.
    pub const BITS: u8 = 1 << 5;
}

/// What a call's descriptors stand for: how [`Spec::files`] say what to look up.
pub mod file {
    /// The argument that is the descriptor.
    pub const ARGUMENT: u8 = 7;
    /// There is one.
    pub const DESCRIPTOR: u8 = 1 << 3;
    /// It starts a path, if that is relative: `AT_FDCWD` is the working directory.
    pub const BASE: u8 = 1 << 4;
    /// The path starts from the working directory, if it is relative.
    pub const CWD: u8 = 1 << 5;
    /// With one of these two: the path is the second string.
    pub const SECOND: u8 = 1 << 6;
    /// The call itself closes the descriptor.
    pub const CLOSED: u8 = 1 << 7;
}

/// What a call's result stands for ([`Spec::result`]).
pub mod result {
    /// Nothing that is looked up.
    pub const NONE: u8 = 0;
    /// A descriptor.
    pub const DESCRIPTOR: u8 = 1;
    /// Of `fcntl`: a descriptor, if the command duplicates one.
    pub const FCNTL: u8 = 2;
    /// Nothing, but the call has changed the working directory.
    pub const CWD: u8 = 3;
    /// Of `bpf`: a descriptor, if the command makes or opens something.
    pub const BPF: u8 = 4;
    /// Nothing, but the first string is two descriptors that the call has made. Both files are theirs.
    pub const PAIR: u8 = 5;
    /// Nothing, but the call has changed mounts, so that paths have changed.
    pub const MOUNTS: u8 = 6;
}

/// What to record of a call. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// One of [`crate::records::class`]: `ARGS0`, `ARGS3`, `ARGS6` or `STRINGS`.
    pub class: u8,
    /// Bits of [`spec_flags`].
    pub flags: u8,
    /// How the first string is read, one of [`read`].
    pub read0: u8,
    /// Which argument it is.
    pub arg0: u8,
    /// How the second string is read.
    pub read1: u8,
    /// Which argument it is.
    pub arg1: u8,
    /// Of a call that fills in a socket address: the argument that carries nothing, whose slot keeps from the entry on how
    /// much room the caller gave. 0 of all other calls.
    pub room: u8,
    /// The least result with which a call has filled in an address or bytes.
    pub least: u8,
    /// What stands for files: bits of [`mod@file`].
    pub files: [u8; 2],
    /// What its result stands for, one of [`result`]. Its place is that of the second file.
    pub result: u8,
    /// How many words there are for files in its record, 0 to 2.
    pub file_words: u8,
    /// Of strings that are bytes: how many one unit has.
    pub unit: [u8; 2],
    /// How many units there are: bits of [`mod@count`].
    pub count: [u8; 2],
}

const _: () = assert!(size_of::<Spec>() == 16);
