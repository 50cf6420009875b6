use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::*;
use crate::constants::source::{Value, Values};

const CALLS: [&str; 2] = ["x86_64.tbl", "i386.tbl"];

/// Lines of each set of the committed table, as words.
fn committed() -> BTreeMap<String, Vec<Vec<String>>> {
    let text = fs::read_to_string(run::workspace_root().join(FILE)).unwrap();
    let mut sets = BTreeMap::new();
    let mut names = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            names = header.trim_end_matches(']').split(' ').map(str::to_owned).collect();
        }
        for name in &names {
            let lines: &mut Vec<_> = sets.entry(name.clone()).or_default();
            if !line.starts_with('[') {
                lines.push(line.split(' ').map(str::to_owned).collect());
            }
        }
    }
    sets
}

/// (call, argument, tag) of both tables.
fn arguments() -> Vec<(String, String, String)> {
    let directory = run::workspace_root().join("reader/src/syscalls");
    let mut found = Vec::new();
    for file in CALLS {
        for line in fs::read_to_string(directory.join(file)).unwrap().lines() {
            let mut words = line.split(' ').skip(2);
            let Some(call) = words.next().filter(|_| !line.starts_with('#')) else { continue };
            let arguments = words.filter_map(|word| word.split_once(':'));
            found.extend(arguments.map(|(name, tag)| (call.to_owned(), name.to_owned(), tag.to_owned())));
        }
    }
    found
}

#[test]
fn committed_table_is_up_to_date() {
    let root = run::workspace_root();
    let committed = fs::read_to_string(root.join(FILE)).unwrap();
    let difference = generate(&root).unwrap();
    let difference = difference.lines().zip(committed.lines()).find(|(new, old)| new != old);
    assert_eq!(difference, None, "run `cargo xtask constants`");
    assert_eq!(generate(&root).unwrap().len(), committed.len(), "run `cargo xtask constants`");
}

/// Each argument that is a set of flags or one of several values has names, or a reason why not.
#[test]
fn every_flag_command_and_constant_has_names_or_a_reason() {
    let sets = committed();
    let reasons: BTreeMap<&str, &str> = sets::WITHOUT_NAMES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(": ").unwrap())
        .collect();
    let mut used = BTreeSet::new();
    for (call, name, tag) in arguments() {
        if !["flags", "prot", "mask", "cmd", "command", "const"].contains(&tag.rsplit('_').next().unwrap()) {
            continue;
        }
        let argument = format!("{call}.{name}");
        let keys = [argument.as_str(), tag.as_str()];
        let has_names = keys.iter().any(|key| {
            sets.contains_key(*key) || sets.keys().any(|set| set.split('@').next() == Some(key) && set != key)
        });
        let reason = keys.into_iter().find(|key| reasons.contains_key(key));
        assert!(has_names || reason.is_some(), "{argument}:{tag} has neither names nor a reason");
        assert!(!has_names || reason.is_none(), "{argument}:{tag} has names and a reason for having none");
        used.extend(reason.map(str::to_owned));
    }
    let unused: Vec<_> = reasons.keys().filter(|key| !used.contains(**key)).collect();
    assert!(unused.is_empty(), "reasons without an argument: {unused:?}");
}

/// The structures, whose members name their sets.
const STRUCTS: &str = concat!(
    include_str!("../../../reader/src/syscalls/structs/layouts.rs"),
    include_str!("../../../reader/src/syscalls/structs/requests.rs"),
    include_str!("../../../reader/src/syscalls/structs/states.rs"),
);

/// A misspelt header would never be looked up.
#[test]
fn headers_name_tags_arguments_and_printed_names() {
    let sets = committed();
    let known: BTreeSet<String> =
        arguments().into_iter().flat_map(|(call, name, tag)| [format!("{call}.{name}"), tag]).collect();
    let printed: BTreeSet<&str> = sets
        .values()
        .flatten()
        .filter(|line| line.last().is_some_and(|word| word != "alias"))
        .map(|line| line[0].as_str())
        .collect();
    for set in sets.keys() {
        let (key, deciding) = set.split_once('@').map_or((set.as_str(), None), |(k, d)| (k, Some(d)));
        let is_of_member = STRUCTS.contains(&format!("\"{key}\""));
        assert!(
            known.contains(key) || is_of_member,
            "{key} is neither a tag, nor an argument, nor a member's set"
        );
        assert!(deciding.is_none_or(|name| printed.contains(name)), "{set}: no such name is printed");
    }
}

