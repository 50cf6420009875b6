use events::{Kind, Storage, TYPES, Ty};

use super::decl::Key;
use super::dependency::{Dependency, dependency};
use super::format::{ColumnFormat, Read};
use super::*;

#[test]
fn names_are_unique_and_cover_every_column() {
    let mut names: Vec<&str> = registry().iter().map(|d| d.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for kind in KINDS {
        for c in kind.decl().columns {
            let name = format!("{}.{}", kind.field_owner().decl().name, c.name);
            let listed = names.contains(&name.as_str());
            // Requests have a field for what they work on.
            let is_of_call =
                name != "uring.file" && matches!(c.ty, Ty::SyscallArgs | Ty::SyscallStrings | Ty::File);
            assert_eq!(listed, !is_of_call, "{name}: read through evt.arg and fd.name");
        }
    }
}

#[test]
fn fields_with_arguments_are_found() {
    let found = |text: &str| {
        let (field, ty) = lookup(text).unwrap();
        (field.decl().name, field.key.clone(), ty)
    };
    let name = |text: &str| Key::Name(text.into());
    assert_eq!(found("proc.name"), ("proc.name", Key::None, FieldType::Text));
    assert_eq!(found("evt.arg.filename"), ("evt.arg", name("filename"), FieldType::Any));
    assert_eq!(found("evt.arg[2]"), ("evt.arg", Key::Position(2), FieldType::Any));
    let label = "container.label[com.docker.compose.service]";
    assert_eq!(found(label), ("container.label", name(label), FieldType::Text));
    assert_eq!(found("host.label[dc]"), ("host.label", name("dc"), FieldType::Text));
    let (field, ty) = lookup("fork.child_pid").unwrap();
    let own = column(Kind::Fork, "child_pid");
    assert!(matches!(field.getter(), Getter::Column(Kind::Fork, column) if *column == own));
    assert_eq!(ty, FieldType::Unsigned);
    assert_ne!(lookup("evt.arg[1]").unwrap(), lookup("evt.arg[2]").unwrap());
}

#[test]
fn places_in_json_and_csv_are_unique_and_in_groups() {
    for place in [|decl: &FieldDecl| decl.json, |decl: &FieldDecl| decl.csv] {
        let mut places: Vec<u8> = registry().iter().filter_map(place).collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count);
    }
    // The thread's keys are kept as one piece, and so are the cgroup's.
    let mut order: Vec<Dependency> = placed(|decl| decl.json).iter().map(dependency).collect();
    order.dedup();
    let at = |wanted| order.iter().position(|d| *d == wanted).unwrap();
    assert_eq!(at(Dependency::Task) + 1, at(Dependency::Cgroup));
    for one in [Dependency::Task, Dependency::Cgroup] {
        assert_eq!(order.iter().filter(|d| **d == one).count(), 1, "{order:?}");
    }
}

#[test]
fn prefixes_are_those_of_a_field_of_the_same_kind() {
    for decl in registry() {
        if let Compared::PrefixOf(name) = decl.compared {
            let (whole, ty) = lookup(name).unwrap();
            assert_eq!((dependency(&whole), ty), (dependency(&Field::plain(decl)), decl.ty), "{}", decl.name);
        }
    }
}

#[test]
fn each_flag_has_one_field() {
    let bits: Vec<u32> = registry()
        .iter()
        .filter_map(|d| if let Getter::Flag(bit) = d.getter { Some(bit) } else { None })
        .collect();
    assert_eq!(bits.len(), 9);
    assert!(bits.iter().all(|bit| bit.count_ones() == 1));
    assert_eq!(bits.iter().fold(0, |all, bit| all | bit).count_ones(), 9);
}

#[test]
fn each_type_is_read_as_it_is_stored() {
    for ty in TYPES {
        let fits = match ColumnFormat::of(*ty).read {
            Read::U64(_) => ty.storage() == Storage::U64,
            Read::I64(_) => ty.storage() == Storage::I64,
            Read::Bytes(_) => ty.storage() == Storage::Bytes,
            Read::Row(_) => matches!(ty.storage(), Storage::TaskRow | Storage::CgroupRow),
            Read::OfCall => {
                matches!(ty.storage(), Storage::U64List | Storage::BytesList | Storage::FileRow)
            }
        };
        assert!(fits, "{ty:?}");
    }
}

#[test]
fn wrong_arguments_are_refused() {
    for text in ["evt.arg", "evt.arg[6]", "evt.arg[x]", "host.label", "container.label[]", "proc.name[1]"] {
        assert!(matches!(lookup(text), Err(FieldError::Argument { .. })), "{text}");
    }
}

#[test]
fn a_misspelled_name_is_answered_with_the_closest() {
    let said = |name: &str| lookup(name).unwrap_err().to_string();
    assert!(said("proc.nmae").contains("proc.name"), "{}", said("proc.nmae"));
    assert!(said("process.name").contains("proc.name"), "{}", said("process.name"));
    assert!(said("fd.nam").contains("fd.name"));
    assert_eq!(
        said("zzzzzzzzzzzzzzzzzzzz"),
        "unknown field `zzzzzzzzzzzzzzzzzzzz`; `ktape fields` lists all fields"
    );
}
