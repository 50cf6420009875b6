//! Files made to harm their reader: intact by every checksum, small, and expensive if believed.

mod support;

use std::{sync::Arc, time::Duration, time::Instant};

use capture_format::{
    Chunk, ChunkBuilder, ColumnSchema, ColumnType, FormatError, Header, MetadataKey, MetadataRecord, Schema,
    SegmentWriter, TableId, TableRole, TableSchema,
};
use support::{Random, open};

fn column(name: String, ty: ColumnType) -> ColumnSchema {
    ColumnSchema { name, ty, semantic: String::new(), doc: String::new() }
}

fn table(id: u16, role: TableRole, columns: Vec<ColumnSchema>) -> TableSchema {
    TableSchema {
        id: TableId(id),
        name: format!("t{id}"),
        role,
        columns,
        time: None,
        duration: None,
        summary: Vec::new(),
    }
}

fn refused_for_memory(bytes: &[u8]) {
    let error = match open(bytes) {
        Ok(file) => {
            panic!("{} segments and {} places of damage are kept", file.segments().len(), file.damage().len())
        }
        Err(error) => error,
    };
    let FormatError::Limit { what, limit, .. } = error else { panic!("{error}") };
    assert_eq!((what, limit), ("memory for the index", 256 << 20));
}

/// 64 dictionaries, each of which refers to the next one twice: 2^64 paths.
#[test]
fn a_schema_with_countless_paths_is_summarised_at_once() {
    const DEPTH: u16 = 64;
    let dictionary = |id: u16| {
        let to = ColumnType::Ref(TableId(id + 1));
        let columns =
            if id < DEPTH { vec![column("a".into(), to), column("b".into(), to)] } else { Vec::new() };
        table(id, TableRole::Dictionary, columns)
    };
    let mut tables: Vec<TableSchema> = (1..=DEPTH).map(dictionary).collect();
    tables[usize::from(DEPTH) - 1].columns.push(column("name".into(), ColumnType::Bytes));
    tables[usize::from(DEPTH) - 1].summary.push(0);
    let references = [1, DEPTH, 2].map(|to| column(format!("to{to}"), ColumnType::Ref(TableId(to))));
    tables.push(table(1000, TableRole::Event, references.into()));
    let schema = Arc::new(Schema::new(tables).expect("a schema"));
    let mut builder = ChunkBuilder::new(schema);
    let name = builder.intern(b"last");
    builder.table(TableId(DEPTH)).push_bytes(0, name);
    for id in (1..=DEPTH).rev() {
        let row = builder.table(TableId(id));
        if id < DEPTH {
            row.push_ref(0, 0);
            row.push_ref(1, 0);
        }
        row.end_row();
    }
    let event = builder.table(TableId(1000));
    (0..3).for_each(|c| event.push_ref(c, 0));
    event.end_row();
    let start = Instant::now();
    let chunk = Chunk::from_builder(builder).expect("a chunk");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // Each way counts, up to what the counter holds; the second and third column lead nowhere new.
    let capture_format::SummaryValues::Kept(mut values) = chunk.summary().values(TableId(DEPTH), 0) else {
        panic!("one value is kept")
    };
    assert_eq!(values.next().map(|(_, count)| count), Some(u64::from(u32::MAX)));
}

#[test]
fn metadata_counts_as_memory() {
    let key = |cgroup| MetadataKey { boot_id: [0; 16], cgroup, birth: 0 };
    let mut writer = SegmentWriter::new(Vec::new(), &Header::default()).expect("a header");
    // Compressible, but not so much that the limit on the ratio refuses it.
    let mut random = Random::new(1);
    let value: String = (0..256).map(|_| format!("{:016x}{}", random.next(), "x".repeat(4096))).collect();
    for cgroup in 0..260 {
        let values = vec![("name".into(), value.clone())];
        writer.write_metadata(&[MetadataRecord { key: key(cgroup), values }]).expect("to memory");
    }
    let unfinished = writer.get_ref().clone();
    refused_for_memory(&unfinished);
    let finished = writer.finish().expect("to memory");
    assert!(finished.len() < 4 << 20, "{}", finished.len());
    refused_for_memory(&finished);
}

#[test]
fn lookups_of_schemas_count_as_memory() {
    // One table with the highest id: a few bytes of schema, 128 KiB of lookup. Two that take turns are not shared.
    let schemas = ["a", "b"].map(|name| {
        let tables = vec![TableSchema { name: name.into(), ..table(u16::MAX, TableRole::Event, Vec::new()) }];
        Arc::new(Schema::new(tables).expect("a schema"))
    });
    let mut bytes = Vec::new();
    for schema in schemas.iter().cycle().take(2100) {
        let header = Header { schema: schema.clone(), ..Header::default() };
        let writer = SegmentWriter::new(Vec::new(), &header).expect("a header");
        bytes.extend_from_slice(writer.get_ref());
    }
    assert!(bytes.len() < 1 << 20, "{}", bytes.len());
    refused_for_memory(&bytes);
}

#[test]
fn damage_counts_as_memory() {
    // Chunks of a segment without a header, as small as a block can be.
    let mut block = support::file(1, 1, 1, false);
    let &support::Block { at, len, .. } =
        support::blocks(&block).iter().find(|b| b.kind == 1).expect("a header");
    block.truncate(at + 40);
    assert!(len > 40);
    block[at + 10] = 2;
    block[at + 16..at + 36].fill(0);
    support::fix_checksums(&mut block, at, 40);
    let bytes = block.repeat(4 << 20);
    refused_for_memory(&bytes);
}
