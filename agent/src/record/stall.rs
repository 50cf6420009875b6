//! The thread that looks for stalled threads. A hang becomes one event of the kind `stall` at its end, or when the recording
//! ends. What is reported while it lasts has the kind `stall_ongoing`. The thread keeps what it knows of each hang until
//! then, so that the event is complete even if the reports were dropped.
//!
//! It never waits for another thread: the kernel side reads the state of
//! stalled threads instead of `/proc`, and events that the drain does not take are dropped and counted.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_ebpf::records::stall::{StallBody, StallHead, WAKER_STACK, Wake, what};
use rustc_hash::FxHashMap;

use super::files::LinkedCall;
use crate::agent_events::{AgentEvent, EventSender, Phase, SleepPlace, Stall, Waker};
use crate::background::{Background, Beat};
use crate::clock::boot_ns;
use crate::kernel::file_sources;
use crate::kernel::stalls::{StallScanner, StalledThread};
use crate::kernel::symbols::Symbols;
use ktape_reader::syscalls::{self, ArgType};

/// Scans per duration of the limit.
const SCANS: u32 = 4;
/// The longest time between two scans.
const SCAN_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// The shortest time between two scans.
const SCAN_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// Hangs that are kept until they end, at most: about 8 MiB.
const HANGS_MAX: usize = 1 << 16;
/// Hangs that are kept with their places, at most: stacks are large.
const PLACES_MAX: usize = 4096;
/// Functions that run interrupt handlers, which do not act for the current thread.
const INTERRUPTS: [&[u8]; 12] = [
    b"asm_sysvec_",
    b"sysvec_",
    b"asm_common_interrupt",
    b"common_interrupt",
    b"asm_exc_nmi",
    b"handle_softirqs",
    b"__do_softirq",
    b"do_softirq",
    b"irq_exit",
    b"handle_irq",
    b"gic_handle_irq",
    b"el1_interrupt",
];
/// The work function that writes dirty pages back.
const WRITEBACK: &[u8] = b"wb_workfn";
/// `S_IFMT`, `S_IFBLK`, `S_IFREG` and `S_IFDIR`.
const TYPE_MASK: u32 = 0o170_000;
const BLOCK_DEVICE: u32 = 0o060_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// Starts the thread.
///
/// # Errors
/// The system refuses another thread.
pub fn start(scanner: StallScanner, limit: Duration, events: EventSender) -> std::io::Result<Background> {
    Background::start("ktape-stall", move |beat| Watch::new(scanner, events).run(beat, limit))
}

/// A thread; the start time distinguishes it from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ThreadKey {
    tid: u32,
    /// Boot clock, ns.
    start: u64,
}

impl ThreadKey {
    fn of(head: &StallHead) -> Self {
        Self { tid: head.tid, start: head.start }
    }
}

/// A hang that lasts.
struct Hang {
    head: StallHead,
    place: Arc<SleepPlace>,
    /// The number of the scan that last found it.
    scan: u64,
}

/// A report of a hang, without the thread.
struct Report {
    /// Boot clock, ns.
    time: u64,
    place: Arc<SleepPlace>,
    phase: Phase,
    waker: Option<Waker>,
}

/// Finds stalled threads.
trait Scanner {
    /// Threads in, or out of, a sleep longer than the limit, each with where it sleeps if that is to be reported.
    fn scan(&mut self) -> std::io::Result<Vec<StalledThread>>;
    /// Who woke a thread, once.
    fn take_wake(&mut self, tid: u32, start: u64) -> Option<Wake>;
}

impl Scanner for StallScanner {
    fn scan(&mut self) -> std::io::Result<Vec<StalledThread>> {
        self.scan()
    }

    fn take_wake(&mut self, tid: u32, start: u64) -> Option<Wake> {
        self.take_wake(tid, start)
    }
}

struct Watch<S> {
    scanner: S,
    events: EventSender,
    symbols: Option<Symbols>,
    hangs: FxHashMap<ThreadKey, Hang>,
    /// The place of hangs beyond [`PLACES_MAX`], and of those whose reports were missed.
    unknown: Arc<SleepPlace>,
    scans: u64,
    failed: bool,
}

impl<S: Scanner> Watch<S> {
    fn new(scanner: S, events: EventSender) -> Self {
        Self {
            scanner,
            events,
            symbols: None,
            hangs: FxHashMap::default(),
            unknown: Arc::new(SleepPlace::UNKNOWN),
            scans: 0,
            failed: false,
        }
    }

