use std::sync::Arc;

use crate::fields::{Value, lookup, values};
use crate::model::testing::{TestChunk, call, header};
use crate::model::{Binding, ChunkView, ContainerNames, Context, Event};

/// The value of a field in a call of a thread whose details are known, or not; `-` for none.
fn value(name: &str, is_known: bool) -> String {
    let mut chunk = TestChunk::new(&header(1));
    let host = chunk.cgroup(1, "/", &[]);
    let task = if is_known { chunk.task(40, 42, "nginx", host) } else { chunk.nameless(40, 42, host) };
    chunk.call(1_000, task, &call("getppid", &[], 1));
    let binding = Binding::new(Arc::new(header(1)));
    let chunk = chunk.chunk();
    let view = ChunkView::open(&chunk, &binding).unwrap();
    let names = ContainerNames::default();
    let context = Context { names: &names, start: 0 };
    let rows = view.tables().find(|rows| rows.len() == 1).unwrap();
    let (field, _) = lookup(name).unwrap();
    match values::value(Event::new(&context, &view, rows, 0), &field, &mut Vec::new()) {
        Value::Missing => "-".to_owned(),
        value => value.to_string(),
    }
}

#[test]
fn details_of_a_thread_are_known_together() {
    for (field, expected) in [
        ("proc.vpid", "7"),
        ("thread.vtid", "9"),
        ("proc.sid", "40"),
        ("proc.sname", "nginx"),
        ("proc.is_sid_leader", "1"),
        ("proc.pgid", "40"),
        ("proc.vpgid", "7"),
        ("proc.is_pgid_leader", "1"),
        ("proc.is_vpgid_leader", "1"),
        ("proc.tty", "34816"),
        ("proc.exe_ino", "4711"),
        ("proc.is_exe_upper_layer", "1"),
        ("proc.is_exe_from_memfd", "0"),
        ("group.gid", "100"),
        ("group.name", "users"),
        ("user.loginuid", "1001"),
        ("user.loginname", "bob"),
        ("thread.cap_effective", "CAP_DAC_OVERRIDE CAP_SYS_ADMIN"),
        ("thread.cap_permitted", "CAP_CHOWN CAP_DAC_OVERRIDE CAP_SYS_ADMIN"),
        ("thread.cap_inheritable", ""),
    ] {
        assert_eq!(value(field, true), expected, "{field}");
        assert_eq!(value(field, false), "-", "{field} where it is unknown");
    }
    for field in ["proc.env", "fd.sip.name", "fd.cip.name", "fd.lip.name", "fd.rip.name"] {
        assert_eq!(value(field, true), "-", "{field}");
    }
}
