//! Damaged captures: what is intact is read, and the damage is reported once.

use std::fs;
use std::path::{Path, PathBuf};

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, int};
use ktape_tests::workload;

/// A command's exit code, stderr and stdout.
fn said(args: &[&str]) -> (Option<i32>, String, String) {
    let out = ktape::run(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stderr), text(&out.stdout))
}

fn capture(dir: &Path) -> PathBuf {
    let file = dir.join("whole.ktape");
    let script = format!("for i in 1 2 3 4; do {} rate 2000 1; done", workload!().display());
    ktape::record(&file, &["-e", "getppid,exec"], &["sh", "-c", &script]);
    file
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn damage_is_reported_once_and_intact_chunks_are_read() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let file = capture(dir.path());
    let whole = fs::read(&file).unwrap();
    let all = ktape::replay_json(&file, &[]);
    // In the bodies of the second and third chunk, found by the headers of the blocks.
    let chunks = blocks(&whole).into_iter().filter(|(kind, ..)| *kind == 2).collect::<Vec<_>>();
    assert!(chunks.len() >= 4, "{chunks:?}");
    let mut bytes = whole.clone();
    for (_, at, len) in &chunks[1..3] {
        bytes[at + len - 1] ^= 0x10;
    }
    fs::write(at("damaged"), &bytes).unwrap();

    let (code, stderr, stdout) = said(&["check", &at("damaged")]);
    assert_eq!(code, Some(1), "{stderr}{stdout}");
    for (_, at, len) in &chunks[1..3] {
        assert!(stdout.contains(&format!("bytes {at} to {} are unreadable", at + len)), "{stdout}");
    }
    assert!(stdout.contains("DAMAGED in 2 places"), "{stdout}");
    let (_, _, json) = said(&["check", "--json", &at("damaged")]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let places: Vec<_> = json["damage"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["offset"].as_u64(), d["bytes"].as_u64()))
        .collect();
    let expected: Vec<_> =
        chunks[1..3].iter().map(|(_, at, len)| (Some(*at as u64), Some(*len as u64))).collect();
    assert_eq!(places, expected);
    let left = json["events"].as_u64().unwrap() as usize;
    assert!(left < all.len() && left > 0);

    let (code, stderr, count) = said(&["replay", &at("damaged"), "--count"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr.matches("DAMAGE").count(), 1, "{stderr}");
    assert!(
        stderr.contains("skipped 2 unreadable places") && stderr.contains("`ktape check` lists all"),
        "{stderr}"
    );
    let count: usize = count.trim().parse().unwrap();
    assert_eq!(said(&["replay", &at("damaged"), "--count", "--strict"]).0, Some(3));

    // Without its index, the output is the same.
    let (_, index, _) = blocks(&whole).into_iter().find(|(kind, ..)| *kind == 4).unwrap();
    fs::write(at("unindexed"), &bytes[..index]).unwrap();
    assert_eq!(said(&["replay", &at("unindexed"), "--count"]).2.trim(), count.to_string());

    let (code, stderr, _) = said(&["replay", &at("damaged"), "-w", &at("clean.ktape")]);
    assert_eq!(code, Some(0), "{stderr}");
    let (code, _, stdout) = said(&["check", &at("clean.ktape")]);
    assert_eq!(code, Some(0), "{stdout}");
    assert_eq!(ktape::count(Path::new(&at("clean.ktape")), "evt.type exists"), count as u64);
    let rescued = ktape::replay_json(Path::new(&at("clean.ktape")), &["-e", "getppid"]);
    let damaged = ktape::replay_json(Path::new(&at("damaged")), &["-e", "getppid"]);
    let times = |events: &[serde_json::Value]| {
        events.iter().map(|e| int(e, "evt.rawtime").unwrap()).collect::<Vec<_>>()
    };
    assert!(times(&rescued) == times(&damaged), "not the same events");

    // One that was cut is not damaged.
    let (_, last, len) = chunks[chunks.len() - 1];
    fs::write(at("cut"), &whole[..last + len / 2]).unwrap();
    let (code, stderr, stdout) = said(&["check", &at("cut")]);
    assert_eq!(code, Some(0), "{stderr}{stdout}");
    assert!(stdout.contains(": ok: ") && stdout.contains("ends in the middle of a chunk"), "{stdout}");
    let (code, stderr, _) = said(&["replay", &at("cut"), "--count", "--strict"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("ends in the middle of a chunk") && !stderr.contains("DAMAGE"), "{stderr}");
}

/// The blocks of a file: kind, offset, length, as `docs/format.md` defines them.
fn blocks(bytes: &[u8]) -> Vec<(u16, usize, usize)> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let u32_at = |i: usize| u32::from_le_bytes(bytes[at + i..at + i + 4].try_into().unwrap()) as usize;
        let len = 40 + u32_at(16) + u32_at(20);
        all.push((u16::from_le_bytes([bytes[at + 10], bytes[at + 11]]), at, len));
        at += len;
    }
    all
}
