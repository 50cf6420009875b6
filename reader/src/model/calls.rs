//! Names and arguments of syscalls, from the vocabulary that a file carries.

use std::sync::OnceLock;

use capture_format::Header;
use events::Abi;
use rustc_hash::FxHashMap;

use super::schema::CALLS;
use crate::syscalls::{self, Arch, FileRoles, Meanings, Signature, StructType};
use crate::text::number;

/// Numbers below this are found without a hash, in each ABI.
const DENSE: u64 = 1024;

/// A syscall as the recording host knew it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Name and arguments.
    pub signature: Signature,
    /// For each argument, which of the stored strings is its value.
    pub strings: [Option<u8>; 6],
    /// For each argument, which structure it is.
    pub structs: [Option<&'static StructType>; 6],
    /// The architecture of the recording host.
    pub arch: Arch,
    /// Whether its purpose is to wait: for time, descriptors, processes, signals, locks or messages.
    pub is_wait: bool,
    meanings: OnceLock<Meanings>,
    file_roles: OnceLock<FileRoles>,
}

impl Call {
    fn new(signature: Signature, arch: Arch) -> Self {
        let mut strings = [None; 6];
        for (slot, position) in signature.string_positions().iter().enumerate() {
            strings[usize::from(*position)] = Some(slot as u8);
        }
        let mut structs = [None; 6];
        for (known, arg) in structs.iter_mut().zip(&signature.args).filter(|(_, arg)| arg.ty.is_struct()) {
            *known = StructType::of_tag(&arg.tag);
        }
        let is_wait = syscalls::is_wait(&signature.name);
        Self {
            signature,
            strings,
            structs,
            arch,
            is_wait,
            meanings: OnceLock::new(),
            file_roles: OnceLock::new(),
        }
    }

    /// What its arguments mean together. Looked up on first use, since few of the calls of a file are shown.
    #[inline]
    pub fn meanings(&self) -> &Meanings {
        self.meanings.get_or_init(|| Meanings::new(&self.signature, self.arch))
    }

    /// What the files of its events are to it. Looked up on first use.
    #[inline]
    pub fn file_roles(&self) -> &FileRoles {
        self.file_roles.get_or_init(|| FileRoles::new(&self.signature))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.signature.name
    }
}

/// The syscalls of a file.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    calls: Vec<(u64, Call)>,
    /// Position in `calls` plus one, by ABI and number.
    dense: Vec<u16>,
    sparse: FxHashMap<u64, u16>,
}

impl Calls {
    /// Reads the vocabulary of a header. An entry that cannot be read is a call without a name.
    pub fn new(header: &Header) -> Self {
        let entries = header.vocabulary(CALLS).map_or(&[][..], |v| &v.entries);
        let arch = Arch::of(&header.arch);
        let mut calls = Self { dense: vec![0; 3 * DENSE as usize], ..Self::default() };
        for (key, text) in entries.iter().take(usize::from(u16::MAX - 1)) {
            let Ok(signature) = Signature::parse(text) else { continue };
            calls.calls.push((*key, Call::new(signature, arch)));
            let position = calls.calls.len() as u16;
            match slot(*key) {
                Some(slot) => calls.dense[slot] = position,
                None => _ = calls.sparse.insert(*key, position),
            }
        }
        calls
    }

    /// The call with this key.
    #[inline]
    pub fn get(&self, key: u64) -> Option<&Call> {
        let position = match slot(key) {
            Some(slot) => *self.dense.get(slot)?,
            None => *self.sparse.get(&key)?,
        };
        Some(&self.calls.get(usize::from(position.checked_sub(1)?))?.1)
    }

    /// Appends the name of the call with this key: `syscall_N` if the file does not name it.
    pub fn write_name(&self, key: u64, out: &mut Vec<u8>) {
        match self.get(key) {
            Some(call) => out.extend_from_slice(call.name().as_bytes()),
            None => {
                out.extend_from_slice(b"syscall_");
                number::decimal(key & 0xffff, out);
            }
        }
    }

    /// The names of all calls that the file names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().map(|(_, call)| call.name())
    }

    /// Names and arguments of all calls that the file names.
    pub fn signatures(&self) -> impl Iterator<Item = &Signature> {
        self.calls.iter().map(|(_, call)| &call.signature)
    }

    /// Whether any call has this name.
    pub fn has(&self, name: &str) -> bool {
        self.calls.iter().any(|(_, call)| call.name() == name) || syscalls::parse_unknown_name(name).is_some()
    }
}

/// The ABI's name in output; the machine's own has none in text.
pub fn abi_name(key: u64) -> &'static str {
    match key >> 16 {
        0 => "native",
        n if n == Abi::Compat as u64 => "i386",
        n if n == Abi::X32 as u64 => "x32",
        _ => "unknown",
    }
}

fn slot(key: u64) -> Option<usize> {
    let (abi, nr) = (key >> 16, key & 0xffff);
    (abi < 3 && nr < DENSE).then_some((abi * DENSE + nr) as usize)
}
