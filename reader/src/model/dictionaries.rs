//! The dictionaries of a chunk: what many events share. Declared here and nowhere else.

use capture_format::TableId;
use events::{Column, Ty};

/// Processes: what the threads of the task dictionary have in common.
pub const PROCESS: TableId = TableId(0x100);
/// Threads. Every event's `task` column refers to a row of it.
pub const TASK: TableId = TableId(0x101);
/// Cgroups, and with them containers.
pub const CGROUP: TableId = TableId(0x102);

/// What descriptors stand for: files, directories, sockets, pipes and others.
pub const FILE: TableId = TableId(0x103);

/// What a column of a dictionary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DictTy {
    /// A value with a meaning of its own.
    Value(Ty),
    /// A row of another dictionary.
    Row(TableId),
}

/// How much is stored of a thread, process or cgroup. Recording with `--container` and filtered copies of captures follow
/// the same rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// Nothing but its existence: it belongs to a container that is not selected.
    Nothing,
    /// Ids and names: it runs on the host, outside the selected containers.
    Name,
    /// Everything: it is selected.
    All,
}

impl Shown {
    /// What is shown where containers are selected, of one that is in a selected container, or in none (`is_host`).
    pub const fn by_container(is_wanted: bool, is_host: bool) -> Self {
        match (is_wanted, is_host) {
            (true, _) => Self::All,
            (false, true) => Self::Name,
            (false, false) => Self::Nothing,
        }
    }
}

/// Value of `parent_chain` in [`PROCESS`] for a parent on the host.
pub const PARENT_ON_HOST: &str = "/";

/// A column of a dictionary.
#[derive(Clone, Copy, Debug)]
pub struct DictColumn {
    /// Its name in the schema.
    pub name: &'static str,
    /// Its type.
    pub ty: DictTy,
    /// The lowest level at which it is stored.
    pub from: Shown,
    /// What it holds.
    pub doc: &'static str,
}

/// A dictionary.
#[derive(Clone, Copy, Debug)]
pub struct Dictionary {
    /// Its number in files: never reuse one.
    pub id: TableId,
    /// Its name in the schema.
    pub name: &'static str,
    /// Its columns, in the order in which they are written.
    pub columns: &'static [DictColumn],
    /// Columns whose distinct values stand in the summary of a chunk.
    pub summary: &'static [&'static str],
}

const fn value(name: &'static str, ty: Ty, doc: &'static str) -> DictColumn {
    DictColumn { name, ty: DictTy::Value(ty), from: Shown::Name, doc }
}

const fn row(name: &'static str, id: TableId, doc: &'static str) -> DictColumn {
    DictColumn { name, ty: DictTy::Row(id), from: Shown::Name, doc }
}

impl DictColumn {
    /// Stored only of selected ones.
    const fn private(self) -> Self {
        Self { from: Shown::All, ..self }
    }
}

