//! The syscall table: names, argument names and semantic types of all calls, in all ABIs.
//!
//! `cargo xtask syscalls` generates `x86_64.tbl` and `i386.tbl` from the kernel's own formats. The [`Signature`] of a call
//! determines what the recorder reads, what is stored ([`kept`], [`stored`]) and how it prints. Files carry the signatures,
//! so reading a file does not need this table.

mod file_roles;
mod meaning;
mod sets;
mod signature;
pub mod sockaddr;
mod structs;
mod types;
mod waits;

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use events::{ALL_ABIS, Abi, SYSCALL_NUMBERS, syscall_key};

pub use file_roles::{FileArg, FileResult, FileRoles, Paths, SocketRole};
pub use meaning::{Meanings, StructRule, has_struct};
pub use sets::{Arch, BitTest, ValueSet, value_sets};
pub use signature::{
    Arg, STRINGS_MAX, Signature, SignatureError, StringPositions, argument_name, string_positions,
};
pub use structs::{Extent, Form, Member, STRUCT_MAX, Stated, StructType};
pub use types::{ArgType, kept, stored};
pub use waits::is_wait;

/// One call of one ABI.
#[derive(Clone, Debug)]
pub struct Syscall {
    /// The ABI whose numbering `nr` uses.
    pub abi: Abi,
    /// The number, without the x32 bit.
    pub nr: u16,
    /// The name, as in the kernel's headers.
    pub name: &'static str,
    /// The arguments, in register order.
    pub args: Vec<Arg>,
}

impl Syscall {
    /// The value that identifies the call in records and files.
    pub fn key(&self) -> u32 {
        syscall_key(self.abi, self.nr)
    }

    /// The [`Signature`] as text.
    pub fn signature(&self) -> String {
        signature::write(self.name, &self.args)
    }
}

/// All known calls of an architecture.
#[derive(Debug)]
pub struct SyscallTable {
    calls: Vec<Syscall>,
    /// Index in `calls` by ABI and number.
    index: Vec<Option<u16>>,
    by_name: HashMap<&'static str, Vec<(Abi, u16)>>,
}

/// The table of this machine's architecture, parsed on first use (takes less than a millisecond).
pub fn table() -> &'static SyscallTable {
    static TABLE: LazyLock<SyscallTable> = LazyLock::new(|| {
        let mut table = SyscallTable::empty();
        table.add(include_str!("x86_64.tbl"), |column| match column {
            "common" => &[Abi::Native, Abi::X32],
            "64" => &[Abi::Native],
            "x32" => &[Abi::X32],
            _ => &[],
        });
        table.add(include_str!("i386.tbl"), |column| match column {
            "i386" => &[Abi::Compat],
            _ => &[],
        });
        table
    });
    &TABLE
}

fn slot(abi: Abi, nr: u16) -> Option<usize> {
    (u32::from(nr) < SYSCALL_NUMBERS).then(|| abi as usize * SYSCALL_NUMBERS as usize + nr as usize)
}

impl SyscallTable {
    fn empty() -> Self {
        Self {
            calls: Vec::with_capacity(1300),
            index: vec![None; ALL_ABIS.len() * SYSCALL_NUMBERS as usize],
            by_name: HashMap::with_capacity(600),
        }
    }

    /// Adds the lines of a table file. Ignores lines that do not parse, so that their calls have no name; a test checks that
    /// there are none.
    fn add(&mut self, text: &'static str, abis: impl Fn(&str) -> &'static [Abi]) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            let (Some(nr), Some(column), Some(name)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(nr) = nr.parse::<u16>() else { continue };
            let mut args: Vec<Arg> = words.filter_map(Arg::parse_static).collect();
            if !matches!(column, "common" | "64") {
                args.iter_mut().for_each(|arg| arg.remove_wide_struct(name));
            }
            for &abi in abis(column) {
                let Some(slot) = slot(abi, nr) else { continue };
                self.index[slot] = u16::try_from(self.calls.len()).ok();
                self.by_name.entry(name).or_default().push((abi, nr));
                self.calls.push(Syscall { abi, nr, name, args: args.clone() });
            }
        }
    }

    /// The call with this number, if it is in the table.
    pub fn get(&self, abi: Abi, nr: u16) -> Option<&Syscall> {
        let position = self.index[slot(abi, nr)?]?;
        self.calls.get(usize::from(position))
    }

    /// The call with this key ([`syscall_key`]), if it is in the table.
    pub fn get_key(&self, key: u32) -> Option<&Syscall> {
        let (abi, nr) = split_key(key)?;
        self.get(abi, nr)
    }

    /// The name of the call, or `syscall_123` for a number that is not in the table.
    pub fn name(&self, abi: Abi, nr: u16) -> Cow<'static, str> {
        match self.get(abi, nr) {
            Some(call) => Cow::Borrowed(call.name),
            None => Cow::Owned(unknown_name(nr)),
        }
    }

    /// ABI and number of all calls with this name. `syscall_123` stands for the unknown number 123 of each ABI. Empty if there
    /// is no such call.
    pub fn by_name(&self, name: &str) -> Vec<(Abi, u16)> {
        if let Some(found) = self.by_name.get(name) {
            return found.clone();
        }
        let Some(nr) = parse_unknown_name(name) else { return Vec::new() };
        ALL_ABIS.into_iter().filter(|&abi| self.get(abi, nr).is_none()).map(|abi| (abi, nr)).collect()
    }

    /// All calls, by ABI and in the order of the table files.
    pub fn iter(&self) -> impl Iterator<Item = &Syscall> {
        self.calls.iter()
    }

    /// Key and signature of all calls, for the header of a capture.
    pub fn vocabulary(&self) -> Vec<(u64, String)> {
        let mut entries: Vec<_> =
            self.calls.iter().map(|call| (u64::from(call.key()), call.signature())).collect();
        entries.sort_unstable_by_key(|&(key, _)| key);
        entries
    }
}

/// ABI and number of a key ([`syscall_key`]); `None` if the key is not valid.
pub fn split_key(key: u32) -> Option<(Abi, u16)> {
    let abi = *ALL_ABIS.get((key >> 16) as usize)?;
    Some((abi, key as u16))
}

/// The name for a number without a name.
pub fn unknown_name(nr: u16) -> String {
    format!("syscall_{nr}")
}

/// The number in a name from [`unknown_name`].
pub fn parse_unknown_name(name: &str) -> Option<u16> {
    let digits = name.strip_prefix("syscall_")?;
    let nr = digits.parse().ok()?;
    // Only the canonical spelling: no sign, no leading zero.
    (unknown_name(nr) == name).then_some(nr)
}
