//! Answers of `ktape stats` are those of DuckDB on the same events.

use std::path::Path;
use std::process::Command;

use ktape_tests::guard::Guard;
use ktape_tests::ktape;
use ktape_tests::packages::{install_python_packages, python_path};

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
    assert!(last.starts_with("68 queries on ") && last.ends_with(" 0 wrong"), "{last}");
    let all: u64 = ktape::count(&file, "evt.category != loss");
    assert!(last.contains(&format!(" {all} events")), "{last}: {all} were recorded");
}
