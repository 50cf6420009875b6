//! ktape's own tasks: `cargo xtask --help`.

mod check;
mod ebpf;
mod fuzz;
mod install;
mod retried;
mod stamp;
mod syscalls;
mod test;
mod toolchain;
mod verifier;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use ktape_tests::run;
use ktape_tests::vm::tables::{Kernel, USUAL_KERNEL};
use ktape_tests::vm::{matrix, prepare};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "ktape's own tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the eBPF object and write it, with its stamp, to agent/ebpf
    Ebpf {
        /// Change nothing: build elsewhere and compare with what is committed
        #[arg(long)]
        check: bool,
        /// Change nothing: run clippy over the programs
        #[arg(long, conflicts_with = "check")]
        clippy: bool,
        /// Build with the first complete toolchain found, without installing anything
        #[arg(long)]
        no_install: bool,
    },
    /// Enforce the architecture: allowed imports between crates and modules, no cycles, no long files
    Check,
    /// Load every program into this kernel and write load times and verified instruction counts to docs/verifier.md
    Verifier {
        /// Print only
        #[arg(long)]
        print: bool,
    },
    /// Generate the syscall tables in reader/src/syscalls from this kernel's formats and the installed headers
    Syscalls {
        /// The mounted tracefs
        #[arg(long, default_value = "/sys/kernel/tracing")]
        tracefs: PathBuf,
        /// The directory of unistd_64.h
        #[arg(long, default_value = "/usr/include/x86_64-linux-gnu/asm")]
        headers: PathBuf,
    },
    /// Download QEMU and kernels for the tests in virtual machines into a cache, and print the paths
    Guest {
        /// Kernels by name: 5.10, 6.1, 6.12, newest
        #[arg(default_value = USUAL_KERNEL)]
        kernels: Vec<Kernel>,
        /// Download again what is there
        #[arg(long)]
        again: bool,
    },
    /// Run the kernel tests on other kernels, each in a virtual machine, and print a table
    Vm {
        /// Kernels by name: 5.10, 6.1, 6.12, newest [default: all]
        kernels: Vec<Kernel>,
    },
    /// Build the fuzz targets for files and expressions, and run each for a while
    Fuzz(fuzz::Options),
    /// Run everything that must hold before a change goes in: formatting, lints, docs, build, tests, fuzzing
    ///
    /// As root this installs missing programs, and runs all tests. As any other user it runs those that need no root.
    Test {
        /// Skip what takes longest: the eBPF rebuild, docs, licences, slow tests, fuzzing, other kernels
        #[arg(long)]
        quick: bool,
        /// Arguments for the test runner, after `--`
        #[arg(last = true)]
        runner: Vec<String>,
    },
}

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that anyhow's own output may carry: the message says what to do.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<()> {
    let root = run::workspace_root();
    match Cli::parse().task {
        Task::Ebpf { check: true, no_install, .. } => ebpf::check(&root, !no_install),
        Task::Ebpf { clippy: true, no_install, .. } => ebpf::clippy(&root, !no_install),
        Task::Ebpf { no_install, .. } => ebpf::build(&root, !no_install),
        Task::Check => check::check(&root),
        Task::Verifier { print } => verifier::verifier(&root, print),
        Task::Syscalls { tracefs, headers } => syscall_tables(&root, &tracefs, &headers),
        Task::Guest { kernels, again } => prepare::prepare(&kernels, again),
        Task::Vm { kernels } => matrix::run(&root, &kernels),
        Task::Fuzz(options) => fuzz::fuzz(&root, &options),
        Task::Test { quick, runner } => test::test(&root, quick, &runner),
    }
}

fn syscall_tables(root: &Path, tracefs: &Path, headers: &Path) -> Result<()> {
    let tables = syscalls::generate(tracefs, headers).with_context(|| {
        format!("cannot make tables from {} and {}", tracefs.display(), headers.display())
    })?;
    for (name, text) in [("x86_64.tbl", tables.x86_64), ("i386.tbl", tables.i386)] {
        let file = root.join("reader/src/syscalls").join(name);
        fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("wrote reader/src/syscalls/{name}: {} lines", text.lines().count());
    }
    Ok(())
}
