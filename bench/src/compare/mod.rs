//! Compares the cost of recording with ktape and with other tools.
//!
//! Recorders take turns in rounds, and each round includes a run without a recorder, so that the machine's drift affects all
//! of them equally. Ratios are computed within a round and reported as median, minimum and maximum. A run that other
//! processes disturbed is repeated. After each run, ktape's file is compared with what the workload did. See
//! `docs/performance.md` for the method.

mod empty_hooks;
mod machine;
mod noted_calls;
mod reading;
mod recorder;
mod report;
mod stats;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use ktape_tests::guard::Guard;
use ktape_tests::{limit, packages, run};

use self::empty_hooks::EmptyHooks;
use self::machine::CpuMeter;
use self::noted_calls::NotedCall;
use self::reading::{CaptureReader, ReadQuery, ReadResult};
use self::recorder::{Recorder, RecorderFigures, RunningRecorder};
use self::report::BenchReport;
use self::workload::{BenchWorkload, ExpectedEvents, WorkloadSetup};

/// Share of one CPU that other processes may use during a run, on top of [`WorkloadResult::usual_foreign`]: programs that
/// list all processes have more to do beside 20,000 of them.
const FOREIGN_MAX: f64 = 0.05;
/// Upper limit of [`WorkloadResult::usual_foreign`].
const USUAL_FOREIGN_MAX: f64 = 0.15;
/// Number of times that a disturbed run is repeated.
const RETRIES: usize = 3;
/// Number of runs of each slow recorder, and of reads of each file per query.
const REPEATS: usize = 3;

/// Prefix of the scratch directory's name; the process ID follows.
const SCRATCH_PREFIX: &str = "bench-";

/// Options of `ktape-bench` without a subcommand.
#[derive(Args)]
pub struct CompareOptions {
    /// Take about two minutes: fewer rounds, workloads and peers
    #[arg(long)]
    quick: bool,
    /// Number of rounds [default: 5, 3 with --quick]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Run only these workloads (comma-separated)
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = clap::builder::PossibleValuesParser::new(workload::NAMES.iter().copied()))]
    workloads: Vec<String>,
    /// Compare only with these peers (comma-separated); `none` runs ktape alone
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    peers: Option<Vec<String>>,
    /// Use this ktape binary instead of building one
    #[arg(long, value_name = "FILE")]
    ktape: Option<PathBuf>,
    /// Also run this other ktape binary in the same rounds, and fail if the first is clearly slower
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Directory for the captures, on a real disk [default: the target directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write every figure of every round to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also time sysdig reading this file, which sysdig recorded elsewhere
    #[arg(long, value_name = "FILE")]
    scap: Option<PathBuf>,
    /// Seed for the random calls that are compared one by one [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

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

/// Runs the benchmark, prints its tables, and writes `--json`.
///
/// # Errors
/// If a program cannot be run, if a file of ktape does not match what the workload did, or, with `--against`, if ktape is
/// clearly slower.
pub fn compare(root: &Path, options: &CompareOptions) -> Result<()> {
    if !run::is_root() {
        bail!("recording requires root: run with sudo -E");
    }
    let (recorders, slow) = recorders(root, options)?;
    let target = run::target_dir(root);
    let parent = options.dir.clone().unwrap_or(target.clone());
    remove_leftovers(&parent);
    let dir = parent.join(format!("{SCRATCH_PREFIX}{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let scratch =
        ScratchDir(fs::canonicalize(&dir).with_context(|| format!("cannot resolve {}", dir.display()))?);
    let kind = machine::file_system(&scratch.0);
    if matches!(kind.as_str(), "tmpfs" | "ramfs" | "overlay") {
        bail!("{} is on {kind}, not on a real disk: pass --dir", parent.display());
    }
    let setup =
        WorkloadSetup { program: crate::build_workload(root)?, dir: scratch.0.clone(), quick: options.quick };
    // Programs started from here on are measured: they must not run in a session of their own, as steps of the tests do.
    limit::leave_signals();
    let _lock = Guard::exclusive();
    let names = names(options);
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 5 }).max(1);
    let seed = options.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs())
    });
    let mut report = BenchReport::new(machine::describe(), &recorders, &slow, rounds, seed);
    println!("{}", report.heading());
    let plan = MeasurementPlan {
        recorders: &recorders,
        slow: &slow,
        rounds,
        seed,
        dir: &scratch.0,
        scap: options.scap.as_deref(),
    };
    for name in names {
        let workload = setup.prepare(name)?;
        let result = measure(&workload, &plan)?;
        print!("{}", report::table(&result));
        report.results.push(result);
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    report.verdict(options.against.is_some())
}

/// Removed when dropped, also after an error.
struct ScratchDir(PathBuf);

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Removes the scratch directories of benchmarks that were killed.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(SCRATCH_PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            drop(ScratchDir(entry.path()));
        }
    }
}

/// Names of the selected workloads, in the order of [`workload::NAMES`].
fn names(options: &CompareOptions) -> Vec<&'static str> {
    let all = if options.quick { workload::QUICK } else { workload::NAMES };
    if options.workloads.is_empty() {
        return all.to_vec();
    }
    workload::NAMES.iter().copied().filter(|name| options.workloads.iter().any(|w| w == name)).collect()
}

