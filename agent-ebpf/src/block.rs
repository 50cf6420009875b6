//! Block requests, one record each, at completion.
//!
//! The submitter is only known where a bio enters the block layer, and completion runs on whatever was interrupted. So the
//! submitter is noted by bio (`BLOCK_BIOS`), goes over to the request when that is issued (`BLOCK_REQUESTS`), and both
//! are gone with the completion. Between the two nothing needs to be seen: inserts, merges and the wait for a tag all
//! end with an issue, which finds the bios that became part of the request.

mod bio;
mod layout;

use agent_ebpf::config::block_hook;
use agent_ebpf::records::block::{Block, Origin, Request, VIA, origin};
use agent_ebpf::records::stage;
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::{HashMap, PerCpuArray};
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use events::Kind;
use events::flags;

use self::bio::{find, forget_all, is_open, note};
use self::layout::{device_of_request, disk_of_bio, subject};
use crate::cast::untrusted;
use crate::maps::{self, EVENTS, config};
use crate::preempt_guard::without_preemption;
use crate::task::{load, now};

/// `REQ_OP_MASK`.
const OP_MASK: u32 = 0xff;
/// `REQ_OP_FLUSH`, the same in all kernels.
const OP_FLUSH: u32 = 2;
/// Requests that their device has not finished.
#[btf_map]
static BLOCK_REQUESTS: HashMap<u64, Request, 16384> = HashMap::new();

/// Of each CPU: 1 while the first program of the completion hook is at work there.
#[btf_map]
static BLOCK_COMPLETING: PerCpuArray<u64, 1> = PerCpuArray::new();

/// `block:block_rq_issue` ([queue,] request): the driver gets it.
#[btf_tracepoint(function = "block_rq_issue")]
pub fn block_rq_issue(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(rq_issued(&ctx))
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
    let bio: *mut u8 = load(untrusted!(rq, REQUEST), config!(offsets.rq_bio));
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

/// `block:block_rq_requeue` ([queue,] request): the driver gives it back, to get it again later.
#[btf_tracepoint(function = "block_rq_requeue")]
pub fn block_rq_requeue(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(rq_requeued(&ctx))
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
    without_preemption!(rq_completed_first(&ctx))
}

#[inline(always)]
fn rq_completed_first(ctx: &BtfTracePointContext) -> i32 {
    let Some(active) = BLOCK_COMPLETING.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a live map value of this CPU.
    unsafe { active.write_volatile(1) };
    rq_completed(ctx);
    // SAFETY: as above.
    unsafe { active.write_volatile(0) };
    0
}

/// The same hook once more. A driver that completes requests in its interrupt interrupts one that completes them in a
/// thread or a softirq, and the kernel does not run a program that it interrupted on that CPU: it skips it, but not this
/// one, which does the work then. It has to be attached after the first one, so that a completion that was not skipped is
/// over when it looks.
#[btf_tracepoint(function = "block_rq_complete")]
pub fn block_rq_complete_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(rq_completed_again(&ctx))
}

#[inline(always)]
fn rq_completed_again(ctx: &BtfTracePointContext) -> i32 {
    let Some(active) = BLOCK_COMPLETING.get_ptr(0) else {
        return 0;
    };
    // SAFETY: a live map value of this CPU.
    if unsafe { active.read_volatile() } != 0 || is_left(ctx) { rq_completed(ctx) } else { 0 }
}

/// Whether a request that completes here as a whole is still kept: then the first program was skipped, though it was not
/// yet, or no longer, at work.
#[inline(always)]
fn is_left(ctx: &BtfTracePointContext) -> bool {
    let rq: *mut u8 = ctx.arg(0);
    !is_part(rq, ctx.arg::<u64>(2) as u32) && BLOCK_REQUESTS.get_ptr(rq as u64).is_some()
}

/// Whether more completions of this request follow: bytes are left, or its data are to be flushed as well.
#[inline(always)]
fn is_part(rq: *mut u8, bytes: u32) -> bool {
    let left: u32 = load(rq, config!(offsets.rq_data_len));
    let cmd_flags: u32 = load(rq, config!(offsets.rq_cmd_flags));
    let flushes = load::<u32>(rq, config!(offsets.rq_flags)) & config!(block_flush_seq) != 0;
    bytes < left || flushes && cmd_flags & OP_MASK != OP_FLUSH
}

#[inline(always)]
fn rq_completed(ctx: &BtfTracePointContext) -> i32 {
    let time = now();
    let rq: *mut u8 = ctx.arg(0);
    let error = ctx.arg::<u64>(1) as i32;
    let bytes = ctx.arg::<u64>(2) as u32;
    let is_part = is_part(rq, bytes);
    let key = rq as u64;
    if let Some(known) = BLOCK_REQUESTS.get_ptr_mut(key) {
        // SAFETY: a map value; a request is with one CPU at a time.
        let known = unsafe { &mut *known };
        known.done += u64::from(bytes);
        if known.error == 0 {
            known.error = error;
        }
        if is_part {
            return 0;
        }
        if known.origin.bits & origin::EXCLUDED == 0 {
            write(known, time, 0);
        }
        // It was there a moment ago.
        let _ = BLOCK_REQUESTS.remove(key);
        return 0;
    }
    if is_part {
        return 0;
    }
    never_issued(rq, error, bytes, time);
    0
}

/// The end of a request whose issue was not seen: an empty flush never is issued itself; others were before the capture
/// could see it.
#[inline(always)]
fn never_issued(rq: *mut u8, error: i32, bytes: u32, time: u64) {
    let bio: *mut u8 = load(untrusted!(rq, REQUEST), config!(offsets.rq_bio));
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

/// Records a completed request.
#[inline(always)]
fn write(request: &Request, time: u64, bits: u32) {
    let mut bits = bits;
    // Nothing is known of a request of the file system whose submission was not seen; drivers make some themselves, and
    // those begin with their issue.
    let op = request.origin.opf & OP_MASK;
    if request.origin.bits & origin::UNKNOWN != 0 && op != OP_FLUSH && op < config!(block_op_driver) {
        bits |= flags::START_UNKNOWN;
    }
    if request.origin.bits & origin::RELEASED != 0 {
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
