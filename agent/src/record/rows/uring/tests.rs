use agent_ebpf::records::uring::TextHead;
use events::KINDS;
use ktape_reader::fields::words;

use super::*;

fn request(opcode: u32, flags: u64) -> Request {
    let mut request = Request { opcode, ..Request::default() };
    request.sqe[0] = u64::from(opcode) | flags << 8;
    request
}

fn number(name: &str) -> u32 {
    OPERATIONS.iter().position(|operation| operation.name == name).unwrap() as u32
}

#[test]
fn filters_know_every_flag() {
    let all: Vec<&str> = SQE_FLAGS.into_iter().chain([DIRECT]).collect();
    assert_eq!(all, words::URING_FLAGS.all, "in the order in which they are joined");
    assert!(KINDS.contains(&Kind::Uring));
}

#[test]
fn flags_are_joined_and_a_place_of_the_rings_own_is_direct() {
    assert_eq!(flag_words(&request(0, 0), true), "");
    assert_eq!(flag_words(&request(0, 0b101_0001), false), "fixed_file|async|skip_success");
    let mut open = request(number("OPENAT"), 1 << 2);
    open.sqe[5] = 7 << 32;
    assert_eq!(flag_words(&open, true), "link|direct");
    assert_eq!(flag_words(&open, false), "link", "an operation to which the number is something else");
}

#[test]
fn a_read_without_an_offset_is_another_call() {
    let read = &STORED[number("READ") as usize];
    let mut at = request(number("READ"), 0);
    at.sqe[1] = 4096;
    let key = |name: &str| native(name).unwrap().key();
    assert_eq!(read.call_of(&at), key("pread64"));
    at.sqe[1] = u64::MAX;
    assert_eq!(read.call_of(&at), key("read"));
    assert_eq!(STORED[number("NOP") as usize].call_of(&at), NO_CALL);
}

#[test]
fn operations_have_names_unless_requests_are_ambiguous() {
    assert_eq!(name_of(&request(number("CONNECT"), 0)), "CONNECT");
    assert_eq!(name_of(&request(200, 0)), "OP_200");
    assert_eq!(name_of(&Request { bits: bits::AMBIGUOUS, ..request(3, 0) }), "unknown");
}

#[test]
fn strings_are_kept_until_the_last_completion_and_not_without_end() {
    let text = |id: u64, slot: u32, bytes: &[u8]| {
        let fixed = TextHead { id, slot, len: bytes.len() as u32, ..TextHead::default() };
        [decode::bytes_of(&fixed), bytes].concat()
    };
    let mut kept = Submissions::default();
    kept.keep(&text(1, 0, b"old")).unwrap();
    kept.keep(&text(1, 1, b"new")).unwrap();
    kept.keep(&text(2, 0, b"")).unwrap();
    assert_eq!(kept.keep(&text(3, 2, b"x")), None, "no such string");
    assert_eq!(kept.keep(&text(3, 0, b"x")[..40]), None, "cut");
    let strings = |strings: Strings| strings.map(|text| text.map(|text| text.to_vec()));
    let both = [Some(b"old".to_vec()), Some(b"new".to_vec())];
    assert_eq!(strings(kept.of(1, true)), both);
    assert_eq!(strings(kept.of(1, false)), both);
    assert_eq!(strings(kept.of(1, false)), [None, None]);
    assert_eq!(strings(kept.of(2, false)), [Some(Vec::new()), None]);
    assert_eq!((kept.strings.len(), kept.bytes), (0, 0));
    // One that waits is kept, however many others complete meanwhile.
    kept.keep(&text(9, 0, b"waits")).unwrap();
    for id in 10..10_000 {
        kept.keep(&text(id, 0, b"x")).unwrap();
        kept.of(id, false);
    }
    assert!(kept.order.len() <= COMPLETED_MAX + 4, "{}", kept.order.len());
    let long = vec![b'x'; 4000];
    let fit = (KEPT_BYTES - 5) / long.len();
    for id in 0..fit as u64 {
        kept.keep(&text(20_000 + id, 0, &long)).unwrap();
    }
    assert_eq!(strings(kept.of(9, true)), [Some(b"waits".to_vec()), None]);
    kept.keep(&text(30_000, 0, &long)).unwrap();
    assert_eq!(strings(kept.of(9, true)), [None, None], "the oldest");
    assert!(kept.bytes <= KEPT_BYTES);
}