/// The recorders that take part in each round, and the slow ones that get 1% of the `getppid` loop afterwards.
fn recorders(root: &Path, options: &CompareOptions) -> Result<(Vec<Recorder>, Vec<Recorder>)> {
    let ktape = crate::ktape(root, options.ktape.as_deref())?;
    let mut recorders = vec![Recorder::None, Recorder::Ktape("ktape", ktape.clone())];
    if let Some(file) = &options.against {
        let other = fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?;
        recorders.push(Recorder::Ktape("other-ktape", other));
    }
    recorders.push(Recorder::KtapeOther(ktape));
    let peers = [
        Recorder::EmptyHooks,
        Recorder::TraceCmd(false),
        Recorder::TraceCmd(true),
        Recorder::Perf(false),
        Recorder::Perf(true),
        Recorder::Bpftrace,
        Recorder::PerfTrace,
        Recorder::Strace,
    ];
    let chosen: Vec<Recorder> = match &options.peers {
        Some(names) => {
            for name in names {
                if name != "none" && !peers.iter().any(|peer| peer.name() == name) {
                    let known: Vec<&str> = peers.iter().map(Recorder::name).collect();
                    bail!("unknown peer {name}: use {} or none", known.join(", "));
                }
            }
            peers.into_iter().filter(|peer| names.iter().any(|name| name == peer.name())).collect()
        }
        None if options.quick => {
            vec![Recorder::EmptyHooks, Recorder::TraceCmd(true), Recorder::Perf(false)]
        }
        None => peers.to_vec(),
    };
    let needed: Vec<_> = chosen.iter().filter_map(Recorder::needs).collect();
    packages::install(&needed)?;
    let (slow, fast): (Vec<_>, Vec<_>) = chosen.into_iter().partition(Recorder::is_slow);
    recorders.extend(fast);
    Ok((recorders, slow))
}

/// Settings that apply to all workloads.
struct MeasurementPlan<'a> {
    recorders: &'a [Recorder],
    /// Recorders that get 1% of the `getppid` loop.
    slow: &'a [Recorder],
    rounds: usize,
    seed: u64,
    /// Directory for captures.
    dir: &'a Path,
    /// A file for sysdig to read.
    scap: Option<&'a Path>,
}

fn measure(workload: &BenchWorkload, plan: &MeasurementPlan<'_>) -> Result<WorkloadResult> {
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
            let file = dir.join(format!("{}.capture", recorder.name()));
            let run = run_once(&mut result, workload, recorder, &file, seed + round as u64)?;
            result.by_recorder[which].runs.push(RecorderRun { round, ..run });
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
            if let Some(recorder_runs) = measure_slow(workload, recorder, dir)? {
                result.by_recorder.push(recorder_runs);
            }
        }
    }
    if let Some(first) = readers.first() {
        if let Some(Recorder::Ktape(_, binary)) = recorders.get(1) {
            let info = recorder::ktape_info(binary, &first.file)?;
            result.events = info["events"].as_u64().unwrap_or(0);
        }
        readers.extend(plan.scap.map(|file| CaptureReader::sysdig(file.to_path_buf())));
        time_reads(&mut result, &readers)?;
    }
    Ok(result)
}

/// Runs the workload beside a recorder, and repeats that while other processes disturb it, at most [`RETRIES`] times. The
/// caller sets the round of the result.
fn run_once(
    result: &mut WorkloadResult,
    workload: &BenchWorkload,
    recorder: &Recorder,
    file: &Path,
    seed: u64,
) -> Result<RecorderRun> {
    let mut repeated = 0;
    loop {
        machine::settle();
        let before = CpuMeter::now();
        let hooks = (*recorder == Recorder::EmptyHooks).then(EmptyHooks::attach).transpose()?;
        let running = recorder.start(file)?;
        let ran = workload.run(seed)?;
        let figures = running.map(RunningRecorder::stop).transpose()?;
        drop(hooks);
        let foreign = before.foreign();
        // The file must be right even if the run was disturbed.
        match recorder {
            Recorder::Ktape(_, binary) => result.check(&workload.expect, binary, file, &ran.noted)?,
            Recorder::KtapeOther(binary) => {
                let no_events: Vec<ExpectedEvents> = workload
                    .expect
                    .iter()
                    .map(|expect| ExpectedEvents { count: 0, ..expect.clone() })
                    .collect();
                result.check(&no_events, binary, file, &[])?;
            }
            _ => {}
        }
        if foreign > result.usual_foreign + FOREIGN_MAX && repeated < RETRIES {
            eprintln!(
                "  {}: repeating the run: other processes used {:.0}% of a CPU",
                recorder.name(),
                foreign * 100.0
            );
            repeated += 1;
            continue;
        }
        let unit_ns = ran.took.as_nanos() as f64 / workload.units as f64;
        return Ok(RecorderRun { round: 0, unit_ns, figures, foreign, repeated });
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
            let mut replay = std::process::Command::new(ktape);
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
fn measure_slow(workload: &BenchWorkload, recorder: &Recorder, dir: &Path) -> Result<Option<RecorderRuns>> {
    let mut runs = Vec::new();
    for round in 0..REPEATS {
        let file = dir.join(format!("{}.capture", recorder.name()));
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
