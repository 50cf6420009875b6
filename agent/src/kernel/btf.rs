//! A reader for the running kernel's BTF: struct offsets, enum values and argument counts, which
//! differ between kernels and configurations.
//!
//! The format is described in `Documentation/bpf/btf.rst`; only what the queries here need is kept.

use std::hash::Hasher;
use std::ops::Range;

use rustc_hash::{FxHashMap, FxHasher};
use thiserror::Error;

use self::raw::{Sections, word};

mod raw;
#[cfg(test)]
mod tests;

pub use self::raw::RawTypes;

/// Bytes of a kernel's type, approximately.
const TYPE_LEN_MEAN: usize = 40;

mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// Errors of reading the kernel's BTF.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The file does not exist or cannot be read.
    #[error("cannot read {path}: {source} (ktape needs Linux 5.10 or later with CONFIG_DEBUG_INFO_BTF)")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not BTF, or contains an unknown kind of type.
    #[error("the kernel's types (BTF) are malformed: {0}")]
    Malformed(&'static str),
}

/// The kernel's types.
pub struct Btf {
    data: RawTypes,
    strings: Range<usize>,
    /// Where each type starts in `data`; type ids start at 1.
    types: Vec<u32>,
    /// The first type of each kind and name, by the hash of both.
    named: FxHashMap<u64, u32>,
}

fn hash_of(kind: u32, name: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u32(kind);
    hasher.write(name);
    hasher.finish()
}

