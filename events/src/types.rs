//! The table of column types: one row for each.

/// How the values of a column are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// An unsigned number.
    U64,
    /// A signed number.
    I64,
    /// Bytes of any length.
    Bytes,
    /// Unsigned numbers, as many as the call in the row's `nr` column has arguments.
    U64List,
    /// Byte strings, as many as the call in the row's `nr` column has strings.
    BytesList,
    /// A row of the chunk's task dictionary.
    TaskRow,
    /// A row of the chunk's cgroup dictionary.
    CgroupRow,
    /// A row of the chunk's file dictionary.
    FileRow,
}

/// Makes [`Ty`] and what follows from it. A row is
///
/// ```text
/// /// What its integers or bytes mean.
/// Variant: Storage, "name in files";
/// ```
///
/// Names are stored in files: never rename one.
macro_rules! types {
    ($($(#[doc = $doc:literal])* $ty:ident: $storage:ident, $name:literal;)*) => {
        /// The type of a column: what its integers or bytes mean.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Ty {
            $($(#[doc = $doc])* $ty,)*
        }

        /// All types, in the order of the table.
        pub const TYPES: &[Ty] = &[$(Ty::$ty,)*];

        impl Ty {
            /// How its values are stored.
            pub const fn storage(self) -> Storage {
                match self {
                    $(Ty::$ty => Storage::$storage,)*
                }
            }

            /// Its name in the schema of files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Ty::$ty => $name,)*
                }
            }

            /// What its integers or bytes mean.
            pub const fn doc(self) -> &'static str {
                match self {
                    $(Ty::$ty => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

types! {
    /// Nanoseconds of CLOCK_BOOTTIME.
    Time: U64, "time";
    /// A length of time in nanoseconds.
    Duration: U64, "duration";
    /// A CPU number.
    Cpu: U64, "cpu";
    /// Bits of [`crate::flags`].
    Flags: U64, "flags";
    /// A process or thread id in the initial pid namespace.
    Pid: U64, "pid";
    /// A user id in the initial user namespace.
    Uid: U64, "uid";
    /// A plain unsigned number.
    U64: U64, "u64";
    /// A signed number.
    I64: I64, "i64";
    /// A yes or no, 1 or 0.
    Bool: U64, "bool";
    /// ABI and number of a syscall, see [`crate::syscall_key`].
    Syscall: U64, "syscall";
    /// The result of a syscall; -4095 to -1 are errors.
    SyscallResult: I64, "syscallresult";
    /// The arguments of a syscall, one integer for each declared argument, read through the syscall table.
    SyscallArgs: U64List, "syscallargs";
    /// The strings of a syscall, one for each argument that is a path or a socket address, in argument order.
    SyscallStrings: BytesList, "syscallstrings";
    /// The number of a signal, 0 for none.
    Signal: U64, "signal";
    /// A kind of event, as its number.
    Kind: U64, "kind";
    /// A path.
    Path: Bytes, "path";
    /// NUL-separated arguments.
    Args: Bytes, "args";
    /// Other bytes meant to be read as text.
    Text: Bytes, "text";
    /// The task that the event is about (a row of the task dictionary).
    Task: TaskRow, "task";
    /// A cgroup (a row of the cgroup dictionary).
    Cgroup: CgroupRow, "cgroup";
    /// A file, directory, socket or whatever else a descriptor can stand for (a row of the file dictionary).
    File: FileRow, "file";
    /// A length of time in nanoseconds that may be [`crate::UNKNOWN`].
    MaybeDuration: U64, "duration?";
    /// A plain unsigned number that may be [`crate::UNKNOWN`].
    MaybeU64: U64, "u64?";
    /// A signed number that may be unknown: [`crate::UNKNOWN_SIGNED`].
    MaybeI64: I64, "i64?";
    /// A number of bytes that may be [`crate::UNKNOWN`].
    Size: U64, "bytes?";
    /// Why a thread left the CPU, see [`crate::task_state`].
    TaskState: U64, "taskstate";
    /// The number of an error, 0 for none.
    Errno: U64, "errno";
    /// A device number, `major << 20 | minor`, that may be [`crate::UNKNOWN`].
    Device: U64, "device?";
    /// A raw `struct sockaddr`; empty if there is none.
    SockAddr: Bytes, "sockaddr";
    /// A number in hundredths, such as a load average, that may be [`crate::UNKNOWN`].
    MaybeHundredths: U64, "hundredths?";
    /// Lines of a kernel backtrace, innermost first, each with its NUL.
    Stack: Bytes, "stack";
}
