use std::sync::Arc;

use capture_format::Header;

use crate::fields::{Value, lookup, marks, values};
use crate::filter::Filter;
use crate::filter::{Evaluator, ParseError};
use crate::model::dictionaries::PARENT_ON_HOST;
use crate::model::testing::{TestChunk, WALL, call, header};
use crate::model::{Binding, ChunkView, ContainerNames, Context, Event};

/// Calls of `ls` below `bash`, `sshd` and `systemd`, and of a kernel thread without known ancestors.
fn family(header: &Header) -> TestChunk {
    let mut chunk = TestChunk::new(header);
    let host = chunk.cgroup(1, "/", &[]);
    let systemd = chunk.process(None, 1, "systemd --system", "");
    let sshd = chunk.process(Some((1, systemd)), 50, "sshd -D", PARENT_ON_HOST);
    let bash = chunk.process(Some((50, sshd)), 60, "bash -l", PARENT_ON_HOST);
    let ls = chunk.process(Some((60, bash)), 70, "ls -l /tmp", PARENT_ON_HOST);
    // As in files without rows of ancestors.
    let orphan = chunk.process(None, 80, "cron", "");
    let ls = chunk.thread(ls, 70, "ls", host);
    let orphan = chunk.thread(orphan, 81, "cron", host);
    chunk.call(2_000_000, ls, &call("getppid", &[], 1));
    chunk.call(3_000_000, orphan, &call("getppid", &[], 1));
    chunk
}

