//! Records as the programs in the kernel write them, for unit tests.

use agent_ebpf::records::cpu::sort;
use agent_ebpf::records::{
    Cgroup, EXEC_ARGS_SIZES, Exec, ExecArgs, ExecGiven, Exit, Fork, GIVEN_ARGS, GIVEN_SIZES, Header,
};
use events::{Kind, syscall_key};
use ktape_reader::syscalls::table;

use super::cpu_stream::StreamThread;
use super::testing::{CallWords, identity_record};

pub fn head(kind: Kind, time: u64, pid: u32) -> Header {
    Header { time, cgroup: 7, pid, tid: pid, cpu: 1, kind: kind as u8, ..Header::default() }
}

pub fn comm(text: &str) -> [u8; 16] {
    std::array::from_fn(|i| text.as_bytes().get(i).copied().unwrap_or(0))
}

/// The key of a native call.
pub fn key(name: &str) -> u32 {
    let (abi, nr) = table().by_name(name)[0];
    syscall_key(abi, nr)
}

/// A call of a thread, as a CPU's own ring buffer tells it.
#[derive(Clone, Debug)]
pub struct Call {
    pub thread: StreamThread,
    pub time: u64,
    pub dur: u64,
    pub ret: i64,
    pub key: u32,
    pub args: Vec<u64>,
    pub strings: Option<[Vec<u8>; 2]>,
    pub flags: u32,
    pub files: [u64; 2],
    pub sort: u32,
}

impl Call {
    /// The record that says whose it is, and its own.
    pub fn records(&self) -> [Vec<u8>; 2] {
        let StreamThread { cgroup, pid, tid, uid } = self.thread;
        [identity_record(self.time, cgroup, [pid, tid], uid), self.record()]
    }

    pub fn record(&self) -> Vec<u8> {
        let Self { sort, time, dur, ret, key, flags, files, .. } = *self;
        let strings = self.strings.as_ref().map(|strings| strings.each_ref().map(|text| &text[..]));
        CallWords { sort, time, dur, ret, key, args: &self.args, strings, flags, files }.record()
    }
}

/// A call without arguments.
pub fn call(time: u64, pid: u32, name: &str) -> Call {
    let thread = StreamThread { cgroup: 7, pid, tid: pid, uid: 1000 };
    Call {
        thread,
        time,
        dur: 100,
        ret: 3,
        key: key(name),
        args: Vec::new(),
        strings: None,
        flags: 0,
        files: [0; 2],
        sort: sort::CALL,
    }
}

/// A call with these strings.
pub fn call_with(time: u64, pid: u32, name: &str, strings: [&str; 2]) -> Call {
    Call {
        args: vec![0xffff_ffff_ffff_ff9c, 0x7fff_0000, 0x8_0000, 0, 99, 99],
        strings: Some(strings.map(|text| text.as_bytes().to_vec())),
        sort: sort::STRINGS,
        ..call(time, pid, name)
    }
}

/// `openat(AT_FDCWD, path)`.
pub fn openat(time: u64, pid: u32, path: &str) -> Call {
    call_with(time, pid, "openat", [path, ""])
}

/// What a call of `execve` was given.
pub fn exec_given(time: u64, pid: u32, path: &str, args: &[u8]) -> ExecGiven<{ GIVEN_SIZES[0] }> {
    let mut bytes = [0; GIVEN_SIZES[0]];
    bytes[..path.len()].copy_from_slice(path.as_bytes());
    bytes[GIVEN_SIZES[0] - GIVEN_ARGS[0]..][..args.len()].copy_from_slice(args);
    ExecGiven { head: head(Kind::Syscall, time, pid), len: [path.len() as u32, args.len() as u32], bytes }
}

pub fn fork(time: u64, parent: u32, child: u32) -> Fork {
    Fork {
        head: head(Kind::Fork, time, parent),
        child_cgroup: 7,
        child_start: time,
        child_pid: child,
        child_tid: child,
        child_ppid: parent,
        tree: 1,
        comm: comm("sh"),
        ..Fork::default()
    }
}

pub fn exec(time: u64, pid: u32, program: &str) -> ExecArgs<{ EXEC_ARGS_SIZES[0] }> {
    let (path, args) = (format!("/bin/{program}"), format!("{program}\0-v\0"));
    let mut exec = ExecArgs {
        exec: Exec {
            head: head(Kind::Exec, time, pid),
            old_tid: pid,
            uid: 0,
            path_len: path.len() as u32,
            args_len: args.len() as u32,
            details: Default::default(),
            comm: comm(program),
            ppid: 10,
            reserved: 0,
            exe: 0,
            path: [0; agent_ebpf::records::EXEC_PATH],
        },
        args: [0; EXEC_ARGS_SIZES[0]],
    };
    exec.exec.path[..path.len()].copy_from_slice(path.as_bytes());
    exec.args[..args.len()].copy_from_slice(args.as_bytes());
    exec
}

pub fn exit(time: u64, pid: u32, code: u32) -> Exit {
    Exit { head: head(Kind::Exit, time, pid), code, process: 1, ppid: 10, ..Exit::default() }
}

pub fn cgroup(kind: Kind, time: u64, id: u64, path: &str) -> Cgroup {
    let mut cgroup = Cgroup {
        head: head(kind, time, 1),
        id,
        moved_pid: 20,
        moved_tid: 21,
        threadgroup: 1,
        uid: 0,
        ppid: 0,
        path_len: path.len() as u32,
        path: [0; agent_ebpf::records::CGROUP_PATH],
    };
    cgroup.path[..path.len()].copy_from_slice(path.as_bytes());
    cgroup
}
