//! Measures ktape: what recording and reading cost beside other tools, and whether a long run stays within its limits.
//! `docs/performance.md` explains the figures.

mod compare;
mod process;
mod soak;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use ktape_tests::run;

/// Measure what recording and reading cost: time, CPU, memory and file size, beside other tools
#[derive(Parser)]
#[command(name = "ktape-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    measurement: Option<Measurement>,
    #[command(flatten)]
    compare: compare::Options,
}

#[derive(Subcommand)]
enum Measurement {
    /// Record with rotation on a busy machine for a long time; fail if memory, descriptors or disk use grow
    Soak(soak::Options),
}

fn main() -> ExitCode {
    let root = run::workspace_root();
    let cli = Cli::parse();
    let measured = match cli.measurement {
        None => compare::compare(&root, &cli.compare),
        Some(Measurement::Soak(options)) => soak::soak(&root, &options),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that anyhow's own output may carry.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The binary to measure: the given one, or a release build of the workspace.
fn ktape(root: &Path, given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(file) => fs::canonicalize(file).with_context(|| format!("no {}", file.display())),
        None => {
            run::run(run::cargo(root).args(["build", "--release", "--locked", "--package", "ktape"]))?;
            Ok(run::target_dir(root).join("release/ktape"))
        }
    }
}

/// Build the workload program; its path.
fn build_workload(root: &Path) -> Result<PathBuf> {
    let mut build = run::cargo(root);
    build.args(["build", "--release", "--locked", "-p", "ktape-tests", "--bin", "ktape-workload"]);
    run::run(&mut build)?;
    Ok(run::target_dir(root).join("release/ktape-workload"))
}
