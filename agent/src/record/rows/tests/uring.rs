//! Requests of io_uring.

use agent_ebpf::records::uring::{Request, TextHead, Uring, bits};

use super::*;
use crate::kernel::uring::OPERATIONS;

/// A request of process 10 at 100 ns.
fn request(name: &str, sqe: [u64; 8]) -> Request {
    let opcode = OPERATIONS.iter().position(|operation| operation.name == name).unwrap() as u32;
    Request { start: 100, id: 77, pid: 10, tid: 10, opcode, sqe, user_data: 5, ..Request::default() }
}

fn completion(time: u64, request: Request, result: i32) -> Uring {
    Uring { head: head(Kind::Uring, time, 10), request, result, ..Uring::default() }
}

fn text(slot: u32, bytes: &[u8]) -> Vec<u8> {
    let head = Header { class: 18, ..head(Kind::Syscall, 100, 0) };
    let fixed = TextHead { head, id: 77, slot, len: bytes.len() as u32 };
    [bytes_of(&fixed), bytes].concat()
}

/// The arguments and strings of the requests.
fn calls(seen: &SeenChunk) -> Vec<(Vec<u64>, Vec<String>, u32)> {
    let view = seen.view();
    let strs = column(Kind::Uring, "strs");
    rows_of(&view, Kind::Uring)
        .map(|(rows, row)| {
            let args = ktape_reader::model::CallColumns::new(rows).args(row).to_vec();
            let strings = rows.table.list_bytes(rows.event.known(strs).unwrap()).unwrap();
            let strings = strings.get(row).iter().map(|id| rows.table.chunk().str(*id));
            let strings = strings.map(|text| String::from_utf8_lossy(text).into_owned()).collect();
            (args, strings, rows.flags(row))
        })
        .collect()
}

#[test]
fn a_request_is_written_as_the_call_that_does_the_same() {
    let mut writer = Writer::open();
    // fd, off, addr, len and flags.
    let open = request("OPENAT", [(-100i64 as u64) << 32, 0, 0x1000, 2 << 32 | 0o640, 0, 0, 0, 0]);
    let open = Request { bits: bits::TEXT0, ..open };
    writer.rows.add(&mut writer.builder, &text(0, b"/etc/hosts"));
    writer.add(&completion(350, open, 4));
    writer.add(&completion(400, request("NOP", [0; 8]), 0));
    let seen = writer.close();
    assert_eq!(seen.texts(Kind::Uring, "opcode"), ["OPENAT", "NOP"]);
    assert_eq!(seen.numbers(Kind::Uring, "dur"), [250, 300]);
    assert_eq!(seen.numbers(Kind::Uring, "call"), [u64::from(key("openat")), u64::from(NO_CALL)]);
    assert_eq!(seen.numbers(Kind::Uring, "user_data"), [5, 5]);
    let calls = calls(&seen);
    assert_eq!(calls[0], (vec![-100i64 as u64, 1, 2, 0o640], vec!["/etc/hosts".to_owned()], 0));
    assert_eq!(calls[1], (vec![], vec![], 0));
}

#[test]
fn a_string_that_was_dropped_is_unread_and_one_that_was_not_sent_is_as_marked() {
    let mut writer = Writer::open();
    let unlink = Request { bits: bits::TEXT0, ..request("UNLINKAT", [0, 0, 0x1000, 0, 0, 0, 0, 0]) };
    writer.add(&completion(200, unlink, 0));
    let head = Header { flags: flags::STR1_UNREAD, ..head(Kind::Uring, 300, 10) };
    let rename = request("RENAMEAT", [0, 0x2000, 0x1000, 0, 0, 0, 0, 0]);
    writer.rows.add(&mut writer.builder, &text(0, b"a"));
    writer.add(&Uring { head, ..completion(300, Request { bits: bits::TEXT0, ..rename }, -2) });
    let seen = writer.close();
    let bits: Vec<u32> = calls(&seen).iter().map(|(.., bits)| *bits).collect();
    assert_eq!(bits, [flags::STR0_UNREAD, flags::STR1_UNREAD]);
}

#[test]
fn of_a_request_that_is_not_identified_only_the_result_is_known() {
    let mut writer = Writer::open();
    let read = request("READ", [3 << 32, 0, 0x1000, 5, 0, 0, 0, 0]);
    writer.add(&completion(200, Request { bits: bits::AMBIGUOUS, files: [9, 9], others: 1, ..read }, 5));
    let unseen = Request { bits: bits::UNKNOWN | bits::NO_ENTRY, start: 300, ..request("READ", [0; 8]) };
    let head = Header { flags: flags::START_UNKNOWN, ..head(Kind::Uring, 300, 10) };
    writer.add(&Uring { head, ..completion(300, unseen, -11) });
    let seen = writer.close();
    assert_eq!(seen.texts(Kind::Uring, "opcode"), ["unknown", "READ"]);
    for (args, strings, bits) in calls(&seen) {
        assert_eq!((args, strings, bits & flags::START_UNKNOWN), (vec![], vec![], flags::START_UNKNOWN));
    }
}

#[test]
fn requests_in_flight_at_the_end_are_unfinished_unless_they_may_have_succeeded() {
    let mut writer = Writer::open();
    let silent = request("WRITE", [1 << 14, 0, 0, 0, 0, 0, 0, 0]);
    for request in [request("READ", [0; 8]), silent] {
        writer.rows.uring_unfinished(&mut writer.builder, &request, 900);
    }
    let seen = writer.close();
    assert_eq!(seen.numbers(Kind::Uring, "dur"), [800, 800]);
    let bits: Vec<u32> = calls(&seen).iter().map(|(.., bits)| *bits).collect();
    assert_eq!(bits, [flags::UNFINISHED | flags::AT_END, flags::NO_RESULT]);
    assert_eq!(seen.texts(Kind::Uring, "sqe_flags"), ["", "skip_success"]);
}

#[test]
fn requests_of_other_kinds_and_readers_are_not_written() {
    let mut writer = Writer::new(&[Kind::Syscall], None, ContainerFilter::default());
    writer.add(&completion(200, request("NOP", [0; 8]), 0));
    assert_eq!(rows_of(&writer.close().view(), Kind::Uring).count(), 0);
}