    fn run(mut self, beat: &Beat, limit: Duration) {
        let began = Instant::now();
        let pause = (limit / SCANS).clamp(SCAN_INTERVAL_MIN, SCAN_INTERVAL_MAX);
        while beat.wait_until(Instant::now() + pause) {
            self.scan();
        }
        // Finds the hangs that have begun or ended since the last scan. None can have lasted longer than the recording.
        if began.elapsed() >= limit {
            self.scan();
        }
        self.end_hangs();
    }

    /// The recording ends: what lasts is reported as unfinished.
    fn end_hangs(&mut self) {
        let time = boot_ns();
        for hang in std::mem::take(&mut self.hangs).into_values() {
            self.report(
                &hang.head,
                Report { time, place: hang.place, phase: Phase::Unfinished, waker: None },
            );
        }
    }

    fn scan(&mut self) {
        match self.scanner.scan() {
            Ok(seen) => self.take(&seen),
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!(%error, "cannot scan for stalled threads");
            }
            Err(_) => {}
        }
    }

    fn take(&mut self, seen: &[StalledThread]) {
        self.scans += 1;
        for StalledThread { head, body } in seen {
            match (head.what, body) {
                (what::REPORT, Some(body)) => self.sleeps_long(head, body),
                (what::SLEEPS, _) => match self.hangs.get_mut(&ThreadKey::of(head)) {
                    Some(hang) => hang.scan = self.scans,
                    None => self.keep(head, None),
                },
                (what::WOKEN, _) => {
                    let place = self.hangs.remove(&ThreadKey::of(head)).map(|hang| hang.place);
                    self.ended(head, place.unwrap_or_else(|| self.unknown.clone()), Phase::Woken);
                }
                _ => {}
            }
        }
        let scan = self.scans;
        let gone = self.hangs.iter().filter(|(_, hang)| hang.scan != scan);
        for key in gone.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(hang) = self.hangs.remove(&key) {
                let head = StallHead { time: boot_ns(), ..hang.head };
                self.ended(&head, hang.place, Phase::Exited);
            }
        }
        if self.hangs.is_empty() {
            self.hangs.shrink_to(64);
        }
    }

    fn sleeps_long(&mut self, head: &StallHead, body: &StallBody) {
        let place = Arc::new(self.place(head, body));
        let phase = if body.reports == 1 { Phase::Asleep } else { Phase::Still };
        self.report(head, Report { time: head.time, place: place.clone(), phase, waker: None });
        self.keep(head, Some(place));
    }

    /// Keeps a hang until it ends. The end of one for which there is no room is reported if the thread is woken.
    fn keep(&mut self, head: &StallHead, place: Option<Arc<SleepPlace>>) {
        let key = ThreadKey::of(head);
        let (kept, scan) = (self.hangs.len(), self.scans);
        let place = place.filter(|_| kept < PLACES_MAX);
        match self.hangs.get_mut(&key) {
            Some(hang) => {
                let place = place.unwrap_or_else(|| hang.place.clone());
                *hang = Hang { head: *head, place, scan };
            }
            None if kept < HANGS_MAX => {
                let place = place.unwrap_or_else(|| self.unknown.clone());
                self.hangs.insert(key, Hang { head: *head, place, scan });
            }
            None => {}
        }
    }

    fn ended(&mut self, head: &StallHead, place: Arc<SleepPlace>, phase: Phase) {
        let wake = self.scanner.take_wake(head.tid, head.start);
        let time = wake.as_ref().map_or(head.time, |wake| wake.time);
        // A killed thread is woken, too, and a thread that is gone may have been woken and have run before it exited.
        let phase =
            wake.as_ref().map_or(phase, |wake| if wake.dying == 0 { Phase::Woken } else { Phase::Exited });
        let waker = wake.and_then(|wake| self.waker(&wake));
        self.report(head, Report { time, place, phase, waker });
    }

    fn report(&self, head: &StallHead, report: Report) {
        let &StallHead { pid, tid, uid, cgroup, since, .. } = head;
        let Report { time, place, phase, waker } = report;
        let dur = time.saturating_sub(since);
        let stall = Stall { time, dur, phase, pid, tid, uid, cgroup, place, waker };
        self.events.send(AgentEvent::Stall(Box::new(stall)));
    }

    /// The thread that woke another; `None` if the wakeup came, or may have come, from an interrupt.
    fn waker(&mut self, wake: &Wake) -> Option<Waker> {
        let symbols = self.symbols();
        let stack = wake.stack.iter().take_while(|address| **address != 0);
        let names: Vec<&[u8]> = stack.filter_map(|address| Some(symbols.find(*address)?.0)).collect();
        let waker = Waker { pid: wake.pid, tid: wake.tid, cgroup: wake.cgroup };
        is_task_context(&names, wake.stack[WAKER_STACK - 1] != 0).then_some(waker)
    }

    fn place(&mut self, head: &StallHead, body: &StallBody) -> SleepPlace {
        let symbols = self.symbols();
        let depth = (body.depth as usize).min(body.stack.len());
        let stack = &body.stack[..depth];
        let (args, files) = (body.args, body.files);
        let mut place = SleepPlace { call: body.call, args, files, ..SleepPlace::UNKNOWN };
        if let Some(call) = syscalls::table().get_key(body.call) {
            let call = LinkedCall { pid: head.pid, tid: head.tid, sources: file_sources(call), args: &args };
            place.links = call.read(files);
        }
        for address in stack {
            symbols.write(*address, &mut place.stack);
            place.stack.push(0);
        }
        if let Some((name, _)) = stack.first().and_then(|address| symbols.find(*address)) {
            place.wait = name.to_vec();
        }
        if body.work != 0 {
            match symbols.find(body.work) {
                Some((name, _)) => place.workqueue = name.to_vec(),
                // Writing to memory does not fail.
                None => drop(write!(place.workqueue, "{:#x}", body.work)),
            }
        }
        if place.workqueue == WRITEBACK {
            let len = body.bdi.iter().position(|b| *b == 0).unwrap_or(body.bdi.len());
            place.dev = device_of_bdi(&body.bdi[..len]);
            place.dev_from = "writeback";
        } else if body.file != 0 && starts_with_fd(body.call) {
            let number = match body.mode & TYPE_MASK {
                BLOCK_DEVICE => body.rdev,
                REGULAR | DIRECTORY => body.dev,
                _ => 0,
            };
            place.dev = device_name(number >> 20, number & 0xf_ffff).unwrap_or_default();
            place.dev_from = "fd";
        }
        if place.dev.is_empty() {
            place.dev_from = "";
        }
        place
    }

    fn symbols(&mut self) -> &Symbols {
        self.symbols.get_or_insert_with(|| {
            let symbols = Symbols::of_kernel().unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot read kernel symbols: stacks show addresses");
                Symbols::default()
            });
            if symbols.is_empty() {
                tracing::warn!(
                    "kernel symbols are hidden (kernel.kptr_restrict): stacks show addresses, and wakers of stalled \
                     threads are unknown"
                );
            }
            symbols
        })
    }
}

