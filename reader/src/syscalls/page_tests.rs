//! `docs/syscalls.md` lists the calls of this version, with how each argument is shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use events::Abi;

use super::{Arch, ArgType, Meanings, Signature, Syscall, kept, table};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/syscalls.md");
const BEGIN: &str = "<!-- generated: syscalls -->\n";
const END: &str = "<!-- end generated -->\n";

/// How an argument is shown.
fn shown(signature: &Signature, meanings: &Meanings, at: usize) -> &'static str {
    let ty = signature.args[at].ty;
    if ty.is_string() && !signature.string_positions().contains(&(at as u8)) {
        return "-";
    }
    if !ty.is_string() && !kept(ty) {
        return "-";
    }
    if meanings.all_sets(at).next().is_some() {
        return "names";
    }
    match ty {
        ArgType::Path => "path",
        ArgType::String => "text",
        ArgType::Argv => "list",
        ArgType::Sockaddr | ArgType::SockaddrOut | ArgType::Msghdr => "socket address",
        ArgType::Mmsghdr => "socket addresses",
        ArgType::Fd => "descriptor",
        ArgType::Dirfd => "directory",
        ArgType::Size | ArgType::Offset | ArgType::Socklen => "bytes",
        ArgType::Mode => "permissions",
        ArgType::Pid | ArgType::Uid | ArgType::Gid => "id",
        ArgType::Signal => "signal",
        ArgType::Address => "address",
        ArgType::Flags | ArgType::Command | ArgType::Const => "number",
        ArgType::Int | ArgType::Uint | ArgType::Long | ArgType::Ulong | ArgType::Device => "number",
        ArgType::Struct | ArgType::StructOut | ArgType::StructInOut => "structure",
        ArgType::StructOrNumber => "structure or number",
        ArgType::Ptr => "-",
    }
}

/// Calls by name: of this machine's ABI, and those that only 32-bit callers have.
fn calls() -> BTreeMap<&'static str, (&'static Syscall, &'static str)> {
    let mut calls = BTreeMap::new();
    for (abi, note) in [(Abi::Native, ""), (Abi::X32, " (x32)"), (Abi::Compat, " (32-bit)")] {
        for call in table().iter().filter(|call| call.abi == abi) {
            calls.entry(call.name).or_insert((call, note));
        }
    }
    calls
}

fn page() -> String {
    let mut rows = String::from("| call | arguments |\n|---|---|\n");
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let calls = calls();
    for (name, (call, note)) in &calls {
        let signature = Signature::from(*call);
        let meanings = Meanings::new(&signature, Arch::X86_64);
        let arguments: Vec<String> = (0..signature.args.len())
            .map(|at| {
                let how = shown(&signature, &meanings, at);
                *counts.entry(how).or_default() += 1;
                format!("`{}` {how}", signature.args[at].name)
            })
            .collect();
        let _ = writeln!(rows, "| `{name}`{note} | {} |", arguments.join(", "));
    }
    let total: u32 = counts.values().sum();
    let mut text =
        format!("{} calls have {total} arguments:\n\n| shown as | arguments |\n|---|---:|\n", calls.len());
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(how, count)| (std::cmp::Reverse(*count), *how));
    for (how, count) in counts {
        let _ = writeln!(text, "| {} | {count} |", if how == "-" { "- (not recorded)" } else { how });
    }
    text + "\n" + &rows
}

#[test]
fn page_lists_every_call() {
    let page_text = fs::read_to_string(FILE).unwrap();
    let (before, rest) = page_text.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    let expected = page();
    if std::env::var_os("KTAPE_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(FILE, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(
        listed == expected,
        "docs/syscalls.md is out of date: run `KTAPE_GOLDEN=write cargo test -p ktape-reader page_lists_every_call`"
    );
}
