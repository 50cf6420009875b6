//! Files by the links in `/proc`, of calls that were entered before the capture.
//!
//! The kernel makes the text of a link from what it has in memory, so that reading one waits for no disk, and not for the
//! process.

use std::os::unix::ffi::OsStringExt;

use crate::agent_events::Link;
use crate::kernel::FileSource;

/// What the files of a call are to it, and its arguments.
#[derive(Clone, Copy, Debug)]
pub struct LinkedCall<'a> {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// What stands for its files.
    pub sources: [FileSource; 2],
    /// Its arguments.
    pub args: &'a [u64; 6],
}

impl LinkedCall<'_> {
    /// Reads the links of those of its files of which the kernel side has no id.
    pub fn read(&self, known: [u64; 2]) -> [Link; 2] {
        const AT_FDCWD: i32 = -100;
        let Self { pid, tid, .. } = *self;
        [0, 1].map(|slot| {
            let directory = || format!("/proc/{pid}/task/{tid}/cwd");
            let path = match self.sources[slot] {
                _ if known[slot] != 0 => return Link::default(),
                FileSource::None => return Link::default(),
                FileSource::WorkingDirectory => directory(),
                FileSource::Descriptor(at) => match self.args[usize::from(at)] as i32 {
                    AT_FDCWD => directory(),
                    fd if fd >= 0 => format!("/proc/{pid}/task/{tid}/fd/{fd}"),
                    _ => return Link::default(),
                },
            };
            std::fs::read_link(path)
                .map_or_else(|_| Link::default(), |link| parse(&link.into_os_string().into_vec()))
        })
    }
}

/// The file that the text of a link names.
fn parse(text: &[u8]) -> Link {
    let named = |ty, path: &[u8]| Link { ty, path: path.to_vec(), ..Link::default() };
    let number = |prefix: &[u8]| {
        let digits = text.strip_prefix(prefix)?.strip_prefix(b":[")?.strip_suffix(b"]")?;
        str::from_utf8(digits).ok()?.parse().ok()
    };
    if let Some(ino) = number(b"pipe") {
        return Link { ty: "pipe", ino: Some(ino), ..Link::default() };
    }
    if let Some(ino) = number(b"socket") {
        return Link { ty: "socket", ino: Some(ino), ..Link::default() };
    }
    if text.starts_with(b"anon_inode:") {
        return named("anonymous", text);
    }
    let (path, is_deleted) = match text.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (text, false),
    };
    if let Some(name) = path.strip_prefix(b"/").filter(|name| name.starts_with(b"memfd:")) {
        return named("memfd", name);
    }
    if path.starts_with(b"/") { Link { is_deleted, ..named("file", path) } } else { named("namespace", path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_show_types_and_names() {
        let link = |ty, path: &str, ino, is_deleted| Link { ty, path: path.into(), ino, is_deleted };
        let parse = |text: &str| parse(text.as_bytes());
        assert_eq!(parse("/var/log/x"), link("file", "/var/log/x", None, false));
        assert_eq!(parse("/tmp/x (deleted)"), link("file", "/tmp/x", None, true));
        assert_eq!(parse("pipe:[123]"), link("pipe", "", Some(123), false));
        assert_eq!(parse("socket:[9]"), link("socket", "", Some(9), false));
        assert_eq!(parse("anon_inode:[eventpoll]"), link("anonymous", "anon_inode:[eventpoll]", None, false));
        assert_eq!(parse("/memfd:cache (deleted)"), link("memfd", "memfd:cache", None, false));
        assert_eq!(parse("net:[4026531992]"), link("namespace", "net:[4026531992]", None, false));
    }

    #[test]
    fn only_what_is_not_known_is_read() {
        let pid = std::process::id();
        let args = [1, 0, 0, 0, 0, -100i64 as u64];
        let sources = [FileSource::Descriptor(0), FileSource::Descriptor(5)];
        let call = LinkedCall { pid, tid: pid, sources, args: &args };
        let cwd = std::env::current_dir().unwrap();
        let [first, second] = call.read([0; 2]);
        assert!(first.is_known(), "{first:?}");
        assert_eq!(second.path, cwd.into_os_string().into_vec());
        assert_eq!(call.read([7, 7]), [Link::default(), Link::default()]);
        let none = LinkedCall {
            sources: [FileSource::None, FileSource::Descriptor(1)],
            args: &[0, 9999, 0, 0, 0, 0],
            ..call
        };
        assert_eq!(none.read([0; 2]), [Link::default(), Link::default()], "no such descriptor");
    }
}
