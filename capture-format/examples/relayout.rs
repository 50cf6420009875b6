//! Encodes the chunks of captures again under each layout and level and prints what each costs:
//! `cargo run --release -p capture-format --example relayout -- FILE...` (without files: made-up events).

#[path = "../tests/support/mod.rs"]
mod support;

use std::{collections::BTreeMap, hint::black_box, time::Instant};

use capture_format::{
    CaptureFile, ChunkBuilder, ColumnLayout, CopyCache, EncodeOptions, Encoder, FormatError, Header,
    Pressure, Schema, SegmentWriter, TableRole, copy_rows,
};

fn load(paths: &[String]) -> Result<Vec<ChunkBuilder>, FormatError> {
    let mut builders = Vec::new();
    for path in paths {
        let file = CaptureFile::open(path)?;
        for entry in file.chunks() {
            let chunk = file.read_chunk(entry)?;
            let mut builder = ChunkBuilder::new(chunk.schema().clone());
            builder.set_wall_offset(chunk.summary().wall_offset);
            let mut cache = CopyCache::new();
            for table in chunk.tables().filter(|t| t.schema().role == TableRole::Event) {
                let rows: Vec<u32> = (0..table.rows() as u32).collect();
                copy_rows(&chunk, &mut builder, table.id(), &rows, &mut cache)?;
            }
            builders.push(builder);
        }
    }
    if paths.is_empty() {
        let mut random = support::Random::new(1);
        for i in 0..16 {
            let mut builder = ChunkBuilder::new(support::schema());
            let start = Instant::now();
            support::fill(&mut builder, &mut random, i * 1_000_000_000, 65_000, 20);
            if i == 15 {
                println!("filling, generator included: {} ns/event", start.elapsed().as_nanos() / 65_000);
            }
            builders.push(builder);
        }
        println!("pushing alone: {:.1} ns/event", push_cost());
    }
    Ok(builders)
}

/// Ten pushes and a string, as for a syscall.
fn push_cost() -> f64 {
    const ROWS: u64 = 65_000;
    let mut builder = ChunkBuilder::new(support::schema());
    let mut best = f64::MAX;
    for _ in 0..20 {
        builder.clear();
        let start = Instant::now();
        let index = builder.schema().index(support::SYSCALL).unwrap_or(0);
        for i in 0..ROWS {
            let path = builder.intern(b"/var/lib/app/data/001/file-17.dat");
            let row = builder.table_at(index);
            row.push_u64(0, i * 700);
            row.push_u64(1, 1);
            row.push_ref(2, 0);
            row.push_u64(3, 0);
            row.push_u64(4, i & 1023);
            row.push_u64(5, 257);
            row.push_i64(6, 3);
            row.push_list_u64(7, &[3, i, 5]);
            row.push_list_bytes(8, &[path]);
            row.push_ref(9, 0);
            row.end_row();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / ROWS as f64);
        black_box(&builder);
    }
    best
}

fn main() -> Result<(), FormatError> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let builders = load(&paths)?;
    let events: usize = builders.iter().map(ChunkBuilder::event_rows).sum();
    println!("{} chunks, {events} events", builders.len());
    for layout in [ColumnLayout::Plain, ColumnLayout::Grouped] {
        for level in [1, 3, 6] {
            measure(&builders, events as f64, EncodeOptions { level, layout }, Pressure::NONE)?;
        }
    }
    // As recorders do when they are short of time.
    let options = EncodeOptions { level: 1, ..EncodeOptions::default() };
    measure(&builders, events as f64, options, Pressure::QUEUE)?;
    Ok(())
}

fn measure(
    builders: &[ChunkBuilder],
    events: f64,
    options: EncodeOptions,
    pressure: Pressure,
) -> Result<(), FormatError> {
    let mut encoder = Encoder::new(options)?;
    encoder.set_pressure(pressure)?;
    let mut bytes = 0;
    let mut columns: BTreeMap<(Option<u16>, u16), (u64, u64)> = BTreeMap::new();
    let mut ns = 0;
    for builder in builders {
        let (took, block) = fastest(|| encoder.encode(builder))?;
        ns += took;
        bytes += block.size();
        for size in &block.columns {
            let sum = columns.entry((size.table.map(|t| t.0), size.column)).or_default();
            sum.0 += u64::from(size.encoded);
            sum.1 += u64::from(size.packed);
        }
    }
    let ns = ns as f64 / events;
    let less = if pressure.is_none() { "" } else { ", compressed less" };
    println!(
        "\n{:?}, zstd {}{less}: {:.2} bytes/event, encode {ns:.0} ns/event, decode all columns {:.0} ns/event",
        options.layout,
        options.level,
        bytes as f64 / events,
        decode_cost(builders, options, pressure)? / events
    );
    if options.level == 3 {
        let Some(first) = builders.first() else { return Ok(()) };
        println!("  column                   before zstd      frames (0: in frame 0), bytes/event");
        for ((table, column), (encoded, packed)) in columns {
            let name = name(first.schema(), table, column);
            println!("  {name:24} {:11.3} {:11.3}", encoded as f64 / events, packed as f64 / events);
        }
    }
    Ok(())
}

/// The shortest of a few runs, in nanoseconds: other programs only make it longer.
fn fastest<T>(mut run: impl FnMut() -> Result<T, FormatError>) -> Result<(u128, T), FormatError> {
    let mut best = u128::MAX;
    for _ in 0..4 {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_nanos());
    }
    let start = Instant::now();
    let last = run()?;
    Ok((best.min(start.elapsed().as_nanos()), last))
}

/// Nanoseconds to read all chunks and decode every column.
fn decode_cost(
    builders: &[ChunkBuilder],
    options: EncodeOptions,
    pressure: Pressure,
) -> Result<f64, FormatError> {
    let mut encoder = Encoder::new(options)?;
    encoder.set_pressure(pressure)?;
    let mut ns = 0;
    for builder in builders {
        let header = Header { schema: builder.schema().clone(), ..Header::default() };
        let mut writer = SegmentWriter::new(Vec::new(), &header)?;
        writer.write_block(&mut encoder.encode(builder)?)?;
        let file = CaptureFile::from_reader(std::io::Cursor::new(writer.finish()?))?;
        for entry in file.chunks() {
            ns += fastest(|| file.read_chunk(entry)?.verify())?.0;
        }
    }
    Ok(ns as f64)
}

fn name(schema: &Schema, table: Option<u16>, column: u16) -> String {
    let table = table.and_then(|id| schema.get(capture_format::TableId(id)));
    match table {
        Some(table) => format!("{}.{}", table.name, table.columns[column as usize].name),
        None => format!("strings.{}", ["lengths", "bytes"][column as usize & 1]),
    }
}
