//! Five thousand mutations of real captures, half of them with corrected checksums, in a process limited to 256 MiB: no panic,
//! no abort, no hang, and all chunks that were not touched are read. `KTAPE_SEED` repeats a run,
//! `KTAPE_MUTATIONS` makes it longer.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::blocks::repacked;
use support::{Block, Random, ReadableChunk, blocks, fix_checksums, readable, streamed};

/// Set in the process with limited memory.
const CHILD: &str = "KTAPE_MUTATION_CHILD";
/// Its memory, KiB.
const MEMORY_KIB: u32 = 256 << 10;
/// No mutation may take longer.
const MUTATION_TIMEOUT: Duration = Duration::from_secs(5);

const HEADER: u16 = 1;
const CHUNK: u16 = 2;

fn captures() -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    ["calls-0.1.ktape", "kinds-0.1.ktape", "killed-0.1.ktape"]
        .into_iter()
        .map(|name| dir.join(name))
        .map(|path| (path.clone(), std::fs::read(&path).expect("a committed capture")))
        .collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn no_mutation_harms_the_reader() {
    let mutations = number("KTAPE_MUTATIONS").unwrap_or(5000);
    if let Some(seed) = number(CHILD) {
        return mutate_all(seed, mutations);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seed = number("KTAPE_SEED").unwrap_or(now.as_nanos() as u64);
    eprintln!("KTAPE_SEED={seed}");
    let script = format!("ulimit -d {MEMORY_KIB} && exec \"$@\"");
    let own = std::env::current_exe().expect("the test's own path");
    let out = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(own)
        .args(["--exact", "no_mutation_harms_the_reader", "--nocapture", "--test-threads=1"])
        .env(CHILD, seed.to_string())
        .output()
        .expect("sh starts");
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "KTAPE_SEED={seed}: {}\n{said}", out.status);
    // That it was stopped by no limit, nor by itself.
    assert!(said.contains(&format!("{mutations} mutations")), "{said}");
}

fn mutate_all(seed: u64, mutations: u64) {
    let captures = captures();
    let whole: Vec<_> = captures.iter().map(|(_, bytes)| readable(bytes)).collect();
    assert!(whole.iter().all(|chunks| !chunks.is_empty()));
    let mut slowest = Duration::ZERO;
    for n in 0..mutations {
        let mut random = Random::new(seed.wrapping_add(n));
        let which = random.below(captures.len() as u64) as usize;
        let other = &captures[random.below(captures.len() as u64) as usize].1;
        let Mutant { bytes, kind, touched } = mutate(&captures[which].1, other, &mut random);
        let start = Instant::now();
        let found = readable(&bytes);
        let stream = streamed(&bytes);
        slowest = slowest.max(start.elapsed());
        let name = || format!("seed {seed}, mutation {n}: {kind} of {}", captures[which].0.display());
        assert!(start.elapsed() < MUTATION_TIMEOUT, "{}: {:?}", name(), start.elapsed());
        let Some((from, to)) = touched else { continue };
        for chunk in &whole[which] {
            let ReadableChunk { offset: at, len, digest } = *chunk;
            if (at + len <= from as u64 || at >= to as u64) && at + len <= bytes.len() as u64 {
                assert!(found.contains(chunk), "{}: the chunk at {at} is not read", name());
                assert!(stream.contains(&digest), "{}: the chunk at {at} is not in the stream", name());
            }
        }
    }
    println!("{mutations} mutations of {} captures, the slowest took {slowest:?}", captures.len());
}

struct Mutant {
    bytes: Vec<u8>,
    kind: &'static str,
    /// The range of changed bytes; chunks outside of it must be readable. `None` if that does not hold: the header was
    /// touched, or later blocks were moved.
    touched: Option<(usize, usize)>,
}

