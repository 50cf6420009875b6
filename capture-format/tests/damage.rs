//! Damaged files: no panic, and everything intact is read.

mod support;

use capture_format::{CaptureFile, FormatError, StreamItem, StreamReader};
use support::{Block, Random, ReadableChunk, blocks, fix_checksums, open, readable, streamed};

const CHUNK: u16 = 2;

fn two_segments() -> Vec<u8> {
    [support::file(1, 6, 400, true), support::file(2, 5, 30, true)].concat()
}

#[test]
fn concatenated_files_are_one_capture() {
    let (a, b) = (support::file(1, 6, 400, true), support::file(2, 5, 30, true));
    let both = [a.clone(), b.clone()].concat();
    let file = open(&both).expect("a capture");
    assert!(file.damage().is_empty());
    assert_eq!(file.segments().len(), 2);
    assert_eq!(file.segments()[0].header.host, "host1");
    assert_eq!((file.segments()[1].offset, file.segments()[1].len), (a.len() as u64, b.len() as u64));
    let shifted = readable(&b).into_iter().map(|c| ReadableChunk { offset: c.offset + a.len() as u64, ..c });
    let expected: Vec<_> = readable(&a).into_iter().chain(shifted).collect();
    assert_eq!(expected.len(), 11);
    assert_eq!(readable(&both), expected);
    assert_eq!(streamed(&both), expected.iter().map(|c| c.digest).collect::<Vec<_>>());
    assert!(file.chunks().all(|c| c.segment == usize::from(c.offset >= a.len() as u64)));
}

#[test]
fn chunks_without_trailer_and_between_garbage_are_found() {
    let a = support::file(1, 4, 200, false);
    let b = support::file(2, 3, 200, true);
    let file = open(&a).expect("a capture");
    assert!(!file.segments()[0].complete && file.damage().is_empty());
    let alone = readable(&a);
    assert_eq!(alone.len(), 4);
    // A recorder that died in the middle of a chunk, and another file behind it.
    let cut = a.len() - 100;
    let spliced = [&a[..cut], &b[..]].concat();
    let file = open(&spliced).expect("a capture");
    assert_eq!(file.segments().len(), 2);
    assert_eq!(file.damage().len(), 1);
    assert_eq!(file.damage()[0].offset + file.damage()[0].len, cut as u64);
    assert_eq!(readable(&spliced).len(), 3 + 3);
    assert_eq!(readable(&spliced)[..3], alone[..3]);
    assert_eq!(streamed(&spliced).len(), 3 + 3);
    // Unfinished ones on both sides, and garbage.
    let garbage = vec![0xf5; 1000];
    let messy = [&garbage[..], &a, &garbage, &spliced, &garbage, &a, b"\xf5kta"].concat();
    assert_eq!(readable(&messy).len(), 4 + 6 + 4);
    assert_eq!(streamed(&messy).len(), 4 + 6 + 4);
    let file = open(&messy).expect("a capture");
    let damage: Vec<(u64, u64)> = file.damage().iter().map(|d| (d.offset, d.len)).collect();
    let (first, splice) = (1000 + a.len() as u64, 2000 + a.len() as u64);
    let block = blocks(&a).last().map_or(0, |b| b.at) as u64;
    let end = splice + spliced.len() as u64;
    let expected = [
        (0, 1000),
        (first, 1000),
        (splice + block, cut as u64 - block),
        (end, 1000),
        (messy.len() as u64 - 4, 4),
    ];
    assert_eq!(damage, expected);
}

#[test]
fn flipped_bit_costs_at_most_its_block() {
    let original = two_segments();
    let whole = readable(&original);
    assert_eq!(whole.len(), 11);
    let mut random = Random::new(300);
    for _ in 0..300 {
        let mut bytes = original.clone();
        let at = random.below(bytes.len() as u64);
        bytes[at as usize] ^= 1 << random.below(8);
        let untouched: Vec<_> =
            whole.iter().copied().filter(|c| !(c.offset..c.offset + c.len).contains(&at)).collect();
        assert_eq!(readable(&bytes), untouched, "byte {at}");
        // A stream cannot go back for the header's second copy.
        let Block { at: start, len, .. } =
            *blocks(&original).iter().rev().find(|b| b.at as u64 <= at).expect("a block");
        let hit_header = [0, original.len() - support::file(2, 5, 30, true).len()].contains(&start);
        if !hit_header {
            let expected: Vec<u64> = untouched.iter().map(|c| c.digest).collect();
            assert_eq!(streamed(&bytes), expected, "byte {at} of the block at {start} of {len}");
        }
    }
}

