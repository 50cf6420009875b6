//! Tables on standard output.

use std::fmt::Write as _;

use super::MIB;
use crate::compare::FOREIGN_MAX;
use crate::compare::max_rate::{self, MaxRate};
use crate::compare::projection::events;
use crate::compare::reading::ReadTiming;
use crate::compare::recorder::{Recorder, RecorderFigures};
use crate::compare::result::WorkloadResult;
use crate::compare::stats::{Spread, three_digits, with_commas};

/// `MEDIAN (MIN-MAX)`.
fn with_range(spread: &Spread) -> String {
    format!("{} ({}-{})", three_digits(spread.median), three_digits(spread.min), three_digits(spread.max))
}

fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

/// The tables of one workload.
pub fn table(result: &WorkloadResult) -> String {
    let mut text = String::new();
    let untraced = result.runs_of("none").and_then(|s| Spread::of(s.runs.iter().map(|s| s.unit_ns)));
    let _ = writeln!(text, "\n{}: {}", result.name, result.title);
    let _ = writeln!(
        text,
        "repetitions: {}; system calls: {}; without a recorder: {} ns per {}",
        with_commas(&result.units.to_string()),
        result.calls().map_or_else(|| "?".to_owned(), |calls| with_commas(&calls.to_string())),
        untraced.map_or_else(|| "?".to_owned(), |spread| with_range(&spread)),
        result.unit
    );
    let calls = result.calls().unwrap_or(0).max(1) as f64;
    let mut rows = vec![
        [
            "recorder",
            "ns",
            "time",
            "ns above hooks",
            "CPU s",
            "lost",
            "file MiB",
            "bytes/syscall",
            "memory MiB",
            "anonymous",
            "start ms",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for recorder_runs in
        result.by_recorder.iter().filter(|recorder_runs| recorder_runs.recorder != Recorder::None)
    {
        let name = recorder_runs.recorder.name();
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), three_digits);
        let whole = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| with_commas(&format!("{value:.0}")))
        };
        rows.push(vec![
            name.to_owned(),
            cell(median(recorder_runs.runs.iter().map(|run| run.unit_ns))),
            result.time_ratio(name, "none").map_or_else(|| "-".to_owned(), |ratio| with_range(&ratio)),
            result
                .added_ns(name, "empty-hooks")
                .filter(|_| name != "empty-hooks")
                .map_or_else(|| "-".to_owned(), |added| with_range(&added)),
            cell(median(recorder_runs.each(|figures| figures.cpu.as_secs_f64()))),
            whole(median(recorder_runs.each(|figures| result.lost(figures)))),
            cell(median(recorder_runs.each(|figures| figures.bytes as f64 / MIB))),
            cell(median(recorder_runs.each(|figures| figures.bytes as f64 / calls))),
            cell(median(recorder_runs.each(|figures| figures.memory.peak as f64 / MIB))),
            cell(median(recorder_runs.each(|figures| figures.memory.anonymous as f64 / MIB))),
            whole(median(recorder_runs.each(|figures| figures.startup.as_secs_f64() * 1e3))),
        ]);
    }
    text.push_str(&columns(&rows));
    let ratios = ratio_rows(result);
    if ratios.len() > 1 {
        text.push('\n');
        text.push_str(&columns(&ratios));
    }
    let stages = stage_rows(result);
    if stages.len() > 1 {
        text.push('\n');
        text.push_str(&columns(&stages));
    }
    if !result.reads.is_empty() {
        text.push('\n');
        text.push_str(&columns(&read_rows(result)));
    }
    let (repeated, disturbed) = disturbances(result);
    if repeated > 0 {
        let _ = writeln!(
            text,
            "other processes disturbed {repeated} runs, which were repeated; {disturbed} of the runs above are still disturbed"
        );
    }
    for wrong in &result.wrong {
        let _ = writeln!(text, "WRONG: {wrong}");
    }
    text
}

