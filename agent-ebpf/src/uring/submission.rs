//! The submission of a request: its owner, its entry, and what its descriptors stand for.

use agent_ebpf::records::stage;
use agent_ebpf::records::uring::{Request, SQE_WORDS, bits, fd_at, op_flags};
use agent_ebpf::spec::file;
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel};
use events::{Kind, flags};

use super::completion::{End, emit};
use super::state::{
    URING_FULL, URING_OPS, URING_REQUESTS, URING_SCRATCH, by_user_data, has_requests, is_fixed, is_recorded,
};
use super::text;
use crate::files::{self, file_of_open, is_wanted, word, working_directory};
use crate::maps::{self, config};
use crate::task::{Task, has, now};

/// `AT_FDCWD`.
const AT_FDCWD: i32 = -100;
/// `IORING_SETUP_SQE128`: entries of twice the size.
const SETUP_SQE128: u32 = 1 << 10;
/// `IOSQE_CQE_SKIP_SUCCESS`: no completion if it succeeds.
const SQE_SKIP_SUCCESS: u64 = 1 << 6;
/// `SPLICE_F_FD_IN_FIXED`: so is `splice_fd_in`.
const SPLICE_FIXED: u64 = 1 << 31;
/// A request is submitted, or has `failed` before. A function of its own, as several programs call it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn uring_submitted(req: u64, failed: u32) -> i32 {
    let failed = failed != 0;
    let task = Task::current();
    if !is_recorded(task) {
        return 0;
    }
    let cgroup = task.cgroup();
    if config!(filter_cgroups) != 0 && !maps::allowed(cgroup) {
        return 0;
    }
    let Some(scratch) = URING_SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: a map value that this program has for itself.
    let request = unsafe { &mut (*scratch).request };
    let start = now();
    let ring = word(req, config!(offsets.req_ctx));
    request.start = start;
    request.id = req ^ start.rotate_left(24);
    request.cgroup = cgroup;
    request.files = [0; 2];
    request.pid = task.pid();
    request.tid = task.tid();
    request.uid = task.uid();
    request.opcode = u32::from(word(req, config!(offsets.req_opcode)) as u8);
    request.user_data = user_data_of(req);
    request.marks = 0;
    request.others = 0;
    request.reserved = 0;
    request.bits = read_entry(ring, request);
    if request.bits & bits::NO_ENTRY == 0 {
        look_up(req, failed);
    }
    keep(req, ring);
    0
}

#[inline(always)]
fn user_data_of(req: u64) -> u64 {
    if has(config!(offsets.req_user_data)) {
        word(req, config!(offsets.req_user_data))
    } else {
        word(req, config!(offsets.req_own_user_data))
    }
}

/// Reads the entry that a request was made from, the last one that was taken. Returns [`bits::NO_ENTRY`] if it cannot be had.
#[inline(always)]
fn read_entry(ring: u64, request: &mut Request) -> u32 {
    let size = word(ring, config!(offsets.ring_size)) as u32;
    let taken = word(ring, config!(offsets.ring_head)) as u32;
    let order = word(ring, config!(offsets.ring_order));
    let mask = size.wrapping_sub(1);
    let mut index = taken.wrapping_sub(1) & mask;
    if order != 0 {
        index = word(order.wrapping_add(u64::from(index) * 4), 0) as u32 & mask;
    }
    let wide = word(ring, config!(offsets.ring_flags)) as u32 & SETUP_SQE128 != 0;
    let shift = if wide { 7 } else { 6 };
    let from = word(ring, config!(offsets.ring_entries)).wrapping_add(u64::from(index) << shift);
    let to = &raw mut request.sqe;
    // SAFETY: the array has the length given; the helper checks the source.
    unsafe { bpf_probe_read_kernel(to.cast(), (SQE_WORDS * 8) as u32, from as *const _) };
    if request.sqe[0] as u8 as u32 == request.opcode && request.sqe[4] == request.user_data {
        return 0;
    }
    // Changed since, or another one.
    for word in &mut request.sqe {
        // SAFETY: a reference. Volatile, so that no loop over bytes is made of it.
        unsafe { core::ptr::from_mut(word).write_volatile(0) };
    }
    bits::NO_ENTRY
}

