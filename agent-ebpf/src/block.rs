//! Block requests, one record each, at completion.
//!
//! Who asked is only known where a bio enters the block layer, and completion runs on whatever was interrupted. So the
//! submitter is noted by bio (`BLOCK_BIOS`), goes over to the request when that is issued (`BLOCK_REQUESTS`), and both
//! are gone with the completion. Between the two nothing needs to be seen: inserts, merges and the wait for a tag all
//! end with an issue, which finds the bios that became part of the request.

mod layout;

use agent_ebpf::config::block_hook;
use agent_ebpf::records::block::{Bio, Block, Origin, Request, VIA, origin};
use agent_ebpf::records::{stage, task_flags};
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::{HashMap, LruHashMap};
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use events::Kind;
use events::flags;

use self::layout::{device_of_request, disk_of_bio, has_queue, number_of, payer, subject, third};
use crate::maps::{self, EVENTS, config};
use crate::preempt_guard::without_preemption;
use crate::storage;
use crate::task::{Task, is_left_out, load, now};

/// `REQ_OP_MASK`.
const OP_MASK: u32 = 0xff;
/// `REQ_OP_FLUSH`, the same in all kernels.
const OP_FLUSH: u32 = 2;
/// Bios of one request that are looked at; more than a request of any driver has.
const MAX_BIOS: u32 = 1024;
/// Bios of one request among which one that was noted is looked for, if the first was not.
const MAX_SEARCH: u32 = 16;

/// Bios that are under way to a request, or that a bio-based device has not finished.
#[btf_map]
static BLOCK_BIOS: HashMap<u64, Bio, 16384> = HashMap::new();

/// Requests that their device has not finished.
#[btf_map]
static BLOCK_REQUESTS: HashMap<u64, Request, 16384> = HashMap::new();

/// What bios came through that a thread last sent to a bio-based device (thread id in the upper half, device in the lower),
/// for the bios that the device makes of them. Only for such devices on top of each other.
#[btf_map]
static BLOCK_VIA: LruHashMap<u64, [u32; VIA], 1024> = LruHashMap::new();

