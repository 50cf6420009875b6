//! Merges the ring buffers by time. Records of the CPUs' own and the event ring buffers are read where they lie; lifecycle
//! records are few and are copied out at once, so that their ring buffers stay empty whatever happens downstream.

use std::collections::VecDeque;

use agent_ebpf::records::Header;
use events::Kind;
use rustc_hash::FxHashMap;

use super::cpu_stream::CpuStream;
use super::decode;
use super::source::{RecordSource, Sources};
use crate::kernel::EventLoss;

/// Bytes of lifecycle records that may wait for their turn.
pub(super) const WAITING_MAX: usize = 16 << 20;
/// Part of a ring buffer that is read before its space is given back.
const RELEASE_PART: u64 = 16;

/// Lifecycle records that were copied out of the ring buffers and wait for their turn.
#[derive(Debug, Default)]
struct Waiting {
    /// By CPU.
    records: Vec<VecDeque<Box<[u8]>>>,
    bytes: usize,
}

impl Waiting {
    /// Takes a copy of a record. False if there is no room.
    fn push(&mut self, cpu: usize, record: &[u8]) -> bool {
        let record = decode::used(record);
        let fits = self.bytes + record.len() <= WAITING_MAX;
        if fits {
            self.bytes += record.len();
            self.records[cpu].push_back(record.into());
        }
        fits
    }

    fn front(&self, cpu: usize) -> Option<&[u8]> {
        self.records[cpu].front().map(|record| &**record)
    }

    fn pop(&mut self, cpu: usize) -> Option<Box<[u8]>> {
        let record = self.records[cpu].pop_front()?;
        self.bytes -= record.len();
        Some(record)
    }

    fn drain(&mut self) -> impl Iterator<Item = Box<[u8]>> {
        self.bytes = 0;
        self.records.iter_mut().flat_map(|records| records.drain(..))
    }
}

/// All ring buffers of a recording.
#[derive(Debug)]
pub struct Merge<S> {
    cpus: Vec<CpuSource<S>>,
    events: Vec<S>,
    lifecycle: Vec<S>,
    waiting: Waiting,
    /// The time of each source's first record, during a pass: the CPUs' own ring buffers, event ring buffers, lifecycle.
    heads: Vec<u64>,
    dropped: DroppedRecords,
    /// Lifecycle records were dropped since the last call of [`Merge::take_stale`].
    stale: bool,
}

/// A CPU's own ring buffer, and what its records so far say about those that follow.
#[derive(Debug)]
struct CpuSource<S> {
    ring: S,
    stream: CpuStream,
}

/// A record that is handed over.
#[derive(Debug)]
pub enum Record<'a> {
    /// Of a CPU's own ring buffer.
    Cpu(&'a mut CpuStream, &'a [u8]),
    /// Of another one.
    Whole(&'a [u8]),
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Everything up to the watermark was handed over.
    Done,
    /// The receiver cannot take more now.
    Stopped,
}

/// Whether the receiver takes more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Go,
    /// It has taken this one, and no more.
    Stop,
}

impl<S: RecordSource> Merge<S> {
    /// Takes over the ring buffers.
    pub fn new(sources: Sources<S>) -> Self {
        let Sources { cpus, events, lifecycle } = sources;
        let records = lifecycle.iter().map(|_| VecDeque::new()).collect();
        let of_cpu = |(cpu, ring)| CpuSource { ring, stream: CpuStream::new(cpu as u16) };
        Self {
            heads: vec![0; cpus.len() + events.len() + lifecycle.len()],
            cpus: cpus.into_iter().enumerate().map(of_cpu).collect(),
            events,
            lifecycle,
            waiting: Waiting { records, bytes: 0 },
            dropped: DroppedRecords::default(),
            stale: false,
        }
    }

    /// Copies lifecycle records out of their ring buffers.
    pub fn pull_lifecycle(&mut self) {
        for (cpu, ring) in self.lifecycle.iter_mut().enumerate() {
            while let Some(record) = ring.peek() {
                let len = record.len();
                if !self.waiting.push(cpu, record) {
                    self.dropped.add(record);
                    self.stale = true;
                }
                ring.advance(len);
            }
            ring.release();
        }
    }

    /// Records that were dropped here since the last call, as losses at stage `queue`.
    pub fn take_dropped(&mut self) -> Vec<EventLoss> {
        self.dropped.take()
    }

    /// Whether lifecycle records were dropped and all that were kept are handed over: then the processes have to be
    /// scanned again. The call resets it.
    pub fn take_stale(&mut self) -> bool {
        let due = self.stale && self.waiting.bytes == 0;
        if due {
            self.stale = false;
        }
        due
    }

    /// Drops everything that is left, counted.
    pub fn drop_rest(&mut self) {
        for CpuSource { ring, stream } in &mut self.cpus {
            while let Some(record) = ring.peek() {
                let len = record.len();
                if let Some((kind, cgroup)) = stream.dropped(record) {
                    *self.dropped.0.entry(DroppedKey { cpu: stream.cpu(), kind, cgroup }).or_default() += 1;
                }
                ring.advance(len);
            }
            ring.release();
        }
        for ring in self.events.iter_mut().chain(&mut self.lifecycle) {
            while let Some(record) = ring.peek() {
                let len = record.len();
                self.dropped.add(record);
                ring.advance(len);
            }
            ring.release();
        }
        for record in self.waiting.drain() {
            self.dropped.add(&record);
        }
    }

    /// Whether a record is still being written by a program.
    pub fn is_busy(&self) -> bool {
        let cpus = self.cpus.iter().map(|cpu| &cpu.ring);
        cpus.chain(&self.events).chain(&self.lifecycle).any(|ring| ring.backlog() > 0)
    }

