//! Writes the format of an initramfs: `cpio`'s "newc".

use std::io::{self, Write};

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// A writer of archives.
pub struct Cpio<W> {
    out: W,
    entries: u32,
}

impl<W: Write> Cpio<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// Adds a file. The path is relative to the root.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, FILE | mode, content)
    }

    /// Adds a directory. Its parents must be added before.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// Writes the end of the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).map_err(|_| io::Error::other("file larger than 4 GiB"))?;
        let name_size = u32::try_from(path.len() + 1).map_err(|_| io::Error::other("path too long"))?;
        // inode, mode, uid, gid, links, mtime, size, device (2), its own device (2), length of the name, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + path.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    /// Pads to a multiple of four bytes: both the header with the name, and the content.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_end_with_a_trailer() {
        let mut cpio = Cpio::new(Vec::new());
        cpio.directory("bin").unwrap();
        cpio.file("bin/a", 0o755, b"12345").unwrap();
        let bytes = cpio.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let starts: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 3);
        assert!(starts.iter().all(|at| at % 4 == 0));
        assert_eq!(&text[starts[1] + 14..starts[1] + 22], "000081ed");
        assert_eq!(&text[starts[1] + 54..starts[1] + 62], "00000005");
        assert!(text.contains("TRAILER!!!"));
    }
}
