use super::*;

#[test]
fn names_are_unique_and_cover_every_column() {
    let mut names: Vec<&str> = registry().iter().map(|d| d.name.as_str()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for kind in KINDS {
        for c in kind.decl().columns {
            let name = format!("{}.{}", kind.decl().name, c.name);
            let listed = names.contains(&name.as_str());
            let list = matches!(c.ty, Ty::SyscallArgs | Ty::SyscallStrings);
            assert_eq!(listed, !list, "{name}: list columns are read through evt.arg");
        }
    }
}

#[test]
fn fields_with_arguments_are_found() {
    assert_eq!(lookup("proc.name").unwrap(), (Field::ProcName, FieldType::Text));
    assert_eq!(lookup("evt.arg.filename").unwrap(), (Field::ArgNamed("filename".into()), FieldType::Any));
    assert_eq!(lookup("evt.arg[2]").unwrap(), (Field::ArgAt(2), FieldType::Any));
    assert_eq!(
        lookup("container.label[com.docker.compose.service]").unwrap().0,
        Field::Metadata("container.label[com.docker.compose.service]".into())
    );
    assert_eq!(lookup("host.label[dc]").unwrap().0, Field::HostLabel("dc".into()));
    assert_eq!(
        lookup("fork.child_pid").unwrap(),
        (Field::Column(Kind::Fork, column(Kind::Fork, "child_pid")), FieldType::Number)
    );
}

#[test]
fn wrong_arguments_are_refused() {
    for text in ["evt.arg", "evt.arg[6]", "evt.arg[x]", "host.label", "container.label[]", "proc.name[1]"] {
        assert!(matches!(lookup(text), Err(FieldError::Argument { .. })), "{text}");
    }
}

#[test]
fn a_misspelt_name_is_answered_with_the_closest() {
    let said = |name: &str| lookup(name).unwrap_err().to_string();
    assert!(said("proc.nmae").contains("proc.name"), "{}", said("proc.nmae"));
    assert!(said("process.name").contains("proc.name"), "{}", said("process.name"));
    assert!(said("fd.nam").contains("fd.name"));
    assert_eq!(
        said("zzzzzzzzzzzzzzzzzzzz"),
        "there is no field `zzzzzzzzzzzzzzzzzzzz`; `ktape fields` lists all"
    );
}
