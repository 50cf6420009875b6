//! Small captures for tests, made row by row.

mod requests;
mod threads;

use std::io::Cursor;
use std::sync::Arc;

use capture_format::{
    Chunk, ChunkBuilder, EncodeOptions, Encoder, Header, MetadataRecord, SegmentWriter, StrId, TableBuilder,
    Vocabulary,
};
use events::{Abi, Kind, syscall_key};

use super::dictionaries::{CGROUP, FILE, PARENT_ON_HOST, PROCESS, TASK};
use super::{CALLS, event_table, schema};
use crate::syscalls;

pub use requests::requests;
pub use threads::TestSwitch;

/// 2026-11-22T12:00:00Z, when boot time 0 is in these captures.
pub const WALL: i64 = 1_795_348_800_000_000_000;

/// A container's id: 64 times this letter.
pub fn id(letter: char) -> String {
    letter.to_string().repeat(64)
}

/// A header with the machine's syscalls.
pub fn header(uuid: u8) -> Header {
    Header {
        capture_uuid: [uuid; 16],
        host: format!("host{uuid}"),
        kernel: "6.1.0-test".to_owned(),
        arch: "x86_64".to_owned(),
        boot_id: [uuid; 16],
        created: WALL,
        wall_offset: WALL,
        time_zone: "Europe/Berlin".to_owned(),
        utc_offset: 3600,
        agent_version: "0.1.0".to_owned(),
        command_line: vec![b"ktape".to_vec(), b"capture".to_vec()],
        labels: vec![("dc".to_owned(), "fra".to_owned())],
        secrets_masked: true,
        vocabularies: Arc::new(vec![Vocabulary {
            name: CALLS.to_owned(),
            entries: syscalls::table().vocabulary(),
        }]),
        schema: Arc::new(schema()),
        ..Header::default()
    }
}

/// A syscall to record.
#[derive(Clone, Debug)]
pub struct TestCall {
    /// Its name.
    pub name: &'static str,
    /// Arguments as stored.
    pub args: Vec<u64>,
    /// Strings.
    pub strs: Vec<Vec<u8>>,
    /// Rows of files, 0 if unknown.
    pub files: [u32; 2],
    /// The result.
    pub ret: i64,
    /// Nanoseconds.
    pub dur: u64,
    /// Flags.
    pub flags: u32,
    /// The key, if it is not that of a native call of this name.
    pub key: Option<u32>,
}

/// A call without anything special.
pub fn call(name: &'static str, args: &[u64], ret: i64) -> TestCall {
    TestCall {
        name,
        args: args.to_vec(),
        strs: Vec::new(),
        files: [0; 2],
        ret,
        dur: 12_400,
        flags: 0,
        key: None,
    }
}

/// `openat(AT_FDCWD, path, 0x80000, 0)`.
pub fn openat(path: &[u8], ret: i64) -> TestCall {
    TestCall { strs: vec![path.to_vec()], ..call("openat", &[(-100i64) as u64, 1, 0x80000, 0], ret) }
}

/// The parent of a process.
#[derive(Clone, Copy, Debug)]
pub struct TestParent<'a> {
    /// Its id.
    pub pid: u64,
    /// Its name.
    pub name: &'a str,
    /// Its containers, as stored.
    pub chain: &'a str,
}

/// What a descriptor stands for; unknown by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestFile<'a> {
    /// Its type.
    pub ty: &'a str,
    /// Its path.
    pub path: &'a str,
    /// The local address of a socket.
    pub local: &'a [u8],
    /// Its remote address.
    pub remote: &'a [u8],
    /// Its protocol.
    pub proto: &'a str,
    /// The device of its file system.
    pub dev: u64,
    /// Its inode number.
    pub ino: u64,
    /// Whether it had been deleted.
    pub is_deleted: bool,
    /// Whether the beginning of the path is missing.
    pub is_cut: bool,
    /// Who created the peer of a unix socket.
    pub peer_pid: u64,
}

/// A chunk under construction.
#[derive(Debug)]
pub struct TestChunk {
    /// The builder.
    pub builder: ChunkBuilder,
}