impl Btf {
    /// Reads and indexes `/sys/kernel/btf/vmlinux`.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(RawTypes::of_kernel()?)
    }

    /// Indexes BTF bytes of this machine's endianness.
    pub fn parse(data: RawTypes) -> Result<Self, BtfError> {
        let sections = Sections::of(&data)?;
        let type_len = sections.types.len();
        let mut types = vec![0u32];
        let mut named = FxHashMap::with_capacity_and_hasher(type_len / TYPE_LEN_MEAN, <_>::default());
        let (mut at, end) = (sections.types.start, sections.types.end);
        let strings = &data[sections.strings.clone()];
        while at < end {
            let (Some(name), Some(info)) = (word(&data, at), word(&data, at + 4)) else {
                return Err(BtfError::Malformed("truncated type"));
            };
            let kind = (info >> 24) & 0x1f;
            let vlen = (info & 0xffff) as usize;
            let extra = match kind {
                kind::PTR
                | kind::FWD
                | kind::TYPEDEF
                | kind::VOLATILE
                | kind::CONST
                | kind::RESTRICT
                | kind::FUNC
                | kind::FLOAT
                | kind::TYPE_TAG => 0,
                kind::INT | kind::VAR | kind::DECL_TAG => 4,
                kind::ARRAY => 12,
                kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => vlen * 12,
                kind::ENUM | kind::FUNC_PROTO => vlen * 8,
                _ => return Err(BtfError::Malformed("unknown kind of type")),
            };
            if matches!(kind, kind::STRUCT | kind::UNION | kind::ENUM | kind::TYPEDEF | kind::FUNC) {
                let bytes = strings.get(name as usize..).unwrap_or_default();
                let len = memchr::memchr(0, bytes).unwrap_or(bytes.len());
                if len > 0 {
                    named.entry(hash_of(kind, &bytes[..len])).or_insert(types.len() as u32);
                }
            }
            types.push(at as u32);
            at += 12 + extra;
        }
        Ok(Self { strings: sections.strings, types, named, data })
    }

    /// The bytes that this is an index of.
    pub fn raw(&self) -> &RawTypes {
        &self.data
    }

    fn word(&self, at: usize) -> Option<u32> {
        word(&self.data, at)
    }

    /// The first type of a kind with this name.
    fn named(&self, kind: u32, name: &str) -> Option<u32> {
        let is_it = |id: u32| {
            let at = self.types[id as usize] as usize;
            self.type_at(id).is_some_and(|(found, ..)| found == kind)
                && self.word(at).is_some_and(|offset| self.string(offset) == name.as_bytes())
        };
        match self.named.get(&hash_of(kind, name.as_bytes())) {
            Some(&id) if is_it(id) => Some(id),
            // Another name with the same hash came first.
            Some(_) => (1..self.types.len() as u32).find(|&id| is_it(id)),
            None => None,
        }
    }

    fn string(&self, offset: u32) -> &[u8] {
        let bytes = self.data.get(self.strings.start + offset as usize..self.strings.end).unwrap_or_default();
        let len = memchr::memchr(0, bytes).unwrap_or(bytes.len());
        &bytes[..len]
    }

    /// (kind, vlen, size or type, offset of what follows)
    fn type_at(&self, id: u32) -> Option<(u32, usize, u32, usize)> {
        if id == 0 {
            return None;
        }
        let at = *self.types.get(id as usize)? as usize;
        let info = self.word(at + 4)?;
        Some(((info >> 24) & 0x1f, (info & 0xffff) as usize, self.word(at + 8)?, at + 12))
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> u32 {
        for _ in 0..32 {
            match self.type_at(id) {
                Some((
                    kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG,
                    _,
                    target,
                    _,
                )) => id = target,
                _ => break,
            }
        }
        id
    }

    /// The byte offset of a member, given as `struct.member` or `struct.member.member`; members
    /// of anonymous structs and unions count as the struct's own.
    pub fn offset(&self, path: &str) -> Option<u32> {
        self.bit_offset(path).map(|bits| bits / 8)
    }

    /// The offset of a member in bits, for bit fields.
    pub fn bit_offset(&self, path: &str) -> Option<u32> {
        let mut parts = path.split('.');
        let name = parts.next()?;
        let mut id = self.named(kind::STRUCT, name)?;
        let mut bits = 0;
        for part in parts {
            let (offset, member) = self.member(self.resolve(id), part.as_bytes(), 0)?;
            bits += offset;
            id = member;
        }
        Some(bits)
    }

    /// Whether a member is one of these structs, or points to one.
    pub fn member_names(&self, path: &str, structs: &[&str]) -> bool {
        let mut parts = path.split('.');
        let mut id = parts.next().and_then(|name| self.named(kind::STRUCT, name));
        for part in parts {
            id =
                id.and_then(|id| self.member(self.resolve(id), part.as_bytes(), 0)).map(|(_, member)| member);
        }
        let Some(mut id) = id.map(|id| self.resolve(id)) else { return false };
        if let Some((kind::PTR, _, target, _)) = self.type_at(id) {
            id = self.resolve(target);
        }
        let Some((kind::STRUCT, _, _, at)) = self.type_at(id) else { return false };
        self.word(at - 12)
            .is_some_and(|name| structs.iter().any(|other| self.string(name) == other.as_bytes()))
    }

    /// Bit offset and type of a member.
    fn member(&self, id: u32, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        let (kind, vlen, _, at) = self.type_at(id)?;
        if !matches!(kind, kind::STRUCT | kind::UNION) || depth > 8 {
            return None;
        }
        let flagged = self.word(at - 8)? >> 31 == 1;
        for i in 0..vlen {
            let member = at + i * 12;
            let member_name = self.string(self.word(member)?);
            let member_type = self.word(member + 4)?;
            let raw = self.word(member + 8)?;
            // With the kind flag set, the upper 8 bits are a bit field's width.
            let offset = if flagged { raw & 0x00ff_ffff } else { raw };
            if member_name == name {
                return Some((offset, member_type));
            }
            if member_name.is_empty()
                && let Some((inner, found)) = self.member(self.resolve(member_type), name, depth + 1)
            {
                return Some((offset + inner, found));
            }
        }
        None
    }

    /// The size of a struct or union, bytes.
    pub fn size(&self, name: &str) -> Option<u32> {
        let id = self.named(kind::STRUCT, name).or_else(|| self.named(kind::UNION, name))?;
        self.type_at(id).map(|(_, _, size, _)| size)
    }

    /// The value of an enumerator.
    pub fn enum_value(&self, enum_name: &str, enumerator: &str) -> Option<u32> {
        let id = self.named(kind::ENUM, enum_name)?;
        let (_, vlen, _, at) = self.type_at(id)?;
        (0..vlen).find_map(|i| {
            let entry = at + i * 8;
            (self.string(self.word(entry)?) == enumerator.as_bytes()).then(|| self.word(entry + 4))?
        })
    }

    /// The names and values of an enum, in its order.
    pub fn enumerators(&self, enum_name: &str) -> Option<Vec<(String, u32)>> {
        let id = self.named(kind::ENUM, enum_name)?;
        let (_, vlen, _, at) = self.type_at(id)?;
        (0..vlen)
            .map(|i| {
                let name = self.string(self.word(at + i * 8)?);
                Some((String::from_utf8_lossy(name).into_owned(), self.word(at + i * 8 + 4)?))
            })
            .collect()
    }

    /// The number of arguments that a tracepoint passes, from its `btf_trace_NAME` prototype; `None` if
    /// the kernel has no such tracepoint.
    pub fn tracepoint_args(&self, name: &str) -> Option<usize> {
        // The first parameter is the tracepoint's private data.
        self.tracepoint(name).map(|(vlen, _)| vlen.saturating_sub(1))
    }

    /// Whether a tracepoint passes a pointer as its argument `index`.
    pub fn passes_pointer(&self, name: &str, index: usize) -> Option<bool> {
        let (vlen, at) = self.tracepoint(name)?;
        let parameter = at + (index + 1) * 8;
        let ty = (index + 1 < vlen).then(|| self.word(parameter + 4))??;
        self.type_at(self.resolve(ty)).map(|(kind, ..)| kind == kind::PTR)
    }

    /// The number of parameters of a tracepoint's prototype, and where they are.
    fn tracepoint(&self, name: &str) -> Option<(usize, usize)> {
        let id = self.tracepoint_type(name)?;
        let (_, _, pointer, _) = self.type_at(id)?;
        let (ptr_kind, _, proto, _) = self.type_at(pointer)?;
        let (proto_kind, vlen, _, at) = self.type_at(proto)?;
        (ptr_kind == kind::PTR && proto_kind == kind::FUNC_PROTO).then_some((vlen, at))
    }

    /// The type id of a tracepoint's prototype, which programs are loaded for.
    pub fn tracepoint_type(&self, name: &str) -> Option<u32> {
        self.named(kind::TYPEDEF, &format!("btf_trace_{name}"))
    }

    /// The type id of a struct.
    pub fn structure(&self, name: &str) -> Option<u32> {
        self.named(kind::STRUCT, name)
    }

    /// The type id of a function.
    pub fn function(&self, name: &str) -> Option<u32> {
        self.named(kind::FUNC, name)
    }

    /// Whether the kernel has a function of this name in its BTF.
    pub fn has_function(&self, name: &str) -> bool {
        self.function(name).is_some()
    }
}
