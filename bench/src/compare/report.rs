//! The report: tables on standard output, and the object for `--json`.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::reading::{ReadResult, ReadTiming};
use super::recorder::{Recorder, RecorderFigures};
use super::stats::{Spread, three_digits, with_commas};
use super::{RecorderRun, RecorderRuns, WorkloadResult};

const MIB: f64 = 1024.0 * 1024.0;

/// The results of a benchmark, and what they depend on.
pub struct BenchReport {
    machine: Value,
    versions: Vec<(&'static str, String)>,
    rounds: usize,
    seed: u64,
    /// One per workload.
    pub results: Vec<WorkloadResult>,
}

impl BenchReport {
    /// An empty report, with the version of each recorder.
    pub fn new(machine: Value, recorders: &[Recorder], slow: &[Recorder], rounds: usize, seed: u64) -> Self {
        let all = recorders.iter().chain(slow).filter(|recorder| !recorder.version().is_empty());
        let versions = all.map(|recorder| (recorder.name(), recorder.version())).collect();
        Self { machine, versions, rounds, seed, results: Vec::new() }
    }

    /// The lines before the tables: machine, rounds, seed and versions.
    pub fn heading(&self) -> String {
        let text = |key: &str| self.machine[key].as_str().unwrap_or("?").to_owned();
        let mut heading = format!(
            "Linux {}, {} CPUs ({}), load {}; {} rounds, seed {}\n",
            text("kernel"),
            self.machine["cpus"],
            text("cpu"),
            text("load"),
            self.rounds,
            self.seed
        );
        for (name, version) in &self.versions {
            let _ = writeln!(heading, "{name}: {version}");
        }
        heading + "Figures are medians (minimum-maximum). Time is a multiple of the time without a recorder."
    }

    /// Object for `--json`.
    pub fn json(&self) -> Value {
        json!({
            "machine": self.machine,
            "versions": self.versions.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "rounds": self.rounds,
            "seed": self.seed,
            "workloads": self.results.iter().map(workload_json).collect::<Vec<_>>(),
        })
    }

    /// Prints how much was checked and, with `against`, how the two ktape binaries compare.
    ///
    /// # Errors
    /// If a file was wrong or ktape is clearly slower than the other one.
    pub fn verdict(&self, against: bool) -> Result<()> {
        let wrong: Vec<&String> = self.results.iter().flat_map(|result| &result.wrong).collect();
        let files: usize = self.results.iter().map(|result| result.files_checked).sum();
        let calls: usize = self.results.iter().map(|result| result.calls_checked).sum();
        println!(
            "checked: event counts of {files} files, {} calls one by one",
            with_commas(&calls.to_string())
        );
        let mut slower = Vec::new();
        if against {
            for result in &self.results {
                let Some(ratio) = result.time_ratio("ktape", "other-ktape") else { continue };
                let verdict = match ratio.is_clear() {
                    true if ratio.median > 1.0 => "slower",
                    true => "faster",
                    false => "no clear difference",
                };
                println!("{}: ktape / other-ktape {}: {verdict}", result.name, with_range(&ratio));
                if verdict == "slower" {
                    slower.push(result.name);
                }
            }
        }
        if !wrong.is_empty() {
            let first: Vec<String> = wrong.iter().take(10).map(|wrong| format!("  {wrong}")).collect();
            bail!(
                "{} differences between files and what the workloads did; the first {}:\n{}",
                wrong.len(),
                first.len(),
                first.join("\n")
            );
        }
        if !slower.is_empty() {
            bail!("clearly slower than the other ktape: {}", slower.join(", "));
        }
        Ok(())
    }
}

impl RecorderRuns {
    fn each<'a>(&'a self, value: impl Fn(&RecorderFigures) -> f64 + 'a) -> impl Iterator<Item = f64> + 'a {
        self.runs.iter().filter_map(move |run| run.figures.as_ref().map(&value))
    }
}

impl WorkloadResult {
    fn runs_of(&self, name: &str) -> Option<&RecorderRuns> {
        self.by_recorder.iter().find(|recorder_runs| recorder_runs.recorder.name() == name)
    }

    /// Time with one recorder as a multiple of the time with another, in the same rounds. Slow recorders run after the
    /// rounds and are compared with the median of the other.
    fn time_ratio(&self, one: &str, other: &str) -> Option<Spread> {
        let (one, other) = (self.runs_of(one)?, self.runs_of(other)?);
        let paired = !one.recorder.is_slow() && !other.recorder.is_slow();
        let median = Spread::of(other.runs.iter().map(|run| run.unit_ns))?.median;
        Spread::of(one.runs.iter().filter_map(|run| {
            let same = other.runs.iter().find(|other| other.round == run.round);
            Some(run.unit_ns / if paired { same?.unit_ns } else { median })
        }))
    }

