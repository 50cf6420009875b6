use super::*;
use crate::model::Context;
use crate::model::testing::{TestCall, TestChunk, call, header, id, incomplete, openat, sample};
use crate::model::{Binding, ChunkView, ContainerNames};
use std::sync::Arc;

use capture_format::{Header, Vocabulary};

/// The events of the sample that pass, as `TABLE:ROW`.
pub(super) fn matching(text: &str) -> String {
    matching_of(sample, text)
}

pub(super) fn matching_of(chunk: fn(&Header) -> TestChunk, text: &str) -> String {
    let header = Arc::new(header(1));
    let chunk = chunk(&header).chunk();
    let binding = Binding::new(header);
    let view = ChunkView::open(&chunk, &binding).unwrap();
    let names = ContainerNames::default();
    let context = Context { names: &names, start: crate::model::testing::WALL };
    let mut filter = Filter::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let zone = jiff::tz::TimeZone::UTC;
    filter.resolve(&Span { start: context.start, end: Some(context.start + 2_000_000_000), zone }).unwrap();
    let mut evaluator = Evaluator::new(filter.expr(), context, &view);
    let mut out = Vec::new();
    for rows in view.tables() {
        let mut selected: Vec<u32> = (0..rows.len() as u32).collect();
        evaluator.retain(rows, &mut selected);
        out.extend(selected.iter().map(|row| format!("{}:{row}", rows.event.name)));
    }
    // Whatever a filter finds, the summary must not have ruled out.
    if !out.is_empty() {
        assert!(prune::may_match(filter.expr(), &binding, chunk.summary()), "{text}");
    }
    out.join(" ")
}

/// Whether the sample's summary rules a filter out.
pub(super) fn pruned(text: &str) -> bool {
    let header = Arc::new(header(1));
    let chunk = sample(&header).chunk();
    let binding = Binding::new(header);
    let mut filter = Filter::parse(text).unwrap();
    let start = crate::model::testing::WALL;
    let zone = jiff::tz::TimeZone::UTC;
    filter.resolve(&Span { start, end: Some(start + 2_000_000_000), zone }).unwrap();
    !prune::may_match(filter.expr(), &binding, chunk.summary())
}

#[test]
fn incomplete_text_is_found_as_such() {
    for (text, expected) in [
        ("evt.cut=true", "syscall:0 exec:0 cgroup_mkdir:0"),
        ("evt.unread=true", "syscall:1 exec:1"),
        ("evt.incomplete contains exec.args", "exec:0 exec:1"),
        ("evt.incomplete='evt.arg.filename fd.name'", "syscall:0 syscall:1"),
        ("evt.incomplete contains cgroup_mkdir.cgroup", "cgroup_mkdir:0"),
        ("evt.cut=false and evt.unread=false", "syscall:2 exec:2"),
        ("proc.args_cut=true and evt.category=exec", "exec:0 exec:1 exec:2"),
        // What could not be read is no empty text.
        ("exec.path exists", "exec:0 exec:2"),
        ("exec.path=''", ""),
        ("exec.args exists", "exec:0 exec:2"),
        ("exec.args=''", ""),
        ("fd.name exists", "syscall:0"),
        ("not fd.name exists and evt.category=syscall", "syscall:1 syscall:2"),
    ] {
        assert_eq!(matching_of(incomplete, text), expected, "{text}");
    }
    assert_eq!(
        matching("evt.cut=true or evt.unread=true or evt.incomplete exists or proc.args_cut=true"),
        ""
    );
}

