use capture_format::{ChunkBuilder, MetadataKey};

use super::decisions::NAMING_TIMEOUT;
use super::retired::RETIRED_MAX;
use super::*;
use crate::record::columns::TableIndex;
use crate::record::testing::{SeenChunk, no_hierarchy};
use crate::runtimes::ContainerInfo;

const SECOND: u64 = 1_000_000_000;

/// With `--container label:app=chosen`.
fn by_label() -> Cgroups {
    let mut cgroups =
        Cgroups::none(no_hierarchy(), ContainerFilter::new(vec!["label:app=chosen".parse().unwrap()]));
    cgroups.set_time(0);
    cgroups
}

/// With `--container` and a whole id, which cannot be a name.
fn by_id(letter: char) -> Cgroups {
    let (id, _) = docker(letter);
    Cgroups::none(no_hierarchy(), ContainerFilter::new(vec![id.parse().unwrap()]))
}

fn info(cgroup: u64, id: &str, app: &str) -> ContainerInfo {
    let values = [("container.name", "some"), ("container.label[app]", app)];
    ContainerInfo {
        key: MetadataKey { boot_id: [0; 16], cgroup, birth: 0 },
        id: id.into(),
        values: values.map(|(name, value)| (name.into(), value.into())).into(),
    }
}

fn docker(letter: char) -> (String, Vec<u8>) {
    let id = letter.to_string().repeat(64);
    let path = format!("/docker/{id}").into_bytes();
    (id, path)
}

fn decision(cgroups: &Cgroups, id: u64) -> Decision {
    cgroups.table.get(id).unwrap().decision
}

#[test]
fn a_container_inside_may_be_seen_before_the_one_around_it() {
    let mut cgroups = by_label();
    let (outer, inner) = ("a".repeat(64), "b".repeat(64));
    cgroups.insert(2, 0, format!("/docker/{outer}/docker/{inner}").into_bytes());
    cgroups.insert(1, 0, format!("/docker/{outer}").into_bytes());
    assert_eq!((decision(&cgroups, 1), decision(&cgroups, 2)), (Decision::Pending, Decision::Pending));
    cgroups.learn(info(1, &outer, "chosen"));
    assert_eq!((decision(&cgroups, 1), decision(&cgroups, 2)), (Decision::Wanted, Decision::Wanted));
    cgroups.learn(info(2, &inner, "other"));
    assert_eq!(decision(&cgroups, 2), Decision::Wanted, "outer includes inner");
}

#[test]
fn a_container_with_an_id_used_before_is_decided_anew() {
    let mut cgroups = by_label();
    let path = || b"/default/redis".to_vec();
    cgroups.insert(1, 0, path());
    cgroups.rmdir(1);
    cgroups.insert(2, 0, path());
    // A late report of the first one.
    cgroups.learn(info(1, "redis", "chosen"));
    assert_eq!((decision(&cgroups, 1), decision(&cgroups, 2)), (Decision::Wanted, Decision::Pending));
    cgroups.learn(info(2, "redis", "other"));
    assert_eq!(decision(&cgroups, 2), Decision::Unwanted);
}

#[test]
fn a_container_that_is_not_named_in_time_is_unwanted_and_not_rejected() {
    let mut cgroups = by_label();
    let (_, path) = docker('a');
    cgroups.set_time(5 * SECOND);
    assert!(cgroups.mkdir(1, 5 * SECOND, &path), "recorded until it is decided");
    cgroups.set_time(5 * SECOND + NAMING_TIMEOUT - 1);
    cgroups.check_timeouts();
    assert_eq!(decision(&cgroups, 1), Decision::Pending);
    assert!(!cgroups.has_updates());
    cgroups.set_time(5 * SECOND + NAMING_TIMEOUT);
    cgroups.check_timeouts();
    assert_eq!(decision(&cgroups, 1), Decision::Unwanted);
    assert!(cgroups.has_updates());
    assert_eq!(cgroups.take_unwanted(), [1]);
    let updates = cgroups.take_updates();
    assert_eq!((updates.accepted, updates.rejected), (vec![], vec![]));
    assert!(!cgroups.wants(1));
}