    /// System calls during the workload, including those of other processes, as counted by ktape.
    fn calls(&self) -> Option<u64> {
        let recorder_runs = self.runs_of("ktape")?;
        let calls = recorder_runs.runs.iter().filter_map(|s| s.figures.as_ref()?.calls).map(|n| n as f64);
        Spread::of(calls).map(|calls| calls.median as u64)
    }

    /// Lost events of a recorder: the number that it reports, or the number of missing calls if that is greater.
    fn lost(&self, figures: &RecorderFigures) -> f64 {
        // Some versions of perf count lost chunks instead of events. The tolerance covers calls of other processes, whose
        // number differs between runs.
        let missing = match (self.calls(), figures.calls) {
            (Some(calls), Some(counted)) if counted + calls / 10_000 + 1000 < calls => calls - counted,
            _ => 0,
        };
        figures.lost.max(missing) as f64
    }
}

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
    let mut rows =
        vec![["ktape as a multiple of", "time", "CPU", "file", "memory"].map(str::to_owned).to_vec()];
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
            ratio(&|figures| figures.cpu.as_secs_f64()),
            ratio(&|figures| figures.bytes as f64),
            ratio(&|figures| figures.memory.peak as f64),
        ]);
    }
    rows
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
fn disturbances(result: &WorkloadResult) -> (usize, usize) {
    let runs = || result.by_recorder.iter().flat_map(|recorder_runs| &recorder_runs.runs);
    (
        runs().map(|run| run.repeated).sum(),
        runs().filter(|run| run.foreign > result.usual_foreign + super::FOREIGN_MAX).count(),
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

fn workload_json(result: &WorkloadResult) -> Value {
    let (repeated, disturbed) = disturbances(result);
    json!({
        "name": result.name,
        "title": result.title,
        "unit": result.unit,
        "units": result.units,
        "syscalls": result.calls(),
        "recorders": result.by_recorder.iter().map(|recorder_runs| recorder_json(result, recorder_runs)).collect::<Vec<_>>(),
        "ktape_time_over": result
            .by_recorder
            .iter()
            .filter(|recorder_runs| recorder_runs.recorder.name() != "ktape")
            .filter_map(|recorder_runs| {
                let name = recorder_runs.recorder.name();
                Some((name.to_owned(), result.time_ratio("ktape", name)?.json()))
            })
            .collect::<serde_json::Map<_, _>>(),
        "readings": result.reads.iter().map(read_json).collect::<Vec<_>>(),
        "events_read": result.events,
        "files_checked": result.files_checked,
        "calls_checked": result.calls_checked,
        "wrong": result.wrong,
        "foreign_usual": result.usual_foreign,
        "runs_repeated": repeated,
        "runs_disturbed": disturbed,
    })
}

fn recorder_json(result: &WorkloadResult, recorder_runs: &RecorderRuns) -> Value {
    let name = recorder_runs.recorder.name();
    let spread = |values: Vec<f64>| Spread::of(values).map(|spread| spread.json());
    let each = |value: &dyn Fn(&RecorderFigures) -> f64| spread(recorder_runs.each(value).collect());
    json!({
        "name": name,
        "unit_ns": spread(recorder_runs.runs.iter().map(|run| run.unit_ns).collect()),
        "time_over_none": result.time_ratio(name, "none").map(|ratio| ratio.json()),
        "cpu_s": each(&|figures| figures.cpu.as_secs_f64()),
        "lost": each(&|figures| result.lost(figures)),
        "file_bytes": each(&|figures| figures.bytes as f64),
        "peak_bytes": each(&|figures| figures.memory.peak as f64),
        "anonymous_bytes": each(&|figures| figures.memory.anonymous as f64),
        "startup_s": each(&|figures| figures.startup.as_secs_f64()),
        "rounds": recorder_runs.runs.iter().map(run_json).collect::<Vec<_>>(),
    })
}

fn run_json(run: &RecorderRun) -> Value {
    json!({
        "round": run.round,
        "unit_ns": run.unit_ns,
        "foreign": run.foreign,
        "repeated": run.repeated,
        "cpu_s": run.figures.as_ref().map(|figures| figures.cpu.as_secs_f64()),
        "file_bytes": run.figures.as_ref().map(|figures| figures.bytes),
        "lost": run.figures.as_ref().map(|figures| figures.lost),
        "calls": run.figures.as_ref().and_then(|figures| figures.calls),
    })
}

fn read_json(read: &ReadResult) -> Value {
    let of = |value: fn(&ReadTiming) -> f64| {
        Spread::of(read.timings.iter().map(value)).map(|spread| spread.json())
    };
    json!({
        "reader": read.reader,
        "question": read.query.title(),
        "lines": read.lines,
        "s": of(|timing| timing.took.as_secs_f64()),
        "cpu_s": of(|timing| timing.cpu.as_secs_f64()),
        "peak_bytes": of(|timing| timing.peak as f64),
    })
}
