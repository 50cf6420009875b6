//! The table for people and the JSON for programs.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::reading::{Answer, Reading};
use super::recorder::{Recorded, Recorder};
use super::stats::{Spread, group, short};
use super::{Outcome, Sample, Series};

const MIB: f64 = 1024.0 * 1024.0;

/// Everything that was measured.
pub struct Report {
    machine: Value,
    versions: Vec<(&'static str, String)>,
    rounds: usize,
    seed: u64,
    /// One a workload.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Of a run that begins.
    pub fn new(machine: Value, recorders: &[Recorder], slow: &[Recorder], rounds: usize, seed: u64) -> Self {
        let all = recorders.iter().chain(slow).filter(|recorder| !recorder.version().is_empty());
        let versions = all.map(|recorder| (recorder.name(), recorder.version())).collect();
        Self { machine, versions, rounds, seed, outcomes: Vec::new() }
    }

    /// What is compared, and where.
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
        heading + "Medians, with the least and the greatest. Time as a multiple of that without a recorder."
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        json!({
            "machine": self.machine,
            "versions": self.versions.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "rounds": self.rounds,
            "seed": self.seed,
            "workloads": self.outcomes.iter().map(outcome_json).collect::<Vec<_>>(),
        })
    }

    /// Whether all files were right, and, if ktape was compared with another one, whether it is not clearly slower.
    pub fn verdict(&self, against: bool) -> Result<()> {
        let wrong: Vec<&String> = self.outcomes.iter().flat_map(|outcome| &outcome.wrong).collect();
        let files: usize = self.outcomes.iter().map(|outcome| outcome.checked.0).sum();
        let calls: usize = self.outcomes.iter().map(|outcome| outcome.checked.1).sum();
        println!("checked: {files} files by their counts, {} calls one by one", group(&calls.to_string()));
        let mut slower = Vec::new();
        if against {
            for outcome in &self.outcomes {
                let Some(ratio) = outcome.time_ratio("ktape", "other-ktape") else { continue };
                let verdict = match ratio.is_clear() {
                    true if ratio.middle > 1.0 => "slower",
                    true => "faster",
                    false => "no clear difference",
                };
                println!("{}: ktape / other-ktape {}: {verdict}", outcome.name, shown(&ratio));
                if verdict == "slower" {
                    slower.push(outcome.name);
                }
            }
        }
        if !wrong.is_empty() {
            let shown: Vec<String> = wrong.iter().take(10).map(|wrong| format!("  {wrong}")).collect();
            bail!("{} times a file did not hold what the workload did:\n{}", wrong.len(), shown.join("\n"));
        }
        if !slower.is_empty() {
            bail!("slower than the other ktape: {}", slower.join(", "));
        }
        Ok(())
    }
}

impl Series {
    fn each<'a>(&'a self, value: impl Fn(&Recorded) -> f64 + 'a) -> impl Iterator<Item = f64> + 'a {
        self.samples.iter().filter_map(move |sample| sample.recorded.as_ref().map(&value))
    }
}

impl Outcome {
    fn series(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.recorder.name() == name)
    }

    /// The time of one as a multiple of another's, of the same rounds. Series that ran after the rounds are compared with
    /// the median.
    fn time_ratio(&self, one: &str, other: &str) -> Option<Spread> {
        let (one, other) = (self.series(one)?, self.series(other)?);
        let paired = !one.recorder.is_slow() && !other.recorder.is_slow();
        let middle = Spread::of(other.samples.iter().map(|sample| sample.unit_ns))?.middle;
        Spread::of(one.samples.iter().filter_map(|sample| {
            let same = other.samples.iter().find(|other| other.round == sample.round);
            Some(sample.unit_ns / if paired { same?.unit_ns } else { middle })
        }))
    }

    /// Syscalls that the workload makes, and what else goes on meanwhile: as ktape counts them.
    fn calls(&self) -> Option<u64> {
        let series = self.series("ktape")?;
        let calls = series.samples.iter().filter_map(|s| s.recorded.as_ref()?.calls).map(|n| n as f64);
        Spread::of(calls).map(|calls| calls.middle as u64)
    }

    /// What a recorder says that it has lost, and what is missing.
    fn lost(&self, recorded: &Recorded) -> f64 {
        // perf counts chunks, and not always events. One in ten thousand may be calls of others.
        let missing = match (self.calls(), recorded.calls) {
            (Some(calls), Some(counted)) if counted + calls / 10_000 + 1000 < calls => calls - counted,
            _ => 0,
        };
        recorded.lost.max(missing) as f64
    }
}

