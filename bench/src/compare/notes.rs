//! What a workload says of its own calls, held against the file call by call.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use ktape_tests::run;

/// How far the wall clock of a file may be off: it is given as an offset to the boot clock, which NTP does not slew alike.
const CLOCK_SLACK_NS: u64 = 50_000;

/// A call as its caller saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    before: u64,
    after: u64,
    tid: u64,
    call: String,
    result: i64,
    args: [i64; 3],
}

impl Note {
    /// Of the workload's lines.
    pub fn read(text: &str) -> Result<Vec<Self>> {
        text.lines().map(|line| Self::of(line).with_context(|| format!("no note: {line}"))).collect()
    }

    fn of(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [before, after, tid, call, result, a, b, c] = words.try_into().ok()?;
        // Arguments are words of the machine; negative ones are written without their sign.
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

    /// Why an event is not this call.
    fn differs(&self, event: &Value) -> Option<String> {
        let number = |field: &str| match &event[field] {
            Value::String(text) => text.parse::<i64>().ok(),
            value => value.as_i64(),
        };
        if event["evt.type"] != self.call.as_str() {
            return Some(format!("it is {}", event["evt.type"]));
        }
        if number("evt.rawres") != Some(self.result) {
            return Some(format!("its result is {}", event["evt.rawres"]));
        }
        let names: &[&str] = match self.call.as_str() {
            "lseek" => &["fd", "offset"],
            "pread64" => &["fd", "count", "pos"],
            "openat" => &["dfd", "flags"],
            "kill" => &["pid", "sig"],
            _ => &[],
        };
        if names.is_empty() {
            return Some("it is none of the calls that are noted".to_owned());
        }
        for (name, wanted) in names.iter().zip(self.args) {
            let found = number(&format!("evt.arg.{name}"));
            // A descriptor is 32 bits wide, whatever is in the rest of its register.
            if found != Some(wanted) && found.map(|n| n as i32) != Some(wanted as i32) {
                return Some(format!("its {name} is {found:?}"));
            }
        }
        let (Some(start), Some(length)) = (number("evt.rawtime"), number("evt.latency")) else {
            return Some("it has no time".to_owned());
        };
        let (start, end) = (start.unsigned_abs(), start.unsigned_abs() + length.unsigned_abs());
        if start + CLOCK_SLACK_NS < self.before || end > self.after + CLOCK_SLACK_NS {
            return Some(format!("it was from {start} to {end}"));
        }
        None
    }
}

/// Find every noted call in the file, in order, and nothing between them.
///
/// # Errors
/// The first difference.
pub fn compare(ktape: &Path, file: &Path, notes: &[Note]) -> Result<()> {
    let Some(first) = notes.first() else { return Ok(()) };
    // Not the thread's other calls: those of its sleeps and clocks, of its start and its end.
    let expression = format!(
        "thread.tid = {} and evt.type in (lseek, pread64, openat, kill) and evt.rawtime >= {} and evt.rawtime <= {}",
        first.tid,
        first.before.saturating_sub(CLOCK_SLACK_NS),
        notes.last().map_or(0, |last| last.after)
    );
    let mut replay = Command::new(ktape);
    let text =
        run::output(replay.arg("replay").arg(file).args(["--format", "json", "--filter", &expression]))?;
    let mut events = text.lines().map(|line| serde_json::from_str::<Value>(line).context("no JSON"));
    for (i, note) in notes.iter().enumerate() {
        let event = events.next().with_context(|| format!("noted call {i} is missing: {note:?}"))??;
        if let Some(how) = note.differs(&event) {
            bail!("noted call {i} differs: {how}; noted was {note:?}");
        }
    }
    if let Some(more) = events.next() {
        bail!("an event that nobody noted: {}", more?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_note_is_its_event_and_no_other() {
        let note = Note::of("1000000 1100000 7 pread64 -22 3 10 18446744073709551615").unwrap();
        let event = |field: &str, value: Value| {
            let mut event = json!({
                "evt.type": "pread64", "evt.rawres": -22, "evt.arg.fd": 3, "evt.arg.count": 10,
                "evt.arg.pos": -1, "evt.rawtime": "1000100", "evt.latency": 200,
            });
            event[field] = value;
            event
        };
        assert_eq!(note.differs(&event("evt.latency", json!(200))), None);
        for (field, value) in [
            ("evt.type", json!("read")),
            ("evt.rawres", json!(0)),
            ("evt.arg.count", json!(11)),
            ("evt.rawtime", json!("900000")),
            ("evt.latency", json!(900_000)),
        ] {
            assert!(note.differs(&event(field, value)).is_some(), "{field}");
        }
        assert_eq!(Note::of("1 2 3 kill 0 1 0"), None);
    }
}
