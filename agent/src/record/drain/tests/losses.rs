//! Losses, and a blocked output.

use super::*;

#[test]
fn every_stage_of_loss_becomes_a_row() {
    let mut bench = Bench::new();
    let stages = ["ring", "recursion", "storage", "map"];
    for (i, stage) in stages.into_iter().enumerate() {
        bench.kernel.lose(lost(stage, Some(Kind::Syscall), Some(7), 10 + i as u64));
    }
    bench.kernel.lose(lost("ring", Some(Kind::Switch), None, 3));
    // Beyond the queue of the agent's own threads.
    let mut dropped = 0;
    while dropped < 5 {
        dropped +=
            u64::from(!bench.agent_events.send(AgentEvent::SampleHost(Box::new(HostSample::unknown(1)))));
    }
    bench.round_after(HOUSEKEEPING);
    let seen = bench.flushed();
    let losses = seen.losses();
    assert_eq!(
        summary(&losses),
        [
            ("map", Some(Kind::Syscall), 7, 13),
            ("queue", Some(Kind::SampleHost), 0, 5),
            ("recursion", Some(Kind::Syscall), 7, 11),
            ("ring", Some(Kind::Syscall), 7, 10),
            ("ring", Some(Kind::Switch), 0, 3),
            ("storage", Some(Kind::Syscall), 7, 12),
        ]
    );
    let second = HOUSEKEEPING.as_nanos() as u64;
    assert!(losses.iter().all(|loss| (loss.from, loss.to) == (START - 5, START + second)));
    assert_eq!(losses[0].cpu, Some(1));
    assert_eq!(bench.progress.lost.load(Ordering::Relaxed), 54);
    // The next loss counts from here on.
    bench.kernel.lose(lost("ring", Some(Kind::Syscall), Some(7), 1));
    bench.round_after(HOUSEKEEPING);
    let losses = bench.flushed().losses();
    assert_eq!(summary(&losses), [("ring", Some(Kind::Syscall), 7, 1)]);
    assert_eq!((losses[0].from, losses[0].to), (START + second, START + 2 * second));
}

#[test]
fn losses_of_other_containers_are_not_written() {
    let id = "a".repeat(64);
    let mut bench = Bench::with(ContainerFilter::new(vec![id.parse().unwrap()]), false);
    bench.lifecycle(0, &mkdir(START, 7, &format!("/docker/{id}")));
    bench.lifecycle(0, &mkdir(START, 8, "/system.slice/x"));
    bench.round_after(LATER);
    assert_eq!(bench.kernel.calls(), ["allow 8: false"]);
    for (cgroup, count) in [(Some(7), 1), (Some(8), 2), (None, 4)] {
        bench.kernel.lose(lost("ring", Some(Kind::Syscall), cgroup, count));
    }
    bench.round_after(HOUSEKEEPING);
    let losses = bench.flushed().losses();
    assert_eq!(losses.iter().map(|loss| loss.count).collect::<Vec<_>>(), [4, 1]);
}

#[test]
fn a_blocked_output_stops_the_event_rings_and_not_the_lifecycle() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, CHUNK_EVENT_ROWS as u64 + 10);
    assert_eq!(bench.round_after(LATER), Pass::Stopped);
    let read = bench.drain.rows.events();
    bench.lifecycle(0, &exit(START + 100, 10));
    assert_eq!(bench.round_after(LATER), Pass::Stopped);
    assert_eq!(bench.drain.rows.events(), read, "nothing more is read");
    assert!(
        bench.drain.merge.is_busy(),
        "the event ring buffer fills up, and the kernel counts what is lost"
    );
    bench.drain.rest(Pass::Stopped);
    let (_, lifecycle) = bench.drain.merge.sources_mut();
    assert_eq!(lifecycle[0].backlog(), 0, "the lifecycle ring buffer is emptied");
    // The output takes chunks again.
    assert_eq!(bench.chunks().len(), QUEUE);
    assert_eq!(bench.round_after(LATER), Pass::Done);
    let chunks = bench.chunks();
    assert_eq!(chunks[0].times(Kind::Syscall).len(), CHUNK_EVENT_ROWS);
    let rest = bench.flushed();
    assert_eq!((rest.times(Kind::Syscall).len(), rest.times(Kind::Exit)), (10, vec![START + 100]));
}

#[test]
fn lifecycle_records_beyond_16_mib_are_lost_and_processes_are_scanned_again() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, CHUNK_EVENT_ROWS as u64);
    assert_eq!(bench.round_after(LATER), Pass::Stopped);
    let fits = WAITING_MAX / size_of::<Fork>();
    let extra = 100;
    for i in 0..(fits + extra) as u32 {
        let fork = Fork {
            head: head(Kind::Fork, START + 1_000_000, 10),
            child_pid: i,
            child_tid: i,
            ..Fork::default()
        };
        if !bench.lifecycle(1, &fork) {
            bench.round_after(LATER);
            assert!(bench.lifecycle(1, &fork));
        }
    }
    bench.round_after(HOUSEKEEPING);
    assert_eq!(bench.kernel.calls(), Vec::<String>::new());
    let task = TaskInfo {
        pid: 10,
        tid: 10,
        call: u32::MAX,
        comm: *b"scanned\0\0\0\0\0\0\0\0\0",
        leader_comm: *b"scanned\0\0\0\0\0\0\0\0\0",
        ..TaskInfo::default()
    };
    bench.kernel.0.borrow_mut().tasks = vec![ScannedTask { info: task, exe: Vec::new() }];
    // The output takes chunks again: first what was kept is written, then the processes are scanned.
    let mut forks = 0;
    let mut losses = Vec::new();
    while bench.kernel.calls().is_empty() {
        for chunk in bench.chunks() {
            forks += chunk.times(Kind::Fork).len();
            losses.extend(chunk.losses());
        }
        bench.round_after(LATER);
    }
    let now = bench.clock.boot_ns();
    bench.call(0, &call(now, 10));
    bench.round_after(HOUSEKEEPING);
    bench.round_after(HOUSEKEEPING);
    bench.drain.flush();
    let chunks = bench.chunks();
    for chunk in &chunks {
        forks += chunk.times(Kind::Fork).len();
        losses.extend(chunk.losses());
    }
    assert_eq!(forks, fits);
    assert_eq!(summary(&losses), [("queue", Some(Kind::Fork), 7, extra as u64)]);
    let last = chunks.iter().rfind(|chunk| chunk.times(Kind::Syscall) == [now]).unwrap();
    let view = last.view();
    let names: Vec<&[u8]> = (0..view.task_rows() as u32).map(|row| view.task(row).name).collect();
    assert!(names.contains(&&b"scanned"[..]), "{names:?}");
}

#[test]
fn losses_that_find_no_room_add_up_until_there_is_some() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, CHUNK_EVENT_ROWS as u64);
    bench.round_after(LATER);
    for _ in 0..3 {
        bench.kernel.lose(lost("ring", Some(Kind::Syscall), Some(7), 2));
        bench.round_after(HOUSEKEEPING);
    }
    let before = bench.chunks();
    assert!(before.iter().all(|chunk| chunk.losses().is_empty()));
    bench.round_after(HOUSEKEEPING);
    assert!(bench.drain.flush());
    let losses: Vec<SeenLoss> = bench.chunks().iter().flat_map(SeenChunk::losses).collect();
    assert_eq!(summary(&losses), [("ring", Some(Kind::Syscall), 7, 6)]);
    assert_eq!(losses[0].from, START - 5);
}
