//! Captures made once for each version of the format, by `tests/golden/make.sh`, and what is read from them ever after.

use std::fs;
use std::path::PathBuf;

use crate::tool;

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

#[test]
fn captures_of_older_versions_read_as_before() {
    let golden: PathBuf = tool::repository().join("tests/golden");
    for (name, args) in EXPECTED {
        let stdout = tool::stdout(&golden, args);
        let file = golden.join(name);
        if tool::regenerates() {
            fs::write(&file, stdout).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&file).unwrap();
        let differs = expected.lines().zip(stdout.lines()).find(|(expected, found)| expected != found);
        assert!(stdout == expected, "{name}: {args:?}: expected and found: {differs:#?}");
    }
}
