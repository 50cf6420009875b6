//! Bios, and who submitted them: noted when a bio enters the block layer, until it is part of a request or done.

#[cfg(not(feature = "legacy"))]
use core::ffi::c_void;

use agent_ebpf::config::block_hook;
use agent_ebpf::records::block::{Bio, Origin, VIA, origin};
use agent_ebpf::records::{stage, task_flags};
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::{HashMap, LruHashMap};
#[cfg(not(feature = "legacy"))]
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use events::Kind;

use super::layout::{Payer, disk_of_bio, has_queue, is_throttle, number_of, payer, subject, third};
use crate::maps::{self, config};
use crate::preempt_guard::without_preemption;
use crate::storage;
use crate::task::{Task, is_left_out, load, now};

/// Bios of one request that are looked at; more than a request of any driver has.
const MAX_BIOS: u32 = 1024;
/// Bios of one request among which one that was noted is looked for, if the first was not.
const MAX_SEARCH: u32 = 16;

/// Bios that are under way to a request, or that a bio-based device has not finished.
#[btf_map]
static BLOCK_BIOS: HashMap<u64, Bio, 16384> = HashMap::new();

/// What bios came through that a thread last sent to a bio-based device (thread id in the upper half, device in the lower),
/// for the bios that the device makes of them. Only for such devices on top of each other.
#[btf_map]
static BLOCK_VIA: LruHashMap<u64, [u32; VIA], 1024> = LruHashMap::new();

/// Whether everything is recorded, so that what nothing is known of is recorded too.
#[inline(always)]
pub fn is_open() -> bool {
    config!(filter_cgroups) == 0 && config!(tree_pid) == 0
}

/// Who sends this bio, which is the current task; `None` if it is not recorded.
#[inline(always)]
fn origin_of(bio: *mut u8) -> Option<Origin> {
    let task = Task::current();
    let pid = task.pid();
    let mut who = Origin {
        first: now(),
        cgroup: 0,
        owner: 0,
        pid,
        tid: task.tid(),
        uid: task.uid(),
        bits: 0,
        via: [0; VIA],
        opf: load(bio, config!(offsets.bio_opf)),
        reserved: 0,
    };
    if is_left_out(pid) {
        who.bits = origin::EXCLUDED;
        return Some(who);
    }
    let tree = config!(tree_pid);
    if tree != 0 || config!(readers) != 0 {
        // SAFETY: the current task.
        let state = unsafe { storage::state(task.0, false) };
        // SAFETY: not null.
        let known = if state.is_null() { 0 } else { unsafe { (*state).flags } };
        if known & task_flags::EXCLUDED != 0 {
            who.bits = origin::EXCLUDED;
            return Some(who);
        }
        if tree != 0 && known & task_flags::TREE == 0 {
            return None;
        }
    }
    who.cgroup = task.cgroup();
    if !task.is_kthread() {
        who.owner = who.cgroup;
        who.bits = origin::OWNER_SUBMITTER;
    }
    let mut allowed = config!(filter_cgroups) == 0 || maps::allowed(who.cgroup);
    match payer(bio) {
        Some(Payer::Identified(owner)) => {
            who.owner = owner;
            who.bits = origin::OWNER_BIO;
            allowed = allowed || maps::allowed(owner);
        }
        Some(Payer::Io(owner)) => {
            who.owner = owner;
            who.bits |= origin::OWNER_IO;
            allowed = allowed || maps::allowed_io(owner);
        }
        None => {}
    }
    if !allowed {
        return None;
    }
    if is_throttle(task) {
        who.bits |= origin::THROTTLED | origin::RELEASED;
    }
    Some(who)
}

