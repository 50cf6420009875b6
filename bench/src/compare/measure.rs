//! Runs a workload beside each recorder, in rounds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use ktape_tests::run;

use super::empty_hooks::EmptyHooks;
use super::machine::{self, CpuMeter};
use super::noted_calls::{self, NotedCall};
use super::reading::{CaptureReader, ReadQuery, ReadResult};
use super::recorder::{self, Recorder, RunningRecorder};
use super::result::{RecorderRun, RecorderRuns, WorkloadResult};
use super::workload::{BenchWorkload, ExpectedEvents};
use super::{FOREIGN_MAX, REPEATS, USUAL_FOREIGN_MAX};

/// Settings that apply to all workloads.
pub struct MeasurementPlan<'a> {
    /// Recorders that take turns.
    pub recorders: &'a [Recorder],
    /// Recorders that get 1% of the `getppid` loop.
    pub slow: &'a [Recorder],
    /// Number of rounds.
    pub rounds: usize,
    /// Number of times that a disturbed run is repeated.
    pub retries: usize,
    /// For the random calls of the first round; each round has the next number.
    pub seed: u64,
    /// Directory for captures.
    pub dir: &'a Path,
    /// A file for sysdig to read.
    pub scap: Option<&'a Path>,
}

impl MeasurementPlan<'_> {
    /// The file of a recorder's capture.
    fn capture(&self, recorder: &Recorder) -> PathBuf {
        self.dir.join(format!("{}.capture", recorder.name()))
    }
}

/// Runs a workload in all rounds, and then times how fast the files of `md5sum` are read.
pub fn measure(workload: &BenchWorkload, plan: &MeasurementPlan<'_>) -> Result<WorkloadResult> {
    eprintln!("{}: {}", workload.name, workload.title);
    let MeasurementPlan { rounds, seed, dir, .. } = *plan;
    let recorders: Vec<&Recorder> =
        plan.recorders.iter().filter(|recorder| recorder.takes_part(workload.name)).collect();
    let all = recorders.iter().map(|&recorder| RecorderRuns { recorder: recorder.clone(), runs: Vec::new() });
    let mut result = WorkloadResult {
        name: workload.name,
        title: workload.title.clone(),
        unit: workload.unit,
        units: workload.units,
        by_recorder: all.collect(),
        reads: Vec::new(),
        events: 0,
        wrong: Vec::new(),
        usual_foreign: 0.0,
        files_checked: 0,
        calls_checked: 0,
    };
    let before = CpuMeter::now();
    workload.run(seed)?;
    result.usual_foreign = before.foreign().min(USUAL_FOREIGN_MAX);
    let mut readers = Vec::new();
    for round in 0..rounds {
        // Each round starts with another recorder.
        for turn in 0..recorders.len() {
            let which = (turn + round) % recorders.len();
            let recorder = recorders[which];
            let file = plan.capture(recorder);
            let run = run_once(&mut result, workload, recorder, plan, round)?;
            result.by_recorder[which].runs.push(run);
            if matches!(recorder, Recorder::None | Recorder::EmptyHooks) {
                continue;
            }
            // The first file of each recorder is kept for timing how fast it reads.
            if workload.name == "md5sum" && round == 0 {
                let kept = dir.join(format!("{}.read", recorder.name()));
                fs::rename(&file, &kept).with_context(|| format!("cannot rename {}", file.display()))?;
                readers.push(CaptureReader::of(recorder, kept));
            } else {
                fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            }
        }
        eprintln!("  round {} of {rounds}", round + 1);
    }
    if workload.name == "getppid" {
        for recorder in plan.slow {
            if let Some(recorder_runs) = measure_slow(workload, recorder, plan)? {
                result.by_recorder.push(recorder_runs);
            }
        }
    }
    if let Some(first) = readers.first() {
        if let Some(Recorder::Ktape(ktape)) = recorders.get(1) {
            let info = recorder::ktape_info(&ktape.binary, &first.file)?;
            result.events = info["events"].as_u64().unwrap_or(0);
        }
        readers.extend(plan.scap.map(|file| CaptureReader::sysdig(file.to_path_buf())));
        time_reads(&mut result, &readers)?;
    }
    Ok(result)
}

