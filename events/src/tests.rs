use std::collections::HashSet;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::*;

#[test]
fn every_kind_is_found_by_its_number_and_no_other_number_is() {
    for number in 0..=u8::MAX {
        let kind = Kind::from_number(number);
        assert_eq!(kind, KINDS.into_iter().find(|kind| *kind as u8 == number));
        assert!(kind.is_none() || number <= KIND_HIGHEST);
    }
    assert_eq!(KINDS.map(|kind| KINDS[kind.index()]), KINDS);
    assert_eq!(KINDS.map(|kind| kind.decl().kind), KINDS);
}

#[test]
fn names_of_kinds_and_of_their_columns_are_unique() {
    let names: HashSet<&str> = KINDS.iter().map(|kind| kind.decl().name).collect();
    assert_eq!(names.len(), KIND_COUNT);
    for kind in KINDS {
        let columns = || COMMON.iter().chain(kind.decl().columns);
        let names: HashSet<&str> = columns().map(|column| column.name).collect();
        assert_eq!(names.len(), columns().count(), "{kind:?}");
    }
}

#[test]
fn names_of_types_are_unique() {
    let names: HashSet<&str> = TYPES.iter().map(|ty| ty.name()).collect();
    assert_eq!(names.len(), TYPES.len());
    assert_eq!(Ty::Size.name(), "bytes?");
    assert_eq!(Ty::Time.doc(), "Nanoseconds of CLOCK_BOOTTIME.");
    assert_eq!(Ty::SyscallArgs.storage(), Storage::U64List);
}

#[test]
fn every_sampled_kind_is_in_samples() {
    let sampled: Vec<Kind> =
        KINDS.into_iter().filter(|kind| kind.decl().name.starts_with("sample")).collect();
    assert_eq!(sampled, SAMPLES);
}

#[test]
fn kinds_that_share_fields_have_the_same_columns() {
    let shared: Vec<Kind> = KINDS.into_iter().filter(|kind| kind.field_owner() != *kind).collect();
    assert_eq!(shared, [Kind::StallOngoing]);
    for kind in KINDS {
        let (own, owner) = (kind.decl().columns, kind.field_owner());
        assert_eq!(owner.field_owner(), owner);
        let names = |columns: &'static [Column]| columns.iter().map(|column| (column.name, column.ty));
        assert!(names(own).eq(names(owner.decl().columns)), "{kind:?}");
    }
    assert_eq!(STALLS.map(Kind::field_owner), [Kind::Stall; 2]);
}

#[test]
fn a_map_has_a_value_for_each_kind() {
    let mut map = KindMap::new(|kind| kind as u32);
    for kind in KINDS {
        assert_eq!(map[kind], kind as u32);
        map[kind] += 100;
    }
    let values: Vec<(Kind, u32)> = map.iter().map(|(kind, value)| (kind, *value)).collect();
    assert_eq!(values, KINDS.map(|kind| (kind, kind as u32 + 100)));
    assert_eq!(KindMap::<u8>::default(), KindMap::new(|_| 0));
}

#[test]
fn a_set_holds_every_kind_by_itself() {
    for kind in KINDS {
        let set = KindSet::of(&[kind]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [kind]);
        assert_eq!(set, [kind, kind].into_iter().collect());
        assert!(KindSet::ALL.contains(kind) && !KindSet::EMPTY.contains(kind));
    }
    assert_eq!(KindSet::ALL.len(), KIND_COUNT);
    assert_eq!(KindSet::ALL.iter().collect::<Vec<_>>(), KINDS);
    assert!(KindSet::EMPTY.is_empty() && !KindSet::ALL.is_empty());
}

/// The table between the markers of the README.
fn readme_table() -> String {
    let rows = KINDS.iter().map(|kind| {
        let decl = kind.decl();
        format!("| `{}` | {} | {} |\n", decl.name, decl.doc, decl.source)
    });
    let head = "| `-e` | an event is | source |\n|---|---|---|\n";
    head.chars().chain(rows.collect::<String>().chars()).collect()
}

#[test]
fn readme_lists_every_kind() {
    const BEGIN: &str = "<!-- generated: kinds -->\n";
    const END: &str = "<!-- end generated -->\n";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(file).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let expected = readme_table();
    if std::env::var_os("KTAPE_GOLDEN").is_some_and(|word| word == "write") {
        std::fs::write(file, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(
        table == expected,
        "the table of kinds in README.md is out of date: run `KTAPE_GOLDEN=write cargo test -p ktape-events readme`"
    );
}
