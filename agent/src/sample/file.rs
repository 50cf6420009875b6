//! Reads small files of the kernel repeatedly, and parses their numbers.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use events::UNKNOWN;

/// Size of a read, bytes. The buffer grows for longer files, such as `memory.stat` of a machine with many nodes or
/// `/proc/stat` of one with many CPUs.
const READ: usize = 16 << 10;
/// Reading stops at this size, bytes; no such file is longer.
const TEXT_MAX: usize = 16 << 20;

/// Reads a file that the kernel generates in one piece.
///
/// # Errors
/// The errors of `pread`: `ENODEV` if the cgroup is gone.
pub(super) fn read_once(fd: RawFd, text: &mut Vec<u8>) -> io::Result<()> {
    text.clear();
    loop {
        let size = READ.max(text.len());
        let read = read_at(fd, text, size)?;
        // After a full read, there may be more.
        if read < size || text.len() >= TEXT_MAX {
            return Ok(());
        }
    }
}

/// Reads a file that the kernel generates line by line: a read ends when a page is full.
///
/// # Errors
/// The errors of `pread`.
pub(super) fn read_lines(fd: RawFd, text: &mut Vec<u8>) -> io::Result<()> {
    text.clear();
    while text.len() < TEXT_MAX && read_at(fd, text, READ)? > 0 {}
    Ok(())
}

/// Appends at most `size` bytes that follow the text so far.
fn read_at(fd: RawFd, text: &mut Vec<u8>, size: usize) -> io::Result<usize> {
    text.reserve(size);
    // SAFETY: `size` bytes after the length are reserved; the kernel writes at most that many.
    let read =
        unsafe { libc::pread(fd, text.as_mut_ptr().add(text.len()).cast(), size, text.len() as libc::off_t) };
    if read < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just written that many bytes there.
    unsafe { text.set_len(text.len() + read as usize) };
    Ok(read as usize)
}

/// Opens a file below an open directory. `path` ends with a NUL.
///
/// # Errors
/// The errors of `openat`.
pub(super) fn open_at(dir: RawFd, path: &[u8]) -> io::Result<OwnedFd> {
    debug_assert_eq!(path.last(), Some(&0));
    // SAFETY: the path ends with a NUL and outlives the call.
    let fd = unsafe { libc::openat(dir, path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A file of `/proc` that stays open, if the kernel has it.
#[derive(Debug)]
pub(super) struct ProcFile {
    file: Option<File>,
    lines: bool,
}

impl ProcFile {
    /// A file that the kernel generates in one piece.
    pub(super) fn whole(path: &str) -> Self {
        Self { file: File::open(path).ok(), lines: false }
    }

    /// A file that the kernel generates line by line.
    pub(super) fn by_line(path: &str) -> Self {
        Self { file: File::open(path).ok(), lines: true }
    }

    pub(super) fn fd(&self) -> Option<RawFd> {
        self.file.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Reads the text into `text`; empty if the file cannot be read.
    pub(super) fn read<'t>(&self, text: &'t mut Vec<u8>) -> &'t [u8] {
        text.clear();
        if let Some(fd) = self.fd() {
            let done = if self.lines { read_lines(fd, text) } else { read_once(fd, text) };
            if done.is_err() {
                text.clear();
            }
        }
        text
    }
}

/// The lines of a text that are not empty.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n').filter(|line| !line.is_empty())
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Parses a decimal number; [`UNKNOWN`] for anything else, such as `max` or an empty text.
pub(super) fn number(text: &[u8]) -> u64 {
    let text = text.trim_ascii();
    if text.is_empty() || text.len() > 20 {
        return UNKNOWN;
    }
    let mut value: u64 = 0;
    for &digit in text {
        let next = value.checked_mul(10).zip(digit.checked_sub(b'0').filter(|&d| d < 10));
        match next.and_then(|(tens, digit)| tens.checked_add(u64::from(digit))) {
            Some(next) => value = next,
            None => return UNKNOWN,
        }
    }
    value
}

/// The number after the word `key` at the beginning of a line; [`UNKNOWN`] if there is none.
pub(super) fn value_of(text: &[u8], key: &[u8]) -> u64 {
    lines(text)
        .find_map(|line| {
            let rest = line.strip_prefix(key)?;
            matches!(rest.first(), Some(b' ' | b':' | b'\t'))
                .then(|| number(words(&rest[1..]).next().unwrap_or(b"")))
        })
        .unwrap_or(UNKNOWN)
}

/// `value * factor`, unless it is unknown.
pub(super) fn scaled(value: u64, factor: u64) -> u64 {
    if value == UNKNOWN { UNKNOWN } else { value.saturating_mul(factor).min(UNKNOWN - 1) }
}

/// The time after `total=` in a line (`some` or `full`) of a pressure file, ns.
pub(super) fn pressure(text: &[u8], line: &[u8]) -> u64 {
    let found = lines(text).find(|candidate| words(candidate).next() == Some(line));
    let total = found.and_then(|found| words(found).find_map(|word| word.strip_prefix(b"total=")));
    scaled(number(total.unwrap_or(b"")), 1000)
}

/// CPU time that this thread has used, ns.
pub(super) fn thread_cpu() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid pointer to a timespec; every thread has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