fn shown(spread: &Spread) -> String {
    format!("{} ({}-{})", short(spread.middle), short(spread.least), short(spread.most))
}

fn middle(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.middle)
}

/// The rows of a workload.
pub fn table(outcome: &Outcome) -> String {
    let mut text = String::new();
    let untraced = outcome.series("none").and_then(|s| Spread::of(s.samples.iter().map(|s| s.unit_ns)));
    let _ = writeln!(text, "\n{}: {}", outcome.name, outcome.title);
    let _ = writeln!(
        text,
        "{} times, {} syscalls; without a recorder {} ns a {}",
        group(&outcome.units.to_string()),
        outcome.calls().map_or_else(|| "?".to_owned(), |calls| group(&calls.to_string())),
        untraced.map_or_else(|| "?".to_owned(), |spread| shown(&spread)),
        outcome.unit
    );
    let calls = outcome.calls().unwrap_or(0).max(1) as f64;
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
    for series in outcome.series.iter().filter(|series| series.recorder != Recorder::None) {
        let name = series.recorder.name();
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let whole =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| group(&format!("{value:.0}")));
        rows.push(vec![
            name.to_owned(),
            cell(middle(series.samples.iter().map(|sample| sample.unit_ns))),
            outcome.time_ratio(name, "none").map_or_else(|| "-".to_owned(), |ratio| shown(&ratio)),
            cell(middle(series.each(|recorded| recorded.cpu.as_secs_f64()))),
            whole(middle(series.each(|recorded| outcome.lost(recorded)))),
            cell(middle(series.each(|recorded| recorded.bytes as f64 / MIB))),
            cell(middle(series.each(|recorded| recorded.bytes as f64 / calls))),
            cell(middle(series.each(|recorded| recorded.memory.peak as f64 / MIB))),
            cell(middle(series.each(|recorded| recorded.memory.anonymous as f64 / MIB))),
            whole(middle(series.each(|recorded| recorded.startup.as_secs_f64() * 1e3))),
        ]);
    }
    text.push_str(&columns(&rows));
    let ratios = peers(outcome);
    if ratios.len() > 1 {
        text.push('\n');
        text.push_str(&columns(&ratios));
    }
    if !outcome.answers.is_empty() {
        text.push('\n');
        text.push_str(&columns(&readings(outcome)));
    }
    let (repeated, disturbed) = disturbances(outcome);
    if repeated > 0 {
        let _ = writeln!(text, "{repeated} runs were disturbed and done again; {disturbed} stayed disturbed");
    }
    for wrong in &outcome.wrong {
        let _ = writeln!(text, "WRONG: {wrong}");
    }
    text
}

/// ktape as a multiple of each peer.
fn peers(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows =
        vec![["ktape as a multiple of", "time", "CPU", "file", "memory"].map(str::to_owned).to_vec()];
    let Some(ktape) = outcome.series("ktape") else { return rows };
    for series in outcome.series.iter().filter(|series| !matches!(series.recorder.name(), "ktape" | "none")) {
        let name = series.recorder.name();
        let ratio = |value: &dyn Fn(&Recorded) -> f64| {
            let (own, other) = (middle(ktape.each(value)), middle(series.each(value)));
            match (own, other) {
                (Some(own), Some(other)) if other > 0.0 => short(own / other),
                _ => "-".to_owned(),
            }
        };
        rows.push(vec![
            name.to_owned(),
            outcome.time_ratio("ktape", name).map_or_else(|| "-".to_owned(), |ratio| shown(&ratio)),
            ratio(&|recorded| recorded.cpu.as_secs_f64()),
            ratio(&|recorded| recorded.bytes as f64),
            ratio(&|recorded| recorded.memory.peak as f64),
        ]);
    }
    rows
}

