//! What came of the tests in each guest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::tables::{Kernel, SUITES};

/// A test binary that runs longer in a guest is killed, in seconds.
pub(super) const SUITE_LIMIT: u32 = 120;

/// What came of a suite on a kernel.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) passed: usize,
    pub(super) failed: Vec<String>,
    /// It ended by itself.
    pub(super) complete: bool,
    pub(super) seconds: f64,
}

/// What came of a kernel.
pub(super) struct Report {
    pub(super) which: Kernel,
    pub(super) kernel: &'static str,
    pub(super) release: String,
    pub(super) took: Duration,
    pub(super) outcomes: BTreeMap<&'static str, Outcome>,
    /// Rows of `ktape doctor --programs`.
    pub(super) programs: Vec<Program>,
    /// What `ktape doctor` says beyond "ok".
    pub(super) doctor: Vec<String>,
    /// Why there is no result.
    pub(super) error: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program {
    pub(super) name: String,
    /// `None` before 5.16.
    pub(super) verified: Option<u64>,
    pub(super) load_ms: f64,
}

impl Report {
    /// Whether all that runs on this kernel ended, and passed.
    pub(super) fn passes(&self) -> bool {
        self.error.is_none()
            && !self.programs.is_empty()
            && self.outcomes.len() == SUITES.iter().filter(|suite| suite.runs_on(self.which)).count()
            && self.outcomes.values().all(|outcome| outcome.complete && outcome.failed.is_empty())
    }
}

/// A row of `ktape doctor --programs`.
pub(super) fn program(line: &str) -> Option<Program> {
    let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
    let name = cells.next()?.trim_end_matches('`').to_owned();
    let verified = cells.next()?.parse().ok();
    Some(Program { name, verified, load_ms: cells.nth(1)?.parse().ok()? })
}

/// What a test binary printed.
pub(super) fn outcome(log: &str) -> Outcome {
    // A test's own output may come between its name and the verdict.
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
    Outcome {
        passed: passed.unwrap_or(0),
        failed,
        complete: summary.is_some(),
        seconds: seconds.unwrap_or(SUITE_LIMIT.into()),
    }
}

/// One line for the end of a guest.
pub(super) fn closing_line(report: &Report) -> String {
    let passed: usize = report.outcomes.values().map(|outcome| outcome.passed).sum();
    let failed: Vec<String> = report
        .outcomes
        .iter()
        .flat_map(|(suite, outcome)| {
            let cut = (!outcome.complete).then(|| format!("{suite} did not end"));
            outcome.failed.iter().cloned().chain(cut)
        })
        .collect();
    let verdict = match (&report.error, failed.is_empty()) {
        (Some(error), _) => format!("FAILED: {error}"),
        (None, true) => format!("{passed} tests passed"),
        (None, false) => format!("{passed} tests passed, FAILED: {}", failed.join(", ")),
    };
    format!("Linux {}: {verdict}, in {:.0} s", report.release, report.took.as_secs_f64())
}

/// Kernels times suites, and what their verifiers said, as Markdown.
pub(super) fn table(reports: &[Report]) -> String {
    let mut text = String::new();
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let cells = |cell: &dyn Fn(&Report) -> String| reports.iter().map(cell).collect::<Vec<_>>();
    rows.push(("kernel".to_owned(), cells(&|report| report.release.clone())));
    for suite in SUITES {
        rows.push((
            format!("`{}`", suite.module),
            cells(&|report| match report.outcomes.get(suite.module) {
                None if !suite.runs_on(report.which) => "-".to_owned(),
                None => "no result".to_owned(),
                Some(Outcome { passed, failed, complete: true, seconds }) if failed.is_empty() => {
                    format!("{passed} in {seconds:.0} s")
                }
                Some(Outcome { failed, complete, .. }) => {
                    format!("{} FAILED{}", failed.len(), if *complete { "" } else { ", did not end" })
                }
            }),
        ));
    }
    rows.push(("programs".to_owned(), cells(&|report| report.programs.len().to_string())));
    rows.push((
        "load, one after the other (ms, emulated)".to_owned(),
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
        "most in one program".to_owned(),
        cells(&|report| {
            let most = report.programs.iter().filter_map(|p| p.verified.map(|n| (n, &p.name))).max();
            most.map_or_else(|| "unknown".to_owned(), |(count, name)| format!("{count} (`{name}`)"))
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
    fn what_a_test_binary_printed_is_read() {
        let log = "running 2 tests\ntest a_b ... ok\ntest c ... FAILED\n\nfailures:\n    c\n\n\
                   test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s\n";
        assert_eq!(
            outcome(log),
            Outcome { passed: 1, failed: vec!["c".to_owned()], complete: true, seconds: 1.5 }
        );
        // Killed in the middle.
        assert_eq!(
            outcome("running 2 tests\ntest a ... ok\ntest b ... "),
            Outcome { passed: 0, failed: vec![], complete: false, seconds: SUITE_LIMIT.into() }
        );
    }

    #[test]
    fn rows_of_the_doctor_are_read() {
        assert_eq!(
            program("| `sys_exit` | 3357 | 13584 | 16.4 |"),
            Some(Program { name: "sys_exit".to_owned(), verified: Some(3357), load_ms: 16.4 })
        );
        assert_eq!(
            program("| `sys_exit` | - | 13584 | 16.4 |"),
            Some(Program { name: "sys_exit".to_owned(), verified: None, load_ms: 16.4 })
        );
        assert_eq!(program("| program | instructions verified | bytes | load (ms) |"), None);
    }
}
