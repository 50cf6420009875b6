use super::*;

#[test]
fn durations_are_read_in_every_unit() {
    for (text, ns) in [
        ("30s", 30_000_000_000),
        ("10m", 600_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("500ms", 500_000_000),
        ("1.5ms", 1_500_000),
        ("7us", 7_000),
        ("12ns", 12),
        ("1d", 86_400_000_000_000),
        ("0s", 0),
    ] {
        assert_eq!(duration(text), Ok(ns), "{text}");
    }
    for text in ["", "30", "s", "1x", "1h30", "-5s", "1.s", "5 s"] {
        assert_eq!(duration(text), Err(UnitError::Duration(text.to_owned())), "{text}");
    }
    assert_eq!(duration("999999999d"), Err(UnitError::TooLarge("999999999d".into())));
}

#[test]
fn sizes_have_decimal_and_binary_units() {
    for (text, bytes) in [
        ("256MiB", 256 << 20),
        ("10MB", 10_000_000),
        ("1G", 1 << 30),
        ("64k", 65_536),
        ("1.5GiB", 3 << 29),
        ("17", 17),
        ("17 B", 17),
    ] {
        assert_eq!(size(text), Ok(bytes), "{text}");
    }
    assert_eq!(size("10 parsecs"), Err(UnitError::Size("10 parsecs".into())));
    assert_eq!(size("99999999999T"), Err(UnitError::TooLarge("99999999999T".into())));
}

#[test]
fn durations_print_in_readable_form() {
    for (ns, text) in [
        (0, "0ns"),
        (850, "850ns"),
        (12_449, "12.4us"),
        (999_999, "999.9us"),
        (3_000_000, "3.0ms"),
        (82_100_000_000, "82.1s"),
        (605_000_000_000, "10m05s"),
        (3_725_000_000_000, "1h02m05s"),
    ] {
        assert_eq!(duration_text(ns), text);
    }
}

#[test]
fn sizes_and_counts_print_in_readable_form() {
    assert_eq!(size_text(17), "17 B");
    assert_eq!(size_text(4096), "4.0 KiB");
    assert_eq!(size_text(1 << 30), "1.0 GiB");
    assert_eq!(size_text((1 << 20) - 1), "1.0 MiB");
    assert_eq!(count_text(0), "0");
    assert_eq!(count_text(999), "999");
    assert_eq!(count_text(1_234_567), "1,234,567");
}