/// Entries are tried in order: an entry after one whose bits it contains would never match.
#[test]
fn flags_of_several_bits_come_before_those_they_contain() {
    for (set, lines) in committed() {
        for arch in ["x86_64", "aarch64"] {
            let flags: Vec<(&str, u64)> = lines
                .iter()
                .filter(|line| line[1] == line[2] && line[1].starts_with("0x"))
                .filter(|line| line.last().unwrap() != "alias")
                .filter(|line| line.get(3).is_none_or(|word| word == arch))
                .map(|line| (line[0].as_str(), sets::unsigned(&line[1]).unwrap()))
                .collect();
            for (i, (name, value)) in flags.iter().enumerate() {
                assert_ne!(*value, 0, "[{set}] {name} is no flag");
                let earlier = flags[..i].iter().find(|(_, earlier)| value & earlier == *earlier);
                assert_eq!(earlier, None, "[{set}] {name} comes after a part of it");
            }
        }
    }
}

/// The table of a list, with these names in the crate.
fn table(list: &str, x86_64: &str, aarch64: &str) -> Result<String> {
    let mut values = Values::default();
    values.add("x86_64", "m", x86_64)?;
    values.add("aarch64", "m", aarch64)?;
    let text = table::write(&sets::parse(list)?, &values)?;
    Ok(text.lines().skip(2).collect::<Vec<_>>().join("\n"))
}

const CRATE: &str = "
pub const A_ONE: u32 = 1;
pub const A_TWO: u32 = 2;
pub const A_THREE: u32 = 3;
pub const A_LAST: e = e::A_FOUR;
pub enum e {
A_FOUR = 4,
}
";

#[test]
fn constants_members_and_their_second_names_have_values() {
    let mut values = Values::default();
    values.add("x86_64", "m", CRATE).unwrap();
    for (name, value) in [("A_ONE", 1), ("A_FOUR", 4), ("A_LAST", 4)] {
        assert_eq!(values.get(name), Some(Value { x86_64: Some(value), aarch64: None }));
    }
    assert!(values.add("x86_64", "other", "pub const A_ONE: u32 = 2;").is_err(), "two values");
}

#[test]
fn lists_become_entries_in_order() {
    let both = |list: &str| table(list, CRATE, CRATE).unwrap();
    assert_eq!(both("[a]\nflags: A_ONE A_THREE"), "[a]\nA_THREE 0x3 0x3\nA_ONE 0x1 0x1");
    assert_eq!(both("[a]\nvalues: A_*\n  -A_T*"), "[a]\nA_ONE 1 *\nA_FOUR 4 *\nA_LAST 4 * alias");
    assert_eq!(both("[a]\nvalues: A_LAST m::* -A_T* -A_ONE"), "[a]\nA_LAST 4 *\nA_FOUR 4 * alias");
    assert_eq!(both("[a b.c]\nfield 0xf0 << 4: A_TWO"), "[a b.c]\nA_TWO 0x20 0xf0");
    assert_eq!(both("[a]\nalias flags: B=A_ONE"), "[a]\nB 0x1 0x1 alias");
    assert_eq!(both("[a]\nint values: B=-1"), "[a]\nB -1 *\nB 0xffffffff *");
    assert_eq!(both("[a]\nhtons values: A_THREE"), "[a]\nA_THREE 768 *");
    assert_eq!(both("[a]\nbit flags: A_THREE"), "[a]\nA_THREE 0x8 0x8");
    assert_eq!(both("[a]\nsignal 0xff\nmode 0x1ff"), "[a]\n%signal 0 0xff\n%mode 0 0x1ff");
    assert_eq!(
        both("[a]\nvalues: A_ONE\nflags: A_TWO\n[b]\ninclude a flags"),
        "[a]\nA_ONE 1 *\nA_TWO 0x2 0x2\n[b]\nA_TWO 0x2 0x2"
    );
}

#[test]
fn names_of_one_architecture_and_differing_values_say_so() {
    let table =
        |list: &str| table(list, "pub const A: u32 = 1;\npub const B: u32 = 1;", "pub const A: u32 = 2;");
    assert_eq!(
        table("[a]\nflags: A B").unwrap(),
        "[a]\nA 0x1 0x1 x86_64\nA 0x2 0x2 aarch64\nB 0x1 0x1 x86_64"
    );
    assert_eq!(table("[a]\nflags: B=4@aarch64").unwrap(), "[a]\nB 0x4 0x4 aarch64");
}

#[test]
fn mistakes_in_lists_are_errors() {
    for list in [
        "[a]\nflags: UNKNOWN",
        "[a]\nflags: UNKNOWN_*",
        "[a]\nflags: A_ONE=1",
        "[a]\nflags: A_ONE A_ONE",
        "[a]\nflags: B=1@riscv",
        "[a]\nflag: A_ONE",
        "[a]\ninclude b",
        "[a]\n[a]",
        "flags: A_ONE",
        "  A_ONE",
    ] {
        assert!(table(list, CRATE, CRATE).is_err(), "{list}");
    }
}
