//! Names that would take over a terminal: of processes, arguments, paths, cgroups and labels as they were recorded, and of
//! hosts, calls, kinds and columns as only a forged file has them. None of it comes out of any command as it is.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use capture_format::{CaptureFile, Header, Schema, SegmentWriter};
use ktape_tests::cgroup::Cgroup;
use ktape_tests::guard::Guard;
use ktape_tests::{ktape, workload};

/// Clears the screen, sets the title, turns the reading direction, begins a line and a control sequence of eight bits.
const EVIL: &str = "e\x1b[2J\x1b]0;t\x07\u{202e}\r\n\t\u{9b}31m\x7f";

/// Nothing but characters and ends of lines.
fn assert_harmless(what: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    for line in text.split('\n') {
        let evil = line.chars().find(|c| c.is_control() || ('\u{200b}'..='\u{202e}').contains(c));
        assert_eq!(evil, None, "{what}: {line:?}");
    }
}

fn commands(file: &str) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        words(&["replay", file]),
        words(&["replay", file, "--format", "json"]),
        words(&["replay", file, "--format", "csv"]),
        words(&["replay", file, "--container", EVIL]),
        words(&["replay", file, EVIL]),
        words(&["replay", file, "--filter", &format!("proc.name = {EVIL}")]),
        words(&["replay", file, &format!("evt.type = \"{EVIL}\"")]),
        words(&["replay", file, "--from", EVIL]),
        words(&["replay", file, "--from", "+100h"]),
        words(&["replay", "-f", file]),
        words(&["info", file]),
        words(&["info", file, "--json"]),
        words(&["containers", file]),
        words(&["containers", file, "--format", "json"]),
        words(&["containers", file, "--format", "csv", "--container", EVIL]),
        words(&["check", file]),
        words(&["check", file, "--json"]),
        words(&["check", &format!("{file}{EVIL}")]),
        words(&["capture", "-d", "1s", "-o", file]),
        words(&["capture", "-d", "1s", "-o", &format!("{file}/{EVIL}")]),
    ]
}

fn try_all(file: &Path) {
    for args in commands(file.to_str().unwrap()) {
        let out = Command::new(ktape::binary()).args(&args).output().unwrap();
        assert!(out.status.code().is_some(), "{args:?}: {}", out.status);
        assert_harmless(&format!("{args:?}, stdout"), &out.stdout);
        assert_harmless(&format!("{args:?}, stderr"), &out.stderr);
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn recorded_names_are_escaped_for_terminals() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    // A newline cannot be in the name of a cgroup.
    let cgroup = Cgroup::make(&format!("/{}", EVIL.replace('\n', "")));
    let program = dir.path().join(EVIL);
    fs::copy(workload!(), &program).unwrap();
    let script =
        "echo $$ >\"$1/cgroup.procs\"; \"$2\" rename \"$3\"; cat \"$2/none\" \"$3\" 2>/dev/null; true";
    let file = dir.path().join(format!("{EVIL}.ktape"));
    let group = cgroup.dir();
    let out = ktape::run(&[
        "capture",
        "-o",
        file.to_str().unwrap(),
        "--label",
        &format!("{EVIL}={EVIL}"),
        "--",
        "sh",
        "-c",
        script,
        "sh",
        group.to_str().unwrap(),
        program.to_str().unwrap(),
        EVIL,
    ]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_harmless("capture", &out.stderr);
    let text = ktape::stdout(&["replay", file.to_str().unwrap()]);
    assert!(text.contains("e\\e[2J"), "nothing evil was recorded");
    try_all(&file);

    // Text that only a forged header can have; the chunks stay as they are.
    let bytes = fs::read(&file).unwrap();
    let whole = CaptureFile::open(&file).unwrap();
    let own = &whole.segments()[0].header;
    let evil = || EVIL.to_owned();
    let mut header = Header {
        host: evil(),
        host_id: evil(),
        kernel: evil(),
        arch: evil(),
        time_zone: evil(),
        agent_version: evil(),
        command_line: vec![EVIL.as_bytes().to_vec(), b"\xff\x9b2J".to_vec()],
        options: vec![(evil(), evil())],
        ..Header::clone(own)
    };
    for vocabulary in Arc::make_mut(&mut header.vocabularies) {
        vocabulary.entries.iter_mut().for_each(|(_, name)| *name = format!("{EVIL}({EVIL}, {EVIL})"));
    }
    let mut forged = vec![header.clone()];
    let tables = own.schema.tables().iter().cloned().enumerate().map(|(i, mut table)| {
        table.name = format!("{EVIL}{i}");
        for (i, column) in table.columns.iter_mut().enumerate().skip(4) {
            column.name = format!("{EVIL}{i}");
            column.semantic = evil();
            column.doc = evil();
        }
        table
    });
    let all = Arc::new(Schema::new(tables.collect()).unwrap());
    // Kinds and columns that are known by their numbers and names are taken apart; only the kinds' own names are forged.
    let tables = own.schema.tables().iter().cloned().enumerate().map(|(i, mut table)| {
        table.name = format!("{EVIL}{i}");
        table
    });
    header.schema = Arc::new(Schema::new(tables.collect()).unwrap());
    forged.push(header.clone());
    header.schema = all;
    forged.push(header);
    for header in forged {
        let writer = SegmentWriter::new(Vec::new(), &header).unwrap();
        let mut file = writer.get_ref().clone();
        for chunk in whole.chunks() {
            file.extend_from_slice(&bytes[chunk.offset as usize..(chunk.offset + chunk.len) as usize]);
        }
        let path = dir.path().join("forged.ktape");
        fs::write(&path, file).unwrap();
        let count = ktape::stdout(&["replay", path.to_str().unwrap(), "--count"]);
        assert_ne!(count, "0\n");
        try_all(&path);
    }
}
