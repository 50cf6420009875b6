use std::sync::Arc;

use capture_format::Header;
use events::Kind;

use super::super::Filter;
use super::super::prune::{LostEvents, may_match_lost};
use super::super::tests::{matching, matching_of, pruned};
use crate::model::dictionaries::Shown;
use crate::model::testing::{TestCall, TestChunk, WALL, call, header, incomplete, sample};
use crate::model::{Binding, ChunkView, ContainerNames, Context};

#[test]
fn functions_select_events() {
    for (text, expected) in [
        ("tolower(thread.name) = 'pool 1'", "syscall:1"),
        ("toupper(proc.name) = DD and evt.type = read", "syscall:3 syscall:4"),
        ("toupper(proc.name) = DD and not toupper(evt.type) = READ", "exit:0 cgroup_mkdir:0"),
        ("basename(proc.exepath) = web", "syscall:2 exec:0"),
        ("basename(fd.name) = hosts", "syscall:0"),
        ("basename(exec.path) in (ls, cat)", "exec:0"),
        ("len(proc.name) = 2 and evt.type = read", "syscall:3 syscall:4"),
        ("len(proc.name) > 4 and evt.category = fork", "fork:0"),
        ("len(exec.args) = 3", "exec:0"),
        ("len(proc.args) = 2 and evt.category = exec", "exec:0"),
        ("len(evt.arg.filename) = 10", "syscall:0"),
        ("len(container.id) = 12 and evt.type = openat", "syscall:0 syscall:1"),
        ("len(fd.name) exists", "syscall:0 syscall:1"),
        ("b64(proc.name) exists and evt.category = syscall", ""),
        ("concat(proc.pname, '/', proc.name) = bash/web", "syscall:2 exec:0"),
        ("concat(proc.name, fd.name) contains /etc/hosts", "syscall:0"),
        ("join('+', exec.args) = 'ls+-l+a b'", "exec:0"),
        ("join(',', proc.args) = '-v,x y' and evt.type = close", "syscall:2"),
        ("join(':', (evt.type, syscall.abi)) = close:native", "syscall:2"),
        ("tolower(container.id) = host", "syscall:3 syscall:4 exit:0 cgroup_mkdir:0"),
        ("tolower(container.id) startswith aaa and evt.type = openat", "syscall:0 syscall:1"),
        // A function compares what is shown, of which a prefix is not enough.
        ("tolower(container.id) = aaa", ""),
        ("tolower(evt.type) = loss", "loss:0"),
        ("toupper(host.label[dc]) = FRA and fork.child_pid > 0", "fork:0"),
        ("tolower(exit.signal) = sigkill", "exit:1"),
    ] {
        assert_eq!(matching(text), expected, "{text}");
    }
}

#[test]
fn base64_is_decoded_or_missing() {
    fn encoded(header: &Header) -> TestChunk {
        let mut chunk = TestChunk::new(header);
        let cgroup = chunk.cgroup(1, "/", &[]);
        let good = chunk.task(7, 7, "Y3VybA==", cgroup);
        let bad = chunk.task(8, 8, "curl!", cgroup);
        chunk.call(1, good, &call("getppid", &[], 1));
        chunk.call(2, bad, &call("getppid", &[], 1));
        chunk
    }
    for (text, expected) in [
        ("b64(proc.name) = curl", "syscall:0"),
        ("b64(proc.name) exists", "syscall:0"),
        ("b64(proc.name) != curl", "syscall:1"),
        ("len(b64(proc.name)) = 4", "syscall:0"),
        ("toupper(b64(proc.name)) = CURL", "syscall:0"),
    ] {
        assert_eq!(matching_of(encoded, text), expected, "{text}");
    }
}

