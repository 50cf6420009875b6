use std::cell::RefCell;
use std::collections::HashMap;

use agent_ebpf::records::{COMM_LEN, Fork};

use super::*;

/// When `/proc` is read, ns of the boot clock.
const READ: u64 = 2 * SECOND;

thread_local! {
    static STATS: RefCell<HashMap<u32, Stat>> = RefCell::default();
}

fn see(pid: u32, ppid: u32) {
    STATS.with_borrow_mut(|stats| stats.insert(pid, Stat { ppid, start: u64::from(pid), is_dead: false }));
}

fn see_nothing_of(pid: u32) {
    STATS.with_borrow_mut(|stats| stats.remove(&pid));
}

/// Init with a chain of descendants, 10, 20, 30, ..., each with a name.
fn chain(last: u32) -> Processes {
    let mut processes = Processes::new(false);
    processes.orphans.read = |pid| STATS.with_borrow(|stats| stats.get(&pid).copied());
    processes.orphans.now = || READ;
    let mut parent = 1;
    for pid in (10..=last).step_by(10) {
        fork(&mut processes, parent, pid);
        see(pid, parent);
        parent = pid;
    }
    processes
}

fn fork(processes: &mut Processes, parent: u32, pid: u32) {
    let mut comm = [0; COMM_LEN];
    comm[0] = b'a' + (pid / 10 % 26) as u8;
    processes.fork(&Fork {
        head: head(parent),
        child_pid: pid,
        child_tid: pid,
        child_ppid: parent,
        child_start: u64::from(pid) * TICK,
        comm,
        ..Fork::default()
    });
}

fn head(pid: u32) -> Header {
    Header { pid, tid: pid, time: SECOND, ..Header::default() }
}

fn ppid(processes: &Processes, pid: u32) -> u32 {
    processes.process_of(pid).unwrap().ppid
}

#[test]
fn orphans_get_the_parent_that_the_kernel_has_given_them() {
    let mut processes = chain(40);
    fork(&mut processes, 30, 41);
    see(40, 10);
    see_nothing_of(30);
    processes.end(&head(30));
    processes.adopt_orphans(READ - 1);
    assert_eq!([40, 41].map(|pid| ppid(&processes, pid)), [0, 0], "in doubt until the time of the reading");
    processes.adopt_orphans(READ);
    assert_eq!([40, 41].map(|pid| ppid(&processes, pid)), [10, 10], "all children get the same one");
    assert_eq!(&*processes.process_of(40).unwrap().pname, b"b");
    // They are children of that one now.
    [20, 40, 41].into_iter().for_each(|pid| see(pid, 1));
    see_nothing_of(10);
    processes.end(&head(10));
    processes.adopt_orphans(READ);
    assert_eq!([20, 40, 41].map(|pid| ppid(&processes, pid)), [1; 3]);
    assert!(!processes.has_orphans());
}

#[test]
fn a_parent_is_unknown_if_a_nearer_ancestor_has_ended_meanwhile() {
    let mut processes = chain(40);
    // The end of 20 is not drained yet: 40 may have been its child for a while.
    for gone in [20, 30] {
        see_nothing_of(gone);
    }
    see(40, 10);
    processes.end(&head(30));
    processes.settle_parent(Kind::Syscall, &head(40));
    assert_eq!(ppid(&processes, 40), 30, "a call that returned before the new parent");
    processes.adopt_orphans(READ);
    assert_eq!(ppid(&processes, 40), 0);
    assert!(processes.process_of(40).unwrap().pname.is_empty());
    // Its next record has its parent.
    processes.set_parent(&head(40), 10);
    assert_eq!(ppid(&processes, 40), 10);
}

#[test]
fn system_calls_have_the_old_parent_until_another_one_is_reported() {
    let mut processes = chain(40);
    see(40, 10);
    see_nothing_of(30);
    processes.end(&head(30));
    let mut shown = |kind| {
        processes.settle_parent(kind, &head(40));
        ppid(&processes, 40)
    };
    assert_eq!([Kind::Syscall, Kind::Switch, Kind::Syscall].map(&mut shown), [30, 0, 30]);
    // A record of the child that has the new one.
    processes.set_parent(&head(40), 10);
    for kind in [Kind::Syscall, Kind::Switch] {
        processes.settle_parent(kind, &head(40));
        assert_eq!(ppid(&processes, 40), 10);
    }
    processes.adopt_orphans(READ);
    assert_eq!(ppid(&processes, 40), 10);
}

#[test]
fn a_process_that_is_not_through_with_its_end_is_read_again() {
    let mut processes = chain(30);
    processes.end(&head(20));
    see(30, 1);
    processes.retry_lookups(SECOND + FIRST_PAUSE - 1);
    processes.adopt_orphans(READ);
    assert_eq!(ppid(&processes, 30), 0, "it is not time yet");
    processes.retry_lookups(SECOND + FIRST_PAUSE);
    processes.adopt_orphans(READ);
    assert_eq!(ppid(&processes, 30), 1);
    assert!(!processes.has_orphans());
}

#[test]
fn a_record_between_an_end_and_the_new_parent_keeps_the_child_in_doubt() {
    let mut processes = chain(30);
    see(30, 10);
    processes.end(&head(20));
    processes.set_parent(&head(30), 20);
    assert_eq!(ppid(&processes, 30), 20, "a record has its own parent");
    processes.settle_parent(Kind::Switch, &head(30));
    assert_eq!(ppid(&processes, 30), 0);
    processes.adopt_orphans(READ);
    assert_eq!(ppid(&processes, 30), 10);
}

#[test]
fn children_that_have_ended_or_moved_are_no_orphans() {
    let mut processes = chain(20);
    fork(&mut processes, 20, 30);
    fork(&mut processes, 20, 31);
    assert_eq!(processes.process_of(20).unwrap().children, 2);
    processes.end(&head(30));
    processes.set_parent(&head(31), 10);
    assert_eq!(processes.process_of(20).unwrap().children, 0);
    assert_eq!(processes.process_of(10).unwrap().children, 2);
    processes.end(&head(20));
    assert!(!processes.has_orphans());
    assert_eq!([30, 31].map(|pid| ppid(&processes, pid)), [20, 10]);
}

#[test]
fn lookups_are_limited_to_a_number_of_ends_in_a_second() {
    let mut processes = chain(10);
    let ends = ENDS_PER_SECOND + 1;
    for pid in 100..100 + ends {
        fork(&mut processes, 10, pid);
        fork(&mut processes, pid, pid + 10_000);
        see(pid + 10_000, 10);
        processes.end(&head(pid));
        processes.adopt_orphans(READ);
    }
    let parents = (100..100 + ends).map(|pid| ppid(&processes, pid + 10_000));
    assert_eq!(parents.filter(|ppid| *ppid == 0).count(), 1);
}

#[test]
fn a_process_is_read_from_its_stat() {
    let line = "7 (a) b) Z 3 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 10";
    assert_eq!(parse(line), Some(Stat { ppid: 3, start: 4711, is_dead: true }));
    assert_eq!(parse("7 (a"), None);
    let own = read_stat(std::process::id()).unwrap();
    assert!(own.ppid != 0 && own.start != 0 && !own.is_dead);
}