/// All dictionaries. A row whose id (`tid`, `pid`, `id`) is 0, or whose `type` is empty, stands for "unknown".
pub const DICTIONARIES: [Dictionary; 4] = [
    Dictionary {
        id: PROCESS,
        name: "process",
        columns: &[
            value("pid", Ty::Pid, "the process id in the initial namespace; 0 if unknown"),
            value("start", Ty::Time, "when it started (boot clock); with the id this is its identity"),
            value("ppid", Ty::Pid, "the parent's process id"),
            value("pname", Ty::Text, "the parent's name"),
            value("name", Ty::Text, "the name of its main thread"),
            value("exe", Ty::Path, "the path of its executable").private(),
            value("args", Ty::Args, "its arguments, each followed by a NUL").private(),
            value(
                "parent_chain",
                Ty::Text,
                "the containers of the parent that created it, as in `chain`; `/` on the host, empty if unknown",
            ),
            value("cwd", Ty::Path, "its working directory; empty if unknown").private(),
            row("parent", PROCESS, "its parent at that time; the row itself if the parent is unknown, hidden, or has none"),
            value("vpid", Ty::Pid, "the process id in its own pid namespace; 0 if it and the columns after it are unknown"),
            value("sid", Ty::Pid, "its session, in the initial pid namespace"),
            value("pgid", Ty::Pid, "its process group, in the initial pid namespace"),
            value("vpgid", Ty::Pid, "its process group, in its own pid namespace; 0 if that is outside"),
            value("tty", Ty::U64, "the device number of its controlling terminal, as in `/proc/PID/stat`; 0 if it has none"),
            value("exe_ino", Ty::U64, "the inode number of its executable; 0 if it has none"),
            value("exe_upper_layer", Ty::Bool, "whether its executable is in the upper layer of an overlayfs"),
            value("exe_memfd", Ty::Bool, "whether its executable was made by `memfd_create`"),
        ],
        summary: &[],
    },
    Dictionary {
        id: TASK,
        name: "task",
        columns: &[
            row("process", PROCESS, "its process"),
            value("tid", Ty::Pid, "the thread id in the initial namespace; 0 if unknown"),
            value("name", Ty::Text, "the thread's name"),
            value("uid", Ty::Uid, "the effective user id in the initial namespace"),
            value("user", Ty::Text, "the user's name on the recording host; empty if it has none"),
            row("cgroup", CGROUP, "the cgroup that the event happened in"),
            value("vtid", Ty::Pid, "the thread id in its own pid namespace; 0 if it and the columns after it are unknown"),
            value("gid", Ty::U64, "the effective group id in the initial namespace"),
            value("group", Ty::Text, "the group's name on the recording host; empty if it has none"),
            value("loginuid", Ty::Uid, "the user id with which the user has logged in; 4294967295 if none has"),
            value("login", Ty::Text, "the name of that user on the recording host; empty if it has none"),
            value("cap_effective", Ty::U64, "the effective capabilities, by their bits"),
            value("cap_permitted", Ty::U64, "the permitted capabilities, by their bits"),
            value("cap_inheritable", Ty::U64, "the inheritable capabilities, by their bits"),
        ],
        summary: &[],
    },
    Dictionary {
        id: CGROUP,
        name: "cgroup",
        columns: &[
            value("id", Ty::U64, "the kernel's id of the cgroup; 0 if unknown"),
            value("birth", Ty::Time, "when it was created (boot clock); 0 if before the capture"),
            value("hierarchy", Ty::U64, "the hierarchy that the id belongs to; 0 is v2"),
            value("path", Ty::Path, "its path in the hierarchy"),
            value("container", Ty::Text, "the full id of the innermost container; empty for the host"),
            value("runtime", Ty::Text, "the runtime of that container"),
            value("chain", Ty::Text, "the ids of all containers around it, outermost first, joined by `>`"),
            value("pod_uid", Ty::Text, "the uid of the Kubernetes pod; empty if none"),
        ],
        summary: &["chain"],
    },
    Dictionary {
        id: FILE,
        name: "file",
        columns: &[
            value("type", Ty::Text, "file, directory, char, block, fifo, pipe, symlink, ipv4, ipv6, unix, netlink, packet, socket, or the kernel's name of an anonymous one, such as eventfd; empty if unknown"),
            value("path", Ty::Path, "its absolute path in its mount namespace; of a unix socket, the path or abstract name that it is bound to, or else that its peer is bound to").private(),
            value("local", Ty::SockAddr, "the local address of a socket").private(),
            value("remote", Ty::SockAddr, "the remote address of a socket").private(),
            value("proto", Ty::Text, "the protocol of a socket: tcp, udp, icmp, ..., or its number"),
            value("dev", Ty::Device, "the device of its file system"),
            value("ino", Ty::MaybeU64, "its inode number"),
            value("deleted", Ty::Bool, "whether it had been deleted"),
            value("cut", Ty::Bool, "whether the beginning of the path is missing"),
            value("peer_pid", Ty::Pid, "of a connected unix socket: the process that created the peer; 0 if unknown"),
        ],
        summary: &[],
    },
];

/// The declaration of a dictionary.
pub const fn dictionary(id: TableId) -> Option<&'static Dictionary> {
    let mut i = 0;
    while i < DICTIONARIES.len() {
        if DICTIONARIES[i].id.0 == id.0 {
            return Some(&DICTIONARIES[i]);
        }
        i += 1;
    }
    None
}

/// The lowest level at which a column is stored, by its index.
pub const fn shown_from(id: TableId, column: usize) -> Shown {
    match dictionary(id) {
        Some(dictionary) if column < dictionary.columns.len() => dictionary.columns[column].from,
        _ => Shown::All,
    }
}

/// The index of a column of a dictionary. Meant for constants: a name that does not exist stops
/// the compiler.
pub const fn dict_column(id: TableId, name: &str) -> u16 {
    let Some(dictionary) = dictionary(id) else { panic!("no such dictionary") };
    let mut i = 0;
    while i < dictionary.columns.len() {
        if same(dictionary.columns[i].name, name) {
            return i as u16;
        }
        i += 1;
    }
    panic!("no such column")
}

/// Whether two strings are equal, in constants too.
pub(super) const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The index of a column in a list of declared columns.
pub(super) const fn position(columns: &[Column], name: &str) -> Option<u16> {
    let mut i = 0;
    while i < columns.len() {
        if same(columns[i].name, name) {
            return Some(i as u16);
        }
        i += 1;
    }
    None
}