fn mutate(whole: &[u8], other: &[u8], random: &mut Random) -> Mutant {
    let mut bytes = whole.to_vec();
    // The last block may be cut.
    let mut all = blocks(&padded(whole));
    all.retain(|block| block.at + block.len <= whole.len());
    let Block { at, kind, len } = all[random.below(all.len() as u64) as usize];
    // A changed header or index with right checksums can change everything that is read.
    let is_chunk = kind == CHUNK;
    let anywhere = random.below(bytes.len() as u64) as usize;
    let in_header =
        |place: usize| all.iter().any(|b| b.kind == HEADER && (b.at..b.at + b.len).contains(&place));
    match random.below(12) {
        0 => {
            bytes[anywhere] ^= 1 << random.below(8);
            let touched = (!in_header(anywhere)).then_some((anywhere, anywhere + 1));
            Mutant { bytes, kind: "a flipped bit", touched }
        }
        1 => {
            let end = (anywhere + 1 + random.below(200) as usize).min(bytes.len());
            bytes[anywhere..end].iter_mut().for_each(|byte| *byte = random.next() as u8);
            let touched = !in_header(anywhere) && !in_header(end - 1);
            Mutant { bytes, kind: "random bytes", touched: touched.then_some((anywhere, end)) }
        }
        2 => {
            bytes.truncate(anywhere);
            let touched = (!in_header(anywhere)).then_some((anywhere, whole.len()));
            Mutant { bytes, kind: "a cut", touched }
        }
        3 => {
            let from = random.below(other.len() as u64) as usize;
            let end = (from + random.below(20_000) as usize).min(other.len());
            bytes.splice(anywhere..anywhere, other[from..end].iter().copied());
            Mutant { bytes, kind: "a splice", touched: None }
        }
        4 => {
            let end = (anywhere + random.below(5000) as usize).min(bytes.len());
            bytes.drain(anywhere..end);
            Mutant { bytes, kind: "a gap", touched: None }
        }
        5 => {
            let block = bytes[at..at + len].to_vec();
            (0..random.below(200)).for_each(|_| bytes.extend_from_slice(&block));
            Mutant { bytes, kind: "a block again and again", touched: None }
        }
        6 => {
            // The lengths, and the checksum of the header that has them.
            let (field, size) = if random.below(2) == 0 { (16, 4) } else { (20, 8) };
            let value = random.skewed().to_le_bytes();
            bytes[at + field..at + field + size].copy_from_slice(&value[..size]);
            let crc = crc32fast::hash(&bytes[at..at + 36]).to_le_bytes();
            bytes[at + 36..at + 40].copy_from_slice(&crc);
            Mutant { bytes, kind: "a length", touched: is_chunk.then_some((at, at + len)) }
        }
        7 | 8 => {
            for _ in 0..1 + random.below(4) {
                let place = at + 40 + random.below((len - 40).max(1) as u64) as usize;
                if place < at + len {
                    bytes[place] = random.next() as u8;
                }
            }
            fix_checksums(&mut bytes, at, len);
            Mutant {
                bytes,
                kind: "bytes with corrected checksums",
                touched: is_chunk.then_some((at, at + len)),
            }
        }
        _ => {
            let bomb = random.below(8) == 0;
            let block = repacked(&bytes[at..at + len], |raw| change(raw, bomb, random));
            let same = block.len() == len;
            bytes.splice(at..at + len, block);
            // What is behind has moved, and no index knows.
            let touched = (is_chunk && same).then_some((at, at + len));
            Mutant { bytes, kind: if bomb { "a bomb" } else { "a frame" }, touched }
        }
    }
}

/// With enough behind it that the length of the last block can be looked at.
fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len() + 40, 0);
    padded
}

/// Changes what is in a frame, or makes a bomb of it.
fn change(raw: &mut Vec<u8>, bomb: bool, random: &mut Random) {
    if bomb {
        *raw = vec![random.below(3) as u8; 1 << (10 + random.below(16))];
        return;
    }
    if raw.is_empty() {
        return;
    }
    for _ in 0..1 + random.below(6) {
        let place = random.below(raw.len() as u64) as usize;
        match random.below(3) {
            0 => raw[place] = random.next() as u8,
            1 => raw[place] ^= 1 << random.below(8),
            _ => raw[place] = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
        }
    }
    if random.below(8) == 0 {
        raw.truncate(random.below(raw.len() as u64) as usize);
    }
}
