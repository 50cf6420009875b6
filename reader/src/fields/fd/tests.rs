mod sockets;
mod structs;

use std::sync::Arc;

use events::flags;

use crate::fields::{lookup, values};
use crate::filter::{Evaluator, Filter};
use crate::model::testing::{TestCall, TestChunk, TestFile, WALL, call, header, openat};
use crate::model::{Binding, ChunkView, ContainerNames, Context, Event};

const AT_FDCWD: u64 = -100i64 as u64;

/// A call with its first and its second file.
#[derive(Clone)]
struct Recorded<'a> {
    call: TestCall,
    files: [TestFile<'a>; 2],
}

impl<'a> Recorded<'a> {
    fn new(call: TestCall) -> Self {
        Self { call, files: [TestFile::default(); 2] }
    }

    fn with(self, file: TestFile<'a>, file2: TestFile<'a>) -> Self {
        Self { files: [file, file2], ..self }
    }

    /// Calls `then` with the event.
    fn event<T>(&self, then: impl FnOnce(Event<'_>, Context<'_>) -> T) -> T {
        let header = Arc::new(header(1));
        let mut chunk = TestChunk::new(&header);
        let cgroup = chunk.cgroup(1, "/", &[]);
        let task = chunk.task(7, 7, "app", cgroup);
        let files = self.files.map(|file| if file.ty.is_empty() { 0 } else { chunk.file(&file) });
        chunk.call(1_000_000, task, &TestCall { files, ..self.call.clone() });
        let chunk = chunk.chunk();
        let binding = Binding::new(header);
        let view = ChunkView::open(&chunk, &binding).unwrap();
        let names = ContainerNames::default();
        let context = Context { names: &names, start: WALL };
        let rows = view.tables().find(|rows| rows.len() == 1).unwrap();
        then(Event::new(&context, &view, rows, 0), context)
    }

    /// The value of a field as it is shown, `-` for none.
    fn value(&self, name: &str) -> String {
        let (field, _) = lookup(name).unwrap();
        self.event(|event, _| match values::value(event, &field, &mut Vec::new()) {
            crate::fields::Value::Missing => "-".to_owned(),
            value => value.to_string(),
        })
    }

    /// Whether an expression finds it.
    fn passes(&self, text: &str) -> bool {
        let filter = Filter::parse(text).unwrap_or_else(|e| panic!("{e}"));
        self.event(|event, context| {
            let mut selected = vec![0];
            Evaluator::new(filter.expr(), context, event.view).retain(event.rows, &mut selected);
            selected.len() == 1
        })
    }

    #[track_caller]
    fn has(&self, expected: &[(&str, &str)]) {
        for (field, expected) in expected {
            assert_eq!(self.value(field), *expected, "{field} of {}", self.call.name);
        }
    }

    #[track_caller]
    fn finds(&self, expected: &[(&str, bool)]) {
        for (text, expected) in expected {
            assert_eq!(self.passes(text), *expected, "{text} of {}", self.call.name);
            let opposite = format!("not ({text})");
            assert_eq!(self.passes(&opposite), !expected, "{opposite} of {}", self.call.name);
        }
    }
}

fn file<'a>(ty: &'a str, path: &'a str) -> TestFile<'a> {
    TestFile { ty, path, dev: 8 << 20 | 1, ino: 4711, ..TestFile::default() }
}

fn with_paths(name: &'static str, args: &[u64], paths: &[&str], ret: i64) -> Recorded<'static> {
    let strs = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    Recorded::new(TestCall { strs, ..call(name, args, ret) })
}

const UNKNOWN: TestFile<'static> = TestFile {
    ty: "",
    path: "",
    local: &[],
    remote: &[],
    proto: "",
    dev: 0,
    ino: 0,
    is_deleted: false,
    is_cut: false,
    peer_pid: 0,
};

