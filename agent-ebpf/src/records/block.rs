//! Block requests: what the kernel side keeps of them while they are in flight, and the record of their completion.

use super::{Header, plain};

/// How many devices above the last one are kept, outermost first.
pub const VIA: usize = 4;
/// No device: not a number that the kernel gives out.
pub const NO_DEVICE: u32 = u32::MAX;

/// Bits of [`Origin::bits`].
pub mod origin {
    /// The request is the recorder's own, or that of a reader of its pipe: no record.
    pub const EXCLUDED: u32 = 1 << 0;
    /// `owner` is the cgroup that the bio is charged to.
    pub const OWNER_BIO: u32 = 1 << 1;
    /// `owner` is the submitter's cgroup: the kernel charges in another hierarchy.
    pub const OWNER_SUBMITTER: u32 = 1 << 2;
    /// Nothing is known: the submission was not seen.
    pub const UNKNOWN: u32 = 1 << 3;
    /// `owner` is the cgroup that the bio is charged to, by its id in the hierarchy of the I/O controller, which is not
    /// the one that identifies cgroups. [`OWNER_SUBMITTER`] may be set as well: for the case that there is no such cgroup
    /// in the other hierarchy.
    pub const OWNER_IO: u32 = 1 << 4;
    /// An I/O limit (blk-throttle) has held the bio.
    pub const THROTTLED: u32 = 1 << 5;
    /// `first` is when the limit released the bio: no tracepoint had seen it before.
    pub const RELEASED: u32 = 1 << 6;
}

/// The submitter, and the time; taken at the first tracepoint that sees the bio. 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// When it was first seen, ns of CLOCK_BOOTTIME.
    pub first: u64,
    /// The submitter's cgroup.
    pub cgroup: u64,
    /// The cgroup that is charged, if `bits` mark it as known.
    pub owner: u64,
    /// The submitter's process id.
    pub pid: u32,
    /// The submitter's thread id.
    pub tid: u32,
    /// The submitter's effective user id.
    pub uid: u32,
    /// Bits of [`origin`].
    pub bits: u32,
    /// The devices that it came through, outermost first; 0 where there is none.
    pub via: [u32; VIA],
    /// Operation and flags as the submitter gave them (`bi_opf`).
    pub opf: u32,
    /// Always 0.
    pub reserved: u32,
}

/// A bio that is not part of an issued request yet. 88 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bio {
    /// Who and when.
    pub origin: Origin,
    /// Its first sector on the whole disk.
    pub sector: u64,
    /// Its size.
    pub bytes: u32,
    /// The whole disk's number.
    pub devno: u32,
    /// 1 once `block_bio_queue` has noted it; 0 if only a remap has.
    pub queued: u32,
    /// Always 0.
    pub reserved: u32,
}

/// A request that was issued to its device. 120 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// Who and when.
    pub origin: Origin,
    /// When it was first issued, ns of CLOCK_BOOTTIME; 0 if that was not seen.
    pub first_issue: u64,
    /// When it was last issued.
    pub last_issue: u64,
    /// Its first sector.
    pub sector: u64,
    /// Bytes that are done.
    pub done: u64,
    /// Its size when it was first issued.
    pub bytes: u32,
    /// The disk's number.
    pub devno: u32,
    /// How many bios it has.
    pub bios: u32,
    /// How often it was issued.
    pub issues: u32,
    /// 1 from a requeue to the next issue.
    pub requeued: u32,
    /// The first error of a part of it, as the tracepoint gives it.
    pub error: i32,
}

/// A request at its completion. The header's subject is the submitter. 152 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Block {
    /// Common part; `time` is the completion.
    pub head: Header,
    /// See [`Request`]; `done` is what was transferred, or should have been.
    pub request: Request,
}

plain! {
    Origin = 64;
    Bio = 88;
    Request = 64 + 32 + 24;
    Block = 32 + 120;
}
