use super::*;

fn ns(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_nanosecond() as i64
}

fn span(start: &str, end: &str, tz: &str) -> Span {
    Span { start: ns(start), end: Some(ns(end)), zone: zone(tz).unwrap() }
}

fn at(text: &str, span: &Span) -> Result<String, TimeError> {
    TimeSpec::parse(text).and_then(|t| t.resolve(span)).map(rfc3339)
}

#[test]
fn each_form_is_read() {
    let day = span("2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z", "Europe/Berlin");
    assert_eq!(at("2026-11-22T10:30:00.5+01:00", &day).unwrap(), "2026-11-22T09:30:00.500000000Z");
    assert_eq!(at("11:30:00", &day).unwrap(), "2026-11-22T10:30:00.000000000Z");
    assert_eq!(at("11:30:00.000000001", &day).unwrap(), "2026-11-22T10:30:00.000000001Z");
    assert_eq!(at("11:30", &day).unwrap(), "2026-11-22T10:30:00.000000000Z");
    assert_eq!(at("+5s", &day).unwrap(), "2026-11-22T10:00:05.000000000Z");
    assert_eq!(at("-10s", &day).unwrap(), "2026-11-22T10:59:50.000000000Z");
    for (text, utc) in [
        ("2026-11-22 11:30:07 +01:00", "10:30:07"),
        ("2026-11-22 10:30:07 -00:00", "10:30:07"),
        ("2026-11-22T10:30:07Z", "10:30:07"),
        ("2026-11-22 11:30", "10:30:00"),
        ("2026-11-22T11:30:07", "10:30:07"),
    ] {
        assert_eq!(at(text, &day).unwrap(), format!("2026-11-22T{utc}.000000000Z"), "{text}");
    }
    assert_eq!(at("2026-11-22", &day).unwrap(), "2026-11-21T23:00:00.000000000Z");
    // What `ktape info` prints.
    let printed = date_time(day.start, &day.zone);
    assert_eq!(at(&printed, &day).unwrap(), "2026-11-22T10:00:00.000000000Z", "{printed}");
    for bad in [
        "",
        "2026-11-31",
        "2026-11-22 +1",
        "yesterday",
        "25:00:00",
        "25:00",
        "12:0",
        "1200:",
        "12-00",
        "+5",
        "-x",
        "12:00:00.",
        "12:00:00.0123456789",
    ] {
        assert_eq!(at(bad, &day), Err(TimeError::Syntax(bad.into())), "{bad}");
    }
}

#[test]
fn a_time_of_day_belongs_to_one_day() {
    let night = span("2026-11-22T23:50:00Z", "2026-11-23T00:10:00Z", "UTC");
    assert_eq!(at("23:55:00", &night).unwrap(), "2026-11-22T23:55:00.000000000Z");
    assert_eq!(at("00:05:00", &night).unwrap(), "2026-11-23T00:05:00.000000000Z");
    assert!(matches!(at("12:00:00", &night), Err(TimeError::Nowhere(..))));
    let days = span("2026-11-22T10:00:00Z", "2026-11-24T11:00:00Z", "UTC");
    let Err(TimeError::Ambiguous(text, example)) = at("10:30:00", &days) else { panic!() };
    assert_eq!((text.as_str(), example.as_str()), ("10:30:00", "2026-11-22T10:30:00.000000000Z"));
}

#[test]
fn the_hour_that_a_clock_change_repeats_is_ambiguous() {
    let change = span("2026-10-24T23:30:00Z", "2026-10-25T02:30:00Z", "Europe/Berlin");
    assert!(matches!(at("02:30:00", &change), Err(TimeError::Ambiguous(..))));
    assert_eq!(at("03:15:00", &change).unwrap(), "2026-10-25T02:15:00.000000000Z");
    let twice = TimeError::Repeated("2026-10-25 02:30".into(), "2026-10-25T00:30:00.000000000Z".into());
    assert_eq!(at("2026-10-25 02:30", &change), Err(twice));
    assert_eq!(at("2026-10-25 02:30 +01:00", &change).unwrap(), "2026-10-25T01:30:00.000000000Z");
}

#[test]
fn an_unknown_end_is_reported() {
    let live = Span { start: 0, end: None, zone: TimeZone::UTC };
    assert_eq!(at("-10s", &live), Err(TimeError::NoEnd("-10s".into())));
    assert_eq!(at("00:00:07", &live).unwrap(), "1970-01-01T00:00:07.000000000Z");
}

#[test]
fn zones_have_names_or_offsets() {
    assert_eq!(date_time(0, &zone("+05:30").unwrap()), "1970-01-01 05:30:00 +05:30");
    assert_eq!(date_time(0, &zone("-0100").unwrap()), "1969-12-31 23:00:00 -01:00");
    assert_eq!(date_time(0, &host_zone("No/Where", 3600)), "1970-01-01 01:00:00 +01:00");
    assert_eq!(zone("No/Where").unwrap_err(), TimeError::Zone("No/Where".into()));
    assert_eq!(zone("+1").unwrap_err(), TimeError::Zone("+1".into()));
}

#[test]
fn the_writer_remembers_only_the_second() {
    let mut out = Vec::new();
    let mut clock = ClockWriter::time_of_day(zone("Europe/Berlin").unwrap());
    for time in [0, 1, 999_999_999, 1_000_000_000, -1] {
        clock.write(time, &mut out);
        out.push(b' ');
    }
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        "01:00:00.000000000 01:00:00.000000001 01:00:00.999999999 01:00:01.000000000 00:59:59.999999999 "
    );
    let mut out = Vec::new();
    ClockWriter::rfc3339().write(1, &mut out);
    assert_eq!(out, b"1970-01-01T00:00:00.000000001Z");
}
