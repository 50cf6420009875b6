//! Everything that must hold before a change goes in, in one command.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{ebpf, fuzz, guest, install, limit, run, stamp, vm};

const MINUTE: Duration = Duration::from_secs(60);
/// For everything: a run that is not over by then is worth nothing to who waits for it.
const TOTAL: Duration = Duration::from_secs(57 * 60);
/// For a build: the first one on a machine also downloads.
const BUILD: Duration = Duration::from_secs(15 * 60);
/// For all tests together.
const TESTS: Duration = Duration::from_secs(35 * 60);
/// For the fuzz targets: their build, and the time that each runs.
const FUZZ: Duration = Duration::from_secs(8 * 60);
/// How long each fuzz target runs, seconds.
const FUZZ_SECONDS: u64 = 60;
/// For other kernels, all together: four guests, two at a time.
const KERNELS: Duration = Duration::from_secs(10 * 60);

/// Run all steps, each timed and within its limit, up to the first that fails.
///
/// # Errors
/// If a step fails, or, with `CI` set, if one would have to be skipped.
pub fn test(root: &Path, quick: bool, runner: &[String]) -> Result<()> {
    let root_user = run::is_root();
    if !root_user {
        if run::is_ci() {
            bail!("CI needs root: the tests on the real kernel load eBPF programs and start containers");
        }
        eprintln!(
            "NOT ROOT: the tests on the real kernel are SKIPPED. For all of them: sudo -E cargo xtask test"
        );
    }
    let mut steps = Steps { done: Vec::new(), end: Instant::now() + TOTAL };
    if root_user {
        steps.step("install", install::INSTALL_LIMIT, install::test_programs)?;
    }
    let has_guests = steps.step("virtual machines", install::INSTALL_LIMIT, guests)?;
    if quick {
        steps.step("eBPF stamp", MINUTE, || stamp::verify(root).map(drop))?;
    } else {
        steps.step("eBPF rebuild", BUILD, || ebpf::check(root, root_user))?;
    }
    steps.step("format", 2 * MINUTE, || run::run(run::cargo(root).args(["fmt", "--all", "--check"])))?;
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
    let passed = steps.step("tests", TESTS, || run::run(&mut tests(root, quick, runner)));
    let fuzzed = if quick { Ok(()) } else { steps.step("fuzz", FUZZ, || fuzz::quick(root, FUZZ_SECONDS)) };
    // Last: it leaves the signals to whoever ends the emulators.
    let kernels = if has_guests && root_user && !quick {
        steps.step("other kernels", KERNELS, || vm::vm(root, guest::Kernel::ALL))
    } else {
        Ok(())
    };
    steps.print();
    passed.and(fuzzed).and(kernels)
}

/// The test runner. The tests drive the release binary: it is what users run, and what the figures are about.
fn tests(root: &Path, quick: bool, runner: &[String]) -> Command {
    let mut command = run::cargo(root);
    let nextest = run::which("cargo-nextest").is_some();
    if nextest {
        command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
        if quick {
            command.args(["--profile", "quick"]);
        }
    } else {
        eprintln!("cargo-nextest is not installed: running `cargo test`");
        command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    }
    command.args(runner);
    command.env("KTAPE_BIN", run::target_dir(root).join("release/ktape"));
    command
}

/// Advisories need a database from the network, which a build machine need not reach: they are not part of this.
fn deny(root: &Path) -> Result<()> {
    let deny = match install::cargo_deny() {
        Ok(deny) => deny,
        Err(error) if !run::is_ci() => {
            eprintln!("SKIPPED: cargo-deny is not there and cannot be built: {error:#}");
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

/// What the tests in virtual machines boot; whether it is there.
fn guests() -> Result<bool> {
    match guest::guest(guest::Kernel::ALL, false) {
        Err(error) if !run::is_ci() => {
            eprintln!("SKIPPED: the tests in virtual machines, their kernel is not there: {error:#}");
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

struct Steps {
    /// When all has to be over.
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
