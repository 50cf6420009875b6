use super::*;

fn free(bytes: &[u8]) -> String {
    escaped(bytes, Place::Free).into_owned()
}

#[test]
fn harmless_text_stays_as_it_is() {
    assert_eq!(free(b"/etc/hosts with space \"q\""), "/etc/hosts with space \"q\"");
    assert_eq!(free("grüße/日本.txt".as_bytes()), "grüße/日本.txt");
    assert!(matches!(escaped(b"plain", Place::Free), Cow::Borrowed("plain")));
}

#[test]
fn dangerous_bytes_are_escaped() {
    assert_eq!(free(b"a\nb\tc\rd\x1b[2Je\0f\x7f\\"), r"a\nb\tc\rd\e[2Je\x00f\x7f\\");
    assert_eq!(free(b"\xff\xc3("), r"\xff\xc3(");
    assert_eq!(free("a\u{202e}b".as_bytes()), r"a\xe2\x80\xaeb");
    assert_eq!(free("\u{85}".as_bytes()), r"\xc2\x85");
    assert_eq!(escaped(b"say \"x\"", Place::Quoted), r#"say \"x\""#);
    assert_eq!(escaped(b"Web Content", Place::Word), r"Web\x20Content");
    assert_eq!(escaped(b"a>b<c d", Place::Angle), r"a\x3eb\x3cc d");
}

#[test]
fn a_character_cut_by_the_end_is_escaped() {
    assert_eq!(free(&"日".as_bytes()[..2]), r"\xe6\x97");
    assert_eq!(free("é日".as_bytes()), "é日");
}

#[test]
fn escaping_is_reversible() {
    let mut seed = 1u64;
    for length in 0..200 {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (seed >> 33) as u8
            })
            .collect();
        for place in [Place::Quoted, Place::Word, Place::Angle, Place::Free] {
            let text = escaped(&bytes, place).into_owned();
            assert_eq!(unescape(&text).as_deref(), Some(&bytes[..]), "{text}");
            assert!(!text.bytes().any(|b| b < 0x20 || b == 0x7f));
        }
    }
}

#[test]
fn unknown_escapes_are_refused() {
    assert_eq!(unescape(r"\q"), None);
    assert_eq!(unescape(r"\x1"), None);
    assert_eq!(unescape(r"\xzz"), None);
    assert_eq!(unescape("end\\"), None);
    assert_eq!(unescape(r"\x日"), None);
}

#[test]
fn a_message_keeps_its_lines_and_existing_escapes() {
    assert_eq!(defused("plain\nand \\e[2J"), "plain\nand \\e[2J");
    assert_eq!(defused("a\x1b[2J\tb\u{202e}c\u{9b}d"), "a\\e[2J\\tb\\xe2\\x80\\xaec\\xc2\\x9bd");
}
