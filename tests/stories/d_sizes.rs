//! d. Which containers are sized wrongly: CPU time against the quota, the most memory against the limit?

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ktape_tests::container::{Container, Options, Runtime};
use ktape_tests::engine::{Engine, Kind};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::readings::{number, value};
use ktape_tests::wait::until;
use ktape_tests::{v1, workload};
use serde_json::json;

use super::{TIMEOUT, cgroup, printed, short};

const MIB: i64 = 1 << 20;

/// What it is allowed, and what it does.
struct Size {
    digit: char,
    name: &'static str,
    limit_mib: i64,
    quota_percent: i64,
    shares: i64,
    pids: i64,
    uses_mib: i64,
    uses_percent: i64,
}

const SIZES: [Size; 2] = [
    Size {
        digit: 'f',
        name: "small",
        limit_mib: 48,
        quota_percent: 20,
        shares: 256,
        pids: 20,
        uses_mib: 40,
        uses_percent: 100,
    },
    Size {
        digit: '0',
        name: "large",
        limit_mib: 512,
        quota_percent: 150,
        shares: 768,
        pids: 100,
        uses_mib: 8,
        uses_percent: 10,
    },
];

fn start(runtime: &Runtime, size: &Size) -> Container {
    let (mib, percent) = (size.uses_mib.to_string(), size.uses_percent.to_string());
    let options = Options {
        cgroup: &cgroup(size.digit),
        args: &["/bin/ktape-workload", "incident", "busy", &mib, &percent],
        seccomp: false,
    };
    let container = runtime.start_with(size.name, &options, |config| {
        config["linux"]["resources"] = json!({
            "memory": { "limit": size.limit_mib * MIB },
            "cpu": { "quota": size.quota_percent * 1_000, "period": 100_000, "shares": size.shares },
            "pids": { "limit": size.pids },
        });
    });
    printed(&container, "ready");
    container
}

/// A file of its cgroup.
fn kernel(size: &Size, controller: &str, file: &str) -> String {
    let dir: PathBuf = v1::root(controller).expect("a v1 controller").join(&cgroup(size.digit)[1..]);
    fs::read_to_string(dir.join(file)).unwrap()
}

