//! The results of a workload.

use super::reading::ReadResult;
use super::recorder::{Recorder, RecorderFigures};
use super::stats::Spread;
use super::threads;

/// One run of a workload beside one recorder.
#[derive(Clone, Debug)]
pub struct RecorderRun {
    /// Number of the round, from 0.
    pub round: usize,
    /// Time per unit of the workload, ns.
    pub unit_ns: f64,
    /// Figures of the recorder; `None` without one, and for those that start the workload themselves.
    pub figures: Option<RecorderFigures>,
    /// Share of one CPU that other processes used.
    pub foreign: f64,
    /// Number of disturbed runs that were discarded before this one.
    pub repeated: usize,
}

/// All runs of a workload beside one recorder.
pub struct RecorderRuns {
    /// The recorder.
    pub recorder: Recorder,
    /// One per round.
    pub runs: Vec<RecorderRun>,
}

/// All runs of a workload.
pub struct WorkloadResult {
    /// As on the command line.
    pub name: &'static str,
    /// Description for the report.
    pub title: String,
    /// What the workload counts, in the singular.
    pub unit: &'static str,
    /// Number of units per run.
    pub units: u64,
    /// The first entry is [`Recorder::None`].
    pub by_recorder: Vec<RecorderRuns>,
    /// Times for reading the files.
    pub reads: Vec<ReadResult>,
    /// Number of events in the file that ktape reads.
    pub events: u64,
    /// One line for each difference between a file and what the workload did.
    pub wrong: Vec<String>,
    /// Share of one CPU that other processes use while the workload runs without a recorder.
    pub usual_foreign: f64,
    /// Number of files that were compared with what the workload did.
    pub files_checked: usize,
    /// Number of calls that were compared one by one.
    pub calls_checked: usize,
}

impl RecorderRuns {
    /// A figure of the recorder, of each round.
    pub fn each<'a>(
        &'a self,
        value: impl Fn(&RecorderFigures) -> f64 + 'a,
    ) -> impl Iterator<Item = f64> + 'a {
        self.runs.iter().filter_map(move |run| run.figures.as_ref().map(&value))
    }

    /// What follows from a run and one with the other recorder, of each round that has both.
    pub fn paired(
        &self,
        other: &Self,
        value: impl Fn(&RecorderRun, &RecorderRun) -> Option<f64>,
    ) -> Vec<f64> {
        let pair = |run: &RecorderRun| {
            let same = other.runs.iter().find(|other| other.round == run.round)?;
            value(run, same)
        };
        self.runs.iter().filter_map(pair).collect()
    }
}

impl WorkloadResult {
    /// The runs beside the recorder with this name.
    pub fn runs_of(&self, name: &str) -> Option<&RecorderRuns> {
        self.by_recorder.iter().find(|recorder_runs| recorder_runs.recorder.name() == name)
    }

    /// Time per unit with a recorder, ns: the median.
    pub fn unit_ns(&self, name: &str) -> Option<f64> {
        Spread::of(self.runs_of(name)?.runs.iter().map(|run| run.unit_ns)).map(|spread| spread.median)
    }

    /// Time with one recorder as a multiple of the time with another, in the same rounds. Slow recorders run after the
    /// rounds and are compared with the median of the other.
    pub fn time_ratio(&self, one: &str, other: &str) -> Option<Spread> {
        let (one_runs, other_runs) = (self.runs_of(one)?, self.runs_of(other)?);
        if one_runs.recorder.is_slow() || other_runs.recorder.is_slow() {
            let median = self.unit_ns(other)?;
            return Spread::of(one_runs.runs.iter().map(|run| run.unit_ns / median));
        }
        Spread::of(one_runs.paired(other_runs, |one, other| Some(one.unit_ns / other.unit_ns)))
    }

    /// Time per unit that a recorder adds to that with another, in the same rounds, ns.
    pub fn added_ns(&self, name: &str, base: &str) -> Option<Spread> {
        let (runs, base) = (self.runs_of(name)?, self.runs_of(base)?);
        Spread::of(runs.paired(base, |run, base| Some(run.unit_ns - base.unit_ns)))
    }

    /// What one recorder adds to the time without any, as a multiple of what another adds, in the same rounds. `None` if the
    /// other one adds nothing that can be measured.
    pub fn added_ratio(&self, one: &str, other: &str) -> Option<Spread> {
        let (one, other, none) = (self.runs_of(one)?, self.runs_of(other)?, self.runs_of("none")?);
        if one.recorder.is_slow() || other.recorder.is_slow() {
            return None;
        }
        let ratios = one.paired(other, |one, other| {
            let none = none.runs.iter().find(|none| none.round == one.round)?.unit_ns;
            (other.unit_ns > none).then(|| (one.unit_ns - none) / (other.unit_ns - none))
        });
        if ratios.len() < one.runs.len() { None } else { Spread::of(ratios) }
    }

    /// CPU time of ktape's recorder per event in its file, ns: all of it, and that of drain, encode, write and others. The
    /// medians of all rounds.
    pub fn cpu_per_event(&self, name: &str) -> Option<[f64; 5]> {
        let runs = self.runs_of(name)?;
        let median = |value: &dyn Fn(&RecorderFigures) -> Option<f64>| {
            let each = runs.runs.iter().filter_map(|run| value(run.figures.as_ref()?));
            Spread::of(each).map(|spread| spread.median)
        };
        let per_event = |stage: Option<usize>| {
            median(&|figures| {
                let events = figures.counts.events.filter(|events| *events > 0)? as f64;
                let used = match stage {
                    None => figures.cpu,
                    Some(stage) => threads::by_stage(figures.cpu, &figures.threads)[stage],
                };
                Some(used.as_nanos() as f64 / events)
            })
        };
        let [drain, encode, write, others] = [0, 1, 2, 3].map(|stage| per_event(Some(stage)));
        Some([per_event(None)?, drain?, encode?, write?, others?])
    }

    /// System calls during the workload, including those of other processes, as counted by ktape.
    pub fn calls(&self) -> Option<u64> {
        let recorder_runs = self.runs_of("ktape")?;
        let calls =
            recorder_runs.runs.iter().filter_map(|s| s.figures.as_ref()?.counts.calls).map(|n| n as f64);
        Spread::of(calls).map(|calls| calls.median as u64)
    }

    /// Lost events of a recorder: the number that it reports, or the number of missing calls if that is greater.
    pub fn lost(&self, figures: &RecorderFigures) -> f64 {
        // Some versions of perf count lost chunks instead of events. The tolerance covers calls of other processes, whose
        // number differs between runs.
        let missing = match (self.calls(), figures.counts.calls) {
            (Some(calls), Some(counted)) if counted + calls / 10_000 + 1000 < calls => calls - counted,
            _ => 0,
        };
        figures.counts.lost.max(missing) as f64
    }
}