/// Whether code with these callers, innermost first, ran for the current thread. `truncated`: there are more callers.
fn is_task_context(callers: &[&[u8]], truncated: bool) -> bool {
    let interrupted =
        callers.iter().any(|name| INTERRUPTS.iter().any(|interrupt| name.starts_with(interrupt)));
    !callers.is_empty() && !truncated && !interrupted
}

/// Whether the first argument of this call is a file descriptor.
fn starts_with_fd(call: u32) -> bool {
    let first = syscalls::table().get_key(call).and_then(|call| call.args.first().map(|arg| arg.ty));
    first == Some(ArgType::Fd)
}

/// The name of a block device, from sysfs, which never waits for the device.
fn device_name(major: u32, minor: u32) -> Option<Vec<u8>> {
    if major == 0 {
        return None;
    }
    let link = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(link.file_name()?.as_encoded_bytes().to_vec())
}

/// The name of a block device, from the name `major:minor` of its backing device; other names are returned unchanged.
fn device_of_bdi(name: &[u8]) -> Vec<u8> {
    let numbers = || {
        let (major, minor) = std::str::from_utf8(name).ok()?.split_once(':')?;
        device_name(major.parse().ok()?, minor.parse().ok()?)
    };
    numbers().unwrap_or_else(|| name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_events::{EventReceiver, FsSample, channel};
    use ktape_reader::syscalls::table;

    /// A scanner that finds nothing by itself.
    struct NoScanner;

    impl Scanner for NoScanner {
        fn scan(&mut self) -> std::io::Result<Vec<StalledThread>> {
            Ok(Vec::new())
        }

        fn take_wake(&mut self, _tid: u32, _start: u64) -> Option<Wake> {
            None
        }
    }

    fn seen(what: u32, tid: u32, time: u64) -> StalledThread {
        let head = StallHead { what, tid, pid: tid, start: 1, since: 100, time, ..StallHead::default() };
        let body = (what == what::REPORT).then(|| {
            // SAFETY: a struct of integers, for which all zeroes are valid.
            let mut body: Box<StallBody> = Box::new(unsafe { std::mem::zeroed() });
            (body.call, body.reports) = (7, 1);
            body
        });
        StalledThread { head, body }
    }

    fn reports(events: &EventReceiver) -> Vec<Stall> {
        let stalls = std::iter::from_fn(|| events.next()).filter_map(|event| match event {
            AgentEvent::Stall(stall) => Some(*stall),
            _ => None,
        });
        stalls.collect()
    }

    /// A hang that ended, with its whole duration and where the thread slept.
    fn is_complete(stall: &Stall) -> bool {
        stall.phase == Phase::Woken && stall.dur == 200 && stall.place.call == 7
    }

    #[test]
    fn a_hang_is_reported_once_at_its_end() {
        let (sender, events) = channel();
        let mut watch = Watch::new(NoScanner, sender);
        watch.take(&[seen(what::REPORT, 1, 200), seen(what::REPORT, 2, 200), seen(what::REPORT, 3, 200)]);
        watch.take(&[seen(what::WOKEN, 1, 300), seen(what::SLEEPS, 2, 320), seen(what::SLEEPS, 3, 320)]);
        watch.take(&[seen(what::SLEEPS, 3, 400)]);
        watch.end_hangs();
        watch.end_hangs();
        let reports = reports(&events);
        let of = |tid| reports.iter().filter(move |report| report.tid == tid).map(|report| report.phase);
        assert!(of(1).eq([Phase::Asleep, Phase::Woken]), "{reports:?}");
        assert!(of(2).eq([Phase::Asleep, Phase::Exited]), "{reports:?}");
        assert!(of(3).eq([Phase::Asleep, Phase::Unfinished]), "{reports:?}");
        assert!(is_complete(&reports[3]), "{:?}", reports[3]);
    }

    #[test]
    fn a_hang_whose_first_report_was_dropped_is_complete_at_its_end() {
        let (sender, events) = channel();
        while sender.send(AgentEvent::SampleFs(Box::new(FsSample::unknown(0)))) {}
        let mut watch = Watch::new(NoScanner, sender);
        watch.take(&[seen(what::REPORT, 1, 200)]);
        assert!(reports(&events).is_empty());
        let dropped = events.take_dropped();
        assert!(dropped.iter().any(|lost| lost.kind == Some(Phase::Asleep.kind()) && lost.count == 1));
        watch.take(&[seen(what::WOKEN, 1, 300)]);
        let reports = reports(&events);
        assert!(reports.len() == 1 && is_complete(&reports[0]), "{reports:?}");
    }

    #[test]
    fn hangs_beyond_the_kept_places_are_counted_without_them() {
        let (sender, events) = channel();
        let mut watch = Watch::new(NoScanner, sender);
        let all = PLACES_MAX as u32 + 2;
        let scan = |what| (0..all).map(|tid| seen(what, tid, 200)).collect::<Vec<_>>();
        watch.take(&scan(what::REPORT));
        assert_eq!(reports(&events).len(), all as usize);
        watch.take(&scan(what::SLEEPS));
        watch.end_hangs();
        let reports = reports(&events);
        assert_eq!(reports.len(), all as usize);
        assert_eq!(reports.iter().filter(|report| report.place.call == 7).count(), PLACES_MAX);
    }

    #[test]
    fn an_interrupt_is_not_a_waker() {
        let task: &[&[u8]] = &[b"try_to_wake_up", b"complete_all", b"mm_release", b"do_syscall_64"];
        let interrupt: &[&[u8]] =
            &[b"try_to_wake_up", b"blk_mq_end_request", b"__common_interrupt", b"asm_common_interrupt"];
        assert!(is_task_context(task, false));
        assert!(!is_task_context(interrupt, false));
        assert!(!is_task_context(&[b"try_to_wake_up", b"asm_sysvec_call_function_single"], false));
        assert!(!is_task_context(task, true), "the outermost caller is unknown");
        assert!(!is_task_context(&[], false), "nothing is known without symbols");
    }

    #[test]
    fn calls_with_a_descriptor_as_first_argument() {
        let key = |name: &str| {
            let (abi, nr) = table().by_name(name)[0];
            events::syscall_key(abi, nr)
        };
        assert!(
            starts_with_fd(key("write")) && starts_with_fd(key("fsync")) && starts_with_fd(key("pread64"))
        );
        assert!(
            !starts_with_fd(key("openat"))
                && !starts_with_fd(key("vfork"))
                && !starts_with_fd(events::NO_CALL)
        );
    }

    #[test]
    fn devices_without_a_number_keep_their_name() {
        assert_eq!(device_of_bdi(b"0:45"), b"0:45");
        assert_eq!(device_of_bdi(b"btrfs-1"), b"btrfs-1");
        assert_eq!(device_of_bdi(b"4095:1048575"), b"4095:1048575");
    }
}
