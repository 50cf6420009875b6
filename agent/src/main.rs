//! The `ktape` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ktape::commands::{capture, check, doctor, fields, info, replay, watch};
use ktape::session::Usage;

/// A tape recorder for the Linux kernel: record what every container does, replay it anywhere.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// More messages on stderr; repeat for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record to a file (needs root)
    Capture(capture::CaptureArgs),
    /// Print events as they happen (needs root)
    Watch(watch::WatchArgs),
    /// Print, filter or copy the events of captures
    Replay(replay::ReplayArgs),
    /// What a capture holds: when, where, how much, what was lost, which containers
    Info(info::InfoArgs),
    /// Verify every byte of captures, and say what is damaged
    Check(check::CheckArgs),
    /// Every field that expressions can name
    Fields(fields::FieldsArgs),
    /// What this kernel and these privileges allow, and what is missing
    Doctor(doctor::DoctorArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).init();
    let result = match cli.command {
        Command::Capture(args) => capture::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Fields(args) => fields::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("ktape: {error:#}");
        if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}
