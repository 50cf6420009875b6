mod ancestors;

use std::io::Cursor;

use capture_format::{CaptureFile, MetadataKey, MetadataRecord, StrId, SummaryValue};
use events::{COMMON, Kind, RECORDED, Storage, Ty};
use jiff::tz::TimeZone;

use super::*;
use crate::filter::Filter;
use crate::model::dictionaries::PARENT_ON_HOST;
use crate::model::testing::{TestCall, TestChunk, TestFile, TestParent, call, file, header, id};
use crate::model::{ContainerNames, event_table};
use crate::scan::{Capture, Captures, Containers, PrintSink};
use crate::view::Format;

/// A party of an event: the rows of its thread and its cgroup, and its process id.
#[derive(Clone, Copy)]
struct Who {
    task: u32,
    cgroup: u32,
    pid: u64,
}

/// Threads of two containers and two of the host. Every string of container `b` contains `secret`; its
/// numbers are [`SECRETS`].
struct Parties {
    a: Who,
    b: Who,
    host: Who,
    other_host: Who,
}

/// Numbers of container `b`: of its cgroup and its process.
const SECRETS: [u64; 2] = [770_012, 770_777];

fn parties_of(chunk: &mut TestChunk) -> Parties {
    let mut who = |cgroup: (u64, String, Vec<String>), pid: u64, name: &str| {
        let cgroup = chunk.cgroup(cgroup.0, &cgroup.1, &cgroup.2);
        Who { task: chunk.task(pid, pid, name, cgroup), cgroup, pid }
    };
    Parties {
        a: who((11, format!("/docker/{}", id('a')), vec![id('a')]), 4000, "name-a"),
        b: who((SECRETS[0], format!("/docker/{}", id('b')), vec![id('b')]), SECRETS[1], "secret-b"),
        host: who((1, "/system.slice".to_owned(), Vec::new()), 100, "name-h"),
        other_host: who((2, "/user.slice".to_owned(), Vec::new()), 200, "bob-shell"),
    }
}

/// An event of a kind that is about one party and mentions another one wherever it can.
fn add(chunk: &mut TestChunk, kind: Kind, subject: Who, other: Who) {
    let plain = chunk.builder.intern(b"plain");
    let table = chunk.builder.table(event_table(kind));
    for (value, column) in [(5_000_000_000, 0), (1, 1), (0, 3)] {
        table.push_u64(column, value);
    }
    table.push_ref(2, if kind == Kind::Loss { other.task } else { subject.task });
    for (at, column) in kind.decl().columns.iter().enumerate() {
        let at = COMMON.len() + at;
        let pid = if column.name == "old_tid" { subject.pid } else { other.pid };
        match column.ty.storage() {
            Storage::U64 => table.push_u64(at, if column.ty == Ty::Pid { pid } else { 1 }),
            Storage::I64 => table.push_i64(at, 1),
            Storage::Bytes => table.push_bytes(at, plain),
            Storage::U64List => table.push_list_u64(at, &[]),
            Storage::BytesList => table.push_list_bytes(at, &[]),
            Storage::TaskRow => table.push_ref(at, other.task),
            Storage::FileRow => table.push_ref(at, 0),
            Storage::CgroupRow => {
                table.push_ref(at, if kind == Kind::Sample { subject.cgroup } else { other.cgroup });
            }
        }
    }
    table.end_row();
}

fn named(letter: char, name: &str) -> MetadataRecord {
    let cgroup = if letter == 'b' { SECRETS[0] } else { 11 };
    let values = [("container.full_id", id(letter)), ("container.name", name.to_owned())];
    MetadataRecord {
        key: MetadataKey { boot_id: [1; 16], cgroup, birth: 0 },
        values: values.map(|(name, value)| (name.to_owned(), value)).into(),
    }
}

fn opened(bytes: Vec<u8>) -> Captures {
    let file = CaptureFile::from_reader(Cursor::new(bytes)).unwrap();
    Captures::new(vec![Capture::new("test", file)])
}

