//! Builds and runs the fuzz targets of `capture-format/fuzz`, with the stable compiler's own instrumentation: neither nightly
//! nor cargo-fuzz is needed. A run fails if a target finds something or no longer reaches its expected coverage.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use ktape_tests::run;

struct FuzzTarget {
    name: &'static str,
    /// Coverage that the target must reach (`cov:` in libFuzzer's last line): about four fifths of what it reached in ten
    /// seconds when this was written.
    min_coverage: u64,
    /// Limit of the resident set size, MiB.
    memory_mib: u32,
    /// Maximum length of an input, bytes.
    max_input: u32,
}

const TARGETS: &[FuzzTarget] = &[
    FuzzTarget { name: "file", min_coverage: 1300, memory_mib: 256, max_input: 1 << 16 },
    FuzzTarget { name: "replay", min_coverage: 3900, memory_mib: 256, max_input: 1 << 16 },
    FuzzTarget { name: "filter", min_coverage: 2400, memory_mib: 256, max_input: 1 << 12 },
];

/// What libFuzzer needs: edge coverage with 8-bit counters, a table of PCs, and traced comparisons.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Number of targets that run at the same time.
const PARALLEL: usize = 2;
/// Time beyond its limit after which a target is killed.
const GRACE: Duration = Duration::from_secs(60);

/// Options of `cargo xtask fuzz`.
#[derive(Args)]
pub struct FuzzOptions {
    /// Run only these targets
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS.iter().map(|target| target.name)))]
    targets: Vec<String>,
    /// Run each target for N seconds
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Seed of libFuzzer [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
}

/// Builds and runs the selected targets.
///
/// # Errors
/// If a target finds something or does not reach its minimum coverage.
pub fn fuzz(root: &Path, options: &FuzzOptions) -> Result<()> {
    let chosen = |target: &&FuzzTarget| {
        options.targets.is_empty() || options.targets.iter().any(|name| name == target.name)
    };
    let seed = options.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs() as u32)
    });
    run_targets(root, &TARGETS.iter().filter(chosen).collect::<Vec<_>>(), options.seconds, seed)
}

/// Runs all targets for `seconds` each.
///
/// # Errors
/// As [`fuzz`].
pub fn quick(root: &Path, seconds: u64) -> Result<()> {
    fuzz(root, &FuzzOptions { targets: Vec::new(), seconds, seed: None })
}

fn run_targets(root: &Path, targets: &[&FuzzTarget], seconds: u64, seed: u32) -> Result<()> {
    let manifest = root.join("capture-format/fuzz");
    let dir = run::target_dir(root).join("fuzz");
    let mut build = run::cargo(root);
    build.args(["build", "--release", "--locked", "--target", TRIPLE, "--manifest-path"]);
    build.arg(manifest.join("Cargo.toml")).env("CARGO_TARGET_DIR", &dir).env("RUSTFLAGS", FLAGS);
    run::run(&mut build)?;
    let session = FuzzSession { root: root.to_path_buf(), dir, seconds, seed };
    println!("seed {seed}, {seconds} s per target");
    let mut problems = Vec::new();
    for some in targets.chunks(PARALLEL) {
        let running = some.iter().map(|target| session.start(target)).collect::<Result<Vec<_>>>()?;
        for (target, running) in some.iter().zip(running) {
            problems.extend(session.finish(target, running)?);
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

/// What all targets of a run share.
struct FuzzSession {
    root: PathBuf,
    /// Programs, corpora, logs and findings.
    dir: PathBuf,
    seconds: u64,
    seed: u32,
}

struct RunningTarget {
    child: Child,
    log: PathBuf,
    until: Instant,
}

impl Drop for RunningTarget {
    fn drop(&mut self) {
        // The target still runs only if another one failed to start.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl FuzzSession {
    fn start(&self, target: &FuzzTarget) -> Result<RunningTarget> {
        let at = |name: &str| self.dir.join(format!("{name}-{}", target.name));
        let (corpus, seeds, log) = (at("corpus"), at("seeds"), at("log"));
        fs::create_dir_all(&corpus).context("cannot create a directory for the corpus")?;
        let _ = fs::remove_dir_all(&seeds);
        fs::create_dir_all(&seeds).context("cannot create a directory for the seeds")?;
        let from = match target.name {
            "filter" => self.root.join("capture-format/fuzz/seeds/filter"),
            _ => self.root.join("tests/golden"),
        };
        for entry in fs::read_dir(&from).with_context(|| format!("cannot list {}", from.display()))?.flatten()
        {
            let name = entry.file_name();
            if target.name == "filter" || entry.path().extension().is_some_and(|e| e == "ktape") {
                fs::copy(entry.path(), seeds.join(name)).context("cannot copy a seed")?;
            }
        }
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let child = Command::new(self.dir.join(TRIPLE).join("release").join(target.name))
            .args([&corpus, &seeds])
            .arg(format!("-max_total_time={}", self.seconds))
            .arg(format!("-seed={}", self.seed))
            .arg(format!("-rss_limit_mb={}", target.memory_mib))
            .arg(format!("-max_len={}", target.max_input))
            .args(["-timeout=10", "-print_final_stats=1"])
            .arg(format!("-artifact_prefix={}/finding-{}-", self.dir.display(), target.name))
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot duplicate a descriptor")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start fuzz target {}", target.name))?;
        Ok(RunningTarget { child, log, until: Instant::now() + Duration::from_secs(self.seconds) + GRACE })
    }

    /// Waits until the target exits or its time is up, and prints a line. Returns what is wrong, if anything.
    fn finish(&self, target: &FuzzTarget, mut running: RunningTarget) -> Result<Option<String>> {
        let status = loop {
            if let Some(status) = running.child.try_wait().context("cannot wait for a fuzz target")? {
                break Some(status);
            }
            if Instant::now() > running.until {
                break None;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let log = String::from_utf8_lossy(&fs::read(&running.log).unwrap_or_default()).into_owned();
        let name = target.name;
        let figure = |key: &str| log.lines().filter_map(|line| number_after(line, key)).next_back();
        let cov = figure("cov: ").unwrap_or(0);
        println!(
            "{name:8} coverage {cov} (minimum {}), {} runs, {} MiB",
            target.min_coverage,
            figure("stat::number_of_executed_units:").unwrap_or(0),
            figure("stat::peak_rss_mb:").unwrap_or(0)
        );
        Ok(match status {
            Some(status) if status.success() => (cov < target.min_coverage).then(|| {
                format!(
                    "{name} reaches coverage {cov}, below its minimum of {}: inputs may no longer get past the first checks",
                    target.min_coverage
                )
            }),
            _ => {
                let tail: Vec<&str> = log.lines().rev().take(40).collect();
                for line in tail.iter().rev() {
                    println!("  {line}");
                }
                Some(format!(
                    "{name} failed (seed {}): see finding-{name}-* in {}",
                    self.seed,
                    self.dir.display()
                ))
            }
        })
    }
}

fn number_after(line: &str, key: &str) -> Option<u64> {
    line.split_once(key)?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_libfuzzer_are_parsed() {
        let line = "#84736\tDONE   cov: 1750 ft: 7895 corp: 911/30Mb lim: 65536 exec/s: 2066 rss: 84Mb";
        assert_eq!(number_after(line, "cov: "), Some(1750));
        assert_eq!(number_after("stat::peak_rss_mb:              84", "stat::peak_rss_mb:"), Some(84));
        assert_eq!(number_after(line, "none: "), None);
    }
}