/// Notes a bio. Without room in the map its request is still recorded, without a submitter; with a filter
/// whether it is wanted is unknown then, so it counts as lost.
#[inline(always)]
pub fn note(bio: *mut u8, who: &Origin, disk: *mut u8, queued: u32) {
    let noted = Bio {
        origin: *who,
        sector: load(bio, config!(offsets.bio_sector)),
        bytes: load(bio, config!(offsets.bio_size)),
        devno: number_of(disk),
        queued,
        reserved: 0,
    };
    if BLOCK_BIOS.insert(bio as u64, noted, u64::from(BPF_ANY)).is_err()
        && !is_open()
        && who.bits & origin::EXCLUDED == 0
    {
        maps::count_loss(Kind::Block as u8, stage::MAP, who.cgroup);
    }
}

/// `block:block_bio_queue` ([queue,] bio): a bio is submitted to a device.
#[btf_tracepoint(function = "block_bio_queue")]
pub fn block_bio_queue(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(bio_queued(&ctx))
}

#[inline(always)]
fn bio_queued(ctx: &BtfTracePointContext) -> i32 {
    let bio = subject(ctx, block_hook::BIO_QUEUE);
    let disk = disk_of_bio(bio);
    let known = BLOCK_BIOS.get_ptr_mut(bio as u64);
    let mut via = [0; VIA];
    if let Some(known) = known {
        // SAFETY: a map value; the bio is with the current task alone.
        let known = unsafe { &mut *known };
        if known.queued == 0 {
            // A remap has recorded the submitter: the thread that queues it here may be a worker by now.
            // Its time includes what an I/O limit has held it for.
            known.queued = 1;
            known.devno = number_of(disk);
            if is_throttle(Task::current()) {
                known.origin.bits |= origin::THROTTLED;
            }
            via = known.origin.via;
        } else {
            // A reused address: the completion of its former bio was missed.
            enter(bio, disk);
        }
    } else {
        enter(bio, disk);
    }
    let fops: *mut u8 = load(disk, config!(offsets.disk_fops));
    if load::<u64>(fops, config!(offsets.fops_submit_bio)) != 0 {
        remember_via(disk, &via);
    }
    0
}

/// Notes a bio that was not known.
#[inline(always)]
fn enter(bio: *mut u8, disk: *mut u8) {
    if let Some(who) = origin_of(bio) {
        note(bio, &who, disk, 1);
    }
}

/// What the current task's bios came through when they reached this device.
#[inline(always)]
fn via_key(devno: u32) -> u64 {
    u64::from(Task::current().tid()) << 32 | u64::from(devno)
}

/// The bios that a bio-based device makes of this one came through the same devices.
#[inline(always)]
fn remember_via(disk: *mut u8, via: &[u32; VIA]) {
    let key = via_key(number_of(disk));
    if via[0] == 0 {
        // There is nothing to remove, nearly always.
        let _ = BLOCK_VIA.remove(key);
    } else {
        // Without it a device is missing in `via`.
        let _ = BLOCK_VIA.insert(key, *via, u64::from(BPF_ANY));
    }
}

/// Adds a device to those that a bio came through.
#[inline(always)]
fn push(via: &mut [u32; VIA], devno: u32) {
    for slot in via.iter_mut() {
        if *slot == 0 {
            *slot = devno;
            return;
        }
    }
}

/// `block:block_bio_remap` ([queue,] bio, device, sector): a bio goes to another device than the one it was for: from
/// a partition to its disk, or from a bio-based device to one below it.
#[btf_tracepoint(function = "block_bio_remap")]
pub fn block_bio_remap(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(bio_remapped(&ctx))
}

#[inline(always)]
fn bio_remapped(ctx: &BtfTracePointContext) -> i32 {
    let bio = subject(ctx, block_hook::BIO_REMAP);
    let from: u32 = if has_queue(block_hook::BIO_REMAP) { third(ctx) } else { ctx.arg::<u64>(1) as u32 };
    if let Some(known) = BLOCK_BIOS.get_ptr_mut(bio as u64) {
        // SAFETY: a map value; the bio is with the current task alone.
        unsafe { push(&mut (*known).origin.via, from) };
        return 0;
    }
    let Some(mut who) = origin_of(bio) else {
        return 0;
    };
    if let Some(above) = BLOCK_VIA.get_ptr(via_key(from)) {
        // SAFETY: a map value; at worst another thread with this id has just written it.
        who.via = unsafe { *above };
    }
    push(&mut who.via, from);
    note(bio, &who, disk_of_bio(bio), 0);
    0
}