#[test]
fn cut_costs_only_what_is_behind_it() {
    let original = two_segments();
    let whole = readable(&original);
    let mut random = Random::new(301);
    for _ in 0..300 {
        let len = random.below(original.len() as u64);
        let kept: Vec<_> = whole.iter().copied().filter(|c| c.offset + c.len <= len).collect();
        let bytes = &original[..len as usize];
        assert_eq!(readable(bytes), kept, "{len} bytes");
        assert_eq!(streamed(bytes), kept.iter().map(|c| c.digest).collect::<Vec<_>>(), "{len} bytes");
    }
}

#[test]
fn mutations_with_right_checksums_never_panic() {
    let original = two_segments();
    let all = blocks(&original);
    let mut random = Random::new(302);
    for round in 0..3000 {
        let mut bytes = original.clone();
        let Block { at, len, .. } = all[random.below(all.len() as u64) as usize];
        for _ in 0..1 + random.below(3) {
            let place =
                if round % 3 == 0 { 40 + random.below(100) } else { 8 + random.below(len as u64 - 8) };
            let place = at + (place as usize).min(len - 1);
            bytes[place] = random.next() as u8;
        }
        // The lengths may be wrong now; checksums can only be corrected if they are not.
        if blocks_fit(&bytes, at, len) {
            fix_checksums(&mut bytes, at, len);
        }
        readable(&bytes);
        streamed(&bytes);
    }
}

fn blocks_fit(bytes: &[u8], at: usize, len: usize) -> bool {
    let number = |from: usize, n: usize| {
        bytes[at + from..at + from + n].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b))
    };
    number(16, 4).saturating_add(number(20, 8)).saturating_add(40) == len as u64
}

/// Mutations inside the compressed frame 0: they reach the decoders of directory, streams and lists.
#[test]
fn mutations_inside_frames_never_panic() {
    let original = support::file(1, 1, 60, false);
    let &Block { at, len, .. } = blocks(&original).iter().find(|b| b.kind == CHUNK).expect("a chunk");
    let summary = u32::from_le_bytes(original[at + 16..at + 20].try_into().expect("four bytes")) as usize;
    let body = &original[at + 40 + summary..at + len];
    let mut cursor = body;
    let raw = varint(&mut cursor) as usize;
    let packed = varint(&mut cursor) as usize;
    let frame = zstd::bulk::decompress(&cursor[..packed], raw).expect("frame 0");
    assert_eq!(packed, cursor.len(), "a small chunk is one frame");
    let mut random = Random::new(303);
    let mut readable_ones = 0;
    for _ in 0..20_000 {
        let mut frame = frame.clone();
        for _ in 0..1 + random.below(2) {
            let place = random.below(frame.len() as u64) as usize;
            frame[place] = if random.below(2) == 0 {
                random.next() as u8
            } else {
                frame[place] ^ (1 << random.below(8))
            };
        }
        if random.below(10) == 0 {
            frame.truncate(random.below(frame.len() as u64) as usize);
        }
        let packed = zstd::bulk::compress(&frame, 1).expect("compressed");
        let mut body = Vec::new();
        put(&mut body, frame.len() as u64);
        put(&mut body, packed.len() as u64);
        body.extend_from_slice(&packed);
        let mut bytes = original[..at + 40 + summary].to_vec();
        bytes[at + 20..at + 28].copy_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&body);
        let len = bytes.len() - at;
        fix_checksums(&mut bytes, at, len);
        let file = open(&bytes).expect("a capture");
        let entry = file.chunks().next().expect("the chunk");
        // Readers touch columns one by one: each must stand for itself.
        if let Ok(chunk) = file.read_chunk(entry) {
            readable_ones += usize::from(chunk.verify().is_ok());
            for table in chunk.tables() {
                for c in 0..table.schema().columns.len() as u16 {
                    let _ = table.column(c);
                }
            }
        }
    }
    // Most mutations hit values, not structure; if none were readable, the test would test the outer checks only.
    assert!(readable_ones > 1000, "{readable_ones}");
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[test]
fn other_versions_are_refused_with_their_number() {
    let original = support::file(1, 2, 20, true);
    let mut other = original.clone();
    for Block { at, len, .. } in blocks(&original) {
        other[at + 8] = 3;
        fix_checksums(&mut other, at, len);
    }
    let error = open(&other).expect_err("another version");
    assert!(matches!(error, FormatError::Version { offset: 0, expected: 2, found: 3 }), "{error}");
    assert_eq!(
        error.to_string(),
        "at byte 0: format version 0.3, this reader knows 0.2; read it with the ktape release that wrote it"
    );
    let error = StreamReader::new(&other[..]).next_item().expect_err("another version");
    assert!(matches!(error, FormatError::Version { found: 3, .. }), "{error}");
    // Behind a segment that can be read it is one damage.
    let both = [&original[..], &other].concat();
    let file = open(&both).expect("a capture");
    assert_eq!(file.segments().len(), 1);
    assert_eq!(file.damage().len(), 1);
    assert_eq!((file.damage()[0].offset, file.damage()[0].len), (original.len() as u64, other.len() as u64));
}