/// Figures of ktape as a multiple of each other recorder's.
fn ratio_rows(result: &WorkloadResult) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["ktape as a multiple of", "time", "added time", "CPU", "file", "memory"].map(str::to_owned).to_vec(),
    ];
    let Some(ktape) = result.runs_of("ktape") else { return rows };
    for recorder_runs in result
        .by_recorder
        .iter()
        .filter(|recorder_runs| !matches!(recorder_runs.recorder.name(), "ktape" | "none"))
    {
        let name = recorder_runs.recorder.name();
        let ratio = |value: &dyn Fn(&RecorderFigures) -> f64| {
            let (own, other) = (median(ktape.each(value)), median(recorder_runs.each(value)));
            match (own, other) {
                (Some(own), Some(other)) if other > 0.0 => three_digits(own / other),
                _ => "-".to_owned(),
            }
        };
        rows.push(vec![
            name.to_owned(),
            result.time_ratio("ktape", name).map_or_else(|| "-".to_owned(), |ratio| with_range(&ratio)),
            result.added_ratio("ktape", name).map_or_else(|| "-".to_owned(), |ratio| with_range(&ratio)),
            ratio(&|figures| figures.cpu.as_secs_f64()),
            ratio(&|figures| figures.bytes as f64),
            ratio(&|figures| figures.memory.peak as f64),
        ]);
    }
    rows
}

/// Where ktape's recorder spends its CPU time.
fn stage_rows(result: &WorkloadResult) -> Vec<Vec<String>> {
    let heading = ["recorder CPU, ns per event", "events", "all", "drain", "encode", "write", "others"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for runs in result.by_recorder.iter().filter(|runs| runs.recorder.is_whole_ktape()) {
        let name = runs.recorder.name();
        let Some(per_event) = result.cpu_per_event(name) else { continue };
        let events = median(runs.each(|figures| figures.counts.events.unwrap_or(0) as f64)).unwrap_or(0.0);
        let mut row = vec![name.to_owned(), with_commas(&format!("{events:.0}"))];
        row.extend(per_event.map(three_digits));
        rows.push(row);
    }
    rows
}

/// The highest rates without loss.
pub fn rate_table(rates: &[MaxRate]) -> String {
    let heading =
        ["recorder", "busy CPUs", "calls/s without loss", "per CPU", "lossy from", "runs", "disturbed"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for rate in rates {
        rows.push(vec![
            rate.recorder.to_owned(),
            rate.busy.to_string(),
            events(rate.lossless),
            events(rate.lossless / rate.busy as f64),
            rate.lossy.map_or_else(|| "never".to_owned(), events),
            rate.probes.len().to_string(),
            rate.probes.iter().filter(|probe| probe.disturbed).count().to_string(),
        ]);
    }
    format!("\n{}: the highest rate of getppid without lost events\n{}", max_rate::NAME, columns(&rows))
}

fn read_rows(result: &WorkloadResult) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["reader", "query", "lines", "s", "CPU s", "s/million syscalls", "peak MiB"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let millions = result.calls().unwrap_or(0).max(1) as f64 / 1e6;
    for read in &result.reads {
        let of = |value: fn(&ReadTiming) -> f64| Spread::of(read.timings.iter().map(value));
        let Some(took) = of(|timing| timing.took.as_secs_f64()) else { continue };
        let cell = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |s| three_digits(s.median));
        rows.push(vec![
            read.reader.clone(),
            read.query.title(),
            with_commas(&read.lines.to_string()),
            with_range(&took),
            cell(of(|timing| timing.cpu.as_secs_f64())),
            three_digits(took.median / millions),
            cell(of(|timing| timing.peak as f64 / MIB)),
        ]);
    }
    rows
}

/// Number of discarded runs, and of runs in the figures that were disturbed although they were repeated.
pub fn disturbances(result: &WorkloadResult) -> (usize, usize) {
    let runs = || result.by_recorder.iter().flat_map(|recorder_runs| &recorder_runs.runs);
    (
        runs().map(|run| run.repeated).sum(),
        runs().filter(|run| run.foreign > result.usual_foreign + FOREIGN_MAX).count(),
    )
}

/// Formats rows as columns: the first is left-aligned, the others right-aligned.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|i| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(i, (cell, width))| {
                    if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}
