use std::collections::BTreeSet;

use events::{KINDS, Ring};

use super::*;

static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/ktape.bpf.o");
static LEGACY_OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/ktape-legacy.bpf.o");

/// The hooks that the kernels of one object may need.
fn hooks(kernels: Kernels) -> BTreeSet<String> {
    let hooks = HOOKS.iter().filter(|hook| [Kernels::All, kernels].contains(&hook.kernels));
    hooks.map(|hook| hook.name.to_owned()).collect()
}

/// The programs of an object that are attached to tracepoints.
fn programs(object: &[u8]) -> BTreeSet<String> {
    let object = aya_obj::Object::parse(object).unwrap();
    let iterators = ["task_iter", "stall_iter", "socket_iter"];
    object.programs.into_keys().filter(|name| !iterators.contains(&name.as_str())).collect()
}

#[test]
fn every_program_has_a_hook_and_every_hook_a_program() {
    assert_eq!(programs(OBJECT), hooks(Kernels::Preemptible));
    assert_eq!(programs(LEGACY_OBJECT), hooks(Kernels::Legacy));
}

#[test]
fn every_kind_from_the_kernel_has_a_hook() {
    for kind in KINDS.into_iter().filter(|kind| !matches!(kind.decl().ring, Ring::Agent | Ring::Reader)) {
        let found = HOOKS.iter().any(|hook| hook.lost == Some(kind) || hook.needed_for.contains(&kind));
        assert!(found, "no hook is attached for {}", kind.decl().name);
    }
}
