//! A soak test: a long recording with rotation and small limits, on a machine that keeps creating whatever a recorder could
//! accumulate. Prints memory, descriptors and disk use over time, and fails if any of them grows.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use ktape_tests::cgroup::Cgroup;
use ktape_tests::guard::Guard;
use ktape_tests::{limit, run};

use crate::process::{self, MeasuredProgram};

/// Options of `ktape-bench soak`.
#[derive(Args)]
pub struct SoakOptions {
    /// Duration in minutes
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u64,
    /// When to start a new file, as in `ktape capture --rotate`
    #[arg(long, default_value = "2s")]
    rotate: String,
    /// Maximum disk use of all files together, MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    max_size: u64,
    /// Directory for the captures, on a real disk [default: the target directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Use this ktape binary instead of building one
    #[arg(long, value_name = "FILE")]
    ktape: Option<PathBuf>,
}

/// Number of rows in the printed table.
const SAMPLES: u64 = 30;
/// Time between two checks of the disk use.
const DISK_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Tolerated growth of anonymous memory, bytes: the allocator's fluctuation.
const MEMORY_TOLERANCE: u64 = 4 << 20;
/// Tolerated growth of the number of descriptors: while one file is finished the next one is open, and a directory is read.
const DESCRIPTOR_TOLERANCE: usize = 4;

/// A row of the printed table.
struct SoakSample {
    /// Since the start.
    at: Duration,
    /// Anonymous memory of ktape, bytes.
    anonymous: u64,
    /// Open descriptors of ktape.
    descriptors: usize,
    /// Maximum disk use of the capture set since the previous sample, bytes.
    max_disk_use: u64,
    /// Number of files in the capture set.
    files: usize,
}

/// Runs the soak test and prints its table.
///
/// # Errors
/// If a program cannot be run, ktape loses lifecycle events, a file is invalid, or memory, descriptors or disk use grow.
pub fn soak(root: &Path, options: &SoakOptions) -> Result<()> {
    if !run::is_root() {
        bail!("recording requires root: run with sudo -E");
    }
    let binary = crate::ktape(root, options.ktape.as_deref())?;
    let workload = crate::build_workload(root)?;
    limit::leave_signals();
    let _lock = Guard::exclusive();
    let parent = options.dir.clone().unwrap_or_else(|| run::target_dir(root));
    let dir = parent.join(format!("soak-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let result = record(&binary, &workload, &dir, options);
    if result.is_ok() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    } else {
        eprintln!("captures kept in {}", dir.display());
    }
    result
}

fn record(binary: &Path, workload: &Path, dir: &Path, options: &SoakOptions) -> Result<()> {
    let captures = dir.join("captures");
    fs::create_dir(&captures).context("cannot create the directory for the captures")?;
    let (captures_text, max_size) = (captures.to_string_lossy().into_owned(), options.max_size << 20);
    let mut ktape = MeasuredProgram::start(
        Command::new(binary)
            .args(["capture", "-o", &format!("{captures_text}/"), "--rotate", &options.rotate])
            .args(["--max-size", &format!("{}MiB", options.max_size), "--min-free", "0"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped()),
    )?;
    let mut stderr = BufReader::new(ktape.stderr().context("stderr is a pipe")?);
    let mut line = String::new();
    while !line.starts_with("ktape: recording") {
        line.clear();
        if stderr.read_line(&mut line).context("cannot read the output of ktape")? == 0 {
            bail!("ktape exited before it started recording");
        }
    }
    let messages = thread::spawn(move || {
        let mut rest = Vec::new();
        for line in stderr.lines().map_while(Result::ok) {
            rest.push(line);
        }
        rest
    });
    let (stop, max_disk_use) = (AtomicBool::new(false), AtomicU64::new(0));
    let file = dir.join("file");
    fs::write(&file, [b'x'; 4096]).with_context(|| format!("cannot write {}", file.display()))?;
    let duration = Duration::from_secs(options.minutes * 60);
    let samples = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                max_disk_use.fetch_max(disk_use(&captures).0, Ordering::Relaxed);
                thread::sleep(DISK_POLL_INTERVAL);
            }
        });
        scope.spawn(|| churn(workload, &file, &stop));
        let samples = take_samples(ktape.pid(), &captures, &max_disk_use, duration);
        stop.store(true, Ordering::Relaxed);
        samples
    });
    ktape.signal(libc::SIGTERM);
    let (status, cpu) = ktape.wait(Duration::from_secs(10), |_| ())?;
    let messages = messages.join().map_err(|_| anyhow::anyhow!("the thread that reads stderr panicked"))?;
    println!("\nmessages of ktape:");
    for line in &messages {
        println!("  {line}");
    }
    println!("CPU {:.1} s in {} min", cpu.as_secs_f64(), options.minutes);
    let lost = lost_by(binary, &captures_text)?;
    println!("lost events in the remaining files, by kind: {lost:?}");
    let mut problems = find_growth(&samples, max_size);
    if !status.success() {
        problems.push(format!("ktape failed: {status}"));
    }
    // When ktape exits, it reports the losses of the whole run by kind, including those of deleted files.
    let losses = messages.iter().filter(|line| line.starts_with("LOST"));
    problems.extend(losses.filter(|line| LIFECYCLE.iter().any(|kind| line.contains(kind))).cloned());
    for (kind, count) in lost.iter().filter(|(kind, _)| LIFECYCLE.contains(&kind.as_str())) {
        problems.push(format!("lost {count} {kind} events"));
    }
    let check = run::try_output(Command::new(binary).args(["check", &captures_text]));
    if check.is_none() {
        problems.push(format!("ktape check failed on {captures_text}"));
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    println!("passed: memory, descriptors and disk use did not grow; all files are valid");
    Ok(())
}

