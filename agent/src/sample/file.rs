//! Reading small files of the kernel over and over, and their numbers.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use events::UNKNOWN;

/// How much one read asks for. The longest single answer (`memory.stat` of a machine with many nodes, `/proc/stat` of
/// one with many CPUs) may need more; then the buffer grows.
const READ: usize = 16 << 10;
/// No file that is read here is longer.
const LONGEST: usize = 16 << 20;

/// Reads a file whose text the kernel makes in one piece.
///
/// # Errors
/// As `pread`: `ENODEV` if the cgroup is gone.
pub(super) fn read_once(fd: RawFd, text: &mut Vec<u8>) -> io::Result<()> {
    text.clear();
    loop {
        let asked = READ.max(text.len());
        let read = read_at(fd, text, asked)?;
        // A full buffer may have cut it.
        if read < asked || text.len() >= LONGEST {
            return Ok(());
        }
    }
}

/// Reads a file whose text the kernel makes line by line: a read ends where its page is full.
///
/// # Errors
/// As `pread`.
pub(super) fn read_lines(fd: RawFd, text: &mut Vec<u8>) -> io::Result<()> {
    text.clear();
    while text.len() < LONGEST && read_at(fd, text, READ)? > 0 {}
    Ok(())
}

/// Appends what follows the text so far.
fn read_at(fd: RawFd, text: &mut Vec<u8>, asked: usize) -> io::Result<usize> {
    text.reserve(asked);
    // SAFETY: `asked` bytes after the length are reserved; the kernel writes at most that many.
    let read = unsafe {
        libc::pread(fd, text.as_mut_ptr().add(text.len()).cast(), asked, text.len() as libc::off_t)
    };
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
/// As `openat`.
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

/// A file of `/proc` that stays open; `None` where the kernel has none.
#[derive(Debug)]
pub(super) struct Kept {
    file: Option<File>,
    lines: bool,
}

impl Kept {
    /// One whose text is made in one piece.
    pub(super) fn whole(path: &str) -> Self {
        Self { file: File::open(path).ok(), lines: false }
    }

    /// One whose text is made line by line.
    pub(super) fn by_line(path: &str) -> Self {
        Self { file: File::open(path).ok(), lines: true }
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> Option<RawFd> {
        self.file.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Its text; empty if it cannot be read.
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

/// The lines of a text.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n').filter(|line| !line.is_empty())
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A decimal number; [`UNKNOWN`] for anything else, such as `max` or nothing.
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

/// The number behind a word at the beginning of a line; [`UNKNOWN`] if there is none.
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

/// The time behind `total=` of a line of a pressure file, in ns.
pub(super) fn pressure(text: &[u8], line: &[u8]) -> u64 {
    let found = lines(text).find(|candidate| words(candidate).next() == Some(line));
    let total = found.and_then(|found| words(found).find_map(|word| word.strip_prefix(b"total=")));
    scaled(number(total.unwrap_or(b"")), 1000)
}

/// Nanoseconds of CPU time that this thread has used.
pub(super) fn thread_cpu() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid pointer to a timespec; every thread has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