fn recorded(chunk: TestChunk) -> Captures {
    let mut header = header(1);
    header.command_line.push(b"--container=secret-b".to_vec());
    header.options.push(("container".to_owned(), "secret-b".to_owned()));
    opened(file(&header, vec![chunk], &[named('a', "web"), named('b', "secret-name")]))
}

fn copied(captures: &Captures, query: Query) -> Captures {
    let mut out = Vec::new();
    captures.query(query).unwrap().copy(&mut out).unwrap();
    opened(out)
}

fn expression(text: &str) -> Query {
    Query::from(Filter::parse(text).unwrap())
}

fn container(captures: &Captures, wanted: &str) -> Query {
    let mut containers = Containers::new(vec![wanted.parse().unwrap()]);
    containers.resolve(&captures.containers(), &ContainerNames::default()).unwrap();
    Query { containers: Some(containers), ..Query::default() }
}

fn printed(captures: &Captures, format: Format) -> String {
    let mut out = Vec::new();
    let mut sink = PrintSink::new(format.view(TimeZone::UTC), &mut out, None, None);
    captures.query(Query::default()).unwrap().send(&mut sink).unwrap();
    drop(sink);
    String::from_utf8(out).unwrap()
}

/// Everything in a capture: strings and numbers of its chunks, headers, summaries, metadata, and its events in each format.
fn everything(captures: &Captures) -> String {
    let mut all = String::new();
    let file = &captures.files()[0].file;
    for segment in file.segments() {
        all += &format!("{:?} {:?} ", segment.header.command_line, segment.header.options);
        for entry in &segment.chunks {
            let chunk = file.read_chunk(entry).unwrap();
            for string in 0..chunk.string_count().unwrap() as u32 {
                all += &String::from_utf8_lossy(chunk.str(StrId(string)));
                all.push(' ');
            }
            for table in chunk.schema().tables() {
                let Some(rows) = chunk.table(table.id) else { continue };
                for column in 0..table.columns.len() as u16 {
                    if let Ok(ColumnView::U64(numbers)) = rows.column(column) {
                        all += &format!("{numbers:?} ");
                    }
                }
            }
            let binding = &captures.files()[0].bindings[entry.segment];
            if let capture_format::SummaryValues::Kept(values) =
                crate::filter::prune::chains(binding, &entry.summary)
            {
                for (value, _) in values {
                    let SummaryValue::Bytes(chain) = value else { continue };
                    all += &String::from_utf8_lossy(chain);
                }
            }
        }
    }
    for key in file.metadata().keys() {
        all += &format!("{:?} ", file.metadata().values(key).collect::<Vec<_>>());
    }
    all + &printed(captures, Format::Text)
        + &printed(captures, Format::Json)
        + &printed(captures, Format::Csv)
}

fn secrets() -> Vec<String> {
    let numbers = SECRETS.map(|number| number.to_string());
    ["secret".to_owned(), id('b')[..12].to_owned()].into_iter().chain(numbers).collect()
}

#[track_caller]
fn assert_contains_nothing_of_b(what: &str, copy: &Captures) {
    let all = everything(copy);
    for secret in secrets() {
        assert!(!all.contains(&secret), "{what}: {secret}\n{all}");
    }
}

fn one(kind: Kind, choose: impl Fn(&Parties) -> (Who, Who)) -> Captures {
    let mut chunk = TestChunk::new(&header(1));
    let parties = parties_of(&mut chunk);
    let (subject, other) = choose(&parties);
    // So that there is an event of both, whatever the kind is.
    chunk.call(4_000_000_000, parties.a.task, &call("getppid", &[], 1));
    chunk.call(4_000_000_001, parties.b.task, &call("getppid", &[], 1));
    add(&mut chunk, kind, subject, other);
    recorded(chunk)
}

fn rows_of(captures: &Captures, kind: Kind) -> u64 {
    let mut rows = 0;
    for entry in captures.files()[0].file.chunks() {
        rows += u64::from(entry.summary.rows(event_table(kind)));
    }
    rows
}

