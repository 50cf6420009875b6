//! Every column of every kind of event is asserted by some test that triggers it on the real kernel.
//!
//! This looks for the field name of each column in the sources of the tests: a kind or column that is added to the table
//! and asserted nowhere fails here, by name.

use std::collections::BTreeSet;
use std::fs;

use crate::tool;

/// Kinds whose columns have fields `KIND.COLUMN`.
const KINDS: [&str; 20] = [
    "syscall",
    "fork",
    "exec",
    "exit",
    "rename_task",
    "cgroup_mkdir",
    "cgroup_rmdir",
    "cgroup_attach",
    "loss",
    "clock",
    "switch",
    "block",
    "net",
    "signal",
    "oom",
    "stall",
    "sample",
    "sample_host",
    "sample_disk",
    "sample_fs",
];

/// Field names that `ktape fields` lists for columns, without their parts.
fn columns() -> BTreeSet<String> {
    let listed = tool::stdout(tool::repository(), &["fields"]);
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| {
            name.split_once('.').is_some_and(|(kind, rest)| KINDS.contains(&kind) && !rest.contains('.'))
        })
        // Not columns: the name and the ABI of a call.
        .filter(|name| !["syscall.type", "syscall.abi"].contains(name))
        // Columns of calls are printed under the names that all tools have for them.
        .map(|name| match name {
            "syscall.dur" => "evt.latency",
            "syscall.nr" => "evt.type",
            "syscall.ret" => "evt.rawres",
            other => other,
        })
        .map(str::to_owned)
        .collect()
}

/// All sources of the tests on the real kernel.
fn sources() -> String {
    let tests = tool::repository().join("tests");
    let dirs = ["kernel", "containers", "vm", "stories"].map(|dir| tests.join(dir));
    let files = dirs.iter().flat_map(|dir| fs::read_dir(dir).expect("a directory of tests").flatten());
    let sources = files.map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|e| e == "rs"));
    sources.map(|file| fs::read_to_string(file).expect("a source")).collect()
}

#[test]
fn every_kind_is_known_here() {
    let kinds: BTreeSet<String> =
        columns().iter().filter_map(|name| Some(name.split_once('.')?.0.replace("evt", "syscall"))).collect();
    let expected: BTreeSet<String> = KINDS.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(kinds, expected, "`ktape fields` lists other kinds than this test knows");
}

#[test]
fn every_column_is_asserted_by_a_test() {
    let sources = sources();
    let missing: Vec<String> =
        columns().into_iter().filter(|name| !sources.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "no test mentions these columns: {missing:#?}");
}
