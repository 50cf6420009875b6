use std::io::Cursor;

use capture_format::{CaptureFile, MetadataKey, MetadataRecord};

use super::*;
use ktape_reader::model::dictionaries::PARENT_ON_HOST;
use ktape_reader::model::testing::{TestChunk, TestParent, call, file, header, id};
use ktape_reader::scan::{Capture, Captures};

/// `make` (60) below `bash` and `systemd`, with two compilers, the first of which ends in a second chunk; `app` in a container.
fn capture(host: u8) -> Capture {
    let header = header(host);
    let mut chunk = TestChunk::new(&header);
    let host = chunk.cgroup(1, "/", &[]);
    let in_a = chunk.cgroup(2, "/docker/a", &[id('a')]);
    let systemd = chunk.process(None, 1, "systemd", "");
    let bash = chunk.process(Some((1, systemd)), 50, "bash -l", PARENT_ON_HOST);
    let make = chunk.process(Some((50, bash)), 60, "make -j2", PARENT_ON_HOST);
    let first = chunk.process(Some((60, make)), 70, "cc one.c", PARENT_ON_HOST);
    let second = chunk.process(Some((60, make)), 80, "cc two\u{1b}.c", PARENT_ON_HOST);
    let app = chunk.process(Some((1, systemd)), 90, "app", PARENT_ON_HOST);
    let (main, other) = (chunk.thread(make, 60, "make", host), chunk.thread(make, 61, "jobs", host));
    let first = chunk.thread(first, 70, "cc", host);
    let second = chunk.thread(second, 80, "cc", host);
    let app = chunk.thread(app, 90, "app", in_a);
    for task in [main, main, other, first, app] {
        chunk.call(1_000_000_000, task, &call("getppid", &[], 1));
    }
    let nameless = chunk.nameless(80, 80, host);
    chunk.call(1_000_000_001, nameless, &call("close", &[3], 0));
    chunk.exit(2_000_000_000, second, 1, 0);
    chunk.exit(2_500_000_000, app, 0, 9);
    let mut later = TestChunk::new(&header);
    let cgroup = later.cgroup(1, "/", &[]);
    // Its parent has ended.
    let adopted = later.process(None, 70, "cc one.c", "");
    let adopted = later.thread(adopted, 70, "cc", cgroup);
    later.exit(3_500_000_000, adopted, 0, 0);
    let metadata = MetadataRecord {
        key: MetadataKey { boot_id: header.boot_id, cgroup: 2, birth: 0 },
        values: vec![
            ("container.full_id".to_owned(), id('a')),
            ("container.name".to_owned(), "web".to_owned()),
        ],
    };
    let bytes = file(&header, vec![chunk, later], &[metadata]);
    Capture::new("test", CaptureFile::from_reader(Cursor::new(bytes)).unwrap())
}

fn tree(captures: &Captures, filter: Option<&str>) -> shape::Tree {
    let filter = filter.map(|text| Filter::parse(text).unwrap());
    let gathered = gather::from(captures, filter).unwrap();
    assert!(gathered.damaged.is_empty());
    shape::Tree::new(gathered.processes)
}

