//! Runs the kernel tests on other kernels, each in its own virtual machine.
//!
//! A guest has one disk, cgroup2 only with all controllers, and the programs that the tests start. Emulation is several times
//! slower than this machine, so each suite has a time limit. [`SUITES`] excludes tests that need speed or something that a
//! guest lacks.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::report::{KernelReport, SUITE_LIMIT, closing_line, parse_program, parse_suite, table};
use super::tables::{Excluded, KERNELS, Kernel, PROGRAM_DIRS, PROGRAMS, SUITES, Suite};
use super::{Disk, Guest, prepare};
use crate::{limit, packages, run};
use anyhow::{Context, Result, bail};

/// Start of the line before a suite's output; the suite's name follows.
const SUITE_MARK: &str = "ktape-suite ";

/// Time after which a guest is killed.
const GUEST_LIMIT: Duration = Duration::from_secs(600);
/// Memory of a guest, MiB.
const MEMORY: u32 = 2048;
const DISK_BYTES: u64 = 2 << 30;

/// Which suites run in the guests.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// Modules of tests; all if the list is empty.
    pub suites: &'a [String],
    /// How many times each suite runs. It is not repeated after a failure.
    pub times: u32,
}

impl Selection<'static> {
    /// All suites, once.
    pub const ALL: Self = Self { suites: &[], times: 1 };
}

impl Selection<'_> {
    fn suites_on(self, kernel: Kernel) -> impl Iterator<Item = &'static Suite> {
        let is_selected = move |suite: &Suite| {
            self.suites.is_empty() || self.suites.iter().any(|name| name == suite.module)
        };
        SUITES.iter().filter(move |suite| suite.runs_on(kernel) && is_selected(suite))
    }
}

/// Boots each of these kernels (all if the list is empty), runs the tests there, and prints a table.
///
/// # Errors
/// If a suite does not exist, something cannot be prepared, or a test fails.
pub fn run(root: &Path, kernels: &[Kernel], selection: Selection<'_>) -> Result<()> {
    for name in selection.suites {
        if !SUITES.iter().any(|suite| suite.module == name) {
            let all: Vec<&str> = SUITES.iter().map(|suite| suite.module).collect();
            bail!("no suite `{name}` runs in guests: use {}", all.join(", "));
        }
    }
    let kernels = if kernels.is_empty() { KERNELS } else { kernels };
    if !run::is_root() {
        bail!("the guests' disks and the machine-wide lock require root: run sudo -E cargo xtask vm");
    }
    packages::install_test_programs()?;
    prepare::prepare(kernels, false)?;
    // The emulators are killed when this process exits.
    limit::leave_signals();
    run::run(run::cargo(root).args(["build", "--release", "--locked"]))?;
    let binaries = test_binaries(root)?;
    let ktape = run::target_dir(root).join("release/ktape");
    // Two guests at a time; each emulator has one thread.
    let queue = Mutex::new(kernels.iter().rev().copied().collect::<Vec<_>>());
    let reports = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            let Some(kernel) = next else { break };
            let report = boot(root, kernel, selection, &ktape, &binaries);
            eprintln!("{}", closing_line(&report));
            reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(report);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let mut reports = reports.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    reports.sort_by_key(|report| kernels.iter().position(|kernel| kernel.name == report.kernel));
    println!("{}", table(&reports));
    let failed: Vec<&str> =
        reports.iter().filter(|report| !report.passes()).map(|report| report.kernel).collect();
    if !failed.is_empty() {
        bail!("tests failed on {}", failed.join(", "));
    }
    Ok(())
}

/// Builds the test binaries and the workload, and returns their paths by name.
fn test_binaries(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut build = run::cargo(root);
    build.args(["test", "--no-run", "--locked", "--workspace", "--message-format", "json"]);
    let output = build.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let binaries = executables(&String::from_utf8_lossy(&output.stdout));
    for name in SUITES.iter().map(|suite| suite.binary).chain(["ktape-workload"]) {
        if !binaries.contains_key(name) {
            bail!("cargo built no test binary {name}");
        }
    }
    Ok(binaries)
}

/// Names and paths of the executables in cargo's JSON messages.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let artifact = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        // Programs are built twice: as a program, and as a test binary with its unit tests.
        let is_test = message["profile"]["test"].as_bool()?;
        let is_program = message["target"]["kind"][0] == "bin";
        (is_test != is_program)
            .then(|| (message["target"]["name"].as_str().unwrap_or("").to_owned(), path.into()))
    };
    messages.lines().filter_map(artifact).collect()
}

