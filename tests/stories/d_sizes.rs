//! d. Which containers are sized wrongly: CPU time against the quota, the most memory against the limit?

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ktape_tests::container::{Container, Options, Runtime};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int};
use ktape_tests::wait::until;
use ktape_tests::{v1, workload};
use serde_json::{Value, json};

use super::{TIMEOUT, cgroup, id, printed};

const MIB: i64 = 1 << 20;

/// What it is allowed, and what it does.
struct Size {
    digit: char,
    name: &'static str,
    limit_mib: i64,
    quota_percent: i64,
    uses_mib: i64,
    uses_percent: i64,
}

const SIZES: [Size; 2] = [
    Size { digit: 'f', name: "small", limit_mib: 48, quota_percent: 20, uses_mib: 40, uses_percent: 100 },
    Size { digit: '0', name: "large", limit_mib: 512, quota_percent: 150, uses_mib: 8, uses_percent: 10 },
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
            "cpu": { "quota": size.quota_percent * 1_000, "period": 100_000 },
        });
    });
    printed(&container, "ready");
    container
}

/// A file of its cgroup.
fn kernel(size: &Size, controller: &str, file: &str) -> i64 {
    let dir: PathBuf = v1::root(controller).expect("a v1 controller").join(&cgroup(size.digit)[1..]);
    fs::read_to_string(dir.join(file)).unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn d_usage_against_limits() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "sample", "--sample", "500ms"]);
    let began = Instant::now();
    let containers: Vec<_> = SIZES.iter().map(|size| start(&runtime, size)).collect();
    let enough = Duration::from_secs(5);
    until("samples", TIMEOUT, || (began.elapsed() > enough).then_some(()));
    let peaks: Vec<_> =
        SIZES.iter().map(|size| kernel(size, "memory", "memory.max_usage_in_bytes")).collect();
    let cpu: Vec<_> = SIZES.iter().map(|size| kernel(size, "cpuacct", "cpuacct.usage")).collect();
    capture.stop();
    drop(containers);

    println!("container,cpu_percent,cpu_quota_percent,throttled_percent,mem_peak,mem_limit");
    for ((size, peak), cpu) in SIZES.iter().zip(peaks).zip(cpu) {
        let samples = ktape::replay_json(&file, &["-e", "sample", "--container", &id(size.digit)[..6]]);
        let (first, last) = (samples.first().unwrap(), samples.last().unwrap());
        let grown = |field: &str| delta(first, last, field);
        let time = grown("evt.rawtime") as f64;
        let used = grown("sample.cpu_time") as f64 / time * 100.0;
        let quota = 100 * int(last, "sample.cpu_quota").unwrap() / int(last, "sample.cpu_period").unwrap();
        let throttled = grown("sample.cpu_throttled") as f64 / grown("sample.cpu_periods") as f64 * 100.0;
        let mem_peak = int(last, "sample.mem_peak").unwrap();
        let mem_limit = int(last, "sample.mem_limit").unwrap();
        println!("{},{used:.1},{quota},{throttled:.0},{mem_peak},{mem_limit}", &id(size.digit)[..12]);

        assert_eq!((quota, mem_limit), (size.quota_percent, size.limit_mib * MIB));
        // The kernel's own peak, of a moment later at most.
        assert!(mem_peak >= size.uses_mib * MIB && mem_peak <= peak, "{mem_peak} {peak}");
        let last_cpu = int(last, "sample.cpu_time").unwrap();
        assert!(last_cpu <= cpu + 1_000_000_000 && last_cpu > 0, "{last_cpu} {cpu}");
        if size.name == "small" {
            // It takes all it is given, and would take more.
            assert!((size.quota_percent as f64 - used).abs() < 4.0, "{used}");
            assert!(throttled > 80.0, "{throttled}");
            assert!(mem_peak * 100 / mem_limit > 80);
        } else {
            assert!((size.uses_percent as f64 - used).abs() < 5.0, "{used}");
            assert!(throttled < 5.0, "{throttled}");
            assert!(mem_peak * 100 / mem_limit < 10);
        }
    }
}

fn delta(first: &Value, last: &Value, field: &str) -> i64 {
    int(last, field).unwrap() - int(first, field).unwrap()
}
