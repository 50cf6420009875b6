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
    use ColumnType::{Bytes, Ref, U64, U64List};
    use TableRole::{Dictionary, Event};
    assert_eq!(
        refused(vec![table(1, Event, &[]), table(1, Event, &[])]),
        "schema: table 0x1 (t1) is declared twice"
    );
    let twice = TableSchema { name: "t1".into(), ..table(2, Event, &[]) };
    assert_eq!(refused(vec![table(1, Event, &[]), twice]), "schema: table 0x2 (t1) is declared twice");
    let circle = vec![table(1, Dictionary, &[Ref(TableId(2))]), table(2, Dictionary, &[Ref(TableId(1))])];
    assert_eq!(refused(circle), "schema: references of table t1 form a circle");
    assert!(refused(vec![table(1, Dictionary, &[Ref(TableId(1))])]).contains("circle"));
    assert!(refused(vec![table(1, Event, &[Ref(TableId(2))])]).contains("no dictionary"));
    assert!(
        refused(vec![table(1, Event, &[]), table(2, Event, &[Ref(TableId(1))])]).contains("no dictionary")
    );
    assert!(refused(vec![table(1, Event, &[Bytes, U64List { key: 0 }])]).contains("no U64 column"));
    assert!(refused(vec![table(1, Event, &[U64, U64List { key: 2 }])]).contains("no U64 column"));
    assert!(
        refused(vec![TableSchema { time: Some(0), ..table(1, Event, &[Bytes]) }])
            .contains("time or duration")
    );
    let summary = TableSchema { summary: vec![0], ..table(1, Event, &[ColumnType::I64]) };
    assert!(refused(vec![summary]).contains("neither U64 nor Bytes"));
    assert!(refused(vec![table(1, Event, &[U64; 129])]).contains("the limit is 128"));
}
