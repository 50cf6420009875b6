//! `ktape tree`: the processes of captures, each below its parent.

mod gather;
mod process;
mod shape;
mod text;

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::inputs;
use crate::session::messages::{message, report_lost};
use crate::store::output::is_broken_pipe;
use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::scan::Input;
use text::{Lines, Style};

const AFTER_HELP: &str = "\
A process stands below the first parent that the capture has of it, also after
that parent has ended. Times are relative to the start of the capture; a minus
sign marks what was before. A command line is the name, and the arguments after
the first. The memory needed grows with the number of processes and threads, not
with that of events.

Examples:
  ktape tree build.ktape
  ktape tree build.ktape 'evt.type = connect'
  ktape tree build.ktape 'proc.aname = make and exit.status != 0'
  ktape tree /var/log/ktape/ --format json";

/// Arguments of `ktape tree`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct TreeArgs {
    /// Captures or directories of captures; the last argument may be a filter expression
    #[arg(value_name = "FILE|EXPR", required = true)]
    inputs: Vec<OsString>,
    /// Only processes with events that match this expression, and their ancestors; only these events are counted
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// Output format: text, or json (one JSON object per line and process, parents first)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,
    /// Draw lines with ASCII characters [default: only if the locale is not UTF-8]
    #[arg(long)]
    ascii: bool,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Columns, and the tree in the last one.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// Prints the tree.
///
/// # Errors
/// The arguments are wrong, a capture cannot be read, or standard output cannot be written.
pub fn run(args: &TreeArgs) -> Result<ExitCode> {
    let (paths, positional) = inputs::split("tree", &args.inputs)?;
    let named = args.filter.as_deref().map(Filter::parse).transpose().map_err(usage)?;
    let filter = match (positional, named) {
        (Some(a), Some(b)) => Some(a.and(b)),
        (a, b) => a.or(b),
    };
    filter.iter().flat_map(Filter::hints).for_each(message);
    let Input::Files(listing) = Input::open(&paths)? else {
        bail!(
            "`ktape tree` cannot read standard input: save the capture to a file first (ktape capture -o FILE)"
        );
    };
    let captures = listing.open(None, None)?;
    for error in captures.unreadable() {
        message(format_args!("{error}; file ignored"));
    }
    let gathered = gather::from(&captures, filter)?;
    for line in [gathered.damaged.cut(), gathered.damaged.warning()].into_iter().flatten() {
        message(line);
    }
    if gathered.lost.total > 0 {
        report_lost(&gathered.lost);
    }
    let tree = shape::Tree::new(gathered.processes);
    if tree.is_empty() {
        message("no processes: no event matches");
    }
    let stdout = io::stdout();
    let mut out = BufWriter::new(stdout.lock());
    let written = match args.format {
        Format::Text => {
            let style = Style {
                is_ascii: args.ascii || !is_utf8(),
                width: stdout.is_terminal().then(text::terminal_width).flatten(),
            };
            Lines::new(&tree, captures.span().start).write(style, &mut out)
        }
        Format::Json => text::write_json(&tree, &mut out),
    };
    match written.and_then(|()| out.flush()).map_err(anyhow::Error::from) {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result.map(|()| ExitCode::SUCCESS),
    }
}

/// Whether the locale's characters are UTF-8.
pub fn is_utf8() -> bool {
    is_utf8_in(|name| std::env::var(name).ok())
}

fn is_utf8_in(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| variable(name));
    let locale = { set }.find(|value| !value.is_empty()).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests;
