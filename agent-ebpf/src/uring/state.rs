//! What the programs of io_uring keep.

use agent_ebpf::config::uring_completion;
use agent_ebpf::records::task_flags;
use agent_ebpf::records::uring::{OPS, Op, Request, Text, fd_at};
use agent_ebpf::spec::file;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;

use crate::maps::config;
use crate::storage;
use crate::task::{Task, is_left_out, load};

/// `IOSQE_FIXED_FILE`: `fd` is a place among the ring's own files.
const SQE_FIXED_FILE: u64 = 1 << 0;

/// Requests that have not completed: by address, or by [`by_user_data`].
#[btf_map]
pub static URING_REQUESTS: HashMap<u64, Request, 16384> = HashMap::new();

/// What to look up of each operation.
#[btf_map]
pub static URING_OPS: Array<Op, { OPS as usize }> = Array::new();

/// Whether a request has found no room: then nothing follows from one that was not seen.
#[btf_map]
pub static URING_FULL: Array<u64, 1> = Array::new();

/// Room for what is too large for the stack.
#[repr(C)]
pub struct Scratch {
    /// The request that is submitted.
    pub request: Request,
    /// One of its strings.
    pub text: Text,
}

/// Only programs of submissions use it, which run in the context of a thread and cannot be preempted.
#[btf_map]
pub static URING_SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// Whether completions name their request.
#[inline(always)]
pub fn has_requests() -> bool {
    config!(uring_completion) != uring_completion::USER_DATA
}

/// The key of a request that is known by its user data alone: no address.
#[inline(always)]
pub fn by_user_data(ring: u64, user_data: u64) -> u64 {
    ring.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(user_data.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)) | 1
}

/// Whether the entry's `fd` is a place among the ring's own files.
#[inline(always)]
pub fn is_fixed(request: &Request, how: u8) -> bool {
    request.sqe[0] >> 8 & SQE_FIXED_FILE != 0 && how & file::ARGUMENT == fd_at::FD && is_descriptor(how)
}

/// Whether something stands for an open file, and not for where a path starts.
#[inline(always)]
pub fn is_descriptor(how: u8) -> bool {
    how & file::DESCRIPTOR != 0 && how & (file::BASE | file::CLOSED) == 0
}

/// Whether the requests of the current thread are recorded, as far as that depends on processes.
#[inline(always)]
pub fn is_recorded(task: Task) -> bool {
    if is_left_out(task.pid()) {
        return false;
    }
    let tree = config!(tree_pid);
    if tree == 0 && config!(readers) == 0 {
        return true;
    }
    // SAFETY: the current task.
    let mut state = unsafe { storage::state(task.0, false) };
    if state.is_null() {
        // A thread that polls for its process is no child that anyone has seen. Loaded as it is: the verifier has to trust it.
        let leader: *mut u8 = load(task.0, config!(offsets.task_leader));
        // SAFETY: the leader of the current task, which exists as long as that does.
        state = unsafe { storage::state(leader, false) };
    }
    // SAFETY: not null.
    let known = if state.is_null() { 0 } else { unsafe { (*state).flags } };
    known & task_flags::EXCLUDED == 0 && (tree == 0 || known & task_flags::TREE != 0)
}

/// The scratch of this CPU, and what to look up of its request.
#[inline(always)]
pub fn scratch() -> Option<(*mut Scratch, &'static Op)> {
    let scratch = URING_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: a map value that this program has for itself.
    Some((scratch, URING_OPS.get(unsafe { (*scratch).request.opcode })?))
}
