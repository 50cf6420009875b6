//! What filters make of requests of io_uring.

use super::tests::{matching_of, pruned};
use crate::model::testing::requests;

#[test]
fn filters_find_requests_by_what_they_share_with_calls_and_by_their_own_fields() {
    for (text, expected) in [
        ("fd.name=/etc/hosts", "syscall:0 uring:0 uring:1"),
        ("uring.file=/etc/hosts", "uring:0 uring:1"),
        ("uring.file startswith pipe", "uring:2 uring:5"),
        ("uring.path=/b or fs.path.target=/b", "uring:3"),
        ("evt.arg.filename=/etc/hosts and evt.is_open_read=true", "syscall:0 uring:0"),
        ("uring.opcode=READ and uring.result=50", "uring:1"),
        ("uring.call=pread64", "uring:1"),
        ("uring.sqe_flags contains link", "uring:1"),
        ("evt.type=uring and evt.failed=true", "uring:3"),
        ("evt.count.error=1", "uring:3"),
        ("syscall.type=openat", "syscall:0"),
        ("evt.is_io_read=true and fd.name=/etc/hosts", "uring:1"),
        ("evt.is_io=true and evt.type=uring", "uring:1 uring:5"),
        (
            "toupper(evt.type)=URING and evt.is_io_write=false",
            "uring:0 uring:1 uring:2 uring:3 uring:4 uring:5",
        ),
        ("toupper(evt.type)=OPENAT", "syscall:0"),
        ("toupper(uring.file)=/ETC/HOSTS", "uring:0 uring:1"),
        ("not uring.file exists and evt.type=uring", "uring:4"),
    ] {
        assert_eq!(matching_of(requests, text), expected, "{text}");
    }
    assert!(pruned("uring.opcode=READ") && pruned("uring.file=/etc/hosts"), "chunks without requests");
    assert!(!pruned("fd.name=/etc/hosts"));
}
