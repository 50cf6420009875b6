//! The iterator that finds stalled threads. A thread of its own runs it periodically, so that neither the drain nor the
//! stalled threads can block it.

use std::io;
use std::os::fd::BorrowedFd;

use agent_ebpf::records::stall::{StallBody, StallHead, Wake, what};
use aya::maps::{Array, HashMap, MapData};

use super::iterator::ScanProgram;

/// A value of the map `WAKES`.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct PodWake(Wake);

// SAFETY: `Wake` is repr(C), made of integers, without padding (checked at its definition).
unsafe impl aya::Pod for PodWake {}

/// A thread that the iterator found.
#[derive(Clone, Debug)]
pub struct StalledThread {
    /// Which thread, and since when it sleeps.
    pub head: StallHead,
    /// Where it sleeps, if that is to be reported.
    pub body: Option<Box<StallBody>>,
}

/// Runs the iterator of stalled threads.
pub struct StallScanner {
    program: ScanProgram,
    wakes: HashMap<MapData, u32, PodWake>,
    reported: Array<MapData, u32>,
    bytes: Vec<u8>,
}

impl StallScanner {
    /// A scanner for a loaded iterator program.
    pub(super) fn new(
        program: BorrowedFd<'_>,
        wakes: HashMap<MapData, u32, PodWake>,
        reported: Array<MapData, u32>,
    ) -> io::Result<Self> {
        Ok(Self { program: ScanProgram::new(program)?, wakes, reported, bytes: Vec::new() })
    }

    /// Scans all threads once.
    ///
    /// # Errors
    /// The iterator could not be created or read.
    pub fn scan(&mut self) -> io::Result<Vec<StalledThread>> {
        self.program.run(&mut self.bytes)?;
        let stalled = parse(&self.bytes);
        // Until the next report, the iterator need not look at threads that do not sleep.
        if !stalled.iter().any(|thread| matches!(thread.head.what, what::REPORT | what::SLEEPS)) {
            // Without it, the next scan takes longer.
            let _ = self.reported.set(0, 0, 0);
        }
        // Many stalled threads are rare: their memory is freed.
        self.bytes.shrink_to(1 << 16);
        Ok(stalled)
    }

    /// Takes the wakeup of this thread out of the map, if there is one.
    pub fn take_wake(&mut self, tid: u32, start: u64) -> Option<Wake> {
        let PodWake(wake) = self.wakes.get(&tid, 0).ok()?;
        // It may be gone already.
        let _ = self.wakes.remove(&tid);
        (wake.start == start).then_some(wake)
    }
}

fn parse(mut bytes: &[u8]) -> Vec<StalledThread> {
    let mut all = Vec::new();
    while bytes.len() >= size_of::<StallHead>() {
        // SAFETY: enough bytes for the struct, which is made of integers alone; no alignment needed.
        let head = unsafe { bytes.as_ptr().cast::<StallHead>().read_unaligned() };
        bytes = &bytes[size_of::<StallHead>()..];
        let mut body = None;
        if head.what == what::REPORT {
            if bytes.len() < size_of::<StallBody>() {
                break;
            }
            // SAFETY: as above.
            body = Some(Box::new(unsafe { bytes.as_ptr().cast::<StallBody>().read_unaligned() }));
            bytes = &bytes[size_of::<StallBody>()..];
        }
        all.push(StalledThread { head, body });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(what: u32, tid: u32) -> StallHead {
        StallHead { what, tid, ..StallHead::default() }
    }

    fn bytes_of<T>(value: &T) -> &[u8] {
        // SAFETY: a struct of integers without padding.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
    }

    #[test]
    fn heads_with_and_without_bodies() {
        // SAFETY: a struct of integers, for which all zeroes are valid.
        let mut body: StallBody = unsafe { std::mem::zeroed() };
        body.depth = 7;
        let mut bytes = Vec::new();
        bytes.extend_from_slice(bytes_of(&head(what::SLEEPS, 1)));
        bytes.extend_from_slice(bytes_of(&head(what::REPORT, 2)));
        bytes.extend_from_slice(bytes_of(&body));
        bytes.extend_from_slice(bytes_of(&head(what::WOKEN, 3)));
        let seen = parse(&bytes);
        assert_eq!(seen.iter().map(|seen| seen.head.tid).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(seen[1].body.as_ref().map(|body| body.depth), Some(7));
        // Truncated records are ignored.
        assert_eq!(parse(&bytes[..bytes.len() - 1]).len(), 2);
        assert_eq!(parse(&bytes[..48 + 48 + 100]).len(), 1);
        assert!(parse(&[]).is_empty());
    }
}
