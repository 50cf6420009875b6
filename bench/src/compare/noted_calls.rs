//! Compares the calls that the workload noted with the events in ktape's file, one by one.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use ktape_tests::run;

/// Tolerated difference between a file's wall-clock times and the workload's: the file stores an offset to the boot clock, and
/// NTP slews the two clocks differently.
const CLOCK_SLACK_NS: u64 = 50_000;

/// A system call as its caller saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct NotedCall {
    /// Wall clock before the call, ns since 1970.
    before: u64,
    /// Wall clock after the call, ns since 1970.
    after: u64,
    tid: u64,
    call: String,
    result: i64,
    args: [i64; 3],
}

impl NotedCall {
    /// Parses the output of `ktape-workload bench noted`.
    pub fn parse_all(text: &str) -> Result<Vec<Self>> {
        text.lines()
            .map(|line| Self::parse(line).with_context(|| format!("cannot parse noted call: {line}")))
            .collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [before, after, tid, call, result, a, b, c] = words.try_into().ok()?;
        // The workload prints arguments as unsigned 64-bit values.
        let arg = |word: &str| word.parse::<u64>().ok().map(u64::cast_signed);
        Some(Self {
            before: before.parse().ok()?,
            after: after.parse().ok()?,
            tid: tid.parse().ok()?,
            call: call.to_owned(),
            result: result.parse().ok()?,
            args: [arg(a)?, arg(b)?, arg(c)?],
        })
    }

    /// How an event differs from this call; `None` if it matches.
    fn difference(&self, event: &Value) -> Option<String> {
        let number = |field: &str| match &event[field] {
            Value::String(text) => text.parse::<i64>().ok(),
            value => value.as_i64(),
        };
        if event["evt.type"] != self.call.as_str() {
            return Some(format!("the call is {}", event["evt.type"]));
        }
        if number("evt.rawres") != Some(self.result) {
            return Some(format!("the result is {}", event["evt.rawres"]));
        }
        let names: &[&str] = match self.call.as_str() {
            "lseek" => &["fd", "offset"],
            "pread64" => &["fd", "count", "pos"],
            "openat" => &["dfd", "flags"],
            "kill" => &["pid", "sig"],
            _ => &[],
        };
        if names.is_empty() {
            return Some("the workload notes no such calls".to_owned());
        }
        for (name, wanted) in names.iter().zip(self.args) {
            let found = number(&format!("evt.arg.{name}"));
            // The kernel uses only the lower 32 bits of a descriptor's register.
            if found != Some(wanted) && found.map(|n| n as i32) != Some(wanted as i32) {
                return Some(format!("argument {name} is {found:?}"));
            }
        }
        let (Some(start), Some(length)) = (number("evt.rawtime"), number("evt.latency")) else {
            return Some("the event has no time".to_owned());
        };
        let (start, end) = (start.unsigned_abs(), start.unsigned_abs() + length.unsigned_abs());
        if start + CLOCK_SLACK_NS < self.before || end > self.after + CLOCK_SLACK_NS {
            return Some(format!("the call took place from {start} to {end}"));
        }
        None
    }
}

/// Checks that the file has exactly the noted calls, in order, and no others of the same thread and types between them.
///
/// # Errors
/// The first difference.
pub fn compare(ktape: &Path, file: &Path, noted: &[NotedCall]) -> Result<()> {
    let Some(first) = noted.first() else { return Ok(()) };
    // The thread also makes calls that it does not note: it sleeps, reads clocks, starts and exits.
    let expression = format!(
        "thread.tid = {} and evt.type in (lseek, pread64, openat, kill) and evt.rawtime >= {} and evt.rawtime <= {}",
        first.tid,
        first.before.saturating_sub(CLOCK_SLACK_NS),
        noted.last().map_or(0, |last| last.after)
    );
    let mut replay = Command::new(ktape);
    let text =
        run::output(replay.arg("replay").arg(file).args(["--format", "json", "--filter", &expression]))?;
    let mut events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).context("ktape replay printed invalid JSON"));
    for (i, call) in noted.iter().enumerate() {
        let event = events.next().with_context(|| format!("noted call {i} has no event: {call:?}"))??;
        if let Some(difference) = call.difference(&event) {
            bail!("the event of noted call {i} differs: {difference}; noted: {call:?}");
        }
    }
    if let Some(extra) = events.next() {
        bail!("an event without a noted call: {}", extra?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_matches_its_own_event_only() {
        let call = NotedCall::parse("1000000 1100000 7 pread64 -22 3 10 18446744073709551615").unwrap();
        let event = |field: &str, value: Value| {
            let mut event = json!({
                "evt.type": "pread64", "evt.rawres": -22, "evt.arg.fd": 3, "evt.arg.count": 10,
                "evt.arg.pos": -1, "evt.rawtime": "1000100", "evt.latency": 200,
            });
            event[field] = value;
            event
        };
        assert_eq!(call.difference(&event("evt.latency", json!(200))), None);
        for (field, value) in [
            ("evt.type", json!("read")),
            ("evt.rawres", json!(0)),
            ("evt.arg.count", json!(11)),
            ("evt.rawtime", json!("900000")),
            ("evt.latency", json!(900_000)),
        ] {
            assert!(call.difference(&event(field, value)).is_some(), "{field}");
        }
        assert_eq!(NotedCall::parse("1 2 3 kill 0 1 0"), None);
    }
}