    /// How full the fullest ring buffer of frequent events is, in thousandths.
    pub fn fill(&self) -> u64 {
        let rings = self.cpus.iter().map(|cpu| &cpu.ring).chain(&self.events);
        rings.map(|ring| ring.backlog() * 1000 / ring.size()).max().unwrap_or(0)
    }

    /// The time of a source's first record; `u64::MAX` if it has none up to the watermark.
    fn head(&mut self, source: usize, watermark: u64) -> u64 {
        let (cpus, rings) = (self.cpus.len(), self.cpus.len() + self.events.len());
        let head = if source < cpus {
            self.cpus[source].ring.peek().map(decode::time)
        } else if source < rings {
            self.events[source - cpus].peek().map(decode::time)
        } else {
            self.waiting.front(source - rings).map(decode::time)
        };
        head.filter(|time| *time <= watermark).unwrap_or(u64::MAX)
    }

    /// Hands over all records up to the watermark (ns of the boot clock) in the order of their
    /// time; at the same time, syscalls before lifecycle events, since a thread's last call ends
    /// when it does.
    pub fn pass(&mut self, watermark: u64, mut take: impl FnMut(Record<'_>) -> Flow) -> Pass {
        // u64::MAX stands for an empty source.
        let watermark = watermark.min(u64::MAX - 1);
        let sources = self.heads.len();
        for source in 0..sources {
            self.heads[source] = self.head(source, watermark);
        }
        let mut result = Pass::Done;
        loop {
            let (mut first, mut best, mut bound) = (0, u64::MAX, u64::MAX);
            for (source, &head) in self.heads.iter().enumerate() {
                if head < best {
                    bound = best;
                    (first, best) = (source, head);
                } else if head < bound {
                    bound = head;
                }
            }
            if best == u64::MAX {
                break;
            }
            let (cpus, rings) = (self.cpus.len(), self.cpus.len() + self.events.len());
            let bound = bound.min(watermark);
            let flow = if first < cpus {
                let CpuSource { ring, stream } = &mut self.cpus[first];
                run(ring, bound, |record| {
                    if stream.follow(record) { Flow::Go } else { take(Record::Cpu(stream, record)) }
                })
            } else if first < rings {
                run(&mut self.events[first - cpus], bound, |record| take(Record::Whole(record)))
            } else {
                self.waiting.pop(first - rings).map_or(Flow::Go, |record| take(Record::Whole(&record)))
            };
            if flow == Flow::Stop {
                result = Pass::Stopped;
                break;
            }
            self.heads[first] = self.head(first, watermark);
        }
        for ring in self.cpus.iter_mut().map(|cpu| &mut cpu.ring).chain(&mut self.events) {
            ring.release();
        }
        result
    }

    /// Thread and row of a CPU's stream, for calls that are still open at the end.
    pub fn stream_mut(&mut self, cpu: u32) -> Option<&mut CpuStream> {
        self.cpus.get_mut(cpu as usize).map(|cpu| &mut cpu.stream)
    }

    /// The event and lifecycle ring buffers, by CPU.
    pub(super) fn sources_mut(&mut self) -> (&mut [S], &mut [S]) {
        (&mut self.events, &mut self.lifecycle)
    }

    /// A CPU's own ring buffer.
    pub(super) fn cpu_mut(&mut self, cpu: usize) -> &mut S {
        &mut self.cpus[cpu].ring
    }
}

/// Takes from one ring buffer as long as no other source has an older record.
#[inline]
fn run<S: RecordSource>(ring: &mut S, bound: u64, mut take: impl FnMut(&[u8]) -> Flow) -> Flow {
    let step = ring.size() / RELEASE_PART;
    while let Some(record) = ring.peek() {
        if decode::time(record) > bound {
            break;
        }
        let len = record.len();
        let flow = take(record);
        ring.advance(len);
        if ring.unreleased() > step {
            ring.release();
        }
        if flow == Flow::Stop {
            return Flow::Stop;
        }
    }
    Flow::Go
}

/// Counts dropped records by CPU, kind and cgroup.
#[derive(Debug, Default)]
struct DroppedRecords(FxHashMap<DroppedKey, u64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct DroppedKey {
    cpu: u16,
    kind: Kind,
    cgroup: u64,
}

impl DroppedKey {
    /// `None` if the record is too short to have one.
    fn of(record: &[u8]) -> Option<Self> {
        const CPU: usize = std::mem::offset_of!(Header, cpu);
        const CGROUP: usize = std::mem::offset_of!(Header, cgroup);
        let cgroup = u64::from_ne_bytes(record.get(CGROUP..CGROUP + 8)?.try_into().ok()?);
        let cpu = u16::from_ne_bytes(record.get(CPU..CPU + 2)?.try_into().ok()?);
        Some(Self { cpu, kind: decode::kind(record)?, cgroup })
    }
}

impl DroppedRecords {
    fn add(&mut self, record: &[u8]) {
        if decode::is_event(record)
            && let Some(key) = DroppedKey::of(record)
        {
            *self.0.entry(key).or_default() += 1;
        }
    }

    fn take(&mut self) -> Vec<EventLoss> {
        let lost = |(key, count): (DroppedKey, u64)| EventLoss {
            cpu: Some(key.cpu),
            kind: Some(key.kind),
            cgroup: Some(key.cgroup),
            stage: "queue",
            count,
        };
        self.0.drain().map(lost).collect()
    }
}

#[cfg(test)]
mod tests;
