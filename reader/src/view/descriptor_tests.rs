//! What views write of descriptors.

use events::Kind;

use super::tests::written;
use super::*;
use crate::model::ContainerNames;
use crate::model::testing::{TestCall, TestChunk, TestFile, call, header, openat};

const AT_FDCWD: u64 = -100i64 as u64;

fn file<'a>(ty: &'a str, path: &'a str) -> TestFile<'a> {
    TestFile { ty, path, ino: 4711, ..TestFile::default() }
}

fn unknown() -> TestFile<'static> {
    TestFile::default()
}

/// A chunk with one call of `app(7)` that has these files.
fn chunk_of(test: TestCall, files: [TestFile<'_>; 2]) -> TestChunk {
    let mut chunk = TestChunk::new(&header(1));
    let cgroup = chunk.cgroup(1, "/", &[]);
    let task = chunk.task(7, 7, "app", cgroup);
    let files = files.map(|file| if file.ty.is_empty() { 0 } else { chunk.file(&file) });
    chunk.call(1_000_000_000, task, &TestCall { files, ..test });
    chunk
}

fn lines(chunk: TestChunk, view: Box<dyn View>) -> Vec<String> {
    written(chunk, &ContainerNames::default(), view)
}

/// The text of a call, without its duration.
fn text(test: TestCall, files: [TestFile<'_>; 2]) -> String {
    let line = lines(chunk_of(test, files), Format::Text.view(TimeZone::UTC)).remove(0);
    let (_, call) = line.split_once("app(7) ").unwrap();
    call.strip_suffix(" <12.4us>").unwrap_or(call).to_owned()
}

/// What follows the descriptor of a file.
fn link(file: TestFile<'_>) -> String {
    let close = text(call("close", &[3], 0), [file, unknown()]);
    close.strip_prefix("close(3").and_then(|rest| rest.strip_suffix(") = 0")).unwrap().to_owned()
}

/// `struct sockaddr_in`.
fn v4(ip: [u8; 4], port: u16) -> Vec<u8> {
    [&[2, 0][..], &port.to_be_bytes(), &ip, &[0; 8]].concat()
}

#[test]
fn a_descriptor_is_followed_by_what_it_stands_for() {
    assert_eq!(link(file("file", "/etc/hosts")), "</etc/hosts>");
    assert_eq!(link(TestFile { is_deleted: true, ..file("file", "/tmp/x") }), "</tmp/x>(deleted)");
    assert_eq!(link(TestFile { is_cut: true, ..file("file", "/down") }), "<.../down>");
    assert_eq!(link(file("pipe", "")), "<pipe:[4711]>");
    assert_eq!(link(file("eventpoll", "")), "<anon_inode:[eventpoll]>");
    assert_eq!(link(file("memfd", "buffer")), "</memfd:buffer>");
    assert_eq!(link(file("unix", "/run/x.sock")), "<UNIX:[/run/x.sock]>");
    assert_eq!(link(file("unix", "\0name")), "<UNIX:[@name]>");
    assert_eq!(link(file("unix", "")), "<UNIX:[4711]>");
    assert_eq!(link(file("netlink", "")), "<NETLINK:[4711]>");
    assert_eq!(link(file("socket", "")), "<socket:[4711]>");
    assert_eq!(link(unknown()), "");
    let (local, remote) = (v4([10, 0, 0, 7], 4711), v4([10, 0, 0, 2], 80));
    let tcp = |local, remote| TestFile { proto: "tcp", local, remote, ..file("ipv4", "") };
    assert_eq!(link(tcp(&local, &remote)), "<TCP:[10.0.0.7:4711->10.0.0.2:80]>");
    assert_eq!(link(tcp(&local, &[])), "<TCP:[10.0.0.7:4711]>");
    assert_eq!(link(tcp(&[], &[])), "<TCP:[4711]>");
    assert_eq!(link(TestFile { proto: "udp", ..tcp(&local, &[]) }), "<UDP:[10.0.0.7:4711]>");
    assert_eq!(link(TestFile { proto: "", ..tcp(&local, &[]) }), "<10.0.0.7:4711>");
    let loopback = [&[10, 0, 0, 80][..], &[0; 19], &[1], &[0; 4]].concat();
    let tcp6 = TestFile { proto: "tcp", local: &loopback, ..file("ipv6", "") };
    assert_eq!(link(tcp6), "<TCPv6:[[::1]:80]>");
}

#[test]
fn names_cannot_leave_their_brackets() {
    assert_eq!(link(file("file", "/a> = 0\n</b\\")), r"</a\x3e = 0\n\x3c/b\\>");
    assert_eq!(link(file("unix", "/a]>")), r"<UNIX:[/a]\x3e]>");
    assert_eq!(link(TestFile { proto: "x>\n", ..file("socket", "") }), r"<X\x3e\n:[4711]>");
    assert_eq!(link(file("eventfd\u{202e}", "")), r"<anon_inode:[eventfd\xe2\x80\xae]>");
}

#[test]
fn calls_are_written_as_by_strace() {
    let (srv, log) = (file("directory", "/srv"), file("file", "/srv/app.log"));
    assert_eq!(
        text(openat(b"app.log", 4), [srv, log]),
        r#"openat(AT_FDCWD</srv>, "app.log", O_RDONLY|O_CLOEXEC) = 4</srv/app.log>"#
    );
    assert_eq!(
        text(openat(b"app.log", -2), [srv, unknown()]),
        r#"openat(AT_FDCWD</srv>, "app.log", O_RDONLY|O_CLOEXEC) = -1 ENOENT"#
    );
    assert_eq!(
        text(openat(b"/x", 4), [unknown(), unknown()]),
        r#"openat(AT_FDCWD, "/x", O_RDONLY|O_CLOEXEC) = 4"#
    );
    let rename = TestCall {
        strs: vec![b"old".to_vec(), b"new".to_vec()],
        ..call("renameat", &[AT_FDCWD, 1, 6, 1], 0)
    };
    assert_eq!(
        text(rename, [srv, file("directory", "/b")]),
        r#"renameat(AT_FDCWD</srv>, "old", 6</b>, "new") = 0"#
    );
    let unlink = TestCall { strs: vec![b"x".to_vec()], ..call("unlink", &[1], 0) };
    assert_eq!(text(unlink, [srv, unknown()]), r#"unlink("x") = 0"#, "no argument stands for the directory");
    assert_eq!(
        text(call("epoll_ctl", &[3, 1, 4, 0], 0), [file("eventpoll", ""), file("pipe", "")]),
        "epoll_ctl(3<anon_inode:[eventpoll]>, EPOLL_CTL_ADD, 4<pipe:[4711]>, NULL) = 0"
    );
    assert_eq!(text(call("dup2", &[3, 1], 1), [log, log]), "dup2(3</srv/app.log>, 1) = 1</srv/app.log>");
    assert_eq!(
        text(call("fcntl", &[3, 1030, 10], 10), [log, log]),
        "fcntl(3</srv/app.log>, F_DUPFD_CLOEXEC, 10) = 10</srv/app.log>"
    );
    assert_eq!(text(call("fcntl", &[3, 1], 1), [log, log]), "fcntl(3</srv/app.log>, F_GETFD) = 1");
    let chdir = TestCall { strs: vec![b"srv".to_vec()], ..call("chdir", &[1], 0) };
    assert_eq!(text(chdir, [file("directory", "/"), srv]), r#"chdir("srv") = 0"#);
}

#[test]
fn hangs_are_written_the_same_way() {
    let mut chunk = TestChunk::new(&header(1));
    let cgroup = chunk.cgroup(1, "/", &[]);
    let task = chunk.task(7, 7, "app", cgroup);
    let nfs = chunk.file(&file("file", "/mnt/nfs/a b"));
    chunk.hang_of(Kind::Stall, (3_000_000_000, 2_000_000_000), task, ("woken", nfs));
    let found = lines(chunk, Format::Text.view(TimeZone::UTC)).remove(0);
    assert!(found.ends_with("app(7) stall woken 2.0s in close(3</mnt/nfs/a b>) waker=app(7)"), "{found}");
}

#[test]
fn chosen_fields_have_the_same_text() {
    let chunk = || {
        let files = [file("directory", "/srv/a\tb"), file("file", "/srv/x<y")];
        chunk_of(openat(b"x", 4), files)
    };
    let names = "evt.arg.dfd,evt.rawarg.dfd,fd.name,fd.type,fd.directory,proc.cwd";
    let csv = Format::Csv.fields_view(names, TimeZone::UTC).unwrap();
    assert_eq!(lines(chunk(), csv)[1], r"AT_FDCWD</srv/a\tb>,-100,/srv/x<y,file,/srv,/srv");
    let template = TemplateView::new("%evt.arg.dfd|%evt.args", TimeZone::UTC).unwrap();
    assert_eq!(
        lines(chunk(), Box::new(template))[0],
        r#"AT_FDCWD</srv/a\tb>|AT_FDCWD</srv/a\tb>, "x", O_RDONLY|O_CLOEXEC"#
    );
    let without = chunk_of(openat(b"/x", 4), [unknown(), unknown()]);
    let csv = Format::Csv.fields_view("evt.arg.dfd,fd.num", TimeZone::UTC).unwrap();
    assert_eq!(lines(without, csv)[1], "AT_FDCWD,4");
    let close = || chunk_of(call("close", &[3], 0), [file("file", "/x"), unknown()]);
    let csv = Format::Csv.fields_view("evt.arg.fd,evt.arg[0],evt.rawarg.fd,fd.num", TimeZone::UTC).unwrap();
    assert_eq!(lines(close(), csv)[1], "3</x>,3</x>,3,3");
}

#[test]
fn json_has_the_number_and_the_names() {
    let chunk = || chunk_of(openat(b"x", 4), [file("directory", "/srv"), file("file", "/srv/x")]);
    let json = lines(chunk(), Format::Json.view(TimeZone::UTC)).remove(0);
    let event: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (key, expected) in [
        ("evt.arg.dfd", serde_json::json!(-100)),
        ("evt.args", r#"AT_FDCWD</srv>, "x", O_RDONLY|O_CLOEXEC"#.into()),
        ("fd.num", 4.into()),
        ("fd.name", "/srv/x".into()),
        ("fd.type", "file".into()),
    ] {
        assert_eq!(event[key], expected, "{key}");
    }
    let chosen = Format::Json.fields_view("evt.arg.dfd,fd.deleted,fd.ino,fd.dev", TimeZone::UTC).unwrap();
    assert_eq!(
        lines(chunk(), chosen)[0],
        r#"{"evt.arg.dfd":-100,"fd.deleted":false,"fd.ino":4711,"fd.dev":"0:0"}"#
    );
    let without = chunk_of(call("close", &[3], 0), [unknown(), unknown()]);
    let json = lines(without, Format::Json.view(TimeZone::UTC)).remove(0);
    assert!(
        json.contains(r#""fd.num":3"#) && !json.contains("fd.name") && !json.contains("fd.type"),
        "{json}"
    );
}

#[test]
fn colours_are_around_names_files_and_failures() {
    use crate::text::paint::Paint;
    let painted = |test: TestCall, files| {
        let view = TextView::new(TimeZone::UTC).painted(Paint::Color);
        let line = lines(chunk_of(test, files), Box::new(view)).remove(0);
        line.split_once("app(7) ").unwrap().1.replace("\x1b[", "^")
    };
    let (srv, log) = (file("directory", "/srv"), file("file", "/srv/\x1b[31mx"));
    assert_eq!(
        painted(openat(b"x", 4), [srv, log]),
        r#"^1mopenat^0m(AT_FDCWD^36m</srv>^0m, ^36m"x"^0m, O_RDONLY|O_CLOEXEC) = 4^36m</srv/\e[31mx>^0m <12.4us>"#
    );
    assert_eq!(
        painted(openat(b"\x1b[0m", -2), [unknown(), unknown()]),
        r#"^1mopenat^0m(AT_FDCWD, ^36m"\e[0m"^0m, O_RDONLY|O_CLOEXEC) = ^31m-1 ENOENT^0m <12.4us>"#
    );
    let address = v4([127, 0, 0, 1], 80);
    let connect = TestCall { strs: vec![address], ..call("connect", &[3, 1, 16], -1999) };
    assert_eq!(
        painted(connect, [unknown(), unknown()]),
        "^1mconnect^0m(3, ^36m127.0.0.1:80^0m, 16) = ^31m-1999^0m <12.4us>"
    );
    let mut chunk = TestChunk::new(&header(1));
    let cgroup = chunk.cgroup(1, "/", &[]);
    let task = chunk.task(7, 7, "app", cgroup);
    chunk.exit(1, task, 1, 0);
    let view = TextView::new(TimeZone::UTC).painted(Paint::Color);
    assert!(lines(chunk, Box::new(view))[0].ends_with("app(7) \x1b[1mexit\x1b[0m process status=1"));
}

/// The third string is read only behind a second one that is whole, so the mark is that of the last one that was read.
#[test]
fn only_the_string_that_is_cut_is_marked() {
    let request = |description: &[u8], information: &[u8]| {
        let strs = vec![b"user".to_vec(), description.to_vec(), information.to_vec()];
        let test = call("request_key", &[1, 1, 1, 0], 5);
        text(TestCall { strs, flags: events::flags::STR1_CUT, ..test }, [unknown(), unknown()])
    };
    assert_eq!(request(b"d", b"abc"), r#"request_key("user", "d", "abc"..., 0) = 5"#);
    assert_eq!(request(b"d", b""), r#"request_key("user", "d"..., ""..., 0) = 5"#);
}

/// What was not given in memory is not shown, whatever is behind the pointer.
#[test]
fn what_depends_on_a_command_is_shown_with_that_command_only() {
    let state = |command: u64, bytes: &[u8]| {
        let test = call("shmctl", &[7, command, 1], 0);
        text(TestCall { strs: vec![bytes.to_vec()], ..test }, [unknown(), unknown()])
    };
    assert!(state(2, &[0; 96]).starts_with("shmctl(7, IPC_STAT, {shm_perm={uid=0, gid=0, mode="));
    assert_eq!(state(0, b""), "shmctl(7, IPC_RMID, _) = 0");
    let prctl = |option: u64, value: u64, bytes: &[u8]| {
        let test = call("prctl", &[option, value, 0, 0, 0], 0);
        text(TestCall { strs: vec![bytes.to_vec()], ..test }, [unknown(), unknown()])
    };
    assert_eq!(prctl(15, 0x7fff_0000_1000, b"worker 1\0"), r#"prctl(PR_SET_NAME, "worker 1") = 0"#);
    assert_eq!(prctl(4, 0, b""), "prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0");
    assert_eq!(prctl(24, 0, b""), "prctl(PR_CAPBSET_DROP, CAP_CHOWN) = 0");
    // Of version 1, there are only the lower halves; what is behind them is not theirs.
    let capabilities = |version: u32| {
        let header = [version.to_le_bytes(), [0; 4]].concat();
        let data = [1, 1, 0, 1 << 8, 0, 0].map(u32::to_le_bytes).concat();
        let test = call("capget", &[1, 1], 0);
        text(TestCall { strs: vec![header, data], ..test }, [unknown(), unknown()])
    };
    assert!(
        capabilities(0x1998_0330).ends_with("{effective=CAP_CHOWN, permitted=CAP_CHOWN, inheritable=0}) = 0")
    );
    assert!(capabilities(0x2008_0522).contains("effective=CAP_CHOWN|CAP_CHECKPOINT_RESTORE"));
}
