use std::collections::HashMap;

use super::*;
use crate::fields::{FieldArg, lookup, registry};
use crate::scan::{Captures, Query};

fn golden() -> Captures {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");
    Captures::open(&[format!("{root}/calls-0.1.ktape"), format!("{root}/kinds-0.1.ktape")]).unwrap()
}

/// Every field that takes no argument, and some that do.
fn fields() -> Vec<Field> {
    let plain = registry().iter().filter(|decl| decl.arg == FieldArg::None).map(|decl| decl.name);
    let with_argument = ["evt.arg.filename", "evt.arg[0]", "host.label[team]", "container.label[none]"];
    plain.chain(with_argument).map(|name| lookup(name).unwrap().0).collect()
}

#[test]
fn rows_with_one_number_have_one_value() {
    let captures = golden();
    let fields = fields();
    let (mut rows, mut with_ids) = (0u64, 0u64);
    let report = captures.query(Query::default()).unwrap().for_each_chunk(|chunk| {
        let (mut scratch, mut expected) = (Vec::new(), Vec::new());
        for table in chunk.tables() {
            for field in &fields {
                let column = table.column(field);
                let mut by_id: HashMap<u32, String> = HashMap::new();
                for (row, event) in table.rows().iter().zip(table.events()) {
                    let value = column.value(*row, &mut scratch);
                    assert_eq!(value, values::value(event, field, &mut expected));
                    rows += 1;
                    let Some(id) = column.id(*row) else { continue };
                    with_ids += 1;
                    let text = format!("{value:?}");
                    let name = field.decl().name;
                    assert_eq!(*by_id.entry(id).or_insert_with(|| text.clone()), text, "{name} of id {id}");
                }
                assert!(column.has_ids() || by_id.is_empty());
            }
        }
    });
    assert!(report.damaged.is_empty());
    assert!(rows > 20_000 && with_ids > rows / 2, "{rows} values, {with_ids} with a number");
}

#[test]
fn stored_numbers_are_the_values_of_plain_columns() {
    let captures = golden();
    let field = lookup("block.bytes").unwrap().0;
    let mut seen = 0;
    captures.query(Query::parse("evt.category = block").unwrap()).unwrap().for_each_chunk(|chunk| {
        let mut scratch = Vec::new();
        for table in chunk.tables() {
            let column = table.column(&field);
            let numbers = column.stored_numbers().unwrap();
            for row in table.rows() {
                let stored = Value::Int(i128::from(numbers[*row as usize]));
                assert_eq!(stored, column.value(*row, &mut scratch));
                seen += 1;
            }
        }
    });
    assert_eq!(seen, 26);
}
