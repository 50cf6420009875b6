use agent_ebpf::records::{Exit, Rename};

use agent_ebpf::records::cpu::{SwitchWords, sort};

use super::*;
use crate::record::cpu_stream::StreamThread;
use crate::record::decode::bytes_of;
use crate::record::test_records::{Call, call, openat};
use crate::record::testing::{MemoryRing, switch_record};

fn header(kind: Kind, cpu: u16, time: u64) -> Header {
    Header { time, cgroup: 70 + u64::from(cpu), cpu, kind: kind as u8, ..Header::default() }
}

/// Two CPUs with ring buffers of this size.
fn merge(size: usize) -> Merge<MemoryRing> {
    let rings = || (0..2).map(|_| MemoryRing::new(size)).collect();
    Merge::new(Sources { cpus: rings(), events: rings(), lifecycle: rings() })
}

/// A switch in the event ring buffer of a CPU.
fn event(merge: &mut Merge<MemoryRing>, cpu: u16, time: u64) -> bool {
    merge.sources_mut().0[usize::from(cpu)].push(bytes_of(&header(Kind::Switch, cpu, time)))
}

/// An exit in its lifecycle ring buffer.
fn exit(merge: &mut Merge<MemoryRing>, cpu: u16, time: u64) -> bool {
    let exit = Exit { head: header(Kind::Exit, cpu, time), ..Exit::default() };
    merge.sources_mut().1[usize::from(cpu)].push(bytes_of(&exit))
}

/// What a pass hands over: kinds and times.
fn pass(merge: &mut Merge<MemoryRing>, watermark: u64) -> Vec<(Kind, u64)> {
    let mut seen = Vec::new();
    merge.pull_lifecycle();
    let result = merge.pass(watermark, |record| {
        seen.push(match record {
            Record::Cpu(_, record) => (Kind::Syscall, decode::time(record)),
            Record::Whole(record) => (decode::kind(record).unwrap(), decode::time(record)),
        });
        Flow::Go
    });
    assert_eq!(result, Pass::Done);
    seen
}

#[test]
fn records_of_all_cpus_come_in_the_order_of_their_time() {
    let mut merge = merge(1 << 16);
    for time in [1, 4, 5, 9] {
        event(&mut merge, 0, time);
    }
    for time in [2, 3, 6, 9] {
        event(&mut merge, 1, time);
    }
    exit(&mut merge, 1, 5);
    exit(&mut merge, 0, 7);
    let seen = pass(&mut merge, u64::MAX);
    let times: Vec<u64> = seen.iter().map(|(_, time)| *time).collect();
    assert_eq!(times, [1, 2, 3, 4, 5, 5, 6, 7, 9, 9]);
    assert_eq!(seen[4..6], [(Kind::Switch, 5), (Kind::Exit, 5)], "at the same time the lifecycle comes last");
    assert!(!merge.is_busy());
}

#[test]
fn records_after_the_watermark_wait() {
    let mut merge = merge(1 << 16);
    for time in [5, 10, 11] {
        event(&mut merge, 0, time);
    }
    exit(&mut merge, 1, 12);
    assert_eq!(pass(&mut merge, 10), [(Kind::Switch, 5), (Kind::Switch, 10)]);
    assert!(merge.is_busy());
    assert_eq!(pass(&mut merge, 20), [(Kind::Switch, 11), (Kind::Exit, 12)]);
}

#[test]
fn a_record_that_comes_late_is_handed_over_at_once() {
    let mut merge = merge(1 << 16);
    event(&mut merge, 0, 10);
    assert_eq!(pass(&mut merge, 100), [(Kind::Switch, 10)]);
    event(&mut merge, 1, 4);
    event(&mut merge, 0, 20);
    assert_eq!(pass(&mut merge, 100), [(Kind::Switch, 4), (Kind::Switch, 20)]);
}

#[test]
fn a_receiver_that_is_full_keeps_the_record_it_has_taken_and_no_other() {
    let mut merge = merge(1 << 16);
    for time in [1, 2, 3] {
        event(&mut merge, 0, time);
    }
    let mut seen = Vec::new();
    let result = merge.pass(u64::MAX, |record| {
        let Record::Whole(record) = record else { panic!("{record:?}") };
        seen.push(decode::time(record));
        if seen.len() == 2 { Flow::Stop } else { Flow::Go }
    });
    assert_eq!((result, &seen[..]), (Pass::Stopped, &[1, 2][..]));
    assert_eq!(pass(&mut merge, u64::MAX), [(Kind::Switch, 3)]);
}