/// Whether everything is recorded, so that what nothing is known of is recorded too.
#[inline(always)]
fn is_open() -> bool {
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
    if tree != 0 || config!(reader_pids[0]) != 0 {
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
    if let Some(owner) = payer(bio) {
        who.owner = owner;
        who.bits = origin::OWNER_BIO;
    } else if !task.is_kthread() {
        who.owner = who.cgroup;
        who.bits = origin::OWNER_SUBMITTER;
    }
    if config!(filter_cgroups) != 0
        && !maps::allowed(who.cgroup)
        && (who.bits & origin::OWNER_BIO == 0 || !maps::allowed(who.owner))
    {
        return None;
    }
    Some(who)
}

/// Notes a bio. Without room in the map its request is still recorded, without a submitter; with a filter
/// it cannot be told whether it is wanted, so it is lost and counted.
#[inline(always)]
fn note(bio: *mut u8, who: &Origin, disk: *mut u8, queued: u32) {
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

/// `block:block_bio_queue` ([queue,] bio): somebody sends a bio to a device.
#[btf_tracepoint(function = "block_bio_queue")]
pub fn block_bio_queue(ctx: BtfTracePointContext) -> i32 {
    without_preemption(|| bio_queued(&ctx))
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
            known.queued = 1;
            known.devno = number_of(disk);
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
    without_preemption(|| bio_remapped(&ctx))
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
    without_preemption(|| bio_split(&ctx))
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
    without_preemption(|| bio_completed(&ctx))
}

#[inline(always)]
fn bio_completed(ctx: &BtfTracePointContext) -> i32 {
    let bio: u64 = ctx.arg(1);
    // Mostly there is nothing to remove.
    let _ = BLOCK_BIOS.remove(bio);
    0
}

/// `block:block_rq_issue` ([queue,] request): the driver gets it.
#[btf_tracepoint(function = "block_rq_issue")]
pub fn block_rq_issue(ctx: BtfTracePointContext) -> i32 {
    without_preemption(|| rq_issued(&ctx))
}

#[inline(always)]
fn rq_issued(ctx: &BtfTracePointContext) -> i32 {
    let time = now();
    let rq = subject(ctx, block_hook::RQ_ISSUE);
    let key = rq as u64;
    if let Some(known) = BLOCK_REQUESTS.get_ptr_mut(key) {
        // SAFETY: a map value; a request is with one CPU at a time.
        let known = unsafe { &mut *known };
        if known.requeued != 0 {
            known.requeued = 0;
            known.issues += 1;
            known.last_issue = time;
            return 0;
        }
        // Else another one at this address has ended, and the kernel did not let us see it. Those of drivers may end on
        // other ways.
        let who = &known.origin;
        if who.bits & origin::EXCLUDED == 0 && who.opf & OP_MASK < config!(block_op_driver) {
            maps::count_loss(Kind::Block as u8, stage::SKIPPED, who.cgroup);
        }
    }
    let cmd_flags: u32 = load(rq, config!(offsets.rq_cmd_flags));
    let bio: *mut u8 = load(rq, config!(offsets.rq_bio));
    let mut request = Request {
        origin: Origin {
            first: time,
            cgroup: 0,
            owner: 0,
            pid: 0,
            tid: 0,
            uid: 0,
            bits: origin::UNKNOWN,
            via: [0; VIA],
            opf: cmd_flags,
            reserved: 0,
        },
        first_issue: time,
        last_issue: time,
        sector: load(rq, config!(offsets.rq_sector)),
        done: 0,
        bytes: load(rq, config!(offsets.rq_data_len)),
        devno: device_of_request(rq),
        bios: 0,
        issues: 1,
        requeued: 0,
        error: 0,
    };
    if let Some(who) = find(bio) {
        // SAFETY: a map value; a bio is part of one request.
        request.origin = unsafe { *who };
        request.origin.opf |= cmd_flags;
    } else if !is_open() {
        // What was there is of another request.
        let _ = BLOCK_REQUESTS.remove(key);
        return 0;
    }
    request.bios = forget_all(bio);
    if BLOCK_REQUESTS.insert(key, request, u64::from(BPF_ANY)).is_err() {
        maps::count_loss(Kind::Block as u8, stage::MAP, request.origin.cgroup);
        if is_open() && !bio.is_null() {
            // So that its completion is not recorded as one of unknown start.
            request.origin.bits |= origin::EXCLUDED;
            note(bio, &request.origin, disk_of_bio(bio), 1);
        }
    }
    0
}

/// Who sent a request: the first of its bios that was noted. With a filter, the first may be somebody else's.
#[inline(always)]
fn find(bio: *mut u8) -> Option<*const Origin> {
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
fn forget_all(first: *mut u8) -> u32 {
    let mut bio = first;
    let mut bios = 0;
    while !bio.is_null() && bios < MAX_BIOS {
        // It may not be there.
        let _ = BLOCK_BIOS.remove(bio as u64);
        bio = load(bio, config!(offsets.bio_next));
        bios += 1;
    }
    bios
}

/// `block:block_rq_requeue` ([queue,] request): the driver gives it back, to get it again later.
#[btf_tracepoint(function = "block_rq_requeue")]
pub fn block_rq_requeue(ctx: BtfTracePointContext) -> i32 {
    without_preemption(|| rq_requeued(&ctx))
}

#[inline(always)]
fn rq_requeued(ctx: &BtfTracePointContext) -> i32 {
    let rq = subject(ctx, block_hook::RQ_REQUEUE);
    if let Some(known) = BLOCK_REQUESTS.get_ptr_mut(rq as u64) {
        // SAFETY: a map value; a request is with one CPU at a time.
        unsafe { (*known).requeued = 1 };
    }
    0
}

/// `block:block_rq_complete` (request, error, bytes): this many bytes are done, perhaps not all.
#[btf_tracepoint(function = "block_rq_complete")]
pub fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    without_preemption(|| rq_completed(&ctx))
}

#[inline(always)]
fn rq_completed(ctx: &BtfTracePointContext) -> i32 {
    let time = now();
    let rq: *mut u8 = ctx.arg(0);
    let error = ctx.arg::<u64>(1) as i32;
    let bytes = ctx.arg::<u64>(2) as u32;
    let left: u32 = load(rq, config!(offsets.rq_data_len));
    let cmd_flags: u32 = load(rq, config!(offsets.rq_cmd_flags));
    // The data of a request that is to be flushed as well: it completes once more when all is done.
    let step = load::<u32>(rq, config!(offsets.rq_flags)) & config!(block_flush_seq) != 0
        && cmd_flags & OP_MASK != OP_FLUSH;
    let key = rq as u64;
    if let Some(known) = BLOCK_REQUESTS.get_ptr_mut(key) {
        // SAFETY: a map value; a request is with one CPU at a time.
        let known = unsafe { &mut *known };
        known.done += u64::from(bytes);
        if known.error == 0 {
            known.error = error;
        }
        if bytes < left || step {
            return 0;
        }
        if known.origin.bits & origin::EXCLUDED == 0 {
            write(known, time, 0);
        }
        // It was there a moment ago.
        let _ = BLOCK_REQUESTS.remove(key);
        return 0;
    }
    if bytes < left || step {
        return 0;
    }
    never_issued(rq, error, bytes, time);
    0
}

/// The end of a request whose issue was not seen: an empty flush never is issued itself; others were before the capture
/// could see it.
#[inline(always)]
fn never_issued(rq: *mut u8, error: i32, bytes: u32, time: u64) {
    let bio: *mut u8 = load(rq, config!(offsets.rq_bio));
    let cmd_flags: u32 = load(rq, config!(offsets.rq_cmd_flags));
    let mut bits = 0;
    let mut request = Request {
        origin: Origin {
            first: time,
            cgroup: 0,
            owner: 0,
            pid: 0,
            tid: 0,
            uid: 0,
            bits: origin::UNKNOWN,
            via: [0; VIA],
            opf: cmd_flags,
            reserved: 0,
        },
        first_issue: 0,
        last_issue: 0,
        sector: load(rq, config!(offsets.rq_sector)),
        done: u64::from(bytes),
        bytes,
        devno: device_of_request(rq),
        bios: 0,
        issues: u32::from(bytes != 0),
        requeued: 0,
        error,
    };
    if let Some(who) = find(bio) {
        // SAFETY: a map value; a bio is part of one request.
        request.origin = unsafe { *who };
        request.origin.opf |= cmd_flags;
    } else if is_open() {
        bits = flags::START_UNKNOWN;
    } else {
        return;
    }
    request.bios = forget_all(bio);
    if request.origin.bits & origin::EXCLUDED == 0 {
        write(&request, time, bits);
    }
}

/// Tells of a completed request.
#[inline(always)]
fn write(request: &Request, time: u64, bits: u32) {
    let mut bits = bits;
    // Nothing is known of a request of the file system whose submission was not seen; drivers make some themselves, and
    // those begin with their issue.
    let op = request.origin.opf & OP_MASK;
    if request.origin.bits & origin::UNKNOWN != 0 && op != OP_FLUSH && op < config!(block_op_driver) {
        bits |= flags::START_UNKNOWN;
    }
    let cgroup = request.origin.cgroup;
    let Some(slot) = maps::reserve::<Block>(&EVENTS, Kind::Block as u8, cgroup) else {
        return;
    };
    let head = agent_ebpf::records::Header {
        time,
        cgroup,
        pid: request.origin.pid,
        tid: request.origin.tid,
        flags: bits,
        // SAFETY: no arguments.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        kind: Kind::Block as u8,
        class: 0,
    };
    // SAFETY: reserved for this type; words are copied, see `copy_words`.
    unsafe {
        (&raw mut (*slot.as_ptr()).head).write(head);
        copy_words((&raw mut (*slot.as_ptr()).request).cast(), core::ptr::from_ref(request).cast());
    }
    slot.submit();
}

/// Word by word: a plain copy would become a loop over bytes.
///
/// # Safety
///
/// Both are whole, aligned [`Request`]s.
#[inline(always)]
unsafe fn copy_words(to: *mut u64, from: *const u64) {
    let mut i = 0;
    while i < size_of::<Request>() / 8 {
        // SAFETY: inside of both.
        unsafe { to.add(i).write_volatile(from.add(i).read()) };
        i += 1;
    }
}
