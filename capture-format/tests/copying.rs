//! A copy of rows has exactly the strings and dictionary rows that they refer to.

mod support;

use capture_format::{
    Chunk, ChunkBuilder, CopyCache, FormatError, Hidden, Schema, TableId, copy_row, copy_rows, copy_string,
};
use support::{CGROUP, EXIT, PROCESS, Random, SYSCALL, TASK, digest, encoder, fill, schema};

fn chunk(seed: u64, events: u64, containers: u64) -> Chunk {
    let mut builder = ChunkBuilder::new(schema());
    fill(&mut builder, &mut Random::new(seed), seed * 1_000_000_000, events, containers);
    Chunk::from_builder(builder).expect("a chunk")
}

/// Time, result, arguments, strings, names of process and container: a row without numbers of its chunk.
type Row = (u64, i64, Vec<u64>, Vec<Vec<u8>>, Vec<u8>, Vec<u8>);

fn row(chunk: &Chunk, row: usize) -> Row {
    let table = chunk.table(SYSCALL).expect("syscalls");
    let task = table.refs(2).expect("tasks")[row] as usize;
    let tasks = chunk.table(TASK).expect("tasks");
    let process = tasks.refs(0).expect("processes")[task] as usize;
    let cgroup = tasks.refs(5).expect("cgroups")[task] as usize;
    let name = chunk.table(PROCESS).expect("processes").bytes(4).expect("names")[process];
    let container = chunk.table(CGROUP).expect("cgroups").bytes(4).expect("containers")[cgroup];
    let strings = table.list_bytes(8).expect("strings").get(row).iter().map(|&id| chunk.str(id).to_vec());
    (
        table.u64(0).expect("times")[row],
        table.i64(6).expect("results")[row],
        table.list_u64(7).expect("arguments").get(row).to_vec(),
        strings.collect(),
        chunk.str(name).to_vec(),
        chunk.str(container).to_vec(),
    )
}

#[test]
fn copy_of_two_chunks_shares_dictionary_rows() {
    let sources = [chunk(1, 300, 5), chunk(2, 200, 5)];
    let mut target = ChunkBuilder::new(schema());
    let mut cache = CopyCache::new();
    let mut expected = Vec::new();
    for source in &sources {
        let rows = [3, 17, 17, 150];
        copy_rows(source, &mut target, SYSCALL, &rows, &mut cache).expect("copied");
        expected.extend(rows.iter().map(|&r| row(source, r as usize)));
    }
    let strings = expected.iter().flat_map(|r| r.3.iter()).collect::<std::collections::HashSet<_>>().len();
    let copy = Chunk::from_builder(target).expect("a chunk");
    let found: Vec<_> = (0..8).map(|r| row(&copy, r)).collect();
    assert_eq!(found, expected);
    assert!(copy.table(EXIT).is_none());
    // Both sources have the same tasks, so they are there once, and only those that are used.
    let tasks = copy.table(TASK).expect("tasks").rows();
    let calls = copy.table(SYSCALL).expect("syscalls");
    let used = [2, 9].map(|column| calls.refs(column).expect("tasks"));
    let used: std::collections::HashSet<u32> = used.concat().into_iter().collect();
    assert_eq!(tasks, used.len());
    assert!(tasks <= 6);
    // Per container: path and id; per process: two names, parent, executable, user; and the calls' paths.
    let cgroups = copy.table(CGROUP).expect("cgroups").rows();
    assert!(copy.string_count().expect("strings") <= 1 + strings + 2 * cgroups + 3 * 2 + 2);
}

#[test]
fn copy_of_all_rows_equals_the_source() {
    let source = chunk(4, 2000, 3);
    let mut target = ChunkBuilder::new(schema());
    target.set_wall_offset(source.summary().wall_offset);
    let mut cache = CopyCache::new();
    for id in [SYSCALL, EXIT] {
        let rows: Vec<u32> = (0..source.table(id).expect("events").rows() as u32).collect();
        copy_rows(&source, &mut target, id, &rows, &mut cache).expect("copied");
    }
    let block = encoder().encode(&target).expect("a chunk");
    let copy = Chunk::from_builder(target).expect("a chunk");
    assert_eq!(copy.summary(), &block.summary);
    assert!((0..2000).all(|r| row(&copy, r) == row(&source, r)));
    let mut again = ChunkBuilder::new(schema());
    let mut cache = CopyCache::new();
    for id in [SYSCALL, EXIT] {
        let rows: Vec<u32> = (0..copy.table(id).expect("events").rows() as u32).collect();
        copy_rows(&copy, &mut again, id, &rows, &mut cache).expect("copied");
    }
    again.set_wall_offset(copy.summary().wall_offset);
    assert_eq!(digest(&Chunk::from_builder(again).expect("a chunk")), digest(&copy));
}

