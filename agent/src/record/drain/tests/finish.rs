//! The end of a recording.

use super::*;

#[test]
fn a_drain_ends_when_its_output_has_ended() {
    let mut bench = Bench::new();
    bench.calls(0, START, CHUNK_EVENT_ROWS as u64);
    let Bench { drain, progress, clock, output, .. } = bench;
    drop(output);
    clock.advance(LATER);
    let outcome = drain.run(&Stop::default());
    assert!(progress.failed.load(Ordering::Acquire));
    assert_eq!((outcome.events, outcome.lost), (0, CHUNK_EVENT_ROWS as u64));
    assert!(clock.passed() < Duration::from_millis(50), "an output that has ended is not waited for");
}

#[test]
fn the_end_detaches_scans_in_between_and_writes_what_is_in_flight() {
    let mut bench = Bench::new();
    let info =
        TaskInfo { cgroup: 7, pid: 10, tid: 10, call: 0, call_start: START - 100, ..TaskInfo::default() };
    let mut request = Request { bytes: 512, ..Request::default() };
    request.origin.first = START - 50;
    let block = Block { head: head(Kind::Block, START, 10), request };
    {
        let mut state = bench.kernel.0.borrow_mut();
        state.tasks = vec![ScannedTask { info, exe: Vec::new() }];
        state.blocks = vec![block];
        state.urings = vec![UringRequest { start: START - 70, pid: 10, tid: 10, ..UringRequest::default() }];
    }
    // Within the margin: read at the end all the same.
    bench.calls(1, START, 2);
    bench.agent_events.send(AgentEvent::SampleHost(Box::new(HostSample::unknown(START))));
    bench.kernel.lose(lost("ring", Some(Kind::Syscall), Some(7), 4));
    let Ending { outcome, unsent } = bench.drain.finish();
    assert!(unsent.is_none());
    assert_eq!(bench.kernel.calls(), ["detach events", "scan", "detach all"]);
    assert_eq!((outcome.events, outcome.lost, outcome.damaged), (6, 4, 0));
    assert_eq!(outcome.lost_by, [("ring syscall".to_owned(), 4)]);
    let chunks: Vec<SeenChunk> =
        bench.output.chunks.try_iter().map(|filled| SeenChunk::new(filled.builder)).collect();
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].times(Kind::Syscall), [START, START + 1, START]);
    assert_eq!(chunks[0].numbers(Kind::Syscall, "dur"), [0, 0, 100]);
    assert_eq!(chunks[0].numbers(Kind::Block, "dur"), [50]);
    assert_eq!(chunks[0].numbers(Kind::Uring, "dur"), [70]);
    assert_eq!(chunks[0].times(Kind::SampleHost), [START]);
    assert_eq!(summary(&chunks[0].losses()), [("ring", Some(Kind::Syscall), 7, 4)]);
    assert_eq!(chunks[0].clock_steps(), [0, 0], "the last row tells when the recording ended");
}

#[test]
fn the_end_waits_for_a_record_that_is_being_written() {
    let mut bench = Bench::new();
    bench.calls(0, START, 1);
    bench.drain.merge.cpu_mut(0).set_busy(true);
    let clock = bench.clock.clone();
    let Ending { outcome, .. } = bench.drain.finish();
    // It is never finished, so it is neither read nor counted.
    assert_eq!((outcome.events, outcome.lost), (0, 0));
    assert!(clock.passed() >= OUTPUT_TIMEOUT);
}

#[test]
fn an_output_that_resumes_in_time_loses_nothing_at_the_end() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, CHUNK_EVENT_ROWS as u64 + 10);
    let chunks = Rc::new(RefCell::new(Vec::new()));
    let Bench { drain, clock, output, .. } = bench;
    let (seen, late) = (chunks.clone(), clock.clone());
    *clock.0.on_wait.borrow_mut() = Some(Box::new(move || {
        if late.passed() > OUTPUT_TIMEOUT - Duration::from_millis(500) {
            seen.borrow_mut().extend(output.chunks.try_iter());
        }
    }));
    let Ending { outcome, unsent } = drain.finish();
    assert!(unsent.is_none());
    assert_eq!((outcome.events, outcome.lost), (CHUNK_EVENT_ROWS as u64 + 10 + QUEUE as u64, 0));
    if let Some(on_wait) = &mut *clock.0.on_wait.borrow_mut() {
        on_wait();
    }
    let calls: usize = chunks
        .borrow_mut()
        .drain(..)
        .map(|filled| SeenChunk::new(filled.builder).times(Kind::Syscall).len())
        .sum();
    assert_eq!(calls as u64, outcome.events);
}

#[test]
fn a_stalled_output_is_given_up_after_three_seconds_and_everything_is_counted() {
    let mut bench = Bench::new();
    bench.block_output();
    // A loss row in the chunk that is given up must be in the last one again.
    bench.kernel.lose(lost("ring", Some(Kind::Syscall), Some(7), 3));
    bench.round_after(HOUSEKEEPING);
    let at_hand = CHUNK_EVENT_ROWS as u64;
    bench.calls(0, START + 100, at_hand + 10);
    bench.lifecycle(1, &exit(START + 200_000_000, 10));
    bench.round_after(LATER);
    let before = bench.clock.passed();
    let Ending { outcome, unsent } = bench.drain.finish();
    let waited = bench.clock.passed() - before;
    assert!(waited >= OUTPUT_TIMEOUT && waited < OUTPUT_TIMEOUT + Duration::from_millis(50), "{waited:?}");
    assert_eq!(outcome.events, QUEUE as u64, "only those that were handed over");
    assert_eq!(outcome.lost, 3 + at_hand + 10 + 1);
    let by = |text: &str, count| (text.to_owned(), count);
    assert_eq!(
        outcome.lost_by,
        [by("queue exit", 1), by("queue syscall", 10), by("ring syscall", 3), by("writer any", at_hand)]
    );
    let unsent = unsent.unwrap();
    assert_eq!(unsent.chunk.lost, outcome.lost);
    let seen = SeenChunk::new(unsent.chunk.builder);
    assert!(seen.events().is_empty());
    assert_eq!(seen.wall_offset(), WALL);
    let losses = seen.losses();
    assert_eq!(total(&losses), outcome.lost);
    assert_eq!(
        summary(&losses),
        [
            ("queue", Some(Kind::Syscall), 7, 10),
            ("queue", Some(Kind::Exit), 7, 1),
            ("ring", Some(Kind::Syscall), 7, 3),
            ("writer", None, 0, at_hand),
        ]
    );
}

#[test]
fn the_last_chunk_is_handed_over_when_the_output_resumes_after_the_end() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, 5);
    let Bench { drain, output, .. } = bench;
    let ending = drain.finish();
    assert!(ending.unsent.is_some());
    assert_eq!(output.chunks.try_iter().count(), QUEUE);
    assert_eq!(ending.deliver().lost, 5);
    let last = output.chunks.try_recv().unwrap();
    assert_eq!(last.lost, 5);
}

#[test]
fn a_scan_that_fails_costs_only_the_calls_in_flight() {
    let mut bench = Bench::new();
    bench.kernel.0.borrow_mut().scan_fails = true;
    bench.calls(0, START, 3);
    let Ending { outcome, unsent } = bench.drain.finish();
    assert!(unsent.is_none());
    assert_eq!((outcome.events, outcome.lost), (3, 0));
}
