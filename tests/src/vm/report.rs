//! Results of the tests in each guest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::tables::{Kernel, SUITES};

/// Time after which a suite in a guest is killed, seconds.
pub(super) const SUITE_LIMIT: u32 = 120;

/// Result of one suite on one kernel.
#[derive(Debug, PartialEq)]
pub(super) struct SuiteResult {
    pub(super) passed: usize,
    pub(super) failed: Vec<String>,
    /// Whether it ran to its end.
    pub(super) complete: bool,
    pub(super) seconds: f64,
}

/// Results of one kernel.
pub(super) struct KernelReport {
    pub(super) which: Kernel,
    /// How many suites run on it.
    pub(super) suites: usize,
    pub(super) kernel: &'static str,
    pub(super) release: String,
    pub(super) took: Duration,
    pub(super) results: BTreeMap<&'static str, SuiteResult>,
    /// Rows of `ktape doctor --programs`.
    pub(super) programs: Vec<ProgramRow>,
    /// Lines of `ktape doctor`, except for tracepoints that are "ok".
    pub(super) doctor: Vec<String>,
    /// Why the guest has no complete result.
    pub(super) error: Option<String>,
}

/// A row of `ktape doctor --programs`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProgramRow {
    pub(super) name: String,
    /// Verified instructions; `None` before Linux 5.16.
    pub(super) verified: Option<u64>,
    pub(super) load_ms: f64,
}

impl KernelReport {
    /// Whether all suites of this kernel ran to their end and passed.
    pub(super) fn passes(&self) -> bool {
        self.error.is_none()
            && !self.programs.is_empty()
            && self.results.len() == self.suites
            && self.results.values().all(|result| result.complete && result.failed.is_empty())
    }
}

/// Parses a row of `ktape doctor --programs`.
pub(super) fn parse_program(line: &str) -> Option<ProgramRow> {
    let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
    let name = cells.next()?.trim_end_matches('`').to_owned();
    let verified = cells.next()?.parse().ok();
    Some(ProgramRow { name, verified, load_ms: cells.nth(1)?.parse().ok()? })
}

/// Parses the output of a test binary.
pub(super) fn parse_suite(log: &str) -> SuiteResult {
    // A test's own output may stand between its name and its result, so anything but "FAILED" is ignored.
    let verdicts = log.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
    let mut failed: Vec<String> = Vec::new();
    for (name, verdict) in verdicts {
        if verdict == "FAILED" {
            failed.push(name.to_owned());
        }
    }
    let summary = log.lines().find_map(|line| line.strip_prefix("test result: "));
    let passed = summary.and_then(|line| line.split_once(". ")?.1.split_once(" passed")?.0.parse().ok());
    let seconds =
        summary.and_then(|line| line.rsplit_once("finished in ")?.1.trim_end_matches('s').parse().ok());
    SuiteResult {
        passed: passed.unwrap_or(0),
        failed,
        complete: summary.is_some(),
        seconds: seconds.unwrap_or(SUITE_LIMIT.into()),
    }
}

/// One line with the result of a guest.
pub(super) fn closing_line(report: &KernelReport) -> String {
    let passed: usize = report.results.values().map(|result| result.passed).sum();
    let failed: Vec<String> = report
        .results
        .iter()
        .flat_map(|(suite, result)| {
            let cut = (!result.complete).then(|| format!("{suite} did not finish"));
            result.failed.iter().cloned().chain(cut)
        })
        .collect();
    let verdict = match (&report.error, failed.is_empty()) {
        (Some(error), _) => format!("FAILED: {error}"),
        (None, true) => format!("{passed} tests passed"),
        (None, false) => format!("{passed} tests passed, FAILED: {}", failed.join(", ")),
    };
    format!("Linux {}: {verdict}, in {:.0} s", report.release, report.took.as_secs_f64())
}

/// Markdown table of all suites and kernels, with the verifier's figures.
pub(super) fn table(reports: &[KernelReport]) -> String {
    let mut text = String::new();
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let cells = |cell: &dyn Fn(&KernelReport) -> String| reports.iter().map(cell).collect::<Vec<_>>();
    rows.push(("kernel".to_owned(), cells(&|report| report.release.clone())));
    for suite in SUITES {
        rows.push((
            format!("`{}`", suite.module),
            cells(&|report| match report.results.get(suite.module) {
                None if !suite.runs_on(report.which) => "-".to_owned(),
                None => "no result".to_owned(),
                Some(SuiteResult { passed, failed, complete: true, seconds }) if failed.is_empty() => {
                    format!("{passed} in {seconds:.0} s")
                }
                Some(SuiteResult { failed, complete, .. }) => {
                    format!("{} FAILED{}", failed.len(), if *complete { "" } else { ", did not finish" })
                }
            }),
        ));
    }
    rows.push(("programs".to_owned(), cells(&|report| report.programs.len().to_string())));
    rows.push((
        "load time of all programs (ms, emulated)".to_owned(),
        cells(&|report| format!("{:.0}", report.programs.iter().map(|program| program.load_ms).sum::<f64>())),
    ));
    rows.push((
        "instructions verified".to_owned(),
        cells(&|report| {
            let known: Option<u64> = report.programs.iter().map(|program| program.verified).sum();
            known.map_or_else(|| "unknown".to_owned(), |sum| sum.to_string())
        }),
    ));
    rows.push((
        "maximum in one program".to_owned(),
        cells(&|report| {
            let max = report.programs.iter().filter_map(|p| p.verified.map(|n| (n, &p.name))).max();
            max.map_or_else(|| "unknown".to_owned(), |(count, name)| format!("{count} (`{name}`)"))
        }),
    ));
    rows.push(("seconds in all".to_owned(), cells(&|report| format!("{:.0}", report.took.as_secs_f64()))));
    for (index, (label, cells)) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|---|{}", "---:|".repeat(cells.len()));
        }
    }
    for report in reports {
        for line in &report.doctor {
            let _ = writeln!(text, "{}: {line}", report.release);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_a_test_binary_is_parsed() {
        let log = "running 2 tests\ntest a_b ... ok\ntest c ... FAILED\n\nfailures:\n    c\n\n\
                   test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s\n";
        assert_eq!(
            parse_suite(log),
            SuiteResult { passed: 1, failed: vec!["c".to_owned()], complete: true, seconds: 1.5 }
        );
        // The log of a killed suite.
        assert_eq!(
            parse_suite("running 2 tests\ntest a ... ok\ntest b ... "),
            SuiteResult { passed: 0, failed: vec![], complete: false, seconds: SUITE_LIMIT.into() }
        );
    }

    #[test]
    fn rows_of_doctor_are_parsed() {
        assert_eq!(
            parse_program("| `sys_exit` | 3357 | 13584 | 16.4 |"),
            Some(ProgramRow { name: "sys_exit".to_owned(), verified: Some(3357), load_ms: 16.4 })
        );
        assert_eq!(
            parse_program("| `sys_exit` | - | 13584 | 16.4 |"),
            Some(ProgramRow { name: "sys_exit".to_owned(), verified: None, load_ms: 16.4 })
        );
        assert_eq!(parse_program("| program | instructions verified | bytes | load (ms) |"), None);
    }
}
