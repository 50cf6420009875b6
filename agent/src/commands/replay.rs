//! `ktape replay`: prints events of captures as text, JSON or CSV, counts them, or copies them into a smaller capture.

mod output;
mod request;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::event_format::EventOutput;
use super::selection::{EVENTS, SelectionOptions, ZoneOptions, times};
use crate::session::options::{OUTPUT, selectors};
use crate::store::output::is_broken_pipe;
use crate::usage::usage;
use ktape_reader::scan::container_match::Ambiguous;

const PLAYBACK: &str = "Playback";

const AFTER_HELP: &str = concat!(
    times!(),
    selectors!(),
    "
Examples:
  ktape replay web.ktape
  ktape replay web.ktape 'proc.name = nginx and evt.failed = true'
  ktape replay web.ktape --container web --from 12:00:01 --to 12:00:02
  ktape replay web.ktape --container web --around 'exit.signal = SIGKILL' 1s
  ktape replay web.ktape --before 'evt.type = oom' 500ms
  ktape replay web.ktape -e exec,connect --format json
  ktape replay web.ktape -e exec --fields proc.pid,proc.cmdline
  ktape replay web.ktape -e openat -p '%proc.name %evt.res %fd.name'
  ktape replay web.ktape --count 'evt.type = read'
  ktape replay web.ktape 'container.name = web' -w small.ktape"
);

/// Arguments of `ktape replay`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct ReplayArgs {
    /// Captures, directories of captures, or `-` for stdin; the last argument may be a filter expression
    #[arg(value_name = "FILE|EXPR", required = true)]
    inputs: Vec<OsString>,
    /// Which events.
    #[command(flatten)]
    selection: SelectionOptions,
    /// Stop after N events
    #[arg(short = 'n', value_name = "N", help_heading = EVENTS)]
    limit: Option<u64>,
    /// How events are printed.
    #[command(flatten)]
    output: EventOutput,
    /// Print only the number of matching events
    #[arg(long, conflicts_with_all = ["format", "fields", "print", "limit", "speed", "write"], help_heading = OUTPUT)]
    count: bool,
    /// Write the matching events to a new capture, or to stdout if FILE is `-`
    #[arg(short = 'w', long, value_name = "FILE", conflicts_with_all = ["format", "fields", "print", "limit", "speed"], help_heading = OUTPUT)]
    write: Option<PathBuf>,
    /// With --write: overwrite an existing file
    #[arg(long, requires = "write", help_heading = OUTPUT)]
    force: bool,
    /// The zone of times.
    #[command(flatten)]
    zone: ZoneOptions,
    /// Exit with code 3 if events that could match were lost, or if data is damaged
    #[arg(long, help_heading = OUTPUT)]
    strict: bool,
    /// Wait for more events while the file grows; for a directory, follow the newest file and its successors
    #[arg(short, long, conflicts_with_all = ["count", "write", "speed"], help_heading = PLAYBACK)]
    follow: bool,
    /// Print events at the speed at which they happened (1x), or faster (10x) or slower (0.5x)
    #[arg(long, value_name = "FACTOR", help_heading = PLAYBACK)]
    speed: Option<String>,
}

/// Replays.
///
/// # Errors
/// The arguments are wrong, a capture cannot be read, or the output cannot be written.
pub fn run(args: &ReplayArgs) -> Result<ExitCode> {
    match request::Replay::new(args).and_then(request::Replay::run) {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Ambiguous>() => Err(usage(error)),
        result => result,
    }
}

#[cfg(test)]
mod tests;
