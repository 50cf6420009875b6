//! The daemon for a long time: a rotated series with small limits beside a machine that is busy in every way that could
//! make it grow. What must stay flat is printed as a curve, and judged.

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

use crate::process::{self, Program};

/// `ktape-bench soak`.
#[derive(Args)]
pub struct Options {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 30)]
    minutes: u64,
    /// When a file is ended: as `ktape capture --rotate`
    #[arg(long, default_value = "2s")]
    rotate: String,
    /// What the series may take of the disk, MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    max_size: u64,
    /// Where: a directory on a real disk [default: the target directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Record with this binary, instead of building one
    #[arg(long, value_name = "FILE")]
    ktape: Option<PathBuf>,
}

/// How many points the curve has.
const POINTS: u64 = 30;
/// How often the size of the series is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Anonymous memory may be this much greater at the end than after the first third, bytes: an allocator's play.
const MEMORY_PLAY: u64 = 4 << 20;
/// The most descriptors of any point may be this many more in the end: a file that is being ended beside the next one, a
/// directory that is read.
const DESCRIPTOR_PLAY: usize = 4;

/// A point of the curve.
struct Point {
    at: Duration,
    anonymous: u64,
    descriptors: usize,
    largest: u64,
    files: usize,
}

/// Run it, print the curve, and judge.
///
/// # Errors
/// If something cannot be run, or anything is not as it must be.
pub fn soak(root: &Path, options: &Options) -> Result<()> {
    if !run::is_root() {
        bail!("recording needs root: run as root, with sudo -E");
    }
    let binary = crate::ktape(root, options.ktape.as_deref())?;
    let workload = crate::build_workload(root)?;
    limit::leave_signals();
    let _alone = Guard::exclusive();
    let parent = options.dir.clone().unwrap_or_else(|| run::target_dir(root));
    let dir = parent.join(format!("soak-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let done = record(&binary, &workload, &dir, options);
    if done.is_ok() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    } else {
        eprintln!("what it left is in {}", dir.display());
    }
    done
}

fn record(binary: &Path, workload: &Path, dir: &Path, options: &Options) -> Result<()> {
    let series = dir.join("series");
    fs::create_dir(&series).context("cannot make the directory of the series")?;
    let (text, max) = (series.to_string_lossy().into_owned(), options.max_size << 20);
    let mut daemon = Program::start(
        Command::new(binary)
            .args(["capture", "-o", &format!("{text}/"), "--rotate", &options.rotate])
            .args(["--max-size", &format!("{}MiB", options.max_size), "--min-free", "0"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped()),
    )?;
    let mut said = BufReader::new(daemon.stderr().context("stderr is a pipe")?);
    let mut line = String::new();
    while !line.starts_with("ktape: recording") {
        line.clear();
        if said.read_line(&mut line).context("cannot read what ktape says")? == 0 {
            bail!("ktape ended instead of recording");
        }
    }
    let words = thread::spawn(move || {
        let mut rest = Vec::new();
        for line in said.lines().map_while(Result::ok) {
            rest.push(line);
        }
        rest
    });
    let (stop, largest) = (AtomicBool::new(false), AtomicU64::new(0));
    let file = dir.join("file");
    fs::write(&file, [b'x'; 4096]).context("cannot write")?;
    let whole = Duration::from_secs(options.minutes * 60);
    let points = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                largest.fetch_max(usage(&series).0, Ordering::Relaxed);
                thread::sleep(LOOK);
            }
        });
        scope.spawn(|| churn(workload, &file, &stop));
        let points = curve(daemon.pid(), &series, &largest, whole);
        stop.store(true, Ordering::Relaxed);
        points
    });
    daemon.signal(libc::SIGTERM);
    let (status, cpu) = daemon.wait(Duration::from_secs(10), |_| ())?;
    let words = words.join().map_err(|_| anyhow::anyhow!("the reader of stderr panicked"))?;
    println!("\nktape said:");
    for line in &words {
        println!("  {line}");
    }
    println!("CPU {:.1} s in {} min", cpu.as_secs_f64(), options.minutes);
    let lost = lost_by(binary, &text)?;
    println!("lost in what is left, by kind: {lost:?}");
    let mut wrong = judge(&points, max);
    if !status.success() {
        wrong.push(format!("ktape ended with {status}"));
    }
    // At its end ktape tells of all that it lost, with the kinds.
    let all = words.iter().filter(|line| line.starts_with("LOST"));
    wrong.extend(all.filter(|line| LIFECYCLE.iter().any(|kind| line.contains(kind))).cloned());
    for (kind, count) in lost.iter().filter(|(kind, _)| LIFECYCLE.contains(&kind.as_str())) {
        wrong.push(format!("{count} {kind} events were lost"));
    }
    let check = run::try_output(Command::new(binary).args(["check", &text]));
    if check.is_none() {
        wrong.push("ktape check finds something wrong in the series".to_owned());
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    println!("flat: memory, descriptors and the size of the series; all files are sound");
    Ok(())
}

