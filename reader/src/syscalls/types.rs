//! The semantic types of syscall arguments.

use events::Abi;

#[cfg(test)]
mod tests;

macro_rules! arg_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The semantic type of an argument.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ArgType { $($(#[$doc])* $variant,)* }

        impl ArgType {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in a signature, unless a more specific one is used.
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
    /// A directory file descriptor for relative paths, or `AT_FDCWD`.
    Dirfd = "dirfd",
    /// A NUL-terminated path.
    Path = "path",
    /// A socket address; its length is the argument that follows.
    Sockaddr = "sockaddr",
    /// Where the room for a socket address is stated, and then its length. The room is stored, all bits if it is unknown.
    Socklen = "socklen",
    /// A buffer for a socket address; the argument that follows points to its length.
    SockaddrOut = "sockaddr_out",
    /// A message header, which may point to a socket address. In captures before 0.2 also an array, of which the first one
    /// was read.
    Msghdr = "msghdr",
    /// An array of message headers, each of which may point to a socket address; see [`super::sockaddr::addresses`].
    Mmsghdr = "mmsghdr",
    /// The arguments of a program; stored as strings, each with its NUL.
    Argv = "argv",
    /// A pointer without meaning outside the process; not recorded.
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
    /// A memory address that is meaningful as a number.
    Address = "address",
    /// The operation of a multiplexed call, such as `ioctl`.
    Command = "command",
    /// Any other value out of a fixed set.
    Const = "const",
    /// A NUL-terminated string that is not a path.
    String = "string",
    /// The number of a device.
    Device = "device",
    /// A structure that the call is given, see [`super::StructType`].
    Struct = "struct_in",
    /// A structure that the call is given, or a number: that depends on another argument. Both are stored.
    StructOrNumber = "struct_either",
    /// A structure that the call fills in.
    StructOut = "struct_out",
    /// A structure that the call is given and changes.
    StructInOut = "struct_inout",
}

impl ArgType {
    /// The type for a type name in a signature.
    ///
    /// A name such as `open_flags` or `fcntl_cmd` names a set of values; its last word is the type. So readers can handle
    /// names added later. Names with an unknown last word are unsigned numbers.
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
            "in" => Self::Struct,
            "either" => Self::StructOrNumber,
            "out" => Self::StructOut,
            "inout" => Self::StructInOut,
            _ => Self::Ulong,
        }
    }

    /// Whether the value is in user memory and the eBPF programs can read it.
    pub const fn is_string(self) -> bool {
        matches!(
            self,
            Self::Path
                | Self::Sockaddr
                | Self::SockaddrOut
                | Self::Msghdr
                | Self::Mmsghdr
                | Self::Argv
                | Self::String
        ) || self.is_struct()
    }

    /// Whether it is a structure in user memory.
    pub const fn is_struct(self) -> bool {
        matches!(self, Self::Struct | Self::StructOrNumber | Self::StructOut | Self::StructInOut)
    }

    /// Whether it is one that the call fills in or changes.
    pub const fn is_filled_in(self) -> bool {
        matches!(self, Self::StructOut | Self::StructInOut)
    }

    /// Whether [`stored`] returns a two's complement number.
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

    /// Whether the kernel uses only the low 32 bits, in every ABI.
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
                | Self::Device
        )
    }
}

/// Whether an argument's register is stored. Pointers are not: strings are stored by content, and addresses of buffers
/// have no meaning outside the process.
pub const fn kept(ty: ArgType) -> bool {
    matches!(ty, ArgType::StructOrNumber) || !matches!(ty, ArgType::Ptr) && !ty.is_string()
}

/// The value to store for an argument register.
///
/// Bits that the kernel ignores are cleared, since libraries leave garbage there; signed types are sign-extended to 64
/// bits. For strings the value is 1, or 0 for a null pointer; for other pointers it is 0.
pub const fn stored(ty: ArgType, abi: Abi, register: u64) -> u64 {
    let register = match abi {
        Abi::Compat => register as u32 as u64,
        Abi::Native | Abi::X32 => register,
    };
    if !kept(ty) {
        return (ty.is_string() && register != 0) as u64;
    }
    let narrow = ty.is_32_bits() || matches!(abi, Abi::Compat);
    match (narrow, ty.is_signed()) {
        (true, true) => register as u32 as i32 as i64 as u64,
        (true, false) => register as u32 as u64,
        (false, _) => register,
    }
}
