//! The highest rate of events at which a recorder loses none, by a load whose rate is varied.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::FOREIGN_MAX;
use super::machine::{self, CpuMeter};
use super::recorder::{Recorder, RunningRecorder};
use crate::process::GatedProgram;

/// Name on the command line.
pub const NAME: &str = "max-rate";

/// The search ends when the lowest rate with loss is at most this much above the highest one without.
const RESOLUTION: f64 = 0.05;
/// The next rate, as a share of one that lost events only when it was confirmed.
const STEP_DOWN: f64 = 0.9;
/// Number of further runs without loss that confirm a rate.
const CONFIRMATIONS: usize = 2;
/// Number of runs per search, including repeated ones.
const PROBES_MAX: usize = 14;
/// A load that is slower than this share of its rate cannot be faster.
const REACHED: f64 = 0.95;

/// The result of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Calls per second that the load made, on all its CPUs together.
    pub rate: f64,
    /// Lost events.
    pub lost: u64,
    /// Whether other processes disturbed the run, although it was repeated.
    pub disturbed: bool,
}

/// The highest rate without loss, in calls per second on all busy CPUs together.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxRate {
    /// Name of the recorder.
    pub recorder: &'static str,
    /// Number of CPUs that the load keeps busy.
    pub busy: usize,
    /// No events are lost at this rate; 0 if some are lost at every rate.
    pub lossless: f64,
    /// Events are lost at this rate; `None` if none are lost while the load calls as often as it can.
    pub lossy: Option<f64>,
    /// All runs of the search.
    pub probes: Vec<Probe>,
}

impl MaxRate {
    /// For example `2 busy CPUs`.
    pub fn busy_cpus(&self) -> String {
        format!("{} busy CPU{}", self.busy, if self.busy == 1 { "" } else { "s" })
    }
}

/// What the search needs.
pub struct RateSetup<'a> {
    /// `bench-load`.
    pub load: &'a Path,
    /// Directory for captures.
    pub dir: &'a Path,
    /// Duration of one run.
    pub duration: Duration,
    /// Number of times that a disturbed run is repeated.
    pub retries: usize,
}

/// Searches the highest rate of each recorder, with one and with two busy CPUs.
pub fn measure(recorders: &[&Recorder], setup: &RateSetup<'_>) -> Result<Vec<MaxRate>> {
    let mut all = Vec::new();
    for busy in 1..=machine::cpus().min(2) {
        for recorder in recorders {
            eprintln!("{NAME}: {}, {busy} busy", recorder.name());
            let (lossless, lossy, probes) = search(|rate| {
                let probe = run(recorder, busy, rate, setup)?;
                eprintln!("  {:.0} calls per second: {} events lost", probe.rate, probe.lost);
                Ok(probe)
            })?;
            all.push(MaxRate { recorder: recorder.name(), busy, lossless, lossy, probes });
        }
    }
    Ok(all)
}

/// Searches the highest rate without loss, and the lowest with it, by runs at a given rate, or without one as fast as possible.
/// Also returns all runs.
fn search(mut run: impl FnMut(Option<f64>) -> Result<Probe>) -> Result<(f64, Option<f64>, Vec<Probe>)> {
    let full = run(None)?;
    let mut probes = vec![full];
    if full.lost == 0 {
        return Ok((full.rate, None, probes));
    }
    let (mut clean, mut high, mut confirmed, mut was_luck) = (vec![0.0], full.rate, 0, false);
    while probes.len() < PROBES_MAX && confirmed < CONFIRMATIONS {
        let low = clean.iter().copied().fold(0.0, f64::max);
        let is_last_step = high <= low * (1.0 + RESOLUTION);
        let rate = match is_last_step {
            true => low,
            // The limit is a little lower.
            false if was_luck => high * STEP_DOWN,
            false => f64::midpoint(low, high),
        };
        let probe = run(Some(rate))?;
        probes.push(probe);
        if probe.lost > 0 {
            was_luck |= is_last_step;
            high = rate;
            clean.retain(|clean| *clean < high);
            confirmed = 0;
        } else if is_last_step {
            confirmed += 1;
        } else {
            was_luck = false;
            clean.push(probe.rate);
            if probe.rate < rate * REACHED {
                break;
            }
        }
    }
    Ok((clean.into_iter().fold(0.0, f64::max), Some(high), probes))
}