#[test]
fn fields_of_hangs_select_reports_of_them_too() {
    fn hangs(header: &Header) -> TestChunk {
        let mut chunk = TestChunk::new(header);
        let cgroup = chunk.cgroup(1, "/", &[]);
        let task = chunk.task(4242, 4242, "nginx", cgroup);
        chunk.hang(Kind::StallOngoing, (2_000_000_000, 1_000_000_000), task, "asleep");
        chunk.hang(Kind::Stall, (3_000_000_000, 2_000_000_000), task, "woken");
        chunk
    }
    fn ongoing(header: &Header) -> TestChunk {
        let mut chunk = TestChunk::new(header);
        let cgroup = chunk.cgroup(1, "/", &[]);
        let task = chunk.task(4242, 4242, "nginx", cgroup);
        chunk.hang(Kind::StallOngoing, (2_000_000_000, 1_000_000_000), task, "asleep");
        chunk
    }
    for (text, expected) in [
        ("evt.type=stall", "stall:0"),
        ("evt.type=stall_ongoing", "stall_ongoing:0"),
        ("stall.dur>=1s", "stall:0 stall_ongoing:0"),
        ("stall.dur>1s", "stall:0"),
        ("stall.phase=asleep", "stall_ongoing:0"),
        ("stall.nr=close and stall.waker.pid=4242", "stall:0 stall_ongoing:0"),
        ("stall.waker=nginx and evt.latency=1s", "stall_ongoing:0"),
        ("not stall.phase exists", ""),
    ] {
        assert_eq!(matching_of(hangs, text), expected, "{text}");
    }
    // A chunk without a hang that has ended is not ruled out.
    assert_eq!(matching_of(ongoing, "stall.dur>=1s"), "stall_ongoing:0");
}