impl TestChunk {
    /// An empty one for the header's schema.
    pub fn new(header: &Header) -> Self {
        let mut builder = ChunkBuilder::new(Arc::clone(&header.schema));
        builder.set_wall_offset(WALL);
        let mut chunk = Self { builder };
        chunk.file(&TestFile::default());
        chunk
    }

    /// A file.
    pub fn file(&mut self, file: &TestFile<'_>) -> u32 {
        let [ty, path, local, remote, proto] =
            [file.ty.as_bytes(), file.path.as_bytes(), file.local, file.remote, file.proto.as_bytes()]
                .map(|s| self.builder.intern(s));
        let table = self.builder.table(FILE);
        for (column, string) in [(0, ty), (1, path), (2, local), (3, remote), (4, proto)] {
            table.push_bytes(column, string);
        }
        for (column, number) in [
            (5, file.dev),
            (6, file.ino),
            (7, u64::from(file.is_deleted)),
            (8, u64::from(file.is_cut)),
            (9, file.peer_pid),
        ] {
            table.push_u64(column, number);
        }
        table.end_row()
    }

    /// A cgroup inside these containers, outermost first.
    pub fn cgroup(&mut self, id: u64, path: &str, chain: &[String]) -> u32 {
        let strings = [
            path.as_bytes().to_vec(),
            chain.last().cloned().unwrap_or_default().into_bytes(),
            if chain.is_empty() { Vec::new() } else { b"docker".to_vec() },
            chain.join(">").into_bytes(),
            Vec::new(),
        ]
        .map(|s| self.builder.intern(&s));
        let table = self.builder.table(CGROUP);
        table.push_u64(0, id);
        table.push_u64(1, 0);
        table.push_u64(2, 0);
        for (i, s) in strings.into_iter().enumerate() {
            table.push_bytes(3 + i, s);
        }
        table.end_row()
    }

    /// A thread of a process with the same name, whose parent is init.
    pub fn task(&mut self, pid: u64, tid: u64, name: &str, cgroup: u32) -> u32 {
        self.child(TestParent { pid: 1, name: "bash", chain: PARENT_ON_HOST }, (pid, tid), name, cgroup)
    }

    /// The same of a process with these arguments, by the ids of process and thread.
    pub fn task_with_args(&mut self, ids: (u64, u64), name: &str, args: &str, cgroup: u32) -> u32 {
        let parent = TestParent { pid: 1, name: "bash", chain: PARENT_ON_HOST };
        self.process_and_thread(parent, ids, &[name, args], cgroup)
    }

    /// The same with another parent.
    pub fn child(&mut self, parent: TestParent<'_>, ids: (u64, u64), name: &str, cgroup: u32) -> u32 {
        self.process_and_thread(parent, ids, &[name, &format!("{name}\0-v\0x y\0")], cgroup)
    }

    fn process_and_thread(
        &mut self,
        parent: TestParent<'_>,
        (pid, tid): (u64, u64),
        [name, args]: &[&str; 2],
        cgroup: u32,
    ) -> u32 {
        let exe = format!("/usr/bin/{name}");
        let [pname, name, exe, args, chain, user, cwd, group, login] =
            [parent.name, name, &exe, args, parent.chain, "alice", "/srv", "users", "bob"]
                .map(|s| self.builder.intern(s.as_bytes()));
        let own = self.process_rows();
        let table = self.builder.table(PROCESS);
        table.push_u64(0, pid);
        table.push_u64(1, 1);
        table.push_u64(2, parent.pid);
        for (column, string) in [(3, pname), (4, name), (5, exe), (6, args), (7, chain), (8, cwd)] {
            table.push_bytes(column, string);
        }
        table.push_ref(9, own);
        push_process_details(table, [7, pid, pid, 7, 34_816, 4711, 1, 0]);
        let process = table.end_row();
        let table = self.builder.table(TASK);
        table.push_ref(0, process);
        table.push_u64(1, tid);
        table.push_bytes(2, name);
        table.push_u64(3, 1000);
        table.push_bytes(4, user);
        table.push_ref(5, cgroup);
        push_task_details(
            table,
            [tid.saturating_sub(pid) + 7, 100, 1001, 1 << 21 | 2, 1 << 21 | 3, 0],
            [group, login],
        );
        table.end_row()
    }

