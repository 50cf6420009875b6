//! What an argument means.

use events::Abi;

#[cfg(test)]
mod tests;

macro_rules! arg_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The semantic type of an argument.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ArgType { $($(#[$doc])* $variant,)* }

        impl ArgType {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in a signature, where no more specific one is known.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

arg_types! {
    /// Signed, 32 bits.
    Int = "int",
    /// Unsigned, 32 bits.
    Uint = "uint",
    /// Signed, as wide as a register.
    Long = "long",
    /// Unsigned, as wide as a register.
    Ulong = "ulong",
    /// A file descriptor.
    Fd = "fd",
    /// A file descriptor that a relative path starts from, or `AT_FDCWD`.
    Dirfd = "dirfd",
    /// A NUL-terminated path.
    Path = "path",
    /// A socket address; its length is the argument that follows.
    Sockaddr = "sockaddr",
    /// Room for a socket address; the argument that follows points to its length.
    SockaddrOut = "sockaddr_out",
    /// A message header that may point to a socket address (of an array: the first).
    Msghdr = "msghdr",
    /// A pointer that says nothing: dropped.
    Ptr = "ptr",
    /// A number of bytes.
    Size = "size",
    /// A file position or range, in bytes.
    Offset = "offset",
    /// A set of bits.
    Flags = "flags",
    /// File permissions.
    Mode = "mode",
    /// A process or thread id.
    Pid = "pid",
    /// A user id.
    Uid = "uid",
    /// A group id.
    Gid = "gid",
    /// A signal's number.
    Signal = "signal",
    /// A memory address that means something by itself.
    Address = "address",
    /// What a multiplexed call is asked to do.
    Command = "command",
    /// Another value out of a fixed set.
    Const = "const",
    /// A NUL-terminated string that is no path.
    String = "string",
}

impl ArgType {
    /// The type that a name in a signature stands for.
    ///
    /// A name such as `open_flags` or `fcntl_cmd` says which set of names a value is from; its last word
    /// says what it is. So a reader can handle names that it has never seen; one that it cannot place
    /// is an unsigned number.
    pub fn parse(name: &str) -> Self {
        if let Some(&ty) = Self::ALL.iter().find(|ty| ty.name() == name) {
            return ty;
        }
        match name.rsplit('_').next().unwrap_or(name) {
            "flags" | "prot" | "mask" => Self::Flags,
            "cmd" => Self::Command,
            "const" => Self::Const,
            "path" => Self::Path,
            "string" => Self::String,
            _ => Self::Ulong,
        }
    }

    /// Whether its value is bytes in user memory that the kernel side can read.
    pub const fn is_string(self) -> bool {
        matches!(self, Self::Path | Self::Sockaddr | Self::SockaddrOut | Self::Msghdr | Self::String)
    }

    /// Whether [`stored`] gives a two's complement number.
    pub const fn is_signed(self) -> bool {
        matches!(
            self,
            Self::Int
                | Self::Long
                | Self::Fd
                | Self::Dirfd
                | Self::Offset
                | Self::Pid
                | Self::Signal
                | Self::Const
        )
    }

    /// Whether the kernel looks at the low 32 bits only, whatever the ABI.
    const fn is_32_bits(self) -> bool {
        matches!(
            self,
            Self::Int
                | Self::Uint
                | Self::Fd
                | Self::Dirfd
                | Self::Mode
                | Self::Pid
                | Self::Uid
                | Self::Gid
                | Self::Signal
                | Self::Command
                | Self::Const
        )
    }
}

/// Whether an argument's register is worth storing. Pointers are not: the bytes behind a string are
/// stored instead, and a bare buffer says nothing.
pub const fn kept(ty: ArgType) -> bool {
    !matches!(ty, ArgType::Ptr) && !ty.is_string()
}

/// The value to store for an argument register.
///
/// Bits that the kernel ignores are cut off (libraries leave garbage there), signed types are sign-extended
/// to 64 bits. Of a string only whether there was one is stored, 1 or (for a null pointer) 0; of other
/// pointers nothing, 0.
pub const fn stored(ty: ArgType, abi: Abi, register: u64) -> u64 {
    let register = match abi {
        Abi::Compat => register as u32 as u64,
        Abi::Native | Abi::X32 => register,
    };
    if ty.is_string() {
        return (register != 0) as u64;
    }
    if !kept(ty) {
        return 0;
    }
    let narrow = ty.is_32_bits() || matches!(abi, Abi::Compat);
    match (narrow, ty.is_signed()) {
        (true, true) => register as u32 as i32 as i64 as u64,
        (true, false) => register as u32 as u64,
        (false, _) => register,
    }
}
