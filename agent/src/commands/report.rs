//! What commands that read captures report at their end.

use std::process::ExitCode;

use crate::session::messages::{Advice, explain_loss, message, report_lost};
use ktape_reader::scan::ScanReport;

/// Prints what was lost, damaged or not found; returns the exit code.
pub fn finish(report: &ScanReport, is_strict: bool) -> ExitCode {
    for line in [report.damaged.cut(), report.damaged.warning()].into_iter().flatten() {
        message(line);
    }
    for wanted in &report.unknown_containers {
        message(format_args!("no container `{wanted}` in the capture; list them with `ktape containers`"));
    }
    if report.disordered {
        message("too many chunks overlap in time; some events are out of order");
    }
    let lost = &report.lost;
    if lost.total > 0 {
        report_lost(lost);
        explain_loss(lost.by.keys().map(|(_, stage)| stage.as_str()), Advice::Omitted);
    }
    let is_whole = lost.total == 0 && report.damaged.is_empty();
    if is_strict && !is_whole { ExitCode::from(3) } else { ExitCode::SUCCESS }
}