fn readings(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["reading", "of what", "s", "CPU s", "s/million syscalls", "peak MiB"].map(str::to_owned).to_vec(),
    ];
    let millions = outcome.calls().unwrap_or(0).max(1) as f64 / 1e6;
    for answer in &outcome.answers {
        let of = |value: fn(&Reading) -> f64| Spread::of(answer.readings.iter().map(value));
        let Some(took) = of(|reading| reading.took.as_secs_f64()) else { continue };
        let cell = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |s| short(s.middle));
        rows.push(vec![
            answer.reader.clone(),
            answer.question.title(),
            group(&answer.lines.to_string()),
            shown(&took),
            cell(of(|reading| reading.cpu.as_secs_f64())),
            short(took.middle / millions),
            cell(of(|reading| reading.peak as f64 / MIB)),
        ]);
    }
    rows
}

/// How many runs were thrown away, and how many of those that count were disturbed all the same.
fn disturbances(outcome: &Outcome) -> (usize, usize) {
    let samples = || outcome.series.iter().flat_map(|series| &series.samples);
    (
        samples().map(|sample| sample.repeated).sum(),
        samples().filter(|sample| sample.foreign > outcome.usual + super::FOREIGN).count(),
    )
}

/// Aligned: names to the left, figures to the right.
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

fn outcome_json(outcome: &Outcome) -> Value {
    let (repeated, disturbed) = disturbances(outcome);
    json!({
        "name": outcome.name,
        "title": outcome.title,
        "unit": outcome.unit,
        "units": outcome.units,
        "syscalls": outcome.calls(),
        "recorders": outcome.series.iter().map(|series| series_json(outcome, series)).collect::<Vec<_>>(),
        "ktape_time_over": outcome
            .series
            .iter()
            .filter(|series| series.recorder.name() != "ktape")
            .filter_map(|series| {
                let name = series.recorder.name();
                Some((name.to_owned(), outcome.time_ratio("ktape", name)?.json()))
            })
            .collect::<serde_json::Map<_, _>>(),
        "readings": outcome.answers.iter().map(answer_json).collect::<Vec<_>>(),
        "events_read": outcome.events,
        "files_checked": outcome.checked.0,
        "calls_checked": outcome.checked.1,
        "wrong": outcome.wrong,
        "foreign_usual": outcome.usual,
        "runs_repeated": repeated,
        "runs_disturbed": disturbed,
    })
}

fn series_json(outcome: &Outcome, series: &Series) -> Value {
    let name = series.recorder.name();
    let spread = |values: Vec<f64>| Spread::of(values).map(|spread| spread.json());
    let each = |value: &dyn Fn(&Recorded) -> f64| spread(series.each(value).collect());
    json!({
        "name": name,
        "unit_ns": spread(series.samples.iter().map(|sample| sample.unit_ns).collect()),
        "time_over_none": outcome.time_ratio(name, "none").map(|ratio| ratio.json()),
        "cpu_s": each(&|recorded| recorded.cpu.as_secs_f64()),
        "lost": each(&|recorded| outcome.lost(recorded)),
        "file_bytes": each(&|recorded| recorded.bytes as f64),
        "peak_bytes": each(&|recorded| recorded.memory.peak as f64),
        "anonymous_bytes": each(&|recorded| recorded.memory.anonymous as f64),
        "startup_s": each(&|recorded| recorded.startup.as_secs_f64()),
        "rounds": series.samples.iter().map(sample_json).collect::<Vec<_>>(),
    })
}

fn sample_json(sample: &Sample) -> Value {
    json!({
        "round": sample.round,
        "unit_ns": sample.unit_ns,
        "foreign": sample.foreign,
        "repeated": sample.repeated,
        "cpu_s": sample.recorded.as_ref().map(|recorded| recorded.cpu.as_secs_f64()),
        "file_bytes": sample.recorded.as_ref().map(|recorded| recorded.bytes),
        "lost": sample.recorded.as_ref().map(|recorded| recorded.lost),
        "calls": sample.recorded.as_ref().and_then(|recorded| recorded.calls),
    })
}

fn answer_json(answer: &Answer) -> Value {
    let of = |value: fn(&Reading) -> f64| {
        Spread::of(answer.readings.iter().map(value)).map(|spread| spread.json())
    };
    json!({
        "reader": answer.reader,
        "question": answer.question.title(),
        "lines": answer.lines,
        "s": of(|reading| reading.took.as_secs_f64()),
        "cpu_s": of(|reading| reading.cpu.as_secs_f64()),
        "peak_bytes": of(|reading| reading.peak as f64),
    })
}
