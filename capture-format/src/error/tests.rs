use super::*;

#[test]
fn messages_name_place_expected_and_found() {
    let table = [
        (
            FormatError::Version { offset: 7, expected: 0x0001, found: 0x0109 },
            "at byte 7: format version 1.9, this reader knows 0.1; read it with the ktape release that wrote it",
        ),
        (
            FormatError::Magic { offset: 7, expected: 0xab, found: 0xcd },
            "at byte 7: no block begins here (magic 00000000000000cd, expected 00000000000000ab)",
        ),
        (
            FormatError::Checksum { offset: 7, part: "a body", expected: 1, found: 2 },
            "at byte 7: checksum of a body is 00000002, expected 00000001",
        ),
        (
            FormatError::Truncated { offset: 7, what: "a block", expected: 9, found: 8 },
            "at byte 7: a block is cut: 8 bytes of 9",
        ),
        (
            FormatError::TooShort { offset: 7, what: "encoded data", expected: 9, found: 8 },
            "at byte 7: encoded data ends too early: 8 bytes left, expected 9",
        ),
        (
            FormatError::Limit { offset: Some(7), what: "length of a list", limit: 64, found: 65 },
            "at byte 7: length of a list is 65, the limit is 64",
        ),
        (FormatError::invalid(7, "reference", "below 3", 3), "at byte 7: reference is 3, expected below 3"),
        (FormatError::invalid(None, "reference", "below 3", 3), "reference is 3, expected below 3"),
        (
            FormatError::malformed(7, "frame", "a zstd frame of 5 bytes", "one of 6 bytes"),
            "at byte 7: frame: expected a zstd frame of 5 bytes, found one of 6 bytes",
        ),
        (
            FormatError::NoHeader { offset: 7, tag: 0xab },
            "at byte 7: this block belongs to a segment whose header is missing (segment tag 000000ab)",
        ),
        (
            FormatError::invalid(7, "reference", "below 3", 3).in_column(TableId(0x101), 2),
            "table 0x101, column 2: at byte 7: reference is 3, expected below 3",
        ),
    ];
    for (error, text) in table {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn only_a_block_that_the_end_of_the_file_cuts_is_a_cut_end() {
    let truncated = || FormatError::Truncated { offset: 7, what: "a block", expected: 99, found: 13 };
    assert!(Damage { offset: 7, len: 13, cause: truncated() }.is_cut_end(20));
    assert!(!Damage { offset: 7, len: 13, cause: truncated() }.is_cut_end(21));
    let cause = FormatError::TooShort { offset: 7, what: "encoded data", expected: 99, found: 13 };
    assert!(!Damage { offset: 7, len: 13, cause }.is_cut_end(20), "an intact block with wrong content");
}
