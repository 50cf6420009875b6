//! Every column of every kind of event is asserted by some test that triggers it on the real kernel.
//!
//! This looks for the field name of each column in the sources of the tests: a kind or column that is added to the table
//! and asserted nowhere fails here, by name.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use events::{Column, KINDS, Storage};

use crate::tool;

/// The fields that show the columns of the table of kinds, [`events::COMMON`] ones excepted.
fn columns() -> BTreeSet<String> {
    let owners = KINDS.into_iter().filter(|kind| kind.field_owner() == *kind);
    let columns = owners.flat_map(|kind| {
        let decl = kind.decl();
        // Lists have a field for each argument of a call: `evt.arg.NAME`; files have `fd.name` and others.
        let values = |column: &&Column| {
            !matches!(column.ty.storage(), Storage::U64List | Storage::BytesList | Storage::FileRow)
        };
        decl.columns.iter().filter(values).map(move |column| format!("{}.{}", decl.name, column.name))
    });
    // Columns of calls are printed under the names that all tools have for them.
    columns
        .map(|name| match name.as_str() {
            "syscall.dur" => "evt.latency".to_owned(),
            "syscall.nr" => "evt.type".to_owned(),
            "syscall.ret" => "evt.rawres".to_owned(),
            _ => name,
        })
        .collect()
}

/// All sources of the tests on the real kernel.
fn sources() -> String {
    let tests = tool::repository().join("tests");
    let mut left: Vec<PathBuf> = ["kernel", "containers", "vm", "stories"].map(|dir| tests.join(dir)).into();
    let mut sources = String::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(path).expect("a directory of tests").flatten();
            left.extend(entries.map(|entry| entry.path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            sources.push_str(&fs::read_to_string(path).expect("a source"));
        }
    }
    sources
}

#[test]
fn every_column_is_a_field() {
    let listed = tool::stdout(tool::repository(), &["fields"]);
    let listed: BTreeSet<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let missing: Vec<String> = columns().into_iter().filter(|name| !listed.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "`ktape fields` does not list {missing:?}");
}

#[test]
fn every_column_is_asserted_by_a_test() {
    let sources = sources();
    let missing: Vec<String> =
        columns().into_iter().filter(|name| !sources.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "no test mentions these columns: {missing:#?}");
}
