//! `ktape check`: reads every chunk and says what is damaged.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::replay::input;
use crate::text::units::count_text;

/// Arguments of `ktape check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// Captures, or directories of captures
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Checks the files; 1 if one is damaged.
///
/// # Errors
/// If a file cannot be read at all.
pub fn run(args: &CheckArgs) -> Result<ExitCode> {
    let mut damaged = false;
    for path in input::files(&args.files)? {
        let shown = path.display();
        let found = match capture_format::verify(&path) {
            Ok(found) => found,
            Err(error) => {
                damaged = true;
                print_line(&format!("{shown}: {error}"));
                continue;
            }
        };
        for damage in &found.damage {
            print_line(&format!("{shown}: {damage}"));
        }
        damaged |= !found.damage.is_empty();
        let state = match (found.damage.len(), found.unfinished) {
            (0, 0) => "ok".to_owned(),
            (0, n) => format!(
                "ok, but {n} of its recordings was not finished (it is being written, or its recorder died)"
            ),
            (n, _) => format!("DAMAGED in {n} places"),
        };
        print_line(&format!(
            "{shown}: {state}: {} events in {} readable chunks",
            count_text(found.events),
            count_text(found.chunks)
        ));
    }
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A line on standard output; that nobody reads it does not change what is found.
fn print_line(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
