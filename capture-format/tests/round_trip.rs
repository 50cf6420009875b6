//! Round trips: what a writer writes, a reader reads.

mod support;

use std::sync::Arc;

use capture_format::{
    Chunk, ChunkBuilder, ColumnLayout, ColumnSchema, ColumnType, EncodeOptions, EncodedBlock, Encoder,
    FormatError, Header, MetadataKey, MetadataRecord, Schema, SegmentWriter, StrId, SummaryValue,
    SummaryValues, TableId, TableRole, TableSchema, verify,
};
use support::{CGROUP, EXIT, PROCESS, Random, SYSCALL, TASK, digest, encoder, fill, header, open, schema};

/// Writes one chunk to memory and reads it again.
fn through_file(schema: &Arc<Schema>, mut block: EncodedBlock) -> Chunk {
    let header = Header { schema: schema.clone(), ..Header::default() };
    let mut writer = SegmentWriter::new(Vec::new(), &header).expect("a header");
    writer.write_block(&mut block).expect("to memory");
    let file = open(&writer.finish().expect("to memory")).expect("a capture");
    let chunk = file.read_chunk(file.chunks().next().expect("one chunk")).expect("a readable chunk");
    chunk.verify().expect("readable columns");
    chunk
}

fn random_schema(random: &mut Random) -> Arc<Schema> {
    let dictionary = TableSchema {
        id: TableId(900),
        name: "dictionary".into(),
        role: TableRole::Dictionary,
        columns: vec![column(0, ColumnType::Bytes), column(1, ColumnType::I64)],
        time: None,
        duration: None,
        summary: vec![0],
    };
    let mut tables = vec![dictionary];
    for t in 0..1 + random.below(3) {
        let mut columns = vec![column(0, ColumnType::U64), column(1, ColumnType::U64)];
        for c in 2..2 + random.below(6) {
            let ty = match random.below(6) {
                0 => ColumnType::U64,
                1 => ColumnType::I64,
                2 => ColumnType::Bytes,
                3 => ColumnType::Ref(TableId(900)),
                4 => ColumnType::U64List { key: 1 },
                _ => ColumnType::BytesList { key: 1 },
            };
            columns.push(column(c, ty));
        }
        tables.push(TableSchema {
            id: TableId(t as u16),
            name: format!("t{t}"),
            role: TableRole::Event,
            columns,
            time: Some(0),
            duration: None,
            summary: vec![1],
        });
    }
    Arc::new(Schema::new(tables).expect("a schema"))
}

fn column(number: u64, ty: ColumnType) -> ColumnSchema {
    ColumnSchema { name: format!("c{number}"), ty, semantic: String::new(), doc: String::new() }
}

/// Numbers of some shape: constant, small, ascending, few distinct, negative, anything.
fn number(random: &mut Random, shape: u64, row: u64) -> u64 {
    match shape % 7 {
        0 => shape,
        1 => random.below(200),
        2 => shape.wrapping_add(row * 1000 + random.below(1 << (shape % 40))),
        3 => shape.wrapping_mul(1 + random.below(5)),
        4 => (random.below(300) as i64 - 150) as u64,
        5 => random.next(),
        _ => random.skewed(),
    }
}

fn random_rows(random: &mut Random, schema: &Arc<Schema>, rows: u64) -> ChunkBuilder {
    let mut builder = ChunkBuilder::new(schema.clone());
    let strings: Vec<StrId> = (0..1 + random.below(50))
        .map(|i| {
            let len = random.below(40) as usize;
            let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
            builder.intern(if i == 0 { b"" } else { &bytes })
        })
        .collect();
    let string = |random: &mut Random| strings[random.below(strings.len() as u64) as usize];
    let names = 1 + random.below(20);
    for _ in 0..names {
        let name = string(random);
        builder.table(TableId(900)).push_bytes(0, name);
        builder.table(TableId(900)).push_i64(1, random.next() as i64);
        builder.table(TableId(900)).end_row();
    }
    for (t, table) in schema.tables().iter().enumerate().skip(1) {
        let shapes: Vec<u64> = table.columns.iter().map(|_| random.next()).collect();
        for row in 0..random.below(rows + 1) {
            for (c, column) in table.columns.iter().enumerate() {
                let shape = shapes[c];
                match column.ty {
                    ColumnType::U64 if c == 1 => {
                        builder.table_at(t).push_u64(c, random.below(1 + shape % 30));
                    }
                    ColumnType::U64 => builder.table_at(t).push_u64(c, number(random, shape, row)),
                    ColumnType::I64 => builder.table_at(t).push_i64(c, number(random, shape, row) as i64),
                    ColumnType::Bytes => {
                        let name = string(random);
                        builder.table_at(t).push_bytes(c, name);
                    }
                    ColumnType::Ref(_) => builder.table_at(t).push_ref(c, random.below(names) as u32),
                    ColumnType::U64List { .. } => {
                        let list: Vec<u64> =
                            (0..random.below(1 + shape % 8)).map(|_| number(random, shape, row)).collect();
                        builder.table_at(t).push_list_u64(c, &list);
                    }
                    ColumnType::BytesList { .. } => {
                        let list: Vec<StrId> =
                            (0..random.below(1 + shape % 3)).map(|_| string(random)).collect();
                        builder.table_at(t).push_list_bytes(c, &list);
                    }
                }
            }
            builder.table_at(t).end_row();
        }
    }
    builder
}

