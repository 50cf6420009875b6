//! What the programs in the kernel read of each call.

use agent_ebpf::records::class;
use agent_ebpf::spec::{ABIS, NUMBERS, Spec, count, read, spec_flags};
use events::Abi;

use events::ALL_ABIS;
use ktape_reader::syscalls::{
    Arg, ArgType, Extent, Stated, StructType, Syscall, SyscallTable, kept, string_positions,
};

mod files;

pub use files::{FileSource, sources as file_sources};
#[cfg(test)]
mod tests;

/// What to read of this call.
pub fn spec(call: &Syscall) -> Spec {
    let mut spec = Spec { class: class_of(call), flags: flags_of(call.name), ..Spec::default() };
    let positions = string_positions(&call.args);
    let how = |&position: &u8| read_of(call.args[usize::from(position)].ty);
    if let Some(first) = positions.first() {
        (spec.read0, spec.arg0) = (how(first), *first);
    }
    if let Some(second) = positions.get(1) {
        (spec.read1, spec.arg1) = (how(second), *second);
    }
    if let Some(third) = positions.get(2) {
        spec.read1 = read::TWO_STRINGS;
        spec.count[1] = *third;
    }
    for (index, position) in positions.iter().enumerate().take(2) {
        let arg = &call.args[usize::from(*position)];
        if arg.ty.is_struct() {
            (spec.unit[index], spec.count[index]) = size_of_struct(arg, *position);
        }
        if arg.ty.is_filled_in() {
            spec.flags |= spec_flags::FILLS;
            spec.least = least_of(call.name);
        }
    }
    if call.name.starts_with("recv") {
        spec.read0 = match spec.read0 {
            read::MSGHDR => read::MSGHDR_OUT,
            read::MMSGHDR => read::MMSGHDR_OUT,
            other => other,
        };
    }
    if matches!(spec.read0, read::SOCKADDR_OUT | read::MSGHDR_OUT | read::MMSGHDR_OUT) {
        spec.room = unused_argument(call);
        // The number of messages.
        spec.least = u8::from(call.name.starts_with("recvmmsg"));
    }
    files::set(&mut spec, call);
    spec
}

/// Unit and count of a structure, which is the argument at a position.
fn size_of_struct(arg: &Arg, position: u8) -> (u8, u8) {
    let Some(ty) = StructType::of_tag(&arg.tag) else { return (0, count::ONE) };
    let count_of = |stated| match stated {
        Stated::After => position + 1,
        Stated::AtAfter => count::POINTED | (position + 1),
        Stated::Before => position.saturating_sub(1),
        Stated::First => 0,
        Stated::Second => 1,
        Stated::Result => count::RESULT,
    };
    match ty.extent {
        Extent::Elements(number) => {
            let only = if arg.ty == ArgType::StructOrNumber { count::IF_POINTER } else { 0 };
            (ty.size.saturating_mul(number), count::ONE | only)
        }
        Extent::ElementsOf(stated) => (ty.size, count_of(stated)),
        Extent::BytesOf(stated) => (1, count_of(stated)),
        Extent::BitsOf(stated) => (1, count::BITS | count_of(stated)),
    }
}

/// The least result with which a call has filled in a structure: of most calls 0; of those that return how many they have
/// found, or a process, 1.
fn least_of(name: &str) -> u8 {
    let starts = ["wait4", "waitpid", "poll", "ppoll", "epoll_", "sched_getaffinity", "rt_sigtimedwait"];
    u8::from(starts.iter().any(|start| name.starts_with(start)))
}

/// An argument of which nothing is stored: the last one where the call has fewer, else the address of a buffer. The kernel
/// side knows these two, see `note_room` there.
fn unused_argument(call: &Syscall) -> u8 {
    if call.args.len() < 6 { 5 } else { 1 }
}

/// Of a call that fills in a socket address after which its length is stated: where a record has the room for it, and the
/// argument that it belongs to.
pub fn room_of(call: &Syscall) -> Option<(u8, u8)> {
    let stated = call.args.iter().position(|arg| arg.ty == ArgType::Socklen)?;
    Some((spec(call).room, stated as u8))
}

/// Whether the call's string is a socket address that the kernel fills in.
pub fn is_filled_in(call: &Syscall) -> bool {
    spec(call).room != 0
}

/// Whether the call never gives a result.
pub fn has_no_result(call: &Syscall) -> bool {
    flags_of(call.name) & spec_flags::NO_RESULT != 0
}

/// The smallest class that has room for all recorded arguments.
fn class_of(call: &Syscall) -> u8 {
    if call.args.iter().any(|arg| arg.ty.is_string()) {
        return class::STRINGS;
    }
    match call.args.iter().rposition(|arg| kept(arg.ty)) {
        None => class::ARGS0,
        Some(..=2) => class::ARGS3,
        Some(_) => class::ARGS6,
    }
}

fn flags_of(name: &str) -> u8 {
    match name {
        "execve" | "execveat" => spec_flags::EXEC,
        "exit" | "exit_group" | "rt_sigreturn" | "sigreturn" => spec_flags::NO_RESULT,
        _ => 0,
    }
}

fn read_of(ty: ArgType) -> u8 {
    match ty {
        ArgType::Path | ArgType::String => read::STRING,
        ArgType::Sockaddr => read::SOCKADDR,
        ArgType::SockaddrOut => read::SOCKADDR_OUT,
        ArgType::Msghdr => read::MSGHDR,
        ArgType::Mmsghdr => read::MMSGHDR,
        ArgType::Argv => read::ARGV,
        ArgType::Struct | ArgType::StructOrNumber => read::BYTES,
        ArgType::StructInOut => read::BYTES_BOTH,
        ArgType::StructOut => read::BYTES_OUT,
        _ => read::NONE,
    }
}

/// The contents of the map `SPECS`: the spec of `nr` in `abi` is at `abi * NUMBERS + nr`. For numbers
/// that the table does not have, all six arguments are recorded.
pub fn specs(table: &SyscallTable) -> Vec<Spec> {
    let mut specs = Vec::with_capacity((ABIS * NUMBERS) as usize);
    for abi in ALL_ABIS {
        specs.extend((0..NUMBERS).map(|nr| spec_at(table, abi, nr as u16)));
    }
    specs
}

fn spec_at(table: &SyscallTable, abi: Abi, nr: u16) -> Spec {
    table.get(abi, nr).map_or(Spec { class: class::ARGS6, ..Spec::default() }, spec)
}
