//! The examples of README and docs: those that read a capture succeed, those that record are understood.

use crate::examples;
use crate::sandbox::Sandbox;
use crate::tool;

/// Every capture that an example names is one of `tests/golden` here.
fn prepare(number: usize, line: &str) -> String {
    let mut script = format!("mkdir ex{number} && cp -r set ex{number}/ && cd ex{number}\n");
    let mut is_output = false;
    for word in line.split_whitespace() {
        if word.ends_with(".ktape") && !is_output && !word.contains(['*', '\'', '"', '/']) {
            script.push_str(&format!("cp ../all.ktape {word}\n"));
        }
        is_output = matches!(word, "-w" | "-o");
    }
    script
}

#[test]
fn reading_examples_succeed() {
    let sandbox = Sandbox::new();
    let examples: Vec<_> = examples::all(tool::repository()).into_iter().filter(|e| !e.records()).collect();
    assert!(examples.len() >= 10, "only {} examples were found", examples.len());
    let mut failed = Vec::new();
    for (number, example) in examples.iter().enumerate() {
        let line = example.with_paths("set");
        let script = format!("{}timeout 30 {line}", prepare(number, &line));
        let out = sandbox.shell(&script);
        if !out.status.success() {
            let stderr = String::from_utf8_lossy(&out.stderr);
            failed.push(format!("{}: `{line}`: {}\n{stderr}", example.place, out.status));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn recording_examples_are_valid_usage() {
    let sandbox = Sandbox::new();
    let examples: Vec<_> = examples::all(tool::repository()).into_iter().filter(|e| e.records()).collect();
    assert!(examples.len() >= 5, "only {} examples were found", examples.len());
    let mut failed = Vec::new();
    for example in &examples {
        // Of a pipe only the recorder: what it writes is missing.
        let line = example.with_paths("set/");
        let line = line.split(" | ").next().unwrap_or_default();
        let out = sandbox.shell(&format!("timeout 30 {line}"));
        // Without privileges it fails, but not because of its command line.
        if !matches!(out.status.code(), Some(0 | 1)) {
            let stderr = String::from_utf8_lossy(&out.stderr);
            failed.push(format!("{}: `{line}`: {}\n{stderr}", example.place, out.status));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
