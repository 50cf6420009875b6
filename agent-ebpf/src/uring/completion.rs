//! The completion of a request.

use agent_ebpf::records::Header;
use agent_ebpf::records::uring::{Op, Request, Uring, bits, op_flags};
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_smp_processor_id};
use events::{Kind, flags};

use super::state::{
    URING_FULL, URING_OPS, URING_REQUESTS, by_user_data, has_requests, is_descriptor, is_fixed, is_recorded,
};
use crate::files::{self, file_of_open, word};
use crate::maps::{self, EVENTS, config};
use crate::task::{Task, now};

/// `IORING_CQE_F_MORE`: more completions of this request follow.
const CQE_MORE: u32 = 1 << 1;
/// `IORING_CQE_F_NOTIF`: a buffer is given back.
const CQE_NOTIFICATION: u32 = 1 << 3;

/// What the hook of completions passes.
pub struct Completion {
    /// The ring.
    pub ring: u64,
    /// 0 if none is named.
    pub request: u64,
    /// The request's.
    pub user_data: u64,
    /// Errors are negative.
    pub result: i32,
    /// `IORING_CQE_F_*`.
    pub flags: u32,
}

#[inline(always)]
pub fn completed(completion: &Completion) -> i32 {
    if has_requests() && completion.flags & CQE_NOTIFICATION != 0 {
        return 0;
    }
    let mut key = completion.request;
    let mut known = if key != 0 { URING_REQUESTS.get_ptr_mut(key) } else { None };
    if known.is_none() {
        key = by_user_data(completion.ring, completion.user_data);
        known = URING_REQUESTS.get_ptr_mut(key);
    }
    let Some(known) = known else {
        not_seen(completion);
        return 0;
    };
    // SAFETY: a live map value. What completes at the same time by the same user data is ambiguous anyway.
    let known = unsafe { &mut *known };
    let op = URING_OPS.get(known.opcode);
    let op_bits = op.map_or(0, |op| op.flags);
    let more = completion.flags & CQE_MORE != 0 && op_bits & op_flags::NOTIFIES == 0;
    let mut end =
        End { time: now(), result: completion.result, cqe_flags: completion.flags, more, made: 0, flags: 0 };
    if known.bits & bits::AMBIGUOUS == 0 {
        if let Some(op) = op
            && completion.request != 0
        {
            find_fixed(known, op, completion.request, end.time);
        }
        if op_bits & op_flags::RETURNS_FILE != 0 && completion.result >= 0 {
            find_made(known, op_bits, &mut end);
        }
    }
    emit(known, &end);
    if more {
        return 0;
    }
    if known.others != 0 {
        known.others -= 1;
        return 0;
    }
    // It was there a moment ago.
    let _ = URING_REQUESTS.remove(key);
    0
}

/// Looks up the ring's own file that a request has worked on.
#[inline(always)]
fn find_fixed(known: &mut Request, op: &Op, req: u64, time: u64) {
    for slot in 0..2 {
        if known.files[slot] == 0 && is_fixed(known, op.files[slot]) {
            known.files[slot] = file_of_open(word(req, config!(offsets.req_file)), time);
        }
    }
}

/// Looks up the file that a result stands for. It completes on a thread of the process, but for one that ends.
#[inline(always)]
fn find_made(known: &Request, op_bits: u8, end: &mut End) {
    let task = Task::current();
    // The result is a place among the ring's own files, or the descriptors are of another process.
    if known.sqe[5] >> 32 != 0 || task.pid() != known.pid {
        return;
    }
    // SAFETY: no arguments.
    let address = unsafe { bpf_get_current_task() };
    let open = files::open_file_of(address, end.result as u32);
    end.made = file_of_open(open, end.time);
    if files::was_created(open) && op_bits & op_flags::ACCEPTS == 0 {
        end.flags |= flags::CREATED;
    }
    if config!(net) != 0 && op_bits & op_flags::ACCEPTS != 0 {
        crate::net::accepted(task, i64::from(end.result), known.cgroup);
    }
}

/// The completion of a request whose submission was not seen: it was before the capture or, where the kernel has no hook for
/// that, something is wrong with the request.
#[inline(always)]
fn not_seen(completion: &Completion) {
    // Where completions name their requests, one without is a message of another ring.
    if completion.request == 0 && has_requests() || URING_FULL.get(0).is_some_and(|full| *full != 0) {
        return;
    }
    let task = Task::current();
    let mut request = Request {
        user_data: completion.user_data,
        bits: bits::UNKNOWN | bits::NO_ENTRY,
        uid: u32::MAX,
        ..Request::default()
    };
    // Requests complete on a thread of their process, or on one of the kernel.
    if !task.is_kthread() {
        request.pid = task.pid();
        request.tid = task.tid();
        request.uid = task.uid();
        request.cgroup = task.cgroup();
        if !is_recorded(task) || config!(filter_cgroups) != 0 && !maps::allowed(request.cgroup) {
            return;
        }
    } else if config!(filter_cgroups) != 0 || config!(tree_pid) != 0 {
        return;
    }
    let time = now();
    request.start = time;
    if completion.request == 0 {
        request.bits |= bits::AMBIGUOUS;
    } else {
        request.opcode = u32::from(word(completion.request, config!(offsets.req_opcode)) as u8);
    }
    if completion.request != 0
        && let Some(op) = URING_OPS.get(request.opcode)
        && is_descriptor(op.files[0])
    {
        request.files[0] = file_of_open(word(completion.request, config!(offsets.req_file)), time);
    }
    let end = End {
        time,
        result: completion.result,
        cqe_flags: completion.flags,
        more: completion.flags & CQE_MORE != 0,
        made: 0,
        flags: flags::START_UNKNOWN,
    };
    emit(&request, &end);
}

/// How a request ended.
pub struct End {
    /// When, ns of CLOCK_BOOTTIME.
    pub time: u64,
    /// Errors are negative.
    pub result: i32,
    /// `IORING_CQE_F_*`.
    pub cqe_flags: u32,
    /// Whether more completions follow.
    pub more: bool,
    /// The file that the result stands for, by id.
    pub made: u64,
    /// Bits of [`events::flags`].
    pub flags: u32,
}

/// Records how a request ended.
#[inline(always)]
pub fn emit(request: &Request, end: &End) {
    let Some(slot) = maps::reserve::<Uring>(&EVENTS, Kind::Uring as u8, request.cgroup) else {
        return;
    };
    let head = Header {
        time: end.time,
        cgroup: request.cgroup,
        pid: request.pid,
        tid: request.tid,
        flags: end.flags | request.marks,
        // SAFETY: no arguments.
        cpu: unsafe { bpf_get_smp_processor_id() } as u16,
        kind: Kind::Uring as u8,
        class: 0,
    };
    let record = slot.as_ptr();
    // SAFETY: reserved for this type; words are copied, since a plain copy would become a loop over bytes.
    unsafe {
        (&raw mut (*record).head).write(head);
        let from = core::ptr::from_ref(request).cast::<u64>();
        let to = (&raw mut (*record).request).cast::<u64>();
        for i in 0..size_of::<Request>() / 8 {
            to.add(i).write_volatile(from.add(i).read_volatile());
        }
        (&raw mut (*record).made).write(end.made);
        (&raw mut (*record).result).write(end.result);
        (&raw mut (*record).cqe_flags).write(end.cqe_flags);
        (&raw mut (*record).more).write(u32::from(end.more));
        (&raw mut (*record).reserved).write(0);
    }
    slot.submit();
}
