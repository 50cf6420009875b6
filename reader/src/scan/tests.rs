use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use capture_format::{CaptureFile, MetadataKey, MetadataRecord, StreamReader};

use super::*;
use crate::filter::Filter;
use crate::model::testing::{TestCall, TestChunk, WALL, call, file, header, id, sample};
use crate::model::{ChunkView, ContainerNames, Event};

/// Collects what it is given: host, table and when it ended.
#[derive(Default)]
struct Collect {
    events: Vec<(String, String, i64)>,
    limit: Option<usize>,
}

impl EventSink for Collect {
    fn event(&mut self, event: Event<'_>) -> io::Result<ControlFlow<()>> {
        let end = event.end() - WALL;
        self.events.push((event.view.binding.header.host.clone(), event.kind_name().to_owned(), end));
        Ok(if Some(self.events.len()) == self.limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn captures(files: impl IntoIterator<Item = Vec<u8>>) -> Captures {
    Captures::new(files.into_iter().map(opened).collect())
}

fn capture(bytes: Vec<u8>) -> Captures {
    captures([bytes])
}

fn opened(bytes: Vec<u8>) -> Capture {
    let file = CaptureFile::from_reader(io::Cursor::new(bytes)).unwrap();
    Capture::new("test", file)
}

fn replay(captures: &Captures, query: &Query) -> (Vec<(String, String, i64)>, ScanReport) {
    let mut sink = Collect::default();
    let report = captures.query(query.clone()).unwrap().send(&mut sink).unwrap();
    (sink.events, report)
}

fn filter(text: &str) -> Query {
    Query { filter: Some(Filter::parse(text).unwrap()), ..Query::default() }
}

/// A chunk of calls by one process that end at these times.
fn calls(uuid: u8, name: &str, times: &[u64], flags: u32) -> TestChunk {
    let mut chunk = TestChunk::new(&header(uuid));
    let cgroup = chunk.cgroup(7, "/docker/x", &[id('d')]);
    let task = chunk.task(10, 10, name, cgroup);
    for time in times {
        chunk.call(*time, task, &TestCall { flags, dur: 0, ..call("getppid", &[], 1) });
    }
    chunk
}

#[test]
fn files_of_two_hosts_come_in_one_order() {
    let a = file(
        &header(1),
        vec![calls(1, "a", &[10, 30, 50], 0), calls(1, "a", &[60, 80, 100], 0), calls(1, "a", &[120], 0)],
        &[],
    );
    let b = file(&header(2), vec![calls(2, "b", &[20, 40, 70, 90, 110], 0)], &[]);
    let (events, outcome) = replay(&captures([a, b]), &Query::default());
    let times: Vec<i64> = events.iter().map(|e| e.2).collect();
    assert_eq!(times, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]);
    assert_eq!(events.iter().filter(|e| e.0 == "host2").count(), 5);
    assert_eq!(outcome.matching, 12);
    assert!(!outcome.disordered && outcome.damaged.is_empty());
}

#[test]
fn concatenated_files_replay_as_both() {
    let mut bytes = file(&header(1), vec![calls(1, "a", &[10, 30], 0)], &[]);
    bytes.extend(file(&header(2), vec![calls(2, "b", &[20, 40], 0)], &[]));
    let (events, _) = replay(&capture(bytes), &Query::default());
    let order: Vec<(&str, i64)> = events.iter().map(|e| (e.0.as_str(), e.2)).collect();
    assert_eq!(order, [("host1", 10), ("host2", 20), ("host1", 30), ("host2", 40)]);
}

#[test]
fn late_events_are_put_in_their_place() {
    let mut late = calls(1, "a", &[60], 0);
    let cgroup = late.cgroup(7, "/", &[]);
    let task = late.task(11, 11, "late", cgroup);
    let flags = events::flags::LATE;
    late.call(20, task, &TestCall { flags, dur: 0, ..call("getppid", &[], 1) });
    let capture = capture(file(&header(1), vec![calls(1, "a", &[10, 30, 50], 0), late], &[]));
    let (events, _) = replay(&capture, &Query::default());
    assert_eq!(events.iter().map(|e| e.2).collect::<Vec<_>>(), [10, 20, 30, 50, 60]);
}

#[test]
fn chunks_that_cannot_match_are_not_read() {
    let chunks = || vec![calls(1, "a", &[10, 30], 0), calls(1, "b", &[1_000, 2_000], 0)];
    let read = |query: &Query| {
        let (events, outcome) = replay(&capture(file(&header(1), chunks(), &[])), query);
        (events.len(), outcome.chunks_read)
    };
    assert_eq!(read(&Query::default()), (4, 2));
    assert_eq!(read(&filter("evt.type=futex")), (0, 0));
    assert_eq!(read(&filter("proc.name=b")), (2, 2));
    assert_eq!(read(&Query { from: Some(WALL + 500), ..Query::default() }), (2, 1));
    assert_eq!(read(&Query { to: Some(WALL + 20), ..Query::default() }), (1, 1));
    let mut other = Containers::new(vec!["e".parse().unwrap()]);
    let mut known = KnownContainers::default();
    known.add_chain(id('e').as_bytes());
    other.resolve(&known, &ContainerNames::default()).unwrap();
    assert_eq!(read(&Query { containers: Some(other), ..Query::default() }), (0, 0));
}

#[test]
fn a_range_takes_what_overlaps_it() {
    let mut chunk = calls(1, "a", &[1_000, 3_000], 0);
    let cgroup = chunk.cgroup(7, "/", &[]);
    let task = chunk.task(11, 11, "long", cgroup);
    chunk.call(5_000, task, &TestCall { dur: 4_500, ..call("getppid", &[], 1) });
    let capture = capture(file(&header(1), vec![chunk], &[]));
    let range = |from: i64, to: i64| {
        let query = Query { from: Some(WALL + from), to: Some(WALL + to), ..Query::default() };
        replay(&capture, &query).0.iter().map(|e| e.2).collect::<Vec<_>>()
    };
    assert_eq!(range(2_000, 2_500), [5_000]);
    assert_eq!(range(1_000, 2_500), [1_000, 5_000]);
    assert_eq!(range(5_000, 9_000), [5_000]);
    assert_eq!(range(5_001, 9_000), [0i64; 0]);
    assert_eq!(range(0, 499), [0i64; 0]);
}

#[test]
fn a_container_takes_outer_and_inner_and_its_own_cgroup() {
    let capture = capture(file(&header(1), vec![sample(&header(1))], &[]));
    let known = capture.containers();
    assert_eq!(known.ids().count(), 3);
    let of = |wanted: &str| {
        let mut containers = Containers::new(vec![wanted.parse().unwrap()]);
        containers.resolve(&known, &ContainerNames::default()).unwrap();
        let (events, outcome) = replay(&capture, &Query { containers: Some(containers), ..Query::default() });
        (events.into_iter().map(|e| e.1).collect::<Vec<_>>().join(" "), outcome)
    };
    let (a, outcome) = of("a");
    assert_eq!(a, "syscall cgroup_mkdir syscall fork exit loss");
    assert_eq!((outcome.matching, outcome.lost.total), (5, 1234));
    for wanted in ["b", "c"] {
        let (events, outcome) = of(wanted);
        assert_eq!(events, "syscall exec", "outer includes inner");
        assert_eq!(outcome.lost.total, 0, "what was lost was of another container");
    }
}

#[test]
fn losses_count_if_they_could_have_matched() {
    let capture = capture(file(&header(1), vec![sample(&header(1))], &[]));
    let lost = |query: &Query| replay(&capture, query).1.lost.total;
    assert_eq!(lost(&Query::default()), 1234);
    assert_eq!(lost(&filter("proc.name=dd and evt.type=futex")), 1234);
    assert_eq!(lost(&filter("evt.category=exit")), 0);
    assert_eq!(lost(&filter("evt.type=exec")), 0);
    assert_eq!(lost(&filter("container.id=bb")), 0);
    assert_eq!(lost(&filter("container.id=aa")), 1234);
    assert_eq!(lost(&filter("fork.child_pid=3")), 0);
    // A part of a column belongs to its kind alone, as the column does.
    assert_eq!(lost(&filter("signal.target.pid=3")), 0);
    assert_eq!(lost(&filter("signal.target.pid!=3")), 1234);
    // Lost between 1 s and 1 s + 7 us.
    let s = WALL + 1_000_000_000;
    assert_eq!(lost(&Query { from: Some(s + 7_000), ..Query::default() }), 1234);
    assert_eq!(lost(&Query { from: Some(s + 7_001), ..Query::default() }), 0);
    assert_eq!(lost(&Query { to: Some(s - 1), ..Query::default() }), 0);
    assert_eq!(lost(&Query { to: Some(s), ..Query::default() }), 1234);
}

#[test]
fn loss_rows_are_counted_only_if_the_query_selects_them() {
    let capture = capture(file(&header(1), vec![sample(&header(1))], &[]));
    let count = |query: &Query| capture.query(query.clone()).unwrap().count().matching;
    assert_eq!(count(&Query::default()), 10);
    assert_eq!(count(&filter("proc.name=dd and evt.type=read")), 2);
    assert_eq!(count(&filter("evt.category=loss")), 1);
    assert_eq!(count(&filter("loss.count>2000")), 0);
}

#[test]
fn all_cores_find_what_is_found_in_order() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");
    let names = ["calls", "kinds", "killed"].map(|name| format!("{root}/{name}-0.1.ktape"));
    let captures = Captures::open(&names).unwrap();
    for text in [
        "evt.num > 0",
        "proc.name = sh or evt.failed = true",
        "evt.latency > 10us",
        "fd.name contains etc",
        "container.id != host",
        "switch.next.pid = 0",
    ] {
        let search = captures.query(Query::parse(text).unwrap()).unwrap();
        let mut events = search.events();
        let mut in_order = 0;
        while events.next().is_some() {
            in_order += 1;
        }
        let count = search.count();
        assert!(in_order > 0, "{text} matches nothing");
        assert_eq!((count.matching, events.report().matching), (in_order, in_order), "{text}");
    }
}

#[test]
fn reading_stops_when_the_sink_wants_no_more() {
    let capture = capture(file(&header(1), vec![sample(&header(1))], &[]));
    let mut sink = Collect { limit: Some(3), ..Collect::default() };
    capture.query(Query::default()).unwrap().send(&mut sink).unwrap();
    assert_eq!(sink.events.len(), 3);
}

#[test]
fn a_stream_gives_what_the_file_gives() {
    let bytes = file(&header(1), vec![sample(&header(1)), calls(1, "z", &[9_000_000_000], 0)], &[]);
    let (expected, _) = replay(&capture(bytes.clone()), &Query::default());
    let mut reader = StreamReader::new(io::Cursor::new(bytes));
    let mut outcome = ScanReport::default();
    let mut sink = Collect::default();
    let header = stream::first_header(&mut reader, &mut outcome).unwrap();
    replay_stream(&mut reader, header, Query::default(), Some(&mut sink), &mut outcome).unwrap();
    assert_eq!(sink.events, expected);
    assert_eq!((outcome.matching, outcome.lost.total), (11, 1234));
}

#[test]
fn an_ambiguous_container_stops_a_stream() {
    let mut chunk = TestChunk::new(&header(1));
    for (cgroup, name) in [(1, "shop-1"), (2, "shop-2")] {
        let cgroup = chunk.cgroup(cgroup, "/", &[name.to_owned()]);
        let task = chunk.task(5, 5, "x", cgroup);
        chunk.exit(10, task, 0, 0);
    }
    let bytes = file(&header(1), vec![chunk], &[]);
    let mut reader = StreamReader::new(io::Cursor::new(bytes));
    let mut outcome = ScanReport::default();
    let header = stream::first_header(&mut reader, &mut outcome).unwrap();
    let containers = Some(Containers::new(vec!["shop".parse().unwrap()]));
    let query = Query { containers, ..Query::default() };
    let error = replay_stream(&mut reader, header, query, None, &mut outcome).unwrap_err();
    assert_eq!(error.to_string(), "container `shop` is ambiguous: shop-1, shop-2");
}

#[test]
fn a_copy_keeps_identity_and_the_names_it_needs() {
    let record = |cgroup: u64, letter: char| MetadataRecord {
        key: MetadataKey { boot_id: [1; 16], cgroup, birth: 0 },
        values: vec![
            ("container.full_id".to_owned(), id(letter)),
            ("container.name".to_owned(), format!("name-{letter}")),
        ],
    };
    let original = capture(file(&header(1), vec![sample(&header(1))], &[record(11, 'a'), record(12, 'c')]));
    let mut out = Vec::new();
    let query = filter("container.name=name-c");
    let outcome = original.query(query).unwrap().copy(&mut out).unwrap();
    assert_eq!(outcome.matching, 2);
    let copy = capture(out);
    let (old, new) = (&original.files()[0].file.segments()[0], &copy.files()[0].file.segments()[0]);
    // The recorder's command line can contain any name.
    let shown =
        capture_format::Header { command_line: Vec::new(), ..capture_format::Header::clone(&old.header) };
    assert_eq!(*new.header, shown);
    assert!(new.complete);
    let kept: Vec<&MetadataKey> = copy.files()[0].file.metadata().keys().collect();
    assert_eq!(kept, [&record(12, 'c').key]);
    let chunk = copy.files()[0].file.read_chunk(&new.chunks[0]).unwrap();
    let view = ChunkView::open(&chunk, &copy.files()[0].bindings[0]).unwrap();
    // Losses of another container cannot matter for this query.
    assert_eq!((view.task_rows(), view.cgroup_rows()), (1, 1));
    let (events, _) = replay(&copy, &Query::default());
    assert_eq!(events.iter().map(|e| e.1.as_str()).collect::<Vec<_>>(), ["syscall", "exec"]);
}

#[test]
fn an_empty_copy_is_a_capture() {
    let original = capture(file(&header(1), vec![sample(&header(1))], &[]));
    let mut out = Vec::new();
    original.query(filter("evt.category=rename_task")).unwrap().copy(&mut out).unwrap();
    let copy = capture(out);
    assert_eq!(copy.files()[0].file.segments()[0].header.host, "host1");
    assert_eq!(copy.files()[0].file.chunks().count(), 0);
}

#[test]
fn speeds_are_factors() {
    assert!(Playback::parse("1x").is_some() && Playback::parse("0.5").is_some());
    for bad in ["0x", "-1", "x", "fast", "inf"] {
        assert!(Playback::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn an_unknown_kind_from_the_future_is_shown_with_its_names() {
    use capture_format::{ColumnSchema, ColumnType, Schema, TableId, TableRole, TableSchema};
    let mut tables = crate::model::schema().tables().to_vec();
    let column = |name: &str, ty: ColumnType| ColumnSchema {
        name: name.to_owned(),
        ty,
        semantic: "new".to_owned(),
        doc: String::new(),
    };
    let mut columns = tables[0].columns[..4].to_vec();
    columns.extend([column("depth", ColumnType::U64), column("device", ColumnType::Bytes)]);
    tables.push(TableSchema {
        id: TableId(99),
        name: "beam".to_owned(),
        role: TableRole::Event,
        columns,
        time: Some(0),
        duration: None,
        summary: Vec::new(),
    });
    let exit = tables.iter_mut().find(|t| t.name == "exit").unwrap();
    exit.columns.push(column("votes", ColumnType::I64));
    let header = capture_format::Header { schema: Arc::new(Schema::new(tables).unwrap()), ..header(1) };
    let mut chunk = TestChunk::new(&header);
    let cgroup = chunk.cgroup(1, "/", &[]);
    let task = chunk.task(5, 5, "x", cgroup);
    let device = chunk.builder.intern(b"sda\n");
    let table = chunk.builder.table(TableId(99));
    table.push_u64(0, 1_000_000_000);
    table.push_u64(1, 3);
    table.push_ref(2, task);
    table.push_u64(3, 0);
    table.push_u64(4, 17);
    table.push_bytes(5, device);
    table.end_row();
    let table = chunk.builder.table(crate::model::event_table(events::Kind::Exit));
    table.push_u64(0, 1_000_000_001);
    table.push_u64(1, 3);
    table.push_ref(2, task);
    table.push_u64(3, 0);
    table.push_i64(4, 2);
    table.push_u64(5, 0);
    table.push_u64(6, 0);
    table.push_u64(7, 1);
    table.push_i64(8, -3);
    table.end_row();
    let capture = capture(file(&header, vec![chunk], &[]));
    let mut out = Vec::new();
    let view = crate::view::Format::Text.view(jiff::tz::TimeZone::UTC);
    let mut sink = PrintSink::new(view, &mut out, None, None);
    capture.query(Query::default()).unwrap().send(&mut sink).unwrap();
    drop(sink);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "12:00:01.000000000 3 - x(5) beam depth=17 device=\"sda\\n\"\n\
         12:00:01.000000001 3 - x(5) exit process status=2 votes=-3\n"
    );
}

#[test]
fn absurd_values_are_printed_not_tripped_over() {
    let header = header(1);
    let mut chunk = TestChunk::new(&header);
    let cgroup = chunk.cgroup(u64::MAX - 1, "/\u{1b}[2J", &["x".repeat(200)]);
    let task = chunk.task(u64::MAX, 1, "\n\n", cgroup);
    for time in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        for name in ["openat", "connect", "mmap", "kill", "exit_group"] {
            for (args, ret) in [(&[][..], i64::MIN), (&[u64::MAX; 6][..], i64::MAX), (&[1; 12][..], -4096)] {
                let strs = vec![vec![0xff; 3], vec![2, 0, 1], b"\r".to_vec()];
                let test =
                    TestCall { strs, dur: time, flags: (time as u32) & 0xfdf, ..call(name, args, ret) };
                chunk.call(time, task, &test);
            }
        }
        chunk.exit(time, task, i64::MIN, time);
        chunk.loss((time, 1), time, cgroup, task, u64::MAX);
        chunk.exec(time, task, b"", b"\0\0");
    }
    let capture = capture(file(&header, vec![chunk], &[]));
    for format in [crate::view::Format::Text, crate::view::Format::Json, crate::view::Format::Csv] {
        let mut out = Vec::new();
        let mut sink = PrintSink::new(format.view(jiff::tz::TimeZone::UTC), &mut out, None, None);
        let query = filter("evt.reltime < 0 or evt.args contains x or evt.num >= 0 or loss.count > 0");
        let outcome = capture.query(query).unwrap().send(&mut sink).unwrap();
        drop(sink);
        assert_eq!(outcome.lost.total, u64::MAX);
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().count() >= 90, "{}", text.lines().count());
        assert!(!text.bytes().any(|b| b < 0x20 && b != b'\n'));
    }
}

#[test]
fn times_between_captures_are_gaps() {
    const SECOND: u64 = 1_000_000_000;
    let at =
        |from: u64| file(&header(1), vec![calls(1, "read", &[from * SECOND, (from + 2) * SECOND], 0)], &[]);
    let range = |seconds: u64| Some((WALL, WALL + (seconds * SECOND) as i64));
    let two = captures([at(0), at(100)]);
    assert_eq!(two.gaps(range(102)), Some((4 * SECOND, 102 * SECOND)));
    assert_eq!(two.gaps(None), None);
    // Less than what is between two chunks of one capture is no gap.
    assert_eq!(captures([at(0), at(5), at(12)]).gaps(range(14)), None);
    // Captures that overlap count once.
    assert_eq!(captures([at(0), at(1), at(100)]).gaps(range(102)), Some((5 * SECOND, 102 * SECOND)));
}
