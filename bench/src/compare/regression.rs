//! Decides whether one build of ktape is worse than another.

use anyhow::{Result, bail};

use super::max_rate::MaxRate;
use super::recorder::{Recorder, RecorderFigures};
use super::result::{RecorderRun, WorkloadResult};
use super::stats::{Spread, three_digits};

/// Quantiles of Student's t for 1 to 9 degrees of freedom: exceeded by chance in 1% of all cases.
const STUDENT_99: [f64; 9] = [31.82, 6.965, 4.541, 3.747, 3.365, 3.143, 2.998, 2.896, 2.821];
/// The same for 10 degrees of freedom; for more, it is a little less.
const STUDENT_99_MANY: f64 = 2.764;
/// The least noise of a rate without loss: the search for it ends at steps of 5%, and a probe is one run.
const RATE_NOISE_MIN: f64 = 0.10;

/// A figure that is compared; a greater one is worse.
struct Figure {
    name: &'static str,
    /// Smaller differences do not matter, however clear they are.
    noise_min: f64,
    value: fn(&RecorderRun) -> Option<f64>,
}

const FIGURES: [Figure; 5] = [
    Figure { name: "time", noise_min: 0.02, value: |run| Some(run.unit_ns) },
    Figure { name: "recorder CPU", noise_min: 0.05, value: |run| of(run, |f| f.cpu.as_secs_f64()) },
    Figure { name: "file size", noise_min: 0.02, value: |run| of(run, |f| f.bytes as f64) },
    Figure { name: "memory", noise_min: 0.05, value: |run| of(run, |f| f.memory.peak as f64) },
    Figure { name: "start", noise_min: 0.10, value: |run| of(run, |f| f.startup.as_secs_f64()) },
];

fn of(run: &RecorderRun, value: fn(&RecorderFigures) -> f64) -> Option<f64> {
    run.figures.as_ref().map(value)
}

/// The result of one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Worse by more than the noise.
    Worse,
    /// Better by more than the noise.
    Better,
    /// The difference is not greater than the noise.
    Same,
}

/// A figure of a row, compared with that of the other build.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The workload, with the recorder's name if it is not `ktape`.
    pub row: String,
    /// What is compared.
    pub figure: &'static str,
    /// The figure as a multiple of the other build's: the median of all rounds.
    pub ratio: f64,
    /// A ratio of up to 1 plus this can be by chance.
    pub noise: f64,
    /// What follows from both.
    pub verdict: Verdict,
}

impl Comparison {
    /// Compares by the ratio of each round. The noise is what the mean of the ratios exceeds in 1% of all cases if there is
    /// no difference, by Student's t of their logarithms; at least `noise_min`. From one round, nothing follows.
    fn of_rounds(row: &str, figure: &'static str, ratios: &[f64], noise_min: f64) -> Option<Self> {
        let ratio = Spread::of(ratios.iter().copied())?.median;
        let noise = chance(ratios).max(noise_min);
        let verdict = match ratio {
            _ if ratio > 1.0 + noise => Verdict::Worse,
            _ if ratio < 1.0 / (1.0 + noise) => Verdict::Better,
            _ => Verdict::Same,
        };
        Some(Self { row: row.to_owned(), figure, ratio, noise, verdict })
    }

    /// Compares the rates without loss; a smaller one is worse. The noise is the width of both searches' last steps.
    fn of_rates(row: String, own: &MaxRate, other: &MaxRate) -> Self {
        let width = |rate: &MaxRate| rate.lossy.map_or(1.0, |lossy| lossy / rate.lossless.max(1.0));
        let ratio = own.lossless / other.lossless.max(1.0);
        let noise = (width(own) * width(other) - 1.0).max(RATE_NOISE_MIN);
        let verdict = match ratio {
            // No rate is too high: how far the load gets then is the time of a call, which other rows compare.
            _ if own.lossy.is_none() => Verdict::Same,
            _ if ratio < 1.0 / (1.0 + noise) => Verdict::Worse,
            _ if ratio > 1.0 + noise => Verdict::Better,
            _ => Verdict::Same,
        };
        Self { row, figure: "rate without loss", ratio, noise, verdict }
    }

