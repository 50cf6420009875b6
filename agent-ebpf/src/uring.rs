//! Requests of io_uring, one record each, at completion.
//!
//! A request is submitted by the thread that owns it: one that enters the ring, or the one that polls the submission queue
//! for its process. It may complete on any thread. So the submitter is noted by request (`URING_REQUESTS`), with the
//! submission queue entry and what its descriptors stand for then; the strings are sent at once, as paths are gone before the
//! completion. All memory is read as numbers, see `files.rs`: the kernel's types of these structs are incomplete.

mod completion;
mod state;
mod submission;
mod text;

use agent_ebpf::config::uring_completion;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use self::completion::{Completion, completed};
use self::submission::uring_submitted;
use crate::files::word;
use crate::maps::config;
use crate::preempt_guard::without_preemption;
use crate::task::probe;

/// An argument of a hook. Not as one: verifiers refuse pointers to structs of which the kernel's types have no members.
#[inline(always)]
fn argument(ctx: &BtfTracePointContext, index: u32) -> u64 {
    probe(ctx.as_ptr().cast(), index * size_of::<u64>() as u32)
}

/// `io_uring:io_uring_submit_req` (request): it is about to be issued, or to wait for another one. Before 6.3 it is
/// `io_uring_submit_sqe` (request, force_nonblock), before 6.0 (ring, request, ...): the agent attaches the program there.
#[btf_tracepoint(function = "io_uring_submit_req")]
pub fn io_uring_submit(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(uring_submitted(argument(&ctx, config!(uring_request)), 0))
}

/// `io_uring:io_uring_req_failed` (entry, request, error): it is not submitted, since something is wrong with it. It completes
/// all the same.
#[btf_tracepoint(function = "io_uring_req_failed")]
pub fn io_uring_req_failed(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(uring_submitted(argument(&ctx, 1), 1))
}

/// `io_uring:io_uring_complete` (ring, ...), see [`uring_completion`].
#[btf_tracepoint(function = "io_uring_complete")]
pub fn io_uring_complete(ctx: BtfTracePointContext) -> i32 {
    without_preemption!({
        let ring = argument(&ctx, 0);
        let shape = config!(uring_completion);
        let completion = if shape == uring_completion::USER_DATA {
            Completion {
                ring,
                request: 0,
                user_data: argument(&ctx, 1),
                result: argument(&ctx, 2) as i32,
                flags: argument(&ctx, 3) as u32,
            }
        } else if shape == uring_completion::REQUEST {
            Completion {
                ring,
                request: argument(&ctx, 1),
                user_data: argument(&ctx, 2),
                result: argument(&ctx, 3) as i32,
                flags: argument(&ctx, 4) as u32,
            }
        } else {
            let entry = argument(&ctx, 2);
            let second = word(entry, 8);
            Completion {
                ring,
                request: argument(&ctx, 1),
                user_data: word(entry, 0),
                result: second as i32,
                flags: (second >> 32) as u32,
            }
        };
        completed(&completion)
    })
}
