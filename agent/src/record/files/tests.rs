//! Definitions as the kernel side writes them, and the rows that follow from them.

use std::sync::Arc;

use agent_ebpf::records::Header;
use agent_ebpf::records::file::{NAME, Named, Socket, UNIX_PATH, class, name_flags};
use capture_format::ChunkBuilder;
use events::Kind;

use super::*;
use crate::record::columns::TableIndex;
use crate::record::decode::bytes_of;
use crate::record::testing::SeenChunk;

/// Files and a chunk.
struct Written {
    files: Files,
    builder: ChunkBuilder,
    index: TableIndex,
    number: u64,
}

impl Written {
    fn new() -> Self {
        let schema = Arc::new(ktape_reader::model::schema());
        let index = TableIndex::new(&schema);
        Self { files: Files::default(), builder: ChunkBuilder::new(schema), index, number: 1 }
    }

    fn row(&mut self, id: u64) -> u32 {
        let mut chunk = Dictionaries { builder: &mut self.builder, number: self.number, index: &self.index };
        self.files.row(&mut chunk, id)
    }

    /// Type, path and marks of the row of a file.
    fn shown(mut self, id: u64) -> (String, String, bool, bool) {
        let row = self.row(id);
        let seen = SeenChunk::new(self.builder);
        let file = seen.view().file(row);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(file.ty), text(file.path), file.is_deleted, file.is_cut)
    }
}

fn head(class: u8) -> Header {
    Header { kind: Kind::Syscall as u8, class, ..Header::default() }
}

/// A name in a directory.
fn named(id: u64, parent: u64, name: &str, mode: u16) -> Named {
    let mut bytes = [0; NAME];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Named {
        head: head(class::NAMED),
        id,
        parent,
        ino: 100 + id,
        magic: 0xef53,
        dev: 8 << 20,
        mode,
        flags: 0,
        name_len: if name.is_empty() { 0 } else { name.len() as u32 + 1 },
        rdev: 0,
        name: bytes,
    }
}

const DIRECTORY: u16 = 0o040_755;
const REGULAR: u16 = 0o100_644;

fn define(files: &mut Files, named: &Named) {
    // Without what is behind the name, as the kernel side sends it.
    let len = size_of::<Named>() - NAME + named.name_len as usize;
    assert_eq!(files.define(&bytes_of(named)[..len]), Some(()));
}

/// `/`, on it a mount at `/srv`, in that `a` and `a/file`.
fn tree() -> Written {
    let mut written = Written::new();
    for definition in [
        named(4, 3, "file", REGULAR),
        named(3, 2, "a", DIRECTORY),
        named(2, 7, "", DIRECTORY),
        named(7, 1, "srv", DIRECTORY),
        named(1, 0, "", DIRECTORY),
    ] {
        define(&mut written.files, &definition);
    }
    written
}

#[test]
fn paths_lead_through_mounts_to_the_root() {
    let shown = |id| tree().shown(id);
    assert_eq!(shown(4), ("file".to_owned(), "/srv/a/file".to_owned(), false, false));
    assert_eq!(shown(2), ("directory".to_owned(), "/srv".to_owned(), false, false));
    assert_eq!(shown(1), ("directory".to_owned(), "/".to_owned(), false, false));
    assert_eq!(shown(99), Default::default(), "unknown");
    assert_eq!(shown(0), Default::default(), "none");
}

#[test]
fn a_directory_with_another_name_changes_the_paths_below_it() {
    let mut written = tree();
    let before = written.row(4);
    assert_eq!(written.row(4), before, "one row for a file");
    // The directory has another name, and so another id.
    define(&mut written.files, &named(8, 2, "b", DIRECTORY));
    define(&mut written.files, &named(4, 8, "file", REGULAR));
    assert_eq!(written.shown(4).1, "/srv/b/file");

    let mut written = tree();
    written.row(4);
    define(&mut written.files, &named(7, 1, "home", DIRECTORY));
    written.number = 2;
    assert_eq!(written.shown(4).1, "/home/a/file", "further up, in a later chunk");
}

#[test]
fn a_renamed_directory_takes_along_what_is_in_it() {
    let mut written = tree();
    let before = written.row(4);
    assert!(!written.files.rename(b"/srv/a/file", b"/srv/a/other"), "no directory");
    assert!(!written.files.rename(b"/elsewhere/a", b"/elsewhere/b"), "another directory");
    assert!(written.files.rename(b"/srv/a", b"/srv/b"));
    assert_ne!(written.row(4), before);
    assert_eq!(written.shown(4).1, "/srv/b/file");

    let mut written = tree();
    assert!(written.files.rename(b"/srv/a", b"/c"));
    assert_eq!(written.shown(4).1, "/c/file", "in another directory");

    let mut written = tree();
    assert!(written.files.rename(b"/srv/a", b"/unknown/c"));
    assert!(written.shown(4).3, "the beginning of the path is not known");

    let absolute = |base: &str, path: &str| {
        String::from_utf8(paths::absolute(base.as_bytes(), path.as_bytes())).unwrap()
    };
    assert_eq!(absolute("/srv", "a//./b/../c"), "/srv/a/c");
    assert_eq!(absolute("/srv", "/x/"), "/x");
    assert_eq!(absolute("/srv", "../.."), "/");
}

