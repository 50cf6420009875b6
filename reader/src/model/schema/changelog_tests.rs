//! A changed schema needs an entry in the change log of the format: `docs/format-schema.txt` is a committed rendering of the
//! schema, and the newest entry of `docs/format-changes.md` names the digest of that file.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use super::*;

/// Set to `write`, it makes the test write the file instead of comparing with it.
const REGENERATE: &str = "KTAPE_FORMAT_SCHEMA";

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// All that a reader of old files has to know of a schema, one line for each table and column. Texts for people are left out:
/// they may change at any time.
fn rendered(schema: &Schema) -> String {
    let mut out = String::new();
    for table in schema.tables() {
        let role = match table.role {
            TableRole::Event => "event",
            TableRole::Dictionary => "dictionary",
        };
        // Writing to a string does not fail.
        let _ = write!(out, "table {:#05x} {} {role}", table.id.0, table.name);
        let name = |index: u16| table.columns[usize::from(index)].name.as_str();
        for (what, column) in [("time", table.time), ("duration", table.duration)] {
            if let Some(column) = column {
                let _ = write!(out, " {what}={}", name(column));
            }
        }
        if !table.summary.is_empty() {
            let names: Vec<&str> = table.summary.iter().map(|&column| name(column)).collect();
            let _ = write!(out, " summary={}", names.join(","));
        }
        out.push('\n');
        for column in &table.columns {
            let storage = match column.ty {
                ColumnType::U64 => "U64".to_owned(),
                ColumnType::I64 => "I64".to_owned(),
                ColumnType::Bytes => "Bytes".to_owned(),
                ColumnType::Ref(to) => format!("Ref({:#05x})", to.0),
                ColumnType::U64List { key } => format!("U64List(key={})", name(key)),
                ColumnType::BytesList { key } => format!("BytesList(key={})", name(key)),
            };
            let _ = writeln!(out, "    {} {storage} {}", column.name, column.semantic);
        }
    }
    out
}

/// FNV-1a, 64 bits: needs no dependency and is the same everywhere.
fn digest(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// The digest that the newest entry names: entries are headings, newest first, each with a line `Schema: DIGEST`.
fn newest_digest(changes: &str) -> Option<&str> {
    let entry = changes.split("\n### ").nth(1)?;
    let line = entry.lines().find_map(|line| line.strip_prefix("Schema: `"))?;
    line.split('`').next()
}

#[test]
fn changed_schema_has_an_entry_in_the_change_log() {
    let schema = rendered(&schema());
    let file = docs("format-schema.txt");
    if env::var_os(REGENERATE).is_some_and(|word| word == "write") {
        fs::write(&file, &schema).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    let digest = digest(&schema);
    let first = schema.lines().zip(committed.lines()).find(|(now, before)| now != before);
    assert!(
        schema == committed,
        "the schema of new files is not that of docs/format-schema.txt (first difference, new and committed: {first:?}): \
         run this test again with {REGENERATE}=write and add an entry with digest {digest} to docs/format-changes.md"
    );
    let changes = fs::read_to_string(docs("format-changes.md")).unwrap();
    assert_eq!(
        newest_digest(&changes),
        Some(digest.as_str()),
        "the newest entry of docs/format-changes.md does not name the digest of docs/format-schema.txt: \
         describe what changed in a new entry with the line \"Schema: `{digest}`\""
    );
}

#[test]
fn rendering_shows_each_property_of_a_schema() {
    let column = |name: &str, ty, semantic: &str| ColumnSchema {
        name: name.into(),
        ty,
        semantic: semantic.into(),
        doc: "for people".into(),
    };
    let event = TableSchema {
        id: TableId(1),
        name: "call".into(),
        role: TableRole::Event,
        columns: vec![
            column("time", ColumnType::U64, "time"),
            column("dur", ColumnType::U64, "duration"),
            column("nr", ColumnType::U64, "syscall"),
            column("ret", ColumnType::I64, "syscallresult"),
            column("task", ColumnType::Ref(TableId(0x101)), "task"),
            column("args", ColumnType::U64List { key: 2 }, "syscallargs"),
            column("strs", ColumnType::BytesList { key: 2 }, "syscallstrings"),
        ],
        time: Some(0),
        duration: Some(1),
        summary: vec![2],
    };
    let dictionary = TableSchema {
        id: TableId(0x101),
        name: "task".into(),
        role: TableRole::Dictionary,
        columns: vec![column("name", ColumnType::Bytes, "text")],
        time: None,
        duration: None,
        summary: Vec::new(),
    };
    let schema = Schema::new(vec![event, dictionary]).unwrap();
    let text = rendered(&schema);
    assert_eq!(
        text,
        "table 0x001 call event time=time duration=dur summary=nr\n    \
         time U64 time\n    \
         dur U64 duration\n    \
         nr U64 syscall\n    \
         ret I64 syscallresult\n    \
         task Ref(0x101) task\n    \
         args U64List(key=nr) syscallargs\n    \
         strs BytesList(key=nr) syscallstrings\n\
         table 0x101 task dictionary\n    \
         name Bytes text\n"
    );
    assert_eq!(digest(""), "cbf29ce484222325");
    assert_eq!(digest("a"), "af63dc4c8601ec8c");
    assert_eq!(newest_digest("# Title\n\n### B\nSchema: `12`\n\n### A\nSchema: `34`\n"), Some("12"));
    assert_eq!(newest_digest("# Title\n\n### B\nno line\n\n### A\nSchema: `34`\n"), None);
}
