//! Dictionaries that refer to themselves: each row to an earlier one, or to itself if there is none.

mod support;

use std::sync::Arc;

use capture_format::{
    Chunk, ChunkBuilder, ColumnSchema, ColumnType, CopyCache, Hidden, Schema, SegmentWriter, TableId,
    TableRole, TableSchema, copy_rows,
};
use support::{encoder, header, open};

const EVENT: TableId = TableId(1);
const PERSON: TableId = TableId(2);

/// Events about persons, with the type of the column that leads to a person's parent.
fn schema(parent: ColumnType) -> Arc<Schema> {
    let column = |(name, ty): (&str, ColumnType)| ColumnSchema {
        name: name.into(),
        ty,
        semantic: "u64".into(),
        doc: String::new(),
    };
    let table = |id, name: &str, role, columns: Vec<(&str, ColumnType)>, summary| TableSchema {
        id,
        name: name.into(),
        role,
        columns: columns.into_iter().map(column).collect(),
        time: None,
        duration: None,
        summary,
    };
    Arc::new(
        Schema::new(vec![
            table(EVENT, "event", TableRole::Event, vec![("who", ColumnType::Ref(PERSON))], vec![]),
            table(
                PERSON,
                "person",
                TableRole::Dictionary,
                vec![("name", ColumnType::Bytes), ("parent", parent)],
                vec![0],
            ),
        ])
        .expect("a schema"),
    )
}

fn own() -> Arc<Schema> {
    schema(ColumnType::Ref(PERSON))
}

fn person(builder: &mut ChunkBuilder, name: &str, parent: Option<u32>) -> u32 {
    let name = builder.intern(name.as_bytes());
    let own = builder.rows_at(1);
    let table = builder.table(PERSON);
    table.push_bytes(0, name);
    table.push_ref(1, parent.unwrap_or(own));
    table.end_row()
}

fn event(builder: &mut ChunkBuilder, who: u32) {
    let table = builder.table(EVENT);
    table.push_ref(0, who);
    table.end_row();
}

/// An event of each of these persons: their names and those of their ancestors.
fn lines(chunk: &Chunk) -> Vec<String> {
    let persons = chunk.table(PERSON).expect("persons");
    let (names, parents) = (persons.bytes(0).expect("names"), persons.refs(1).expect("parents"));
    let line = |who: &u32| {
        let mut line = Vec::new();
        let mut at = *who as usize;
        loop {
            line.push(String::from_utf8_lossy(chunk.str(names[at])).into_owned());
            match parents[at] as usize {
                parent if parent == at => return line.join(" "),
                parent => at = parent,
            }
        }
    };
    chunk.table(EVENT).expect("events").refs(0).expect("persons").iter().map(line).collect()
}

/// `c` with its parent `b` and its grandparent `a`, and another child of `b`.
fn family() -> Chunk {
    let mut builder = ChunkBuilder::new(own());
    let a = person(&mut builder, "a", None);
    person(&mut builder, "x", None);
    let b = person(&mut builder, "b", Some(a));
    let c = person(&mut builder, "c", Some(b));
    let d = person(&mut builder, "d", Some(b));
    [c, d, a].into_iter().for_each(|who| event(&mut builder, who));
    Chunk::from_builder(builder).expect("a chunk")
}

fn copy(source: &Chunk, rows: &[u32], cache: &mut CopyCache) -> Chunk {
    let mut target = ChunkBuilder::new(own());
    for row in rows {
        copy_rows(source, &mut target, EVENT, &[*row], cache).expect("copied");
    }
    Chunk::from_builder(target).expect("a chunk")
}

#[test]
fn rows_are_copied_with_the_rows_that_they_lead_to() {
    let source = family();
    let found = copy(&source, &[1, 0, 2], &mut CopyCache::new());
    assert_eq!(lines(&found), ["d b a", "c b a", "a"]);
    assert_eq!(found.table(PERSON).expect("persons").rows(), 4, "not x");
    // Equal rows of two chunks are one.
    let mut target = ChunkBuilder::new(own());
    let mut cache = CopyCache::new();
    for source in [family(), family()] {
        copy_rows(&source, &mut target, EVENT, &[0, 1], &mut cache).expect("copied");
    }
    let both = Chunk::from_builder(target).expect("a chunk");
    assert_eq!(lines(&both), ["c b a", "d b a", "c b a", "d b a"]);
    assert_eq!(both.table(PERSON).expect("persons").rows(), 4);
}

#[test]
fn hidden_references_and_rows_end_the_chain() {
    let source = family();
    let mut hidden = Hidden::new();
    // From c to b, and all of a.
    hidden.hide_columns(PERSON, 3, [1]);
    hidden.hide_row(PERSON, 0);
    hidden.mark(PERSON, 0, b"?");
    let mut cache = CopyCache::new();
    cache.hide(&source, hidden);
    assert_eq!(lines(&copy(&source, &[0, 1, 2], &mut cache)), ["c", "d b ?", "?"]);
}

#[test]
fn a_long_chain_is_copied_without_recursion() {
    const LENGTH: u32 = 100_000;
    let mut builder = ChunkBuilder::new(own());
    let mut last = person(&mut builder, "p", None);
    for _ in 1..LENGTH {
        last = person(&mut builder, "p", Some(last));
    }
    event(&mut builder, last);
    let source = Chunk::from_builder(builder).expect("a chunk");
    let found = copy(&source, &[0], &mut CopyCache::new());
    assert_eq!(found.table(PERSON).expect("persons").rows(), LENGTH as usize);
}

#[test]
fn own_references_do_not_count_in_the_summary() {
    let block = {
        let source = family();
        let mut target = ChunkBuilder::new(own());
        copy_rows(&source, &mut target, EVENT, &[0, 1, 2], &mut CopyCache::new()).expect("copied");
        encoder().encode(&target).expect("a chunk")
    };
    let mut counts = Vec::new();
    if let capture_format::SummaryValues::Kept(values) = block.summary.values(PERSON, 0) {
        values.for_each(|(value, count)| counts.push((format!("{value:?}"), count)));
    }
    let counts: Vec<u64> = counts.into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [1, 0, 1, 1], "a, b, c, d");
}

#[test]
fn references_to_later_rows_are_refused() {
    const EXPECTED: &str = "reference of a row to its own table is 1, expected at most its own number, 0";
    let mut builder = ChunkBuilder::new(own());
    person(&mut builder, "a", Some(1));
    person(&mut builder, "b", Some(0));
    let error = Chunk::from_builder(builder).expect_err("a cycle").to_string();
    assert!(error.contains(EXPECTED), "{error}");
    // In a file: numbers and references are encoded alike.
    let numbers = schema(ColumnType::U64);
    let mut builder = ChunkBuilder::new(Arc::clone(&numbers));
    for parent in [1, 0] {
        let table = builder.table(PERSON);
        table.push_bytes(0, capture_format::StrId::EMPTY);
        table.push_u64(1, parent);
        table.end_row();
    }
    event(&mut builder, 0);
    let mut block = encoder().encode(&builder).expect("a chunk");
    let mut writer = SegmentWriter::new(Vec::new(), &header(&own(), 1)).expect("a header");
    writer.write_block(&mut block).expect("written");
    let bytes = writer.finish().expect("a file");
    let file = open(&bytes).expect("a capture");
    let chunk = file.read_chunk(file.chunks().next().expect("a chunk")).expect("a chunk");
    let error = chunk.table(PERSON).expect("persons").refs(1).expect_err("a cycle").to_string();
    assert!(error.contains(EXPECTED), "{error}");
}
