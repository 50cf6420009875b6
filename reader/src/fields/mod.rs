//! Fields: the values that filters compare and JSON and CSV output prints. Each is one row of a table; those for columns of
//! kinds and their parts are derived from the table of kinds. Names follow sysdig where it has them. `docs/fields.md` lists
//! all fields.

pub mod args;
mod call;
mod cgroup;
mod decl;
pub mod dependency;
mod event;
mod field_type;
pub mod format;
mod lookup;
pub mod marks;
mod part;
mod table;
mod task;
mod value;
pub mod values;

use std::sync::LazyLock;

use events::KINDS;

use crate::model::column;

pub use cgroup::KnownCgroup;
pub use decl::{Equality, Field, FieldArg, FieldDecl, Getter, Summarized};
pub use field_type::FieldType;
pub use lookup::{FieldError, lookup};
pub use part::Part;
pub use task::ThreadRows;
pub use value::Value;

/// All fields, in the order in which `ktape fields` lists them.
pub fn registry() -> &'static [FieldDecl] {
    static REGISTRY: LazyLock<Vec<FieldDecl>> = LazyLock::new(|| {
        let mut all = table::FIELDS.to_vec();
        all.extend(of_kinds());
        all
    });
    &REGISTRY
}

/// The fields of JSON or CSV output, in output order.
pub(crate) fn placed(place: impl Fn(&FieldDecl) -> Option<u8>) -> Vec<Field> {
    let mut placed: Vec<(u8, &FieldDecl)> =
        registry().iter().filter_map(|decl| Some((place(decl)?, decl))).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, decl)| Field::plain(decl)).collect()
}

/// `KIND.COLUMN` for each column, and `KIND.COLUMN.PART` for each part of its values.
fn of_kinds() -> Vec<FieldDecl> {
    let mut all = Vec::new();
    for kind in KINDS.iter().copied() {
        let kind_decl = kind.decl();
        for c in kind_decl.columns {
            let format = format::ColumnFormat::of(c.ty);
            if !format.is_field() {
                continue;
            }
            let own = column(kind, c.name);
            let name = format!("{}.{}", kind_decl.name, c.name);
            let parts = format.parts.iter().map(|part| {
                let name = leak(format!("{name}.{}", part.name));
                FieldDecl::new(name, part.ty, Getter::Part(kind, own, part), part.doc)
            });
            let parts: Vec<FieldDecl> = parts.collect();
            all.push(FieldDecl::new(leak(name), format.field, Getter::Column(kind, own), c.doc));
            all.extend(parts);
        }
    }
    all
}

/// Leaks a name. Called once per name, for the lifetime of the program.
fn leak(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;