/// One run; repeated if other processes disturb it, unless it is at a given rate and loses nothing.
fn run(recorder: &Recorder, busy: usize, rate: Option<f64>, setup: &RateSetup<'_>) -> Result<Probe> {
    let file = setup.dir.join(format!("{}.capture", recorder.name()));
    let per_cpu = rate.map_or(0, |rate| (rate / busy as f64) as u64).to_string();
    let ms = setup.duration.as_millis().to_string();
    for attempt in 0.. {
        machine::settle();
        let running = recorder.start(&file)?.context("the recorder is a program")?;
        let before = CpuMeter::now();
        let mut loads = Vec::new();
        for cpu in 0..busy {
            let mut command = Command::new(setup.load);
            command.args(["rate", &per_cpu, &ms, &cpu.to_string()]).stderr(Stdio::null());
            loads.push(GatedProgram::start(&mut command)?);
        }
        loads.iter_mut().try_for_each(GatedProgram::go)?;
        let mut made = (0, 0.0);
        for load in &mut loads {
            let took = load.done()?.as_secs_f64();
            let calls: u64 = load.line("")?.parse().context("the load printed no number of calls")?;
            made = (made.0 + calls, made.1 + calls as f64 / took);
        }
        loads.into_iter().try_for_each(|load| load.finish().map(drop))?;
        let lost = stop(running, made.0)?;
        let foreign = before.foreign();
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        let disturbed = foreign > FOREIGN_MAX;
        let is_clean = lost == 0 && rate.is_some();
        if is_clean || !disturbed || attempt == setup.retries {
            return Ok(Probe { rate: made.1, lost, disturbed });
        }
        eprintln!("  repeating the run: other processes used {:.0}% of a CPU", foreign * 100.0);
    }
    unreachable!("the last attempt returns")
}

/// Stops the recorder and returns the number of lost events.
fn stop(running: RunningRecorder, made: u64) -> Result<u64> {
    let counts = running.stop()?.counts;
    if counts.calls.is_some_and(|calls| calls + counts.lost < made) {
        bail!("{made} calls, but the file has {:?}, with {} reported as lost", counts.calls, counts.lost);
    }
    Ok(counts.lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recorder that loses events above `limit`, beside a load that makes at most `fastest` calls per second.
    fn searched(limit: f64, fastest: f64) -> (f64, Option<f64>, usize) {
        let run = |rate: Option<f64>| {
            let rate = rate.unwrap_or(f64::INFINITY).min(fastest);
            Ok(Probe { rate, lost: u64::from(rate > limit), disturbed: false })
        };
        let (lossless, lossy, probes) = search(run).unwrap();
        (lossless, lossy, probes.len())
    }

    #[test]
    fn the_limit_is_between_both_rates() {
        let (lossless, lossy, runs) = searched(1.3e6, 4e6);
        let lossy = lossy.unwrap();
        assert!(lossless <= 1.3e6 && lossy > 1.3e6 && lossy <= lossless * 1.05, "{lossless} {lossy}");
        assert!(runs <= PROBES_MAX, "{runs}");
    }

    #[test]
    fn one_run_is_enough_if_the_fastest_load_loses_nothing() {
        assert_eq!(searched(5e6, 4e6), (4e6, None, 1));
    }

    #[test]
    fn a_search_without_a_lossless_rate_ends() {
        let (lossless, _, runs) = searched(-1.0, 4e6);
        assert_eq!((lossless, runs), (0.0, PROBES_MAX));
    }

    #[test]
    fn a_rate_that_loses_events_when_it_is_confirmed_does_not_count() {
        let mut losses_at_2_million = 0;
        let mut run = |rate: Option<f64>| {
            let rate = rate.unwrap_or(4e6);
            // Half of the rates from 1.9 to 2.1 million per second are lucky once.
            let lost = match rate {
                _ if rate > 2.1e6 => 1,
                _ if rate > 1.9e6 => {
                    losses_at_2_million += 1;
                    u64::from(losses_at_2_million > 1)
                }
                _ => 0,
            };
            Ok(Probe { rate, lost, disturbed: false })
        };
        let (lossless, lossy, probes) = search(&mut run).unwrap();
        assert!(lossless <= 1.9e6, "{lossless} {lossy:?}: {probes:?}");
        let runs = probes.iter().filter(|probe| probe.rate == lossless);
        assert_eq!(runs.count(), 1 + CONFIRMATIONS);
    }
}
