use super::*;

#[test]
fn syscalls_are_declared_as_the_format_wants_them() {
    let schema = schema();
    let table = schema.get(event_table(Kind::Syscall)).unwrap();
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["time", "cpu", "task", "flags", "dur", "nr", "ret", "args", "strs", "file", "file2"]);
    assert_eq!(table.time, Some(0));
    assert_eq!(table.duration, Some(4));
    assert_eq!(table.summary, [5]);
    assert_eq!(table.columns[2].ty, ColumnType::Ref(TASK));
    assert_eq!(table.columns[6].ty, ColumnType::I64);
    assert_eq!(table.columns[7].ty, ColumnType::U64List { key: 5 });
    assert_eq!(table.columns[8].ty, ColumnType::BytesList { key: 5 });
    assert_eq!(table.columns[6].semantic, "syscallresult");
    assert_eq!(column(Kind::Syscall, "nr"), 5);
}

#[test]
fn containers_are_in_the_summary() {
    let schema = schema();
    let table = schema.get(CGROUP).unwrap();
    assert_eq!(table.summary, [6]);
    assert_eq!(table.columns[6].name, "chain");
    assert_eq!(dictionaries::dict_column(CGROUP, "chain"), 6);
    assert_eq!(table.role, TableRole::Dictionary);
}

#[test]
fn every_kind_has_a_table_of_its_own() {
    let schema = schema();
    assert_eq!(schema.tables().len(), RECORDED.len() + DICTIONARIES.len());
    for kind in RECORDED.iter() {
        let table = schema.get(event_table(kind)).unwrap();
        assert_eq!(table.name, kind.decl().name);
        assert_eq!(table.columns.len(), COMMON.len() + kind.decl().columns.len());
    }
}

#[test]
fn only_losses_and_samples_count_for_a_cgroup_of_their_own() {
    let own: Vec<Kind> = KINDS.into_iter().filter(|kind| cgroup_column(*kind).is_some()).collect();
    assert_eq!(own, [Kind::Loss, Kind::Sample]);
    assert_eq!(cgroup_column(Kind::Loss), Some(column(Kind::Loss, "cgroup")));
    assert_eq!(cgroup_column(Kind::Sample), Some(column(Kind::Sample, "cgroup")));
}
