//! ktape's eBPF programs. One object for every kernel from 5.15 on and every architecture: whatever differs comes in
//! through [`agent_ebpf::config::Config`] at load. The feature `legacy` makes a second one, for kernels whose tracing
//! programs have no task storage and do not know the type of the current task.
#![no_std]
#![no_main]
// For the few lines whose exact form matters to a verifier.
#![feature(asm_experimental_arch)]

mod block;
mod cast;
mod cpu_ring;
mod details;
mod fallback;
mod files;
mod iter;
mod lifecycle;
mod maps;
mod net;
mod oom;
mod preempt_guard;
mod sched;
mod signals;
mod sockets;
mod stall;
mod storage;
mod syscall;
mod task;
mod uring;
mod user;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the verifier refuses a program in which this could be reached.
    unsafe { core::hint::unreachable_unchecked() }
}

/// Helpers such as `bpf_probe_read_*` are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
