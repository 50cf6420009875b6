//! Limits of resources that a recording needs.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};

/// A capture to this file, whose process may have this much of a resource.
fn limited(file: &Path, resource: libc::__rlimit_resource_t, most: u64) -> Command {
    let mut command = Command::new(ktape::binary());
    command.args(["capture", "-o"]).arg(file);
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: one system call with a pointer to a limit.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(resource, &raw const limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}

/// The soft and the hard limit of locked memory of a process, as `/proc` shows them.
fn locked_memory(process: &str) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory")).unwrap();
    line.split_whitespace().take(2).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn maps_may_exceed_the_limit_of_locked_memory() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::spawn(limited(&file, libc::RLIMIT_MEMLOCK, 64 << 10), &file);
    let limits = locked_memory(&capture.pid().to_string());
    capture.stop();
    // From 5.11 on, they do not count.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let number = |part: Option<&str>| part.unwrap().parse::<u32>().unwrap();
    let mut parts = release.split('.');
    let counts = (number(parts.next()), number(parts.next())) < (5, 11);
    let expected = if counts { "unlimited" } else { "65536" };
    assert_eq!(limits, [expected; 2], "{release}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn a_start_that_fails_has_its_cause_and_nothing_of_the_command() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let mut command = limited(&dir.path().join("x.ktape"), libc::RLIMIT_NOFILE, 24);
    let out = command.args(["--", "true"]).output().unwrap();
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{message}");
    assert!(message.starts_with("ktape: cannot load the eBPF object: failed to create map `"), "{message}");
    assert!(message.ends_with("`: Too many open files (os error 24)\n"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}
