//! What views make of requests of io_uring.

use super::tests::written;
use super::*;
use crate::model::ContainerNames;
use crate::model::testing::{header, requests};

fn lines(format: Format) -> Vec<String> {
    written(requests(&header(1)), &ContainerNames::default(), format.view(TimeZone::UTC))
}

#[test]
fn requests_are_written_as_calls_by_the_names_of_their_operations() {
    let lines = lines(Format::Text);
    let text: Vec<&str> = lines.iter().map(|line| line.split_once("app(7) ").unwrap().1).collect();
    assert_eq!(
        text[..6],
        [
            "uring OPENAT(AT_FDCWD, \"/etc/hosts\", O_RDONLY|O_CLOEXEC) = 3</etc/hosts> <12.4us> user_data=0x1f",
            "uring READ(0</etc/hosts>, _, 50, 0) = 50 <12.4us> fixed_file|link user_data=0x1f",
            "uring POLL_ADD(<pipe:[4711]>) = 1 <12.4us> more user_data=0x1f",
            "uring RENAMEAT(AT_FDCWD, \"/a\", AT_FDCWD, \"/b\", 0) = -1 ENOENT <12.4us> user_data=0x1f",
            "uring NOP() = ? skip_success user_data=0x1f",
            "uring READ(3<pipe:[4711]>, _, 1) = ? <unfinished 12.4us, capture ended> user_data=0x1f",
        ]
    );
}

#[test]
fn json_has_arguments_and_files_of_requests() {
    let lines = lines(Format::Json);
    for (line, parts) in [
        (
            0,
            &[
                r#""evt.type":"uring""#,
                r#""evt.arg.filename":"/etc/hosts""#,
                r#""fd.name":"/etc/hosts""#,
                r#""fd.num":3"#,
                r#""uring.opcode":"OPENAT""#,
                r#""uring.call":"openat""#,
                r#""uring.result":3"#,
                r#""uring.more":false"#,
            ][..],
        ),
        (
            1,
            &[
                r#""uring.sqe_flags":"fixed_file|link""#,
                r#""fd.name":"/etc/hosts""#,
                r#""uring.user_data":31"#,
            ],
        ),
        (2, &[r#""fd.name":"pipe:[4711]""#, r#""uring.more":true"#]),
        (3, &[r#""evt.res":"ENOENT""#, r#""evt.failed":true"#]),
    ] {
        for part in parts {
            assert!(lines[line].contains(part), "{part}: {}", lines[line]);
        }
    }
    assert!(!lines[1].contains("fd.num"), "a place among the ring's own files: {}", lines[1]);
    assert!(!lines[4].contains("uring.call") && !lines[4].contains("evt.rawres"), "{}", lines[4]);
}
