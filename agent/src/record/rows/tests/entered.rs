//! Calls that do not return at once.

use super::*;
use crate::kernel::OpenCall;

#[test]
fn a_call_that_waits_has_the_strings_that_it_was_given() {
    let given = Call { time: 3, sort: sort::ENTERED, ..openat(3, 10, "/run/fifo") };
    let returned = Call { sort: sort::LONG_ENTERED, dur: 1 << 33, ..call_with(9, 10, "openat", ["", ""]) };
    let mut writer = Writer::open();
    for call in [&given, &returned, &given] {
        writer.call(call);
    }
    // Its entry was lost.
    writer.call(&Call { thread: StreamThread { tid: 12, ..given.thread }, ..returned });
    let task = ScannedTask {
        info: TaskInfo {
            cgroup: 7,
            pid: 10,
            tid: 10,
            call: key("openat"),
            call_start: 40,
            ..TaskInfo::default()
        },
        exe: Vec::new(),
    };
    writer.rows.unfinished(&mut writer.builder, &task, 100);
    let open = OpenCall { cpu: 1, start: 50, key: key("openat"), draft: openat(1, 10, "/on/cpu").record() };
    writer.rows.unfinished_on_cpu(&mut writer.builder, &writer.stream, &open, 100);
    let seen = writer.close();
    assert_eq!(seen.numbers(Kind::Syscall, "dur"), [1 << 33, 1 << 33, 60, 50]);
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Syscall).next().unwrap();
    let strings = rows.table.list_bytes(rows.event.known(column(Kind::Syscall, "strs")).unwrap()).unwrap();
    let strings: Vec<&[u8]> = (0..4).map(|row| rows.table.chunk().str(strings.get(row)[0])).collect();
    assert_eq!(strings, [&b"/run/fifo"[..], b"", b"/run/fifo", b"/on/cpu"]);
    let bits: Vec<u32> = (0..4).map(|row| rows.flags(row)).collect();
    let unfinished = flags::UNFINISHED | flags::AT_END;
    assert_eq!(bits, [0, flags::STR0_UNREAD, unfinished, unfinished]);
}
