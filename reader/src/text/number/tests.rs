use super::*;

fn text(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn integers_print_as_the_standard_library_prints_them() {
    let mut value = 1u64;
    for _ in 0..64 {
        for v in [value, value.wrapping_sub(1), value.wrapping_mul(7)] {
            assert_eq!(text(|o| decimal(v, o)), v.to_string());
            assert_eq!(text(|o| hex(v, o)), format!("{v:#x}"));
            assert_eq!(text(|o| octal(v, o)), if v == 0 { "0".into() } else { format!("0{v:o}") });
            assert_eq!(text(|o| signed(v as i64, o)), (v as i64).to_string());
        }
        value = value.wrapping_mul(2);
    }
    assert_eq!(text(|o| signed(i64::MIN, o)), i64::MIN.to_string());
    assert_eq!(text(|o| nanos(1_023, o)), "000001023");
}

#[test]
fn numbers_are_read_in_both_bases() {
    assert_eq!(parse("42"), Some(42));
    assert_eq!(parse("-100"), Some(-100));
    assert_eq!(parse("0x1F"), Some(31));
    assert_eq!(parse("18446744073709551615"), Some(i128::from(u64::MAX)));
    for bad in ["", "-", "0x", "0x-1", "12a", "+5", "18446744073709551616"] {
        assert_eq!(parse(bad), None, "{bad}");
    }
}

#[test]
fn hundredths_have_two_decimals() {
    for (value, expected) in [(0, "0.00"), (7, "0.07"), (177, "1.77"), (150, "1.50"), (-205, "-2.05")] {
        assert_eq!(text(|out| hundredths(value, out)), expected);
        assert_eq!(parse_hundredths(expected), Some(value));
    }
    assert_eq!([parse_hundredths("3"), parse_hundredths("1.5")], [Some(300), Some(150)]);
    for text in ["", ".", "1.", ".5", "1.775", "1e3", "+1", "0x1", "1.-5", "99999999999999999999"] {
        assert_eq!(parse_hundredths(text), None, "{text}");
    }
}
