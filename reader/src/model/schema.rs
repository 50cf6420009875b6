//! The schema that a new file carries, derived from the table of kinds and the dictionaries.

use capture_format::{ColumnSchema, ColumnType, FormatError, Schema, TableId, TableRole, TableSchema};
use events::{COMMON, Column, KINDS, Kind, RECORDED, Ring, Storage, Ty};

use super::dictionaries::{self, CGROUP, DICTIONARIES, DictTy, Dictionary, FILE, TASK};

/// The name of the header's vocabulary of syscalls: from syscall key to signature.
pub const CALLS: &str = "syscall";

/// The table of a kind.
pub const fn event_table(kind: Kind) -> TableId {
    TableId(kind as u16)
}

/// The index of a column in the table of a kind, [`COMMON`] columns included. For use in
/// constants: a name that does not exist fails to compile.
pub const fn column(kind: Kind, name: &str) -> u16 {
    if let Some(i) = dictionaries::position(COMMON, name) {
        return i;
    }
    match dictionaries::position(kind.decl().columns, name) {
        Some(i) => COMMON.len() as u16 + i,
        None => panic!("no such column"),
    }
}

/// The column with the cgroup that an event counts for, if that is not the cgroup of its task: the column `cgroup` of
/// events that the recorder makes itself: lost events and samples.
pub const fn cgroup_column(kind: Kind) -> Option<u16> {
    match kind.decl().ring {
        Ring::Agent => match dictionaries::position(kind.decl().columns, "cgroup") {
            Some(i) => Some(COMMON.len() as u16 + i),
            None => None,
        },
        Ring::Event | Ring::Lifecycle | Ring::Reader => None,
    }
}

/// The schema of files written by this version. Event tables hold [`COMMON`], then the kind's own
/// columns, in the order of the table of kinds.
///
/// # Panics
/// If the declarations contradict each other, which a test rules out.
pub fn schema() -> Schema {
    let tables = RECORDED.iter().map(events_of).chain(DICTIONARIES.iter().map(rows_of));
    // The declarations are constants and a test builds the schema from them, so this cannot fail.
    Schema::new(tables.collect()).expect("the declared tables form a schema")
}

/// The schema of a file with tables for the kinds that are computed when it is read, behind its own ones.
///
/// # Errors
/// If the file has tables that collide with them, as only a file of a later version can have.
pub fn with_derived(file: &Schema) -> Result<Schema, FormatError> {
    let absent = DICTIONARIES.iter().filter(|dictionary| file.get(dictionary.id).is_none()).map(rows_of);
    let derived = KINDS.iter().filter(|kind| kind.is_derived()).map(|kind| events_of(*kind));
    Schema::new(file.tables().iter().cloned().chain(absent).chain(derived).collect())
}

fn events_of(kind: Kind) -> TableSchema {
    let decl = kind.decl();
    let columns: Vec<Column> = COMMON.iter().chain(decl.columns).copied().collect();
    // The list columns are grouped by the call they belong to.
    let key = dictionaries::position(&columns, "nr").unwrap_or(0);
    TableSchema {
        id: event_table(kind),
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
                semantic: c.ty.name().to_owned(),
                doc: c.doc.to_owned(),
            })
            .collect(),
    }
}

fn rows_of(dictionary: &Dictionary) -> TableSchema {
    TableSchema {
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
                    DictTy::Value(ty) => ty.name().to_owned(),
                    DictTy::Row(id) => {
                        dictionaries::dictionary(id).map_or(String::new(), |d| d.name.to_owned())
                    }
                },
                doc: c.doc.to_owned(),
            })
            .collect(),
    }
}

/// How a column of this type is stored. `key` is the column that lists are grouped by.
pub(super) fn storage(ty: Ty, key: u16) -> ColumnType {
    match ty.storage() {
        Storage::U64 => ColumnType::U64,
        Storage::I64 => ColumnType::I64,
        Storage::Bytes => ColumnType::Bytes,
        Storage::U64List => ColumnType::U64List { key },
        Storage::BytesList => ColumnType::BytesList { key },
        Storage::TaskRow => ColumnType::Ref(TASK),
        Storage::CgroupRow => ColumnType::Ref(CGROUP),
        Storage::FileRow => ColumnType::Ref(FILE),
    }
}

#[cfg(test)]
mod changelog_tests;
#[cfg(test)]
mod tests;