#[test]
fn missing_rows_tables_and_other_schemas_are_refused() {
    let source = chunk(1, 10, 1);
    let mut target = ChunkBuilder::new(schema());
    let mut cache = CopyCache::new();
    let error = copy_rows(&source, &mut target, SYSCALL, &[0, 10], &mut cache).expect_err("row 10 of 10");
    assert_eq!(error.to_string(), "row is 10, expected below 10");
    let error = copy_rows(&source, &mut target, TableId(5), &[0], &mut cache).expect_err("no such table");
    assert!(matches!(error, FormatError::Invalid { .. }));
    let mut other = ChunkBuilder::new(std::sync::Arc::default());
    let error = copy_rows(&source, &mut other, SYSCALL, &[0], &mut cache).expect_err("another schema");
    assert!(matches!(error, FormatError::SchemaMismatch));
}

#[test]
fn single_rows_and_strings_fit_a_schema_with_more_tables() {
    let source = chunk(1, 300, 5);
    let mut tables = schema().tables().to_vec();
    let mut more = tables[0].clone();
    (more.id, more.name) = (TableId(77), "more".to_owned());
    tables.push(more);
    let mut target = ChunkBuilder::new(std::sync::Arc::new(Schema::new(tables).expect("a schema")));
    let mut cache = CopyCache::new();
    let tasks = source.table(SYSCALL).expect("syscalls").refs(2).expect("tasks");
    let copied: Vec<u32> = tasks
        .iter()
        .map(|task| copy_row(&source, &mut target, TASK, *task, &mut cache).expect("copied"))
        .collect();
    let string = source.table(PROCESS).expect("processes").bytes(4).expect("names")[0];
    let own = copy_string(&source, &mut target, string, &mut cache).expect("copied");
    let copy = Chunk::from_builder(target).expect("a chunk");
    assert_eq!(copy.str(own), source.str(string));
    // Each task has the process that it had, and is there once.
    let name = |chunk: &Chunk, task: u32| {
        let process = chunk.table(TASK).expect("tasks").refs(0).expect("processes")[task as usize] as usize;
        chunk.str(chunk.table(PROCESS).expect("processes").bytes(4).expect("names")[process]).to_vec()
    };
    for (from, to) in tasks.iter().zip(&copied) {
        assert_eq!(name(&source, *from), name(&copy, *to));
    }
    let distinct = |rows: &[u32]| rows.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(copy.table(TASK).expect("tasks").rows(), distinct(&copied));
    let mut other = ChunkBuilder::new(std::sync::Arc::default());
    let error = copy_row(&source, &mut other, TASK, 0, &mut CopyCache::new()).expect_err("another schema");
    assert!(matches!(error, FormatError::SchemaMismatch));
}

#[test]
fn hidden_rows_and_columns_are_blank_even_after_the_target_was_cleared() {
    let source = chunk(1, 300, 5);
    let task = source.table(SYSCALL).expect("syscalls").refs(2).expect("tasks")[0];
    let secret = row(&source, 0);
    let hide = || {
        let mut hidden = Hidden::new();
        hidden.hide_row(TASK, task);
        hidden.hide_columns(SYSCALL, 0, [6]);
        hidden.mark(CGROUP, 4, b"?");
        hidden
    };
    let mut cache = CopyCache::new();
    cache.hide(&source, hide());
    let mut target = ChunkBuilder::new(schema());
    for _ in 0..2 {
        target.clear();
        cache.clear();
        copy_rows(&source, &mut target, SYSCALL, &[0, 1], &mut cache).expect("copied");
    }
    let copy = Chunk::from_builder(target).expect("a chunk");
    let (time, result, args, strings, name, container) = row(&copy, 0);
    assert_eq!((time, args, strings), (secret.0, secret.2, secret.3), "what is not hidden");
    assert_eq!((result, name.as_slice(), container.as_slice()), (0, &b""[..], &b"?"[..]));
    assert!(copy.table(TASK).expect("tasks").u64(1).expect("ids").contains(&0));
    // It is about this chunk: the same rows of another one are copied as they are.
    let other = chunk(2, 300, 5);
    let mut target = ChunkBuilder::new(schema());
    cache.clear();
    copy_rows(&other, &mut target, SYSCALL, &[0, 1], &mut cache).expect("copied");
    let copy = Chunk::from_builder(target).expect("a chunk");
    assert!((0..2).all(|r| row(&copy, r) == row(&other, r)));
}