/// What the kernel counts of its CPU time: ns used, periods, and those in which it was throttled.
fn counted(size: &Size) -> [i64; 3] {
    let stat = kernel(size, "cpu", "cpu.stat");
    [
        number(&kernel(size, "cpuacct", "cpuacct.usage")),
        value(&stat, "nr_periods"),
        value(&stat, "nr_throttled"),
    ]
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn d_usage_against_limits() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "sample", "--sample", "500ms"]);
    let containers: Vec<_> = SIZES.iter().map(|size| start(&runtime, size)).collect();
    let before: Vec<_> = SIZES.iter().map(counted).collect();
    let began = Instant::now();
    let enough = Duration::from_secs(5);
    until("samples", TIMEOUT, || (began.elapsed() > enough).then_some(()));
    let after: Vec<_> = SIZES.iter().map(counted).collect();
    let elapsed = began.elapsed().as_nanos() as f64;
    let peaks: Vec<_> =
        SIZES.iter().map(|size| number(&kernel(size, "memory", "memory.max_usage_in_bytes"))).collect();
    capture.stop();
    drop(containers);

    let rows = ktape::stats_json(&file, &["sizing"]);
    assert_eq!(rows.len(), SIZES.len(), "{rows:#?}");
    let all_used: i64 = after.iter().zip(&before).map(|(after, before)| after[0] - before[0]).sum();
    let all_shares: i64 = SIZES.iter().map(|size| size.shares).sum();
    for (at, size) in SIZES.iter().enumerate() {
        let row = rows.iter().find(|row| text(row, "container.id") == Some(&*short(size.digit))).unwrap();
        eprintln!("{row:#}");
        let float = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"));
        // What is configured.
        assert_eq!(float("cpu limit %"), size.quota_percent as f64);
        assert_eq!(int(row, "shares"), Some(size.shares));
        assert_eq!(int(row, "memory limit"), Some(size.limit_mib * MIB));
        assert_eq!(int(row, "pids limit"), Some(size.pids));
        assert!(row["weight"].is_null(), "{row}");
        // What is used, by the kernel's counters.
        let [used, periods, throttled] = [0, 1, 2].map(|n| (after[at][n] - before[at][n]) as f64);
        assert!((float("p95 cpu %") - used / elapsed * 100.0).abs() < 15.0, "{row}");
        assert!((float("throttled") - throttled / periods).abs() < 0.1, "{row}: {throttled} of {periods}");
        assert!((float("part of cpu") - used / all_used as f64).abs() < 0.1, "{row}");
        assert!((float("part of shares") - size.shares as f64 / all_shares as f64).abs() < 0.1, "{row}");
        let [peak, most, average] =
            ["peak", "max memory", "avg memory"].map(|name| int(row, name).unwrap_or(float(name) as i64));
        assert!(size.uses_mib * MIB <= peak && peak <= peaks[at], "{peak} {}", peaks[at]);
        assert!(average <= most && most <= peak && average >= size.uses_mib * MIB / 2, "{row}");
        assert_eq!(float("peak of limit"), peak as f64 / (size.limit_mib * MIB) as f64);
        assert_eq!(int(row, "pids"), Some(1), "{row}");
        if size.name == "small" {
            // It takes all it is given, and would take more.
            assert!(float("throttled") > 0.8 && float("peak of limit") > 0.8, "{row}");
        } else {
            assert!(float("throttled") < 0.05 && float("peak of limit") < 0.1, "{row}");
        }
    }
    // The same as CSV.
    let csv = ktape::stdout(&["stats", &file.to_string_lossy(), "sizing", "--format", "csv"]);
    let mut lines = csv.lines();
    let titles: Vec<_> = lines.next().unwrap().split(',').collect();
    let of_small = lines.find(|line| line.contains(&short('f'))).unwrap();
    let cell =
        |title: &str| of_small.split(',').nth(titles.iter().position(|t| *t == title).unwrap()).unwrap();
    assert_eq!([cell("memory limit"), cell("shares"), cell("pids limit")], ["50331648", "256", "20"]);
}

/// Other groups than those of the view: labels, which come from the container's runtime.
#[test]
#[ignore = "needs root, a kernel with BTF and Podman"]
fn d_usage_by_label() {
    let _guard = Guard::exclusive();
    let engine = Engine::start(Kind::Podman);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let option = engine.option();
    let capture = Capture::start(&file, &["-e", "sample", "--sample", "200ms", "--runtime", &option]);
    let began = Instant::now();
    let busy = ["/bin/sh", "-c", "while :; do :; done"];
    engine.run("shop-1", &[("app", "shop"), ("zone", "eu1")], &busy, true);
    engine.run("blog-1", &[("app", "blog"), ("zone", "eu1")], &["/bin/sleep", "1000"], true);
    until("samples", TIMEOUT, || (began.elapsed() > Duration::from_secs(4)).then_some(()));
    capture.stop();
    ["shop-1", "blog-1"].iter().for_each(|name| engine.remove(name));

    let by = "container.label[app],container.label[zone],container.name";
    let rows = ktape::stats_json(&file, &["sizing", "--by", by, "container.label[app] exists"]);
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            ["container.label[app]", "container.label[zone]", "container.name"]
                .map(|key| text(row, key).unwrap())
        })
        .collect();
    assert_eq!(found, [["shop", "eu1", "shop-1"], ["blog", "eu1", "blog-1"]], "{rows:#?}");
    let parts: Vec<_> = rows.iter().map(|row| row["part of cpu"].as_f64().unwrap()).collect();
    assert!(parts[0] > 0.9 && parts[0] + parts[1] > 0.999, "{parts:?}");
}