#[test]
fn other_parties_in_containers_that_are_not_selected_are_hidden() {
    for kind in RECORDED.iter() {
        let original = one(kind, |parties| (parties.a, parties.b));
        if kind.has_other_parties() && kind != Kind::Sample {
            let all = everything(&original);
            assert!(secrets().iter().all(|secret| all.contains(secret)), "{kind:?}: the search finds it");
        }
        let short = &id('a')[..12];
        let queries = [
            ("--container", container(&original, "aaaa")),
            ("container.id", expression(&format!("container.id = {short}"))),
            ("container.name", expression("container.name = web")),
            ("proc.name", expression("proc.name = name-a")),
            ("or", expression("proc.name = name-a or signal.signal = 17")),
            ("a function", expression("toupper(proc.name) = NAME-A")),
            ("two fields", expression("proc.pid = val(thread.tid) and proc.name regex '.*-a'")),
        ];
        for (name, query) in queries {
            let copy = copied(&original, query);
            let about_recording = matches!(kind, Kind::Loss | Kind::Clock);
            assert!(about_recording || rows_of(&copy, kind) >= 1, "{kind:?}, {name}: it is selected");
            assert_contains_nothing_of_b(&format!("{kind:?}, {name}"), &copy);
        }
    }
}

#[test]
fn subjects_in_containers_that_are_not_selected_are_hidden() {
    for kind in RECORDED.iter().filter(|kind| kind.has_other_parties()) {
        let original = one(kind, |parties| (parties.b, parties.a));
        let copy = copied(&original, container(&original, "aaaa"));
        let concerns = !matches!(kind, Kind::Stall | Kind::StallOngoing | Kind::Sample);
        assert_eq!(rows_of(&copy, kind), u64::from(concerns), "{kind:?}");
        assert_contains_nothing_of_b(&format!("{kind:?}"), &copy);
    }
}

