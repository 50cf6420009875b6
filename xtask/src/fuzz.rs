//! Builds the fuzz targets of `capture-format/fuzz` with the instrumentation that the compiler brings, without nightly and
//! without cargo-fuzz, and runs them: whether they find something, and whether they still get as far as they did.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use ktape_tests::run;

/// A target, the least coverage that it has to reach within ten seconds (`cov:` of libFuzzer's last line; some four fifths
/// of what it reached when this was written), and what it may use, MiB.
struct Target {
    name: &'static str,
    floor: u64,
    memory: u32,
    longest: u32,
}

const TARGETS: &[Target] = &[
    Target { name: "file", floor: 1300, memory: 256, longest: 1 << 16 },
    Target { name: "replay", floor: 3900, memory: 256, longest: 1 << 16 },
    Target { name: "filter", floor: 2400, memory: 256, longest: 1 << 12 },
];

/// Edges, counted in eight bits, with compares: what libFuzzer wants.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// How many run at a time.
const AT_ONCE: usize = 2;
/// Beyond its time, until a target is killed.
const GRACE: Duration = Duration::from_secs(60);

/// `cargo xtask fuzz`.
#[derive(Args)]
pub struct Options {
    /// Only these targets: file, replay, filter
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS.iter().map(|target| target.name)))]
    targets: Vec<String>,
    /// How long each
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// The seed [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
}

/// Each target for so long.
///
/// # Errors
/// If one finds something, or does not reach its floor.
pub fn fuzz(root: &Path, options: &Options) -> Result<()> {
    let chosen = |target: &&Target| {
        options.targets.is_empty() || options.targets.iter().any(|name| name == target.name)
    };
    let seed = options.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs() as u32)
    });
    run_targets(root, &TARGETS.iter().filter(chosen).collect::<Vec<_>>(), options.seconds, seed)
}

/// All targets for so long, as with every commit.
///
/// # Errors
/// As [`fuzz`].
pub fn quick(root: &Path, seconds: u64) -> Result<()> {
    fuzz(root, &Options { targets: Vec::new(), seconds, seed: None })
}

fn run_targets(root: &Path, targets: &[&Target], seconds: u64, seed: u32) -> Result<()> {
    let manifest = root.join("capture-format/fuzz");
    let dir = run::target_dir(root).join("fuzz");
    let mut build = run::cargo(root);
    build.args(["build", "--release", "--locked", "--target", TRIPLE, "--manifest-path"]);
    build.arg(manifest.join("Cargo.toml")).env("CARGO_TARGET_DIR", &dir).env("RUSTFLAGS", FLAGS);
    run::run(&mut build)?;
    let place = Place { root: root.to_path_buf(), dir, seconds, seed };
    println!("seed {seed}, {seconds} s each");
    let mut wrong = Vec::new();
    for some in targets.chunks(AT_ONCE) {
        let running = some.iter().map(|target| place.start(target)).collect::<Result<Vec<_>>>()?;
        for (target, running) in some.iter().zip(running) {
            wrong.extend(place.finish(target, running)?);
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    Ok(())
}

struct Place {
    root: PathBuf,
    dir: PathBuf,
    seconds: u64,
    seed: u32,
}

struct Running {
    child: Child,
    log: PathBuf,
    until: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless another one could not be started.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Place {
    fn start(&self, target: &Target) -> Result<Running> {
        let at = |name: &str| self.dir.join(format!("{name}-{}", target.name));
        let (corpus, seeds, log) = (at("corpus"), at("seeds"), at("log"));
        fs::create_dir_all(&corpus).context("cannot make a directory for the corpus")?;
        let _ = fs::remove_dir_all(&seeds);
        fs::create_dir_all(&seeds).context("cannot make a directory for the seeds")?;
        let from = match target.name {
            "filter" => self.root.join("capture-format/fuzz/seeds/filter"),
            _ => self.root.join("tests/golden"),
        };
        for entry in fs::read_dir(&from).with_context(|| format!("no {}", from.display()))?.flatten() {
            let name = entry.file_name();
            if target.name == "filter" || entry.path().extension().is_some_and(|e| e == "ktape") {
                fs::copy(entry.path(), seeds.join(name)).context("cannot copy a seed")?;
            }
        }
        let output = File::create(&log).context("cannot make a file for what a target prints")?;
        let child = Command::new(self.dir.join(TRIPLE).join("release").join(target.name))
            .args([&corpus, &seeds])
            .arg(format!("-max_total_time={}", self.seconds))
            .arg(format!("-seed={}", self.seed))
            .arg(format!("-rss_limit_mb={}", target.memory))
            .arg(format!("-max_len={}", target.longest))
            .args(["-timeout=10", "-print_final_stats=1"])
            .arg(format!("-artifact_prefix={}/finding-{}-", self.dir.display(), target.name))
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share a file")?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start the target {}", target.name))?;
        Ok(Running { child, log, until: Instant::now() + Duration::from_secs(self.seconds) + GRACE })
    }

    /// Waits for it, prints a line, and says what is wrong.
    fn finish(&self, target: &Target, mut running: Running) -> Result<Option<String>> {
        let status = loop {
            if let Some(status) = running.child.try_wait().context("cannot wait for a target")? {
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
            "{name:8} cov {cov} (at least {}), {} runs, {} MiB",
            target.floor,
            figure("stat::number_of_executed_units:").unwrap_or(0),
            figure("stat::peak_rss_mb:").unwrap_or(0)
        );
        Ok(match status {
            Some(status) if status.success() => (cov < target.floor).then(|| {
                format!("{name} reaches only {cov} of {}: does it still get past the checks?", target.floor)
            }),
            _ => {
                let tail: Vec<&str> = log.lines().rev().take(40).collect();
                for line in tail.iter().rev() {
                    println!("  {line}");
                }
                Some(format!(
                    "{name} found something (seed {}): see finding-{name}-* in {}",
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
    fn figures_of_libfuzzer_are_read() {
        let line = "#84736\tDONE   cov: 1750 ft: 7895 corp: 911/30Mb lim: 65536 exec/s: 2066 rss: 84Mb";
        assert_eq!(number_after(line, "cov: "), Some(1750));
        assert_eq!(number_after("stat::peak_rss_mb:              84", "stat::peak_rss_mb:"), Some(84));
        assert_eq!(number_after(line, "none: "), None);
    }
}