/// Runs the workload beside a recorder, and repeats that while other processes disturb it.
fn run_once(
    result: &mut WorkloadResult,
    workload: &BenchWorkload,
    recorder: &Recorder,
    plan: &MeasurementPlan<'_>,
    round: usize,
) -> Result<RecorderRun> {
    let (file, seed) = (plan.capture(recorder), plan.seed + round as u64);
    let mut repeated = 0;
    loop {
        machine::settle();
        let before = CpuMeter::now();
        let hooks = (*recorder == Recorder::EmptyHooks).then(EmptyHooks::attach).transpose()?;
        let running = recorder.start(&file)?;
        let ran = workload.run(seed)?;
        let figures = running.map(RunningRecorder::stop).transpose()?;
        drop(hooks);
        let foreign = before.foreign();
        // The file must be right even if the run was disturbed.
        if let Recorder::Ktape(ktape) = recorder {
            result.check(&workload.expect, &ktape.binary, &file, &ran.noted)?;
        }
        if foreign > result.usual_foreign + FOREIGN_MAX && repeated < plan.retries {
            eprintln!(
                "  {}: repeating the run: other processes used {:.0}% of a CPU",
                recorder.name(),
                foreign * 100.0
            );
            repeated += 1;
            continue;
        }
        let unit_ns = ran.took.as_nanos() as f64 / workload.units as f64;
        return Ok(RecorderRun { round, unit_ns, figures, foreign, repeated });
    }
}

impl WorkloadResult {
    /// Compares a file with what the workload did, and adds differences to `wrong`. A lost event may be any of those that
    /// are missing.
    fn check(
        &mut self,
        expected: &[ExpectedEvents],
        ktape: &Path,
        file: &Path,
        noted: &[NotedCall],
    ) -> Result<()> {
        self.files_checked += 1;
        let info = recorder::ktape_info(ktape, file)?;
        let lost: u64 =
            info["lost_by"].as_array().into_iter().flatten().filter_map(|l| l["count"].as_u64()).sum();
        for expect in expected {
            let mut replay = Command::new(ktape);
            replay.arg("replay").arg(file).args(["--count", "--filter", &expect.expression]);
            let found: u64 = run::output(&mut replay)?
                .trim()
                .parse()
                .context("ktape replay --count did not print a number")?;
            if found > expect.count || found + lost < expect.count {
                self.wrong.push(format!(
                    "found {found} {} events instead of {}, with {lost} reported as lost: {}",
                    expect.kind, expect.count, expect.expression
                ));
            }
        }
        if lost == 0 && !noted.is_empty() {
            self.calls_checked += noted.len();
            if let Err(error) = noted_calls::compare(ktape, file, noted) {
                self.wrong.push(format!("{error:#}"));
            }
        }
        Ok(())
    }
}

/// Runs 1% of the `getppid` loop beside a recorder that prints a line per call; `None` for other workloads.
fn measure_slow(
    workload: &BenchWorkload,
    recorder: &Recorder,
    plan: &MeasurementPlan<'_>,
) -> Result<Option<RecorderRuns>> {
    let mut runs = Vec::new();
    for round in 0..REPEATS {
        let file = plan.capture(recorder);
        let running = recorder.start(&file)?;
        let Some((took, units)) = workload.run_reduced(recorder.wrapper(&file).as_deref())? else {
            return Ok(None);
        };
        running.map(RunningRecorder::stop).transpose()?;
        let unit_ns = took.as_nanos() as f64 / units as f64;
        // No figures: with so little work, the file holds mostly the start and the exit of the recorder.
        runs.push(RecorderRun { round, unit_ns, figures: None, foreign: 0.0, repeated: 0 });
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(Some(RecorderRuns { recorder: recorder.clone(), runs }))
}

fn time_reads(result: &mut WorkloadResult, readers: &[CaptureReader]) -> Result<()> {
    for reader in readers {
        eprintln!("  reading with {}", reader.name);
        for query in ReadQuery::EACH {
            let Some(lines) = reader.count_lines(query)? else { continue };
            let mut timings = Vec::new();
            for _ in 0..REPEATS {
                timings.extend(reader.time(query)?);
            }
            result.reads.push(ReadResult { reader: reader.name.clone(), query, lines, timings });
        }
    }
    Ok(())
}
