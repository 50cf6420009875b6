use capture_format::{MetadataIndex, MetadataKey, MetadataRecord};

use super::*;

fn known(chains: &[&str]) -> KnownContainers {
    let mut known = KnownContainers::default();
    chains.iter().for_each(|c| _ = known.add_chain(c.as_bytes()));
    known
}

fn resolve(wanted: &str, known: &KnownContainers, names: &ContainerNames) -> Result<Containers, Ambiguous> {
    let mut containers = Containers::new(vec![wanted.parse().unwrap()]);
    containers.resolve(known, names)?;
    Ok(containers)
}

#[test]
fn a_prefix_finds_inner_and_outer_containers() {
    let known = known(&["aa11>bb22", "cc33", ""]);
    let outer = resolve("aa", &known, &ContainerNames::default()).unwrap();
    assert!(outer.match_chain(b"aa11>bb22"));
    assert!(outer.match_chain(b"aa11"));
    assert!(!outer.match_chain(b"cc33"));
    assert!(!outer.match_chain(b""));
    let inner = resolve("b", &known, &ContainerNames::default()).unwrap();
    assert!(inner.match_chain(b"aa11>bb22"));
    assert!(!inner.match_chain(b"aa11"));
}

#[test]
fn an_ambiguous_prefix_lists_the_candidates() {
    let known = known(&["aa11", "aa22", "bb"]);
    let error = resolve("aa", &known, &ContainerNames::default()).unwrap_err();
    assert_eq!(error.to_string(), "container `aa` is ambiguous: aa11, aa22");
    assert!(resolve("aa1", &known, &ContainerNames::default()).is_ok());
}

#[test]
fn a_whole_id_is_not_ambiguous() {
    let known = known(&["web", "web-2"]);
    let web = resolve("web", &known, &ContainerNames::default()).unwrap();
    assert!(web.match_chain(b"web"));
    assert!(!web.match_chain(b"web-2"));
}

#[test]
fn an_unknown_container_is_reported_and_matches_nothing() {
    let none = resolve("zz", &known(&["aa"]), &ContainerNames::default()).unwrap();
    assert_eq!(none.unknown(), ["zz"]);
    assert!(!none.match_chain(b"aa"));
}

#[test]
fn the_host_is_what_has_no_container() {
    let host = resolve("host", &known(&["aa", ""]), &ContainerNames::default()).unwrap();
    assert!(host.unknown().is_empty());
    assert!(host.match_chain(b"") && !host.match_chain(b"aa"));
}

#[test]
fn a_pattern_means_containers_that_are_known_by_their_name() {
    let id = "ab".repeat(32);
    let known = known(&["web-1", "web-2>inner", "db", &id]);
    let web = resolve("web-*", &known, &ContainerNames::default()).unwrap();
    assert!(web.match_chain(b"web-1") && web.match_chain(b"web-2>inner"));
    assert!(!web.match_chain(b"db") && !web.match_chain(id.as_bytes()));
    assert_eq!(resolve("x*", &known, &ContainerNames::default()).unwrap().unknown(), ["x*"]);
    let ids = resolve("a*", &known, &ContainerNames::default()).unwrap();
    assert!(!ids.match_chain(id.as_bytes()), "an id is no name");
}

#[test]
fn a_name_selects_all_containers_that_had_it() {
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
    let mut names = ContainerNames::default();
    names.merge(&index);
    let web = resolve("web", &known(&["aa11", "bb22", "cc33"]), &names).unwrap();
    assert!(web.match_chain(b"aa11") && web.match_chain(b"bb22") && !web.match_chain(b"cc33"));
}

/// `ctr` users choose ids, and choose them again.
#[test]
fn a_label_selects_one_of_several_containers_with_the_same_id() {
    let mut names = ContainerNames::default();
    let key = |cgroup| MetadataKey { boot_id: [7; 16], cgroup, birth: cgroup };
    for (cgroup, turn) in [(1, "one"), (2, "two"), (3, "one")] {
        let values =
            [("container.full_id", "redis"), ("container.name", "redis"), ("container.label[turn]", turn)];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        names.add(&MetadataRecord { key: key(cgroup), values: values.into() });
    }
    // Of one only this is known so far.
    let values = vec![("container.full_id".to_owned(), "redis".to_owned())];
    names.add(&MetadataRecord { key: key(4), values });
    let known = known(&["redis", "redis>inner"]);
    let row = |id, chain: &'static str| CgroupRow {
        id,
        birth: id,
        path: b"",
        container: chain.rsplit('>').next().unwrap().as_bytes(),
        runtime: b"",
        chain: chain.as_bytes(),
        pod_uid: b"",
    };
    let matched = |wanted: &str| -> Vec<u64> {
        let containers = resolve(wanted, &known, &names).unwrap();
        (1..=4).filter(|id| containers.match_cgroup([7; 16], &row(*id, "redis"))).collect()
    };
    assert_eq!(matched("label:turn=one"), [1, 3, 4]);
    assert_eq!(matched("label:turn=two"), [2, 4]);
    assert_eq!(matched("redis"), [1, 2, 3, 4]);
    assert_eq!(matched("red"), [1, 2, 3, 4]);
    // What is inside goes by the id.
    let two = resolve("label:turn=two", &known, &names).unwrap();
    assert!(two.match_cgroup([7; 16], &row(9, "redis>inner")));
    assert!(!two.match_cgroup([7; 16], &row(9, "other")));
}