    /// For example `time 1.31 (noise 2%) WORSE`.
    fn short(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Worse => " WORSE",
            Verdict::Better => " better",
            Verdict::Same => "",
        };
        format!("{} {} (noise {}){verdict}", self.figure, three_digits(self.ratio), percent(self.noise))
    }
}

/// See [`Comparison::of_rounds`].
fn chance(ratios: &[f64]) -> f64 {
    let count = ratios.len();
    if count < 2 {
        return f64::INFINITY;
    }
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = logs.iter().sum::<f64>() / count as f64;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
    let student = STUDENT_99.get(count - 2).copied().unwrap_or(STUDENT_99_MANY);
    (student * (variance / count as f64).sqrt()).exp_m1()
}

fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.0}%", share * 100.0) } else { "unknown".to_owned() }
}

/// Compares each figure of a workload. The other build's recorders have the prefix `other-`.
pub fn compare(result: &WorkloadResult) -> Vec<Comparison> {
    let mut all = Vec::new();
    for own in &result.by_recorder {
        let Recorder::Ktape(ktape) = &own.recorder else { continue };
        let Some(other) = result.runs_of(&format!("other-{}", ktape.name)) else { continue };
        let row = match ktape.name {
            "ktape" => result.name.to_owned(),
            name => format!("{} ({name})", result.name),
        };
        for figure in &FIGURES {
            // Without wanted events, CPU and file are those of the samples.
            if figure.name != "time" && !ktape.select.is_empty() {
                continue;
            }
            let ratios = own.paired(other, |one, two| Some((figure.value)(one)? / (figure.value)(two)?));
            all.extend(Comparison::of_rounds(&row, figure.name, &ratios, figure.noise_min));
        }
    }
    all
}

/// Compares the rates without loss.
pub fn compare_rates(rates: &[MaxRate]) -> Vec<Comparison> {
    let own = rates.iter().filter(|rate| rate.recorder == "ktape");
    own.filter_map(|own| {
        let other = rates.iter().find(|other| other.recorder == "other-ktape" && other.busy == own.busy)?;
        Some(Comparison::of_rates(format!("max-rate, {}", own.busy_cpus()), own, other))
    })
    .collect()
}

/// Whether a figure is worse.
pub fn any_worse(comparisons: &[Comparison]) -> bool {
    comparisons.iter().any(|comparison| comparison.verdict == Verdict::Worse)
}

/// Of two measurements of the same rows, the second; but only what was worse in both is worse.
pub fn confirmed(first: &[Comparison], second: Vec<Comparison>) -> Vec<Comparison> {
    let was_worse = |one: &Comparison| {
        let same = first.iter().find(|first| first.row == one.row && first.figure == one.figure);
        same.is_some_and(|first| first.verdict == Verdict::Worse)
    };
    let mut second = second;
    for one in &mut second {
        if one.verdict == Verdict::Worse && !was_worse(one) {
            one.verdict = Verdict::Same;
        }
    }
    second
}

/// One line per row.
pub fn lines(comparisons: &[Comparison]) -> Vec<String> {
    let mut rows: Vec<&str> = comparisons.iter().map(|comparison| comparison.row.as_str()).collect();
    rows.dedup();
    let of_row = |row: &str| {
        let own = comparisons.iter().filter(|comparison| comparison.row == row).map(Comparison::short);
        format!("{row}: {}", own.collect::<Vec<_>>().join(", "))
    };
    rows.into_iter().map(of_row).collect()
}

/// Fails if a figure is worse.
///
/// # Errors
/// Names the rows and the figures that are worse.
pub fn verdict(comparisons: &[Comparison], other: &str) -> Result<()> {
    let worse = comparisons.iter().filter(|comparison| comparison.verdict == Verdict::Worse);
    let worse: Vec<String> = worse
        .map(|one| {
            let (ratio, noise) = (three_digits(one.ratio), percent(one.noise));
            format!("  {}: {} is {ratio} times the other's, with a noise of {noise}", one.row, one.figure)
        })
        .collect();
    if !worse.is_empty() {
        bail!("worse than {other}:\n{}", worse.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
