use std::sync::Arc;

use capture_format::{
    ChunkBuilder, ColumnSchema, ColumnType, EncodeOptions, Encoder, FormatError, Header, Schema,
    SegmentWriter, TableId, TableRole, TableSchema,
};

const OPEN: TableId = TableId(1);
const PROCESS: TableId = TableId(2);

fn schema() -> Result<Schema, FormatError> {
    let column =
        |name: &str, ty| ColumnSchema { name: name.into(), ty, semantic: String::new(), doc: String::new() };
    let open = TableSchema {
        id: OPEN,
        name: "open".into(),
        role: TableRole::Event,
        columns: vec![
            column("time", ColumnType::U64),
            column("process", ColumnType::Ref(PROCESS)),
            column("path", ColumnType::Bytes),
        ],
        time: Some(0),
        duration: None,
        summary: vec![2],
    };
    let process = TableSchema {
        id: PROCESS,
        name: "process".into(),
        role: TableRole::Dictionary,
        columns: vec![column("pid", ColumnType::U64), column("name", ColumnType::Bytes)],
        time: None,
        duration: None,
        summary: vec![],
    };
    Schema::new(vec![open, process])
}

/// Two chunks with one event each.
fn write() -> Result<Vec<u8>, FormatError> {
    let schema = Arc::new(schema()?);
    let header = Header { host: "web-1".into(), schema: schema.clone(), ..Header::default() };
    let mut writer = SegmentWriter::new(Vec::new(), &header)?;
    let mut encoder = Encoder::new(EncodeOptions::default())?;
    let mut chunk = ChunkBuilder::new(schema);
    for (time, path) in [(1_000, "/etc/passwd"), (2_000, "/var/log/syslog")] {
        let name = chunk.intern(b"cat");
        let process = chunk.table(PROCESS);
        process.push_u64(0, 4711);
        process.push_bytes(1, name);
        let process_row = process.end_row();

        let path = chunk.intern(path.as_bytes());
        let open = chunk.table(OPEN);
        open.push_u64(0, time);
        open.push_ref(1, process_row);
        open.push_bytes(2, path);
        open.end_row();

        writer.write_block(&mut encoder.encode(&chunk)?)?;
        chunk.clear();
    }
    writer.finish()
}
