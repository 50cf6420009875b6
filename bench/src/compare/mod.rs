//! What recording costs, beside the tools that people use: every change sees its price here.
//!
//! Recorders take turns in rounds, each with a run without any, so that the machine's drift hits all alike; ratios are made
//! within a round, and the median is given with the least and the greatest. A run in which others used the machine is done
//! again. After each run ktape's file is held against what the workload did. `docs/performance.md` tells more.

mod empty;
mod machine;
mod notes;
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

use self::machine::Meter;
use self::reading::{Answer, Question, Reader};
use self::recorder::{Recorded, Recorder};
use self::report::Report;
use self::workload::{Expect, Place, Workload};

/// The share of one CPU that others may use during a run, beyond what they use beside this workload anyway: who counts
/// processes has more to do beside 20,000 of them.
const FOREIGN: f64 = 0.05;
/// Of that, what is believed.
const USUAL_MOST: f64 = 0.15;
/// How often a disturbed run is done again.
const TRIES: usize = 3;
/// How often each file is read.
const READINGS: usize = 3;

/// Before the number of the process, in the name of its directory.
const SCRATCH: &str = "bench-";

/// What is compared, and how.
#[derive(Args)]
pub struct Options {
    /// A look of about two minutes: fewer rounds, workloads and peers
    #[arg(long)]
    quick: bool,
    /// How many rounds [default: 5, 3 with --quick]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Only these workloads, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = clap::builder::PossibleValuesParser::new(workload::NAMES.iter().copied()))]
    workloads: Vec<String>,
    /// Only these peers, separated by commas; `none` for ktape alone
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    peers: Option<Vec<String>>,
    /// Record with this binary, instead of building one
    #[arg(long, value_name = "FILE")]
    ktape: Option<PathBuf>,
    /// Compare with this other ktape, in the same rounds, and fail if the first is clearly slower
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Where the captures are written: a directory on a real disk [default: the target directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write everything that was measured to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Time sysdig's reader on this file of its own, made elsewhere
    #[arg(long, value_name = "FILE")]
    scap: Option<PathBuf>,
    /// The seed of the calls that are compared one by one [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Of which round.
    pub round: usize,
    /// The work, ns a unit.
    pub unit_ns: f64,
    /// What was recorded; `None` without a recorder, or if that records where the workload is started.
    pub recorded: Option<Recorded>,
    /// The share of one CPU that others used.
    pub foreign: f64,
    /// How many tries were thrown away.
    pub repeated: usize,
}

/// A recorder's runs of a workload.
pub struct Series {
    /// Who.
    pub recorder: Recorder,
    /// One a round.
    pub samples: Vec<Sample>,
}

/// All runs of a workload.
pub struct Outcome {
    /// Which.
    pub name: &'static str,
    /// For people.
    pub title: String,
    /// What is counted.
    pub unit: &'static str,
    /// How many of them a run makes.
    pub units: u64,
    /// The first is without a recorder.
    pub series: Vec<Series>,
    /// How files read.
    pub answers: Vec<Answer>,
    /// Events in the file that ktape reads.
    pub events: u64,
    /// What was wrong in a file.
    pub wrong: Vec<String>,
    /// The share of one CPU that others use beside it anyway.
    pub usual: f64,
    /// How many files were held against what the workload did, and how many calls one by one.
    pub checked: (usize, usize),
}

/// Measure, print a table, and write `--json`.
///
/// # Errors
/// If something cannot be run, if a file of ktape does not hold what the workload did, or, with `--against`, if it is slower.
pub fn compare(root: &Path, options: &Options) -> Result<()> {
    if !run::is_root() {
        bail!("recording needs root: run as root, with sudo -E");
    }
    let (recorders, slow) = recorders(root, options)?;
    let target = run::target_dir(root);
    let parent = options.dir.clone().unwrap_or(target.clone());
    remove_leftovers(&parent);
    let dir = parent.join(format!("{SCRATCH}{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let scratch = Scratch(fs::canonicalize(&dir).context("the directory is gone")?);
    let kind = machine::file_system(&scratch.0);
    if matches!(kind.as_str(), "tmpfs" | "ramfs" | "overlay") {
        bail!("{} is on {kind}, not on a real disk: see --dir", parent.display());
    }
    let place = Place { program: crate::build_workload(root)?, dir: scratch.0.clone(), quick: options.quick };
    // What is started here must not be killed as a step of the tests would be.
    limit::leave_signals();
    let _alone = Guard::exclusive();
    let names = names(options);
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 5 }).max(1);
    let seed = options.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs())
    });
    let mut report = Report::new(machine::describe(), &recorders, &slow, rounds, seed);
    println!("{}", report.heading());
    let plan = Plan {
        recorders: &recorders,
        slow: &slow,
        rounds,
        seed,
        dir: &scratch.0,
        scap: options.scap.as_deref(),
    };
    for name in names {
        let workload = place.prepare(name)?;
        let outcome = measure(&workload, &plan)?;
        print!("{}", report::table(&outcome));
        report.outcomes.push(outcome);
    }
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    report.verdict(options.against.is_some())
}