    fn process_rows(&self) -> u32 {
        self.builder.schema().index(PROCESS).map_or(0, |index| self.builder.rows_at(index))
    }

    /// A process that started at `10 * pid`, below the one in the row `parent`, if there is one. Its command line is `line`,
    /// and its parent's containers are `chain`.
    pub fn process(&mut self, parent: Option<(u64, u32)>, pid: u64, line: &str, chain: &str) -> u32 {
        let name = line.split(' ').next().unwrap_or_default();
        let args = format!("{}\0", line.replace(' ', "\0"));
        let exe = format!("/usr/bin/{name}");
        let pname = parent.map(|(ppid, _)| format!("p{ppid}")).unwrap_or_default();
        let strings = [&pname, name, &exe, &args, chain, "/srv"].map(|s| self.builder.intern(s.as_bytes()));
        let own = self.process_rows();
        let table = self.builder.table(PROCESS);
        table.push_u64(0, pid);
        table.push_u64(1, pid * 10);
        table.push_u64(2, parent.map_or(0, |(ppid, _)| ppid));
        for (column, string) in (3..).zip(strings) {
            table.push_bytes(column, string);
        }
        table.push_ref(9, parent.map_or(own, |(_, row)| row));
        push_process_details(table, [pid % 100, 500, 500, 0, 0, 4711, 0, 1]);
        table.end_row()
    }

    /// A thread of which only the ids are known.
    pub fn nameless(&mut self, pid: u64, tid: u64, cgroup: u32) -> u32 {
        let (own, empty) = (self.process_rows(), self.builder.intern(b""));
        let table = self.builder.table(PROCESS);
        (0..3).zip([pid, 0, 0]).for_each(|(column, number)| table.push_u64(column, number));
        (3..9).for_each(|column| table.push_bytes(column, empty));
        table.push_ref(9, own);
        push_process_details(table, [0; 8]);
        let process = table.end_row();
        let table = self.builder.table(TASK);
        table.push_ref(0, process);
        table.push_u64(1, tid);
        table.push_bytes(2, empty);
        table.push_u64(3, u64::from(u32::MAX));
        table.push_bytes(4, empty);
        table.push_ref(5, cgroup);
        push_task_details(table, [0; 6], [empty; 2]);
        table.end_row()
    }

    /// A thread of the process in a row.
    pub fn thread(&mut self, process: u32, tid: u64, name: &str, cgroup: u32) -> u32 {
        let [name, user, empty] = [name, "alice", ""].map(|s| self.builder.intern(s.as_bytes()));
        let table = self.builder.table(TASK);
        table.push_ref(0, process);
        table.push_u64(1, tid);
        table.push_bytes(2, name);
        table.push_u64(3, 1000);
        table.push_bytes(4, user);
        table.push_ref(5, cgroup);
        push_task_details(table, [0; 6], [empty; 2]);
        table.end_row()
    }

    /// The columns that every kind has.
    fn common(&mut self, kind: Kind, time: u64, task: u32, flags: u32) -> &mut TableBuilder {
        let table = self.builder.table(event_table(kind));
        table.push_u64(0, time);
        table.push_u64(1, 1);
        table.push_ref(2, task);
        table.push_u64(3, u64::from(flags));
        table
    }

    /// A syscall that ended at `time`.
    pub fn call(&mut self, time: u64, task: u32, call: &TestCall) {
        let native = || {
            let (abi, nr) = syscalls::table().by_name(call.name)[0];
            assert_eq!(abi, Abi::Native);
            syscall_key(abi, nr)
        };
        let key = call.key.unwrap_or_else(native);
        let strs: Vec<_> = call.strs.iter().map(|s| self.builder.intern(s)).collect();
        let table = self.common(Kind::Syscall, time, task, call.flags);
        table.push_u64(4, call.dur);
        table.push_u64(5, u64::from(key));
        table.push_i64(6, call.ret);
        table.push_list_u64(7, &call.args);
        table.push_list_bytes(8, &strs);
        table.push_ref(9, call.files[0]);
        table.push_ref(10, call.files[1]);
        table.end_row();
    }

