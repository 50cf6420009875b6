use super::*;
use ktape_reader::model::testing::{file, header, id, sample};

fn captures() -> (tempfile::TempDir, Captures) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ktape");
    std::fs::write(&path, file(&header(1), vec![sample(&header(1))], &[])).unwrap();
    let Input::Files(listing) = Input::open(&[path]).unwrap() else { panic!("a file") };
    let captures = listing.open(None, None).unwrap();
    (dir, captures)
}

#[test]
fn json_has_the_keys_that_are_promised() {
    let (_dir, captures) = captures();
    let info = gather(&captures).unwrap();
    let info = to_json(captures.files(), &info);
    assert_eq!(info["events"], 10);
    assert_eq!(info["kinds"]["syscall"], 5);
    assert_eq!(info["lost"], 1234);
    assert_eq!(info["lost_by"][0], json!({"kind": "syscall", "stage": "ring", "count": 1234}));
    assert_eq!(info["start"], "2026-11-22T12:00:00.000000000Z");
    assert_eq!(info["end"], "2026-11-22T12:00:01.000007000Z");
    assert_eq!(info["host"], "host1");
    assert_eq!(info["kernel"], "6.1.0-test");
    assert_eq!(info["bytes"], captures.files()[0].file.bytes());
    let ids: Vec<&str> =
        info["containers"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [id('a'), id('b'), id('c')]);
    assert_eq!(info["damage"], json!([]));
}

#[test]
fn text_says_the_same() {
    let (_dir, captures) = captures();
    let text = to_text(captures.files(), &gather(&captures).unwrap());
    for line in [
        "host        host1",
        "start       2026-11-22 13:00:00 +01:00",
        "label       dc=fra",
        "events      10",
        "                          5 syscall",
        "lost        1,234",
        "containers  3",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.contains(" aaaaaaaaaaaa\n"), "{text}");
}
