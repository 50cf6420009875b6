//! The tests on the real kernel, on other kernels: each boots in a virtual machine of its own.
//!
//! A guest has one disk, pure cgroup2 with all controllers, and whatever the tests start. Emulation is several times
//! slower than this machine, so that each test binary has its own limit, and what needs speed, or something that a guest
//! has not, is left out by name in [`SUITES`].

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ktape_tests::guest::{Disk, Guest};

use crate::guest::{self, Kernel};
use crate::{install, limit, run};

/// A test binary, and which of its tests are left out.
struct Suite {
    name: &'static str,
    left_out: &'static [LeftOut],
    /// The only kernel where it runs; `None` for every one.
    only: Option<Kernel>,
}

/// A test that is left out.
struct LeftOut {
    test: &'static str,
    /// Why.
    reason: &'static str,
    /// Where; `None` for every kernel.
    kernel: Option<Kernel>,
}

const fn everywhere(test: &'static str, reason: &'static str) -> LeftOut {
    LeftOut { test, reason, kernel: None }
}

const fn suite(name: &'static str) -> Suite {
    Suite { name, left_out: &[], only: None }
}

impl Suite {
    fn runs_on(&self, kernel: Kernel) -> bool {
        self.only.is_none_or(|only| only == kernel)
    }
}

/// What runs in each guest, the quick ones first.
const SUITES: &[Suite] = &[
    suite("clock"),
    suite("signal"),
    suite("oom"),
    suite("unfinished"),
    suite("net"),
    suite("calls"),
    suite("lifecycle"),
    Suite {
        name: "exact",
        left_out: &[
            everywhere("threads_as_strace_sees_them", "strace of many threads takes minutes in emulation"),
            everywhere(
                "dd_makes_as_many_calls_as_strace_counts",
                "strace of 200,000 calls takes half a minute",
            ),
            LeftOut {
                test: "answers_of_seccomp_as_strace_sees_them",
                reason: "a call that seccomp kills for reaches no tracepoint there",
                kernel: Some(Kernel::V5_10),
            },
        ],
        only: None,
    },
    // Real containers where there is cgroup2 alone. On the other kernels it is one container, recorded with every commit.
    Suite {
        name: "containers",
        left_out: &[
            everywhere(
                "each_shape_is_told_apart_and_filtered_in_the_kernel",
                "34 containers and as many recordings take minutes in emulation",
            ),
            everywhere("v1_hierarchies_identify_containers_as_well", "there is no v1 hierarchy"),
            everywhere(
                "a_recorder_in_a_container_sees_the_host",
                "a guest has neither users nor a disk as its root",
            ),
        ],
        only: Some(Kernel::V6_12),
    },
];

/// What the tests start, and busybox does otherwise or not at all.
const PROGRAMS: &[&str] = &[
    "bash", "chroot", "date", "dd", "dmesg", "ldd", "runc", "setpriv", "setsid", "ss", "strace", "tar", "tc",
    "timeout", "umount", "unshare",
];
/// Where they may be looked for by path.
const PLACES: &[&str] = &["/sbin", "/usr/bin", "/usr/sbin"];

/// Before the output of a test binary, and its name.
const MARK: &str = "ktape-suite ";

/// A guest that runs longer is killed.
const GUEST_LIMIT: Duration = Duration::from_secs(280);
/// The same of a test binary in it, in seconds.
const SUITE_LIMIT: u32 = 120;
/// MiB.
const MEMORY: u32 = 2048;
const DISK_BYTES: u64 = 2 << 30;

/// What came of a suite on a kernel.
#[derive(Debug, PartialEq)]
struct Outcome {
    passed: usize,
    failed: Vec<String>,
    /// It ended by itself.
    complete: bool,
    seconds: f64,
}

