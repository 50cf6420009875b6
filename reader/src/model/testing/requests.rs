//! Requests of io_uring.

use capture_format::Header;
use events::{Kind, NO_CALL, flags, syscall_key};

use super::{TestCall, TestChunk, TestFile, call, openat};
use crate::syscalls;

const AT_FDCWD: u64 = -100i64 as u64;

/// Requests of `app(7)`, and a system call that opens the same file.
pub fn requests(header: &Header) -> TestChunk {
    let mut chunk = TestChunk::new(header);
    let cgroup = chunk.cgroup(1, "/", &[]);
    let task = chunk.task(7, 7, "app", cgroup);
    let hosts = chunk.file(&TestFile { ty: "file", path: "/etc/hosts", ino: 1, ..TestFile::default() });
    let pipe = chunk.file(&TestFile { ty: "pipe", ino: 4711, ..TestFile::default() });
    let at = |second: u64| second * 1_000_000_000;
    let open = TestCall { files: [0, hosts], ..openat(b"/etc/hosts", 3) };
    chunk.request(at(1), task, ["OPENAT", ""], &open);
    let read = TestCall { files: [hosts, 0], ..call("pread64", &[0, 1, 50, 0], 50) };
    chunk.request(at(2), task, ["READ", "fixed_file|link"], &read);
    let poll = TestCall { name: "", files: [pipe, 0], ..call("close", &[], 1) };
    chunk.request(at(3), task, ["POLL_ADD", ""], &poll);
    let rename = call("renameat2", &[AT_FDCWD, 1, AT_FDCWD, 1, 0], -2);
    chunk.request(
        at(4),
        task,
        ["RENAMEAT", ""],
        &TestCall { strs: vec![b"/a".to_vec(), b"/b".to_vec()], ..rename },
    );
    let silent = TestCall { name: "", flags: flags::NO_RESULT, ..call("close", &[], 0) };
    chunk.request(at(5), task, ["NOP", "skip_success"], &silent);
    let waiting = TestCall {
        flags: flags::UNFINISHED | flags::AT_END,
        files: [pipe, 0],
        ..call("read", &[3, 1, 1], 0)
    };
    chunk.request(at(6), task, ["READ", ""], &waiting);
    chunk.call(at(7), task, &open);
    chunk
}

impl TestChunk {
    /// A request of io_uring with its operation and flags. `call`: the system call that does the same, without a name if there
    /// is none.
    pub fn request(&mut self, time: u64, task: u32, [opcode, words]: [&str; 2], call: &TestCall) {
        let native = || syscalls::table().by_name(call.name)[0];
        let key = if call.name.is_empty() { NO_CALL } else { syscall_key(native().0, native().1) };
        let strs: Vec<_> = call.strs.iter().map(|s| self.builder.intern(s)).collect();
        let completes_again = opcode == "POLL_ADD";
        let [opcode, words] = [opcode, words].map(|text| self.builder.intern(text.as_bytes()));
        let table = self.common(Kind::Uring, time, task, call.flags);
        table.push_u64(4, call.dur);
        table.push_bytes(5, opcode);
        table.push_u64(6, u64::from(key));
        table.push_i64(7, call.ret);
        table.push_list_u64(8, &call.args);
        table.push_list_bytes(9, &strs);
        table.push_ref(10, call.files[0]);
        table.push_ref(11, call.files[1]);
        table.push_bytes(12, words);
        table.push_u64(13, 0x1f);
        table.push_u64(14, u64::from(completes_again));
        table.end_row();
    }
}