#[test]
fn operators_of_paths_patterns_and_bytes_select_events() {
    for (text, expected) in [
        ("fd.name pmatch (/etc)", "syscall:0 syscall:1"),
        ("fd.name pmatch (/et, /var)", ""),
        ("fd.name pmatch (/var, /etc/host*)", "syscall:0"),
        ("cgroup.path pmatch (/docker/b) and evt.category = exec", "exec:0"),
        ("proc.name regex '[n]g.*' and evt.category = fork", "fork:0"),
        ("proc.name regex gin", ""),
        ("proc.name regex '.*gin.*' and evt.category = fork", "fork:0"),
        ("thread.name iglob 'POOL ?'", "syscall:1"),
        ("thread.name glob 'POOL ?'", ""),
        ("fd.name bcontains 0a", "syscall:1"),
        ("fd.name bstartswith 2f657463", "syscall:0 syscall:1"),
        ("fd.name bcontains 0A2f", ""),
        ("proc.args intersects (-v) and evt.category = exec", "exec:0"),
        ("proc.args intersects (-l, y)", ""),
        ("exec.args intersects ('a b', q)", "exec:0"),
        ("exec.args intersects (a, b)", ""),
        ("not exec.args intersects (a, b) and evt.category = exec", "exec:0"),
        ("proc.name intersects (web, x) and evt.category = exec", "exec:0"),
        ("evt.arg.fd intersects (3, 4)", "syscall:2"),
        ("evt.rawres intersects (512, 513)", "syscall:3"),
        ("proc.cmdline contains allof (web, -v) and evt.category = exec", "exec:0"),
        ("proc.cmdline contains allof (web, -q)", ""),
        (
            "proc.cmdline contains oneof (web, -v)",
            "syscall:0 syscall:1 syscall:3 syscall:4 fork:0 exit:0 exit:1 cgroup_mkdir:0 loss:0",
        ),
        ("fd.name startswith anyof (/etc/h, /usr)", "syscall:0"),
        ("evt.type = anyof (close, exec)", "syscall:2 exec:0"),
        ("evt.type = allof (close, exec)", ""),
        ("evt.type = oneof (close, exec)", "syscall:2 exec:0"),
        ("container.id = oneof (cc, ccc)", ""),
        ("container.id = oneof (aa, cc) and evt.category = exec", "exec:0"),
        ("evt.rawres = anyof (3, 512)", "syscall:0 syscall:3"),
        ("proc.name in ()", ""),
        ("not proc.name in () and evt.category = exec", "exec:0"),
        // As in sysdig, `!=` counts the values that differ.
        ("syscall.type != allof (openat, read) and evt.category = syscall", "syscall:2"),
        (
            "syscall.type != anyof (close, close) and evt.category = syscall",
            "syscall:0 syscall:1 syscall:3 syscall:4",
        ),
        ("syscall.type != oneof (close, read) and evt.category = syscall", "syscall:2 syscall:3 syscall:4"),
        ("not syscall.type != oneof (close, read) and evt.category = syscall", "syscall:0 syscall:1"),
    ] {
        assert_eq!(matching(text), expected, "{text}");
    }
}

#[test]
fn fields_compare_with_each_other() {
    for (text, expected) in [
        ("proc.pid = val(thread.tid) and evt.type = openat", "syscall:0"),
        ("proc.pid != val(thread.tid) and evt.type = openat", "syscall:1"),
        ("proc.pid < val(thread.tid)", "syscall:1"),
        ("proc.ppid >= val(proc.pid)", ""),
        ("fd.num = val(evt.arg.fd)", "syscall:2 syscall:3 syscall:4"),
        ("evt.rawres = val(evt.arg.count)", "syscall:3"),
        ("evt.rawres < val(evt.arg.count)", "syscall:4"),
        ("fork.child_pid > val(proc.pid)", "fork:0"),
        ("basename(proc.exepath) = val(proc.name) and evt.category = exec", "exec:0"),
        ("proc.exepath endswith val(proc.name) and evt.category = exec", "exec:0"),
        ("tolower(evt.type) = tolower(evt.category)", "fork:0 exec:0 exit:0 exit:1 cgroup_mkdir:0 loss:0"),
        ("evt.type = val(syscall.type) and proc.name = web", "syscall:2"),
        ("fd.name = val(evt.arg.filename)", "syscall:0 syscall:1"),
        ("evt.latency > val(evt.reltime)", ""),
        ("thread.name = val(proc.pname) and evt.type = openat", ""),
    ] {
        assert_eq!(matching(text), expected, "{text}");
    }
}

