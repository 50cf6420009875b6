use std::mem::offset_of;
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
fn settings_become_constants() {
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

#[test]
fn constants_are_filled_into_instructions() {
    let number = |value: u32| u64::from(value) << 32 | u64::from(LOAD_NUMBER);
    let load = |code: u8, offset: i16| u64::from(code) | u64::from(offset as u16) << 16;
    let stands_for = |offset: usize| config::offset_placeholder(offset) as i16;
    let mut values = Config::EMPTY;
    values.offsets.task_pid = 1200;
    values.offsets.task_tgid = ABSENT;
    values.own_pid = 4711;
    let own_pid = config::placeholder(offset_of!(Config, own_pid));
    let (pid, tgid) = (offset_of!(Config, offsets.task_pid), offset_of!(Config, offsets.task_tgid));
    // Loads of 8, 4, 2 and 1 bytes, a store, and loads before and behind the offsets that stand for something.
    let program = [
        number(own_pid),
        0,
        number(own_pid - 1 - (offset_of!(Config, own_pid) / 4) as u32),
        load(0x79, stands_for(pid)),
        load(0x61, stands_for(pid)),
        load(0x69, stands_for(pid)),
        load(0x71, stands_for(tgid)),
        load(0x7b, stands_for(pid)),
        load(0x79, -8),
        load(0x79, i16::MIN),
    ];
    let mut bytes: Vec<u8> = program.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
    Constants(values).fill(&mut bytes);
    let filled: Vec<u64> =
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    let expected = [
        number(4711),
        0,
        program[2],
        load(0x79, 1200),
        load(0x61, 1200),
        load(0x69, 1200),
        load(0x71, 0),
        program[7],
        program[8],
        program[9],
    ];
    assert_eq!(filled, expected);
}
