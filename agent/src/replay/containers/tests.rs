use capture_format::{MetadataIndex, MetadataKey, MetadataRecord};

use super::*;

fn known(chains: &[&str]) -> Known {
    let mut known = Known::default();
    chains.iter().for_each(|c| _ = known.add_chain(c.as_bytes()));
    known
}

fn resolve(wanted: &str, known: &Known, names: &Names) -> Result<Containers, Ambiguous> {
    let mut containers = Containers::new(vec![wanted.parse().unwrap()]);
    containers.resolve(known, names)?;
    Ok(containers)
}

#[test]
fn a_prefix_finds_inner_and_outer_containers() {
    let known = known(&["aa11>bb22", "cc33", ""]);
    let outer = resolve("aa", &known, &Names::default()).unwrap();
    assert!(outer.match_chain(b"aa11>bb22"));
    assert!(outer.match_chain(b"aa11"));
    assert!(!outer.match_chain(b"cc33"));
    assert!(!outer.match_chain(b""));
    let inner = resolve("b", &known, &Names::default()).unwrap();
    assert!(inner.match_chain(b"aa11>bb22"));
    assert!(!inner.match_chain(b"aa11"));
}

#[test]
fn an_ambiguous_prefix_lists_the_candidates() {
    let known = known(&["aa11", "aa22", "bb"]);
    let error = resolve("aa", &known, &Names::default()).unwrap_err();
    assert_eq!(error.to_string(), "container `aa` is ambiguous: aa11, aa22");
    assert!(resolve("aa1", &known, &Names::default()).is_ok());
}

#[test]
fn a_whole_id_is_not_ambiguous() {
    let known = known(&["web", "web-2"]);
    let web = resolve("web", &known, &Names::default()).unwrap();
    assert!(web.match_chain(b"web"));
    assert!(!web.match_chain(b"web-2"));
}

#[test]
fn an_unknown_container_is_said_and_matches_nothing() {
    let none = resolve("zz", &known(&["aa"]), &Names::default()).unwrap();
    assert_eq!(none.unknown(), ["zz"]);
    assert!(!none.match_chain(b"aa"));
}

#[test]
fn a_name_means_all_containers_that_had_it() {
    let mut index = MetadataIndex::default();
    for (cgroup, id) in [(1, "aa11"), (2, "bb22")] {
        index.add(&MetadataRecord {
            key: MetadataKey { boot_id: [7; 16], cgroup, birth: 0 },
            values: vec![
                ("container.full_id".to_owned(), id.to_owned()),
                ("container.name".to_owned(), "web".to_owned()),
            ],
        });
    }
    let mut names = Names::default();
    names.merge(&index);
    let web = resolve("web", &known(&["aa11", "bb22", "cc33"]), &names).unwrap();
    assert!(web.match_chain(b"aa11") && web.match_chain(b"bb22") && !web.match_chain(b"cc33"));
}