fn with_event<T>(chunk: TestChunk, row: usize, then: impl FnOnce(Event<'_>) -> T) -> T {
    let binding = Binding::new(Arc::new(header(1)));
    let chunk = chunk.chunk();
    let view = ChunkView::open(&chunk, &binding).unwrap();
    let names = ContainerNames::default();
    let context = Context { names: &names, start: WALL };
    let rows = view.tables().find(|rows| rows.len() == 2).unwrap();
    then(Event::new(&context, &view, rows, row))
}

/// The value of a field in the event of `ls`, `-` for none.
fn value(name: &str) -> String {
    let (field, _) = lookup(name).unwrap();
    with_event(family(&header(1)), 0, |event| match values::value(event, &field, &mut Vec::new()) {
        Value::Missing => "-".to_owned(),
        value => value.to_string(),
    })
}

/// The rows of the two events that an expression finds.
fn found(text: &str) -> Result<Vec<u32>, ParseError> {
    let filter = Filter::parse(text)?;
    Ok(with_event(family(&header(1)), 0, |event| {
        let mut selected = vec![0, 1];
        Evaluator::new(filter.expr(), *event.context, event.view).retain(event.rows, &mut selected);
        selected
    }))
}

#[test]
fn ancestors_are_counted_from_the_process() {
    for (field, expected) in [
        ("proc.aname[0]", "ls"),
        ("proc.aname[1]", "bash"),
        ("proc.aname[2]", "sshd"),
        ("proc.aname[3]", "systemd"),
        ("proc.aname[4]", "-"),
        ("proc.aname[64]", "-"),
        ("proc.aname", "bash sshd systemd"),
        ("proc.apid", "60 50 1"),
        ("proc.apid[0]", "70"),
        ("proc.apid[2]", "50"),
        ("proc.aexe[1]", "bash"),
        ("proc.aexepath[2]", "/usr/bin/sshd"),
        ("proc.acmdline[1]", "bash -l"),
        ("proc.acmdline", "bash -l sshd -D systemd --system"),
        ("proc.pcmdline", "bash -l"),
        ("proc.pexe", "bash"),
        ("proc.pexepath", "/usr/bin/bash"),
        ("proc.exeline", "ls -l /tmp"),
        ("proc.cmdnargs", "2"),
        ("thread.ismain", "1"),
        // The call started 12.4 us before its end.
        ("proc.duration", "1986900"),
        ("proc.ppid.duration", "1987000"),
        ("proc.pid.ts", "1795348800000000700"),
        ("proc.ppid.ts", "1795348800000000600"),
    ] {
        assert_eq!(value(field), expected, "{field}");
    }
}

#[test]
fn one_of_several_ancestors_is_enough() {
    for (text, expected) in [
        ("proc.aname = sshd", &[0][..]),
        ("proc.aname in (bash, cron)", &[0]),
        ("proc.aname = ls", &[]),
        ("proc.aname contains ystem", &[0]),
        ("proc.aname != sshd", &[1]),
        ("not proc.aname in (sshd, bash)", &[1]),
        ("proc.aname exists", &[0]),
        ("proc.aname intersects (systemd, init)", &[0]),
        ("proc.aname[2] = sshd", &[0]),
        ("proc.aname[1] = sshd", &[]),
        ("proc.aname[0] = cron", &[1]),
        ("proc.apid = 50", &[0]),
        ("proc.apid in (50, 60)", &[0]),
        ("proc.apid < 2", &[0]),
        ("proc.apid = 70", &[]),
        ("proc.acmdline = 'sshd -D'", &[0]),
        ("toupper(proc.aname) = SSHD", &[0]),
        ("len(proc.aname) = 3", &[0]),
        ("join('>', proc.aname) = 'bash>sshd>systemd'", &[0]),
        ("proc.aname[1] = val(proc.pname)", &[]),
        ("proc.pcmdline contains -l", &[0]),
        ("thread.ismain = false", &[1]),
        ("proc.duration > 1ms", &[0, 1]),
        ("proc.duration > 1s", &[]),
    ] {
        assert_eq!(found(text).unwrap_or_else(|e| panic!("{e}")), expected, "{text}");
    }
    for wrong in ["proc.aname[x] = a", "proc.aname[65] = a", "proc.apid = x", "proc.pcmdline[1] = a"] {
        assert!(found(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_parent_without_a_row_has_its_id_and_name() {
    let mut chunk = TestChunk::new(&header(1));
    let host = chunk.cgroup(1, "/", &[]);
    let task = chunk.task(7, 7, "app", host);
    chunk.call(1_000_000, task, &call("getppid", &[], 1));
    chunk.call(2_000_000, task, &call("getppid", &[], 1));
    with_event(chunk, 0, |event| {
        let value = |name: &str| {
            let (field, _) = lookup(name).unwrap();
            values::value(event, &field, &mut Vec::new()).to_string()
        };
        assert_eq!([value("proc.aname"), value("proc.apid"), value("proc.acmdline")], ["bash", "1", "bash"]);
        assert_eq!([value("proc.aname[2]"), value("proc.pexe"), value("proc.ppid.ts")], ["", "", ""]);
    });
}

#[test]
fn cut_arguments_of_ancestors_are_marked() {
    let mut chunk = TestChunk::new(&header(1));
    let host = chunk.cgroup(1, "/", &[]);
    let top = chunk.process(None, 1, "systemd", "");
    let cut = chunk.task_with_args((5, 5), "java", "java\0-cp\0/lib/a.ja", host);
    // The row of java's process is the one after that of systemd.
    assert_eq!((top, cut), (0, 0));
    let child = chunk.process(Some((5, 1)), 9, "sh -c", PARENT_ON_HOST);
    let child = chunk.thread(child, 9, "sh", host);
    chunk.call(1_000_000, child, &call("getppid", &[], 1));
    chunk.call(2_000_000, child, &call("getppid", &[], 1));
    with_event(chunk, 0, |event| {
        let mark = |name: &str| marks::of_field(&event, &lookup(name).unwrap().0);
        for field in ["proc.acmdline", "proc.acmdline[1]", "proc.pcmdline"] {
            assert_eq!(mark(field), marks::Mark::Cut, "{field}");
        }
        for field in ["proc.aexe[1]", "proc.pexe", "proc.aname", "proc.acmdline[0]"] {
            assert_eq!(mark(field), marks::Mark::Whole, "{field}");
        }
    });
}

#[test]
fn a_session_is_named_after_its_leader_or_its_oldest_member() {
    // All are in the session 500, whose leader is not among the ancestors.
    assert_eq!(value("proc.sname"), "systemd");
}
