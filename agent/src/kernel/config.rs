//! The constants of the kernel side: struct offsets of this kernel, registers of this architecture, and which
//! events are recorded.

use agent_ebpf::config::{self, ABSENT, Config, NO_HIERARCHY, Offsets};
use agent_ebpf::spec::{Spec, read, spec_flags};
use events::Kind;

use super::block;
use super::btf::Btf;
use super::error::LoadError;
use super::hooks::Kernels;
use super::ring_buffer::page_size;
use super::settings::{Settings, SyscallSelection};
use super::uring;
use crate::containers::Hierarchy;
use ktape_reader::syscalls;

/// Bytes of a kernel stack (`THREAD_SIZE`).
const THREAD_SIZE: u32 = 16 << 10;

/// The constants of the kernel side.
pub struct Constants(Config);

/// `BPF_LD | BPF_IMM | BPF_DW`.
const LOAD_NUMBER: u8 = 0x18;
/// `BPF_LDX | BPF_MEM`, without the size, which is in two of the bits.
const LOAD: u8 = 0x61;
const LOAD_MASK: u8 = !0x18;

impl Constants {
    /// Fills the constants into a program.
    pub fn fill(&self, instructions: &mut [u8]) {
        // SAFETY: `Config` is repr(C) and made of u32 alone.
        let values: [u32; size_of::<Config>() / 4] = unsafe { std::mem::transmute(self.0) };
        for instruction in instructions.chunks_exact_mut(8) {
            let (code, [low, high]) = (instruction[0], [instruction[2], instruction[3]]);
            if code == LOAD_NUMBER {
                let number = &mut instruction[4..];
                let of = (&*number).try_into().map(u32::from_le_bytes).ok().and_then(config::field);
                if let Some(index) = of {
                    number.copy_from_slice(&values[index].to_le_bytes());
                }
            } else if code & LOAD_MASK == LOAD
                && let Some(index) = config::offset_field(i16::from_le_bytes([low, high]))
            {
                // Where the kernel has no such member, the load is never reached.
                let offset = i16::try_from(values[index]).unwrap_or(0);
                instruction[2..4].copy_from_slice(&offset.to_le_bytes());
            }
        }
    }
}

/// How many ring buffers there are.
#[derive(Clone, Copy, Debug)]
pub struct Rings {
    /// Of each of the kernel's sorts.
    pub shared: u32,
    /// Of the CPUs' own.
    pub of_cpus: u32,
    /// Segments of each of those.
    pub segments: u32,
}

/// The constants for these settings on this kernel. `casts`: programs may take a number for a pointer.
///
/// # Errors
/// The kernel's types lack the cgroup controller that identifies containers.
pub fn constants(
    settings: &Settings,
    kernel: &Btf,
    variant: Kernels,
    rings: Rings,
    casts: bool,
) -> Result<Constants, LoadError> {
    let mut config = Config { offsets: offsets(kernel), ..Config::EMPTY };
    set_registers(&mut config);
    set_recorded(&mut config, settings);
    config.rings = rings.shared;
    config.cpu_rings = rings.of_cpus;
    config.ring_segments = rings.segments;
    config.casts = u32::from(casts);
    config.weak_order = u32::from(!cfg!(target_arch = "x86_64"));
    config.cgroup_subsys = cgroup_subsys(&settings.hierarchy, kernel)?;
    set_tracepoint_shapes(&mut config, kernel);
    block::set_config(&mut config, kernel);
    uring::Support::of(kernel).set_config(&mut config);
    set_net_and_oom(&mut config, kernel, &settings.kinds);
    if variant == Kernels::Legacy {
        config.stack_registers = stack_registers(kernel);
    }
    config.upid_size = kernel.size("upid").unwrap_or(0);
    config.inode_size = kernel.size("inode").unwrap_or(0);
    config.fallbacks = u32::from(variant == Kernels::Preemptible);
    config.loops = u32::from(kernel.has_function("bpf_loop"));
    Ok(Constants(config))
}

/// Sets which processes, cgroups and kinds are recorded.
fn set_recorded(config: &mut Config, settings: &Settings) {
    config.own_pid = std::process::id();
    config.readers = u32::from(settings.readers);
    config.hierarchy = settings.hierarchy.number;
    config.io_hierarchy = settings.io_hierarchy.unwrap_or(NO_HIERARCHY);
    config.filter_cgroups = u32::from(settings.cgroups.is_some());
    config.tree_pid = settings.tree_pid.unwrap_or(0);
    config.narrow = u32::from(matches!(settings.selection, SyscallSelection::Named(_)));
    config.calls = u32::from(settings.selection != SyscallSelection::None);
    config.returns_only = u32::from(!settings.durations);
    let stall = settings.stalls();
    let switches = settings.kinds.contains(&Kind::Switch);
    config.stall_ms = stall.map_or(0, |limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1));
    config.switches = u32::from(switches);
    config.sched = u32::from(settings.needs_sched());
}

/// The kernel's number of a v1 controller plus one; 0 for a hierarchy without a controller.
fn cgroup_subsys(hierarchy: &Hierarchy, kernel: &Btf) -> Result<u32, LoadError> {
    let Some(subsys) = &hierarchy.subsys else { return Ok(0) };
    kernel
        .enum_value("cgroup_subsys_id", &format!("{subsys}_cgrp_id"))
        .map(|index| index + 1)
        .ok_or(LoadError::Missing("number for the cgroup controller in the kernel's types"))
}

/// Sets which arguments this kernel's tracepoints pass.
fn set_tracepoint_shapes(config: &mut Config, kernel: &Btf) {
    config.exit_has_group_dead = u32::from(kernel.tracepoint_args("sched_process_exit") == Some(2));
    config.switch_has_state = u32::from(kernel.tracepoint_args("sched_switch") == Some(4));
    if let Some(bit) = kernel.bit_offset("task_struct.in_execve") {
        config.in_execve = bit / 8;
        config.in_execve_mask = 1 << (bit % 8);
    }
}

