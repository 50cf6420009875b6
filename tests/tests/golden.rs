//! Captures that were made once for each version of the format, and what is read from them for ever.
//! `tests/golden/make.sh` made them.

use std::fs;
use std::path::Path;
use std::process::Command;

use ktape_tests::ktape;

/// A file with the expected output, and the command that prints it.
const EXPECTED: &[(&str, &[&str])] = &[
    ("calls.txt", &["replay", "calls-0.1.ktape"]),
    ("calls.json", &["replay", "calls-0.1.ktape", "--format", "json", "-n", "30"]),
    ("calls.csv", &["replay", "calls-0.1.ktape", "--format", "csv", "--utc", "-n", "30"]),
    ("calls.info", &["info", "calls-0.1.ktape"]),
    ("container.txt", &["replay", "calls-0.1.ktape", "--container", "4f3c", "evt.failed = true"]),
    ("kinds.txt", &["replay", "kinds-0.1.ktape"]),
    ("kinds.json", &["replay", "kinds-0.1.ktape", "--format", "json", "evt.category != switch", "-n", "60"]),
    ("kinds.info", &["info", "kinds-0.1.ktape"]),
    ("killed.txt", &["replay", "killed-0.1.ktape", "--from", "+1s", "-n", "20"]),
    ("killed.count", &["replay", "killed-0.1.ktape", "--count", "evt.type = getppid"]),
    ("killed.check", &["check", "killed-0.1.ktape"]),
];

fn golden() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/golden"))
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let out = Command::new(ktape::binary()).args(args).current_dir(golden()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn old_captures_read_as_they_always_did() {
    for (name, args) in EXPECTED {
        let (code, stdout, stderr) = run(args);
        assert_eq!(code, Some(0), "{args:?}: {stderr}");
        let file = golden().join(name);
        if std::env::var_os("KTAPE_GOLDEN").is_some_and(|word| word == "write") {
            fs::write(&file, stdout).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&file).unwrap();
        let differs = expected.lines().zip(stdout.lines()).find(|(expected, found)| expected != found);
        assert!(stdout == expected, "{name}: {args:?}: expected and found: {differs:#?}");
    }
}
