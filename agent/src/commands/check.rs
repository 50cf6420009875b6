//! `ktape check`: reads every chunk and reports damage.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use capture_format::{Damage, Verified};
use serde_json::{Value, json};

use ktape_reader::scan::input;
use ktape_reader::text::escape::{Place, escaped};
use ktape_reader::text::units::{count_text, size_text};

const EXAMPLES: &str = "\
Examples:
  ktape check web.ktape
  ktape check /var/log/ktape/

Exit codes: 0 all captures are intact, 1 a capture is damaged or not readable.";

/// Arguments of `ktape check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Captures or directories of captures
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON object per file, one per line
    #[arg(long)]
    json: bool,
}

/// Checks the files; exit code 1 if one is damaged or not a capture. A file that is not finished, or that ends in the
/// middle of a chunk, is not damaged: this is the normal state of a file that is being written.
///
/// # Errors
/// A file does not exist.
pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    let mut sound = true;
    for path in input::files(&args.files)? {
        let found = input::regular(&path).map_err(|error| error.to_string()).and_then(|()| {
            let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
            capture_format::verify(&path).map(|found| (found, bytes)).map_err(|error| error.to_string())
        });
        let checked = Checked::new(&path, found);
        sound &= checked.is_sound();
        let text = if args.json { format!("{}\n", checked.json()) } else { checked.text() };
        // If stdout is closed, the exit code still gives the result.
        let _ = io::stdout().write_all(text.as_bytes());
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The result of checking a file.
struct Checked {
    path: String,
    /// The contents, or why it is not a capture.
    found: Result<Verified, String>,
    /// Bytes of an incomplete last block.
    cut: Option<u64>,
}

impl Checked {
    fn new(path: &Path, found: Result<(Verified, u64), String>) -> Self {
        let path = escaped(path.as_os_str().as_encoded_bytes(), Place::Free).into_owned();
        let mut cut = None;
        let found = found.map(|(mut found, bytes)| {
            if let Some(last) = found.damage.last().filter(|last| last.is_cut_end(bytes)) {
                cut = Some(last.len);
                found.damage.pop();
            }
            found
        });
        Self { path, found, cut }
    }

    fn is_sound(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| found.damage.is_empty())
    }

    fn text(&self) -> String {
        let path = &self.path;
        let word = |text: String| escaped(text.as_bytes(), Place::Free).into_owned();
        let found = match &self.found {
            Ok(found) => found,
            Err(error) => return format!("{path}: NOT READABLE: {}\n", word(error.clone())),
        };
        let mut text: String =
            found.damage.iter().map(|damage| format!("{path}: {}\n", word(damage.to_string()))).collect();
        let state = match found.damage.len() {
            0 => "ok".to_owned(),
            1 => "DAMAGED in one place".to_owned(),
            places => format!("DAMAGED in {places} places"),
        };
        let end = match (found.unfinished, self.cut) {
            (0, None) => String::new(),
            (_, Some(bytes)) => format!(
                "; it ends in the middle of a chunk, {} of it (still being written, not closed properly, or truncated)",
                size_text(bytes)
            ),
            (1, None) => "; it is not finished (still being written, or not closed properly)".to_owned(),
            (n, None) => format!("; {n} of its recordings are not finished"),
        };
        let lost: u64 = found.damage.iter().map(|damage| damage.len).sum();
        let lost = if lost > 0 { format!(", {} unreadable", size_text(lost)) } else { String::new() };
        text.push_str(&format!(
            "{path}: {state}: {} events in {} readable chunks{lost}{end}\n",
            count_text(found.events),
            count_text(found.chunks)
        ));
        text
    }

    fn json(&self) -> Value {
        match &self.found {
            Ok(found) => json!({
                "file": self.path,
                "sound": found.damage.is_empty(),
                "events": found.events,
                "chunks": found.chunks,
                "segments": found.segments,
                "unfinished": found.unfinished,
                "cut": self.cut,
                "damage": found.damage.iter().map(place).collect::<Vec<_>>(),
            }),
            Err(error) => json!({ "file": self.path, "sound": false, "error": error }),
        }
    }
}

fn place(damage: &Damage) -> Value {
    json!({ "offset": damage.offset, "bytes": damage.len, "cause": damage.cause.to_string() })
}