/// Kinds of which nothing may be lost in any flood.
const LIFECYCLE: &[&str] = &["fork", "exec", "exit", "cgroup_mkdir", "cgroup_rmdir", "cgroup_attach", "oom"];

/// Everything that a recorder could be tempted to remember for ever: processes, programs, cgroups, paths; and calls, in
/// bursts.
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
        // Many that are forgotten soon: what a recorder keeps of the dead is full after a minute, and not only at the end.
        for other in 0..32 {
            drop(Cgroup::make(&format!("/docker/{:064x}", round << 8 | 0x80 | other)));
        }
        // A container's life, with a path that never comes again.
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

fn curve(pid: u32, series: &Path, largest: &AtomicU64, whole: Duration) -> Vec<Point> {
    println!("minutes  anonymous MiB  descriptors  largest MiB  files");
    let start = Instant::now();
    let mut points = Vec::new();
    for n in 1..=POINTS {
        let at = whole.mul_f64(n as f64 / POINTS as f64);
        thread::sleep(at.saturating_sub(start.elapsed()));
        let point = Point {
            at,
            anonymous: process::memory(pid).anonymous,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
            largest: largest.swap(0, Ordering::Relaxed),
            files: usage(series).1,
        };
        println!(
            "{:7.1}  {:13.1}  {:11}  {:11.1}  {:5}",
            point.at.as_secs_f64() / 60.0,
            mib(point.anonymous),
            point.descriptors,
            mib(point.largest),
            point.files
        );
        points.push(point);
    }
    points
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What the series takes of the disk in bytes, and its files.
fn usage(series: &Path) -> (u64, usize) {
    let files = fs::read_dir(series).into_iter().flatten().flatten();
    let sizes: Vec<u64> =
        files.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.blocks() * 512).collect();
    (sizes.iter().sum(), sizes.len())
}

/// Lost events of the files that are left, by kind.
fn lost_by(binary: &Path, series: &str) -> Result<BTreeMap<String, u64>> {
    let words = ["replay", series, "-e", "loss", "--format", "json"];
    let text = run::output(Command::new(binary).args(words))?;
    let mut lost = BTreeMap::new();
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).context("not JSON")?;
        let kind = event["loss.kind"].as_str().unwrap_or("?").to_owned();
        *lost.entry(kind).or_default() += event["loss.count"].as_u64().unwrap_or(0);
    }
    Ok(lost)
}

fn judge(points: &[Point], max: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(point) = points.iter().find(|point| point.largest > max) {
        wrong.push(format!("the series took {:.1} MiB", mib(point.largest)));
    }
    // What grows at first is what a recorder may remember; from then on it replaces.
    let settled = &points[points.len() / 3..];
    let (first, last) = settled.split_at(settled.len() / 2);
    let median = |points: &[Point]| {
        let mut all: Vec<u64> = points.iter().map(|point| point.anonymous).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(0)
    };
    let (before, after) = (median(first), median(last));
    if after > before + MEMORY_PLAY {
        wrong.push(format!("memory grew from {:.1} to {:.1} MiB", mib(before), mib(after)));
    }
    let most = |points: &[Point]| points.iter().map(|point| point.descriptors).max().unwrap_or(0);
    let (before, after) = (most(first), most(last));
    if after > before + DESCRIPTOR_PLAY {
        wrong.push(format!("descriptors went from {before} to {after}"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(anonymous: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> usize) -> Vec<Point> {
        (0..30)
            .map(|n| Point {
                at: Duration::from_secs(n),
                anonymous: anonymous(n) << 20,
                descriptors: descriptors(n),
                largest: 60 << 20,
                files: 9,
            })
            .collect()
    }

    #[test]
    fn what_grows_is_noticed() {
        let flat = points(|n| if n < 10 { n } else { 40 + n % 3 }, |n| 30 + n as usize % 3);
        assert_eq!(judge(&flat, 64 << 20), Vec::<String>::new());
        assert_eq!(judge(&flat, 50 << 20), ["the series took 60.0 MiB"]);
        assert_eq!(judge(&points(|n| 40 + n, |_| 30), 64 << 20), ["memory grew from 55.0 to 65.0 MiB"]);
        assert_eq!(judge(&points(|_| 40, |n| n as usize), 64 << 20), ["descriptors went from 19 to 29"]);
    }
}
