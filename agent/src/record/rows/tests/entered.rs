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

/// The strings of each event of a kind.
fn strings(view: &ktape_reader::model::ChunkView<'_>, kind: Kind) -> Vec<Vec<String>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    rows_of(view, kind)
        .map(|(rows, row)| {
            let strings = rows.table.list_bytes(rows.event.known(column(kind, "strs")).unwrap()).unwrap();
            strings.get(row).iter().map(|id| text(rows.table.chunk().str(*id))).collect()
        })
        .collect()
}

#[test]
fn a_mount_has_three_strings_also_while_it_hangs() {
    let mut writer = Writer::open();
    let given = call_with(3, 10, "mount", ["/dev/vdb", "/mnt\0ext4"]);
    writer.call(&Call { sort: sort::ENTERED, ..given });
    let place = Arc::new(SleepPlace { call: key("mount"), args: [1; 6], ..SleepPlace::UNKNOWN });
    let stall = Stall {
        time: 5,
        dur: 2,
        phase: Phase::Unfinished,
        pid: 10,
        tid: 10,
        uid: 0,
        cgroup: 7,
        place,
        waker: None,
    };
    writer.rows.add_agent_event(&mut writer.builder, &AgentEvent::Stall(Box::new(stall)));
    writer.call(&Call { sort: sort::LONG_ENTERED, ..call_with(9, 10, "mount", ["", ""]) });
    let seen = writer.close();
    let expected = [["/dev/vdb", "/mnt", "ext4"]];
    assert_eq!(strings(&seen.view(), Kind::Stall), expected);
    assert_eq!(strings(&seen.view(), Kind::Syscall), expected);
}

#[test]
fn what_a_call_fills_in_joins_what_it_was_given() {
    let mut writer = Writer::open();
    let mut call = |name: &str, given: [&str; 2], filled: Option<[&str; 2]>| {
        writer.call(&Call { sort: sort::ENTERED, ..call_with(3, 10, name, given) });
        let returned = match filled {
            Some(filled) => Call { sort: sort::LONG, flags: word::AGAIN, ..call_with(9, 10, name, filled) },
            None => Call { sort: sort::LONG_ENTERED, ..call_with(9, 10, name, ["", ""]) },
        };
        writer.call(&returned);
    };
    call("ppoll", ["asked", "limit"], Some(["ready", ""]));
    call("ppoll", ["asked", "limit"], None);
    call("prlimit64", ["new", ""], Some(["", "old"]));
    call("prlimit64", ["new", ""], Some(["", ""]));
    // Addresses of messages, of which the last one has none.
    call("sendmmsg", ["\x02ab\0", ""], None);
    let seen = writer.close();
    let expected: [&[&str]; 5] =
        [&["ready", "limit"], &["asked", "limit"], &["new", "old"], &["new", ""], &["\x02ab"]];
    assert_eq!(strings(&seen.view(), Kind::Syscall), expected);
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

#[test]
fn a_number_in_place_of_a_structure_was_not_read() {
    const F_SETLKW: u64 = 7;
    const F_SETPIPE_SZ: u64 = 1031;
    const FUTEX_WAIT: u64 = 0;
    const FUTEX_REQUEUE: u64 = 3;
    let mut writer = Writer::open();
    let calls =
        [("fcntl", F_SETLKW), ("fcntl", F_SETPIPE_SZ), ("futex", FUTEX_WAIT), ("futex", FUTEX_REQUEUE)];
    for (time, (name, command)) in (1..).step_by(2).zip(calls) {
        let args = vec![3, command, 1 << 20, 1 << 20, 0, 0];
        let unread = flags::STR0_UNREAD;
        writer.call(&Call { args: args.clone(), flags: unread, ..call_with(time, 10, name, ["", ""]) });
        writer.call(&Call { args, ..call_with(time + 1, 10, name, ["memory", ""]) });
    }
    let seen = writer.close();
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Syscall).next().unwrap();
    let bits: Vec<u32> = (0..8).map(|row| rows.flags(row)).collect();
    let unread = flags::STR0_UNREAD;
    assert_eq!(bits, [unread, 0, 0, 0, unread, 0, 0, 0]);
    let expected = [[""], ["memory"], [""], [""], [""], ["memory"], [""], [""]];
    assert_eq!(strings(&view, Kind::Syscall), expected);
}

#[test]
fn the_path_of_a_call_that_fills_in_is_compared_with_what_it_is_at_the_return() {
    let mut writer = Writer::open();
    for at_return in ["/srv/a", "/srv/b"] {
        writer.call(&Call { sort: sort::ENTERED, ..call_with(3, 10, "stat", ["/srv/a", ""]) });
        let filled = call_with(9, 10, "stat", [at_return, "64 bytes"]);
        writer.call(&Call { sort: sort::LONG, flags: word::AGAIN, ..filled });
    }
    let seen = writer.close();
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Syscall).next().unwrap();
    // The memory is known to change from then on, so the call before it is uncertain, too.
    let bits: Vec<u32> = (0..2).map(|row| rows.flags(row)).collect();
    assert_eq!(bits, [flags::STRINGS_UNCERTAIN; 2]);
    assert_eq!(strings(&view, Kind::Syscall), [["/srv/a", "64 bytes"]; 2]);
}
