use super::*;
use crate::fields::lookup;

fn test(field: &str, op: &str, values: &[&str]) -> Result<Comparison, String> {
    let values: Vec<Vec<u8>> = values.iter().map(|v| v.as_bytes().to_vec()).collect();
    Comparison::new(lookup(field).unwrap(), Op::from_text(op).unwrap(), &values)
}

fn text(field: &str, op: &str, literal: &str, value: &str) -> bool {
    test(field, op, &[literal]).unwrap().accepts(Value::Bytes(value.as_bytes()))
}

fn int(field: &str, op: &str, literal: &str, value: i128) -> bool {
    test(field, op, &[literal]).unwrap().accepts(Value::Int(value))
}

#[test]
fn text_operators() {
    assert!(text("proc.name", "=", "dd", "dd"));
    assert!(!text("proc.name", "=", "dd", "ddd"));
    assert!(text("proc.name", "!=", "dd", "ddd"));
    assert!(text("fd.name", "contains", "/etc", "/usr/etc/x"));
    assert!(!text("fd.name", "contains", "/ETC", "/usr/etc/x"));
    assert!(text("fd.name", "icontains", "/ETC", "/usr/etc/x"));
    assert!(text("fd.name", "startswith", "/usr", "/usr/etc/x"));
    assert!(text("fd.name", "endswith", "/x", "/usr/etc/x"));
    assert!(text("fd.name", "glob", "/usr/*/x", "/usr/etc/x"));
}

#[test]
fn number_operators_and_units() {
    assert!(int("proc.pid", "=", "0x10", 16));
    assert!(int("evt.latency", ">", "5ms", 5_000_001));
    assert!(!int("evt.latency", ">", "5ms", 5_000_000));
    assert!(int("evt.latency", ">=", "5000000", 5_000_000));
    assert!(int("evt.rawres", "<", "0", -2));
    assert!(int("evt.rawres", "<=", "-2", -2));
    assert!(int("evt.failed", "=", "true", 1));
    assert!(int("evt.failed", "!=", "true", 0));
}

#[test]
fn a_missing_value_only_passes_not_equal() {
    assert!(!test("container.name", "=", &["x"]).unwrap().accepts(Value::Missing));
    assert!(test("container.name", "!=", &["x"]).unwrap().accepts(Value::Missing));
    assert!(!test("container.name", "exists", &[]).unwrap().accepts(Value::Missing));
    assert!(test("container.name", "exists", &[]).unwrap().accepts(Value::Bytes(b"")));
    assert!(!test("evt.rawres", "<", &["0"]).unwrap().accepts(Value::Missing));
}

#[test]
fn an_argument_compares_as_number_or_text() {
    assert!(int("evt.arg.fd", "=", "3", 3));
    assert!(text("evt.arg.filename", "=", "3", "3"));
    assert!(int("evt.arg.fd", "startswith", "1", 17));
    assert!(test("evt.arg.fd", "<", &["x"]).unwrap_err().contains("not a number"));
}

#[test]
fn a_container_is_found_by_prefix() {
    assert!(text("container.id", "=", "3f2", "3f2ab0c1d2e3"));
    assert!(!text("container.id", "=", "h", "host"));
    assert!(text("container.id", "=", "host", "host"));
    assert!(text("container.id", "!=", "3f3", "3f2ab0c1d2e3"));
    assert!(!text("container.full_id", "=", "3f2", "3f2ab0c1d2e3"));
}

#[test]
fn operators_that_do_not_fit_are_refused() {
    assert!(test("proc.name", "<", &["5"]).unwrap_err().contains("need a number"));
    assert!(test("proc.pid", "contains", &["5"]).unwrap_err().contains("needs a text field"));
    assert!(test("proc.pid", "=", &["abc"]).unwrap_err().contains("not a number"));
    assert!(test("evt.latency", ">", &["5 ms"]).unwrap_err().contains("not a duration"));
    assert!(test("evt.failed", "=", &["maybe"]).unwrap_err().contains("neither"));
    assert!(test("evt.time", ">", &["noon"]).unwrap_err().contains("not a time"));
}

#[test]
fn times_are_resolved_against_the_capture() {
    let span = Span { start: 1_000, end: Some(20_000_000_000), zone: jiff::tz::TimeZone::UTC };
    let mut test = test("evt.time", ">=", &["-10s"]).unwrap();
    test.resolve(&span).unwrap();
    assert!(test.accepts(Value::Int(10_000_000_000)));
    assert!(!test.accepts(Value::Int(9_999_999_999)));
}
