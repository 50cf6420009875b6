//! The `ktape` command.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ktape::commands::{capture, check, containers, doctor, fields, info, replay, watch};
use ktape::session::say::say;
use ktape::usage::Usage;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
    /// The containers of a capture, or of this host: names, labels, lives
    Containers(containers::ContainersArgs),
    /// Verify every byte of captures, and say what is damaged
    Check(check::CheckArgs),
    /// Every field that expressions can name
    Fields(fields::FieldsArgs),
    /// What this kernel and these privileges allow, and what is missing
    Doctor(doctor::DoctorArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.verbose);
    let result = match cli.command {
        Command::Capture(args) => capture::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Containers(args) => containers::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Fields(args) => fields::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    };
    result.unwrap_or_else(|error| {
        say(format_args!("ktape: {}", chain(&error)));
        if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

/// An error with its causes, each said once: many libraries repeat the cause in their own words.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Messages on stderr. Those of the programs in the kernel come only when they are asked for, so
/// they are always shown; aya's own are for those who debug the loader.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let loader = if verbose > 2 { level } else { LevelFilter::WARN };
    let filter = Targets::new()
        .with_default(level)
        .with_target("aya", loader)
        .with_target("aya_obj", loader)
        .with_target("ktape_ebpf", LevelFilter::TRACE);
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(stderr.with_filter(filter)).init();
}