#[test]
fn a_descriptor_has_the_name_of_its_file() {
    let read = Recorded::new(call("read", &[3, 0, 512], 512));
    read.clone().with(file("file", "/etc/hosts"), UNKNOWN).has(&[
        ("fd.num", "3"),
        ("fd.name", "/etc/hosts"),
        ("fd.type", "file"),
        ("fd.typechar", "f"),
        ("fd.directory", "/etc"),
        ("fd.filename", "hosts"),
        ("fd.ino", "4711"),
        ("fd.dev", "8:1"),
        ("fd.deleted", "0"),
        ("fd.ip", "-"),
        ("fs.path.name", "-"),
        ("proc.cwd", "/srv"),
    ]);
    read.with(file("file", "/etc/hosts"), UNKNOWN).finds(&[
        ("fd.name = /etc/hosts", true),
        ("fd.name = /etc", false),
        ("fd.name != /etc/hosts", false),
        ("fd.name in (/x, /etc/hosts)", true),
        ("fd.name contains tc/ho", true),
        ("fd.name startswith /etc", true),
        ("fd.name endswith hosts", true),
        ("fd.name glob '/etc/*'", true),
        ("fd.name iglob '/ETC/*'", true),
        ("fd.name icontains HOSTS", true),
        ("fd.name regex '/etc/h.*'", true),
        ("fd.name pmatch (/etc, /var)", true),
        ("fd.name pmatch (/et)", false),
        ("fd.name bcontains 2f657463", true),
        ("fd.name exists", true),
        ("basename(fd.name) = hosts", true),
        ("len(fd.name) = 10", true),
        ("fd.type = file and fd.typechar = f and fd.ino = 4711 and fd.dev = 8:1", true),
        ("fd.deleted = false", true),
        ("fd.directory = /etc and fd.filename = hosts", true),
        ("proc.cwd = /srv", true),
        ("evt.arg.fd = 3", true),
        ("evt.arg.fd contains /etc", true),
        ("evt.arg.fd = val(fd.num)", true),
        ("evt.rawarg.fd contains /etc", false),
        ("concat(fd.type, ':', fd.name) = file:/etc/hosts", true),
    ]);
}

#[test]
fn files_without_a_path_have_the_names_of_proc() {
    let named = |file: TestFile<'_>| {
        let read = Recorded::new(call("read", &[3, 0, 512], 512)).with(file, UNKNOWN);
        ["fd.name", "fd.type", "fd.typechar"].map(|field| read.value(field)).join(" ")
    };
    for (ty, path, expected) in [
        ("pipe", "", "pipe:[4711] pipe p"),
        ("fifo", "", "pipe:[4711] pipe p"),
        ("fifo", "/run/f", "/run/f pipe p"),
        ("directory", "/srv", "/srv directory d"),
        ("char", "/dev/null", "/dev/null file f"),
        ("block", "/dev/sda", "/dev/sda file f"),
        ("eventfd", "", "anon_inode:[eventfd] event e"),
        ("eventpoll", "", "anon_inode:[eventpoll] eventpoll l"),
        ("timerfd", "", "anon_inode:[timerfd] timerfd t"),
        ("signalfd", "", "anon_inode:[signalfd] signalfd s"),
        ("inotify", "", "anon_inode:[inotify] inotify i"),
        ("pidfd", "", "anon_inode:[pidfd] pidfd P"),
        ("io_uring", "", "anon_inode:[io_uring] io_uring r"),
        ("bpf-map", "", "anon_inode:[bpf-map] bpf b"),
        ("perf_event", "", "anon_inode:[perf_event] perf_event o"),
        ("memfd", "buffer", "/memfd:buffer memfd m"),
        ("memfd", "/memfd:buffer", "/memfd:buffer memfd m"),
        ("unix", "/run/x.sock", "/run/x.sock unix u"),
        ("unix", "\0name", "@name unix u"),
        ("unix", "", "socket:[4711] unix u"),
        ("netlink", "", "socket:[4711] netlink n"),
        ("packet", "", "socket:[4711] packet o"),
        ("ipv4", "", "socket:[4711] ipv4 4"),
        ("ipv6", "", "socket:[4711] ipv6 6"),
    ] {
        assert_eq!(named(file(ty, path)), expected);
    }
    assert_eq!(named(TestFile { ino: u64::MAX, ..file("pipe", "") }), "pipe pipe p", "an unknown number");
    let cut = TestFile { is_cut: true, ..file("file", "/deep/down") };
    assert_eq!(named(cut), ".../deep/down file f", "the beginning is missing");
    assert_eq!(named(file("file", "")), "- file f");
}