#[test]
fn updates_name_the_chunks_with_pending_containers() {
    let mut cgroups = by_label();
    let ((a, path_a), (b, path_b)) = (docker('a'), docker('b'));
    cgroups.next_chunk(1);
    assert!(!cgroups.take_updates().has_pending);
    cgroups.next_chunk(2);
    cgroups.mkdir(1, 0, &path_a);
    let updates = cgroups.take_updates();
    assert_eq!((updates.chunk, updates.has_pending, updates.pending_since), (2, true, Some(2)));
    cgroups.next_chunk(3);
    cgroups.mkdir(2, 0, &path_b);
    cgroups.learn(info(1, &a, "chosen"));
    let updates = cgroups.take_updates();
    assert_eq!((updates.chunk, updates.has_pending, updates.pending_since), (3, true, Some(3)));
    assert_eq!((updates.accepted, updates.rejected, updates.names.len()), (vec![1], vec![], 1));
    cgroups.next_chunk(4);
    cgroups.learn(info(2, &b, "other"));
    let updates = cgroups.take_updates();
    assert_eq!(
        (updates.has_pending, updates.pending_since),
        (true, None),
        "it was pending when the chunk began"
    );
    assert_eq!((updates.accepted, updates.rejected, updates.names.len()), (vec![], vec![2], 0));
    cgroups.next_chunk(5);
    assert!(!cgroups.take_updates().has_pending);
}