    /// An exit of a whole process.
    pub fn exit(&mut self, time: u64, task: u32, status: i64, signal: u64) {
        let table = self.common(Kind::Exit, time, task, 0);
        table.push_i64(4, status);
        table.push_u64(5, signal);
        table.push_u64(6, 0);
        table.push_u64(7, 1);
        table.end_row();
    }

    /// A fork.
    pub fn fork(&mut self, time: u64, task: u32, child: u64, cgroup: u32) {
        let table = self.common(Kind::Fork, time, task, 0);
        table.push_u64(4, child);
        table.push_u64(5, child);
        table.push_u64(6, 0);
        table.push_ref(7, cgroup);
        table.end_row();
    }

    /// An exec.
    pub fn exec(&mut self, time: u64, task: u32, path: &[u8], args: &[u8]) {
        self.marked_exec((time, 0), task, path, args);
    }

    /// An exec at a time, with these flags.
    pub fn marked_exec(&mut self, (time, flags): (u64, u32), task: u32, path: &[u8], args: &[u8]) {
        let (path, args, old) =
            (self.builder.intern(path), self.builder.intern(args), self.builder.intern(b"sh"));
        let table = self.common(Kind::Exec, time, task, flags);
        table.push_bytes(4, path);
        table.push_bytes(5, args);
        table.push_u64(6, 77);
        table.push_bytes(7, old);
        table.end_row();
    }

    /// A new cgroup.
    pub fn mkdir(&mut self, time: u64, task: u32, cgroup: u32) {
        self.marked_mkdir((time, 0), task, cgroup);
    }

    /// A new cgroup at a time, with these flags.
    pub fn marked_mkdir(&mut self, (time, flags): (u64, u32), task: u32, cgroup: u32) {
        let table = self.common(Kind::CgroupMkdir, time, task, flags);
        table.push_ref(4, cgroup);
        table.end_row();
    }

    /// A hang in a `close`, of [`Kind::Stall`] or [`Kind::StallOngoing`].
    pub fn hang(&mut self, kind: Kind, times: (u64, u64), task: u32, phase: &str) {
        self.hang_of(kind, times, task, (phase, 0));
    }

    /// A hang in a `close` of a descriptor of this file.
    pub fn hang_of(&mut self, kind: Kind, (time, dur): (u64, u64), task: u32, (phase, file): (&str, u32)) {
        let [phase, empty] = [phase.as_bytes(), b""].map(|text| self.builder.intern(text));
        let (abi, nr) = syscalls::table().by_name("close")[0];
        let table = self.common(kind, time, task, 0);
        table.push_u64(4, dur);
        table.push_bytes(5, phase);
        table.push_u64(6, u64::from(syscall_key(abi, nr)));
        table.push_list_u64(7, &[3]);
        table.push_list_bytes(8, &[]);
        (9..14).for_each(|column| table.push_bytes(column, empty));
        table.push_ref(14, task);
        table.push_ref(15, file);
        table.push_ref(16, 0);
        table.end_row();
    }

    /// Lost events.
    pub fn loss(&mut self, (from, to): (u64, u64), kind: u64, cgroup: u32, task: u32, count: u64) {
        let stage = self.builder.intern(b"ring");
        let table = self.common(Kind::Loss, to, task, 0);
        table.push_u64(4, from);
        table.push_u64(5, kind);
        table.push_bytes(6, stage);
        table.push_ref(7, cgroup);
        table.push_u64(8, count);
        table.end_row();
    }

    /// The chunk as a reader sees it.
    pub fn chunk(self) -> Chunk {
        Chunk::from_builder(self.builder).unwrap()
    }
}

/// A file of one segment.
pub fn file(header: &Header, chunks: Vec<TestChunk>, metadata: &[MetadataRecord]) -> Vec<u8> {
    let mut encoder = Encoder::new(EncodeOptions::default()).unwrap();
    let mut writer = SegmentWriter::new(Cursor::new(Vec::new()), header).unwrap();
    for chunk in chunks {
        let mut block = encoder.encode(&chunk.builder).unwrap();
        writer.write_block(&mut block).unwrap();
    }
    writer.write_metadata(metadata).unwrap();
    writer.finish().unwrap().into_inner()
}