#[test]
fn relative_paths_are_made_absolute() {
    let unlink = with_paths("unlink", &[1], &["relative-1"], 0).with(file("directory", "/abs/dir"), UNKNOWN);
    unlink.has(&[
        ("fd.name", "/abs/dir/relative-1"),
        ("fd.directory", "/abs/dir"),
        ("fd.filename", "relative-1"),
        ("fs.path.name", "/abs/dir/relative-1"),
        ("fs.path.nameraw", "relative-1"),
        ("evt.abspath", "/abs/dir/relative-1"),
        ("fs.path.source", "-"),
        ("fd.num", "-"),
        // What the path stands for is not known, and the directory is another file.
        ("fd.type", "-"),
        ("fd.ino", "-"),
    ]);
    unlink.finds(&[
        ("fd.name = /abs/dir/relative-1", true),
        ("fd.name = relative-1", true),
        ("fd.name = /abs/dir", false),
        ("fd.name startswith /abs/dir/", true),
        ("fd.name pmatch (/abs/dir)", true),
        ("fd.name endswith dir", false),
        ("fs.path.name = /abs/dir/relative-1", true),
        ("fs.path.name = relative-1", false),
        ("fd.type exists", false),
    ]);
    let unlinkat = |dfd: u64, path: &str, base: TestFile<'static>| {
        with_paths("unlinkat", &[dfd, 1, 0], &[path], 0).with(base, UNKNOWN).value("fd.name")
    };
    let base = file("directory", "/srv/data");
    assert_eq!(unlinkat(5, "x", base), "/srv/data/x");
    assert_eq!(unlinkat(AT_FDCWD, "x", base), "/srv/data/x");
    assert_eq!(unlinkat(5, "./a//../x/", base), "/srv/data/x");
    assert_eq!(unlinkat(5, "../../../x", base), "/x");
    assert_eq!(unlinkat(5, "/etc//x", base), "/etc/x");
    assert_eq!(unlinkat(AT_FDCWD, "x", UNKNOWN), "x", "as it was given");
    assert_eq!(unlinkat(AT_FDCWD, "/a/../x", UNKNOWN), "/x");
    let cut = TestFile { is_cut: true, ..file("directory", "/down") };
    assert_eq!(unlinkat(5, "x", cut), ".../down/x");
    assert_eq!(unlinkat(5, "x", file("pipe", "")), "x");
}

#[test]
fn a_call_that_opens_a_file_has_the_path_that_the_kernel_found() {
    let openat =
        Recorded::new(openat(b"link", 4)).with(file("directory", "/srv"), file("file", "/data/app.log"));
    openat.has(&[
        ("fd.name", "/data/app.log"),
        ("fd.num", "4"),
        ("fd.type", "file"),
        ("fd.filename", "app.log"),
        ("fs.path.name", "/data/app.log"),
        ("fs.path.nameraw", "link"),
    ]);
    openat.finds(&[
        ("fd.name = /data/app.log", true),
        ("fd.name = /srv/link", true),
        ("fd.name = link", true),
        ("fd.name = /srv", false),
    ]);
    let failed = Recorded::new(TestCall { ret: -2, ..openat.call }).with(file("directory", "/srv"), UNKNOWN);
    failed.has(&[("fd.name", "/srv/link"), ("fd.num", "-"), ("fd.type", "-"), ("fd.directory", "/srv")]);
    let chdir =
        with_paths("chdir", &[1], &["sub"], 0).with(file("directory", "/srv"), file("directory", "/srv/sub"));
    chdir.has(&[("fd.name", "/srv/sub"), ("fd.type", "directory"), ("fd.num", "-")]);
    let create = Recorded::new(call("epoll_create1", &[0], 9)).with(UNKNOWN, file("eventpoll", ""));
    create.has(&[("fd.name", "anon_inode:[eventpoll]"), ("fd.num", "9"), ("fd.type", "eventpoll")]);
    create.finds(&[("fd.name = anon_inode:[eventpoll]", true), ("fd.num = 9", true)]);
}