/// Event kinds that must never be lost, whatever the load.
const LIFECYCLE: &[&str] = &["fork", "exec", "exit", "cgroup_mkdir", "cgroup_rmdir", "cgroup_attach", "oom"];

/// Until `stop`, creates whatever a recorder could accumulate (processes, programs, cgroups, paths), and bursts of calls.
fn churn(workload: &Path, file: &Path, stop: &AtomicBool) {
    let quiet = |args: &[&str]| {
        let mut command = Command::new(workload);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::null());
        let Ok(mut child) = command.spawn() else { return };
        if let Some(mut stdin) = child.stdin.take() {
            let _ = std::io::Write::write_all(&mut stdin, b"\n\n");
        }
        let _ = child.wait();
    };
    let mut round = 0u64;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        // Many short-lived cgroups fill the recorder's table of removed ones within a minute, before the first third ends.
        for other in 0..32 {
            drop(Cgroup::make(&format!("/docker/{:064x}", round << 8 | 0x80 | other)));
        }
        // A container from start to stop, with a path that is used only once.
        let cgroup = Cgroup::make(&format!("/docker/{:064x}", round << 8));
        if let Ok(mut child) = Command::new("sleep").arg("0.05").spawn() {
            cgroup.attach(child.id());
            let name = file.with_file_name(format!("unique-{round}"));
            let _ = fs::write(&name, b"x").and_then(|()| fs::remove_file(&name));
            let _ = child.wait();
        }
        drop(cgroup);
        quiet(&["bench", "mix", "20", &file.to_string_lossy()]);
        quiet(&["bench", "getppid", "300000", "0"]);
    }
}