#[test]
fn updates_of_a_chunk_that_was_not_taken_go_with_the_next_one_in_order() {
    let mut cgroups = by_label();
    let ((a, path_a), (b, path_b)) = (docker('a'), docker('b'));
    cgroups.mkdir(1, 0, &path_a);
    cgroups.mkdir(2, 0, &path_b);
    cgroups.learn(info(1, &a, "chosen"));
    let updates = cgroups.take_updates();
    assert!(!cgroups.has_updates());
    cgroups.learn(info(2, &b, "chosen"));
    cgroups.give_back(updates);
    assert!(cgroups.has_updates());
    let updates = cgroups.take_updates();
    assert_eq!(updates.accepted, [1, 2]);
    assert_eq!(updates.names.iter().map(|name| name.key.cgroup).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn only_the_container_of_the_id_is_wanted() {
    let mut cgroups = by_id('a');
    let ((_, path_a), (_, path_b)) = (docker('a'), docker('b'));
    assert!(cgroups.mkdir(1, 0, &path_a));
    assert!(!cgroups.mkdir(2, 0, &path_b));
    assert!(!cgroups.mkdir(3, 0, b"/system.slice/sshd.service"));
    assert_eq!((cgroups.wants(1), cgroups.wants(2), cgroups.wants(3)), (true, false, false));
    assert!(!cgroups.wants(4), "not known, and not mounted");
    assert_eq!(cgroups.wanted_ids(), [1]);
    assert_eq!(cgroups.containers(), ["a".repeat(64), "b".repeat(64)]);
    assert_eq!(
        (cgroups.shown(1), cgroups.shown(2), cgroups.shown(3)),
        (Shown::All, Shown::Nothing, Shown::Name)
    );
    assert!(cgroups.rmdir(1), "it is in the kernel's set");
    assert!(!cgroups.rmdir(2));
    assert!(cgroups.wants(1), "late events are still wanted");
}

#[test]
fn other_containers_share_one_row() {
    let mut cgroups = by_id('a');
    let ((a, path_a), (_, path_b)) = (docker('a'), docker('b'));
    cgroups.mkdir(1, 7, &path_a);
    cgroups.mkdir(2, 8, &path_b);
    let schema = std::sync::Arc::new(ktape_reader::model::schema());
    let index = TableIndex::new(&schema);
    let mut builder = ChunkBuilder::new(schema);
    let mut chunk = Dictionaries { builder: &mut builder, number: 1, index: &index };
    cgroups.mkdir(3, 9, &docker('c').1);
    let rows = [1, 2, 1, 3].map(|id| cgroups.row(&mut chunk, id));
    assert_eq!(rows, [0, 1, 0, 1], "one row per chunk, and one for all hidden cgroups");
    chunk.number = 2;
    assert_eq!(cgroups.row(&mut chunk, 1), 2, "another chunk has its own rows");
    let seen = SeenChunk::new(builder);
    let view = seen.view();
    let (wanted, other) = (view.cgroup(0), view.cgroup(1));
    assert_eq!((wanted.id, wanted.birth, wanted.path, wanted.container), (1, 7, &path_a[..], a.as_bytes()));
    assert_eq!(wanted.runtime, b"docker");
    assert_eq!((other.id, other.birth, other.path, other.runtime), (0, 0, &b""[..], &b""[..]));
    assert_eq!(other.container, containers::OTHER.as_bytes());
}

#[test]
fn removed_cgroups_are_forgotten_in_order_and_their_events_are_not() {
    let mut cgroups = Cgroups::none(no_hierarchy(), ContainerFilter::default());
    let (id, path) = docker('a');
    cgroups.mkdir(1, 3, &path);
    cgroups.count(1, 10);
    cgroups.rmdir(1);
    for other in 2..2 + RETIRED_MAX as u64 {
        assert!(cgroups.table.get(1).is_some(), "{other}");
        cgroups.mkdir(other, 0, b"/system.slice");
        cgroups.rmdir(other);
    }
    assert!(cgroups.table.get(1).is_none());
    let updates = cgroups.take_updates();
    assert_eq!(updates.forgotten, [MetadataKey { boot_id: [0; 16], cgroup: 1, birth: 3 }]);
    cgroups.count(2, 4);
    assert_eq!(cgroups.busiest(), [busy(Some(id), 10), busy(None, 4)]);
}

#[test]
fn of_too_many_gone_containers_the_busiest_are_remembered() {
    let mut retired = Retired::default();
    for events in 0..=RETIRED_MAX as u64 {
        retired.add_events(Some(format!("{events}")), events);
    }
    let busiest = retired.busiest(std::iter::empty());
    assert!(busiest.len() <= RETIRED_MAX / 2 + 1, "{}", busiest.len());
    let most = RETIRED_MAX as u64;
    assert_eq!(busiest[0], busy(Some(most.to_string()), most));
}

fn busy(container: Option<String>, events: u64) -> Busy {
    Busy { container, name: String::new(), events }
}

#[test]
fn block_io_belongs_to_the_cgroup_with_the_same_path() {
    let (_, path) = docker('a');
    let mut cgroups = Cgroups::none(no_hierarchy(), ContainerFilter::default());
    assert_eq!(cgroups.charged(1), None, "charged in the same hierarchy");
    // Ids of the two hierarchies may be equal, and mean other cgroups.
    cgroups.insert(5, 0, b"/other".to_vec());
    cgroups.insert(6, 0, path.clone());
    cgroups.add_io(no_hierarchy(), vec![(5, path), (6, b"/other".to_vec()), (7, b"/only-there".to_vec())]);
    assert_eq!([5, 6, 7, 8].map(|io| cgroups.charged(io)), [Some(6), Some(5), None, None]);
    cgroups.insert(9, 0, b"/only-there".to_vec());
    assert_eq!(cgroups.charged(7), Some(9), "created since");
}

#[test]
fn block_io_belongs_to_the_same_container_if_the_paths_differ() {
    let (id, path) = docker('a');
    let mut cgroups = Cgroups::none(no_hierarchy(), ContainerFilter::default());
    let own = format!("/system.slice/docker-{id}.scope");
    cgroups.insert(3, 0, format!("{own}/init").into_bytes());
    cgroups.insert(2, 0, own.into_bytes());
    cgroups.add_io(no_hierarchy(), vec![(5, path), (6, b"/host/only".to_vec())]);
    assert_eq!(cgroups.charged(5), Some(2));
    assert_eq!(cgroups.charged(6), None, "of no container");
}

#[test]
fn block_io_of_a_container_whose_path_is_used_again_belongs_to_the_one_of_its_time() {
    let (_, path) = docker('a');
    let mut cgroups = Cgroups::none(no_hierarchy(), ContainerFilter::default());
    cgroups.add_io(no_hierarchy(), Vec::new());
    cgroups.mkdir(1, 100, &path);
    cgroups.io_mkdir(11, 101, &path);
    cgroups.rmdir(1);
    cgroups.io_rmdir(11);
    cgroups.io_mkdir(12, 900, &path);
    cgroups.mkdir(2, 901, &path);
    assert_eq!([12, 11].map(|io| cgroups.charged(io)), [Some(2), Some(1)]);
}

#[test]
fn cgroups_of_unwanted_containers_leave_the_set_of_the_io_hierarchy() {
    let mut cgroups = by_label();
    let ((chosen, other), host) = ((docker('a'), docker('b')), b"/system.slice".to_vec());
    cgroups.add_io(no_hierarchy(), vec![(11, chosen.1.clone()), (13, host.clone())]);
    assert_eq!(cgroups.wanted_io_ids(), [11], "the host is not wanted");
    cgroups.io_mkdir(12, 0, &other.1);
    cgroups.io_mkdir(14, 0, &host);
    assert_eq!(cgroups.take_unwanted_io(), [14]);
    cgroups.insert(1, 0, chosen.1);
    cgroups.insert(2, 0, other.1);
    cgroups.learn(info(1, &chosen.0, "chosen"));
    cgroups.learn(info(2, &other.0, "other"));
    cgroups.check_timeouts();
    assert_eq!(cgroups.take_unwanted_io(), [12]);
    cgroups.io_rmdir(11);
    assert_eq!(cgroups.take_unwanted_io(), [11]);
    assert_eq!(cgroups.wanted_io_ids(), [0; 0]);
}