#[test]
fn random_values_survive_a_round_trip() {
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let schema = random_schema(&mut random);
        let rows = [3, 40, 400, 3000][seed as usize % 4];
        let builder = random_rows(&mut random, &schema, rows);
        let options = EncodeOptions {
            level: 1 + (seed % 3) as i32,
            layout: if seed % 5 == 0 { ColumnLayout::Plain } else { ColumnLayout::Grouped },
        };
        let block = Encoder::new(options).expect("zstd").encode(&builder).expect("a chunk");
        let read = through_file(&schema, block);
        let direct = Chunk::from_builder(builder).expect("a chunk");
        assert_eq!(digest(&read), digest(&direct), "seed {seed}");
        assert_eq!(read.summary(), direct.summary(), "seed {seed}");
    }
}

#[test]
fn values_strings_and_summary_survive_a_round_trip() {
    let schema = schema();
    let mut builder = ChunkBuilder::new(schema.clone());
    fill(&mut builder, &mut Random::new(5), 7_000_000_000, 1000, 2);
    let odd = builder.intern(b"\xff\n");
    let row = builder.table(SYSCALL);
    row.push_u64(0, 9_000_000_000);
    row.push_u64(1, 3);
    row.push_ref(2, 5);
    row.push_u64(3, 0);
    row.push_u64(4, 8_500_000_000);
    row.push_u64(5, 0x1_0101);
    row.push_i64(6, -13);
    row.push_list_u64(7, &[1, u64::MAX]);
    row.push_list_bytes(8, &[odd, StrId::EMPTY]);
    row.push_ref(9, 0);
    assert_eq!(row.end_row(), 1000);
    builder.set_wall_offset(-5);

    let chunk = through_file(&schema, encoder().encode(&builder).expect("a chunk"));
    let table = chunk.table(SYSCALL).expect("syscalls");
    assert_eq!(table.rows(), 1001);
    assert_eq!(table.u64(0).expect("times")[1000], 9_000_000_000);
    assert_eq!(table.i64(6).expect("results")[1000], -13);
    assert_eq!(table.list_u64(7).expect("arguments").get(1000), [1, u64::MAX]);
    let strings: Vec<&[u8]> =
        table.list_bytes(8).expect("strings").get(1000).iter().map(|&id| chunk.str(id)).collect();
    assert_eq!(strings, [&b"\xff\n"[..], b""]);
    let task = table.refs(2).expect("tasks")[1000] as usize;
    let tasks = chunk.table(TASK).expect("tasks");
    let process = tasks.refs(0).expect("processes")[task] as usize;
    let processes = chunk.table(PROCESS).expect("processes");
    assert_eq!(chunk.str(processes.bytes(4).expect("names")[process]), b"sh");
    assert!(matches!(table.i64(0), Err(FormatError::ColumnType { column: 0, .. })));
    assert!(matches!(table.u64(99), Err(FormatError::ColumnType { column: 99, found: None, .. })));

    let summary = chunk.summary();
    assert_eq!((summary.start_min, summary.end_max, summary.wall_offset), (500_000_000, 9_000_000_000, -5));
    assert_eq!((summary.rows(SYSCALL), summary.rows(CGROUP), summary.rows(TableId(77))), (1001, 2, 0));
    let SummaryValues::Kept(values) = summary.values(SYSCALL, 5) else { panic!("numbers are kept") };
    let counts: Vec<(SummaryValue<'_>, u64)> = values.collect();
    assert_eq!(counts.last(), Some(&(SummaryValue::U64(0x1_0101), 1)));
    assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), 1001);
    // Each syscall and each exit names one container through its task.
    let SummaryValues::Kept(values) = summary.values(CGROUP, 5) else { panic!("containers are kept") };
    let counts: Vec<(SummaryValue<'_>, u64)> = values.collect();
    assert_eq!(counts.len(), 2);
    assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), u64::from(1001 + summary.rows(EXIT)));
    assert!(matches!(summary.values(SYSCALL, 6), SummaryValues::NotKept));
    assert!(!summary.values(SYSCALL, 5).may_contain(|v| v == SummaryValue::U64(77)));
}

