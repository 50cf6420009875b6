//! Fields: the values that filters compare and JSON and CSV output prints. Each is one row of a table; those for columns of
//! kinds and their parts are derived from the table of kinds. Names follow sysdig where it has them. `docs/fields.md` lists
//! all fields.

mod ancestors;
pub mod args;
mod call;
mod cgroup;
mod decl;
pub mod dependency;
mod event;
mod fd;
mod field_type;
pub mod format;
mod io;
mod lookup;
pub mod marks;
mod narrow;
mod numbers;
mod part;
mod sample;
mod structs;
mod table;
mod task;
mod value;
pub mod values;
pub mod words;

use std::sync::LazyLock;

use events::{KINDS, Kind};

use crate::model::column;

pub use ancestors::{Generation, ProcessGetter};
pub use call::Argument;
pub use cgroup::KnownCgroup;
pub use decl::{Compared, Field, FieldArg, FieldDecl, Getter, Summarized};
pub use fd::{FileGetter, FileValue};
pub(crate) use fd::{LinkStyle, write_link};
pub use field_type::{FieldType, Shape};
pub use lookup::{FieldError, lookup};
pub use part::Part;
pub use structs::StructValue;
pub use task::ThreadRows;
pub use value::Value;

/// All fields, in the order in which `ktape fields` lists them.
pub fn registry() -> &'static [FieldDecl] {
    static REGISTRY: LazyLock<Vec<FieldDecl>> = LazyLock::new(|| {
        let mut all = table::all();
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
    for kind in KINDS.into_iter().filter(|kind| kind.field_owner() == *kind) {
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
                let decl = FieldDecl::new(name, part.ty, Getter::Part(kind, own, part), part.doc);
                decl.compared(of_stored(part.ty, kind, own))
            });
            let parts: Vec<FieldDecl> = parts.collect();
            let ty = narrow::of(kind, c.name).unwrap_or(format.field);
            let decl = FieldDecl::new(leak(name), ty, Getter::Column(kind, own), c.doc);
            all.push(decl.compared(of_stored(ty, kind, own)));
            all.extend(parts);
        }
    }
    all
}

/// How `=` compares a column, or a part of one: signals, errors and addresses as they are stored.
fn of_stored(ty: FieldType, kind: Kind, own: u16) -> Compared {
    match ty.shape() {
        Shape::Code => Compared::As(Getter::Stored(kind, own)),
        Shape::Address => Compared::As(Getter::SockAddr(kind, own)),
        Shape::Number
        | Shape::Hundredths
        | Shape::Duration
        | Shape::Time
        | Shape::Bool
        | Shape::Text
        | Shape::Any => Compared::Whole,
    }
}

/// Leaks a name. Called once per name, for the lifetime of the program.
fn leak(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;
