use super::*;

fn table(id: u16, role: TableRole, columns: &[ColumnType]) -> TableSchema {
    let column = |(i, &ty): (usize, &ColumnType)| ColumnSchema {
        name: format!("c{i}"),
        ty,
        semantic: String::new(),
        doc: String::new(),
    };
    TableSchema {
        id: TableId(id),
        name: format!("t{id}"),
        role,
        columns: columns.iter().enumerate().map(column).collect(),
        time: None,
        duration: None,
        summary: Vec::new(),
    }
}

fn refused(tables: Vec<TableSchema>) -> String {
    Schema::new(tables).expect_err("a bad schema").to_string()
}

#[test]
fn dictionaries_come_before_those_they_refer_to() {
    let dictionary = |id, columns: &[ColumnType]| table(id, TableRole::Dictionary, columns);
    let schema = Schema::new(vec![
        dictionary(10, &[]),
        dictionary(11, &[ColumnType::Ref(TableId(12))]),
        dictionary(12, &[ColumnType::Ref(TableId(10))]),
        table(1, TableRole::Event, &[ColumnType::Ref(TableId(11))]),
    ]);
    let schema = schema.expect("a good schema");
    assert_eq!(schema.dictionaries(), [1, 2, 0]);
    assert_eq!(schema.index(TableId(12)), Some(2));
    assert_eq!(schema.index(TableId(9)), None);
    assert_eq!(schema.index(TableId(9999)), None);
    assert_eq!(schema.by_name("t11").and_then(|t| t.column("c0")), Some(0));
}

#[test]
fn contradictions_are_refused() {
    use ColumnType::{Bytes, I64, Ref, U64, U64List};
    use TableRole::{Dictionary, Event};
    let twice = "expected an id and a name of its own, found another table with one of them";
    assert_eq!(
        refused(vec![table(1, Event, &[]), table(1, Event, &[])]),
        format!("schema: table 0x1 (t1): {twice}")
    );
    let named = TableSchema { name: "t1".into(), ..table(2, Event, &[]) };
    assert_eq!(refused(vec![table(1, Event, &[]), named]), format!("schema: table 0x2 (t1): {twice}"));
    let cycle = vec![table(1, Dictionary, &[Ref(TableId(2))]), table(2, Dictionary, &[Ref(TableId(1))])];
    let text = "schema: table t1: expected references that form no cycle, found one that leads back to it";
    assert_eq!(refused(cycle), text);
    assert!(
        Schema::new(vec![table(1, Dictionary, &[Ref(TableId(1))])]).is_ok(),
        "rows refer to earlier ones"
    );
    assert_eq!(
        refused(vec![table(1, Event, &[Ref(TableId(2))])]),
        "schema: column c0 of table t1: expected a reference to a dictionary, found table 0x2, which is none"
    );
    assert_eq!(
        refused(vec![table(1, Event, &[]), table(2, Event, &[Ref(TableId(1))])]),
        "schema: column c0 of table t2: expected a reference to a dictionary, found table 0x1, which is none"
    );
    for (columns, key) in [([Bytes, U64List { key: 0 }], 0), ([U64, U64List { key: 2 }], 2)] {
        assert_eq!(
            refused(vec![table(1, Event, &columns)]),
            format!(
                "schema: column c1 of table t1: expected a U64 column as its key, found column {key}, which is none"
            )
        );
    }
    assert_eq!(
        refused(vec![TableSchema { time: Some(0), ..table(1, Event, &[Bytes]) }]),
        "schema: time or duration of table t1: expected a U64 column, found column 0, which is none"
    );
    assert_eq!(
        refused(vec![TableSchema { summary: vec![0], ..table(1, Event, &[I64]) }]),
        "schema: summary of table t1: expected a U64 or Bytes column, found column 0, which is none"
    );
    assert_eq!(
        refused(vec![table(1, Event, &[U64; 129])]),
        "schema: number of columns of table t1: expected at most 128, found 129"
    );
    let many = (0..257).map(|id| table(id, Event, &[])).collect();
    assert_eq!(refused(many), "schema: number of tables: expected at most 256, found 257");
}
