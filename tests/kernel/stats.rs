//! Answers of `ktape stats` are those of DuckDB on the same events.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int};
use ktape_tests::packages::{install_python_packages, python_path};
use ktape_tests::readings::read;
use ktape_tests::wait::{TIMEOUT, until};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

/// Reads, writes, failed calls, threads and processes, and more different files than are counted one by one.
const LOAD: &str = "
dd if=/dev/zero of=/dev/null bs=512 count=3000 2>/dev/null
mkdir many; cd many
python3 -c '
import os, threading
for i in range(5000):
    os.close(os.open(\"file %d\" % i, os.O_RDWR | os.O_CREAT))
def work(n):
    for i in range(600):
        f = os.open(\"../data%d\" % (i % 50), os.O_RDWR | os.O_CREAT)
        os.write(f, b\"x\" * (i % 3000)); os.pread(f, 100, 0); os.close(f)
        if i % 7 == 0:
            try: os.stat(\"/nonexistent/%d\" % i)
            except OSError: pass
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
'
for i in 1 2 3 4 5 6 7 8; do cat /etc/hosts | wc -l; done >/dev/null";

#[test]
#[ignore = "needs root, a kernel with BTF and DuckDB"]
fn answers_equal_those_of_duckdb() {
    install_python_packages().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    {
        let _guard = Guard::exclusive();
        let load = format!("cd '{}'; {LOAD}", dir.path().display());
        let ended = ktape::record(&file, &["--label", "zone=eu1"], &["sh", "-c", &load]);
        assert!(ended.status.success());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel/stats/compare.py");
    let mut compare = Command::new("python3");
    compare.arg(script).arg(ktape::binary()).arg(&file).env("PYTHONPATH", python_path());
    let output = compare.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // As many queries as the script has, on all that was recorded.
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("72 queries on ") && last.ends_with(" 0 wrong"), "{last}");
    let all: u64 = ktape::count(&file, "evt.category != loss");
    assert!(last.contains(&format!(" {all} events")), "{last}: {all} were recorded");
}

/// Time of each CPU since boot in ticks, and how much of it was idle, as the kernel counts it.
fn cpu_times() -> Vec<(f64, f64)> {
    let stat = read("/proc/stat");
    let lines = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    lines
        .map(|line| {
            let ticks: Vec<f64> =
                line.split_whitespace().skip(1).take(8).map(|n| n.parse().unwrap()).collect();
            // Columns 4 and 5 are idle and iowait.
            (ticks.iter().sum(), ticks[3] + ticks[4])
        })
        .collect()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn idle_time_is_that_of_the_kernel() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let mut load = Workload::start(workload!(), &["incident", "busy", "1", "50"]);
    assert_eq!(load.line(), "ready");
    let capture = Capture::start(&file, &["-e", "switch"]);
    let before = cpu_times();
    let began = Instant::now();
    until("some seconds of load", TIMEOUT, || (began.elapsed() > Duration::from_secs(4)).then_some(()));
    let after = cpu_times();
    capture.stop();
    load.kill();
    let rows = ktape::stats_json(&file, &["cpu"]);
    for (cpu, (after, before)) in after.iter().zip(&before).enumerate() {
        let expected = (after.1 - before.1) / (after.0 - before.0);
        let row = rows.iter().find(|row| int(row, "evt.cpu") == Some(cpu as i64)).unwrap();
        // JSON has ns per second.
        let [busy, idle] = ["busy", "idle"].map(|name| row[name].as_f64().unwrap() / 1e9);
        eprintln!("CPU {cpu}: idle {idle:.3}, by the kernel {expected:.3}");
        assert!((busy + idle - 1.0).abs() < 1e-6, "{row}");
        assert!((idle - expected).abs() < 0.1, "CPU {cpu}: {row}, the kernel counted {expected}");
    }
}
