//! A directory with captures in every state, and commands that run in it as a user without privileges.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::tool;

/// The user and group of commands, where the tests run as root.
const NOBODY: u32 = 65534;

/// A directory that is removed when this is dropped.
pub struct Sandbox {
    root: tempfile::TempDir,
}

impl Sandbox {
    /// One with these files:
    ///
    /// - `calls.ktape`, `kinds.ktape`, `killed.ktape`: the captures of `tests/golden`, the last one of a killed recorder;
    /// - `all.ktape`: those three in one file; `set/`: a directory with the first two;
    /// - `damaged.ktape`: `all.ktape` with two damaged chunks; `unindexed.ktape`: `calls.ktape` without its index;
    /// - `cut.ktape`: `kinds.ktape`, cut in its second chunk; `stub`: its first 20 bytes;
    /// - `future.ktape`: of format version 0.9; `empty`; `text`; `none/`: an empty directory; `fifo`;
    /// - `secret.ktape`: a capture that may not be read.
    pub fn new() -> Self {
        let sandbox = Self { root: tempfile::tempdir().expect("a directory") };
        fs::set_permissions(sandbox.root.path(), Permissions::from_mode(0o755)).expect("our own directory");
        for dir in ["bin", "work", "work/set", "work/none"] {
            fs::create_dir(sandbox.root.path().join(dir)).expect("a directory");
        }
        let program = sandbox.root.path().join("bin/ktape");
        if is_root() {
            // Other users may not have access to its directory. Copied by another process: a descriptor open for writing
            // here would be inherited by what other tests start at this moment, and the copy be busy (ETXTBSY).
            let copied = Command::new("cp").arg(tool::binary()).arg(program).status().expect("cp starts");
            assert!(copied.success(), "the binary can be copied");
        } else {
            symlink(tool::binary(), program).expect("a link");
        }
        sandbox.write_captures();
        if is_root() {
            for dir in ["", "set", "none"] {
                for entry in fs::read_dir(sandbox.work().join(dir)).expect("a directory").flatten() {
                    chown(entry.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
                }
            }
            chown(sandbox.work(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        sandbox
    }

    /// Where commands run.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Run a line of a shell, with `ktape` in its path, without privileges and without input.
    pub fn shell(&self, line: &str) -> Output {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
            command.args([&user, &group, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-c", line])
            .current_dir(self.work())
            .env("PATH", format!("{}:{path}", self.root.path().join("bin").display()))
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .env("TERM", "dumb")
            .env_remove("COLUMNS")
            .stdin(Stdio::null())
            .output()
            .expect("sh starts")
    }

    /// Text with the sandbox's own path replaced by `[DIR]`.
    pub fn without_path(&self, text: &[u8]) -> String {
        let path = self.root.path().display().to_string();
        String::from_utf8_lossy(text).replace(&path, "[DIR]")
    }

    fn write_captures(&self) {
        let golden = tool::repository().join("tests/golden");
        let read = |name: &str| fs::read(golden.join(format!("{name}-0.1.ktape"))).expect("a golden capture");
        let (calls, kinds, killed) = (read("calls"), read("kinds"), read("killed"));
        let all = [&calls[..], &kinds, &killed].concat();
        let mut damaged = all.clone();
        let chunks = blocks(&all).filter(|block| block.kind == CHUNK);
        for chunk in chunks.skip(1).take(2) {
            damaged[chunk.offset + chunk.len - 1] ^= 0x10;
        }
        let index = blocks(&calls).find(|block| block.kind == INDEX).expect("an index");
        let second = blocks(&kinds).filter(|block| block.kind == CHUNK).nth(1).expect("a second chunk");
        let header = blocks(&calls).next().expect("a header").len;
        // The version has the checksum of its block's header.
        let mut future = calls[..header].to_vec();
        future[8] = 9;
        let crc = crc32fast::hash(&future[..36]);
        future[36..40].copy_from_slice(&crc.to_le_bytes());
        for (name, bytes) in [
            ("calls.ktape", &calls[..]),
            ("kinds.ktape", &kinds),
            ("killed.ktape", &killed),
            ("all.ktape", &all),
            ("set/1.ktape", &calls),
            ("set/2.ktape", &kinds),
            ("damaged.ktape", &damaged),
            ("unindexed.ktape", &calls[..index.offset]),
            ("cut.ktape", &kinds[..second.offset + second.len / 2]),
            ("stub", &kinds[..20]),
            ("future.ktape", &future),
            ("empty", b""),
            ("text", "no capture at all\n".repeat(1000).as_bytes()),
            ("secret.ktape", &calls),
        ] {
            fs::write(self.work().join(name), bytes).expect("a file");
        }
        fs::set_permissions(self.work().join("secret.ktape"), Permissions::from_mode(0o000))
            .expect("our own file");
        let made = Command::new("mkfifo").arg(self.work().join("fifo")).status().expect("mkfifo starts");
        assert!(made.success());
    }
}

const CHUNK: u16 = 2;
const INDEX: u16 = 4;

/// A block of a capture, as `docs/format.md` describes it.
struct Block {
    kind: u16,
    offset: usize,
    len: usize,
}

fn blocks(bytes: &[u8]) -> impl Iterator<Item = Block> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = bytes.get(at..at + 40)?;
        let number = |i: usize| u32::from_le_bytes(header[i..i + 4].try_into().expect("four bytes")) as usize;
        let block = Block {
            kind: u16::from_le_bytes([header[10], header[11]]),
            offset: at,
            len: 40 + number(16) + number(20),
        };
        at += block.len;
        Some(block)
    })
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