/// Sends the strings of the request in the scratch, and looks up what its descriptors stand for.
#[inline(always)]
fn look_up(req: u64, failed: bool) {
    let Some(scratch) = URING_SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: a map value that this program has for itself.
    let request = unsafe { &mut (*scratch).request };
    let Some(op) = URING_OPS.get(request.opcode) else { return };
    let mut first = [0; 2];
    for (slot, first) in first.iter_mut().enumerate() {
        if op.how[slot] != 0 {
            let got = text::send(req, slot as u32, u32::from(failed));
            request.marks |= got & !text::SENT;
            if got & text::SENT != 0 {
                request.bits |= bits::TEXT0 << slot;
                // SAFETY: as above.
                *first = unsafe { (&raw const (*scratch).text.bytes[0]).read_volatile() };
            }
        }
    }
    for slot in 0..2 {
        let how = op.files[slot];
        if how != 0 && is_wanted(how, first) {
            request.files[slot] = if !is_fixed(request, how) {
                file_at_submission(request, how)
            } else if has_requests() || failed {
                // It is known when the request is issued.
                0
            } else {
                file_of_open(word(req, config!(offsets.req_file)), request.start)
            };
        }
    }
}

/// What an integer of an entry stands for, 0 if nothing.
#[inline(always)]
fn file_at_submission(request: &Request, how: u8) -> u64 {
    let sqe = &request.sqe;
    let fd = match how & file::ARGUMENT {
        fd_at::FD => sqe[0] >> 32,
        fd_at::LEN => sqe[3],
        fd_at::OFF => sqe[1],
        _ if sqe[3] >> 32 & SPLICE_FIXED != 0 => return 0,
        _ => sqe[5] >> 32,
    } as i32;
    if fd >= 0 {
        // SAFETY: no arguments.
        let task = unsafe { bpf_get_current_task() };
        return file_of_open(files::open_file_of(task, fd as u32), request.start);
    }
    if fd == AT_FDCWD && how & file::BASE != 0 {
        return working_directory(request.start);
    }
    0
}

/// Whether a request completes more than once.
#[inline(always)]
fn is_multishot(request: &Request) -> bool {
    let Some(op) = URING_OPS.get(request.opcode) else { return false };
    let (priority, len, flags) = (request.sqe[0] >> 16, request.sqe[3], request.sqe[3] >> 32);
    let on = |bit: u8, set: u64| op.flags & bit != 0 && set & 1 != 0;
    on(op_flags::MULTISHOT, 1)
        || on(op_flags::MULTISHOT_PRIO0, priority)
        || on(op_flags::MULTISHOT_PRIO1, priority >> 1)
        || on(op_flags::MULTISHOT_LEN, len)
        || on(op_flags::MULTISHOT_FLAGS, flags >> 6)
}

/// Keeps the request in the scratch until its completion.
#[inline(always)]
fn keep(req: u64, ring: u64) {
    let Some(scratch) = URING_SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: a map value that this program has for itself.
    let request = unsafe { &(*scratch).request };
    // The completions of a request that has several do not name it.
    let named = has_requests() && !is_multishot(request);
    let key = if named { req } else { by_user_data(ring, request.user_data) };
    if let Some(known) = URING_REQUESTS.get_ptr_mut(key) {
        // SAFETY: a live map value; one thread at a time submits to a ring.
        let known = unsafe { &mut *known };
        if !named {
            known.bits |= bits::AMBIGUOUS;
            known.others += 1;
            return;
        }
        left_over(known);
    }
    if URING_REQUESTS.insert(key, request, u64::from(BPF_ANY)).is_err() {
        maps::count_loss(Kind::Uring as u8, stage::MAP, request.cgroup);
        if let Some(full) = URING_FULL.get_ptr_mut(0) {
            // SAFETY: a live map value, which is only ever set to 1.
            unsafe { full.write_volatile(1) };
        }
    }
}

/// A request at the same address has ended, and the kernel did not let its completion be seen: it had none, or the completion
/// queue was full, or the program was skipped.
#[inline(always)]
fn left_over(known: &Request) {
    if known.sqe[0] >> 8 & SQE_SKIP_SUCCESS == 0 {
        maps::count_loss(Kind::Uring as u8, stage::SKIPPED, known.cgroup);
        return;
    }
    emit(known, &End { time: now(), result: 0, cqe_flags: 0, more: false, made: 0, flags: flags::NO_RESULT });
}
