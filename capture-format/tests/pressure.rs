//! Chunks that are compressed less: marked, readable, and nothing of it stays.

mod support;

use capture_format::{
    ChunkBuilder, EncodedBlock, Encoder, Pressure, SegmentWriter, StreamItem, StreamReader,
};
use support::{Random, digest, encoder, fill, header, open, schema};

const EVENTS: u64 = 20_000;

fn filled() -> ChunkBuilder {
    let mut builder = ChunkBuilder::new(schema());
    fill(&mut builder, &mut Random::new(7), 1_000_000_000, EVENTS, 5);
    builder
}

fn encode_under(encoder: &mut Encoder, pressure: Pressure, builder: &ChunkBuilder) -> EncodedBlock {
    encoder.set_pressure(pressure).expect("a level of zstd");
    encoder.encode(builder).expect("a chunk")
}

/// A file of three chunks with the same rows, of which the second one is compressed less.
fn file() -> (Vec<u8>, [usize; 3]) {
    let (builder, mut encoder) = (filled(), encoder());
    let mut writer = SegmentWriter::new(Vec::new(), &header(builder.schema(), 1)).expect("a header");
    let sizes = [Pressure::NONE, Pressure::QUEUE.and(Pressure::BUFFERS), Pressure::NONE].map(|pressure| {
        let mut block = encode_under(&mut encoder, pressure, &builder);
        writer.write_block(&mut block).expect("to memory");
        block.size()
    });
    (writer.finish().expect("to memory"), sizes)
}

#[test]
fn chunks_that_are_compressed_less_are_larger_marked_and_read_the_same() {
    let (bytes, sizes) = file();
    assert!(sizes[1] > sizes[0] + sizes[0] / 20, "{sizes:?}");
    assert_eq!(sizes[2], sizes[0], "compressed as before the pressure");
    let file = open(&bytes).expect("a capture");
    let marks: Vec<Pressure> = file.chunks().map(|entry| entry.summary.pressure).collect();
    assert_eq!(marks, [Pressure::NONE, Pressure::QUEUE.and(Pressure::BUFFERS), Pressure::NONE]);
    let digests: Vec<u64> =
        file.chunks().map(|entry| digest(&file.read_chunk(entry).expect("a chunk"))).collect();
    assert_eq!(digests, [digests[0]; 3]);
}

#[test]
fn the_mark_survives_a_recorder_that_is_killed() {
    let (bytes, sizes) = file();
    let whole = open(&bytes).expect("a capture");
    let second = whole.chunks().nth(1).expect("three chunks").offset as usize;
    let cut = open(&bytes[..second + sizes[1]]).expect("a capture without index");
    assert!(!cut.segments()[0].complete);
    let marks: Vec<bool> = cut.chunks().map(|entry| entry.summary.pressure.has(Pressure::QUEUE)).collect();
    assert_eq!(marks, [false, true]);
    let mut reader = StreamReader::new(&bytes[..]);
    let mut streamed = Vec::new();
    while let Some(item) = reader.next_item().expect("a capture") {
        if let StreamItem::Chunk(chunk) = item {
            streamed.push(chunk.summary().pressure.has(Pressure::BUFFERS));
        }
    }
    assert_eq!(streamed, [false, true, false]);
}

#[test]
fn reasons_add_up() {
    let both = Pressure::QUEUE.and(Pressure::BUFFERS);
    assert!(both.has(Pressure::QUEUE) && both.has(Pressure::BUFFERS) && !both.is_none());
    assert!(!Pressure::QUEUE.has(Pressure::BUFFERS) && Pressure::default().is_none());
}
