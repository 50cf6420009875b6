//! io_uring of the running kernel: the shape of its hooks, what to look up of each operation, and the requests in flight.

mod ops;

use agent_ebpf::config::{Config, URING_STRUCTS, uring_completion};
use agent_ebpf::records::uring::{OPS, Op, Request, fd_at, op_flags};
use agent_ebpf::spec::{file, read};
use aya::maps::{Array, HashMap, MapData};
use events::Kind;

use super::btf::Btf;
use super::error::{LoadError, map_error};
use super::hooks::Hook;
use super::object::Object;
use super::specs;

pub use ops::{Field, OPERATIONS, Operation, Trait, WITHOUT_OFFSET, native};

/// Requests that can be in flight at a time: at least this many ...
const ENTRIES_MIN: u32 = 16_384;
/// ... and this many per CPU.
const ENTRIES_PER_CPU: u32 = 2048;
/// The hook of submissions: one or the other.
const SUBMISSIONS: [&str; 2] = ["io_uring_submit_req", "io_uring_submit_sqe"];
/// The hook of requests that are not submitted as something is wrong with them.
const FAILURE: &str = "io_uring_req_failed";
/// The hook of completions.
const COMPLETION: &str = "io_uring_complete";

/// Whether requests can be recorded on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The kernel has no io_uring.
    None,
    /// Its hooks do not pass what is needed.
    Unknown,
    /// They can.
    Full(Hooks),
}

/// The hooks of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks {
    submission: &'static str,
    /// The argument of that hook that is the request.
    request: u32,
    /// One of [`uring_completion`].
    completion: u32,
    /// Whether there is one for requests that are not submitted.
    has_failure: bool,
}

impl Support {
    /// That of this kernel.
    pub fn of(kernel: &Btf) -> Self {
        let Some(submission) = SUBMISSIONS.into_iter().find(|name| kernel.tracepoint_args(name).is_some())
        else {
            return Self::None;
        };
        Hooks::of(kernel, submission).map_or(Self::Unknown, Self::Full)
    }

    /// The hooks.
    fn hooks(self) -> Option<Hooks> {
        match self {
            Self::Full(hooks) => Some(hooks),
            Self::None | Self::Unknown => None,
        }
    }

    /// Whether a hook is attached: those of other kinds always are.
    pub fn uses(self, hook: &Hook) -> bool {
        if hook.needed_for != [Kind::Uring] {
            return true;
        }
        self.hooks().is_some_and(|hooks| {
            hook.tracepoint == hooks.submission
                || hook.tracepoint == COMPLETION
                || hook.tracepoint == FAILURE && hooks.has_failure
        })
    }

    /// Sets what differs between kernels.
    pub(super) fn set_config(self, config: &mut Config) {
        if let Some(hooks) = self.hooks() {
            config.uring_request = hooks.request;
            config.uring_completion = hooks.completion;
        }
    }
}

impl Hooks {
    fn of(kernel: &Btf, submission: &'static str) -> Option<Self> {
        // The request alone, or with one more argument; or after its ring, which is the first of seven. In 5.10 as it was
        // released, no request.
        let request = match kernel.tracepoint_args(submission)? {
            1 | 2 => 0,
            _ => 1,
        };
        let passes = |name, index| kernel.passes_pointer(name, index) == Some(true);
        if !passes(submission, request as usize) {
            return None;
        }
        let completion = match (passes(COMPLETION, 1), passes(COMPLETION, 2)) {
            (true, true) => uring_completion::ENTRY,
            (true, false) => uring_completion::REQUEST,
            (false, _) if kernel.tracepoint_args(COMPLETION)? >= 3 => uring_completion::USER_DATA,
            (false, _) => return None,
        };
        let has = |path: &str| kernel.offset(path).is_some();
        let known = ["io_kiocb.opcode", "io_kiocb.ctx", "io_ring_ctx.sq_sqes", "io_ring_ctx.cached_sq_head"];
        let user_data = has("io_kiocb.cqe.user_data") || has("io_kiocb.user_data");
        if !known.into_iter().all(has) || !user_data {
            return None;
        }
        let has_failure = passes(FAILURE, 0) && passes(FAILURE, 1);
        Some(Self { submission, request, completion, has_failure })
    }
}

/// Whether a member belongs to a struct of io_uring, which a kernel may lack.
pub fn is_member(path: &str) -> bool {
    URING_STRUCTS.iter().any(|name| path.starts_with(name))
}