/// Two containers and the host, at one time: `nginx` (4242, thread 4244) in container `a`, `web` (5000) in `c`
/// inside `b`, `dd` (100) on the host.
pub fn sample(header: &Header) -> TestChunk {
    let mut chunk = TestChunk::new(header);
    let a = chunk.cgroup(11, "/docker/a", &[id('a')]);
    let inner = chunk.cgroup(12, "/docker/b/docker/c", &[id('b'), id('c')]);
    let host = chunk.cgroup(1, "/system.slice/sshd.service", &[]);
    let unknown = chunk.cgroup(0, "", &[]);
    let nginx = chunk.task(4242, 4242, "nginx", a);
    let thread = chunk.task(4242, 4244, "pool 1", a);
    let web = chunk.task(5000, 5000, "web", inner);
    let dd = chunk.task(100, 100, "dd", host);
    let nobody = chunk.task(0, 0, "", unknown);
    let s = 1_000_000_000;
    chunk.call(s, nginx, &openat(b"/etc/hosts", 3));
    chunk.call(s + 1_000, thread, &openat(b"/etc/\"x\"\n", -2));
    chunk.call(s + 2_000, web, &call("close", &[3], 0));
    chunk.call(s + 3_000, dd, &call("read", &[0, 0, 512], 512));
    chunk.call(s + 4_000, dd, &call("read", &[0, 0, 512], -4));
    chunk.exit(s + 5_000, dd, 1, 0);
    chunk.exit(s + 6_000, nginx, 0, 9);
    chunk.fork(s + 2_500, nginx, 4300, a);
    chunk.exec(s + 2_600, web, b"/bin/ls", b"ls\0-l\0a b\0");
    chunk.mkdir(s + 500, dd, a);
    chunk.loss((s, s + 7_000), 1, a, nobody, 1234);
    chunk
}

/// What is incomplete in every way, of `java` (7), whose own arguments are cut: an `openat` with a cut path, one with an
/// unread path, one with `NULL`; an exec with a cut path and cut arguments, one with both unread, one with all of it; a
/// cgroup with a cut path.
pub fn incomplete(header: &Header) -> TestChunk {
    use events::flags::{STR0_CUT, STR0_UNREAD, STR1_CUT, STR1_UNREAD};
    let mut chunk = TestChunk::new(header);
    let host = chunk.cgroup(1, "/a,b", &[]);
    let java = chunk.task_with_args((7, 7), "java", "java\0-cp\0/lib/a.ja", host);
    let s = 1_000_000_000;
    chunk.call(s, java, &TestCall { flags: STR0_CUT, ..openat(b"/long, \"x\"", 3) });
    chunk.call(s + 1, java, &TestCall { flags: STR0_UNREAD, ..openat(b"", -14) });
    let null = TestCall { args: vec![3, 0, 0, 0], flags: STR0_UNREAD, ..openat(b"", -14) };
    chunk.call(s + 2, java, &null);
    chunk.marked_exec((s + 3, STR0_CUT | STR1_CUT), java, b"/usr/bin/jav", b"java\0a b\0\0-X");
    chunk.marked_exec((s + 4, STR0_UNREAD | STR1_UNREAD), java, b"", b"");
    chunk.exec(s + 5, java, b"/bin/true", b"true\0a\0\0b\0\0");
    chunk.marked_mkdir((s + 6, STR0_CUT), java, host);
    chunk
}

/// The columns of a process from `vpid` on.
fn push_process_details(table: &mut TableBuilder, values: [u64; 8]) {
    (10..).zip(values).for_each(|(column, value)| table.push_u64(column, value));
}

/// The columns of a thread from `vtid` on: the numbers, and the names of group and login user.
fn push_task_details(table: &mut TableBuilder, numbers: [u64; 6], names: [StrId; 2]) {
    [6, 7, 9, 11, 12, 13].into_iter().zip(numbers).for_each(|(column, value)| table.push_u64(column, value));
    [8, 10].into_iter().zip(names).for_each(|(column, name)| table.push_bytes(column, name));
}