#[test]
fn an_empty_path_stands_for_the_descriptor() {
    let fstat = with_paths("newfstatat", &[3, 1, 0, 0x1000], &[""], 0);
    let of_file = fstat.clone().with(file("file", "/etc/hosts"), UNKNOWN);
    of_file.has(&[("fd.name", "/etc/hosts"), ("fd.type", "file"), ("fs.path.name", "/etc/hosts")]);
    of_file.finds(&[("fd.name = /etc/hosts", true), ("fd.name = ''", true)]);
    fstat.with(file("pipe", ""), UNKNOWN).has(&[("fd.name", "pipe:[4711]"), ("fd.type", "pipe")]);
    let futimens = with_paths("utimensat", &[3, 0, 0, 0], &[""], 0).with(file("file", "/a"), UNKNOWN);
    futimens.has(&[("fd.name", "/a"), ("fs.path.name", "/a")]);
    let unread = with_paths("utimensat", &[3, 1, 0, 0], &[""], -14);
    let unread = Recorded::new(TestCall { flags: flags::STR0_UNREAD, ..unread.call });
    unread.with(file("directory", "/a"), UNKNOWN).has(&[("fd.name", "-"), ("fd.type", "-")]);
}

#[test]
fn both_paths_of_a_call_count() {
    let (a, b) = (file("directory", "/a"), file("directory", "/b"));
    let renameat = with_paths("renameat", &[5, 1, 6, 1], &["old", "new"], 0).with(a, b);
    renameat.has(&[
        ("fd.name", "/a/old"),
        ("fs.path.source", "/a/old"),
        ("fs.path.target", "/b/new"),
        ("fs.path.sourceraw", "old"),
        ("fs.path.targetraw", "new"),
        ("evt.abspath.src", "/a/old"),
        ("evt.abspath.dst", "/b/new"),
        ("fs.path.name", "-"),
        ("evt.abspath", "-"),
    ]);
    renameat.finds(&[
        ("fd.name = /a/old", true),
        ("fd.name = /b/new", true),
        ("fd.name = old", true),
        ("fd.name = new", true),
        ("fd.name = /a/new", false),
        ("fd.name in (/a, /b)", false),
        ("fd.name != /b/new", false),
        ("fd.filename = new", true),
        ("fd.directory = /b", true),
    ]);
    let linkat = with_paths("linkat", &[5, 1, 6, 1, 0], &["old", "new"], 0).with(a, b);
    linkat.has(&[
        ("fd.name", "/a/old"),
        ("fs.path.source", "/b/new"),
        ("fs.path.target", "/a/old"),
        ("evt.abspath.src", "/a/old"),
        ("evt.abspath.dst", "/b/new"),
    ]);
    // The text of a symbolic link is no path of the caller.
    let symlinkat = with_paths("symlinkat", &[1, 6, 1], &["old", "new"], 0).with(UNKNOWN, b);
    symlinkat.has(&[
        ("fd.name", "old"),
        ("fs.path.source", "/b/new"),
        ("fs.path.target", "old"),
        ("evt.abspath", "/b/new"),
        ("evt.abspath.src", "-"),
    ]);
    symlinkat.finds(&[("fd.name = /b/new", true), ("fd.name = /b/old", false)]);
    let splice = Recorded::new(call("splice", &[3, 0, 4, 0, 512, 0], 512));
    splice.with(file("pipe", ""), file("file", "/x")).finds(&[
        ("fd.name = pipe:[4711]", true),
        ("fd.name = /x", true),
        ("fd.type = pipe", true),
        ("fd.type = file", false),
    ]);
    let dup2 = Recorded::new(call("dup2", &[3, 1], 1)).with(file("file", "/x"), file("file", "/x"));
    dup2.has(&[("fd.name", "/x"), ("fd.num", "3")]);
}

