//! Calls that do not return at once.

use agent_ebpf::records::cpu::word;

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

#[test]
fn strings_that_change_during_a_call_are_marked() {
    let mut writer = Writer::open();
    let mut time = 0;
    let mut call = |address: u64, entry: &str, again: &str| {
        time += 3;
        let args = vec![0xffff_ffff_ffff_ff9c, address, 0x8_0000, 0, 99, 99];
        let of = |time, sort, path| Call { sort, args: args.clone(), ..openat(time, 10, path) };
        writer.call(&of(time, sort::ENTERED, entry));
        writer.call(&of(time + 1, sort::AGAIN, again));
        writer.call(&of(time + 2, sort::LONG_ENTERED, ""));
    };
    call(0x1000, "/a", "/a");
    call(0x2000, "/a", "/a");
    // From here on, it is not known what is true of it, and was not of the calls before.
    call(0x1000, "/b", "/a");
    call(0x1000, "/a", "/a");
    call(0x2000, "/a", "/a");
    // A thread that was interrupted has them in the record of its return.
    let again = word::AGAIN | flags::STRINGS_UNCERTAIN;
    writer.call(&Call { sort: sort::ENTERED, ..openat(20, 12, "/a") });
    writer.call(&Call { sort: sort::LONG, flags: again, ..openat(21, 12, "/a") });
    writer.call(&Call { sort: sort::ENTERED, ..openat(22, 13, "/a") });
    writer.call(&Call { sort: sort::LONG, flags: again, ..openat(23, 13, "/b") });
    assert_eq!(bits_of(writer), [1, 0, 1, 1, 0, 0, 1].map(|late| late * flags::STRINGS_UNCERTAIN));
}

#[test]
fn strings_that_a_call_brings_twice_are_compared() {
    let mut writer = Writer::open();
    let of = |time, again| Call {
        flags: word::AGAIN | flags::STR1_UNREAD,
        ..call_with(time, 10, "openat", ["/a", again])
    };
    writer.call(&of(1, "/a"));
    writer.call(&of(2, "/b"));
    writer.call(&openat(3, 11, "/a"));
    assert_eq!(bits_of(writer), [1, 1, 0].map(|uncertain| uncertain * flags::STRINGS_UNCERTAIN));
}

#[test]
fn the_path_of_a_failed_exec_is_compared_but_not_its_arguments() {
    let mut writer = Writer::open();
    let mut execve = |time, pid, again| {
        writer.add(&exec_given(time, pid, "/bin/x", b"x\0"));
        let failed = call_with(time + 1, pid, "execve", [again, ""]);
        let flags = word::AGAIN | flags::STR1_UNREAD;
        writer.call(&Call { ret: -2, sort: sort::LONG, flags, ..failed });
    };
    execve(1, 10, "/bin/x");
    execve(3, 11, "/bin/y");
    assert_eq!(bits_of(writer), [0, flags::STRINGS_UNCERTAIN]);
}

#[test]
fn a_result_over_the_path_is_no_change() {
    let mut writer = Writer::open();
    let of = |time, sort, path| Call {
        sort,
        args: vec![0x1000, 0x1000, 4095, 0, 0, 0],
        ..call_with(time, 10, "readlink", [path, ""])
    };
    writer.call(&of(1, sort::ENTERED, "/link"));
    writer.call(&of(2, sort::AGAIN, "target"));
    writer.call(&of(3, sort::LONG_ENTERED, ""));
    assert_eq!(bits_of(writer), [0]);
}

fn bits_of(writer: Writer) -> Vec<u32> {
    let seen = writer.close();
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Syscall).next().unwrap();
    (0..rows.table.rows()).map(|row| rows.flags(row)).collect()
}
