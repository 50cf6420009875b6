//! Development tasks: `cargo xtask --help`.

mod check;
mod constants;
mod ebpf;
mod fidelity;
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
use ktape_tests::vm::{matrix, matrix::Selection, prepare};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of ktape")]
struct XtaskCli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the eBPF objects and write them with their stamp to agent/ebpf
    Ebpf {
        /// Only compare: rebuild, and fail if the committed objects differ
        #[arg(long)]
        check: bool,
        /// Only run clippy on the eBPF programs
        #[arg(long, conflicts_with = "check")]
        clippy: bool,
        /// Do not install a missing toolchain
        #[arg(long)]
        no_install: bool,
    },
    /// Check the architecture: allowed imports between crates and modules, import cycles, long files
    Check,
    /// Load every program into the running kernel and write load times and instruction counts to docs/verifier.md
    Verifier {
        /// Only print the table
        #[arg(long)]
        print: bool,
    },
    /// Generate the syscall tables in reader/src/syscalls from the running kernel's tracefs and the installed headers
    Syscalls {
        /// Mount point of tracefs
        #[arg(long, default_value = "/sys/kernel/tracing")]
        tracefs: PathBuf,
        /// Directory of unistd_64.h
        #[arg(long, default_value = "/usr/include/x86_64-linux-gnu/asm")]
        headers: PathBuf,
    },
    /// Generate the names of the values of syscall arguments in reader/src/syscalls from the sources of linux-raw-sys
    Constants,
    /// Compare the arguments that ktape records with those that strace logs, on real programs
    Fidelity {
        /// Programs by name [default: all]
        programs: Vec<String>,
    },
    /// Download QEMU and kernels for the tests in virtual machines into a cache, and print the paths
    Guest {
        /// Kernels by name: 5.10, 6.1, 6.12, newest
        #[arg(default_value = USUAL_KERNEL)]
        kernels: Vec<Kernel>,
        /// Replace what was downloaded before
        #[arg(long)]
        again: bool,
    },
    /// Run the kernel tests on other kernels, each in a virtual machine, and print a table
    Vm {
        /// Kernels by name: 5.10, 6.1, 6.12, newest [default: all]
        kernels: Vec<Kernel>,
        /// Run only this suite, a module of tests; may be repeated
        #[arg(long = "suite", value_name = "MODULE")]
        suites: Vec<String>,
        /// Run each suite this many times, at most until it fails
        #[arg(long, value_name = "N", default_value_t = 1)]
        times: u32,
    },
    /// Build and run the fuzz targets for capture files and filter expressions
    Fuzz(fuzz::FuzzOptions),
    /// Run all checks that a change must pass: formatting, lints, docs, build, tests, fuzzing
    ///
    /// As root, installs missing programs and runs all tests. As any other user, runs the tests that need no root.
    Test {
        /// Skip the slow steps: eBPF rebuild, docs, licences, slow tests, fuzzing, other kernels
        #[arg(long)]
        quick: bool,
        /// Arguments for the test runner, after `--`
        #[arg(last = true)]
        runner: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run_task() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` prints the causes without a backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_task() -> Result<()> {
    let root = run::workspace_root();
    match XtaskCli::parse().task {
        Task::Ebpf { check: true, no_install, .. } => ebpf::check(&root, !no_install),
        Task::Ebpf { clippy: true, no_install, .. } => ebpf::clippy(&root, !no_install),
        Task::Ebpf { no_install, .. } => ebpf::build(&root, !no_install),
        Task::Check => check::check(&root),
        Task::Verifier { print } => verifier::verifier(&root, print),
        Task::Syscalls { tracefs, headers } => write_syscall_tables(&root, &tracefs, &headers),
        Task::Fidelity { programs } => fidelity::compare(&programs),
        Task::Constants => write_constants(&root),
        Task::Guest { kernels, again } => prepare::prepare(&kernels, again),
        Task::Vm { kernels, suites, times } => {
            matrix::run(&root, &kernels, Selection { suites: &suites, times })
        }
        Task::Fuzz(options) => fuzz::fuzz(&root, &options),
        Task::Test { quick, runner } => test::test(&root, quick, &runner),
    }
}

fn write_constants(root: &Path) -> Result<()> {
    let text = constants::generate(root)?;
    let file = root.join(constants::FILE);
    fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("wrote {}: {} lines", constants::FILE, text.lines().count());
    Ok(())
}

fn write_syscall_tables(root: &Path, tracefs: &Path, headers: &Path) -> Result<()> {
    let tables = syscalls::generate(tracefs, headers).with_context(|| {
        format!("cannot generate syscall tables from {} and {}", tracefs.display(), headers.display())
    })?;
    for (name, text) in [("x86_64.tbl", tables.x86_64), ("i386.tbl", tables.i386)] {
        let file = root.join("reader/src/syscalls").join(name);
        fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("wrote reader/src/syscalls/{name}: {} lines", text.lines().count());
    }
    Ok(())
}
