//! Calculates, from what one event costs, how many events per second a larger machine can record without loss.

use serde_json::{Value, json};

use super::max_rate::MaxRate;
use super::result::WorkloadResult;
use super::stats::{three_digits, with_commas};

/// Number of CPUs of the larger machine.
const LARGE: usize = 64;

/// What one event costs, ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventCost {
    /// What the program does per event without a recorder.
    pub base: f64,
    /// What the recorder adds to that in the kernel.
    pub kernel: f64,
    /// CPU time of the drain, encode and write threads, and of all others.
    pub stages: [f64; 4],
}

/// The highest rate without loss, by calculation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProjectedRate {
    /// Events per second, on all busy CPUs together.
    pub rate: f64,
    /// What limits it.
    pub limit: &'static str,
}

impl EventCost {
    /// The cost of an event in the workload `getppid`; `None` if ktape was not measured there.
    pub fn of(getppid: &WorkloadResult) -> Option<Self> {
        let base = getppid.unit_ns("none")?;
        let kernel = getppid.added_ns("ktape", "none")?.median;
        let [_, drain, encode, write, others] = getppid.cpu_per_event("ktape")?;
        Some(Self { base, kernel, stages: [drain, encode, write, others] })
    }

    /// The rate of a machine with `cpus` CPUs, of which `busy` make calls without a pause.
    pub fn project(&self, cpus: usize, busy: usize) -> ProjectedRate {
        let [drain, encode, write, _] = self.stages;
        let call = self.base + self.kernel;
        let limits = [
            ("the calling programs", busy as f64 / call),
            ("the drain thread", 1.0 / drain),
            ("the encode thread", 1.0 / encode),
            ("the write thread", 1.0 / write),
            ("all CPUs together", cpus as f64 / (call + self.stages.iter().sum::<f64>())),
        ];
        let (limit, per_ns) = limits
            .into_iter()
            .filter(|(_, rate)| rate.is_finite())
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or(("nothing", 0.0));
        ProjectedRate { rate: per_ns * 1e9, limit }
    }

    /// The paragraph for the report: the larger machine, then this one, where it can be compared with what was measured.
    pub fn text(&self, cpus: usize, measured: &[MaxRate]) -> String {
        let large = self.project(LARGE, LARGE);
        let per_cpu = large.rate / LARGE as f64;
        let [drain, encode, write, others] = self.stages.map(three_digits);
        let mut text = format!(
            "calculated from getppid: an event costs {} ns in the kernel, then {drain} ns (drain), {encode} ns (encode), \
             {write} ns (write), {others} ns (others)\n\
             {LARGE} busy CPUs: {} events/s without loss, {} per CPU, limited by {}; the kernel path then takes {:.1}% of \
             each CPU\n",
            three_digits(self.kernel),
            events(large.rate),
            events(per_cpu),
            large.limit,
            per_cpu * self.kernel / 1e7,
        );
        for own in measured.iter().filter(|rate| rate.recorder == "ktape") {
            let rate = self.project(cpus, own.busy);
            let none_lossy = if own.lossy.is_none() { ", the fastest load, without loss" } else { "" };
            text.push_str(&format!(
                "{} of {cpus}: {} events/s, limited by {}; measured: {}{none_lossy}\n",
                own.busy_cpus(),
                events(rate.rate),
                rate.limit,
                events(own.lossless)
            ));
        }
        text.push_str(
            "assumptions: each event costs what a getppid costs; one drain, one encode and one write thread, which run \
             whenever they have work; merging the ring buffers of all CPUs costs no more per event than merging those of \
             this machine (not measured); the rate is steady, so that a ring buffer bridges only short interruptions\n",
        );
        text
    }

    /// Object for `--json`.
    pub fn json(&self) -> Value {
        let large = self.project(LARGE, LARGE);
        let [drain, encode, write, others] = self.stages;
        json!({
            "cpus": LARGE,
            "base_ns": self.base,
            "kernel_ns": self.kernel,
            "drain_ns": drain,
            "encode_ns": encode,
            "write_ns": write,
            "others_ns": others,
            "events_per_s": large.rate,
            "limited_by": large.limit,
        })
    }
}

/// A number of events per second, with three significant digits.
pub fn events(rate: f64) -> String {
    if rate < 1.0 {
        return "0".to_owned();
    }
    let unit = 10f64.powi((rate.log10().floor() as i32 - 2).max(0));
    with_commas(&format!("{:.0}", (rate / unit).round() * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: EventCost = EventCost { base: 120.0, kernel: 250.0, stages: [125.0, 115.0, 5.0, 5.0] };

    #[test]
    fn many_cpus_are_limited_by_the_one_drain_thread() {
        assert_eq!(COST.project(64, 64), ProjectedRate { rate: 8e6, limit: "the drain thread" });
    }

    #[test]
    fn one_busy_cpu_is_limited_by_what_calls() {
        let projected = COST.project(2, 1);
        assert_eq!(projected.limit, "the calling programs");
        assert!((projected.rate - 1e9 / 370.0).abs() < 1.0, "{projected:?}");
    }

    #[test]
    fn busy_cpus_share_their_time_with_the_recorder() {
        let projected = COST.project(2, 2);
        assert_eq!(projected.limit, "all CPUs together");
        assert!((projected.rate - 2e9 / 620.0).abs() < 1.0, "{projected:?}");
    }

    #[test]
    fn a_stage_without_cost_is_no_limit() {
        let cost = EventCost { stages: [0.0; 4], ..COST };
        assert_eq!(cost.project(64, 64).limit, "the calling programs");
    }

    #[test]
    fn the_text_states_assumptions_and_measured_rates() {
        let measured =
            MaxRate { recorder: "ktape", busy: 1, lossless: 2.5e6, lossy: None, probes: Vec::new() };
        let text = COST.text(2, &[measured]);
        for part in [
            "64 busy CPUs: 8,000,000 events/s without loss, 125,000 per CPU, limited by the drain thread",
            "takes 3.1% of each CPU",
            "1 busy CPU of 2: 2,700,000 events/s, limited by the calling programs; measured: 2,500,000, the fastest load, without loss",
            "assumptions: ",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn rates_have_three_significant_digits() {
        assert_eq!(events(2_702_702.7), "2,700,000");
        assert_eq!(events(998_999.0), "999,000");
        assert_eq!(events(42.4), "42");
        assert_eq!(events(0.0), "0");
    }
}