/// Entries of the map of requests in flight; a map cannot have fewer than one.
pub(super) fn entries(wanted: bool, cpus: u32) -> u32 {
    if wanted { ENTRIES_MIN.max(cpus * ENTRIES_PER_CPU) } else { 1 }
}

/// What to look up of each operation.
pub fn lookups(kernel: &Btf) -> Vec<Op> {
    OPERATIONS.iter().map(|operation| lookup(operation, kernel)).collect()
}

fn lookup(operation: &Operation, kernel: &Btf) -> Op {
    let mut op = Op::default();
    for has in operation.traits {
        op.flags |= match has {
            Trait::ReturnsFile => op_flags::RETURNS_FILE,
            Trait::Accepts => op_flags::ACCEPTS,
            Trait::Notifies => op_flags::NOTIFIES,
            Trait::MultishotPriority0 => op_flags::MULTISHOT_PRIO0,
            Trait::MultishotPriority1 => op_flags::MULTISHOT_PRIO1,
            Trait::MultishotLen => op_flags::MULTISHOT_LEN,
            Trait::MultishotFlags => op_flags::MULTISHOT_FLAGS,
            Trait::Multishot => op_flags::MULTISHOT,
            Trait::HasFile => {
                op.files[0] = file::DESCRIPTOR | fd_at::FD;
                0
            }
        };
    }
    let Some(call) = operation.syscall() else { return op };
    let spec = specs::spec(call);
    let field = |argument: u8| operation.fields.get(usize::from(argument)).copied().unwrap_or(Field::Zero);
    for (to, how) in op.files.iter_mut().zip(spec.files) {
        let at = match field(how & file::ARGUMENT) {
            Field::Fd => fd_at::FD,
            Field::Len => fd_at::LEN,
            Field::Index => fd_at::SPLICE,
            Field::Off => fd_at::OFF,
            Field::Zero | Field::Addr | Field::Flags | Field::AddrLen | Field::Addr3 => 0,
        };
        if how != 0 {
            *to = how & !file::ARGUMENT | at;
        }
    }
    for (slot, (how, argument)) in [(spec.read0, spec.arg0), (spec.read1, spec.arg1)].into_iter().enumerate()
    {
        // Addresses that the kernel fills in are not there at the submission.
        if matches!(how, read::STRING | read::SOCKADDR | read::MSGHDR)
            && let Some(word) = field(argument).word()
        {
            op.how[slot] = how;
            op.at[slot] = word;
            op.names[slot] = kept_name(operation.names[slot], kernel);
            if how == read::SOCKADDR {
                op.len_at = field(argument + 1).word().unwrap_or(0);
            }
        }
    }
    op
}

/// The offset of a member that points to the kernel's copy of a path, 0 if there is none. In some kernels there is the
/// program's pointer in its place.
fn kept_name(member: &str, kernel: &Btf) -> u16 {
    let is_copy = kernel.member_names(member, &["filename", "delayed_filename"]);
    if is_copy { kernel.offset(member).and_then(|at| u16::try_from(at).ok()).unwrap_or(0) } else { 0 }
}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodOp(Op);

// SAFETY: `Op` is repr(C), made of integers, without padding (checked at its definition).
unsafe impl aya::Pod for PodOp {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodRequest(Request);

// SAFETY: `Request` is repr(C), made of integers, without padding (checked at its definition).
unsafe impl aya::Pod for PodRequest {}

/// Fills the map of what to look up of each operation.
pub(super) fn fill_lookups(object: &mut Object, kernel: &Btf) -> Result<(), LoadError> {
    const NAME: &str = "URING_OPS";
    let map = object.map_mut(NAME).ok_or(LoadError::Missing(NAME))?;
    let mut ops: Array<&mut MapData, PodOp> = map.try_into().map_err(map_error(NAME))?;
    for (index, op) in (0..OPS).zip(lookups(kernel)) {
        if op != Op::default() {
            ops.set(index, PodOp(op), 0).map_err(map_error(NAME))?;
        }
    }
    Ok(())
}

/// Requests that were submitted at `now` or before and have not completed. Exact only once the hooks are detached.
pub(super) fn in_flight(object: &Object, now: u64) -> Vec<Request> {
    let map = object.map("URING_REQUESTS").and_then(|map| map.try_into().ok());
    let Some(requests): Option<HashMap<&MapData, u64, PodRequest>> = map else { return Vec::new() };
    let mut found: Vec<Request> = requests
        .iter()
        .flatten()
        .map(|(_, PodRequest(request))| request)
        .filter(|request| request.start <= now)
        .collect();
    found.sort_by_key(|request| request.start);
    found
}

#[cfg(test)]
mod tests;
