//! What of a call stands for files, as the kernel side looks it up.

use agent_ebpf::spec::{Spec, file, result};
use ktape_reader::syscalls::{FileArg, FileResult, FileRoles, Signature, Syscall, string_positions};

/// Where a file of a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// There is none.
    None,
    /// The descriptor that is this argument, or `AT_FDCWD`.
    Descriptor(u8),
    /// The working directory, from which a relative path starts.
    WorkingDirectory,
}

/// Where both files of a call come from.
pub fn sources(call: &Syscall) -> [FileSource; 2] {
    let mut spec = Spec::default();
    set(&mut spec, call);
    spec.files.map(|how| match how {
        _ if how & file::DESCRIPTOR != 0 => FileSource::Descriptor(how & file::ARGUMENT),
        _ if how & file::CWD != 0 => FileSource::WorkingDirectory,
        _ => FileSource::None,
    })
}

/// Sets what of a call stands for files.
pub(super) fn set(spec: &mut Spec, call: &Syscall) {
    let roles = FileRoles::new(&Signature { name: call.name.into(), args: call.args.clone() });
    let strings = string_positions(&call.args);
    // Whether a path is relative is known only of what is read.
    let string = |argument: usize| strings.iter().position(|at| usize::from(*at) == argument);
    for (at, arg) in roles.args.iter().enumerate() {
        match *arg {
            FileArg::None | FileArg::Path(None) | FileArg::Pair => {}
            FileArg::Descriptor(slot) => {
                let closed = if call.name == "close" { file::CLOSED } else { 0 };
                spec.files[usize::from(slot)] = file::DESCRIPTOR | closed | at as u8;
            }
            FileArg::Directory(slot) => {
                spec.files[usize::from(slot)] = file::DESCRIPTOR | file::BASE | at as u8;
            }
            FileArg::Path(Some(slot)) => {
                let how = &mut spec.files[usize::from(slot)];
                match string(at) {
                    Some(index) if *how == 0 => *how = file::CWD | second(index),
                    Some(index) => *how |= second(index),
                    None => {}
                }
            }
        }
    }
    spec.result = match (roles.result, call.name) {
        (FileResult::None, _) => result::NONE,
        (FileResult::Descriptor, _) => result::DESCRIPTOR,
        (FileResult::DescriptorIf(..), "bpf") => result::BPF,
        (FileResult::DescriptorIf(..), "fcntl" | "fcntl64") => result::FCNTL,
        // The descriptor is looked up when it is used.
        (FileResult::DescriptorIf(..), _) => result::NONE,
        (FileResult::Directory, _) => result::CWD,
        (FileResult::Pair(_), _) => result::PAIR,
    };
    if matches!(call.name, "mount" | "umount" | "umount2" | "oldumount" | "move_mount" | "pivot_root") {
        spec.result = result::MOUNTS;
    }
    let used = spec.files.iter().rposition(|how| *how != 0).map_or(0, |last| last as u8 + 1);
    spec.file_words = if matches!(spec.result, result::NONE | result::MOUNTS) { used } else { 2 };
}

fn second(string: usize) -> u8 {
    if string == 1 { file::SECOND } else { 0 }
}