#[test]
fn descriptors_of_directories_count_where_they_are_the_subject() {
    let dir = file("directory", "/abs/dir");
    for read in [call("getdents64", &[3, 0, 4096], 48), call("fchdir", &[3], 0)] {
        Recorded::new(read).with(dir, UNKNOWN).has(&[
            ("fd.name", "/abs/dir"),
            ("fd.type", "directory"),
            ("fd.directory", "/abs/dir"),
            ("fd.filename", "-"),
        ]);
    }
    let add = with_paths("inotify_add_watch", &[3, 1, 2], &["x"], 1).with(file("inotify", ""), dir);
    add.has(&[("fd.name", "/abs/dir/x"), ("fd.type", "inotify"), ("fd.num", "3")]);
    add.finds(&[
        ("fd.name = /abs/dir/x", true),
        ("fd.name contains inotify", true),
        ("fd.name = /abs/dir", false),
    ]);
}

#[test]
fn what_is_unknown_is_missing() {
    let read = Recorded::new(call("read", &[3, 0, 512], 512));
    read.has(&[
        ("fd.num", "3"),
        ("fd.name", "-"),
        ("fd.type", "-"),
        ("fd.deleted", "-"),
        ("fd.directory", "-"),
    ]);
    read.finds(&[("fd.name exists", false), ("fd.name != /x", true), ("fd.type != file", true)]);
    Recorded::new(call("getpid", &[], 7)).has(&[("fd.name", "-"), ("fd.num", "-"), ("fd.type", "-")]);
    let deleted = TestFile { is_deleted: true, ..file("file", "/tmp/x") };
    let close = Recorded::new(call("close", &[3], 0)).with(deleted, UNKNOWN);
    close.has(&[("fd.name", "/tmp/x"), ("fd.deleted", "1")]);
}

#[test]
fn incomplete_paths_mark_what_is_made_from_them() {
    use crate::fields::marks::{Mark, of_field};
    let mark = |recorded: &Recorded<'_>, name: &str| {
        let (field, _) = lookup(name).unwrap();
        recorded.event(|event, _| of_field(&event, &field))
    };
    let cut = |result: i64| TestCall { flags: flags::STR0_CUT, ..openat(b"long", result) };
    let failed = Recorded::new(cut(-2)).with(file("directory", "/srv"), UNKNOWN);
    let opened = Recorded::new(cut(3)).with(file("directory", "/srv"), file("file", "/srv/long-name"));
    for name in ["fd.name", "fd.filename", "fd.directory", "fs.path.name", "fs.path.nameraw", "evt.abspath"] {
        assert_eq!(mark(&failed, name), Mark::Cut, "{name}");
        let is_raw = name == "fs.path.nameraw";
        assert_eq!(mark(&opened, name), if is_raw { Mark::Cut } else { Mark::Whole }, "{name}");
    }
    assert_eq!(failed.value("evt.incomplete"), "evt.arg.filename fd.name");
    assert_eq!(opened.value("evt.incomplete"), "evt.arg.filename");
    let unread = Recorded::new(TestCall { flags: flags::STR0_UNREAD, ..openat(b"", 3) });
    assert_eq!(mark(&unread, "fd.name"), Mark::Unread);
    let found = unread.with(file("directory", "/srv"), file("file", "/srv/x"));
    assert_eq!((mark(&found, "fd.name"), found.value("fd.name").as_str()), (Mark::Whole, "/srv/x"));
}
