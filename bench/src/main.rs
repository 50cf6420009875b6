//! Benchmarks for ktape: the cost of recording and reading compared with other tools, and a soak test for long runs.
//! `docs/performance.md` explains the method and the figures.

mod compare;
mod process;
mod soak;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use ktape_tests::run;

/// Measure the cost of recording and reading: time, CPU, memory and file size, compared with other tools
#[derive(Parser)]
#[command(name = "ktape-bench", args_conflicts_with_subcommands = true)]
struct BenchCli {
    #[command(subcommand)]
    measurement: Option<Measurement>,
    #[command(flatten)]
    compare: compare::CompareOptions,
}

#[derive(Subcommand)]
enum Measurement {
    /// Record with rotation on a busy machine for a long time; fail if memory, descriptors or disk use grow
    Soak(soak::SoakOptions),
}

fn main() -> ExitCode {
    let root = run::workspace_root();
    let cli = BenchCli::parse();
    let measured = match cli.measurement {
        None => compare::compare(&root, &cli.compare),
        Some(Measurement::Soak(options)) => soak::soak(&root, &options),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` prints the causes without a backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the binary to measure: `given`, or a fresh release build of the workspace.
fn ktape(root: &Path, given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(file) => fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display())),
        None => {
            run::run(run::cargo(root).args(["build", "--release", "--locked", "--package", "ktape"]))?;
            Ok(run::target_dir(root).join("release/ktape"))
        }
    }
}

/// Builds `ktape-workload`, the program of the tests, and returns its path.
fn build_workload(root: &Path) -> Result<PathBuf> {
    build_program(root, "ktape-tests", "ktape-workload")
}

/// Builds the programs that the rows of the comparison run, and returns their paths: `ktape-workload` and `bench-load`.
fn build_workloads(root: &Path) -> Result<(PathBuf, PathBuf)> {
    Ok((build_workload(root)?, build_program(root, "ktape-bench", "bench-load")?))
}

fn build_program(root: &Path, package: &str, program: &str) -> Result<PathBuf> {
    let mut build = run::cargo(root);
    build.args(["build", "--release", "--locked", "-p", package, "--bin", program]);
    run::run(&mut build)?;
    Ok(run::target_dir(root).join("release").join(program))
}
