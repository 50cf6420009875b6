//! Block requests.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use agent_ebpf::records::Header;
use agent_ebpf::records::block::{Block, NO_DEVICE, Origin, VIA, origin};
use capture_format::{ChunkBuilder, StrId};
use events::flags;
use events::{Kind, UNKNOWN};
use rustc_hash::FxHashMap;

use super::{RowWriter, col};
use crate::kernel::{EventLoss, RequestNames};
use crate::record::decode;

/// How long the name of a device is kept: another one may get its number.
const NAME_AGE: Duration = Duration::from_secs(5);

/// Operations by their names in the kernel, `REQ_OP_*`. All of zones have one name here.
const OPS: [(&str, &str); 8] = [
    ("READ", "read"),
    ("WRITE", "write"),
    ("FLUSH", "flush"),
    ("DISCARD", "discard"),
    ("SECURE_ERASE", "secure_erase"),
    ("WRITE_ZEROES", "write_zeroes"),
    ("DRV_IN", "driver"),
    ("DRV_OUT", "driver"),
];
/// Flags of requests by their names in the kernel, `__REQ_*`.
const FLAGS: [(&str, &str); 8] = [
    ("SYNC", "sync"),
    ("META", "meta"),
    ("PRIO", "prio"),
    ("FUA", "fua"),
    ("PREFLUSH", "preflush"),
    ("RAHEAD", "ahead"),
    ("BACKGROUND", "background"),
    ("NOWAIT", "nowait"),
];

