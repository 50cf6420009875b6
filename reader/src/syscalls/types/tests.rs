use super::*;

#[test]
fn every_name_parses_to_its_type() {
    for &ty in ArgType::ALL {
        assert_eq!(ArgType::parse(ty.name()), ty);
    }
}

#[test]
fn specific_names_parse_by_their_last_word() {
    for (name, ty) in [
        ("open_flags", ArgType::Flags),
        ("mmap_prot", ArgType::Flags),
        ("statx_mask", ArgType::Flags),
        ("fcntl_cmd", ArgType::Command),
        ("whence_const", ArgType::Const),
        ("new_kind_of_path", ArgType::Path),
        ("never_heard_of", ArgType::Ulong),
        ("", ArgType::Ulong),
    ] {
        assert_eq!(ArgType::parse(name), ty, "{name}");
    }
}

#[test]
fn stored_values_have_the_width_and_sign_of_their_type() {
    let minus_100 = -100_i64 as u64;
    for (ty, abi, register, value) in [
        (ArgType::Dirfd, Abi::Native, 0xffff_ff9c, minus_100),
        (ArgType::Dirfd, Abi::Native, minus_100, minus_100),
        (ArgType::Dirfd, Abi::Compat, 0xffff_ff9c, minus_100),
        (ArgType::Fd, Abi::Native, 0xdead_0000_0000_0003, 3),
        (ArgType::Uid, Abi::Native, u64::MAX, 0xffff_ffff),
        (ArgType::Offset, Abi::Native, u64::MAX, u64::MAX),
        (ArgType::Offset, Abi::Compat, 0xffff_ffff, u64::MAX),
        (ArgType::Size, Abi::Native, 0x1_0000_0000, 0x1_0000_0000),
        (ArgType::Size, Abi::Compat, 0x1_0000_0001, 1),
        (ArgType::Ulong, Abi::X32, 0x1_0000_0001, 0x1_0000_0001),
        (ArgType::Path, Abi::Native, 0x7fff_0000_1000, 1),
        (ArgType::Path, Abi::Native, 0, 0),
        (ArgType::Sockaddr, Abi::Compat, 0x1_0000_0000, 0),
        (ArgType::Ptr, Abi::Native, 0x7fff_0000_1000, 0),
    ] {
        assert_eq!(stored(ty, abi, register), value, "{ty:?} {abi:?} {register:#x}");
    }
}

#[test]
fn pointers_are_not_stored() {
    let dropped: Vec<_> = ArgType::ALL.iter().filter(|&&ty| !kept(ty)).map(|ty| ty.name()).collect();
    assert_eq!(
        dropped,
        [
            "path",
            "sockaddr",
            "sockaddr_out",
            "msghdr",
            "mmsghdr",
            "argv",
            "ptr",
            "string",
            "struct_in",
            "struct_out",
            "struct_inout"
        ]
    );
}