#[test]
fn summary_omits_columns_with_too_many_values() {
    let schema = schema();
    let mut builder = ChunkBuilder::new(schema.clone());
    fill(&mut builder, &mut Random::new(5), 0, 1, 1);
    for nr in 0..2000 {
        let row = builder.table(SYSCALL);
        [(0, 1), (1, 0), (3, 0), (4, 0), (5, nr)].iter().for_each(|&(c, v)| row.push_u64(c, v));
        row.push_ref(2, 0);
        row.push_i64(6, 0);
        row.push_list_u64(7, &[nr]);
        row.push_list_bytes(8, &[]);
        row.push_ref(9, 0);
        row.end_row();
    }
    let chunk = through_file(&schema, encoder().encode(&builder).expect("a chunk"));
    assert!(matches!(chunk.summary().values(SYSCALL, 5), SummaryValues::TooMany));
    let lists = chunk.table(SYSCALL).expect("syscalls").list_u64(7).expect("lists");
    assert!((0..2000).all(|nr| lists.get(nr as usize + 1) == [nr]));
}

#[test]
fn incomplete_rows_and_dangling_references_are_refused() {
    let schema = schema();
    let mut builder = ChunkBuilder::new(schema.clone());
    fill(&mut builder, &mut Random::new(1), 0, 10, 1);
    builder.table(EXIT).push_u64(0, 1);
    let error = encoder().encode(&builder).expect_err("a value without a row");
    assert!(matches!(error, FormatError::Column { table: EXIT, column: 0, .. }), "{error}");

    let mut builder = ChunkBuilder::new(schema);
    fill(&mut builder, &mut Random::new(1), 0, 10, 1);
    let row = builder.table(TASK);
    row.push_ref(0, 3);
    [1, 3].iter().for_each(|&c| row.push_u64(c, 0));
    [2, 4].iter().for_each(|&c| row.push_bytes(c, StrId::EMPTY));
    row.push_ref(5, 0);
    row.end_row();
    let error = encoder().encode(&builder).expect_err("process 3 of 3");
    assert_eq!(error.to_string(), "table 0x101, column 0: reference is 3, expected below 3");
    assert!(Chunk::from_builder(builder).is_err());
}

#[test]
fn chunk_of_ten_events_is_below_800_bytes() {
    let schema = schema();
    let mut builder = ChunkBuilder::new(schema);
    fill(&mut builder, &mut Random::new(3), 1_000_000_000_000, 10, 1);
    let block = encoder().encode(&builder).expect("a chunk");
    let per_event = block.size() / 10;
    println!("{} bytes for 10 events", block.size());
    assert!(block.size() < 800, "{per_event} bytes per event");
    // One frame: no column has its own.
    assert!(block.columns.iter().all(|c| c.packed == 0));
}

#[test]
fn a_cleared_builder_makes_the_same_chunk() {
    let schema = schema();
    let mut builder = ChunkBuilder::new(schema.clone());
    fill(&mut builder, &mut Random::new(8), 0, 5000, 9);
    builder.clear();
    assert!(builder.is_empty());
    fill(&mut builder, &mut Random::new(9), 0, 500, 2);
    let mut fresh = ChunkBuilder::new(schema);
    fill(&mut fresh, &mut Random::new(9), 0, 500, 2);
    let (mut one, mut two) = (encoder(), encoder());
    let again = one.encode(&builder).expect("a chunk");
    assert_eq!(again.summary, two.encode(&fresh).expect("a chunk").summary);
    assert_eq!(
        digest(&Chunk::from_builder(builder).expect("a chunk")),
        digest(&Chunk::from_builder(fresh).expect("a chunk"))
    );
}

