//! Where the recorder's values go: the dense indices of tables and the positions of columns, from the table of
//! kinds.

use capture_format::{ChunkBuilder, Schema};
use events::{Kind, KindMap};

use ktape_reader::model::dictionaries::{CGROUP, FILE, PROCESS, TASK, dict_column};
use ktape_reader::model::event_table;

macro_rules! columns {
    ($($(#[$doc:meta])* $module:ident = $table:ident { $($name:ident = $column:literal,)* })*) => {
        $($(#[$doc])* pub mod $module {
            use super::*;
            $(#[doc = concat!("Column `", $column, "`.")] pub const $name: usize = dict_column($table, $column) as usize;)*
        })*
    };
}

columns! {
    /// Columns of the process dictionary.
    process = PROCESS {
        PID = "pid", START = "start", PPID = "ppid", PNAME = "pname", NAME = "name", EXE = "exe", ARGS = "args",
        PARENT_CHAIN = "parent_chain", CWD = "cwd", PARENT = "parent",
        VPID = "vpid", SID = "sid", PGID = "pgid", VPGID = "vpgid", TTY = "tty", EXE_INO = "exe_ino",
        EXE_UPPER_LAYER = "exe_upper_layer", EXE_MEMFD = "exe_memfd",
    }
    /// Columns of the task dictionary.
    task = TASK {
        PROCESS = "process", TID = "tid", NAME = "name", UID = "uid", USER = "user", CGROUP = "cgroup",
        VTID = "vtid", GID = "gid", GROUP = "group", LOGINUID = "loginuid", LOGIN = "login",
        CAP_EFFECTIVE = "cap_effective", CAP_PERMITTED = "cap_permitted", CAP_INHERITABLE = "cap_inheritable",
    }
    /// Columns of the cgroup dictionary.
    cgroup = CGROUP {
        ID = "id", BIRTH = "birth", HIERARCHY = "hierarchy", PATH = "path", CONTAINER = "container",
        RUNTIME = "runtime", CHAIN = "chain", POD_UID = "pod_uid",
    }
    /// Columns of the file dictionary.
    file = FILE {
        TYPE = "type", PATH = "path", LOCAL = "local", REMOTE = "remote", PROTO = "proto", DEV = "dev", INO = "ino",
        DELETED = "deleted", CUT = "cut", PEER_PID = "peer_pid",
    }
}

/// Dense indices of the tables in the schema.
#[derive(Clone, Debug)]
pub struct TableIndex {
    /// Process dictionary.
    pub process: usize,
    /// Task dictionary.
    pub task: usize,
    /// Cgroup dictionary.
    pub cgroup: usize,
    /// File dictionary.
    pub file: usize,
    events: KindMap<usize>,
}

impl TableIndex {
    /// Looks the tables up in the schema of this version.
    ///
    /// # Panics
    /// If the schema is another one.
    pub fn new(schema: &Schema) -> Self {
        let of = |id| schema.index(id).expect("a table of our own schema");
        // Nothing is written of kinds that are computed by readers.
        let events = KindMap::new(|kind| if kind.is_derived() { usize::MAX } else { of(event_table(kind)) });
        Self { process: of(PROCESS), task: of(TASK), cgroup: of(CGROUP), file: of(FILE), events }
    }

    /// The table of a kind.
    #[inline]
    pub fn event(&self, kind: Kind) -> usize {
        self.events[kind]
    }
}

/// The chunk that rows are written to.
pub struct Dictionaries<'a> {
    /// The chunk.
    pub builder: &'a mut ChunkBuilder,
    /// Its number, counted from 1.
    pub number: u64,
    /// Where its tables are.
    pub index: &'a TableIndex,
}
