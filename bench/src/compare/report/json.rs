//! Objects for `--json`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::table::disturbances;
use crate::compare::max_rate::{MaxRate, Probe};
use crate::compare::reading::{ReadResult, ReadTiming};
use crate::compare::recorder::RecorderFigures;
use crate::compare::regression::{Comparison, Verdict};
use crate::compare::result::{RecorderRun, RecorderRuns, WorkloadResult};
use crate::compare::stats::Spread;

/// All figures of a workload.
pub fn workload_json(result: &WorkloadResult) -> Value {
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
        "ns_above_empty_hooks": result.added_ns(name, "empty-hooks").map(|added| added.json()),
        "cpu_ns_per_event": result.cpu_per_event(name).map(|[all, drain, encode, write, others]| {
            json!({ "all": all, "drain": drain, "encode": encode, "write": write, "others": others })
        }),
        "ktape_added_time_over": result.added_ratio("ktape", name).map(|ratio| ratio.json()),
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
        "events": run.figures.as_ref().and_then(|figures| figures.counts.events),
        "thread_cpu_s": run.figures.as_ref().map(|figures| {
            figures.threads.iter().map(|(name, used)| (name.clone(), used.as_secs_f64())).collect::<BTreeMap<_, _>>()
        }),
        "file_bytes": run.figures.as_ref().map(|figures| figures.bytes),
        "lost": run.figures.as_ref().map(|figures| figures.counts.lost),
        "calls": run.figures.as_ref().and_then(|figures| figures.counts.calls),
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

/// A search for the highest rate without loss.
pub fn rate_json(rate: &MaxRate) -> Value {
    let probe = |probe: &Probe| json!({ "calls_per_s": probe.rate, "lost": probe.lost, "disturbed": probe.disturbed });
    json!({
        "recorder": rate.recorder,
        "busy_cpus": rate.busy,
        "calls_per_s_without_loss": rate.lossless,
        "calls_per_s_with_loss": rate.lossy,
        "runs": rate.probes.iter().map(probe).collect::<Vec<_>>(),
    })
}

/// A comparison with the other ktape.
pub fn comparison_json(comparison: &Comparison) -> Value {
    json!({
        "row": comparison.row,
        "figure": comparison.figure,
        "ratio": comparison.ratio,
        "noise": Some(comparison.noise).filter(|noise| noise.is_finite()),
        "verdict": match comparison.verdict {
            Verdict::Worse => "worse",
            Verdict::Better => "better",
            Verdict::Same => "same",
        },
    })
}
