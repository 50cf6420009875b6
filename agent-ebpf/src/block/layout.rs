//! What the block tracepoints pass, and what bios and requests look like, in this kernel.

use agent_ebpf::config::NO_HIERARCHY;
use agent_ebpf::records::block::NO_DEVICE;
use aya_ebpf::EbpfContext;
use aya_ebpf::programs::BtfTracePointContext;

use crate::cast::untrusted;
use crate::maps::config;
use crate::task::{self, Task, has, load, probe};

/// A worker of a workqueue (`PF_WQ_WORKER`).
const PF_WQ_WORKER: u32 = 0x20;
/// The name of the throttle's workqueue, the same in all kernels.
const THROTTLE: [u8; 8] = *b"kthrotld";

/// The bio or request that a tracepoint is about.
#[inline(always)]
pub fn subject(ctx: &BtfTracePointContext, hook: u32) -> *mut u8 {
    if has_queue(hook) { second(ctx) } else { ctx.arg(0) }
}

/// Whether the queue is the first argument of this hook, one of [`block_hook`].
#[inline(always)]
pub fn has_queue(hook: u32) -> bool {
    config!(block_has_queue) & hook != 0
}

/// The second argument. Its own function, so that nothing of it is left where there is none: the compiler would
/// merge the two loads into one at an address that the verifier refuses.
#[inline(never)]
pub fn second(ctx: &BtfTracePointContext) -> *mut u8 {
    let args = ctx.as_ptr().cast::<*mut u8>();
    // SAFETY: only called where the hook has two arguments; the verifier checks that.
    unsafe { args.add(1).read_volatile() }
}

/// See [`second`].
#[inline(never)]
pub fn third(ctx: &BtfTracePointContext) -> u32 {
    let args = ctx.as_ptr().cast::<u64>();
    // SAFETY: only called where the hook has four arguments; the verifier checks that.
    unsafe { args.add(2).read_volatile() as u32 }
}

/// The number of a whole disk.
#[inline(always)]
pub fn number_of(disk: *mut u8) -> u32 {
    if disk.is_null() {
        return NO_DEVICE;
    }
    load::<u32>(disk, config!(offsets.disk_major)) << 20 | load::<u32>(disk, config!(offsets.disk_minor))
}

/// The disk that a bio goes to.
#[inline(always)]
pub fn disk_of_bio(bio: *mut u8) -> *mut u8 {
    if has(config!(offsets.bio_bdev)) {
        let device: *mut u8 = load(untrusted!(bio, BIO), config!(offsets.bio_bdev));
        return load(device, config!(offsets.bdev_disk));
    }
    load(bio, config!(offsets.bio_disk))
}

/// The number of the disk that a request goes to.
#[inline(always)]
pub fn device_of_request(rq: *mut u8) -> u32 {
    if has(config!(offsets.queue_disk)) {
        let queue: *mut u8 = load(untrusted!(rq, REQUEST), config!(offsets.rq_queue));
        return number_of(load(queue, config!(offsets.queue_disk)));
    }
    number_of(load(rq, config!(offsets.rq_disk)))
}

/// The cgroup that a bio is charged to.
pub enum Payer {
    /// By its id in the hierarchy that identifies cgroups.
    Identified(u64),
    /// By its id in the hierarchy of the I/O controller.
    Io(u64),
}

/// The cgroup that a bio is charged to. `None` for the root of a hierarchy of its own: what is charged there was submitted
/// by threads outside of all cgroups of it, or is written back for cgroups that the kernel does not know.
#[inline(always)]
pub fn payer(bio: *mut u8) -> Option<Payer> {
    if !has(config!(offsets.bio_blkg)) {
        return None;
    }
    let group: *mut u8 = load(untrusted!(bio, BIO), config!(offsets.bio_blkg));
    if group.is_null() {
        return None;
    }
    let css: *mut u8 = load(group, config!(offsets.blkg_blkcg));
    let cgroup: *mut u8 = load(css, config!(offsets.blkcg_cgroup));
    if cgroup.is_null() {
        return None;
    }
    let hierarchy = task::hierarchy(cgroup);
    if hierarchy == config!(hierarchy) {
        return Some(Payer::Identified(task::cgroup_id(cgroup)));
    }
    if config!(io_hierarchy) != NO_HIERARCHY
        && hierarchy == config!(io_hierarchy)
        && load::<u32>(cgroup, config!(offsets.cgroup_level)) != 0
    {
        return Some(Payer::Io(task::cgroup_id(cgroup)));
    }
    None
}

/// Whether the current thread dispatches bios that an I/O limit has held: a worker of the throttle's workqueue.
#[inline(always)]
pub fn is_throttle(task: Task) -> bool {
    if load::<u32>(task.0, config!(offsets.task_flags)) & PF_WQ_WORKER == 0 || !has(config!(offsets.wq_name))
    {
        return false;
    }
    let kthread: *mut u8 = if has(config!(offsets.task_worker_private)) {
        probe(task.0, config!(offsets.task_worker_private))
    } else {
        probe(task.0, config!(offsets.task_set_child_tid))
    };
    let worker: *mut u8 = probe(kthread, config!(offsets.kthread_data));
    let queue: *mut u8 = probe(worker, config!(offsets.worker_pool_queue));
    let wq: *mut u8 = probe(queue, config!(offsets.pool_queue_wq));
    probe::<u64>(wq, config!(offsets.wq_name)) == u64::from_ne_bytes(THROTTLE)
}
