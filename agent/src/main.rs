//! The `ktape` command.

use std::process::ExitCode;

use ktape::cli::{self, Cli, Command};
use ktape::commands::{
    capture, check, completions, conns, containers, doctor, fields, info, replay, stats, tree, views, watch,
};
use ktape::session::child::CannotRun;
use ktape::session::messages::{MessageFormat, message};
use ktape::usage::Usage;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    let cli = match Cli::from_args(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    log_to_stderr(cli.verbose);
    let result = match cli.command {
        Command::Capture(args) => capture::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Conns(args) => conns::run(&args),
        Command::Views(args) => views::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Containers(args) => containers::run(&args),
        Command::Tree(args) => tree::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Fields(args) => fields::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args, cli::command()),
    };
    result.unwrap_or_else(|error| {
        message(chain(&error));
        match error.downcast_ref::<CannotRun>() {
            Some(error) => ExitCode::from(error.exit_code()),
            None if error.is::<Usage>() => ExitCode::from(2),
            None => ExitCode::FAILURE,
        }
    })
}

/// Prints help and the version to stdout, and wrong usage to stderr, with the same prefix as all messages.
fn not_parsed(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.render().to_string();
        message(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
        return ExitCode::from(2);
    }
    // A closed pipe is no failure.
    let _ = error.print();
    ExitCode::SUCCESS
}

/// An error with its causes, without those that it already contains: many libraries repeat them.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Log messages on stderr. Those of the eBPF programs exist only with `--kernel-log` and are always shown; aya's own are for
/// debugging the loader.
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
    let stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).event_format(MessageFormat);
    tracing_subscriber::registry().with(stderr.with_filter(filter)).init();
}