#[test]
fn each_field_selects_its_events() {
    for (text, expected) in [
        ("proc.name=dd and evt.type=read", "syscall:3 syscall:4"),
        ("proc.name=dd and evt.type=read and not evt.failed=true", "syscall:3"),
        ("evt.type=openat", "syscall:0 syscall:1"),
        ("evt.type in (close, exec)", "syscall:2 exec:0"),
        ("syscall.type exists and proc.pid=5000", "syscall:2"),
        ("syscall.abi=native and evt.type=close", "syscall:2"),
        ("evt.category=exit", "exit:0 exit:1"),
        ("evt.category!=syscall and evt.category!=loss", "fork:0 exec:0 exit:0 exit:1 cgroup_mkdir:0"),
        ("fd.name=/etc/hosts", "syscall:0"),
        ("fd.name startswith /etc", "syscall:0 syscall:1"),
        (r#"fd.name = "/etc/\"x\"\n""#, "syscall:1"),
        ("evt.arg.filename contains hosts", "syscall:0"),
        ("evt.arg.dfd=-100", "syscall:0 syscall:1"),
        ("evt.arg.dfd=AT_FDCWD", "syscall:0 syscall:1"),
        ("evt.arg.dfd contains FDCWD", "syscall:0 syscall:1"),
        ("evt.arg.fd < 3", "syscall:3 syscall:4"),
        ("evt.arg.fd contains 3", "syscall:2"),
        ("evt.arg.fd = val(evt.arg[0]) and evt.arg.fd != val(evt.rawres)", "syscall:2 syscall:3 syscall:4"),
        ("evt.arg[2]=0x200", "syscall:3 syscall:4"),
        ("evt.arg.flags has O_CLOEXEC", "syscall:0 syscall:1"),
        ("evt.arg.flags has O_CLOEXEC|O_CREAT", ""),
        ("evt.arg.flags = O_RDONLY|O_CLOEXEC", "syscall:0 syscall:1"),
        ("evt.arg.flags contains CLOEXEC", "syscall:0 syscall:1"),
        ("not evt.arg.flags has O_WRONLY and evt.arg.flags exists", "syscall:0 syscall:1"),
        ("evt.arg[2] has O_CLOEXEC", "syscall:0 syscall:1"),
        ("evt.rawarg.flags = 0x80000", "syscall:0 syscall:1"),
        ("evt.is_open_read = true", "syscall:0 syscall:1"),
        ("evt.is_io = true", "syscall:3 syscall:4"),
        ("evt.is_io_read = true and evt.io_dir = r", "syscall:3 syscall:4"),
        ("evt.is_io_write = true", ""),
        ("evt.buflen = 512", "syscall:3"),
        ("evt.is_wait = true", ""),
        ("evt.wait_latency exists", ""),
        ("evt.count.error = 1", "syscall:1 syscall:4"),
        ("evt.is_open_write = true", ""),
        ("evt.arg.count>=512 and evt.rawres=512", "syscall:3"),
        ("fd.num=3", "syscall:0 syscall:2"),
        ("evt.res=ENOENT", "syscall:1"),
        ("evt.res=SUCCESS", "syscall:0 syscall:2 syscall:3"),
        ("evt.rawres<0", "syscall:1 syscall:4"),
        ("evt.args contains AT_FDCWD", "syscall:0 syscall:1"),
        ("evt.latency>=12.4us and evt.type=close", "syscall:2"),
        ("evt.latency>12400ns", ""),
        ("evt.res=2", "syscall:1"),
        ("evt.res=-2", "syscall:1"),
        ("evt.res in (0, enoent)", "syscall:0 syscall:1 syscall:2 syscall:3"),
        ("exit.signal=9", "exit:1"),
        ("exit.signal=kill", "exit:1"),
        ("exit.signal startswith SIGK", "exit:1"),
        ("evt.arg.dfd=AT_FDCWD and evt.res=SUCCESS", "syscall:0"),
        ("thread.tid=4244", "syscall:1"),
        ("thread.name='pool 1'", "syscall:1"),
        ("proc.cmdline='dd -v x y' and evt.category=exit", "exit:0"),
        ("proc.args='-v x y' and proc.exe=web", "syscall:2 exec:0"),
        ("proc.exepath=/usr/bin/web and evt.cpu=1", "syscall:2 exec:0"),
        ("proc.pname=bash and user.name=alice and user.uid=1000 and evt.type=close", "syscall:2"),
        ("container.id=host", "syscall:3 syscall:4 exit:0 cgroup_mkdir:0"),
        ("container.id=aa and evt.category=syscall", "syscall:0 syscall:1"),
        ("container.type=docker and evt.category=exec", "exec:0"),
        ("container.chain contains bbb", "syscall:2 exec:0"),
        ("cgroup.path=/docker/a and evt.category=loss", "loss:0"),
        ("cgroup.id=12", "syscall:2 exec:0"),
        ("host.label[dc]=fra and evt.hostname=host1 and fork.child_pid=4300", "fork:0"),
        ("fork.child_pid>4300", ""),
        ("exec.path glob */ls and exec.args='ls -l a b'", "exec:0"),
        ("exit.signal=SIGKILL", "exit:1"),
        ("exit.status=1", "exit:0"),
        ("cgroup_mkdir.cgroup=/docker/a", "cgroup_mkdir:0"),
        ("loss.count>1000 and loss.kind=syscall", "loss:0"),
        ("evt.time<=2026-11-22T12:00:01.0000005Z and evt.category!=syscall", "cgroup_mkdir:0"),
        ("evt.reltime<1s", "syscall:0 syscall:1 syscall:2 syscall:3 syscall:4"),
        ("evt.num=1", "syscall:0"),
        ("evt.num=2", "cgroup_mkdir:0"),
        ("evt.dir=< and evt.num<=2", "syscall:0 cgroup_mkdir:0"),
        ("proc.name=nginx or proc.name=web and evt.type=close", "syscall:0 syscall:2 fork:0 exit:1"),
        ("evt.num=1 or evt.num=2 or evt.num=1", "syscall:0 cgroup_mkdir:0"),
    ] {
        assert_eq!(matching(text), expected, "{text}");
    }
}

#[test]
fn not_equal_is_the_opposite_of_equal_even_for_missing_fields() {
    for (a, b) in [
        ("fd.name!=/etc/hosts", "not fd.name=/etc/hosts"),
        ("proc.name!=dd", "not (proc.name=dd)"),
        ("evt.rawres!=0", "not evt.rawres=0"),
        ("exit.status!=0", "not exit.status=0"),
        ("container.name!=web", "not container.name=web"),
    ] {
        assert_eq!(matching(a), matching(b), "{a}");
        assert!(matching(a).contains("loss:0"), "an event without the field passes {a}");
    }
}

#[test]
fn summaries_rule_out_chunks_without_matches() {
    for text in [
        "evt.type=futex",
        "syscall.type in (futex, poll)",
        "evt.category=rename_task",
        "rename_task.comm exists",
        "container.id=dd",
        "container.chain contains dd",
        "container.full_id=host and evt.type=futex",
        "evt.time>2026-11-22T12:00:02Z",
        "evt.time<2026-11-22T11:59:59Z",
        "evt.type=futex or evt.type=poll",
    ] {
        assert!(pruned(text), "{text}");
    }
    for text in [
        "evt.type=read",
        "evt.type!=futex",
        "not evt.type=futex",
        "evt.type=exit",
        "container.id=host",
        "container.id=cc",
        "container.chain contains bb",
        "evt.time>=2026-11-22T12:00:01Z",
        "evt.type=futex or proc.name=x",
    ] {
        assert!(!pruned(text), "{text}");
    }
}

#[test]
fn event_lists_name_kinds_and_syscalls() {
    let list = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        Filter::of_events(&words, |name| ["read", "fork", "openat"].contains(&name))
    };
    assert_eq!(list(&[]).unwrap(), None);
    assert_eq!(
        list(&["read,exec"]).unwrap(),
        Some(Filter::parse("evt.category=exec or syscall.type=read").unwrap())
    );
    assert_eq!(
        list(&["read", "openat"]).unwrap(),
        Some(Filter::parse("syscall.type in (read,openat)").unwrap())
    );
    assert_eq!(
        list(&["fork"]).unwrap(),
        Some(Filter::parse("evt.category=fork or syscall.type=fork").unwrap())
    );
    let error = list(&["raed"]).unwrap_err();
    assert!(error.contains("`raed` is neither a kind of event (syscall, fork"), "{error}");
    assert!(error.ends_with("(did you mean read?)"), "{error}");
}