#[test]
fn header_and_late_metadata_survive_a_round_trip() {
    let schema = schema();
    let header = header(&schema, 3);
    let mut writer = SegmentWriter::new(Vec::new(), &header).expect("a header");
    let mut builder = ChunkBuilder::new(schema);
    fill(&mut builder, &mut Random::new(3), 0, 10, 1);
    writer.write_block(&mut encoder().encode(&builder).expect("a chunk")).expect("to memory");
    let key = MetadataKey { boot_id: header.boot_id, cgroup: 4000, birth: 0 };
    let record = |name: &str| MetadataRecord { key, values: vec![("name".into(), name.into())] };
    writer.write_metadata(&[record("early")]).expect("to memory");
    writer.write_metadata(&[record("web")]).expect("to memory");
    let unfinished = writer.get_ref().clone();
    let finished = writer.finish().expect("to memory");
    for (bytes, complete) in [(finished, true), (unfinished, false)] {
        let file = open(&bytes).expect("a capture");
        let segment = &file.segments()[0];
        assert_eq!(*segment.header, header);
        assert_eq!((segment.complete, segment.offset, segment.len), (complete, 0, bytes.len() as u64));
        assert_eq!(file.metadata().get(&key, "name"), Some("web"));
        assert_eq!(file.metadata().get(&key, "image"), None);
        assert!(file.damage().is_empty());
    }
}

#[test]
fn large_segment_has_several_indexes() {
    let dir = std::env::temp_dir().join(format!("ktape-format-{}", std::process::id()));
    let schema = schema();
    let mut writer = SegmentWriter::new(Vec::new(), &header(&schema, 1)).expect("a header");
    let mut builder = ChunkBuilder::new(schema);
    let mut encoder = encoder();
    let key = MetadataKey { boot_id: [1; 16], cgroup: 1, birth: 1 };
    const CHUNKS: u64 = 9000;
    for i in 0..CHUNKS {
        builder.clear();
        fill(&mut builder, &mut Random::new(i), i * 1_000_000_000, 2, 1);
        writer.write_block(&mut encoder.encode(&builder).expect("a chunk")).expect("to memory");
        if i % 3000 == 0 {
            let values = vec![("n".into(), i.to_string())];
            writer.write_metadata(&[MetadataRecord { key, values }]).expect("to memory");
        }
    }
    let bytes = writer.finish().expect("to memory");
    let indexes = support::blocks(&bytes).iter().filter(|b| b.kind == 4).count();
    assert!(indexes > 1, "{indexes}");
    let file = open(&bytes).expect("a capture");
    assert_eq!(file.chunks().count() as u64, CHUNKS);
    assert_eq!(file.metadata().get(&key, "n"), Some("6000"));
    let last = file.read_chunk(file.chunks().last().expect("chunks")).expect("a chunk");
    assert!(last.summary().end_max >= (CHUNKS - 1) * 1_000_000_000);
    std::fs::write(&dir, &bytes).expect("a temporary file");
    let found = verify(&dir);
    std::fs::remove_file(&dir).expect("the temporary file");
    let found = found.expect("a capture");
    assert_eq!((found.chunks, found.segments, found.unfinished, found.damage.len()), (CHUNKS, 1, 0, 0));
    assert_eq!(
        found.events,
        file.chunks().map(|c| u64::from(c.summary.rows(SYSCALL) + c.summary.rows(EXIT))).sum()
    );
}

#[test]
fn chunks_are_read_on_several_threads() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Chunk>();
    is_send_and_sync::<capture_format::CaptureFile>();
    is_send_and_sync::<ChunkBuilder>();
    let file = open(&support::file(1, 8, 300, true)).expect("a capture");
    let one: Vec<u64> = file.chunks().map(|e| digest(&file.read_chunk(e).expect("a chunk"))).collect();
    let many = std::thread::scope(|scope| {
        let threads: Vec<_> =
            file.chunks().map(|e| scope.spawn(|| digest(&file.read_chunk(e).expect("a chunk")))).collect();
        threads.into_iter().map(|t| t.join().expect("a digest")).collect::<Vec<u64>>()
    });
    assert_eq!(one, many);
}
