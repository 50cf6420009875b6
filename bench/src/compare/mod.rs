//! Compares the cost of recording with ktape and with other tools.
//!
//! Recorders take turns in rounds, and each round includes a run without a recorder, so that the machine's drift affects all
//! of them equally. Ratios are computed within a round and reported as median, minimum and maximum. A run that other
//! processes disturbed is repeated. After each run, ktape's file is compared with what the workload did. See
//! `docs/performance.md` for the method.

mod empty_hooks;
mod machine;
mod max_rate;
mod measure;
mod noted_calls;
mod projection;
mod reading;
mod recorder;
mod regression;
mod report;
mod result;
mod stats;
mod threads;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use ktape_tests::guard::Guard;
use ktape_tests::{limit, packages, run};

use self::max_rate::RateSetup;
use self::measure::MeasurementPlan;
use self::recorder::{Ktape, Recorder};
use self::regression::Comparison;
use self::report::BenchReport;
use self::workload::WorkloadSetup;

/// Share of one CPU that other processes may use during a run, on top of [`result::WorkloadResult::usual_foreign`]: programs that
/// list all processes have more to do beside 20,000 of them.
const FOREIGN_MAX: f64 = 0.05;
/// Upper limit of [`result::WorkloadResult::usual_foreign`].
const USUAL_FOREIGN_MAX: f64 = 0.15;
/// Number of times that a disturbed run is repeated: normally, and with `--quick`.
const RETRIES: [usize; 2] = [3, 1];
/// Number of runs of each slow recorder, and of reads of each file per query.
const REPEATS: usize = 3;

/// Prefix of the scratch directory's name; the process ID follows.
const SCRATCH_PREFIX: &str = "bench-";

/// Options of `ktape-bench` without a subcommand.
#[derive(Args)]
pub struct CompareOptions {
    /// Take about two minutes: fewer rounds, units, rows and peers
    #[arg(long)]
    quick: bool,
    /// Number of rounds [default: 5, 3 with --quick]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Run only these rows (comma-separated)
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = clap::builder::PossibleValuesParser::new(all_rows()))]
    rows: Vec<String>,
    /// Compare only with these peers (comma-separated); `none` runs ktape alone
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    peers: Option<Vec<String>>,
    /// Use this ktape binary instead of building one
    #[arg(long, value_name = "FILE")]
    ktape: Option<PathBuf>,
    /// Also run this other ktape binary in the same rounds, and fail if the first is worse by more than the noise
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

/// Runs the benchmark, prints its tables, and writes `--json`.
///
/// # Errors
/// If a program cannot be run, if a file of ktape does not match what the workload did, or, with `--against`, if ktape is
/// worse by more than the noise.
pub fn compare(root: &Path, options: &CompareOptions) -> Result<()> {
    if !run::is_root() {
        bail!("recording requires root: run with sudo -E");
    }
    let rows = rows(options);
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 5 }).max(1);
    if options.against.is_some() && rounds < 3 {
        bail!("--against needs three rounds or more: fewer do not show the noise");
    }
    packages::install(&rows.iter().flat_map(|name| workload::needs(name)).copied().collect::<Vec<_>>())?;
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
    let (program, load) = crate::build_workloads(root)?;
    let setup = WorkloadSetup { program, load, dir: scratch.0.clone(), quick: options.quick };
    // Programs started from here on are measured: they must not run in a session of their own, as steps of the tests do.
    limit::leave_signals();
    let _lock = Guard::exclusive();
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
        retries: RETRIES[usize::from(options.quick)],
        seed,
        dir: &scratch.0,
        scap: options.scap.as_deref(),
    };
    for name in rows {
        match name {
            max_rate::NAME => measure_rates(&setup, &plan, &mut report)?,
            _ => measure_row(name, &setup, &plan, &mut report)?,
        }
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    report.verdict(options.against.as_deref())
}

/// Measures a workload and prints its table. If a figure looks worse than that of the other ktape, measures it again: only
/// what is worse both times counts.
fn measure_row(
    name: &str,
    setup: &WorkloadSetup,
    plan: &MeasurementPlan<'_>,
    report: &mut BenchReport,
) -> Result<()> {
    let workload = setup.prepare(name)?;
    let compared = compare_twice(name, || {
        let result = measure::measure(&workload, plan)?;
        print!("{}", report::table(&result));
        let compared = regression::compare(&result);
        report.results.push(result);
        Ok(compared)
    })?;
    report.comparisons.extend(compared);
    Ok(())
}

/// Searches the highest rates without loss and prints them, with the calculation for more CPUs.
fn measure_rates(setup: &WorkloadSetup, plan: &MeasurementPlan<'_>, report: &mut BenchReport) -> Result<()> {
    let own = plan.recorders.iter().filter(|recorder| recorder.is_whole_ktape());
    let recorders: Vec<&Recorder> = own.collect();
    let seconds = if setup.quick { 1 } else { 3 };
    let rates = RateSetup {
        load: &setup.load,
        dir: plan.dir,
        duration: Duration::from_secs(seconds),
        retries: plan.retries,
    };
    let compared = compare_twice(max_rate::NAME, || {
        let measured = max_rate::measure(&recorders, &rates)?;
        let compared = regression::compare_rates(&measured);
        report.rates = measured;
        print!("{}", report::rate_table(&report.rates));
        Ok(compared)
    })?;
    report.comparisons.extend(compared);
    print!("{}", report.projection_text());
    Ok(())
}

/// Measures and compares; if something is worse, once more.
fn compare_twice(
    name: &str,
    mut measure: impl FnMut() -> Result<Vec<Comparison>>,
) -> Result<Vec<Comparison>> {
    let first = measure()?;
    if !regression::any_worse(&first) {
        return Ok(first);
    }
    eprintln!("{name}: looks worse than the other ktape: measuring again");
    Ok(regression::confirmed(&first, measure()?))
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

/// All rows, in the order in which they run.
fn all_rows() -> Vec<&'static str> {
    workload::NAMES.iter().copied().chain([max_rate::NAME]).collect()
}

/// The selected rows, in the same order.
fn rows(options: &CompareOptions) -> Vec<&'static str> {
    match (options.rows.is_empty(), options.quick) {
        (true, true) => workload::QUICK.to_vec(),
        (true, false) => all_rows(),
        (false, _) => {
            all_rows().into_iter().filter(|name| options.rows.iter().any(|row| row == name)).collect()
        }
    }
}

/// The recorders that take part in each round, and the slow ones that get 1% of the `getppid` loop afterwards.
fn recorders(root: &Path, options: &CompareOptions) -> Result<(Vec<Recorder>, Vec<Recorder>)> {
    let ktape = crate::ktape(root, options.ktape.as_deref())?;
    let mut recorders = vec![Recorder::None];
    recorders.extend(Ktape::each(&ktape, ["ktape", "ktape-other-container", "ktape-other-call"]));
    recorders.push(Ktape::without_durations(&ktape));
    if let Some(file) = &options.against {
        let other = fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?;
        let names = ["other-ktape", "other-ktape-other-container", "other-ktape-other-call"];
        recorders.extend(Ktape::each(&other, names));
    }
    recorders.push(Recorder::EmptyHooks);
    let peers = [
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
            vec![Recorder::TraceCmd(true), Recorder::Perf(false)]
        }
        None => peers.to_vec(),
    };
    let needed: Vec<_> = chosen.iter().filter_map(Recorder::needs).collect();
    packages::install(&needed)?;
    let (slow, fast): (Vec<_>, Vec<_>) = chosen.into_iter().partition(Recorder::is_slow);
    recorders.extend(fast);
    Ok((recorders, slow))
}
