//! `cargo xtask test`: all checks that a change must pass.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use ktape_tests::packages::{self, INSTALL_LIMIT};
use ktape_tests::vm::tables::KERNELS as ALL_KERNELS;
use ktape_tests::vm::{matrix, matrix::Selection, prepare};
use ktape_tests::{limit, run};

use crate::{check, ebpf, fuzz, install, retried, stamp};

const MINUTE: Duration = Duration::from_secs(60);
/// Limit for all steps together.
const TOTAL_LIMIT: Duration = Duration::from_secs(57 * 60);
/// Limit for a step that compiles; the first one on a machine also downloads dependencies.
const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Limit for all tests together.
const TESTS_LIMIT: Duration = Duration::from_secs(35 * 60);
/// Limit for building and running the fuzz targets.
const FUZZ_LIMIT: Duration = Duration::from_secs(8 * 60);
/// Running time of each fuzz target, seconds.
const FUZZ_SECONDS: u64 = 60;
/// Limit for the tests on other kernels: four guests, two at a time.
const KERNELS_LIMIT: Duration = Duration::from_secs(21 * 60);

/// Runs all steps, each with a time limit. Stops at the first failure, except that fuzzing and other kernels also run after
/// failed tests.
///
/// # Errors
/// If a step fails or, with `CI` set, if one would have to be skipped.
pub fn test(root: &Path, quick: bool, runner: &[String]) -> Result<()> {
    let is_root = run::is_root();
    if !is_root {
        if run::is_ci() {
            bail!("CI requires root: tests load eBPF programs and start containers");
        }
        eprintln!("not root: skipping tests that need root; run all with: sudo -E cargo xtask test");
    }
    let mut steps = Steps { done: Vec::new(), deadline: Instant::now() + TOTAL_LIMIT };
    if is_root {
        steps.step("install", INSTALL_LIMIT, packages::install_test_programs)?;
        steps.step("Python packages", INSTALL_LIMIT, packages::install_python_packages)?;
    }
    let has_guests = is_root && steps.step("virtual machines", INSTALL_LIMIT, prepare_guests)?;
    if quick {
        steps.step("eBPF stamp", MINUTE, || stamp::verify(root).map(drop))?;
    } else {
        steps.step("eBPF rebuild", BUILD_LIMIT, || ebpf::check(root, is_root))?;
    }
    steps.step("format", 2 * MINUTE, || run::run(run::cargo(root).args(["fmt", "--all", "--check"])))?;
    steps.step("architecture", MINUTE, || check::check(root))?;
    steps.step("clippy", BUILD_LIMIT, || {
        let mut clippy = run::cargo(root);
        clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
        run::run(&mut clippy)
    })?;
    if !quick {
        steps.step("clippy on the eBPF programs", BUILD_LIMIT, || ebpf::clippy(root, is_root))?;
        steps.step("licences and sources", BUILD_LIMIT, || deny(root))?;
        steps.step("docs", BUILD_LIMIT, || {
            let mut doc = run::cargo(root);
            doc.args(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
            run::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        })?;
    }
    steps.step("release build", BUILD_LIMIT, || {
        run::run(run::cargo(root).args(["build", "--release", "--locked"]))
    })?;
    let passed = steps.step("tests", TESTS_LIMIT, || {
        let runner = TestRunner { quick, is_root, has_guests, arguments: runner };
        let passed = run::run(&mut runner.command(root));
        retried::print(&run::target_dir(root).join("nextest").join(runner.profile()).join("junit.xml"));
        passed
    });
    let fuzzed =
        if quick { Ok(()) } else { steps.step("fuzz", FUZZ_LIMIT, || fuzz::quick(root, FUZZ_SECONDS)) };
    // Last, because it restores the default action of signals: they kill this process, and the emulators with it.
    let kernels = if has_guests && !quick {
        steps.step("other kernels", KERNELS_LIMIT, || matrix::run(root, ALL_KERNELS, Selection::ALL))
    } else {
        Ok(())
    };
    steps.print();
    passed.and(fuzzed).and(kernels)
}

/// The test runner: cargo-nextest, else `cargo test`. The tests run the release binary, as users do.
struct TestRunner<'a> {
    quick: bool,
    is_root: bool,
    has_guests: bool,
    /// Additional arguments from the command line.
    arguments: &'a [String],
}

impl TestRunner<'_> {
    fn profile(&self) -> &'static str {
        if self.quick { "quick" } else { "default" }
    }

    fn command(&self, root: &Path) -> Command {
        let mut command = run::cargo(root);
        if run::which("cargo-nextest").is_some() {
            command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
            command.args(["--profile", self.profile()]);
            if self.is_root {
                command.args(["--run-ignored", "all"]);
            }
            if !self.has_guests {
                command.args(["-E", "not binary_id(ktape-tests::vm)"]);
            }
            command.args(self.arguments);
        } else {
            eprintln!("cargo-nextest is not installed: running `cargo test`, without retries");
            command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
            command.args(self.arguments);
            if self.is_root {
                command.args(["--", "--include-ignored"]);
            }
        }
        command.env("KTAPE_BIN", run::target_dir(root).join("release/ktape"));
        command
    }
}

/// Checks licences and sources of the dependencies. Advisories are not checked: their database is on the network, which a
/// build machine may not reach.
fn deny(root: &Path) -> Result<()> {
    let deny = match install::cargo_deny() {
        Ok(deny) => deny,
        Err(error) if !run::is_ci() => {
            eprintln!(
                "SKIPPED: licences and sources: cargo-deny is not installed and cannot be built: {error:#}"
            );
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let mut command = Command::new(deny);
    command.current_dir(root).args([
        "--offline",
        "--locked",
        "--workspace",
        "check",
        "--hide-inclusion-graph",
    ]);
    run::run(command.args(["bans", "licenses", "sources"]))
}

/// Prepares the virtual machines. Returns whether they can be used.
fn prepare_guests() -> Result<bool> {
    match prepare::prepare(ALL_KERNELS, false) {
        Err(error) if !run::is_ci() => {
            eprintln!("SKIPPED: tests in virtual machines: {error:#}");
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

/// The steps of a run, with their times.
struct Steps {
    /// Deadline of the whole run.
    deadline: Instant,
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    took: Duration,
    passed: bool,
}

impl Steps {
    /// Runs one step within `limit` and what is left of the whole run.
    fn step<T>(
        &mut self,
        name: &'static str,
        limit: Duration,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        eprintln!("==> {name}");
        let start = Instant::now();
        let left = self.deadline.saturating_duration_since(start);
        let result = if left < limit {
            let name = format!("{name} (shortened to stay within {} min in all)", TOTAL_LIMIT.as_secs() / 60);
            limit::within(&name, left, work)
        } else {
            limit::within(name, limit, work)
        };
        self.done.push(Step { name, took: start.elapsed(), passed: result.is_ok() });
        if result.is_err() && !["tests", "fuzz", "other kernels"].contains(&name) {
            self.print();
        }
        result
    }

    fn print(&self) {
        for Step { name, took, passed } in &self.done {
            eprintln!("{:>8.1} s  {name}{}", took.as_secs_f64(), if *passed { "" } else { "  FAILED" });
        }
    }
}
