//! Rounds of a running drain.

use super::*;

#[test]
fn records_of_all_cpus_become_rows_in_the_order_of_their_time() {
    let mut bench = Bench::new();
    bench.call(0, &call(START + 1, 10));
    bench.call(1, &call(START + 2, 11));
    bench.call(0, &call(START + 3, 10));
    bench.lifecycle(1, &exit(START + 3, 10));
    bench.round_after(LATER);
    // It comes after the rows of later ones.
    bench.call(1, &call(START + 2, 12));
    bench.round_after(LATER);
    let seen = bench.flushed();
    assert_eq!(seen.times(Kind::Syscall), [START + 1, START + 2, START + 3, START + 2]);
    assert_eq!(
        seen.events().iter().map(|event| event.late).collect::<Vec<_>>(),
        [false, false, false, true, false]
    );
    assert_eq!(seen.times(Kind::Exit), [START + 3]);
    assert_eq!((seen.clock_steps(), seen.wall_offset()), (vec![0], WALL));
}

#[test]
fn a_record_waits_until_no_earlier_one_can_come() {
    let mut bench = Bench::new();
    bench.call(0, &call(START, 10));
    bench.round_after(MARGIN - Duration::from_nanos(1));
    assert_eq!(bench.drain.rows.events(), 0);
    bench.round_after(Duration::from_nanos(1));
    assert_eq!(bench.drain.rows.events(), 1);
}

#[test]
fn a_chunk_is_closed_when_it_is_full_or_old() {
    let mut bench = Bench::new();
    bench.calls(0, START, CHUNK_EVENT_ROWS as u64 + 7);
    assert_eq!(bench.round_after(LATER), Pass::Done);
    let chunks = bench.chunks();
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].events().len(), CHUNK_EVENT_ROWS);
    bench.round_after(CHUNK_AGE - Duration::from_nanos(1));
    assert_eq!(bench.chunks().len(), 0);
    bench.round_after(Duration::from_nanos(1));
    assert_eq!(bench.chunks().iter().map(|chunk| chunk.events().len()).collect::<Vec<_>>(), [7]);
    bench.round_after(CHUNK_AGE);
    assert_eq!(bench.chunks().len(), 0, "an empty chunk is not handed over");
    assert_eq!(bench.progress.events.load(Ordering::Relaxed), CHUNK_EVENT_ROWS as u64 + 7);
    assert_eq!(bench.progress.beats.load(Ordering::Relaxed), 4);
}

#[test]
fn a_step_of_the_wall_clock_begins_a_chunk() {
    let mut bench = Bench::new();
    bench.calls(0, START, 1);
    bench.round_after(LATER);
    bench.clock.0.wall.set(WALL + CLOCK_STEP - 1);
    bench.round_after(HOUSEKEEPING);
    assert_eq!(bench.chunks().pop().unwrap().wall_offset(), WALL, "slewing is no step");
    bench.calls(0, START + 9, 1);
    bench.round_after(LATER);
    bench.clock.0.wall.set(WALL + 5_000_000);
    bench.round_after(HOUSEKEEPING);
    bench.drain.flush();
    let chunks = bench.chunks();
    let offsets: Vec<(i64, Vec<i64>)> =
        chunks.iter().map(|chunk| (chunk.wall_offset(), chunk.clock_steps())).collect();
    assert_eq!(offsets, [(WALL, vec![]), (WALL + 5_000_000, vec![5_000_000])]);
}

#[test]
fn what_other_threads_send_is_taken_over() {
    let mut bench = Bench::new();
    let info = TaskInfo { pid: 10, tid: 10, leader_start: 3, call: u32::MAX, ..TaskInfo::default() };
    bench.drain.rows.resync(&[ScannedTask { info, exe: b"/bin/a".to_vec() }]);
    bench
        .arguments
        .send(Arguments { pid: 10, start: 3, args: b"a\0--password=x\0".to_vec(), cwd: b"/srv".to_vec() })
        .unwrap();
    bench.agent_events.send(AgentEvent::SampleHost(Box::new(HostSample::unknown(START))));
    let key = capture_format::MetadataKey { boot_id: [1; 16], cgroup: 7, birth: 0 };
    bench
        .containers
        .send(ContainerInfo {
            key,
            id: "a".repeat(64),
            values: vec![("container.name".into(), "web".into())],
        })
        .unwrap();
    bench.calls(0, START, 1);
    bench.round_after(CHUNK_AGE);
    let filled: Vec<FilledChunk> = bench.output.chunks.try_iter().collect();
    assert_eq!(filled[0].updates.names.len(), 1);
    assert_eq!((filled[0].updates.chunk, filled[0].lost), (0, 0));
    let seen = SeenChunk::new(filled.into_iter().next().unwrap().builder);
    assert_eq!(seen.times(Kind::SampleHost), [START]);
    let view = seen.view();
    let process = (0..view.process_rows() as u32)
        .map(|row| view.process(row))
        .find(|process| process.pid == 10)
        .unwrap();
    assert_eq!(process.exe, b"/bin/a");
    assert!(
        process.args.starts_with(b"a\0--password=") && !process.args.ends_with(b"x\0"),
        "secrets are masked"
    );
}