fn boot(
    root: &Path,
    kernel: Kernel,
    selection: Selection<'_>,
    ktape: &Path,
    binaries: &BTreeMap<String, PathBuf>,
) -> KernelReport {
    let start = Instant::now();
    let mut report = KernelReport {
        which: kernel,
        suites: selection.suites_on(kernel).count(),
        kernel: kernel.name,
        release: String::new(),
        took: Duration::ZERO,
        results: BTreeMap::new(),
        programs: Vec::new(),
        doctor: Vec::new(),
        error: None,
    };
    // The harness is made for tests and panics on errors.
    let ran = catch_unwind(AssertUnwindSafe(|| -> Result<_> {
        let workload = &binaries["ktape-workload"];
        let mut guest = Guest::with_program(kernel.name, ktape, workload)
            .deadline(GUEST_LIMIT)
            .memory(MEMORY)
            .disk(Disk::new("work", DISK_BYTES).ext4());
        for program in PROGRAMS {
            let path = run::which(program).with_context(|| format!("{program} is not installed"))?;
            guest = guest.program_at(program, &path);
        }
        let mut names: Vec<&str> = selection.suites_on(kernel).map(|suite| suite.binary).collect();
        names.dedup();
        for name in names {
            guest = guest.program_at(&format!("test-{name}"), &binaries[name]);
        }
        report.release = guest.release();
        let ran = guest.run(&script(root, kernel, selection, workload));
        ran.expect_success();
        Ok(ran.output.clone())
    }));
    report.took = start.elapsed();
    let output = match ran {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            report.error = Some(format!("{error:#}"));
            return report;
        }
        Err(panic) => {
            // The message contains the whole output of the guest.
            let text = message(panic.as_ref());
            report.error = Some(text.lines().next().unwrap_or_default().to_owned());
            text
        }
    };
    report.programs = output.lines().filter_map(parse_program).collect();
    report.doctor =
        output.lines().filter_map(|line| line.strip_prefix("doctor: ").map(str::to_owned)).collect();
    for part in output.split(SUITE_MARK).skip(1) {
        let (name, log) = part.split_once('\n').unwrap_or((part, ""));
        let Some(suite) = SUITES.iter().find(|suite| suite.module == name.trim()) else { continue };
        let result = parse_suite(log);
        if !result.complete || !result.failed.is_empty() {
            eprintln!("--- {} on {}:\n{log}", suite.module, kernel.name);
        }
        report.results.insert(suite.module, result);
    }
    report
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

/// The guest's script. Paths of the workload and of the target directory are compiled into the tests, so the guest has both at
/// the same paths as this machine, and on a disk.
fn script(root: &Path, kernel: Kernel, selection: Selection<'_>, workload: &Path) -> String {
    let mut script = String::new();
    let (target, programs) = (root.join("target"), workload.parent().unwrap_or(Path::new("/")));
    let _ = writeln!(
        script,
        "mkdir -p /disk {target}\n\
         mount -t ext4 /dev/disk-work /disk\n\
         mkdir /disk/target /disk/programs\n\
         mount --bind /disk/target {target}\n\
         mkdir -p {programs}\n\
         mount --bind /disk/programs {programs}\n\
         cp /bin/ktape-workload {programs}/\n\
         echo root:x:0:0:root:/:/bin/sh >/etc/passwd\n\
         echo root:x:0: >/etc/group\n\
         export CI=1 KTAPE_BIN=/bin/ktape",
        target = target.display(),
        programs = programs.display(),
    );
    for place in PROGRAM_DIRS {
        let _ = writeln!(script, "mkdir -p {place}");
        for program in PROGRAMS {
            let _ = writeln!(script, "[ -e {place}/{program} ] || ln -s /bin/{program} {place}/{program}");
        }
    }
    script.push_str(
        "ktape doctor --programs\nktape doctor | grep -v '^ok      tracepoint' | sed 's/^/doctor: /'\n",
    );
    for suite in selection.suites_on(kernel) {
        let (binary, name) = (suite.binary, suite.module);
        let mut run =
            format!("timeout {SUITE_LIMIT} test-{binary} {name}:: --include-ignored --test-threads=1");
        for Excluded { test, reason, .. } in suite.excluded_on(kernel) {
            let _ = write!(run, " --skip {name}::{test}");
            eprintln!("excluded on {}: {name}::{test}: {reason}", kernel.name);
        }
        let _ = write!(run, " >/{name}.log 2>&1");
        if kernel.skips_programs {
            // A test that expects every call to be recorded may fail because of skipped programs, but hardly twice.
            run = format!("{run} || {{ echo 'running {name} again'; {run}; }}");
        }
        if selection.times > 1 {
            run = format!("n=0; while [ $n -lt {} ] && {{ {run}; }}; do n=$((n + 1)); done", selection.times);
        }
        // Prints each log immediately, so that a killed guest leaves the results that it has.
        let _ = writeln!(script, "{run}; echo '{SUITE_MARK}{name}'; cat /{name}.log");
    }
    script.push_str("true\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_tests_and_programs() {
        let line = |name: &str, kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"{name}"}},"profile":{{"test":{test}}},"executable":"/x/{name}-{test}"}}"#
            )
        };
        let messages =
            [line("exact", "test", true), line("tool", "bin", false), line("tool", "bin", true)].join("\n");
        let found = executables(&messages);
        assert_eq!(found["exact"], PathBuf::from("/x/exact-true"));
        assert_eq!(found["tool"], PathBuf::from("/x/tool-false"));
        assert_eq!(found.len(), 2);
    }
}