#[test]
fn filters_that_select_loss_events_are_recognised() {
    for (text, asks) in [
        ("evt.category=loss", true),
        ("evt.type in (read, loss)", true),
        ("loss.count>5", true),
        ("evt.category!=loss", false),
        ("proc.name=loss", false),
    ] {
        assert_eq!(Filter::parse(text).unwrap().asks_for_loss(), asks, "{text}");
    }
}

#[test]
fn arguments_that_are_not_recorded_are_missing() {
    // The sample's `read` has a buffer, of which nothing is kept.
    assert_eq!(matching("evt.arg[1] exists and evt.type=read"), "");
    assert_eq!(matching("evt.arg.fd exists"), "syscall:2 syscall:3 syscall:4");
    let unread = call("openat", &[3, 1, 0, 0], -14);
    assert_eq!((unread.ret, openat(b"/x", 1).strs.len(), id('a').len()), (-14, 1, 64));
}

/// What checking an expression against captures with these vocabularies gives.
fn checked(text: &str, calls: &[&str]) -> Result<(), String> {
    let entries = (0..).zip(calls.iter().map(|call| (*call).to_owned())).collect();
    let vocabularies = Arc::new(vec![Vocabulary { name: "syscall".to_owned(), entries }]);
    let binding = Binding::new(Arc::new(Header { vocabularies, ..header(1) }));
    let filter = Filter::parse(text).unwrap_or_else(|e| panic!("{e}"));
    filter.check([&binding].into_iter()).map_err(|error| error.to_string())
}

