use std::io;

use capture_format::CaptureFile;

use super::*;
use crate::model::testing::{TestCall, TestChunk, WALL, call, file, header};
use crate::scan::Capture;

/// A capture with these calls in each chunk: name, end and duration.
fn captures(chunks: &[&[(&'static str, u64, u64)]]) -> Captures {
    let chunks = chunks.iter().map(|calls| {
        let mut chunk = TestChunk::new(&header(1));
        let cgroup = chunk.cgroup(1, "/", &[]);
        let task = chunk.task(7, 7, "app", cgroup);
        for (name, time, dur) in *calls {
            chunk.call(*time, task, &TestCall { dur: *dur, ..call(name, &[], 1) });
        }
        chunk
    });
    let bytes = file(&header(1), chunks.collect(), &[]);
    Captures::new(vec![Capture::new("test", CaptureFile::from_reader(io::Cursor::new(bytes)).unwrap())])
}

fn both(margin: u64) -> Margins {
    Margins { before: margin, after: margin }
}

fn around(captures: &Captures, expression: &str, margin: u64) -> Around {
    captures.around(Filter::parse(expression).unwrap(), both(margin), (None, None)).unwrap().0
}

/// The ends of the events around those that pass, and how many were counted.
fn times(captures: &Captures, expression: &str, margin: u64, query: Query) -> (Vec<i64>, u64) {
    let around = Some(around(captures, expression, margin));
    let search = captures.query(Query { around, ..query }).unwrap();
    let mut events = search.events();
    let mut times = Vec::new();
    while let Some(event) = events.next() {
        times.push(event.end() - WALL);
    }
    assert_eq!(search.count().matching, times.len() as u64);
    (times, search.count().chunks_read)
}

#[test]
fn events_near_others_are_found() {
    let captures = captures(&[
        &[("getpid", 100, 0), ("getppid", 200, 0), ("getpid", 250, 0), ("getpid", 300, 0)],
        &[("getpid", 1000, 0), ("getppid", 1010, 0), ("getppid", 1050, 0), ("getpid", 1100, 0)],
        &[("getpid", 5000, 0), ("getpid", 6000, 0)],
    ]);
    let is_ppid = "evt.type = getppid";
    assert_eq!(times(&captures, is_ppid, 50, Query::default()).0, [200, 250, 1000, 1010, 1050, 1100]);
    assert_eq!(times(&captures, is_ppid, 0, Query::default()).0, [200, 1010, 1050]);
    let (found, chunks) = times(&captures, is_ppid, 100, Query::default());
    assert_eq!(found, [100, 200, 250, 300, 1000, 1010, 1050, 1100], "each event once");
    assert_eq!(chunks, 2, "the third chunk is not read");
    assert_eq!(times(&captures, is_ppid, u64::MAX, Query::default()).0.len(), 10);
    let others = Query::parse("evt.type = getpid").unwrap();
    assert_eq!(times(&captures, is_ppid, 50, others).0, [250, 1000, 1100], "other selections apply as well");
    let range = Query { from: Some(WALL + 1020), to: Some(WALL + 1090), ..Query::default() };
    assert_eq!(times(&captures, is_ppid, 50, range).0, [1050]);
    let none = around(&captures, "evt.type = close", 50);
    assert!(none.is_empty());
    assert_eq!(times(&captures, "evt.type = close", 50, Query::default()), (vec![], 0));
}

#[test]
fn time_before_others_ends_with_them() {
    let captures = captures(&[&[
        ("getpid", 900, 0),
        ("getpid", 960, 0),
        ("getppid", 1000, 0),
        ("getpid", 1010, 0),
        ("getpid", 1100, 0),
    ]]);
    let found = |margins: Margins, within: (Option<i64>, Option<i64>)| {
        let filter = Filter::parse("evt.type = getppid").unwrap();
        let (around, _) = captures.around(filter, margins, within).unwrap();
        let query = Query { from: within.0, to: within.1, around: Some(around), ..Query::default() };
        captures.query(query).unwrap().count().matching
    };
    let before = Margins { before: 50, after: 0 };
    assert_eq!(found(before, (None, None)), 2);
    assert_eq!(found(Margins { before: 0, after: 50 }, (None, None)), 2);
    // The other event is outside the range.
    assert_eq!(found(before, (None, Some(WALL + 980))), 1);
    assert_eq!(found(before, (Some(WALL + 1005), None)), 0);
}

#[test]
fn time_counts_from_the_start_and_the_end_of_an_event() {
    let captures =
        captures(&[&[("getpid", 90, 0), ("getpid", 500, 0), ("getppid", 1000, 900), ("getpid", 1150, 200)]]);
    // The call lasted from 100 to 1000; the last one began at 950.
    assert_eq!(times(&captures, "evt.type = getppid", 0, Query::default()).0, [500, 1000, 1150]);
    assert_eq!(times(&captures, "evt.type = getppid", 10, Query::default()).0, [90, 500, 1000, 1150]);
    assert_eq!(
        times(&captures, "evt.type = getpid and evt.latency > 0", 0, Query::default()).0,
        [1000, 1150]
    );
}

#[test]
fn events_outside_the_range_can_be_near_it() {
    let captures = captures(&[&[("getppid", 1000, 0), ("getpid", 1040, 0), ("getpid", 1200, 0)]]);
    let filter = Filter::parse("evt.type = getppid").unwrap();
    let within = (Some(WALL + 1030), None);
    let (near, _) = captures.around(filter.clone(), both(50), within).unwrap();
    let search = captures.query(Query { from: within.0, around: Some(near), ..Query::default() }).unwrap();
    assert_eq!(search.count().matching, 1);
    let (far, _) = captures.around(filter, both(50), (Some(WALL + 1060), None)).unwrap();
    assert!(far.is_empty());
}

#[test]
fn lost_events_count_if_they_may_be_near_or_be_one() {
    let mut chunk = TestChunk::new(&header(1));
    let cgroup = chunk.cgroup(1, "/", &[]);
    let task = chunk.task(7, 7, "app", cgroup);
    chunk.call(1000, task, &TestCall { dur: 0, ..call("getppid", &[], 1) });
    // Syscalls that were lost near it, and far from it; exits far from it.
    chunk.loss((990, 1010), 1, cgroup, task, 1);
    chunk.loss((9_000, 9_010), 1, cgroup, task, 20);
    chunk.loss((9_000, 9_010), 4, cgroup, task, 300);
    let bytes = file(&header(1), vec![chunk], &[]);
    let captures =
        Captures::new(vec![Capture::new("test", CaptureFile::from_reader(io::Cursor::new(bytes)).unwrap())]);
    let around = around(&captures, "evt.type = getppid", 100);
    let search = captures.query(Query { around: Some(around), ..Query::default() }).unwrap();
    let report = search.count();
    assert_eq!((report.matching, report.lost.total), (1, 21));
    let mut shown = Vec::new();
    let mut events = search.events();
    while let Some(event) = events.next() {
        shown.push((event.kind_name().to_owned(), event.end() - WALL));
    }
    assert_eq!(shown, [("syscall".to_owned(), 1000), ("loss".to_owned(), 1010)]);
}