/// What came of a kernel.
struct Report {
    which: Kernel,
    kernel: &'static str,
    release: String,
    took: Duration,
    outcomes: BTreeMap<&'static str, Outcome>,
    /// Rows of `ktape doctor --programs`.
    programs: Vec<Program>,
    /// What `ktape doctor` says beyond "ok".
    doctor: Vec<String>,
    /// Why there is no result.
    error: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Program {
    name: String,
    /// `None` before 5.16.
    verified: Option<u64>,
    load_ms: f64,
}

impl Report {
    fn passes(&self) -> bool {
        self.error.is_none()
            && !self.programs.is_empty()
            && self.outcomes.len() == SUITES.iter().filter(|suite| suite.runs_on(self.which)).count()
            && self.outcomes.values().all(|outcome| outcome.complete && outcome.failed.is_empty())
    }
}

/// Boot each of these kernels (none means all) and run the tests there.
///
/// # Errors
/// If something cannot be prepared, or a test fails.
pub fn vm(root: &Path, kernels: &[Kernel]) -> Result<()> {
    let kernels = if kernels.is_empty() { Kernel::ALL } else { kernels };
    if !run::is_root() {
        bail!("the disks of the guests and the lock of the machine need root: sudo -E cargo xtask vm");
    }
    install::test_programs()?;
    guest::guest(kernels, false)?;
    // The emulators are killed when this process ends.
    limit::leave_signals();
    run::run(run::cargo(root).args(["build", "--release", "--locked"]))?;
    let binaries = test_binaries(root)?;
    let ktape = run::target_dir(root).join("release/ktape");
    // Two at a time: each has one thread.
    let queue = Mutex::new(kernels.iter().rev().copied().collect::<Vec<_>>());
    let reports = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            let Some(kernel) = next else { break };
            let report = boot(root, kernel, &ktape, &binaries);
            eprintln!("{}", closing_line(&report));
            reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(report);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let mut reports = reports.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    reports.sort_by_key(|report| kernels.iter().position(|kernel| kernel.name() == report.kernel));
    println!("{}", table(&reports));
    let failed: Vec<&str> =
        reports.iter().filter(|report| !report.passes()).map(|report| report.kernel).collect();
    if !failed.is_empty() {
        bail!("the tests do not pass on {}", failed.join(", "));
    }
    Ok(())
}

/// The binaries of the suites and the workload, built as the tests of this machine are.
fn test_binaries(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut build = run::cargo(root);
    build.args(["test", "--no-run", "--locked", "--workspace", "--message-format", "json"]);
    let output = build.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let binaries = executables(&String::from_utf8_lossy(&output.stdout));
    for name in SUITES.iter().map(|suite| suite.name).chain(["ktape-workload"]) {
        if !binaries.contains_key(name) {
            bail!("cargo built no test binary {name}");
        }
    }
    Ok(binaries)
}

/// Names and paths of the executables that cargo tells of.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let artifact = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        // A binary is built for itself and as a test of its own.
        let is_test = message["profile"]["test"].as_bool()?;
        let is_program = message["target"]["kind"][0] == "bin";
        (is_test != is_program)
            .then(|| (message["target"]["name"].as_str().unwrap_or("").to_owned(), path.into()))
    };
    messages.lines().filter_map(artifact).collect()
}

