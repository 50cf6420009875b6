use std::time::Duration;

use super::*;

fn settings() -> Settings {
    Settings {
        kinds: vec![Kind::Syscall],
        selection: SyscallSelection::All,
        cgroups: None,
        tree_pid: None,
        readers: true,
        ring_bytes: 1 << 20,
        event_bytes: 1 << 18,
        durations: true,
        lifecycle_bytes: 1 << 18,
        hierarchy: Hierarchy {
            name: "v2".to_owned(),
            subsys: None,
            number: 0,
            mount: "/sys/fs/cgroup".into(),
            root: b"/".to_vec(),
            initial_namespace: true,
            hybrid: false,
        },
        io_hierarchy: None,
        io_cgroups: Vec::new(),
        stall: Some(Duration::from_secs(1)),
        kernel_log: false,
    }
}

#[test]
fn settings_become_globals() {
    let mut config = Config::EMPTY;
    set_recorded(&mut config, &settings());
    assert_eq!(config.own_pid, std::process::id());
    assert_eq!(config.readers, 1);
    assert_eq!((config.filter_cgroups, config.tree_pid, config.narrow), (0, 0, 0));
    assert_eq!(config.io_hierarchy, NO_HIERARCHY);
    // Stalls are not among the kinds.
    assert_eq!((config.stall_ms, config.switches, config.sched), (0, 0, 0));

    let narrow = Settings {
        kinds: vec![Kind::Stall],
        selection: SyscallSelection::Named(vec!["openat".to_owned()]),
        cgroups: Some(vec![1]),
        tree_pid: Some(42),
        io_hierarchy: Some(7),
        ..settings()
    };
    set_recorded(&mut config, &narrow);
    assert_eq!((config.filter_cgroups, config.tree_pid, config.narrow), (1, 42, 1));
    assert_eq!(config.io_hierarchy, 7);
    assert_eq!((config.stall_ms, config.switches, config.sched), (1000, 0, 1));

    let shortest = Settings {
        kinds: vec![Kind::Stall, Kind::Switch],
        stall: Some(Duration::from_nanos(1)),
        ..settings()
    };
    set_recorded(&mut config, &shortest);
    assert_eq!((config.stall_ms, config.switches, config.sched), (1, 1, 1));
}

#[test]
fn a_named_selection_skips_all_other_calls() {
    let all = specs(&SyscallSelection::All);
    assert!(all.iter().all(|spec| spec.flags & spec_flags::SKIP == 0));
    let named = specs(&SyscallSelection::Named(vec!["openat".to_owned()]));
    let table = syscalls::table();
    let wanted = named.iter().filter(|spec| spec.flags & spec_flags::SKIP == 0).count();
    assert_eq!(wanted, table.by_name("openat").len());
    let (abi, nr) = table.by_name("kill")[0];
    let slot = abi as usize * agent_ebpf::spec::NUMBERS as usize + usize::from(nr);
    assert_ne!(
        named[slot].flags & spec_flags::KILL,
        0,
        "signals are also read from calls that are not recorded"
    );
}
