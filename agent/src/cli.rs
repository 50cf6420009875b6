//! The command line: every command and option, from which `--help`, shell completions and man pages follow.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::commands::{
    capture, check, completions, conns, containers, doctor, fields, info, replay, stats, tree, views, watch,
};

const EXAMPLES: &str = "\
Getting started:
  sudo ktape capture -d 30s -o my.ktape   record everything for 30 seconds
  ktape info my.ktape                     what was recorded, and what was lost
  ktape replay my.ktape                   print it, one line per event
  ktape fields                            what filter expressions can use

Exit codes:
  0  success
  1  failure
  2  wrong usage
  3  success, but events were lost or data is damaged (with --strict)";

/// Record what the kernel, its processes and its containers do; replay it anywhere
#[derive(Debug, Parser)]
#[command(
    name = "ktape",
    version,
    max_term_width = 80,
    after_help = EXAMPLES,
    disable_help_flag = true,
    disable_version_flag = true
)]
pub struct Cli {
    /// Print more messages to stderr; repeat for more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "General")]
    pub verbose: u8,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = "General")]
    help: Option<bool>,
    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = "General")]
    version: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, in the order of `ktape --help`.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, for the life of the process")]
pub enum Command {
    /// Record events to a file (needs root)
    Capture(capture::CaptureArgs),
    /// Print events as they happen (needs root)
    Watch(watch::WatchArgs),
    /// Print, filter or copy recorded events
    Replay(replay::ReplayArgs),
    /// Count, sum and rank recorded events by any field
    Stats(stats::StatsArgs),
    /// List connections with both ends, bytes, lifetime and how they ended
    Conns(conns::ConnsArgs),
    /// List, explain and check the views of `stats`
    Views(views::ViewsArgs),
    /// Summarize captures: time range, host, size, event counts, lost events, containers
    Info(info::InfoArgs),
    /// List the containers of a capture or of this host
    Containers(containers::ContainersArgs),
    /// Print the processes of a capture as a tree: who started whom, when, and how it ended
    Tree(tree::TreeArgs),
    /// Verify the integrity of captures
    Check(check::CheckArgs),
    /// List the fields that filter expressions can use
    Fields(fields::FieldsArgs),
    /// Report what this kernel and these privileges allow
    Doctor(doctor::DoctorArgs),
    /// Print a script that completes commands and options in a shell
    Completions(completions::CompletionsArgs),
}

impl Cli {
    /// Parses a command line; the first argument is the name of the program.
    ///
    /// # Errors
    ///
    /// Wrong usage, or a request for help or the version.
    pub fn from_args(args: Vec<OsString>) -> Result<Self, clap::Error> {
        // To clap, `--` without a command after it is as if it were not there. It is what is left of
        // `capture -- $COMMAND` with an empty variable, which must not record the whole host.
        let dangling = args.last().is_some_and(|last| last == "--");
        let cli = Self::try_parse_from(args)?;
        if dangling && matches!(&cli.command, Command::Capture(capture) if capture.command.is_empty()) {
            return Err(command().error(ErrorKind::WrongNumberOfValues, "no COMMAND after `--`"));
        }
        Ok(cli)
    }
}

/// The definition of the whole command line.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests;