fn boot(root: &Path, kernel: Kernel, ktape: &Path, binaries: &BTreeMap<String, PathBuf>) -> Report {
    let start = Instant::now();
    let mut report = Report {
        which: kernel,
        kernel: kernel.name(),
        release: String::new(),
        took: Duration::ZERO,
        outcomes: BTreeMap::new(),
        programs: Vec::new(),
        doctor: Vec::new(),
        error: None,
    };
    // The harness is that of the tests, and panics as they do.
    let ran = catch_unwind(AssertUnwindSafe(|| -> Result<_> {
        let workload = &binaries["ktape-workload"];
        let mut guest = Guest::with_program(kernel.name(), ktape, workload)
            .context("the virtual machine is not there")?
            .deadline(GUEST_LIMIT)
            .memory(MEMORY)
            .disk(Disk::new("work", DISK_BYTES).ext4());
        for program in PROGRAMS {
            let path = run::which(program).with_context(|| format!("{program} is not installed"))?;
            guest = guest.program_at(program, &path);
        }
        for suite in SUITES.iter().filter(|suite| suite.runs_on(kernel)) {
            guest = guest.program_at(&format!("test-{}", suite.name), &binaries[suite.name]);
        }
        report.release = guest.release();
        let ran = guest.run(&script(root, kernel, workload));
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
            // With all that the guest had printed.
            let text = message(panic.as_ref());
            report.error = Some(text.lines().next().unwrap_or_default().to_owned());
            text
        }
    };
    report.programs = output.lines().filter_map(program).collect();
    report.doctor =
        output.lines().filter_map(|line| line.strip_prefix("doctor: ").map(str::to_owned)).collect();
    for part in output.split(MARK).skip(1) {
        let (name, log) = part.split_once('\n').unwrap_or((part, ""));
        let Some(suite) = SUITES.iter().find(|suite| suite.name == name.trim()) else { continue };
        let outcome = outcome(log);
        if !outcome.complete || !outcome.failed.is_empty() {
            eprintln!("--- {} on {}:\n{log}", suite.name, kernel.name());
        }
        report.outcomes.insert(suite.name, outcome);
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

/// What the guest does. The tests know the workload, and the directory of the target, by the paths of this machine; both
/// are on a real disk, as they are here.
fn script(root: &Path, kernel: Kernel, workload: &Path) -> String {
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
    for place in PLACES {
        let _ = writeln!(script, "mkdir -p {place}");
        for program in PROGRAMS {
            let _ = writeln!(script, "[ -e {place}/{program} ] || ln -s /bin/{program} {place}/{program}");
        }
    }
    script.push_str(
        "ktape doctor --programs\nktape doctor | grep -v '^ok      tracepoint' | sed 's/^/doctor: /'\n",
    );
    for suite in SUITES.iter().filter(|suite| suite.runs_on(kernel)) {
        let name = suite.name;
        let mut run = format!("timeout {SUITE_LIMIT} test-{name} --test-threads=1");
        for LeftOut { test, reason, .. } in
            suite.left_out.iter().filter(|left_out| left_out.kernel.is_none_or(|other| other == kernel))
        {
            let _ = write!(run, " --skip {test}");
            eprintln!("LEFT OUT on {}: {name}::{test}: {reason}", kernel.name());
        }
        let _ = write!(run, " >/{name}.log 2>&1");
        if kernel == Kernel::Newest {
            // It may skip both programs of a call (docs/kernels.md), and says so; a test that wants every call to be there may
            // meet that once, not twice.
            run = format!("{run} || {{ echo '{name} is run again'; {run}; }}");
        }
        // At once, so that a guest that is killed leaves what it has.
        let _ = writeln!(script, "{run}; echo '{MARK}{name}'; cat /{name}.log");
    }
    script.push_str("true\n");
    script
}

/// A row of `ktape doctor --programs`.
fn program(line: &str) -> Option<Program> {
    let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
    let name = cells.next()?.trim_end_matches('`').to_owned();
    let verified = cells.next()?.parse().ok();
    Some(Program { name, verified, load_ms: cells.nth(1)?.parse().ok()? })
}

/// What a test binary printed.
fn outcome(log: &str) -> Outcome {
    // A test's own output may come between its name and the verdict.
    let verdicts = log.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
    let mut failed: Vec<String> = Vec::new();
    for (name, verdict) in verdicts {
        if verdict == "FAILED" {
            failed.push(name.to_owned());
        }
    }
    let summary = log.lines().find_map(|line| line.strip_prefix("test result: "));
    let passed = summary.and_then(|line| line.split_once(". ")?.1.split_once(" passed")?.0.parse().ok());
    let seconds =
        summary.and_then(|line| line.rsplit_once("finished in ")?.1.trim_end_matches('s').parse().ok());
    Outcome {
        passed: passed.unwrap_or(0),
        failed,
        complete: summary.is_some(),
        seconds: seconds.unwrap_or(SUITE_LIMIT.into()),
    }
}

fn closing_line(report: &Report) -> String {
    let passed: usize = report.outcomes.values().map(|outcome| outcome.passed).sum();
    let failed: Vec<String> = report
        .outcomes
        .iter()
        .flat_map(|(suite, outcome)| {
            let cut = (!outcome.complete).then(|| format!("{suite} did not end"));
            outcome.failed.iter().map(move |test| format!("{suite}::{test}")).chain(cut)
        })
        .collect();
    let verdict = match (&report.error, failed.is_empty()) {
        (Some(error), _) => format!("FAILED: {error}"),
        (None, true) => format!("{passed} tests passed"),
        (None, false) => format!("{passed} tests passed, FAILED: {}", failed.join(", ")),
    };
    format!("Linux {}: {verdict}, in {:.0} s", report.release, report.took.as_secs_f64())
}

/// Kernels times suites, and what their verifiers said, as Markdown.
fn table(reports: &[Report]) -> String {
    let mut text = String::new();
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let cells = |cell: &dyn Fn(&Report) -> String| reports.iter().map(cell).collect::<Vec<_>>();
    rows.push(("kernel".to_owned(), cells(&|report| report.release.clone())));
    for suite in SUITES {
        rows.push((
            format!("`{}`", suite.name),
            cells(&|report| match report.outcomes.get(suite.name) {
                None if !suite.runs_on(report.which) => "-".to_owned(),
                None => "no result".to_owned(),
                Some(Outcome { passed, failed, complete: true, seconds }) if failed.is_empty() => {
                    format!("{passed} in {seconds:.0} s")
                }
                Some(Outcome { failed, complete, .. }) => {
                    format!("{} FAILED{}", failed.len(), if *complete { "" } else { ", did not end" })
                }
            }),
        ));
    }
    rows.push(("programs".to_owned(), cells(&|report| report.programs.len().to_string())));
    rows.push((
        "load, one after the other (ms, emulated)".to_owned(),
        cells(&|report| format!("{:.0}", report.programs.iter().map(|program| program.load_ms).sum::<f64>())),
    ));
    rows.push((
        "instructions verified".to_owned(),
        cells(&|report| {
            let known: Option<u64> = report.programs.iter().map(|program| program.verified).sum();
            known.map_or_else(|| "not told".to_owned(), |sum| sum.to_string())
        }),
    ));
    rows.push((
        "most in one program".to_owned(),
        cells(&|report| {
            let most = report.programs.iter().filter_map(|p| p.verified.map(|n| (n, &p.name))).max();
            most.map_or_else(|| "not told".to_owned(), |(count, name)| format!("{count} (`{name}`)"))
        }),
    ));
    rows.push(("seconds in all".to_owned(), cells(&|report| format!("{:.0}", report.took.as_secs_f64()))));
    for (index, (label, cells)) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|---|{}", "---:|".repeat(cells.len()));
        }
    }
    for report in reports {
        for line in &report.doctor {
            let _ = writeln!(text, "{}: {line}", report.release);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_binary_printed_is_read() {
        let log = "running 2 tests\ntest a_b ... ok\ntest c ... FAILED\n\nfailures:\n    c\n\n\
                   test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s\n";
        assert_eq!(
            outcome(log),
            Outcome { passed: 1, failed: vec!["c".to_owned()], complete: true, seconds: 1.5 }
        );
        // Killed in the middle.
        assert_eq!(
            outcome("running 2 tests\ntest a ... ok\ntest b ... "),
            Outcome { passed: 0, failed: vec![], complete: false, seconds: SUITE_LIMIT.into() }
        );
    }

    #[test]
    fn rows_of_the_doctor_are_read() {
        assert_eq!(
            program("| `sys_exit` | 3357 | 13584 | 16.4 |"),
            Some(Program { name: "sys_exit".to_owned(), verified: Some(3357), load_ms: 16.4 })
        );
        assert_eq!(
            program("| `sys_exit` | - | 13584 | 16.4 |"),
            Some(Program { name: "sys_exit".to_owned(), verified: None, load_ms: 16.4 })
        );
        assert_eq!(program("| program | instructions verified | bytes | load (ms) |"), None);
    }

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