#[test]
fn an_unfinished_record_holds_back_its_ring_alone() {
    let mut merge = merge(1 << 16);
    event(&mut merge, 0, 1);
    event(&mut merge, 1, 2);
    merge.sources_mut().0[0].set_busy(true);
    assert_eq!(pass(&mut merge, u64::MAX), [(Kind::Switch, 2)]);
    assert!(merge.is_busy());
    merge.sources_mut().0[0].set_busy(false);
    assert_eq!(pass(&mut merge, u64::MAX), [(Kind::Switch, 1)]);
    assert!(!merge.is_busy());
}

#[test]
fn space_is_given_back_during_and_after_a_pass() {
    let size = 16 * 1024;
    let mut merge = merge(size);
    let mut time = 0;
    while event(&mut merge, 0, time) {
        time += 1;
    }
    assert_eq!(time as usize, size / 40, "a header of 32 bytes takes 40");
    assert_eq!(merge.fill(), size as u64 / 40 * 40 * 1000 / size as u64);
    let ring = |merge: &Merge<MemoryRing>| merge.events[0].unreleased();
    merge.pass(u64::MAX, |_| Flow::Stop);
    assert_eq!(ring(&merge), 0);
    pass(&mut merge, u64::MAX);
    assert_eq!((merge.fill(), ring(&merge)), (0, 0));
    assert!(event(&mut merge, 0, time));
}

#[test]
fn lifecycle_records_beyond_16_mib_are_dropped_counted_and_ask_for_a_scan() {
    let mut merge = merge(1 << 20);
    let (mut pulled, len) = (0, size_of::<Exit>());
    let fits = WAITING_MAX / len;
    while pulled < fits + 1000 {
        if !exit(&mut merge, 1, 1 + pulled as u64) {
            merge.pull_lifecycle();
            continue;
        }
        pulled += 1;
    }
    merge.pull_lifecycle();
    let dropped = merge.take_dropped();
    let expected =
        EventLoss { cpu: Some(1), kind: Some(Kind::Exit), cgroup: Some(71), stage: "queue", count: 1000 };
    assert_eq!(dropped, [expected]);
    assert_eq!(merge.take_dropped(), []);
    assert!(!merge.take_stale(), "first the records that were kept");
    assert_eq!(pass(&mut merge, u64::MAX).len(), fits);
    assert!(merge.take_stale());
    assert!(!merge.take_stale());
}

#[test]
fn what_is_left_at_the_end_is_counted_by_cpu_kind_and_cgroup() {
    let mut merge = merge(1 << 16);
    for time in [1, 2, 3] {
        event(&mut merge, 0, time);
    }
    event(&mut merge, 1, 1);
    exit(&mut merge, 0, 1);
    merge.pull_lifecycle();
    let rename = Rename { head: header(Kind::Rename, 0, 2), ..Rename::default() };
    merge.sources_mut().1[0].push(bytes_of(&rename));
    // Too short to have a kind: it cannot be attributed.
    merge.sources_mut().0[0].push(&[0; 16]);
    // Of a CPU's own ring buffer, only what is an event counts.
    let thread = StreamThread { cgroup: 71, ..StreamThread::default() };
    let entered = Call { sort: sort::ENTERED, thread, ..openat(1, 10, "/x") };
    for call in [Call { thread, ..call(1, 10, "getpid") }, entered] {
        call.records().iter().for_each(|record| assert!(merge.cpu_mut(1).push(record)));
    }
    merge.cpu_mut(1).push(&switch_record(2, &SwitchWords { cgroup: 71, ..SwitchWords::default() }));
    merge.drop_rest();
    let lost = |cpu, kind, count| EventLoss {
        cpu: Some(cpu),
        kind: Some(kind),
        cgroup: Some(70 + u64::from(cpu)),
        stage: "queue",
        count,
    };
    let mut dropped = merge.take_dropped();
    dropped.sort_by_key(|lost| (lost.cpu, lost.kind));
    assert_eq!(
        dropped,
        [
            lost(0, Kind::Exit, 1),
            lost(0, Kind::Rename, 1),
            lost(0, Kind::Switch, 3),
            lost(1, Kind::Syscall, 1),
            lost(1, Kind::Switch, 2)
        ]
    );
    assert_eq!(pass(&mut merge, u64::MAX), []);
    assert!(!merge.is_busy());
}
