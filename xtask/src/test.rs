//! Everything that must hold before a change goes in, in one command.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{ebpf, install, run, stamp};

/// Run all steps, each timed, up to the first that fails.
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
    let mut steps = Steps::default();
    if root_user {
        steps.step("install", install::test_programs)?;
    }
    if quick {
        steps.step("eBPF stamp", || stamp::verify(root).map(drop))?;
    } else {
        steps.step("eBPF rebuild", || ebpf::check(root, root_user))?;
    }
    steps.step("format", || run::run(run::cargo(root).args(["fmt", "--all", "--check"])))?;
    steps.step("clippy", || {
        let mut clippy = run::cargo(root);
        clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
        run::run(&mut clippy)
    })?;
    if !quick {
        steps.step("clippy of the programs", || ebpf::clippy(root, root_user))?;
        steps.step("licences and sources", || deny(root))?;
        steps.step("docs", || {
            let mut doc = run::cargo(root);
            doc.args(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
            run::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
        })?;
    }
    steps.step("release build", || run::run(run::cargo(root).args(["build", "--release", "--locked"])))?;
    let passed = steps.step("tests", || run::run(&mut tests(root, quick, runner)));
    steps.print();
    passed
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

#[derive(Default)]
struct Steps {
    done: Vec<(&'static str, Duration, bool)>,
}

impl Steps {
    fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("==> {name}");
        let start = Instant::now();
        let result = work();
        self.done.push((name, start.elapsed(), result.is_ok()));
        if result.is_err() && name != "tests" {
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