#[test]
fn names_that_no_capture_has_are_refused() {
    for (text, part) in [
        ("evt.type = opennat", "named `opennat` (did you mean openat?) (column 12)"),
        ("proc.pid = 1 and evt.type != opennat", "(column 30)"),
        ("evt.type = syscall", "use: evt.category = syscall"),
        ("evt.type in (read, wriet)", "named `wriet` (did you mean write?) (column 20)"),
        ("syscall.type = exec", "use: evt.category = exec"),
        ("evt.category = syscal", "named `syscal` (did you mean syscall?); there are syscall, fork"),
        ("evt.type = open*", "for a pattern use: glob 'open*'"),
        ("evt.category = openat", "use: syscall.type = openat"),
        ("loss.kind = syscal", "did you mean syscall?"),
        ("evt.arg.filenam = x", "argument named `filenam` (did you mean filename?) (column 9)"),
        ("evt.arg.nosuch exists", "argument named `nosuch`"),
        ("evt.arg.dirent = 5", "`dirent` is a pointer, and what it points to is not recorded"),
    ] {
        let error = checked(text, &[]).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    for text in [
        "evt.type in (read, exec, syscall_999)",
        "evt.category = loss",
        "syscall.type = exit_group",
        "evt.type glob open*",
        "evt.arg.filename = x",
        "evt.arg[0] = x",
    ] {
        assert_eq!(checked(text, &[]), Ok(()), "{text}");
    }
}

#[test]
fn names_of_captures_of_later_versions_are_known() {
    let calls = ["newcall(newarg:ulong, text:string)", "newread(dirent:string)"];
    for text in [
        "evt.type = newcall",
        "syscall.type = newcall",
        "evt.arg.newarg = 5",
        "evt.arg.newarg = x",
        "evt.arg.dirent = x",
    ] {
        assert_eq!(checked(text, &calls), Ok(()), "{text}");
        assert!(checked(text, &[]).is_err(), "{text}");
    }
    assert!(checked("evt.type = newcal", &calls).unwrap_err().contains("did you mean newcall?"));
}

#[test]
fn what_was_most_likely_not_meant_is_said() {
    let hints = |text: &str| Filter::parse(text).unwrap().hints().join("\n");
    assert_eq!(
        hints("proc.name = ngin*"),
        "`=` compares `ngin*` as it stands; for a pattern use: proc.name glob 'ngin*'"
    );
    assert!(hints("container.name != web-?").contains("container.name glob 'web-?'"));
    assert!(hints("evt.arg.filename in (a, b*)").contains("evt.arg.filename glob 'b*'"));
    assert_eq!(
        hints("fd.name = -"),
        "`fd.name = -` compares with the text `-`; for events without a value use: not fd.name exists"
    );
    assert_eq!(
        hints("tolower(proc.name) = ngin*"),
        "`=` compares `ngin*` as it stands; for a pattern use: tolower(proc.name) glob 'ngin*'"
    );
    assert_eq!(
        hints("proc.name regex nginx"),
        "`regex` matches the whole value; for a part of it use: proc.name regex '.*nginx.*', or contains"
    );
    assert_eq!(
        hints("evt.latency > 5"),
        "`5` has no unit, and is compared with evt.latency in nanoseconds, as in sysdig; units: 5ms, 5s"
    );
    assert!(hints("not proc.env contains X").starts_with("`proc.env` never has a value: environments"));
    assert_eq!(hints("proc.name in ()"), "`in ()` is never true: the list is empty");
    for text in [
        "proc.name = 'ngin*'",
        "fd.name = '-'",
        "proc.name glob ngin*",
        "evt.latency > 0",
        "evt.latency > 5ns",
        "fd.name contains *",
        "proc.name regex 'a'",
    ] {
        assert_eq!(hints(text), "", "{text}");
    }
}

#[test]
fn a_call_with_two_files_is_found_by_either() {
    let found = |text: &str| {
        let header = Arc::new(header(1));
        let mut chunk = TestChunk::new(&header);
        let cgroup = chunk.cgroup(1, "/", &[]);
        let task = chunk.task(7, 7, "mv", cgroup);
        let strs = vec![b"/d/old".to_vec(), b"/d/new".to_vec()];
        chunk.call(1_000_000, task, &TestCall { strs, ..call("rename", &[1, 1], 0) });
        let chunk = chunk.chunk();
        let binding = Binding::new(header);
        let view = ChunkView::open(&chunk, &binding).unwrap();
        let names = ContainerNames::default();
        let context = Context { names: &names, start: crate::model::testing::WALL };
        let filter = Filter::parse(text).unwrap();
        let rows = view.tables().find(|rows| rows.len() == 1).unwrap();
        let mut selected = vec![0];
        Evaluator::new(filter.expr(), context, &view).retain(rows, &mut selected);
        selected.len() == 1
    };
    for (text, expected) in [
        ("fd.name = /d/old", true),
        ("fd.name = /d/new", true),
        ("fd.name in (/x, /d/new)", true),
        ("fd.name != /d/old", false),
        ("fd.name != /d/new", false),
        ("fd.name != /d/other", true),
        ("fd.name endswith new", true),
        ("not fd.name contains old", false),
        ("fd.name exists", true),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
}