/// Offsets of this kernel's structs; a member that it lacks is [`ABSENT`].
pub fn offsets(btf: &Btf) -> Offsets {
    let values: Vec<u32> = Offsets::PATHS
        .iter()
        .map(|path| {
            let offset = btf.offset(path);
            // Named `real_start_time` before 5.5, with the same meaning.
            let offset = offset.or_else(|| {
                (*path == "task_struct.start_boottime").then(|| btf.offset("task_struct.real_start_time"))?
            });
            // `state`, a long, before 5.14.
            let offset = offset
                .or_else(|| (*path == "task_struct.__state").then(|| btf.offset("task_struct.state"))?);
            offset.unwrap_or(ABSENT)
        })
        .collect();
    Offsets::from_values(&values).unwrap_or(Offsets::ABSENT)
}

/// The registers that carry a syscall, as byte offsets in the kernel's `struct pt_regs`.
pub fn set_registers(config: &mut Config) {
    #[cfg(target_arch = "x86_64")]
    {
        // di, si, dx, r10, r8, r9; for 32-bit callers bx, cx, dx, si, di, bp; orig_ax.
        config.regs_args = [112, 104, 96, 56, 72, 64];
        config.regs_compat_args = [40, 88, 96, 104, 112, 32];
        config.regs_nr = 120;
        // TS_COMPAT of arch/x86/include/asm/thread_info.h.
        config.compat_bits = 2;
    }
    #[cfg(target_arch = "aarch64")]
    {
        // x0 is overwritten by the result, but arguments are read at entry; syscallno follows
        // regs[31], sp, pc, pstate and orig_x0.
        config.regs_args = [0, 8, 16, 24, 32, 40];
        config.regs_compat_args = [0, 8, 16, 24, 32, 40];
        config.regs_nr = 280;
        config.compat_bits = 0;
    }
}

/// Byte offset on a task's kernel stack of the registers that it entered the kernel with: at the upper end, where 64-bit
/// kernels before 5.15 have no padding. 0 if it is not known.
pub fn stack_registers(btf: &Btf) -> u32 {
    let size = btf.size("thread_union").unwrap_or({
        // Not in every kernel's types. 16 KiB on x86-64, and on arm64 with pages up to that size; more with KASAN.
        if btf.has_function("kasan_report") || page_size() > THREAD_SIZE { 0 } else { THREAD_SIZE }
    });
    btf.size("pt_regs").map_or(0, |registers| size.saturating_sub(registers))
}

/// Threads that the legacy programs can keep state of: twice the present number, at least 32,768, which takes 11 MB of
/// kernel memory.
pub fn tasks_max() -> u32 {
    let threads = std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse::<u32>().ok());
    threads.unwrap_or(0).saturating_mul(2).clamp(32_768, 1 << 20)
}

/// Sets how this kernel represents sockets, memory use and OOM victims.
pub fn set_net_and_oom(config: &mut Config, btf: &Btf, kinds: &[Kind]) {
    config.net = u32::from(kinds.contains(&Kind::Net));
    config.socket_cookie = u32::from(btf.has_function("bpf_get_socket_ptr_cookie"));
    config.memory_subsys = btf.enum_value("cgroup_subsys_id", "memory_cgrp_id").map_or(0, |index| index + 1);
    // Before 6.2, the counters are plain numbers.
    if let Some(offset) = btf.offset("mm_rss_stat.count") {
        config.rss_count = offset;
        config.rss_stride = size_of::<u64>() as u32;
    } else if let (Some(offset), Some(size)) =
        (btf.offset("percpu_counter.count"), btf.size("percpu_counter"))
    {
        config.rss_count = offset;
        config.rss_stride = size;
    }
    config.oom_has_task = u32::from(btf.passes_pointer("mark_victim", 0) == Some(true));
}

/// The contents of the map `SPECS`, with calls that are not recorded marked.
pub fn specs(selection: &SyscallSelection) -> Vec<Spec> {
    let table = syscalls::table();
    let mut specs = super::specs::specs(table);
    // The two ABIs with 32-bit pointers follow the native one.
    for spec in specs.iter_mut().skip(agent_ebpf::spec::NUMBERS as usize) {
        for read in [&mut spec.read0, &mut spec.read1] {
            *read = read::with_32_bit_pointers(*read);
        }
    }
    let slot =
        |abi: events::Abi, nr: u16| abi as usize * agent_ebpf::spec::NUMBERS as usize + usize::from(nr);
    if let SyscallSelection::Named(names) = selection {
        for spec in &mut specs {
            spec.flags |= spec_flags::SKIP;
        }
        for name in names {
            for (abi, nr) in table.by_name(name) {
                specs[slot(abi, nr)].flags &= !spec_flags::SKIP;
            }
        }
    }
    for name in ["accept", "accept4"] {
        for (abi, nr) in table.by_name(name) {
            specs[slot(abi, nr)].flags |= spec_flags::ACCEPT;
        }
    }
    for name in ["fork", "vfork", "clone", "clone3"] {
        for (abi, nr) in table.by_name(name) {
            specs[slot(abi, nr)].flags |= spec_flags::FORK;
        }
    }
    for name in ["kill", "pidfd_send_signal"] {
        for (abi, nr) in table.by_name(name) {
            specs[slot(abi, nr)].flags |= spec_flags::KILL;
        }
    }
    for (abi, nr) in table.by_name("sched_yield") {
        specs[slot(abi, nr)].flags |= spec_flags::YIELD;
    }
    specs
}

#[cfg(test)]
mod tests;