#[test]
fn of_a_very_long_path_the_beginning_is_missing() {
    let path = |directories: u64| {
        let mut written = Written::new();
        define(&mut written.files, &named(1, 0, "", DIRECTORY));
        for id in 2..=directories {
            define(&mut written.files, &named(id, id - 1, "d", DIRECTORY));
        }
        define(&mut written.files, &named(directories + 1, directories, "file", REGULAR));
        written.shown(directories + 1)
    };
    let most = u64::from(DEPTH_MAX);
    let file = |directories: u64| "/d".repeat(directories as usize - 1) + "/file";
    assert_eq!(path(most), ("file".to_owned(), file(most), false, false));
    assert_eq!(path(most + 1), ("file".to_owned(), file(most + 1), false, true));
}

#[test]
fn what_is_missing_or_deleted_is_marked() {
    let mut written = Written::new();
    define(&mut written.files, &named(4, 3, "file", REGULAR));
    assert_eq!(
        written.shown(4),
        ("file".to_owned(), "/file".to_owned(), false, true),
        "without its directory"
    );

    let mut written = tree();
    let deleted = Named { flags: name_flags::DELETED, ..named(5, 3, "gone", REGULAR) };
    define(&mut written.files, &deleted);
    assert_eq!(written.shown(5), ("file".to_owned(), "/srv/a/gone".to_owned(), true, false));

    let mut written = Written::new();
    define(&mut written.files, &Named { flags: name_flags::DETACHED, ..named(6, 0, "", DIRECTORY) });
    assert_eq!(written.shown(6), ("directory".to_owned(), "/".to_owned(), false, true));
}

#[test]
fn what_is_in_no_directory_has_a_type() {
    let alone = |name: &str, magic: u64, mode: u16| {
        let mut written = Written::new();
        let definition =
            Named { magic, flags: name_flags::ALONE | name_flags::DELETED, ..named(5, 0, name, mode) };
        define(&mut written.files, &definition);
        let (ty, path, is_deleted, _) = written.shown(5);
        assert!(!is_deleted, "{ty}");
        (ty, path)
    };
    let pair = |ty: &str, path: &str| (ty.to_owned(), path.to_owned());
    assert_eq!(alone("", 0x5049_5045, 0o010_600), pair("pipe", ""));
    assert_eq!(alone("[eventfd]", 0x0904_1934, 0o600), pair("eventfd", "anon_inode:[eventfd]"));
    assert_eq!(alone("inotify", 0x0904_1934, 0o600), pair("inotify", "anon_inode:inotify"));
    assert_eq!(alone("[pidfd]", 0x0904_1934, 0o600), pair("pidfd", "anon_inode:[pidfd]"));
    assert_eq!(alone("", 0x5049_4446, 0o100_700), pair("pidfd", "anon_inode:[pidfd]"));
    assert_eq!(alone("memfd:cache", 0x0102_1994, 0o100_777), pair("memfd", "memfd:cache"));
}

#[test]
fn sockets_have_addresses_or_a_path() {
    let socket = |family, ty, protocol| Socket {
        head: head(class::SOCKET),
        id: 9,
        ino: 77,
        local: [0; 2],
        remote: [0; 2],
        family,
        ty,
        protocol,
        local_port: 0,
        remote_port: 0,
        path_len: 0,
        peer_len: 0,
        reserved: 0,
        peer_pid: 0,
        reserved_too: 0,
        path: [0; UNIX_PATH],
        peer: [0; UNIX_PATH],
    };
    let shown = |socket: &Socket| {
        let mut written = Written::new();
        written.files.define(bytes_of(socket)).unwrap();
        let row = written.row(9);
        let seen = SeenChunk::new(written.builder);
        let file = seen.view().file(row);
        let address = |bytes: &[u8]| {
            let mut text = Vec::new();
            ktape_reader::syscalls::sockaddr::format(bytes, &mut text);
            String::from_utf8(text).unwrap()
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        [text(file.ty), text(file.proto), address(file.local), address(file.remote), text(file.path)]
    };
    let four = |bytes: [u8; 4]| [u64::from(u32::from_ne_bytes(bytes)), 0];
    let tcp = Socket {
        local: four([127, 0, 0, 1]),
        remote: four([10, 0, 0, 7]),
        local_port: 80,
        remote_port: 4711,
        ..socket(2, 1, 6)
    };
    assert_eq!(shown(&tcp), ["ipv4", "tcp", "127.0.0.1:80", "10.0.0.7:4711", ""]);
    assert_eq!(shown(&socket(2, 2, 17)), ["ipv4", "udp", "", "", ""], "not bound");
    assert_eq!(shown(&socket(16, 3, 0)), ["netlink", "", "", "", ""]);
    let mut unix = socket(1, 1, 0);
    unix.peer[..7].copy_from_slice(b"/run/x\0");
    unix.peer_len = 7;
    assert_eq!(shown(&unix)[4], "/run/x", "that of the peer");
    unix.path[..5].copy_from_slice(b"\0name");
    unix.path_len = 5;
    assert_eq!(shown(&unix)[4], "\0name");
}

#[test]
fn files_in_use_outlive_many_others() {
    let mut written = tree();
    let mut renewals = 0;
    for id in 100..100 + 4 * KNOWN_MAX as u64 {
        define(&mut written.files, &named(id, 1, "other", REGULAR));
        if written.files.take_due() {
            renewals += 1;
            written.files.renewed();
            for id in [4, 3, 2, 7, 1] {
                assert!(written.files.is_known(id), "{id}");
            }
        }
    }
    assert_eq!(renewals, 4);
    assert!(written.files.known.len() + written.files.older.len() <= 2 * KNOWN_MAX);
    assert_eq!(written.shown(4).1, "/srv/a/file");
}