/// Removed at the end, whatever happens.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Those of runs that were killed.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(SCRATCH)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            drop(Scratch(entry.path()));
        }
    }
}

/// The names of the chosen workloads.
fn names(options: &Options) -> Vec<&'static str> {
    let all = if options.quick { workload::QUICK } else { workload::NAMES };
    if options.workloads.is_empty() {
        return all.to_vec();
    }
    workload::NAMES.iter().copied().filter(|name| options.workloads.iter().any(|w| w == name)).collect()
}

/// Those that take part in each round, and those that get a hundredth of a loop.
fn recorders(root: &Path, options: &Options) -> Result<(Vec<Recorder>, Vec<Recorder>)> {
    let ktape = crate::ktape(root, options.ktape.as_deref())?;
    let mut recorders = vec![Recorder::None, Recorder::Ktape("ktape", ktape.clone())];
    if let Some(file) = &options.against {
        let other = fs::canonicalize(file).with_context(|| format!("no {}", file.display()))?;
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
                    bail!("there is no peer {name}; there are {} and none", known.join(", "));
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

/// What is the same for all workloads.
struct Plan<'a> {
    recorders: &'a [Recorder],
    /// Those that get a hundredth of a loop.
    slow: &'a [Recorder],
    rounds: usize,
    seed: u64,
    /// For captures.
    dir: &'a Path,
    /// A file of sysdig's to read.
    scap: Option<&'a Path>,
}

fn measure(workload: &Workload, plan: &Plan<'_>) -> Result<Outcome> {
    eprintln!("{}: {}", workload.name, workload.title);
    let Plan { rounds, seed, dir, .. } = *plan;
    let recorders: Vec<&Recorder> =
        plan.recorders.iter().filter(|recorder| recorder.takes_part(workload.name)).collect();
    let all = recorders.iter().map(|&recorder| Series { recorder: recorder.clone(), samples: Vec::new() });
    let mut outcome = Outcome {
        name: workload.name,
        title: workload.title.clone(),
        unit: workload.unit,
        units: workload.units,
        series: all.collect(),
        answers: Vec::new(),
        events: 0,
        wrong: Vec::new(),
        usual: 0.0,
        checked: (0, 0),
    };
    let before = Meter::now();
    workload.run(seed)?;
    outcome.usual = before.foreign().min(USUAL_MOST);
    let mut readers = Vec::new();
    for round in 0..rounds {
        // Not always the same one after the same one.
        for turn in 0..recorders.len() {
            let which = (turn + round) % recorders.len();
            let recorder = recorders[which];
            let file = dir.join(format!("{}.capture", recorder.name()));
            let sample = repeat(&mut outcome, workload, recorder, &file, seed + round as u64)?;
            outcome.series[which].samples.push(Sample { round, ..sample });
            if matches!(recorder, Recorder::None | Recorder::EmptyHooks) {
                continue;
            }
            // One file of each is read afterwards.
            if workload.name == "md5sum" && round == 0 {
                let kept = dir.join(format!("{}.read", recorder.name()));
                fs::rename(&file, &kept).context("the capture is gone")?;
                readers.push(Reader::of(recorder, kept));
            } else {
                fs::remove_file(&file).context("the capture is gone")?;
            }
        }
        eprintln!("  round {} of {rounds}", round + 1);
    }
    if workload.name == "getppid" {
        for recorder in plan.slow {
            if let Some(series) = slow_series(workload, recorder, dir)? {
                outcome.series.push(series);
            }
        }
    }
    if let Some(first) = readers.first() {
        if let Some(Recorder::Ktape(_, binary)) = recorders.get(1) {
            let info = recorder::ktape_info(binary, &first.file)?;
            outcome.events = info["events"].as_u64().unwrap_or(0);
        }
        readers.extend(plan.scap.map(|file| Reader::sysdig(file.to_path_buf())));
        read(&mut outcome, &readers)?;
    }
    Ok(outcome)
}

/// One run, without the number of its round; repeated if other processes used the machine.
fn repeat(
    outcome: &mut Outcome,
    workload: &Workload,
    recorder: &Recorder,
    file: &Path,
    seed: u64,
) -> Result<Sample> {
    let mut repeated = 0;
    loop {
        machine::settle();
        let before = Meter::now();
        let hooks = (*recorder == Recorder::EmptyHooks).then(empty::Hooks::attach).transpose()?;
        let recording = recorder.start(file)?;
        let ran = workload.run(seed)?;
        let recorded = recording.map(recorder::Recording::stop).transpose()?;
        drop(hooks);
        let foreign = before.foreign();
        // The file is what it is, whoever used the machine.
        match recorder {
            Recorder::Ktape(_, binary) => outcome.check(&workload.expect, binary, file, &ran.notes)?,
            Recorder::KtapeOther(binary) => {
                let none: Vec<Expect> =
                    workload.expect.iter().map(|expect| Expect { count: 0, ..expect.clone() }).collect();
                outcome.check(&none, binary, file, &[])?;
            }
            _ => {}
        }
        if foreign > outcome.usual + FOREIGN && repeated < TRIES {
            eprintln!("  {}: others used {:.0} % of a CPU, again", recorder.name(), foreign * 100.0);
            repeated += 1;
            continue;
        }
        let unit_ns = ran.took.as_nanos() as f64 / workload.units as f64;
        return Ok(Sample { round: 0, unit_ns, recorded, foreign, repeated });
    }
}

impl Outcome {
    /// Hold a file against what the workload did.
    fn check(&mut self, expected: &[Expect], ktape: &Path, file: &Path, notes: &[notes::Note]) -> Result<()> {
        self.checked.0 += 1;
        let info = recorder::ktape_info(ktape, file)?;
        let lost: u64 =
            info["lost_by"].as_array().into_iter().flatten().filter_map(|l| l["count"].as_u64()).sum();
        for expect in expected {
            let mut replay = std::process::Command::new(ktape);
            replay.arg("replay").arg(file).args(["--count", "--filter", &expect.expression]);
            let found: u64 = run::output(&mut replay)?.trim().parse().context("no number")?;
            if found > expect.count || found + lost < expect.count {
                self.wrong.push(format!(
                    "{} instead of {} {} events, {lost} told as lost: {}",
                    found, expect.count, expect.kind, expect.expression
                ));
            }
        }
        if lost == 0 && !notes.is_empty() {
            self.checked.1 += notes.len();
            if let Err(error) = notes::compare(ktape, file, notes) {
                self.wrong.push(format!("{error:#}"));
            }
        }
        Ok(())
    }
}

/// A hundredth of the loop, three times, beside a recorder that prints.
fn slow_series(workload: &Workload, recorder: &Recorder, dir: &Path) -> Result<Option<Series>> {
    let mut samples = Vec::new();
    for round in 0..READINGS {
        let file = dir.join(format!("{}.capture", recorder.name()));
        let recording = recorder.start(&file)?;
        let Some((took, units)) = workload.run_slowly(recorder.wrapper(&file).as_deref())? else {
            return Ok(None);
        };
        recording.map(recorder::Recording::stop).transpose()?;
        let unit_ns = took.as_nanos() as f64 / units as f64;
        // What it records is mostly its own start and end.
        samples.push(Sample { round, unit_ns, recorded: None, foreign: 0.0, repeated: 0 });
        fs::remove_file(&file).context("the capture is gone")?;
    }
    Ok(Some(Series { recorder: recorder.clone(), samples }))
}

fn read(outcome: &mut Outcome, readers: &[Reader]) -> Result<()> {
    for reader in readers {
        eprintln!("  reading as {}", reader.name);
        for question in Question::EACH {
            let Some(lines) = reader.lines(question)? else { continue };
            let mut readings = Vec::new();
            for _ in 0..READINGS {
                readings.extend(reader.read(question)?);
            }
            outcome.answers.push(Answer { reader: reader.name.clone(), question, lines, readings });
        }
    }
    Ok(())
}
