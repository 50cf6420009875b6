//! Merges the rings by time. Syscall records are looked at where they lie; lifecycle records are
//! few and are copied out at once, so that their rings stay empty whatever happens downstream.

use std::collections::VecDeque;

use agent_ebpf::kinds::Kind;
use agent_ebpf::records::Header;

use super::decode;
use crate::kernel::{Lost, Ring, Rings};

/// Most bytes of lifecycle records that wait for their turn.
const WAITING_MAX: usize = 16 << 20;
/// Part of a ring that is read before its room is given back.
const RELEASE_PART: u64 = 16;

struct Waiting {
    records: VecDeque<Box<[u8]>>,
}

/// All rings of a capture.
pub struct Merge {
    flood: Vec<Ring>,
    lifecycle: Vec<Ring>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    heads: Vec<u64>,
    dropped: Vec<Lost>,
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

impl Merge {
    /// Takes over the rings.
    pub fn new(rings: Rings) -> Self {
        let waiting = rings.lifecycle.iter().map(|_| Waiting { records: VecDeque::new() }).collect();
        let heads = vec![0; rings.flood.len() + rings.lifecycle.len()];
        Self {
            flood: rings.flood,
            lifecycle: rings.lifecycle,
            waiting,
            waiting_bytes: 0,
            heads,
            dropped: Vec::new(),
        }
    }

    /// Copies lifecycle records out of their rings.
    pub fn pull_lifecycle(&mut self) {
        for (ring, waiting) in self.lifecycle.iter_mut().zip(&mut self.waiting) {
            while let Some(record) = ring.peek() {
                let len = record.len();
                if self.waiting_bytes + len > WAITING_MAX {
                    if let Some(lost) = lost_record(record) {
                        self.dropped.push(lost);
                    }
                } else {
                    self.waiting_bytes += len;
                    waiting.records.push_back(record.into());
                }
                ring.advance(len);
            }
            ring.release();
        }
    }

    /// Lifecycle records that found no room to wait in.
    pub fn take_dropped(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.dropped)
    }

    /// The largest part of a flood ring that waits to be read, in thousandths.
    pub fn fill(&self) -> u64 {
        self.flood.iter().map(|ring| ring.backlog() * 1000 / ring.size()).max().unwrap_or(0)
    }

    fn head(&mut self, source: usize, watermark: u64) -> u64 {
        let floods = self.flood.len();
        let head = if source < floods {
            self.flood[source].peek().map(decode::time)
        } else {
            self.waiting[source - floods].records.front().map(|record| decode::time(record))
        };
        head.filter(|time| *time <= watermark).unwrap_or(u64::MAX)
    }

    /// Hands over all records up to the watermark (ns of the boot clock) in the order of their
    /// time; at the same time, syscalls before lifecycle events, since a thread's last call ends
    /// when it does.
    pub fn pass(&mut self, watermark: u64, mut take: impl FnMut(&[u8]) -> Flow) -> Pass {
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
            let flow = if first < self.flood.len() {
                self.run_flood(first, bound.min(watermark), &mut take)
            } else {
                let waiting = &mut self.waiting[first - self.flood.len()];
                match waiting.records.pop_front() {
                    Some(record) => {
                        self.waiting_bytes -= record.len();
                        take(&record)
                    }
                    None => Flow::Go,
                }
            };
            if flow == Flow::Stop {
                result = Pass::Stopped;
                break;
            }
            self.heads[first] = self.head(first, watermark);
        }
        for ring in &mut self.flood {
            ring.release();
        }
        result
    }

    /// Takes from one ring as long as no other source has an older record.
    #[inline]
    fn run_flood(&mut self, source: usize, bound: u64, take: &mut impl FnMut(&[u8]) -> Flow) -> Flow {
        let ring = &mut self.flood[source];
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
}

fn lost_record(record: &[u8]) -> Option<Lost> {
    let cgroup = record.get(8..16)?.try_into().ok().map(u64::from_ne_bytes)?;
    let cpu_at = std::mem::offset_of!(Header, cpu);
    let cpu = record.get(cpu_at..cpu_at + 2)?.try_into().ok().map(u16::from_ne_bytes)?;
    let kind: Kind = decode::kind(record)?;
    Some(Lost { cpu: Some(cpu), kind, cgroup: Some(cgroup), stage: "queue", count: 1 })
}
