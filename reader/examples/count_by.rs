//! Counts the events of captures by the value of a field: `cargo run --example count_by -- proc.name web.ktape`

use std::collections::HashMap;

use ktape_reader::fields::lookup;
use ktape_reader::scan::{Captures, Query};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (field, _) = lookup(&args.next().ok_or("usage: count_by FIELD FILE...")?)?;
    let captures = Captures::open(&args.collect::<Vec<_>>())?;
    let (counts, report) = captures.query(Query::default())?.scan(
        HashMap::<String, u64>::new,
        |counts, chunk| {
            let mut scratch = Vec::new();
            for table in chunk.tables() {
                let column = table.column(&field);
                table.rows().iter().for_each(|row| {
                    *counts.entry(column.value(*row, &mut scratch).to_string()).or_default() += 1;
                });
            }
        },
        |all, part| part.into_iter().for_each(|(value, count)| *all.entry(value).or_default() += count),
    );
    counts.iter().for_each(|(value, count)| println!("{count:>9} {value}"));
    eprintln!("{} events, {} lost", report.matching, report.lost.total);
    Ok(())
}
