//! Block requests of the running kernel: its names for operations and flags, the layout of its tracepoints, and the
//! requests in flight.

use agent_ebpf::config::{Config, block_hook};
use agent_ebpf::records::Header;
use agent_ebpf::records::block::{Bio, Block, Request, origin};
use aya::maps::{HashMap, Map, MapData};

use super::btf::Btf;
use super::object::Object;

/// `RQF_FLUSH_SEQ` of kernels where it is a macro (before 6.11).
const FLUSH_SEQ_BIT: u32 = 4;
/// `REQ_OP_DRV_IN` of kernels whose types lack it.
const OP_DRIVER: u32 = 34;
/// Bios and requests that can be in flight at a time: at least this many ...
const ENTRIES_MIN: u32 = 16_384;
/// ... and this many per CPU.
const ENTRIES_PER_CPU: u32 = 2048;

/// The kernel's names of the operations and flags in a request's `cmd_flags`.
#[derive(Clone, Debug, Default)]
pub struct RequestNames {
    /// Operations: the lower 8 bits, and the name without `REQ_OP_`.
    pub ops: Vec<(u32, String)>,
    /// Flags: the number of the bit, and the name without `__REQ_`.
    pub flags: Vec<(u32, String)>,
}

impl RequestNames {
    /// Reads the names from the kernel's types.
    pub(super) fn of(kernel: &Btf) -> Self {
        let strip = |list: Vec<(String, u32)>, prefix: &str| -> Vec<(u32, String)> {
            let names = list.into_iter();
            names
                .filter_map(|(name, value)| name.strip_prefix(prefix).map(|name| (value, name.to_owned())))
                .collect()
        };
        // Named `req_opf` before 6.0.
        let ops = kernel.enumerators("req_op").or_else(|| kernel.enumerators("req_opf")).unwrap_or_default();
        let flags = kernel.enumerators("req_flag_bits").unwrap_or_default();
        Self { ops: strip(ops, "REQ_OP_"), flags: strip(flags, "__REQ_") }
    }
}

/// Sets what differs between the block layers of kernels.
pub(super) fn set_config(config: &mut Config, kernel: &Btf) {
    // Number of arguments if the queue is one of them.
    for (name, with_queue, hook) in [
        ("block_bio_queue", 2, block_hook::BIO_QUEUE),
        ("block_bio_remap", 4, block_hook::BIO_REMAP),
        ("block_split", 3, block_hook::SPLIT),
        ("block_rq_issue", 2, block_hook::RQ_ISSUE),
        ("block_rq_requeue", 2, block_hook::RQ_REQUEUE),
    ] {
        if kernel.tracepoint_args(name) == Some(with_queue) {
            config.block_has_queue |= hook;
        }
    }
    let bit = kernel.enum_value("rqf_flags", "__RQF_FLUSH_SEQ").unwrap_or(FLUSH_SEQ_BIT);
    config.block_flush_seq = 1 << bit;
    let driver = |name| kernel.enum_value(name, "REQ_OP_DRV_IN");
    config.block_op_driver = driver("req_op").or_else(|| driver("req_opf")).unwrap_or(OP_DRIVER);
}

/// Entries of the maps of bios and requests in flight; a map cannot have fewer than one.
pub(super) fn entries(wanted: bool, cpus: u32) -> u32 {
    if wanted { ENTRIES_MIN.max(cpus * ENTRIES_PER_CPU) } else { 1 }
}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodBio(Bio);

// SAFETY: `Bio` is repr(C), made of integers, without padding (checked at its definition).
unsafe impl aya::Pod for PodBio {}

#[repr(transparent)]
#[derive(Clone, Copy)]
struct PodRequest(Request);

// SAFETY: `Request` is repr(C), made of integers, without padding (checked at its definition).
unsafe impl aya::Pod for PodRequest {}

/// Requests that began at `now` or before and have not completed, as records with the time `now`. Bios that wait for a
/// request are included, without an issue time. Exact only once the hooks are detached.
pub(super) fn in_flight(object: &Object, now: u64) -> Vec<Block> {
    let mut found = Vec::new();
    let mut add = |request: Request| {
        let who = &request.origin;
        if who.bits & origin::EXCLUDED == 0 && who.first <= now {
            let head =
                Header { time: now, cgroup: who.cgroup, pid: who.pid, tid: who.tid, ..Header::default() };
            found.push(Block { head, request });
        }
    };
    if let Some(requests) = map::<PodRequest>(object, "BLOCK_REQUESTS") {
        requests.iter().flatten().for_each(|(_, request)| add(request.0));
    }
    if let Some(bios) = map::<PodBio>(object, "BLOCK_BIOS") {
        for (_, PodBio(bio)) in bios.iter().flatten() {
            add(Request {
                origin: bio.origin,
                sector: bio.sector,
                bytes: bio.bytes,
                devno: bio.devno,
                bios: 1,
                ..Request::default()
            });
        }
    }
    found.sort_by_key(|block| block.request.origin.first);
    found
}

fn map<'a, V: aya::Pod>(object: &'a Object, name: &str) -> Option<HashMap<&'a MapData, u64, V>> {
    let map: &Map = object.map(name)?;
    map.try_into().ok()
}