#[test]
fn hidden_parties_are_marked_in_every_view() {
    let original = one(Kind::Switch, |parties| (parties.a, parties.b));
    let copy = copied(&original, container(&original, "aaaa"));
    let text = printed(&copy, Format::Text);
    assert!(text.contains(" web name-a(4000) switch ") && text.contains(" next=? "), "{text}");
    let json = printed(&copy, Format::Json);
    assert!(json.contains(r#""switch.next.container":"?""#), "{json}");
    assert!(!json.contains("switch.next.pid") && !json.contains(r#""switch.next":"#), "{json}");
    for matching in
        ["switch.next.pid = 0", "switch.next = idle", "switch.next exists", "switch.next.tid exists"]
    {
        let found = copy.query(expression(matching)).unwrap().count().matching;
        assert_eq!(found, 0, "{matching}");
    }

    let original = one(Kind::Signal, |parties| (parties.b, parties.a));
    let copy = copied(&original, container(&original, "aaaa"));
    let text = printed(&copy, Format::Text);
    assert!(text.contains(" ? ? signal ") && text.contains(" target=name-a(4000)@web "), "{text}");
    for kind in [Kind::Fork, Kind::CgroupAttach, Kind::CgroupMkdir] {
        let original = one(kind, |parties| (parties.a, parties.b));
        let text = printed(&copied(&original, container(&original, "aaaa")), Format::Text);
        assert!(text.contains(" cgroup=?"), "{kind:?}: {text}");
    }
}

#[test]
fn an_idle_cpu_stays_idle() {
    let mut chunk = TestChunk::new(&header(1));
    let Parties { a, .. } = parties_of(&mut chunk);
    let root = chunk.cgroup(1, "/", &[]);
    let idle = chunk.task(0, 0, "", root);
    add(&mut chunk, Kind::Switch, a, Who { task: idle, cgroup: root, pid: 0 });
    let original = recorded(chunk);
    for query in [container(&original, "aaaa"), expression("proc.name = name-a")] {
        let copy = copied(&original, query);
        assert_eq!(copy.query(expression("switch.next = idle")).unwrap().count().matching, 1);
    }
}

#[test]
fn copies_by_time_kind_or_call_hide_nothing() {
    let original = one(Kind::Signal, |parties| (parties.a, parties.b));
    let kinds = Filter::of_events(&["signal,switch".to_owned()], |_| false).unwrap();
    let queries = [
        Query::default(),
        Query { from: Some(0), ..Query::default() },
        Query { filter: kinds, ..Query::default() },
        expression("evt.type = signal"),
    ];
    for query in queries {
        let copy = copied(&original, query.clone());
        let all = everything(&copy);
        assert!(secrets().iter().all(|secret| all.contains(secret)), "{query:?}\n{all}");
        let headers = |captures: &Captures| captures.files()[0].file.segments()[0].header.clone();
        assert_eq!(headers(&copy), headers(&original));
    }
}

#[test]
fn parties_that_an_expression_names_are_shown() {
    let original = one(Kind::Signal, |parties| (parties.a, parties.b));
    for named in [
        "signal.target.container = bbbbbbbbbbbb",
        "signal.target_pid = 770777",
        "signal.target = secret-b",
        "toupper(signal.target) = SECRET-B",
        "signal.target endswith val(signal.target)",
        "proc.pid < val(signal.target.pid)",
    ] {
        let json = printed(&copied(&original, expression(named)), Format::Json);
        for shown in [
            r#""signal.target.pid":770777"#,
            r#""signal.target_pid":770777"#,
            r#""signal.target":"secret-b""#,
        ] {
            assert!(json.contains(shown), "{named}: {json}");
        }
    }
    for negated in ["signal.target != x", "signal.target != val(proc.name)", "not tolower(signal.target) = x"]
    {
        let query = expression(&format!("{negated} and proc.pid = 4000"));
        let json = printed(&copied(&original, query), Format::Json);
        assert!(!json.contains("secret"), "a negated comparison selects no party: {negated}: {json}");
    }
}

#[test]
fn names_and_ids_of_the_host_are_shown_in_events_of_containers() {
    let original = one(Kind::Signal, |parties| (parties.a, parties.host));
    for query in [container(&original, "aaaa"), expression("proc.name = name-a")] {
        let all = everything(&copied(&original, query));
        assert!(
            all.contains(r#""signal.target":"name-h""#) && all.contains(r#""signal.target_pid":100"#),
            "{all}"
        );
        assert!(!all.contains("/usr/bin/name-h") && !all.contains("name-h -v"), "{all}");
    }
    // A copy of a process of the host is not one of the host.
    let original = one(Kind::Signal, |parties| (parties.host, parties.other_host));
    let all = everything(&copied(&original, expression("proc.name = name-h")));
    assert!(!all.contains("bob-shell") && !all.contains("200"), "{all}");
    assert!(all.contains("name-h -v") || all.contains("name-h\0-v"), "{all}");
}

#[test]
fn parents_are_shown_if_they_are_selected_or_on_the_host() {
    let of = |parent: TestParent<'_>| {
        let mut chunk = TestChunk::new(&header(1));
        let Parties { a, .. } = parties_of(&mut chunk);
        let task = chunk.child(parent, (4001, 4001), "child", a.cgroup);
        chunk.call(4_000_000_000, task, &call("getppid", &[], 1));
        recorded(chunk)
    };
    let pname = |captures: &Captures, query: Query| {
        let copy = copied(captures, query);
        let has = |field: &str| {
            let of_child = format!("{field} exists and proc.name = child");
            copy.query(expression(&of_child)).unwrap().count().matching == 1
        };
        assert_eq!(has("proc.ppid"), has("proc.pname"));
        has("proc.pname")
    };
    let own = id('a');
    let inner = format!("{own}>{}", id('c'));
    let other = id('b');
    let cases = [
        ("the same container", TestParent { pid: 9, name: "x", chain: &own }, true),
        ("inside of it", TestParent { pid: 9, name: "x", chain: &inner }, true),
        ("the host", TestParent { pid: 9, name: "x", chain: PARENT_ON_HOST }, true),
        ("another container", TestParent { pid: 9, name: "x", chain: &other }, false),
        ("unknown", TestParent { pid: 9, name: "x", chain: "" }, false),
        ("unknown, and there in the same container", TestParent { pid: 4000, name: "x", chain: "" }, true),
        ("unknown, and there in another one", TestParent { pid: SECRETS[1], name: "x", chain: "" }, false),
        ("init", TestParent { pid: 1, name: "x", chain: "" }, true),
    ];
    for (what, parent, shown) in cases {
        let original = of(parent);
        let by_container = container(&original, "aaaa");
        assert_eq!(pname(&original, by_container), shown, "--container, {what}");
        assert_eq!(pname(&original, expression("proc.name = child")), shown, "proc.name, {what}");
        assert!(pname(&original, expression("proc.pname = x")), "compared by the expression: {what}");
        assert!(pname(&original, Query::default()), "no selection: {what}");
    }
}

#[test]
fn selected_parties_are_shown_in_later_chunks() {
    let chunk = |subject: fn(&Parties) -> Who, other: fn(&Parties) -> Who| {
        let mut chunk = TestChunk::new(&header(1));
        let parties = parties_of(&mut chunk);
        add(&mut chunk, Kind::Signal, subject(&parties), other(&parties));
        chunk
    };
    let chunks = vec![chunk(|p| p.other_host, |p| p.host), chunk(|p| p.host, |p| p.other_host)];
    let original = opened(file(&header(1), chunks, &[]));
    let json = printed(&copied(&original, expression("proc.name in (name-h, bob-shell)")), Format::Json);
    let targets = json.matches(r#""signal.target":"#).count();
    assert_eq!(targets, 1, "{json}");
}

#[test]
fn a_copy_of_an_inner_container_has_no_metadata_of_the_outer_one() {
    let mut chunk = TestChunk::new(&header(1));
    let inner = chunk.cgroup(12, "/docker/b/docker/c", &[id('b'), id('c')]);
    let task = chunk.task(10, 10, "x", inner);
    chunk.call(1_000_000_000, task, &call("getppid", &[], 1));
    let mut names = [named('b', "outer"), named('c', "inner")];
    names[1].key.cgroup = 12;
    let original = opened(file(&header(1), vec![chunk], &names));
    let known = |captures: &Captures| {
        let metadata = captures.files()[0].file.metadata();
        let mut known: Vec<String> = metadata
            .keys()
            .map(|key| metadata.get(key, "container.name").unwrap_or_default().to_owned())
            .collect();
        known.sort();
        known
    };
    assert_eq!(known(&copied(&original, container(&original, "cccc"))), ["inner"]);
    assert_eq!(known(&copied(&original, container(&original, "bbbb"))), ["inner", "outer"]);
}

#[test]
fn files_of_other_events_are_not_in_a_copy() {
    let mut chunk = TestChunk::new(&header(1));
    let Parties { a, b, host, .. } = parties_of(&mut chunk);
    let mut file = |path: &str, peer: Who| {
        chunk.file(&TestFile { ty: "unix", path, peer_pid: peer.pid, ..TestFile::default() })
    };
    let files = [file("/run/own", b), file("/run/secret", a), file("/run/of-host", host)];
    for (time, who, file) in [(1, a, files[0]), (2, b, files[1]), (3, a, files[2])] {
        let close = TestCall { files: [file, 0], ..call("close", &[3], 0) };
        chunk.call(4_000_000_000 + time, who.task, &close);
    }
    let original = recorded(chunk);
    let all = everything(&original);
    assert!(all.contains("/run/secret") && all.contains(&SECRETS[1].to_string()));
    for query in [
        container(&original, "aaaa"),
        expression("proc.name = name-a"),
        expression("fd.name in (/run/own, /run/of-host)"),
    ] {
        let copy = copied(&original, query);
        let text = printed(&copy, Format::Text);
        assert!(text.contains("close(3<UNIX:[/run/own]>)"), "{text}");
        assert!(text.contains("close(3<UNIX:[/run/of-host]>)"), "{text}");
        assert_contains_nothing_of_b("the files of its calls, and that it is a peer", &copy);
    }
    let of_host = copied(&original, expression("fd.name = /run/of-host"));
    assert!(!everything(&of_host).contains("/run/own"));
}
