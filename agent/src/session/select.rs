//! `-e LIST`: event kinds and names of syscalls.

use anyhow::{Result, bail};
use events::{KINDS, Kind, RECORDED, SAMPLES, STALLS};

use crate::kernel::SyscallSelection;
use ktape_reader::syscalls;

/// Kinds to write and system calls to record, from a comma-separated list of both. The kinds `loss` and `clock` are
/// always written. An empty list selects everything.
///
/// # Errors
///
/// A name is neither a kind nor a system call.
pub fn parse(list: &[String]) -> Result<(Vec<Kind>, SyscallSelection)> {
    let names: Vec<&str> = list
        .iter()
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return Ok((RECORDED.iter().collect(), SyscallSelection::All));
    }
    let mut kinds = vec![Kind::Loss, Kind::Clock];
    let mut calls = Vec::new();
    let mut every_call = false;
    for name in names {
        // `fork` and `exit` are both a kind and a system call, and select both.
        let kind = KINDS.into_iter().find(|kind| kind.decl().name == name);
        let is_call = !syscalls::table().by_name(name).is_empty();
        match kind {
            Some(Kind::Syscall) => every_call = true,
            Some(Kind::Sample) => kinds.extend(SAMPLES),
            Some(Kind::Stall) => kinds.extend(STALLS),
            // What it is computed from when the capture is read.
            Some(kind) if kind.is_derived() => {
                kinds.extend(kind.computed_from());
                kinds.extend(STALLS.into_iter().filter(|stall| kind.computed_from().contains(stall)));
                every_call |= kind.computed_from().contains(&Kind::Syscall);
            }
            Some(kind) => kinds.push(kind),
            None if !is_call => {
                let known: Vec<&str> = KINDS.iter().map(|kind| kind.decl().name).collect();
                bail!(
                    "`{name}` is neither a syscall nor an event kind; event kinds are {}",
                    known.join(", ")
                );
            }
            None => {}
        }
        if is_call {
            calls.push(name.to_owned());
        }
    }
    let selection = if every_call {
        SyscallSelection::All
    } else if calls.is_empty() {
        SyscallSelection::None
    } else {
        SyscallSelection::Named(calls)
    };
    if selection != SyscallSelection::None {
        kinds.push(Kind::Syscall);
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok((kinds, selection))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &str) -> (Vec<Kind>, SyscallSelection) {
        parse(&[list.to_owned()]).unwrap()
    }

    #[test]
    fn kinds_and_syscalls_mix() {
        assert_eq!(of("").1, SyscallSelection::All);
        assert_eq!(of("exec"), (vec![Kind::Exec, Kind::Loss, Kind::Clock], SyscallSelection::None));
        assert_eq!(
            of("openat, exec"),
            (
                vec![Kind::Syscall, Kind::Exec, Kind::Loss, Kind::Clock],
                SyscallSelection::Named(vec!["openat".to_owned()])
            )
        );
        assert_eq!(of("syscall,openat").1, SyscallSelection::All);
        assert_eq!(
            of("exit"),
            (
                vec![Kind::Syscall, Kind::Exit, Kind::Loss, Kind::Clock],
                SyscallSelection::Named(vec!["exit".to_owned()])
            )
        );
    }

    #[test]
    fn unknown_names_are_errors_that_list_the_kinds() {
        let error = parse(&["openta".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("openta") && error.contains("cgroup_mkdir"), "{error}");
    }
}
