//! The schema that a new file carries, derived from the table of kinds and the dictionaries.

use capture_format::{ColumnSchema, ColumnType, Schema, TableId, TableRole, TableSchema};
use events::{COMMON, Column, KINDS, Kind, Ty};

use super::dictionaries::{self, CGROUP, DICTIONARIES, DictTy, TASK};

/// The name of the header's vocabulary of syscalls: from syscall key to signature.
pub const CALLS: &str = "syscall";

/// The table of a kind.
pub const fn event_table(kind: Kind) -> TableId {
    TableId(kind as u16)
}

/// The index of a column in the table of a kind, [`COMMON`] columns included. Meant for
/// constants: a name that does not exist stops the compiler.
pub const fn column(kind: Kind, name: &str) -> u16 {
    if let Some(i) = dictionaries::position(COMMON, name) {
        return i;
    }
    match dictionaries::position(kind.decl().columns, name) {
        Some(i) => COMMON.len() as u16 + i,
        None => panic!("no such column"),
    }
}

/// The schema of files written by this version. Event tables hold [`COMMON`], then the kind's own
/// columns, in the order of the table of kinds.
///
/// # Panics
/// If the declarations contradict each other, which a test rules out.
pub fn schema() -> Schema {
    let events = KINDS.iter().map(|kind| {
        let decl = kind.decl();
        let columns: Vec<Column> = COMMON.iter().chain(decl.columns).copied().collect();
        // The list columns are grouped by the call they belong to.
        let key = dictionaries::position(&columns, "nr").unwrap_or(0);
        TableSchema {
            id: event_table(*kind),
            name: decl.name.to_owned(),
            role: TableRole::Event,
            time: dictionaries::position(&columns, "time"),
            duration: columns.iter().position(|c| c.ty == Ty::Duration).map(|i| i as u16),
            summary: columns
                .iter()
                .enumerate()
                .filter(|(_, c)| c.ty == Ty::Syscall)
                .map(|(i, _)| i as u16)
                .collect(),
            columns: columns
                .iter()
                .map(|c| ColumnSchema {
                    name: c.name.to_owned(),
                    ty: storage(c.ty, key),
                    semantic: semantic(c.ty).to_owned(),
                    doc: c.doc.to_owned(),
                })
                .collect(),
        }
    });
    let dictionaries = DICTIONARIES.iter().map(|dictionary| TableSchema {
        id: dictionary.id,
        name: dictionary.name.to_owned(),
        role: TableRole::Dictionary,
        time: None,
        duration: None,
        summary: dictionary
            .summary
            .iter()
            .map(|name| dictionaries::dict_column(dictionary.id, name))
            .collect(),
        columns: dictionary
            .columns
            .iter()
            .map(|c| ColumnSchema {
                name: c.name.to_owned(),
                ty: match c.ty {
                    DictTy::Value(ty) => storage(ty, 0),
                    DictTy::Row(id) => ColumnType::Ref(id),
                },
                semantic: match c.ty {
                    DictTy::Value(ty) => semantic(ty).to_owned(),
                    DictTy::Row(id) => {
                        dictionaries::dictionary(id).map_or(String::new(), |d| d.name.to_owned())
                    }
                },
                doc: c.doc.to_owned(),
            })
            .collect(),
    });
    // The declarations are constants and a test builds the schema from them, so this cannot fail.
    Schema::new(events.chain(dictionaries).collect()).expect("the declared tables form a schema")
}

/// How a column of this type is stored.
pub(super) fn storage(ty: Ty, key: u16) -> ColumnType {
    match ty {
        Ty::Time
        | Ty::Duration
        | Ty::Cpu
        | Ty::Flags
        | Ty::Pid
        | Ty::Uid
        | Ty::U64
        | Ty::Bool
        | Ty::Syscall
        | Ty::Signal
        | Ty::Kind
        | Ty::MaybeDuration
        | Ty::MaybeU64
        | Ty::Size
        | Ty::TaskState
        | Ty::Errno
        | Ty::Device => ColumnType::U64,
        Ty::I64 | Ty::MaybeI64 | Ty::SyscallResult => ColumnType::I64,
        Ty::SyscallArgs => ColumnType::U64List { key },
        Ty::SyscallStrings => ColumnType::BytesList { key },
        Ty::Path | Ty::Args | Ty::Text | Ty::SockAddr | Ty::Stack => ColumnType::Bytes,
        Ty::Task => ColumnType::Ref(TASK),
        Ty::Cgroup => ColumnType::Ref(CGROUP),
    }
}

/// The name of a type in files: never rename one.
pub fn semantic(ty: Ty) -> &'static str {
    match ty {
        Ty::Time => "time",
        Ty::Duration => "duration",
        Ty::Cpu => "cpu",
        Ty::Flags => "flags",
        Ty::Pid => "pid",
        Ty::Uid => "uid",
        Ty::U64 => "u64",
        Ty::I64 => "i64",
        Ty::Bool => "bool",
        Ty::Syscall => "syscall",
        Ty::SyscallResult => "syscallresult",
        Ty::SyscallArgs => "syscallargs",
        Ty::SyscallStrings => "syscallstrings",
        Ty::Signal => "signal",
        Ty::Kind => "kind",
        Ty::Path => "path",
        Ty::Args => "args",
        Ty::Text => "text",
        Ty::Task => "task",
        Ty::Cgroup => "cgroup",
        Ty::MaybeDuration => "duration?",
        Ty::MaybeU64 => "u64?",
        Ty::MaybeI64 => "i64?",
        Ty::Size => "bytes?",
        Ty::TaskState => "taskstate",
        Ty::Errno => "errno",
        Ty::Device => "device?",
        Ty::SockAddr => "sockaddr",
        Ty::Stack => "stack",
    }
}

#[cfg(test)]
mod changelog_tests;
#[cfg(test)]
mod tests;
