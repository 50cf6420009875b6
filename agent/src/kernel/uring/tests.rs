use agent_ebpf::spec::{file, read};

use super::*;

/// The running kernel's types; `None` if it has none.
fn kernel() -> Option<Btf> {
    let kernel = Btf::of_kernel().ok();
    if kernel.is_none() {
        eprintln!("SKIPPED: this kernel has no BTF");
        assert!(std::env::var_os("CI").is_none(), "CI needs a kernel with BTF");
    }
    kernel
}

fn operation(name: &str) -> &'static Operation {
    OPERATIONS.iter().find(|operation| operation.name == name).unwrap()
}

#[test]
fn operations_have_the_numbers_of_this_kernel() {
    let Some(kernel) = kernel() else { return };
    let Some(enumerators) = kernel.enumerators("io_uring_op") else {
        eprintln!("SKIPPED: this kernel's types have no operations of io_uring");
        return;
    };
    for (name, number) in enumerators {
        let name = name.strip_prefix("IORING_OP_").unwrap();
        // The kernel calls a variant of an operation that was there before by its own name.
        let known = OPERATIONS.get(number as usize).map(|operation| operation.name);
        assert!(known == Some(name) || name == "LAST" || known.is_none(), "{number}: {name}, {known:?}");
    }
}

#[test]
fn every_operation_with_a_call_has_that_calls_arguments() {
    for operation in OPERATIONS.iter().filter(|operation| !operation.call.is_empty()) {
        let call = operation.syscall().unwrap_or_else(|| panic!("no call {}", operation.call));
        assert!(operation.fields.len() <= call.args.len(), "{}", operation.name);
        let spec = specs::spec(call);
        for how in spec.files.into_iter().filter(|how| *how != 0 && how & file::DESCRIPTOR != 0) {
            let field = operation.fields[usize::from(how & file::ARGUMENT)];
            let is_number = matches!(field, Field::Fd | Field::Len | Field::Index | Field::Off);
            assert!(is_number, "{}: {field:?} is a descriptor", operation.name);
        }
    }
    for (with, without) in WITHOUT_OFFSET {
        assert!(native(with).is_some() && native(without).is_some());
    }
    assert!(OPERATIONS.len() <= OPS as usize);
}

#[test]
fn fields_of_an_entry_are_where_the_kernel_has_them() {
    // opcode, flags, ioprio, fd; off; addr; len, flags; user data; buffer, personality, index; addr3.
    let sqe = [0xffff_ff9c_0003_0216, 11, 12, 14 << 32 | 13, 15, 0xabcd_0010 << 32 | 7, 17, 18];
    let values = [
        (Field::Zero, 0),
        (Field::Fd, 0xffff_ff9c),
        (Field::Off, 11),
        (Field::Addr, 12),
        (Field::Len, 13),
        (Field::Flags, 14),
        (Field::Index, 0xabcd_0010),
        (Field::AddrLen, 0x10),
        (Field::Addr3, 17),
    ];
    for (field, value) in values {
        assert_eq!(field.of(&sqe), value, "{field:?}");
        if let Some(word) = field.word().filter(|_| field != Field::AddrLen) {
            assert_eq!(sqe[usize::from(word)], value, "{field:?}");
        }
    }
}

#[test]
fn files_and_strings_of_operations_are_looked_up() {
    let Some(kernel) = kernel() else { return };
    let of = |name: &str| lookup(operation(name), &kernel);
    let relative = file::DESCRIPTOR | file::BASE;
    let open = of("OPENAT");
    assert_eq!((open.files, open.how, open.at), ([relative | fd_at::FD, 0], [read::STRING, 0], [2, 0]));
    assert_eq!(open.flags, op_flags::RETURNS_FILE);
    let rename = of("RENAMEAT");
    assert_eq!(rename.files, [relative | fd_at::FD, relative | file::SECOND | fd_at::LEN]);
    assert_eq!((rename.how, rename.at), ([read::STRING; 2], [2, 1]));
    let connect = of("CONNECT");
    assert_eq!((connect.files[0], connect.how[0]), (file::DESCRIPTOR | fd_at::FD, read::SOCKADDR));
    assert_eq!((connect.at[0], connect.len_at), (2, 1));
    assert_eq!((of("SEND").at[0], of("SEND").len_at), (1, 5));
    assert_eq!((of("SENDMSG").how[0], of("SENDMSG").at[0]), (read::MSGHDR, 2));
    // Addresses that the kernel fills in are not there yet.
    assert_eq!((of("ACCEPT").how, of("RECVMSG").how), ([0; 2], [0; 2]));
    let splice = of("SPLICE");
    assert_eq!(splice.files, [file::DESCRIPTOR | fd_at::SPLICE, file::DESCRIPTOR | fd_at::FD]);
    assert_eq!(of("CLOSE").files[0] & file::CLOSED, file::CLOSED);
    assert_eq!((of("POLL_ADD").files[0], of("NOP")), (file::DESCRIPTOR | fd_at::FD, Op::default()));
}

#[test]
fn this_kernels_hooks_are_known() {
    let Some(kernel) = kernel() else { return };
    let support = Support::of(&kernel);
    let Support::Full(hooks) = support else {
        assert_eq!(support, Support::None);
        return;
    };
    assert!(SUBMISSIONS.contains(&hooks.submission));
    let used: Vec<&str> = super::super::hooks::HOOKS
        .iter()
        .filter(|hook| hook.needed_for == [Kind::Uring] && support.uses(hook))
        .map(|hook| hook.tracepoint)
        .collect();
    assert_eq!(used.first(), Some(&COMPLETION), "attached first, so that no completion is missed");
    assert_eq!(used.last(), Some(&hooks.submission));
    // The kernel keeps paths as its own strings.
    let open = lookup(operation("OPENAT"), &kernel);
    assert_eq!(Some(u32::from(open.names[0])), kernel.offset("io_open.filename"));
    assert!(kernel.member_names("io_open.file", &["file"]) && !kernel.member_names("io_open.dfd", &["file"]));
}
