use std::collections::HashSet;

use super::*;

fn written(arch: Arch, set: &str, value: i64) -> String {
    let mut out = Vec::new();
    let set = value_sets(arch).of("", "", set).unwrap();
    if set.write(value as u64, &mut out) { String::from_utf8(out).unwrap() } else { "-".to_owned() }
}

#[test]
fn values_are_written_by_name() {
    for (set, value, expected) in [
        ("open_flags", 0, "O_RDONLY"),
        ("open_flags", 0o2_000_000, "O_RDONLY|O_CLOEXEC"),
        ("open_flags", 0o1101, "O_WRONLY|O_CREAT|O_TRUNC"),
        ("open_flags", 0o4_010_002, "O_RDWR|O_SYNC"),
        ("open_flags", 0x410002, "O_RDWR|O_TMPFILE"),
        ("open_flags", 0x1000_0000, "O_RDONLY|0x10000000"),
        ("mmap_prot", 0, "PROT_NONE"),
        ("mmap_prot", 5, "PROT_READ|PROT_EXEC"),
        ("mmap_flags", 0x22, "MAP_PRIVATE|MAP_ANONYMOUS"),
        ("clone.clone_flags", 0x0120_0011, "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"),
        ("whence_const", 2, "SEEK_END"),
        ("whence_const", 77, "-"),
        ("rusage_const", -1, "RUSAGE_CHILDREN"),
        ("futex_cmd", 0x80, "FUTEX_WAIT_PRIVATE"),
        ("futex_cmd", 0x189, "FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME"),
        ("socket_type_flags", 0x80801, "SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK"),
        ("ipc_get_flags", 0o1600, "IPC_CREAT|0600"),
        ("msg_flags", 0, "0"),
    ] {
        let names = |text: &str| {
            let mut names: Vec<String> = text.split('|').map(str::to_owned).collect();
            names.sort_unstable();
            names
        };
        let found = written(Arch::X86_64, set, value);
        assert_eq!(names(&found), names(expected), "{set} {value:#x}: {found}");
    }
    assert_eq!(written(Arch::Aarch64, "open_flags", 0o40000), "O_RDONLY|O_DIRECTORY");
    assert_eq!(written(Arch::X86_64, "open_flags", 0o40000), "O_RDONLY|O_DIRECT");
}

#[test]
fn names_are_read() {
    let set = value_sets(Arch::X86_64).of("", "", "open_flags").unwrap();
    assert_eq!(set.number("O_WRONLY|O_CREAT"), Some(0o101));
    assert_eq!(set.number("o_creat | 0x1"), Some(0o101));
    assert_eq!(set.number("O_NDELAY"), Some(0o4000));
    assert_eq!(set.number("O_CREATE"), None);
    assert_eq!(set.bits("O_RDONLY"), Some(BitTest { mask: 3, bits: 0 }));
    assert_eq!(set.bits("O_RDWR|O_CREAT"), Some(BitTest { mask: 0o103, bits: 0o102 }));
    assert_eq!(set.bits("0"), Some(BitTest { mask: u64::MAX, bits: 0 }));
    let clone = value_sets(Arch::X86_64).of("clone", "clone_flags", "clone_flags").unwrap();
    assert_eq!(clone.bits("SIGCHLD"), Some(BitTest { mask: 0xff, bits: 17 }));
}

/// Every line of the table counts, and what it writes can be read again.
#[test]
fn the_table_is_whole() {
    for line in TABLE.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()) {
        assert!(entry(line).is_some(), "{line}");
    }
    for arch in Arch::ALL {
        for set in &value_sets(arch).sets {
            let mut seen = HashSet::new();
            for entry in &set.entries {
                let Meaning::Name(name) = entry.meaning else { continue };
                // Of a name with two values (another size of a structure, a register of 32 bits), the first one is read.
                if !seen.insert(name) {
                    continue;
                }
                assert_eq!(set.number(name), Some(entry.value), "{name}");
                if entry.is_alias {
                    continue;
                }
                let mut out = Vec::new();
                assert!(set.write(entry.value, &mut out), "{name}");
                let text = String::from_utf8(out).unwrap();
                assert_eq!(set.number(&text), Some(entry.value), "{name}: {text}");
            }
        }
    }
}
