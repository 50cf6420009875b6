use agent_ebpf::config::ALTERNATIVES;

use super::raw::MAGIC;
use super::*;

#[test]
fn running_kernel_has_what_the_probes_read() {
    let Ok(btf) = Btf::of_kernel() else {
        eprintln!("SKIPPED: this kernel has no BTF");
        assert!(std::env::var_os("CI").is_none(), "CI needs a kernel with BTF");
        return;
    };
    let exists = |path: &str| btf.offset(path).is_some();
    for path in agent_ebpf::config::Offsets::PATHS {
        let other = ALTERNATIVES.iter().find_map(|(a, b)| match () {
            () if path == a => Some(*b),
            () if path == b => Some(*a),
            () => None,
        });
        assert!(exists(path) || other.is_some_and(exists), "{path} is not in this kernel's BTF");
    }
    assert_eq!(btf.tracepoint_args("sys_enter"), Some(2));
    assert_eq!(btf.tracepoint_args("sched_process_exec"), Some(3));
    assert_eq!(btf.tracepoint_args("no_such_tracepoint"), None);
    assert_eq!(btf.size("list_head"), Some(16));
    assert_eq!(btf.size("sockaddr_union"), None);
    assert_eq!(btf.enum_value("hrtimer_restart", "HRTIMER_RESTART"), Some(1));
    assert_eq!(btf.offset("task_struct.no_such_member"), None);
    assert_eq!(btf.offset("no_such_struct.pid"), None);
}

#[test]
fn garbage_is_an_error() {
    assert!(Btf::parse(Vec::new().into()).is_err());
    assert!(Btf::parse(vec![0xff; 64].into()).is_err());
    let mut header = vec![0u8; 24];
    header[..2].copy_from_slice(&MAGIC.to_ne_bytes());
    header[4..8].copy_from_slice(&24u32.to_ne_bytes());
    header[12..16].copy_from_slice(&1000u32.to_ne_bytes());
    assert!(Btf::parse(header.into()).is_err());
}