fn drawn(captures: Vec<Capture>, filter: Option<&str>, is_ascii: bool, width: Option<usize>) -> String {
    let captures = Captures::new(captures);
    let mut out = Vec::new();
    let tree = tree(&captures, filter);
    Lines::new(&tree, captures.span().start).write(Style { is_ascii, width }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn processes_stand_below_their_parents() {
    assert_eq!(
        drawn(vec![capture(1)], None, false, None),
        concat!(
            " START    END  DURATION  EXIT     USER   CONTAINER  THREADS  EVENTS  PROCESS\n",
            " +10ns                                                               systemd(1)\n",
            "+500ns                                                               ├─ bash(50) -l\n",
            "+600ns                            alice                   2       3  │  └─ make(60) -j2\n",
            "+700ns  +3.5s      3.4s  0        alice                   1       2  │     ├─ cc(70) one.c\n",
            "+800ns  +2.0s      1.9s  1        alice                   1       2  │     └─ cc(80) two\\e.c\n",
            "+900ns  +2.5s      2.4s  SIGKILL  alice  web              1       2  └─ app(90)\n",
        )
    );
}

#[test]
fn an_expression_selects_processes_and_shows_their_ancestors() {
    assert_eq!(
        drawn(vec![capture(1)], Some("evt.type = close"), true, None),
        concat!(
            " START    END  DURATION  EXIT  USER   THREADS  EVENTS  PROCESS\n",
            " +10ns                                                 systemd(1)\n",
            "+500ns                                                 `- bash(50) -l\n",
            "+600ns                         alice        2             `- make(60) -j2\n",
            "+800ns  +2.0s      1.9s  1     alice        1       1        `- cc(80) two\\e.c\n",
        )
    );
    assert_eq!(drawn(vec![capture(1)], Some("evt.type = open"), true, None), "");
}

#[test]
fn lines_are_cut_to_the_width_of_a_terminal() {
    let text = drawn(vec![capture(1)], Some("proc.pid = 60"), true, Some(47));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[3], "+600ns  alice        2       3     `- make(6...");
    assert!(lines.iter().all(|line| line.len() <= 47), "{text}");
}

#[test]
fn processes_of_several_hosts_are_not_mixed() {
    let text = drawn(vec![capture(2), capture(1)], Some("proc.pid = 60"), true, None);
    let hosts: Vec<&str> = text.lines().skip(1).map(|line| &line[..5]).collect();
    assert_eq!(hosts, ["host1", "host1", "host1", "host2", "host2", "host2"], "{text}");
}

#[test]
fn json_has_one_object_for_each_process() {
    let captures = Captures::new(vec![capture(1)]);
    let mut out = Vec::new();
    text::write_json(&tree(&captures, Some("proc.name = app or exit.status = 1")), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let pids: Vec<u64> = lines.iter().map(|line| line["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, [1, 50, 60, 80, 90]);
    let expected = serde_json::json!({
        "host": "host1", "pid": 80, "ppid": 60, "parent_start": "2026-11-22T12:00:00.000000600Z", "depth": 3,
        "name": "cc", "exepath": "/usr/bin/cc", "args": ["cc", "two\\e.c"],
        "start": "2026-11-22T12:00:00.000000800Z", "end": "2026-11-22T12:00:02.000000000Z", "duration": 1_999_999_200u64,
        "status": 1, "user": "alice", "threads": 1, "events": 1,
    });
    assert_eq!(lines[3], expected);
    assert_eq!((&lines[4]["signal"], &lines[4]["container"]), (&"SIGKILL".into(), &"web".into()));
    assert!(lines[4].get("status").is_none() && lines[0].get("end").is_none());
}

#[test]
fn parents_without_rows_are_known_by_id_and_name() {
    let header = header(1);
    let mut chunk = TestChunk::new(&header);
    let host = chunk.cgroup(1, "/", &[]);
    // As in captures of older versions: without rows of parents.
    let child = chunk.child(TestParent { pid: 7, name: "gone", chain: "" }, (601, 601), "child", host);
    chunk.call(1_000_000_000, child, &call("getppid", &[], 1));
    let bytes = file(&header, vec![chunk], &[]);
    let capture = Capture::new("test", CaptureFile::from_reader(Cursor::new(bytes)).unwrap());
    let text = drawn(vec![capture], None, true, None);
    let trees: Vec<&str> = text.lines().skip(1).map(|line| line.split("  ").last().unwrap().trim()).collect();
    assert_eq!(trees, ["gone(7)", "`- child(601) -v \"x y\""], "{text}");
}

#[test]
fn a_parent_known_by_its_id_is_the_youngest_process_with_it_before_its_child() {
    let process = |pid: u64, start: u64, parent: Option<(u64, u64)>| process::Process {
        key: ([1; 16], pid, start),
        parent: parent.map(|(pid, start)| ([1; 16], pid, start)),
        start: (start != 0).then_some(1),
        is_shown: true,
        ..process::Process::default()
    };
    let tree = shape::Tree::new(vec![
        process(5, 10, None),
        process(5, 20, None),
        process(5, 40, None),
        process(5, 0, None),
        process(9, 30, Some((5, 0))),
        // What no recorder writes: a process that is its own ancestor.
        process(70, 50, Some((71, 50))),
        process(71, 50, Some((70, 50))),
        process(72, 50, Some((72, 50))),
    ]);
    let mut lines = Vec::new();
    tree.walk(|node| -> Result<(), ()> {
        lines.push((node.process.pid(), node.process.key.2, node.parent.map(|parent| parent.key.2)));
        Ok(())
    })
    .unwrap();
    let expected = [
        (5, 10, None),
        (5, 20, None),
        (9, 30, Some(20)),
        (5, 40, None),
        (70, 50, None),
        (71, 50, None),
        (72, 50, None),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_locale_decides_which_characters_draw_lines() {
    let is_utf8 = |set: &[(&str, &str)]| {
        is_utf8_in(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    };
    assert!(is_utf8(&[("LANG", "en_US.UTF-8")]));
    assert!(is_utf8(&[("LC_ALL", ""), ("LANG", "C.utf8")]));
    assert!(!is_utf8(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
    assert!(!is_utf8(&[("LC_CTYPE", "POSIX")]));
    assert!(!is_utf8(&[]));
}
