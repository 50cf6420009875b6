//! Merges the rings by time. Syscall records are looked at where they lie; lifecycle records are
//! few and are copied out at once, so that their rings stay empty whatever happens downstream.

use std::collections::VecDeque;

use agent_ebpf::records::Header;
use events::Kind;
use rustc_hash::FxHashMap;

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
    dropped: Tally,
    stale: bool,
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
            dropped: Tally::default(),
            stale: false,
        }
    }

    /// Copies lifecycle records out of their rings.
    pub fn pull_lifecycle(&mut self) {
        for (ring, waiting) in self.lifecycle.iter_mut().zip(&mut self.waiting) {
            while let Some(record) = ring.peek() {
                let len = record.len();
                if self.waiting_bytes + len > WAITING_MAX {
                    self.dropped.add(record);
                    self.stale = true;
                } else {
                    self.waiting_bytes += len;
                    waiting.records.push_back(record.into());
                }
                ring.advance(len);
            }
            ring.release();
        }
    }

    /// Records that were dropped here: lifecycle records that found no room to wait in.
    pub fn take_dropped(&mut self) -> Vec<Lost> {
        self.dropped.take()
    }

    /// Whether lifecycle records were dropped, and all that were kept are handed over: who is who
    /// has to be found out anew. Asking resets it.
    pub fn take_stale(&mut self) -> bool {
        let due = self.stale && self.waiting_bytes == 0;
        if due {
            self.stale = false;
        }
        due
    }

    /// Drops everything that is left, counted.
    pub fn drop_rest(&mut self) {
        for ring in self.flood.iter_mut().chain(&mut self.lifecycle) {
            while let Some(record) = ring.peek() {
                let len = record.len();
                self.dropped.add(record);
                ring.advance(len);
            }
            ring.release();
        }
        for record in self.waiting.iter_mut().flat_map(|waiting| waiting.records.drain(..)) {
            self.dropped.add(&record);
        }
        self.waiting_bytes = 0;
    }

    /// Whether a record is still being written by a program.
    pub fn is_busy(&self) -> bool {
        self.flood.iter().chain(&self.lifecycle).any(|ring| ring.backlog() > 0)
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

/// Dropped records by CPU, kind and cgroup.
#[derive(Default)]
struct Tally(FxHashMap<(u16, Kind, u64), u64>);

impl Tally {
    fn add(&mut self, record: &[u8]) {
        if let Some(key) = key_of(record) {
            *self.0.entry(key).or_default() += 1;
        }
    }

    fn take(&mut self) -> Vec<Lost> {
        let lost = |((cpu, kind, cgroup), count)| Lost {
            cpu: Some(cpu),
            kind: Some(kind),
            cgroup: Some(cgroup),
            stage: "queue",
            count,
        };
        self.0.drain().map(lost).collect()
    }
}

fn key_of(record: &[u8]) -> Option<(u16, Kind, u64)> {
    const CPU: usize = std::mem::offset_of!(Header, cpu);
    const CGROUP: usize = std::mem::offset_of!(Header, cgroup);
    let cgroup = u64::from_ne_bytes(record.get(CGROUP..CGROUP + 8)?.try_into().ok()?);
    let cpu = u16::from_ne_bytes(record.get(CPU..CPU + 2)?.try_into().ok()?);
    Some((cpu, decode::kind(record)?, cgroup))
}
