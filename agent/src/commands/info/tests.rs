use super::*;
use capture_format::{EncodeOptions, Encoder, Pressure, SegmentWriter};
use ktape_reader::model::testing::{TestChunk, call, file, header, id, sample};

/// A capture with one call in each second, and the pressure under which the chunk of each was encoded.
fn pressed(pressures: &[Pressure]) -> Vec<u8> {
    let mut writer = SegmentWriter::new(Vec::new(), &header(1)).unwrap();
    let mut encoder = Encoder::new(EncodeOptions::default()).unwrap();
    for (second, pressure) in (1..).zip(pressures) {
        let mut chunk = TestChunk::new(&header(1));
        let cgroup = chunk.cgroup(11, "/docker/a", &[id('a')]);
        let task = chunk.task(10, 10, "a", cgroup);
        chunk.call(second * 1_000_000_000, task, &call("close", &[3], 0));
        encoder.set_pressure(*pressure).unwrap();
        writer.write_block(&mut encoder.encode(&chunk.builder).unwrap()).unwrap();
    }
    writer.finish().unwrap()
}

fn captures() -> (tempfile::TempDir, Captures) {
    opened(file(&header(1), vec![sample(&header(1))], &[]))
}

fn opened(bytes: Vec<u8>) -> (tempfile::TempDir, Captures) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ktape");
    std::fs::write(&path, bytes).unwrap();
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

#[test]
fn chunks_that_were_compressed_less_are_listed_by_time() {
    let (none, queue, ring) = (Pressure::NONE, Pressure::QUEUE, Pressure::BUFFERS);
    let (_dir, captures) = opened(pressed(&[none, queue, queue.and(ring), none, ring]));
    let info = gather(&captures).unwrap();
    let sizes: Vec<u64> = captures.files()[0].file.chunks().map(|chunk| chunk.len).collect();
    assert_eq!(
        to_json(captures.files(), &info)["compressed_less"],
        json!({
            "chunks": 3,
            "bytes": sizes[1] + sizes[2] + sizes[4],
            "spans": [
                {
                    "start": "2026-11-22T12:00:02.000000000Z",
                    "end": "2026-11-22T12:00:03.000000000Z",
                    "chunks": 2,
                    "bytes": sizes[1] + sizes[2],
                    "reasons": ["queue", "ring"],
                },
                {
                    "start": "2026-11-22T12:00:05.000000000Z",
                    "end": "2026-11-22T12:00:05.000000000Z",
                    "chunks": 1,
                    "bytes": sizes[4],
                    "reasons": ["ring"],
                },
            ],
        })
    );
    let text = to_text(captures.files(), &info);
    let size = |bytes| size_text(bytes);
    let expected = [
        format!("pressure    3 chunks, {} compressed less", size(sizes[1] + sizes[2] + sizes[4])),
        format!(
            "            2026-11-22 13:00:02 +01:00 for 1.0s: 2 chunks, {}; chunks waited to be compressed; ring buffers were nearly full",
            size(sizes[1] + sizes[2])
        ),
        format!(
            "            2026-11-22 13:00:05 +01:00 for 0ns: 1 chunk, {}; ring buffers were nearly full",
            size(sizes[4])
        ),
    ];
    let at = text.lines().position(|line| line == expected[0]).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(text.lines().skip(at).take(3).collect::<Vec<_>>(), expected);
}

#[test]
fn without_pressure_nothing_is_shown_of_it() {
    let (_dir, captures) = captures();
    let info = gather(&captures).unwrap();
    assert!(to_json(captures.files(), &info).get("compressed_less").is_none());
    assert!(!to_text(captures.files(), &info).contains("pressure"));
}