#[test]
fn blocks_of_unknown_kind_are_skipped() {
    let original = support::file(1, 3, 20, false);
    let Block { at, len, .. } = blocks(&original)[1];
    let mut unknown = original[at..at + len].to_vec();
    unknown[10..12].copy_from_slice(&77u16.to_le_bytes());
    fix_checksums(&mut unknown, 0, len);
    let bytes = [&original[..at], &unknown, &original[at..]].concat();
    let file = open(&bytes).expect("a capture");
    assert!(file.damage().is_empty());
    assert_eq!(file.chunks().count(), 3);
    assert_eq!(streamed(&bytes).len(), 3);
}

#[test]
fn files_without_blocks_are_refused() {
    for bytes in [&b""[..], b"hello", &[0; 100_000]] {
        assert!(matches!(open(bytes), Err(FormatError::NotACapture)));
        assert!(matches!(StreamReader::new(bytes).next_item(), Err(FormatError::NotACapture)));
    }
    assert!(matches!(CaptureFile::open("/nonexistent/x.ktape"), Err(FormatError::Io { .. })));
}

#[test]
fn compressed_captures_are_refused_by_the_name_of_their_format() {
    let capture = support::file(1, 2, 50, true);
    for (magic, name, command) in [
        (&b"\x1f\x8b\x08"[..], "gzip", "gunzip"),
        (b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"),
        (b"\xfd7zXZ\0", "xz", "xz -d"),
        (b"BZh", "bzip2", "bunzip2"),
        (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
        (b"PK\x03\x04", "zip", "unzip -p"),
    ] {
        // The blocks are there as they are: a compressor stores what it cannot make smaller.
        let bytes = [magic, &capture].concat();
        let expected =
            format!("not a ktape capture: it is {name}-compressed; decompress it first with `{command}`");
        assert_eq!(open(&bytes).unwrap_err().to_string(), expected);
        assert_eq!(StreamReader::new(&bytes[..]).next_item().unwrap_err().to_string(), expected);
        assert_eq!(open(magic).unwrap_err().to_string(), expected, "nothing but the magic");
    }
}

#[test]
fn stream_reports_damage_and_ends_of_segments() {
    let mut bytes = support::file(1, 3, 50, true);
    let Block { at, len, .. } = blocks(&bytes)[2];
    bytes[at + len / 2] ^= 4;
    let mut reader = StreamReader::new(&bytes[..]);
    let mut items = Vec::new();
    while let Some(item) = reader.next_item().expect("memory") {
        items.push(match item {
            StreamItem::Header(header) => format!("header {}", header.host),
            StreamItem::Chunk(_) => "chunk".into(),
            StreamItem::End { complete } => format!("end {complete}"),
            StreamItem::Damage(damage) => {
                format!("damage {} {}", damage.offset == at as u64, damage.len == len as u64)
            }
            other => format!("{other:?}"),
        });
    }
    assert_eq!(items, ["header host1", "chunk", "damage true true", "chunk", "end true"]);
}

#[test]
fn false_lengths_allocate_no_memory() {
    // A frame of a few bytes that says it becomes many.
    let mut bytes = support::file(1, 1, 20, false);
    let &Block { at, len, .. } = blocks(&bytes).iter().find(|b| b.kind == 1).expect("a header");
    bytes[at + 40..at + 44].copy_from_slice(&(15u32 << 20).to_le_bytes());
    fix_checksums(&mut bytes, at, len);
    let file = open(&bytes).expect("blocks");
    assert!(file.segments().is_empty());
    let FormatError::Limit { what: "body", found, .. } = file.damage()[0].cause else {
        // Within the ratio the frame's own length contradicts.
        assert!(
            file.damage()[0].to_string().contains("a zstd frame of 15728640 bytes"),
            "{}",
            file.damage()[0]
        );
        return;
    };
    assert_eq!(found, 15 << 20);
}
