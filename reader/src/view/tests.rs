use std::sync::Arc;

use capture_format::{MetadataIndex, MetadataKey, MetadataRecord};
use events::{Kind, flags};

use super::*;
use crate::model::testing::{TestCall, TestChunk, WALL, call, header, id, incomplete, openat, sample};
use crate::model::{Binding, ContainerNames, Context, Event};

fn lines(chunk: TestChunk, names: &ContainerNames, format: Format) -> Vec<String> {
    written(chunk, names, format.view(TimeZone::get("Europe/Berlin").unwrap()))
}

/// The lines that a view writes of a chunk.
pub(super) fn written(chunk: TestChunk, names: &ContainerNames, mut writer: Box<dyn View>) -> Vec<String> {
    let header = Arc::new(header(1));
    let chunk = chunk.chunk();
    let binding = Binding::new(header);
    let view = ChunkView::open(&chunk, &binding).unwrap();
    let context = Context { names, start: WALL };
    let mut events: Vec<(u64, usize, usize)> = Vec::new();
    for rows in view.tables() {
        events.extend((0..rows.len()).map(|row| (rows.end(row), rows.place, row)));
    }
    events.sort_unstable();
    let mut out = Vec::new();
    writer.begin(&mut out);
    for (_, place, row) in events {
        writer.event(Event::new(&context, &view, view.table(place).unwrap(), row), &mut out);
    }
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

/// The text of one call by `nginx(4242)` in container `web`, after the process.
fn one(test: &TestCall) -> String {
    let mut chunk = TestChunk::new(&header(1));
    let cgroup = chunk.cgroup(1, "/", &[]);
    let task = chunk.task(4242, 4242, "nginx", cgroup);
    chunk.call(1_000_000_000, task, test);
    let line = lines(chunk, &ContainerNames::default(), Format::Text).remove(0);
    line.strip_prefix("13:00:00.999987600 1 - nginx(4242) ").unwrap_or(&line).to_owned()
}

#[test]
fn a_hang_and_its_reports_have_the_same_fields() {
    let chunk = || {
        let mut chunk = TestChunk::new(&header(1));
        let cgroup = chunk.cgroup(1, "/", &[]);
        let task = chunk.task(4242, 4242, "nginx", cgroup);
        chunk.hang(Kind::StallOngoing, (2_000_000_000, 1_000_000_000), task, "asleep");
        chunk.hang(Kind::Stall, (3_000_000_000, 2_000_000_000), task, "woken");
        chunk
    };
    let text = lines(chunk(), &ContainerNames::default(), Format::Text);
    assert_eq!(
        text,
        [
            "13:00:01.000000000 1 - nginx(4242) stall_ongoing asleep 1.0s in close(3) waker=nginx(4242)",
            "13:00:01.000000000 1 - nginx(4242) stall woken 2.0s in close(3) waker=nginx(4242)",
        ]
    );
    let json = lines(chunk(), &ContainerNames::default(), Format::Json);
    for (line, kind, phase) in [(&json[0], "stall_ongoing", "asleep"), (&json[1], "stall", "woken")] {
        for part in [
            format!(r#""evt.type":"{kind}""#),
            format!(r#""stall.phase":"{phase}""#),
            r#""stall.args":"3""#.to_owned(),
            r#""stall.nr":"close""#.to_owned(),
            r#""stall.waker.pid":4242"#.to_owned(),
        ] {
            assert!(line.contains(&part), "{part}: {line}");
        }
        assert!(!line.contains("stall_ongoing."), "{line}");
    }
}

#[test]
fn the_sample_as_text() {
    let expected = "\
13:00:00.999987600 1 aaaaaaaaaaaa nginx(4242) openat(AT_FDCWD, \"/etc/hosts\", O_RDONLY|O_CLOEXEC) = 3 <12.4us>
13:00:01.000000500 1 - dd(100) cgroup_mkdir cgroup=\"/docker/a\" container=aaaaaaaaaaaa
13:00:00.999988600 1 aaaaaaaaaaaa pool\\x201(4242/4244) openat(AT_FDCWD, \"/etc/\\\"x\\\"\\n\", O_RDONLY|O_CLOEXEC) = -1 ENOENT <12.4us>
13:00:00.999989600 1 cccccccccccc web(5000) close(3) = 0 <12.4us>
13:00:01.000002500 1 aaaaaaaaaaaa nginx(4242) fork child=4300
13:00:01.000002600 1 cccccccccccc web(5000) exec \"/bin/ls\" [\"ls\", \"-l\", \"a b\"] old_comm=\"sh\" old_tid=77
13:00:00.999990600 1 - dd(100) read(0, _, 512) = 512 <12.4us>
13:00:00.999991600 1 - dd(100) read(0, _, 512) = -1 EINTR <12.4us>
13:00:01.000005000 1 - dd(100) exit process status=1
13:00:01.000006000 1 aaaaaaaaaaaa nginx(4242) exit process signal=SIGKILL
13:00:01.000007000 1 aaaaaaaaaaaa - loss: 1234 syscall events of container aaaaaaaaaaaa lost (ring)";
    let found = lines(sample(&header(1)), &ContainerNames::default(), Format::Text);
    assert_eq!(found, expected.lines().collect::<Vec<_>>());
}

#[test]
fn what_is_unusual_about_a_call_is_marked() {
    let open = |flags: u32| TestCall { flags, ..openat(b"/x", 3) };
    let args = "openat(AT_FDCWD, \"/x\", O_RDONLY|O_CLOEXEC)";
    assert_eq!(one(&open(flags::STR0_CUT)), "openat(AT_FDCWD, \"/x\"..., O_RDONLY|O_CLOEXEC) = 3 <12.4us>");
    assert_eq!(one(&open(flags::STR0_UNREAD)), "openat(AT_FDCWD, ?, O_RDONLY|O_CLOEXEC) = 3 <12.4us>");
    assert_eq!(one(&open(flags::START_UNKNOWN)), format!("{args} = 3 <start unknown>"));
    assert_eq!(one(&open(flags::UNFINISHED)), format!("{args} = ? <unfinished 12.4us>"));
    assert_eq!(
        one(&open(flags::UNFINISHED | flags::KILLED)),
        format!("{args} = ? <unfinished 12.4us, killed>")
    );
    assert_eq!(
        one(&open(flags::UNFINISHED | flags::AT_END | flags::START_UNKNOWN)),
        format!("{args} = ? <unfinished, start unknown, capture ended>")
    );
    assert_eq!(
        one(&TestCall { flags: flags::SECCOMP, ..openat(b"/x", -1) }),
        format!("{args} = -1 EPERM <12.4us> [by seccomp]")
    );
    assert_eq!(one(&open(flags::LATE)), format!("{args} = 3 <12.4us>"), "the reader has put it in its place");
    assert_eq!(
        one(&TestCall { flags: flags::NO_RESULT, ..call("exit_group", &[0], 0) }),
        "exit_group(0) = ?"
    );
    assert_eq!(
        one(&TestCall { args: vec![3, 0, 0, 0], strs: vec![vec![]], ..openat(b"", -14) }),
        "openat(3, NULL, O_RDONLY) = -1 EFAULT <12.4us>"
    );
}

#[test]
fn numbers_are_written_as_what_they_are() {
    let compat = |name: &'static str| {
        let calls = crate::syscalls::table().by_name(name);
        let (abi, nr) = *calls.iter().find(|(abi, _)| *abi == events::Abi::Compat).unwrap();
        Some(events::syscall_key(abi, nr))
    };
    assert_eq!(
        one(&call("mmap", &[0, 4096, 3, 0x22, (-1i64) as u64, 0], 0x7f00_0000_1000)),
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000001000 <12.4us>"
    );
    assert_eq!(one(&call("kill", &[17, 15], 0)), "kill(17, SIGTERM) = 0 <12.4us>");
    assert_eq!(one(&call("lseek", &[3, (-5i64) as u64, 1], 7)), "lseek(3, -5, SEEK_CUR) = 7 <12.4us>");
    assert_eq!(
        one(&TestCall { key: compat("close"), ..call("close", &[3], 0) }),
        "close(3) = 0 <12.4us> [i386]"
    );
    assert_eq!(
        one(&TestCall { key: Some(1000), ..call("x", &[1, 2, 3, 0, 0, 255], -517) }),
        "syscall_1000(0x1, 0x2, 0x3, 0x0, 0x0, 0xff) = -1 EPROBE_DEFER <12.4us>"
    );
    assert_eq!(one(&call("close", &[3], -1999)), "close(3) = -1999 <12.4us>");
}

#[test]
fn socket_addresses_are_decoded() {
    let connect = |address: &[u8]| TestCall {
        strs: vec![address.to_vec()],
        ..call("connect", &[3, 1, address.len() as u64], 0)
    };
    assert_eq!(
        one(&connect(&[2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])),
        "connect(3, 127.0.0.1:80, 16) = 0 <12.4us>"
    );
    assert_eq!(one(&connect(b"\x01\0/run/a b\0")), "connect(3, \"/run/a b\", 11) = 0 <12.4us>");
    assert_eq!(one(&connect(b"\x01\0\0x\n")), "connect(3, @\"x\\n\", 5) = 0 <12.4us>");
}

#[test]
fn a_late_name_also_names_earlier_events() {
    let mut index = MetadataIndex::default();
    index.add(&MetadataRecord {
        key: MetadataKey { boot_id: [1; 16], cgroup: 999, birth: 0 },
        values: vec![
            ("container.full_id".to_owned(), id('a')),
            ("container.name".to_owned(), "shop web".to_owned()),
        ],
    });
    let mut names = ContainerNames::default();
    names.merge(&index);
    let found = lines(sample(&header(1)), &names, Format::Text);
    assert!(found[0].contains(" 1 shop\\x20web nginx(4242) openat("), "{}", found[0]);
    assert!(found[3].contains(" 1 cccccccccccc web(5000)"), "{}", found[3]);
    let json = lines(sample(&header(1)), &names, Format::Json);
    let event: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!(event["container.name"], "shop web");
}

#[test]
fn json_has_one_object_a_line() {
    let found = lines(sample(&header(1)), &ContainerNames::default(), Format::Json);
    assert_eq!(found.len(), 11);
    let events: Vec<serde_json::Value> = found.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let open = &events[2];
    for (name, expected) in [
        ("evt.num", serde_json::json!(3)),
        ("evt.time", "2026-11-22T12:00:00.999988600Z".into()),
        ("evt.rawtime", "1795348800999988600".into()),
        ("evt.category", "syscall".into()),
        ("evt.type", "openat".into()),
        ("evt.cpu", 1.into()),
        ("proc.name", "pool 1".into()),
        ("proc.pid", 4242.into()),
        ("thread.tid", 4244.into()),
        ("user.name", "alice".into()),
        ("container.id", "aaaaaaaaaaaa".into()),
        ("container.full_id", id('a').into()),
        ("cgroup.path", "/docker/a".into()),
        ("evt.latency", 12400.into()),
        ("evt.res", "ENOENT".into()),
        ("evt.rawres", (-2).into()),
        ("evt.failed", true.into()),
        ("evt.arg.dfd", (-100).into()),
        ("evt.arg.filename", "/etc/\"x\"\\n".into()),
        ("evt.arg.flags", 0x80000.into()),
        ("evt.args", r#"AT_FDCWD, "/etc/\"x\"\n", O_RDONLY|O_CLOEXEC"#.into()),
        ("evt.hostname", "host1".into()),
        ("proc.pname", "bash".into()),
        ("proc.exe", "pool 1".into()),
        ("proc.args", serde_json::json!(["-v", "x y"])),
        ("proc.cmdline", "pool 1 -v x y".into()),
        ("fd.name", "/etc/\"x\"\\n".into()),
    ] {
        assert_eq!(open[name], expected, "{name}");
    }
    assert_eq!(open.get("container.name"), None);
    assert_eq!(events[10]["evt.category"], "loss");
    assert_eq!(events[10]["loss.count"], 1234);
    assert_eq!(events[10]["loss.kind"], "syscall");
    assert_eq!(events[10]["container.id"], "aaaaaaaaaaaa");
    assert_eq!(events[10].get("proc.pid"), None);
    assert_eq!(events[9]["exit.signal"], "SIGKILL");
    assert_eq!(events[9]["exit.process"], true);
    assert_eq!(events[3]["container.name"], serde_json::Value::Null);
    assert_eq!(events[6]["container.name"], "host");
    assert_eq!(events[3]["fd.num"], 3);
    assert_eq!(events[5]["exec.args"], serde_json::json!(["ls", "-l", "a b"]));
    assert_eq!(open.get("proc.args_cut"), None);
}

#[test]
fn incomplete_text_is_marked() {
    let text = lines(incomplete(&header(1)), &ContainerNames::default(), Format::Text);
    let text: Vec<&str> = text.iter().map(|line| line.split_once("java(7) ").unwrap().1).collect();
    assert_eq!(
        text,
        [
            r#"openat(AT_FDCWD, "/long, \"x\""..., O_RDONLY|O_CLOEXEC) = 3 <12.4us>"#,
            "openat(AT_FDCWD, ?, O_RDONLY|O_CLOEXEC) = -1 EFAULT <12.4us>",
            "openat(3, NULL, O_RDONLY) = -1 EFAULT <12.4us>",
            r#"exec "/usr/bin/jav"... ["java", "a b", "", "-X"...] old_comm="sh" old_tid=77"#,
            r#"exec ? [?] old_comm="sh" old_tid=77"#,
            r#"exec "/bin/true" ["true", "a", "", "b", ""] old_comm="sh" old_tid=77"#,
            r#"cgroup_mkdir cgroup="/a,b"..."#,
        ]
    );
    let json = lines(incomplete(&header(1)), &ContainerNames::default(), Format::Json);
    let json: Vec<serde_json::Value> = json.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let marks = |event: &serde_json::Value| {
        ["evt.cut", "evt.unread", "evt.incomplete"].map(|key| event.get(key).cloned().unwrap_or_default())
    };
    let none = serde_json::Value::Null;
    let file = serde_json::json!(["evt.arg.filename", "fd.name"]);
    assert_eq!(marks(&json[0]), [true.into(), none.clone(), file.clone()]);
    assert_eq!(json[0]["fd.name"], "/long, \"x\"");
    assert_eq!(marks(&json[1]), [none.clone(), true.into(), file]);
    assert_eq!((json[1].get("fd.name"), json[1].get("evt.arg.filename")), (None, None));
    assert_eq!(marks(&json[2]), [none.clone(), none.clone(), none.clone()]);
    let exec = serde_json::json!(["exec.path", "exec.args"]);
    assert_eq!(marks(&json[3]), [true.into(), none.clone(), exec.clone()]);
    assert_eq!(json[3]["exec.args"], serde_json::json!(["java", "a b", "", "-X"]));
    assert_eq!(marks(&json[4]), [none.clone(), true.into(), exec]);
    assert_eq!((json[4].get("exec.path"), json[4].get("exec.args")), (None, None));
    assert_eq!(marks(&json[5]), [none.clone(), none.clone(), none.clone()]);
    assert_eq!(json[5]["exec.args"], serde_json::json!(["true", "a", "", "b", ""]));
    assert_eq!(marks(&json[6]), [true.into(), none, serde_json::json!(["cgroup_mkdir.cgroup"])]);
    for event in &json {
        assert_eq!(event["proc.args"], serde_json::json!(["-cp", "/lib/a.ja"]));
        assert_eq!(event["proc.cmdline"], "java -cp /lib/a.ja");
        assert_eq!((&event["proc.args_cut"], &event["proc.exe"]), (&true.into(), &"java".into()));
    }
}

#[test]
fn every_json_key_is_a_field() {
    let mut all = lines(sample(&header(1)), &ContainerNames::default(), Format::Json);
    all.extend(lines(incomplete(&header(1)), &ContainerNames::default(), Format::Json));
    for line in all {
        let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        for key in event.keys() {
            assert!(crate::fields::lookup(key).is_ok(), "{key} is no field");
        }
    }
}

#[test]
fn any_bytes_come_back_from_json() {
    let path: Vec<u8> = (1..=255).collect();
    let mut chunk = TestChunk::new(&header(1));
    let cgroup = chunk.cgroup(1, "/", &[]);
    let task = chunk.task(1, 1, "x", cgroup);
    chunk.call(1_000_000_000, task, &openat(&path, 3));
    let line = lines(chunk, &ContainerNames::default(), Format::Json).remove(0);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    let text = event["evt.arg.filename"].as_str().unwrap();
    assert_eq!(crate::text::escape::unescape(text), Some(path));
}

#[test]
fn csv_has_a_header_and_quotes() {
    let found = lines(sample(&header(1)), &ContainerNames::default(), Format::Csv);
    assert!(found[0].starts_with("evt.num,evt.time,evt.rawtime,evt.cpu,container.id,"));
    let columns = found[0].split(',').count();
    assert_eq!(columns, 17);
    assert_eq!(
        found[4],
        "4,2026-11-22T12:00:00.999989600Z,1795348800999989600,1,cccccccccccc,,web,5000,5000,web,1000,syscall,close,3,SUCCESS,0,12400"
    );
    assert!(
        found[1].contains(",\"AT_FDCWD, \"\"/etc/hosts\"\", O_RDONLY|O_CLOEXEC\",SUCCESS,3,"),
        "{}",
        found[1]
    );
    assert!(found[11].contains(",loss,loss,: 1234 syscall events"), "{}", found[11]);
}
