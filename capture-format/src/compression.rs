//! Files that were compressed as a whole, by another program.

/// A format of compressed files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "formats are known by their names")]
pub enum Compression {
    Gzip,
    Zstd,
    Xz,
    Bzip2,
    Lz4,
    Zip,
}

impl Compression {
    const ALL: [Self; 6] = [Self::Gzip, Self::Zstd, Self::Xz, Self::Bzip2, Self::Lz4, Self::Zip];

    /// The format of a file that begins with these bytes.
    ///
    /// Check this before searching for blocks: compressors store incompressible data, such as the chunks of a capture,
    /// unchanged, so a compressed capture can contain whole blocks.
    pub fn of(start: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|format| start.starts_with(format.magic()))
    }

    /// The first bytes of such files.
    const fn magic(self) -> &'static [u8] {
        match self {
            Self::Gzip => &[0x1f, 0x8b, 0x08],
            Self::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            Self::Xz => &[0xfd, b'7', b'z', b'X', b'Z', 0],
            Self::Bzip2 => b"BZh",
            Self::Lz4 => &[0x04, 0x22, 0x4d, 0x18],
            Self::Zip => &[b'P', b'K', 0x03, 0x04],
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
            Self::Zip => "zip",
        }
    }

    /// The command that decompresses such a file, or standard input.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Gzip => "gunzip",
            Self::Zstd => "zstd -d",
            Self::Xz => "xz -d",
            Self::Bzip2 => "bunzip2",
            Self::Lz4 => "lz4 -d",
            Self::Zip => "unzip -p",
        }
    }
}