/// Names of devices, operations and flags.
#[derive(Debug, Default)]
pub struct BlockNames {
    ops: Vec<(u32, &'static str)>,
    flags: Vec<(u32, &'static str)>,
    /// Operation and flags of the `cmd_flags` seen so far.
    texts: FxHashMap<u32, (&'static str, Box<str>)>,
    devices: FxHashMap<u32, (Instant, Box<str>)>,
    /// Devices that were idle shortly before the end, and when (boot clock, ns).
    idle: FxHashMap<u32, u64>,
}

impl BlockNames {
    /// As this kernel numbers them.
    pub fn new(kernel: &RequestNames) -> Self {
        let op = |(value, name): &(u32, String)| {
            let known = OPS.iter().find(|(theirs, _)| theirs == name);
            let zone = name.starts_with("ZONE_").then_some("zone");
            Some((*value, known.map(|(_, ours)| *ours).or(zone)?))
        };
        let flag = |(ours, theirs): (&'static str, &str)| {
            let (bit, _) = kernel.flags.iter().find(|(_, name)| name == theirs)?;
            Some((*bit, ours))
        };
        Self {
            ops: kernel.ops.iter().filter_map(op).collect(),
            flags: FLAGS.iter().filter_map(|(theirs, ours)| flag((ours, theirs))).collect(),
            ..Self::default()
        }
    }

    /// Nothing was in flight to this device at `now`.
    pub(super) fn note_idle(&mut self, devno: u32, now: u64) {
        self.idle.insert(devno, now);
    }

    fn text(&mut self, cmd_flags: u32) -> &(&'static str, Box<str>) {
        let (ops, flags) = (&self.ops, &self.flags);
        self.texts.entry(cmd_flags).or_insert_with(|| {
            let op =
                ops.iter().find(|(value, _)| *value == cmd_flags & 0xff).map_or("other", |(_, name)| name);
            let set: Vec<&str> =
                flags.iter().filter(|(bit, _)| cmd_flags >> bit & 1 != 0).map(|(_, name)| *name).collect();
            (op, set.join("|").into())
        })
    }

    /// The name of a device, from sysfs, which never waits for a device; `major:minor` if it has none.
    fn device(&mut self, devno: u32) -> &str {
        if devno == NO_DEVICE {
            return "";
        }
        let now = Instant::now();
        let (known, name) = self.devices.entry(devno).or_insert_with(|| (now, read_name(devno)));
        if now.duration_since(*known) > NAME_AGE {
            *name = read_name(devno);
            *known = now;
        }
        name
    }

    /// Names of the devices above, outermost first.
    fn via(&mut self, via: &[u32; VIA]) -> Cow<'static, str> {
        if via[0] == 0 {
            return Cow::Borrowed("");
        }
        let names = via.iter().filter(|devno| **devno != 0).map(|devno| self.device(*devno).to_owned());
        Cow::Owned(names.collect::<Vec<String>>().join(">"))
    }
}

/// The numbers of the whole disks that have nothing to do.
fn idle_devices() -> impl Iterator<Item = u32> {
    let disks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    disks.filter_map(|disk| {
        let in_flight = std::fs::read_to_string(disk.path().join("inflight")).ok()?;
        if in_flight.split_whitespace().any(|count| count != "0") {
            return None;
        }
        let number = std::fs::read_to_string(disk.path().join("dev")).ok()?;
        let (major, minor) = number.trim().split_once(':')?;
        Some(major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?)
    })
}

fn read_name(devno: u32) -> Box<str> {
    let number = format!("{}:{}", devno >> 20, devno & 0xf_ffff);
    let target = std::fs::read_link(format!("/sys/dev/block/{number}"));
    let name = target.ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or(number).into()
}

/// The error number of what `block_rq_complete` passes: a negative errno in old kernels, a `blk_status_t` in others
/// (the table of `block/blk-core.c`; numbers above 13 have changed between versions).
fn errno(raw: i32) -> u32 {
    let known = match raw {
        0 => 0,
        ..0 => raw.unsigned_abs().cast_signed(),
        1 => libc::EOPNOTSUPP,
        2 => libc::ETIMEDOUT,
        3 => libc::ENOSPC,
        4 => libc::ENOLINK,
        5 => libc::EREMOTEIO,
        6 => libc::EBADE,
        7 => libc::ENODATA,
        8 => libc::EILSEQ,
        9 => libc::ENOMEM,
        12 => libc::EAGAIN,
        13 => libc::EBUSY,
        _ => libc::EIO,
    };
    known.unsigned_abs()
}

/// The times of a request in ns: since it was first seen, until its first issue, since its last. A request that was
/// submitted and not issued is still in the queue. How long an I/O limit has held a request before it was first seen is
/// not known.
struct Times {
    dur: u64,
    queued: u64,
    service: u64,
    clamped: bool,
}

impl Times {
    fn of(block: &Block, now: u64) -> Self {
        let request = &block.request;
        let mut clamped = false;
        let mut span = |from: u64, to: u64| {
            clamped |= to < from;
            to.saturating_sub(from)
        };
        let issued = request.first_issue != 0;
        let dur = span(request.origin.first, now);
        let queued = if request.origin.bits & (origin::UNKNOWN | origin::RELEASED) != 0 {
            UNKNOWN
        } else if issued {
            span(request.origin.first, request.first_issue)
        } else if block.head.flags & flags::UNFINISHED != 0 {
            dur
        } else {
            UNKNOWN
        };
        let service = if issued { span(request.last_issue, now) } else { UNKNOWN };
        Self { dur, queued, service, clamped }
    }
}

impl RowWriter {
    /// Writes a completed request.
    pub(super) fn block(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let block: Block = decode::record(bytes)?;
        self.block_row(builder, &block);
        Some(())
    }

    /// Notes which devices are idle at `now` (boot clock, ns), while completions are still seen.
    pub fn note_idle_devices(&mut self, now: u64) {
        for devno in idle_devices() {
            self.block.note_idle(devno, now);
        }
    }

    /// The loss to report if this request, which is in flight as far as was seen, was not any more when its device was
    /// idle: its completion was missed.
    pub fn block_missed(&mut self, block: &Block) -> Option<EventLoss> {
        let request = &block.request;
        let was_idle = self.block.idle.get(&request.devno).is_some_and(|at| request.last_issue < *at);
        let missed = request.issues != 0 && was_idle && self.wants_cgroup(Kind::Block, block.head.cgroup);
        missed.then_some(EventLoss {
            cpu: None,
            kind: Some(Kind::Block),
            cgroup: Some(block.head.cgroup),
            stage: "recursion",
            count: 1,
        })
    }

    /// Writes a request that has not completed.
    pub fn block_unfinished(&mut self, builder: &mut ChunkBuilder, block: &Block) {
        let bits = flags::UNFINISHED | flags::AT_END;
        let unknown = block.request.origin.bits & (origin::UNKNOWN | origin::RELEASED) != 0;
        let bits = if unknown { bits | flags::START_UNKNOWN } else { bits };
        let head = Header { flags: block.head.flags | bits, kind: Kind::Block as u8, ..block.head };
        self.block_row(builder, &Block { head, request: block.request });
    }

    /// The cgroup that a request belongs to, 0 if that is not known, and how that is known.
    fn owner(&mut self, who: &Origin) -> (u64, &'static str) {
        if who.bits & origin::OWNER_BIO != 0 {
            return (who.owner, "bio");
        }
        if who.bits & origin::OWNER_IO != 0
            && let Some(owner) = self.cgroups.charged(who.owner)
        {
            return (owner, "bio");
        }
        if who.bits & origin::OWNER_SUBMITTER != 0 { (who.cgroup, "submitter") } else { (0, "unknown") }
    }

    fn block_row(&mut self, builder: &mut ChunkBuilder, block: &Block) {
        let (head, request) = (&block.head, &block.request);
        let who = &request.origin;
        let (owner, owner_kind) = self.owner(who);
        let is_wanted = self.wants_cgroup(Kind::Block, head.cgroup)
            || owner_kind == "bio" && self.wants_cgroup(Kind::Block, owner);
        if !is_wanted {
            return;
        }
        let times = Times::of(block, head.time);
        let unfinished = head.flags & flags::UNFINISHED != 0;
        let bytes = if unfinished { u64::from(request.bytes) } else { request.done };
        let mut head = *head;
        if times.clamped {
            head.flags |= flags::CLAMPED;
        }
        self.count(head.cgroup);
        let uid = (who.bits & origin::UNKNOWN == 0).then_some(who.uid);
        let index = self.common(builder, Kind::Block, &head, uid);
        let owner = self.cgroup_row(builder, owner);
        let via = self.block.via(&who.via);
        let via = builder.intern(via.as_bytes());
        let dev = builder.intern(self.block.device(request.devno).as_bytes());
        let (op, rq_flags) = self.block.text(who.opf);
        // The kernel's sector of these has no meaning.
        let has_no_sector = matches!(*op, "flush" | "driver") || request.bytes == 0;
        let [op, rq_flags, owner_kind]: [StrId; 3] =
            [op, &**rq_flags, owner_kind].map(|text| builder.intern(text.as_bytes()));
        let table = builder.table_at(index);
        table.push_u64(col!(Block, "dur"), times.dur);
        table.push_u64(col!(Block, "queued"), times.queued);
        table.push_u64(col!(Block, "service"), times.service);
        table.push_bytes(col!(Block, "dev"), dev);
        let devno = if request.devno == NO_DEVICE { UNKNOWN } else { u64::from(request.devno) };
        table.push_u64(col!(Block, "devno"), devno);
        table.push_bytes(col!(Block, "via"), via);
        table.push_bytes(col!(Block, "op"), op);
        table.push_bytes(col!(Block, "rq_flags"), rq_flags);
        table.push_u64(col!(Block, "sector"), if has_no_sector { UNKNOWN } else { request.sector });
        table.push_u64(col!(Block, "bytes"), bytes);
        table.push_u64(col!(Block, "error"), u64::from(errno(request.error)));
        table.push_u64(col!(Block, "bios"), u64::from(request.bios));
        table.push_u64(col!(Block, "issues"), u64::from(request.issues));
        table.push_ref(col!(Block, "owner"), owner);
        table.push_bytes(col!(Block, "owner_kind"), owner_kind);
        table.push_u64(col!(Block, "throttled"), u64::from(who.bits & origin::THROTTLED != 0));
        table.end_row();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ktape_reader::fields::words;

    fn names() -> BlockNames {
        let list = |names: &[(u32, &str)]| names.iter().map(|(n, s)| (*n, (*s).to_owned())).collect();
        BlockNames::new(&RequestNames {
            ops: list(&[
                (0, "READ"),
                (1, "WRITE"),
                (2, "FLUSH"),
                (15, "ZONE_RESET"),
                (34, "DRV_IN"),
                (36, "LAST"),
            ]),
            flags: list(&[
                (8, "FAILFAST_DEV"),
                (11, "SYNC"),
                (12, "META"),
                (18, "PREFLUSH"),
                (30, "NR_BITS"),
            ]),
        })
    }

    #[test]
    fn filters_know_every_operation_and_flag() {
        assert!(OPS.iter().all(|(_, ours)| words::BLOCK_OPS.find(ours).is_some()));
        assert!(["zone", "other"].iter().all(|ours| words::BLOCK_OPS.find(ours).is_some()));
        let flags: Vec<&str> = FLAGS.iter().map(|(_, ours)| *ours).collect();
        assert_eq!(flags, words::BLOCK_FLAGS.all, "in the order in which they are joined");
    }

    #[test]
    fn operations_and_flags_have_the_numbers_of_this_kernel() {
        let mut names = names();
        let mut text = |bits: u32| {
            let (op, flags) = names.text(bits);
            format!("{op} {flags}")
        };
        assert_eq!(text(0), "read ");
        assert_eq!(text(1 | 1 << 18 | 1 << 11 | 1 << 8), "write sync|preflush");
        assert_eq!(text(15 | 1 << 12), "zone meta");
        assert_eq!(text(34), "driver ");
        assert_eq!(text(77), "other ");
    }

    #[test]
    fn a_device_without_a_name_is_shown_by_number() {
        let mut names = names();
        assert_eq!(names.device(4000 << 20 | 17), "4000:17");
        assert_eq!(names.device(NO_DEVICE), "");
        assert_eq!(names.via(&[4000 << 20, 4001 << 20 | 2, 0, 0]), "4000:0>4001:2");
        assert_eq!(names.via(&[0; VIA]), "");
    }

    #[test]
    fn errors_of_old_and_new_kernels() {
        assert_eq!(errno(0), 0);
        assert_eq!(errno(-5), 5);
        assert_eq!(errno(10), 5);
        assert_eq!(errno(3), 28);
        assert_eq!(errno(200), 5);
    }

    #[test]
    fn times_that_were_not_seen_are_unknown() {
        let mut block = Block::default();
        block.request.origin.first = 100;
        let times = |block: &Block| {
            let times = Times::of(block, 1000);
            (times.dur, times.queued, times.service, times.clamped)
        };
        assert_eq!(times(&block), (900, UNKNOWN, UNKNOWN, false));
        block.head.flags = flags::UNFINISHED;
        assert_eq!(times(&block), (900, 900, UNKNOWN, false));
        (block.request.first_issue, block.request.last_issue) = (300, 600);
        assert_eq!(times(&block), (900, 200, 400, false));
        block.request.last_issue = 1001;
        assert_eq!(times(&block), (900, 200, 0, true));
        block.request.origin.bits = origin::UNKNOWN;
        assert_eq!(times(&block).1, UNKNOWN);
        block.request.origin.bits = origin::THROTTLED;
        assert_eq!(times(&block).1, 200, "seen before the limit held it");
        block.request.origin.bits |= origin::RELEASED;
        assert_eq!(times(&block).1, UNKNOWN);
    }
}