/// Takes and prints [`SAMPLES`] samples, evenly spread over `duration`.
fn take_samples(pid: u32, captures: &Path, max_disk_use: &AtomicU64, duration: Duration) -> Vec<SoakSample> {
    println!("minutes  anonymous MiB  descriptors  max disk MiB  files");
    let start = Instant::now();
    let mut samples = Vec::new();
    for n in 1..=SAMPLES {
        let at = duration.mul_f64(n as f64 / SAMPLES as f64);
        thread::sleep(at.saturating_sub(start.elapsed()));
        let sample = SoakSample {
            at,
            anonymous: process::memory(pid).anonymous,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
            max_disk_use: max_disk_use.swap(0, Ordering::Relaxed),
            files: disk_use(captures).1,
        };
        println!(
            "{:7.1}  {:13.1}  {:11}  {:12.1}  {:5}",
            sample.at.as_secs_f64() / 60.0,
            mib(sample.anonymous),
            sample.descriptors,
            mib(sample.max_disk_use),
            sample.files
        );
        samples.push(sample);
    }
    samples
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Disk use of the capture set in bytes, and its number of files.
fn disk_use(captures: &Path) -> (u64, usize) {
    let files = fs::read_dir(captures).into_iter().flatten().flatten();
    let sizes: Vec<u64> =
        files.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.blocks() * 512).collect();
    (sizes.iter().sum(), sizes.len())
}

/// Lost events in the files that rotation has not deleted, by kind.
fn lost_by(binary: &Path, captures: &str) -> Result<BTreeMap<String, u64>> {
    let words = ["replay", captures, "-e", "loss", "--format", "json"];
    let text = run::output(Command::new(binary).args(words))?;
    let mut lost = BTreeMap::new();
    for line in text.lines() {
        let event: serde_json::Value =
            serde_json::from_str(line).context("ktape replay printed invalid JSON")?;
        let kind = event["loss.kind"].as_str().unwrap_or("?").to_owned();
        *lost.entry(kind).or_default() += event["loss.count"].as_u64().unwrap_or(0);
    }
    Ok(lost)
}

/// Compares the second third of the samples with the last one, and the disk use with its limit in bytes. Returns one line
/// per problem.
fn find_growth(samples: &[SoakSample], max_size: u64) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(sample) = samples.iter().find(|sample| sample.max_disk_use > max_size) {
        problems.push(format!(
            "disk use of {:.1} MiB exceeds the limit of {:.1} MiB",
            mib(sample.max_disk_use),
            mib(max_size)
        ));
    }
    // In the first third the recorder fills its bounded tables; from then on it only replaces entries.
    let settled = &samples[samples.len() / 3..];
    let (first, last) = settled.split_at(settled.len() / 2);
    let median = |samples: &[SoakSample]| {
        let mut all: Vec<u64> = samples.iter().map(|sample| sample.anonymous).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(0)
    };
    let (before, after) = (median(first), median(last));
    if after > before + MEMORY_TOLERANCE {
        problems.push(format!("memory grew from {:.1} to {:.1} MiB", mib(before), mib(after)));
    }
    let max = |samples: &[SoakSample]| samples.iter().map(|sample| sample.descriptors).max().unwrap_or(0);
    let (before, after) = (max(first), max(last));
    if after > before + DESCRIPTOR_TOLERANCE {
        problems.push(format!("descriptors grew from {before} to {after}"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(anonymous: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> usize) -> Vec<SoakSample> {
        (0..30)
            .map(|n| SoakSample {
                at: Duration::from_secs(n),
                anonymous: anonymous(n) << 20,
                descriptors: descriptors(n),
                max_disk_use: 60 << 20,
                files: 9,
            })
            .collect()
    }

    #[test]
    fn growth_and_excess_are_reported() {
        let flat = samples(|n| if n < 10 { n } else { 40 + n % 3 }, |n| 30 + n as usize % 3);
        assert_eq!(find_growth(&flat, 64 << 20), Vec::<String>::new());
        assert_eq!(find_growth(&flat, 50 << 20), ["disk use of 60.0 MiB exceeds the limit of 50.0 MiB"]);
        let leak = samples(|n| 40 + n, |_| 30);
        assert_eq!(find_growth(&leak, 64 << 20), ["memory grew from 55.0 to 65.0 MiB"]);
        let leak = samples(|_| 40, |n| n as usize);
        assert_eq!(find_growth(&leak, 64 << 20), ["descriptors grew from 19 to 29"]);
    }
}
