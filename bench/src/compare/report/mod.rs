//! The report: tables on standard output, and the object for `--json`.

mod json;
mod table;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};

pub use self::table::{rate_table, table};
use super::machine;
use super::max_rate::MaxRate;
use super::projection::EventCost;
use super::recorder::Recorder;
use super::regression::{self, Comparison};
use super::result::WorkloadResult;
use super::stats::with_commas;

const MIB: f64 = 1024.0 * 1024.0;

/// The results of a benchmark, and what they depend on.
pub struct BenchReport {
    machine: Value,
    versions: Vec<(&'static str, String)>,
    rounds: usize,
    seed: u64,
    /// One per measurement of a workload.
    pub results: Vec<WorkloadResult>,
    /// The highest rates without loss.
    pub rates: Vec<MaxRate>,
    /// Comparisons with the other ktape.
    pub comparisons: Vec<Comparison>,
}

impl BenchReport {
    /// An empty report, with the version of each recorder.
    pub fn new(machine: Value, recorders: &[Recorder], slow: &[Recorder], rounds: usize, seed: u64) -> Self {
        // A binary of ktape is several recorders.
        let each = recorders.iter().chain(slow);
        let programs = each.filter(|one| one.is_whole_ktape() || !matches!(one, Recorder::Ktape(_)));
        let versions = programs.map(|recorder| (recorder.name(), recorder.version()));
        let versions = versions.filter(|(_, version)| !version.is_empty()).collect();
        Self {
            machine,
            versions,
            rounds,
            seed,
            results: Vec::new(),
            rates: Vec::new(),
            comparisons: Vec::new(),
        }
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
            "workloads": self.results.iter().map(json::workload_json).collect::<Vec<_>>(),
            "max_rates": self.rates.iter().map(json::rate_json).collect::<Vec<_>>(),
            "calculated_max_rate": self.event_cost().map(|cost| cost.json()),
            "against": self.comparisons.iter().map(json::comparison_json).collect::<Vec<_>>(),
        })
    }

    /// What an event costs, from the workload `getppid` if that ran.
    fn event_cost(&self) -> Option<EventCost> {
        self.results.iter().rev().find(|result| result.name == "getppid").and_then(EventCost::of)
    }

    /// The rate without loss that follows for more CPUs.
    pub fn projection_text(&self) -> String {
        match self.event_cost() {
            Some(cost) => cost.text(machine::cpus(), &self.rates),
            None => "no calculation for more CPUs without the row getppid\n".to_owned(),
        }
    }

    /// Prints how much was checked and how ktape compares with the other binary, if there is one.
    ///
    /// # Errors
    /// If a file was wrong or ktape is worse than the other one by more than the noise.
    pub fn verdict(&self, against: Option<&Path>) -> Result<()> {
        let wrong: Vec<&String> = self.results.iter().flat_map(|result| &result.wrong).collect();
        let files: usize = self.results.iter().map(|result| result.files_checked).sum();
        let calls: usize = self.results.iter().map(|result| result.calls_checked).sum();
        println!(
            "\nchecked: event counts of {files} files, {} calls one by one",
            with_commas(&calls.to_string())
        );
        if let Some(other) = against {
            println!("as multiples of {}:", other.display());
            for line in regression::lines(&self.comparisons) {
                println!("{line}");
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
        against.map_or(Ok(()), |other| regression::verdict(&self.comparisons, &other.display().to_string()))
    }
}
