use super::*;
use crate::syscalls::{Arch, SyscallTable, string_positions, table, value_sets};
use events::Abi;

#[test]
fn every_tag_names_a_structure_whose_members_fit_and_have_their_sets() {
    let table: &SyscallTable = table();
    let mut used = std::collections::BTreeSet::new();
    for call in table.iter() {
        for arg in call.args.iter().filter(|arg| arg.ty.is_struct()) {
            let ty = StructType::of_tag(&arg.tag).unwrap_or_else(|| panic!("{}: {}", call.name, arg.tag));
            used.insert(ty.name);
        }
    }
    for ty in all() {
        assert!(used.contains(ty.name), "no call has a {}", ty.name);
        assert!(!ty.members.is_empty(), "{}", ty.name);
        for member in ty.members {
            let end = u32::from(member.at) + u32::from(member.width) * u32::from(member.count);
            assert!(end <= ty.size.into(), "{}.{}", ty.name, member.name);
            assert!(member.width <= 8 || member.is_text(), "{}.{}", ty.name, member.name);
            for arch in Arch::ALL {
                let set = value_sets(arch).named(member.set);
                assert_eq!(set.is_some(), !member.set.is_empty(), "{}.{}", ty.name, member.name);
            }
        }
        if let Extent::Elements(count) = ty.extent {
            assert!(usize::from(ty.size) * usize::from(count) <= STRUCT_MAX, "{}", ty.name);
        }
    }
}

/// What is read at the return follows what was read at the entry, or replaces as many bytes.
#[test]
fn what_a_call_only_fills_in_is_behind_what_it_is_given() {
    for call in table().iter() {
        let strings: Vec<ArgType> =
            string_positions(&call.args).iter().map(|at| call.args[usize::from(*at)].ty).collect();
        if let [ArgType::StructOut, rest @ ..] = &*strings {
            assert!(rest.iter().all(|ty| *ty == ArgType::StructOut), "{}: {strings:?}", call.name);
        }
        assert!(!strings[2.min(strings.len())..].iter().any(|ty| ty.is_struct()), "{}", call.name);
    }
}

#[test]
fn callers_with_32_bits_have_only_structures_that_are_the_same() {
    let ty = |abi: Abi, call: &str, at: usize| {
        let (_, nr) = *table().by_name(call).iter().find(|(known, _)| *known == abi).unwrap();
        table().get(abi, nr).unwrap().args[at].ty
    };
    assert_eq!(ty(Abi::Native, "nanosleep", 0), ArgType::Struct);
    assert_eq!(ty(Abi::Compat, "nanosleep", 0), ArgType::Ptr);
    assert_eq!(ty(Abi::Compat, "clock_nanosleep_time64", 2), ArgType::Struct);
    assert_eq!(ty(Abi::Compat, "poll", 0), ArgType::StructInOut);
    assert_eq!(ty(Abi::Compat, "waitpid", 1), ArgType::StructOut);
    assert_eq!(ty(Abi::X32, "rt_sigaction", 1), ArgType::Ptr);
    assert_eq!(ty(Abi::X32, "nanosleep", 0), ArgType::Struct);
}

#[test]
fn members_have_the_sign_of_their_type() {
    let ty = StructType::of_tag("pollfd_inout").unwrap();
    let bytes = [0xff, 0xff, 0xff, 0xff, 0x01, 0x80, 0, 0];
    let values: Vec<u64> = ty.members.iter().filter_map(|member| member.of(&bytes)).collect();
    assert_eq!(values, [u64::MAX, 0x8001, 0]);
    assert_eq!(ty.members[2].of(&bytes[..6]), None);
}

#[test]
fn a_structure_may_be_shorter_or_longer_than_this_version_knows() {
    let elements = |tag: &str, len: usize| {
        let bytes = vec![0; len];
        StructType::of_tag(tag).unwrap().elements(&bytes).map(<[u8]>::len).collect::<Vec<_>>()
    };
    assert_eq!(elements("clone_args_in", 64), [64]);
    assert_eq!(elements("clone_args_in", 104), [88]);
    assert_eq!(elements("clone_args_in", 4), [0; 0]);
    assert_eq!(elements("pollfd_inout", 20), [8, 8]);
}

#[test]
fn a_tag_without_direction_is_none() {
    assert!(StructType::of_tag("open_how").is_none());
    assert!(StructType::of_tag("timespec_flags").is_none());
    assert!(StructType::of_tag("nothing_in").is_none());
}