#[test]
fn missing_values_fail_and_pass_only_not_equal() {
    for text in [
        "tolower(fd.name) = /x",
        "len(fd.name) >= 0",
        "fd.name contains allof (a)",
        "fd.name regex '.*'",
        "fd.name pmatch (/)",
        "concat('', fd.name) contains ''",
        "join(',', (fd.name, proc.name)) exists",
        "fd.name = val(fd.name)",
        "proc.name = val(fd.name)",
        "exec.args intersects (a)",
    ] {
        let (found, opposite) = (matching(text), matching(&format!("not {text}")));
        assert!(!found.contains("loss:0") && opposite.contains("loss:0"), "{text}: {found}; {opposite}");
    }
    assert!(matching("tolower(fd.name) != /x").contains("loss:0"));
    assert!(matching("fd.name != val(fd.name)").contains("loss:0"));
    assert!(matching("fd.name != anyof (a, b)").contains("loss:0"));
    assert!(matching("fd.name != oneof (a)").contains("loss:0"));
    assert!(!matching("fd.name != oneof (a, b)").contains("loss:0"));
}

#[test]
fn both_files_of_a_call_are_compared() {
    fn renames(header: &Header) -> TestChunk {
        let mut chunk = TestChunk::new(header);
        let cgroup = chunk.cgroup(1, "/", &[]);
        let task = chunk.task(7, 7, "mv", cgroup);
        let strs = vec![b"/d/old".to_vec(), b"/d/New".to_vec()];
        chunk.call(1_000_000, task, &TestCall { strs, ..call("rename", &[1, 1], 0) });
        chunk
    }
    for (text, expected) in [
        ("tolower(fd.name) = /d/old", "syscall:0"),
        ("tolower(fd.name) = /d/new", "syscall:0"),
        ("tolower(fd.name) != /d/new", ""),
        ("basename(fd.name) = New", "syscall:0"),
        ("fd.name = val(evt.arg.newname)", "syscall:0"),
        ("evt.arg.newname = val(fd.name)", "syscall:0"),
        ("evt.arg.newname = val(evt.arg.oldname)", ""),
        ("fd.name contains allof (/d/, old)", "syscall:0"),
        ("fd.name contains allof (New, old)", ""),
        ("concat(fd.name, '') = /d/old", "syscall:0"),
    ] {
        assert_eq!(matching_of(renames, text), expected, "{text}");
    }
}

#[test]
fn text_that_could_not_be_read_is_missing_in_functions() {
    for (text, expected) in [
        ("len(exec.path) exists", "exec:0 exec:2"),
        ("len(exec.path) = 0", ""),
        ("exec.path = val(exec.path)", "exec:0 exec:2"),
        ("len(exec.args) > 0", "exec:0 exec:2"),
        ("len(proc.args) = 2 and evt.category = exec", "exec:0 exec:1 exec:2"),
        ("evt.incomplete intersects (exec.args)", "exec:0 exec:1"),
        ("tolower(fd.name) exists", "syscall:0"),
    ] {
        assert_eq!(matching_of(incomplete, text), expected, "{text}");
    }
}

