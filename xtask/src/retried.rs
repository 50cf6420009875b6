//! Lists tests that passed only after a retry, from the test runner's report.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use roxmltree::{Document, Node};

/// Prints the tests in this JUnit report that passed only after a retry, with their first failure. Only nextest retries tests
/// and writes a report.
pub fn print(report: &Path) {
    match fs::read_to_string(report) {
        Ok(text) => eprint!("{}", describe(&text)),
        Err(error) => eprintln!("cannot list retried tests: {}: {error}", report.display()),
    }
}

/// A heading, and one line per test that passed only after a retry.
fn describe(report: &str) -> String {
    let document = match Document::parse(report) {
        Ok(document) => document,
        Err(error) => return format!("cannot list retried tests: the report is not valid XML: {error}\n"),
    };
    let mut text = String::new();
    for test in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let failed =
            test.children().find(|node| node.has_tag_name("flakyFailure") || node.has_tag_name("flakyError"));
        if let Some(failed) = failed {
            let name = |attribute| test.attribute(attribute).unwrap_or_default();
            let _ = writeln!(text, "  {} {}: {}", name("classname"), name("name"), first_failure(failed));
        }
    }
    if text.is_empty() {
        "no test needed a retry\n".to_owned()
    } else {
        format!("passed only after a retry:\n{text}")
    }
}

/// The first failure: the place and message of its panic, else the runner's own message.
fn first_failure(failure: Node<'_, '_>) -> String {
    let description = failure.text().unwrap_or_default();
    let mut lines = description.lines().map(str::trim).skip_while(|line| !line.contains("panicked at "));
    let place = lines.next().and_then(|line| line.split_once("panicked at ")).map(|(_, place)| place);
    match (place, lines.find(|line| !line.is_empty())) {
        (Some(place), Some(message)) => format!("{place} {message}"),
        // Without a panic, for example after a timeout.
        _ => failure.attribute("message").or(failure.attribute("type")).unwrap_or("no message").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" failures="1">
 <testsuite name="ktape-tests::kernel" tests="3">
  <testcase name="clock::a" classname="ktape-tests::kernel" time="1.0"></testcase>
  <testcase name="loss::b" classname="ktape-tests::kernel" time="2.0">
   <flakyFailure timestamp="2026-11-29T00:00:00Z" time="1.0" message="test failure" type="test failure with exit code 101">
thread 'loss::b' (77) panicked at tests/kernel/loss.rs:12:5:
assertion failed: lost &lt; 3
note: run with RUST_BACKTRACE=1</flakyFailure>
  </testcase>
  <testcase name="net::c" classname="ktape-tests::kernel" time="2.0">
   <failure type="test failure with exit code 101">thread 'net::c' panicked at x.rs:1:1:
no</failure>
  </testcase>
  <testcase name="oom::d" classname="ktape-tests::kernel" time="2.0">
   <flakyFailure time="120.0" type="test timeout"></flakyFailure>
  </testcase>
 </testsuite>
</testsuites>"#;

    #[test]
    fn tests_that_passed_after_a_retry_are_listed_with_their_first_failure() {
        assert_eq!(
            describe(REPORT),
            "passed only after a retry:\n  \
             ktape-tests::kernel loss::b: tests/kernel/loss.rs:12:5: assertion failed: lost < 3\n  \
             ktape-tests::kernel oom::d: test timeout\n"
        );
    }

    #[test]
    fn a_run_without_retries_is_reported_as_such() {
        assert_eq!(describe("<testsuites></testsuites>"), "no test needed a retry\n");
        assert!(describe("cut <").starts_with("cannot list retried tests: "));
    }
}