/// `block:block_split` ([queue,] piece, sector): the first part of a bio becomes one of its own. The rest keeps the
/// address, and is what the piece's `bi_private` points to.
#[btf_tracepoint(function = "block_split")]
pub fn block_split(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(bio_split(&ctx))
}

#[inline(always)]
fn bio_split(ctx: &BtfTracePointContext) -> i32 {
    let piece = subject(ctx, block_hook::SPLIT);
    let rest: u64 = load(piece, config!(offsets.bio_private));
    let Some(known) = BLOCK_BIOS.get_ptr(rest) else {
        return 0;
    };
    // SAFETY: a map value; the bio is with the current task alone.
    let who = unsafe { (*known).origin };
    note(piece, &who, disk_of_bio(piece), 1);
    0
}

/// `block:block_bio_complete` (queue, bio): a bio is done. Those that became part of a request are not noted any more;
/// this is for those that failed before, and for bio-based devices.
#[btf_tracepoint(function = "block_bio_complete")]
pub fn block_bio_complete(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(bio_completed(&ctx))
}

#[inline(always)]
fn bio_completed(ctx: &BtfTracePointContext) -> i32 {
    let bio: u64 = ctx.arg(1);
    // Mostly there is nothing to remove.
    let _ = BLOCK_BIOS.remove(bio);
    0
}

/// Who sent a request: the first of its bios that was noted. With a filter, the first may be another container's.
#[inline(always)]
pub fn find(bio: *mut u8) -> Option<*const Origin> {
    if bio.is_null() {
        return None;
    }
    if let Some(known) = BLOCK_BIOS.get_ptr(bio as u64) {
        return Some(known.cast());
    }
    let mut bio = bio;
    for _ in 1..MAX_SEARCH {
        bio = load(bio, config!(offsets.bio_next));
        if bio.is_null() {
            return None;
        }
        if let Some(known) = BLOCK_BIOS.get_ptr(bio as u64) {
            return Some(known.cast());
        }
    }
    None
}

const _: () = assert!(core::mem::offset_of!(Bio, origin) == 0);

/// Removes the bios of a request from those under way, and counts them.
#[inline(always)]
pub fn forget_all(first: *mut u8) -> u32 {
    let mut walk = Walk { bio: first, bios: 0 };
    #[cfg(not(feature = "legacy"))]
    if config!(loops) != 0 {
        let step: extern "C" fn(u32, *mut Walk) -> u64 = forget_next;
        // SAFETY: the function and its argument; the verifier checks what it does with it.
        unsafe { bpf_loop(MAX_BIOS, step as *mut c_void, (&raw mut walk).cast(), 0) };
        return walk.bios;
    }
    while walk.bios < MAX_BIOS && walk.forget() {}
    walk.bios
}

/// A walk through the bios of a request.
#[repr(C)]
struct Walk {
    bio: *mut u8,
    bios: u32,
}

impl Walk {
    /// Removes a bio and goes to the next one; false at the end.
    #[inline(always)]
    fn forget(&mut self) -> bool {
        if self.bio.is_null() {
            return false;
        }
        // It may not be there.
        let _ = BLOCK_BIOS.remove(self.bio as u64);
        self.bio = load(self.bio, config!(offsets.bio_next));
        self.bios += 1;
        true
    }
}

/// A step of the loop; 1 ends it.
#[cfg(not(feature = "legacy"))]
#[inline(never)]
extern "C" fn forget_next(_step: u32, walk: *mut Walk) -> u64 {
    // SAFETY: what was passed to the loop.
    u64::from(!unsafe { &mut *walk }.forget())
}
