//! Everything that must hold before a change goes in, in one command.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use ktape_tests::packages::{self, INSTALL_LIMIT};
use ktape_tests::vm::tables::KERNELS as ALL_KERNELS;
use ktape_tests::vm::{matrix, prepare};
use ktape_tests::{limit, run};

use crate::{check, ebpf, fuzz, install, retried, stamp};

const MINUTE: Duration = Duration::from_secs(60);
/// For everything: a longer run is no use to whoever waits for its result.
const TOTAL: Duration = Duration::from_secs(57 * 60);
/// For a build: the first one on a machine also downloads.
const BUILD: Duration = Duration::from_secs(15 * 60);
/// For all tests together.
const TESTS: Duration = Duration::from_secs(35 * 60);
/// For the fuzz targets: their build, and the time that each runs.
const FUZZ: Duration = Duration::from_secs(8 * 60);
/// How long each fuzz target runs, seconds.
const FUZZ_SECONDS: u64 = 60;
/// For all other kernels together: four guests, two at a time.
const KERNELS: Duration = Duration::from_secs(10 * 60);

/// Run all steps, each timed and within its limit, up to the first that fails.
///
/// # Errors
/// If a step fails, or, with `CI` set, if one would have to be skipped.
pub fn test(root: &Path, quick: bool, runner: &[String]) -> Result<()> {
    let root_user = run::is_root();
    if !root_user {
        if run::is_ci() {
            bail!("CI needs root: kernel tests load eBPF programs and start containers");
        }
        eprintln!("not root: tests that need root are ignored; to run all: sudo -E cargo xtask test");
    }
    let mut steps = Steps { done: Vec::new(), end: Instant::now() + TOTAL };
    if root_user {
        steps.step("install", INSTALL_LIMIT, packages::install_test_programs)?;
    }
    let has_guests = root_user && steps.step("virtual machines", INSTALL_LIMIT, guests)?;
    if quick {
        steps.step("eBPF stamp", MINUTE, || stamp::verify(root).map(drop))?;
    } else {
        steps.step("eBPF rebuild", BUILD, || ebpf::check(root, root_user))?;
    }
    steps.step("format", 2 * MINUTE, || run::run(run::cargo(root).args(["fmt", "--all", "--check"])))?;
    steps.step("imports and lengths of files", MINUTE, || check::check(root))?;
    steps.step("clippy", BUILD, || {
        let mut clippy = run::cargo(root);
        clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
        run::run(&mut clippy)
    })?;
    if !quick {
        steps.step("clippy of the programs", BUILD, || ebpf::clippy(root, root_user))?;
        steps.step("licences and sources", BUILD, || deny(root))?;
        steps.step("docs", BUILD, || {
            let mut doc = run::cargo(root);
            doc.args(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
            run::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        })?;
    }
    steps.step("release build", BUILD, || {
        run::run(run::cargo(root).args(["build", "--release", "--locked"]))
    })?;
    let passed = steps.step("tests", TESTS, || {
        let runner = Runner { quick, root_user, has_guests, arguments: runner };
        let passed = run::run(&mut runner.command(root));
        retried::print(&run::target_dir(root).join("nextest").join(runner.profile()).join("junit.xml"));
        passed
    });
    let fuzzed = if quick { Ok(()) } else { steps.step("fuzz", FUZZ, || fuzz::quick(root, FUZZ_SECONDS)) };
    // Last: from here on a signal ends this process and the emulators with it.
    let kernels = if has_guests && !quick {
        steps.step("other kernels", KERNELS, || matrix::run(root, ALL_KERNELS))
    } else {
        Ok(())
    };
    steps.print();
    passed.and(fuzzed).and(kernels)
}

/// The tests drive the release binary: it is what users run, and what the figures are about.
struct Runner<'a> {
    quick: bool,
    root_user: bool,
    has_guests: bool,
    /// More arguments, from the command line.
    arguments: &'a [String],
}

impl Runner<'_> {
    fn profile(&self) -> &'static str {
        if self.quick { "quick" } else { "default" }
    }

    fn command(&self, root: &Path) -> Command {
        let mut command = run::cargo(root);
        if run::which("cargo-nextest").is_some() {
            command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
            command.args(["--profile", self.profile()]);
            if self.root_user {
                command.args(["--run-ignored", "all"]);
            }
            if !self.has_guests {
                command.args(["-E", "not binary_id(ktape-tests::vm)"]);
            }
            command.args(self.arguments);
        } else {
            eprintln!("cargo-nextest is not installed: running `cargo test`, without a retry");
            command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
            command.args(self.arguments);
            if self.root_user {
                command.args(["--", "--include-ignored"]);
            }
        }
        command.env("KTAPE_BIN", run::target_dir(root).join("release/ktape"));
        command
    }
}

/// Advisories need a database from the network, which a build machine need not reach: they are not part of this.
fn deny(root: &Path) -> Result<()> {
    let deny = match install::cargo_deny() {
        Ok(deny) => deny,
        Err(error) if !run::is_ci() => {
            eprintln!("skipped: cargo-deny is not installed and cannot be built: {error:#}");
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

/// Prepare the virtual machines; whether they can be used.
fn guests() -> Result<bool> {
    match prepare::prepare(ALL_KERNELS, false) {
        Err(error) if !run::is_ci() => {
            eprintln!("skipped: the tests in virtual machines, which cannot be prepared: {error:#}");
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

struct Steps {
    /// When all steps have to be done.
    end: Instant,
    done: Vec<(&'static str, Duration, bool)>,
}

impl Steps {
    fn step<T>(
        &mut self,
        name: &'static str,
        length: Duration,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        eprintln!("==> {name}");
        let start = Instant::now();
        let left = self.end.saturating_duration_since(start);
        let result = if left < length {
            limit::within(
                &format!("{name} (cut to what is left of {} min)", TOTAL.as_secs() / 60),
                left,
                work,
            )
        } else {
            limit::within(name, length, work)
        };
        self.done.push((name, start.elapsed(), result.is_ok()));
        if result.is_err() && !["tests", "fuzz", "other kernels"].contains(&name) {
            self.print();
        }
        result
    }

    fn print(&self) {
        for (name, took, passed) in &self.done {
            eprintln!("{:>8.1} s  {name}{}", took.as_secs_f64(), if *passed { "" } else { "  FAILED" });
        }
    }
}