#[test]
fn chunks_without_the_fields_are_ruled_out() {
    for text in [
        "tolower(rename_task.comm) = a",
        "proc.name = val(rename_task.comm)",
        "tolower(container.name) = a and evt.type = futex",
        "evt.type = allof (openat, futex)",
        "evt.type regex 'fut.*'",
        "container.id = anyof (dd, ee)",
    ] {
        assert!(pruned(text), "{text}");
    }
    for text in [
        "tolower(rename_task.comm) != a",
        "not proc.name = val(rename_task.comm)",
        "tolower(evt.type) = futex",
        "evt.type = val(proc.name)",
        "evt.type != oneof (openat, futex)",
        "container.id != allof (aa, cc)",
        "evt.type iglob OPEN*",
        "evt.time = oneof (+1s, +5s)",
    ] {
        assert!(!pruned(text), "{text}");
    }
}

#[test]
fn all_fields_count_for_what_a_filter_selects() {
    let filter = |text: &str| Filter::parse(text).unwrap_or_else(|e| panic!("{e}"));
    assert!(filter("evt.type = val(proc.name)").selects_parties());
    assert!(filter("tolower(proc.name) = a").selects_parties());
    assert!(!filter("tolower(evt.type) = a or evt.type = val(evt.category)").selects_parties());
    assert_eq!(filter("proc.name = val(proc.pname)").names_ancestors(), Shown::Name);
    assert_eq!(filter("proc.name != val(proc.pname)").names_ancestors(), Shown::Nothing);
    assert_eq!(filter("proc.aname[0] = a").names_ancestors(), Shown::Nothing);
    assert_eq!(filter("proc.apid = 1 or not proc.pexe = a").names_ancestors(), Shown::Name);
    assert_eq!(filter("proc.aname[1] = a or tolower(proc.acmdline) = b").names_ancestors(), Shown::All);
    assert_eq!(filter("proc.pid = val(fork.child_pid)").named_columns().count(), 1);
    assert!(filter("len(loss.stage) > 2").asks_for_loss());
    assert!(filter("toupper(evt.category) = LOSS").asks_for_loss());
    assert!(!filter("evt.category = LOSS").asks_for_loss());
    assert_eq!(filter("container.id = anyof (aa, bb)").container_ids().count(), 2);
    assert_eq!(filter("tolower(container.id) = aa").container_ids().count(), 0);
}

#[test]
fn names_of_arguments_in_functions_are_checked() {
    let checked = |text: &str| {
        let filter = Filter::parse(text).unwrap();
        filter.check(std::iter::empty()).map_err(|error| error.message)
    };
    assert_eq!(checked("tolower(evt.arg.filename) = x"), Ok(()));
    for (text, column) in [
        ("tolower(evt.arg.filenam) = x", 17),
        ("proc.name = val(evt.arg.filenam)", 25),
        ("concat(proc.name, evt.arg.filenam) = x", 27),
    ] {
        let expected =
            format!("no syscall has an argument named `filenam` (did you mean filename?) (column {column})");
        assert_eq!(checked(text), Err(expected), "{text}");
    }
}

#[test]
fn lost_events_that_may_have_passed_are_counted() {
    let header = Arc::new(header(1));
    let chunk = sample(&header).chunk();
    let binding = Binding::new(header);
    let view = ChunkView::open(&chunk, &binding).unwrap();
    let names = ContainerNames::default();
    let context = Context { names: &names, start: WALL };
    let lost = LostEvents { kind: Kind::Syscall as u64, cgroup: Some(0), from: WALL, to: WALL + 1 };
    for (text, expected) in [
        ("tolower(proc.name) = a", true),
        ("proc.name = val(proc.pname)", true),
        ("tolower(container.id) = no-such", true),
        ("basename(fd.name) = a", true),
        ("tolower(exec.path) = a", false),
        ("proc.name = val(exec.path)", false),
        ("tolower(exec.path) != a", true),
        ("not proc.name = val(exec.path)", true),
        ("evt.type = allof (read, write)", false),
        ("evt.type != allof (read, write)", true),
        ("evt.type regex 'rea.'", true),
        ("evt.type regex 'rea'", false),
    ] {
        let filter = Filter::parse(text).unwrap();
        assert_eq!(may_match_lost(filter.expr(), &context, &view, &lost), expected, "{text}");
    }
}
