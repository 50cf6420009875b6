//! The examples of README and docs that record, run as root and ended by Ctrl-C after some seconds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use ktape_tests::guard::Guard;
use ktape_tests::{examples, ktape};

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn recording_examples_succeed() {
    let _guard = Guard::exclusive();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the repository");
    let bin = tempfile::tempdir().unwrap();
    symlink(ktape::binary(), bin.path().join("ktape")).unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap_or_default());
    let mut failed = Vec::new();
    let mut seen = Vec::new();
    for example in examples::all(repository).into_iter().filter(examples::Example::records) {
        let line = example.with_paths("series/");
        if seen.contains(&line) {
            continue;
        }
        let dir = ktape::disk_dir();
        // For `make -j8`, whose exit code is passed on.
        fs::write(dir.path().join("Makefile"), "all:\n\t@true\n").unwrap();
        // Ctrl-C reaches the shell too, which has to wait for the rest.
        let out = Command::new("timeout")
            .args(["--preserve-status", "-s", "INT", "-k", "20", "2.5", "sh", "-c"])
            .arg(format!("mkdir series; trap : INT; {line}"))
            .current_dir(dir.path())
            .env("PATH", &path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        eprintln!("{}: {line}: {}", example.place, out.status);
        // Ctrl-C ends a reader at the end of a pipe as any other program.
        let expected = if line.contains(" | ") { [0, 130] } else { [0, 0] };
        if !out.status.code().is_some_and(|code| expected.contains(&code)) {
            let stderr = String::from_utf8_lossy(&out.stderr);
            failed.push(format!("{}: `{line}`: {}\n{stderr}", example.place, out.status));
        }
        seen.push(line);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
