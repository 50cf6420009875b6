//! Codes of what follows from the files of calls, such as `fd.name`.

use rustc_hash::FxHashMap;

use super::{Coder, UNSET};
use crate::fields::Field;
use crate::model::{Call, CallColumns, FilesKey};
use crate::scan::{FieldColumn, TableMatches};
use crate::syscalls::{FileResult, Paths};

/// Stands for a file that is not known, in place of a code.
const UNKNOWN: u32 = u32::MAX - 1;

/// Fields that are the same for all calls that work on one file, whether they got it by a descriptor or have opened it.
const OF_FILE: [&str; 5] = ["fd.name", "fd.directory", "fd.filename", "fd.type", "fd.typechar"];

/// What the value follows from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// The file of the first descriptor.
    File,
    /// The file that the call has opened, if it is known.
    Opened,
    /// The call and both of its files.
    Files,
    /// All that [`FilesKey`] has.
    All,
}

impl From {
    fn of(call: &Call, field: &Field) -> Self {
        let roles = call.file_roles();
        let is_of_file = OF_FILE.contains(&field.decl().name);
        let has_strings = call.strings.iter().any(Option::is_some);
        match (roles.descriptor(), roles.result, roles.paths) {
            (Some(0), FileResult::None, Paths::None) if roles.role.is_none() && !has_strings => Self::File,
            (None, FileResult::Descriptor, Paths::One(_)) if is_of_file => Self::Opened,
            _ if !has_strings => Self::Files,
            _ => Self::All,
        }
    }
}

/// Appends the code of each row. Each file is looked at once, whatever calls work on it.
pub(super) fn codes(
    coder: &mut Coder<'_>,
    table: &TableMatches<'_>,
    (field, column): (&Field, &FieldColumn<'_>),
    out: &mut Vec<u32>,
) {
    let columns = CallColumns::new(table.table());
    let (keys, files) = (columns.keys(), [columns.files(0), columns.files(1)]);
    let mut by_strings: FxHashMap<FilesKey, u32> = FxHashMap::default();
    let mut by_files: FxHashMap<(u64, u64), u32> = FxHashMap::default();
    let mut by_file: Vec<u32> = Vec::new();
    let mut calls: FxHashMap<u64, From> = FxHashMap::default();
    let (mut last_call, mut from) = (u64::MAX, From::All);
    let mut of_file = |coder: &mut Coder<'_>, file: u32, row: u32| {
        let at = file as usize;
        if by_file.len() <= at {
            by_file.resize(at + 1, UNSET);
        }
        if by_file[at] == UNSET {
            by_file[at] = match table.is_known_file(file) {
                true => coder.code(column, row),
                false => UNKNOWN,
            };
        }
        by_file[at]
    };
    for event in table.events() {
        let row = event.row;
        let call = keys.get(row).copied().unwrap_or(u64::MAX);
        if call != last_call {
            last_call = call;
            from = *calls
                .entry(call)
                .or_insert_with(|| table.calls().get(call).map_or(From::All, |call| From::of(call, field)));
        }
        let file = |slot: usize| files[slot].get(row).copied().unwrap_or(u32::MAX);
        let slot = match from {
            From::File => Some(0),
            From::Opened => Some(1),
            From::Files | From::All => None,
        };
        if let Some(file) = slot.map(file).filter(|file| *file != u32::MAX) {
            let code = of_file(coder, file, row as u32);
            if code != UNKNOWN {
                out.push(code);
                continue;
            }
        }
        out.push(match from {
            From::File | From::Files => {
                let key = (call, u64::from(file(0)) << 32 | u64::from(file(1)));
                *by_files.entry(key).or_insert_with(|| coder.code(column, row as u32))
            }
            From::Opened | From::All => {
                let key = event.call_of(columns).files_key();
                *by_strings.entry(key).or_insert_with(|| coder.code(column, row as u32))
            }
        });
    }
}
