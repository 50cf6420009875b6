//! Names of kernel functions, from `/proc/kallsyms`, which is read when the first address has to be resolved. The kernel
//! generates its text from memory, so that a stalled device or thread cannot block it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

/// Largest size of a function, bytes. An address farther behind a symbol lies outside of its region.
const FUNCTION_MAX: u64 = 1 << 20;

/// Kernel functions, ordered by address.
#[derive(Debug, Default)]
pub struct Symbols {
    /// The address of each function, ascending.
    starts: Vec<u64>,
    /// The offset of each function's name in `names`, followed by the end of the last name.
    at: Vec<u32>,
    names: Vec<u8>,
}

impl Symbols {
    /// The functions of the running kernel and its modules.
    ///
    /// # Errors
    /// `/proc/kallsyms` cannot be read.
    pub fn of_kernel() -> io::Result<Self> {
        Self::read(BufReader::with_capacity(1 << 16, File::open("/proc/kallsyms")?))
    }

    /// Parses lines of address, type and name.
    fn read(mut lines: impl BufRead) -> io::Result<Self> {
        let mut found: Vec<(u64, u32, u32)> = Vec::new();
        let mut text = Vec::new();
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
            if let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next())
                && matches!(kind, b"t" | b"T" | b"w" | b"W")
                && let Some(address) = hex(address)
                // Hidden addresses are zero (kptr_restrict).
                && address != 0
            {
                found.push((address, text.len() as u32, name.len() as u32));
                text.extend_from_slice(name);
            }
            line.clear();
        }
        // If an address has several names, the first is kept, which is usually the plain one.
        found.sort_by_key(|(address, ..)| *address);
        found.dedup_by_key(|(address, ..)| *address);
        let mut symbols = Self::default();
        for (address, at, len) in found {
            symbols.starts.push(address);
            symbols.at.push(symbols.names.len() as u32);
            symbols.names.extend_from_slice(&text[at as usize..(at + len) as usize]);
        }
        symbols.at.push(symbols.names.len() as u32);
        symbols.starts.shrink_to_fit();
        symbols.at.shrink_to_fit();
        symbols.names.shrink_to_fit();
        Ok(symbols)
    }

    /// Whether there are no functions: the kernel hides their addresses.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The function that contains an address, and the offset in it.
    pub fn find(&self, address: u64) -> Option<(&[u8], u64)> {
        let index = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        let offset = address - self.starts[index];
        let name = self.names.get(self.at[index] as usize..self.at[index + 1] as usize)?;
        (offset < FUNCTION_MAX).then_some((name, offset))
    }

    /// Appends `function+0xoffset`, or the address if no function contains it.
    pub fn write(&self, address: u64, out: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = match self.find(address) {
            Some((name, offset)) => {
                out.extend_from_slice(name);
                write!(out, "+{offset:#x}")
            }
            None => write!(out, "{address:#x}"),
        };
    }
}

fn hex(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ffffffff81000000 T _stext\nffffffff81000000 T _text\nffffffff81000140 t do_one\n\
        ffffffff81000200 D some_data\nffffffff81000300 W do_two\nffffffffc0200000 t in_module\t[loop]\n";

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = Symbols::read(TEXT.as_bytes()).unwrap();
        assert_eq!(symbols.find(0xffff_ffff_8100_0000), Some((&b"_stext"[..], 0)));
        assert_eq!(symbols.find(0xffff_ffff_8100_02ff), Some((&b"do_one"[..], 0x1bf)));
        assert_eq!(symbols.find(0xffff_ffff_8100_0300), Some((&b"do_two"[..], 0)));
        assert_eq!(symbols.find(0xffff_ffff_c020_0010), Some((&b"in_module"[..], 0x10)));
        assert_eq!(symbols.find(0xffff_ffff_8090_0000), None);
        assert_eq!(symbols.find(0xffff_ffff_b000_0000), None, "far behind the last one");
        let mut out = Vec::new();
        symbols.write(0xffff_ffff_8100_0155, &mut out);
        out.push(b' ');
        symbols.write(0x10, &mut out);
        assert_eq!(out, b"do_one+0x15 0x10");
    }

    #[test]
    fn hidden_addresses_resolve_nothing() {
        let symbols =
            Symbols::read("0000000000000000 T _text\n0000000000000000 T do_one\n".as_bytes()).unwrap();
        assert!(symbols.is_empty());
        assert_eq!(symbols.find(0xffff_ffff_8100_0155), None);
    }
}