#[test]
fn updates_go_with_an_empty_chunk_when_there_are_no_events() {
    let mut bench = Bench::new();
    bench.drain.flush();
    bench.chunks();
    let key = capture_format::MetadataKey { boot_id: [1; 16], cgroup: 7, birth: 0 };
    bench
        .containers
        .send(ContainerInfo {
            key,
            id: "a".repeat(64),
            values: vec![("container.name".into(), "web".into())],
        })
        .unwrap();
    bench.round_after(CHUNK_AGE);
    let filled: Vec<FilledChunk> = bench.output.chunks.try_iter().collect();
    assert_eq!(filled.len(), 1);
    assert!(filled[0].builder.is_empty());
    assert_eq!(filled[0].updates.names.len(), 1);
}

#[test]
fn a_live_view_that_is_too_slow_never_blocks_the_drain() {
    let mut bench = Bench::with(ContainerFilter::default(), true);
    for i in 0..QUEUE as u64 + 3 {
        bench.calls(0, START + i, 2);
        assert_eq!(bench.round_after(PAUSE_MAX), Pass::Done);
    }
    assert_eq!(bench.progress.unshown.load(Ordering::Relaxed), 6);
    assert_eq!(bench.chunks().len(), QUEUE);
    bench.calls(0, START + 100, 2);
    bench.round_after(PAUSE_MAX);
    assert_eq!(bench.chunks().iter().map(|chunk| chunk.events().len()).collect::<Vec<_>>(), [2]);
}

#[test]
fn smaller_rings_are_read_more_often() {
    let pause = |ring_bytes| DrainTiming::new(0, ring_bytes, false).pause;
    assert_eq!(pause(4 << 20), PAUSE_MAX);
    assert_eq!(pause(1 << 30), PAUSE_MAX);
    assert_eq!(pause(2 << 20), PAUSE_MAX / 2);
    assert_eq!(pause(64 << 10), PAUSE_MAX / 20);
    let mut bench = Bench::new();
    let before = bench.clock.passed();
    bench.drain.rest(Pass::Done);
    assert_eq!(bench.clock.passed() - before, PAUSE_MAX);
    bench.calls(0, START, RING as u64 / 64 / 4);
    let before = bench.clock.passed();
    bench.drain.rest(Pass::Done);
    assert_eq!(bench.clock.passed(), before, "a ring buffer that fills up is read again at once");
}

#[test]
fn the_programs_clock_follows_the_time_that_the_machine_was_suspended() {
    let mut bench = Bench::new();
    bench.round_after(LATER);
    assert_eq!(bench.kernel.calls(), Vec::<String>::new());
    bench.clock.0.suspended.set(5_000_000_000);
    bench.round_after(LATER);
    bench.round_after(LATER);
    // What two readings of the clocks differ by is no suspend.
    bench.clock.0.suspended.set(5_000_000_000 + SUSPENDED_LEAST - 1);
    bench.round_after(LATER);
    assert_eq!(bench.kernel.calls(), ["offset 5000000000"]);
}

#[test]
fn each_round_reports_how_full_the_ring_buffers_were() {
    let mut bench = Bench::new();
    bench.calls(0, START, RING as u64 / 64 / 4);
    let fill = bench.drain.merge.fill();
    assert!(fill > 125, "{fill}");
    bench.round_after(LATER);
    assert_eq!(bench.progress.fill.load(Ordering::Relaxed), fill);
    bench.round_after(LATER);
    assert_eq!(bench.progress.fill.load(Ordering::Relaxed), 0);
}
