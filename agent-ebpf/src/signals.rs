//! Signals: who sends which to whom, and why.

use agent_ebpf::records::Header;
use agent_ebpf::records::signals::{Signal, cause};
use agent_ebpf::spec::spec_flags;
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use events::Kind;

use crate::maps::{self, LIFECYCLE, config};
use crate::syscall::is_in;
use crate::task::{Task, is_left_out, now, probe};

/// In place of a `siginfo`: from the current process, without further data (`SEND_SIG_NOINFO`).
const NO_INFO: u64 = 0;
/// In place of a `siginfo`: from the kernel (`SEND_SIG_PRIV`).
const PRIVILEGED: u64 = 1;

// Codes of `siginfo_t`, part of the kernel's ABI.
const SI_USER: i32 = 0;
const SI_QUEUE: i32 = -1;
const SI_TIMER: i32 = -2;
const SI_MESGQ: i32 = -3;
const SI_ASYNCIO: i32 = -4;
const SI_SIGIO: i32 = -5;
const SI_TKILL: i32 = -6;

// Signals with numbers that are the same on x86-64 and arm64.
const SIGILL: u32 = 4;
const SIGTRAP: u32 = 5;
const SIGBUS: u32 = 7;
const SIGFPE: u32 = 8;
const SIGSEGV: u32 = 11;
const SIGALRM: u32 = 14;
const SIGCHLD: u32 = 17;
const SIGURG: u32 = 23;
const SIGVTALRM: u32 = 26;
const SIGPROF: u32 = 27;
const SIGIO: u32 = 29;
const SIGSYS: u32 = 31;

/// `signal:signal_generate` (sig, info, task, group, result).
#[btf_tracepoint(function = "signal_generate")]
pub fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    let time = now();
    let signal = ctx.arg::<u64>(0) as u32;
    // Not as an argument: the verifier would take it for a pointer that is never null, and leave out what follows when it
    // is.
    let info: *mut u8 = probe(ctx.as_ptr().cast(), size_of::<u64>() as u32);
    let target = Task(ctx.arg::<*mut u8>(2));
    let group = ctx.arg::<u64>(3) as u32;
    let result = ctx.arg::<u64>(4) as u32;

    let (cause, known) = origin(signal, info);
    let sender = Task::current();
    let target_pid = target.pid();
    if is_left_out(target_pid) && (!known || is_left_out(sender.pid())) {
        return 0;
    }
    let target_cgroup = target.cgroup();
    let cgroup = if known { sender.cgroup() } else { 0 };
    if config!(filter_cgroups) != 0 && !maps::allowed(target_cgroup) && !(known && maps::allowed(cgroup)) {
        return 0;
    }
    let Some(slot) = maps::reserve::<Signal>(&LIFECYCLE, Kind::Signal as u8, target_cgroup) else {
        return 0;
    };
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u16;
    let mut head = Header { time, cpu, kind: Kind::Signal as u8, ..Header::default() };
    let (mut uid, mut ppid) = (0, 0);
    if known {
        head = sender.header(Kind::Signal as u8, 0, 0, time, cgroup);
        uid = sender.uid();
        ppid = sender.parent().pid();
    }
    // SAFETY: reserved for this type.
    unsafe {
        slot.as_ptr().write(Signal {
            head,
            target_cgroup,
            target_pid,
            target_tid: target.tid(),
            target_uid: target.uid(),
            uid,
            signal,
            group: u32::from(group != 0),
            result,
            cause: u32::from(cause),
            ppid,
            reserved: 0,
        });
    }
    slot.submit();
    0
}

/// Why, and whether the current task is who sends it: timers and network run on whatever was interrupted.
#[inline(always)]
fn origin(signal: u32, info: *mut u8) -> (u8, bool) {
    let by_interrupt = signal == SIGIO || signal == SIGURG;
    if info as u64 == NO_INFO {
        // So does `kill` in 7.3; before, it had an info.
        let sender = Task::current();
        if !by_interrupt && !sender.is_kthread() && is_in(sender, spec_flags::KILL) {
            return (cause::USER, true);
        }
        return (cause::KERNEL, !by_interrupt);
    }
    if info as u64 == PRIVILEGED {
        // Of setitimer and alarm; a process that sends these has an info.
        return match signal {
            SIGALRM | SIGVTALRM | SIGPROF => (cause::TIMER, false),
            _ => (cause::KERNEL, !by_interrupt),
        };
    }
    let code: i32 = probe(info, config!(offsets.siginfo_code));
    match code {
        SI_USER | SI_QUEUE => (cause::USER, true),
        SI_TKILL => (cause::TKILL, true),
        SI_TIMER => (cause::TIMER, false),
        SI_MESGQ => (cause::KERNEL, true),
        SI_ASYNCIO | SI_SIGIO => (cause::KERNEL, false),
        // By rt_sigqueueinfo with a code of its own.
        _ if code < 0 => (cause::OTHER, true),
        _ => match signal {
            SIGCHLD => (cause::CHILD, true),
            SIGILL | SIGTRAP | SIGBUS | SIGFPE | SIGSEGV | SIGSYS => (cause::FAULT, true),
            _ => (cause::KERNEL, !by_interrupt),
        },
    }
}
