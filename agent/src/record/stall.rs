//! The thread that looks for stalled threads. It beats on its own and waits for nobody: what it needs to know of a
//! thread in trouble the kernel side reads, never `/proc`, and what the drain does not take is dropped, counted.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_ebpf::records::stall::{StallBody, StallHead, WAKER_STACK, Wake, what};
use rustc_hash::FxHashMap;

use crate::agent_events::{AgentEvent, EventSender, SleepPlace, Stall};
use crate::background::{Background, Beat};
use crate::kernel::stalls::{Seen, StallScanner};
use crate::kernel::symbols::Symbols;
use ktape_reader::syscalls::{self, ArgType};

/// The threads are looked at this many times in the limit.
const LOOKS: u32 = 4;
/// The longest and shortest time between two looks.
const SLOWEST: Duration = Duration::from_secs(1);
const FASTEST: Duration = Duration::from_millis(50);
/// Of how many sleeping threads it is kept where they sleep, to tell it again when they wake.
const KEPT: usize = 4096;
/// Functions that code in an interrupt has been called by; who is current there has nothing to do with it.
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
/// If there can be no more threads.
pub fn start(scanner: StallScanner, limit: Duration, events: EventSender) -> std::io::Result<Background> {
    Background::start("ktape-stall", move |beat| Watch::new(scanner, events).run(beat, limit))
}

/// A sleep that was told.
struct Known {
    head: StallHead,
    place: Arc<SleepPlace>,
    /// The look that it was last seen in.
    look: u64,
}

struct Watch {
    scanner: StallScanner,
    events: EventSender,
    symbols: Option<Symbols>,
    /// By thread id and start.
    known: FxHashMap<(u32, u64), Known>,
    looks: u64,
    failed: bool,
}

impl Watch {
    fn new(scanner: StallScanner, events: EventSender) -> Self {
        Self { scanner, events, symbols: None, known: FxHashMap::default(), looks: 0, failed: false }
    }

    fn run(mut self, beat: &Beat, limit: Duration) {
        let pause = (limit / LOOKS).clamp(FASTEST, SLOWEST);
        while beat.wait_until(Instant::now() + pause) {
            self.look();
        }
        // Sleeps that have ended since are told before the capture is over.
        if !self.known.is_empty() {
            self.look();
        }
    }

    fn look(&mut self) {
        match self.scanner.scan() {
            Ok(seen) => self.take(&seen),
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!(%error, "cannot look for stalled threads");
            }
            Err(_) => {}
        }
    }

    fn take(&mut self, seen: &[Seen]) {
        self.looks += 1;
        for Seen { head, body } in seen {
            let key = (head.tid, head.start);
            match (head.what, body) {
                (what::TELL, Some(body)) => self.tell(head, body),
                (what::SLEEPS, _) => {
                    if let Some(known) = self.known.get_mut(&key) {
                        known.look = self.looks;
                    }
                }
                (what::WOKEN, _) => {
                    let place = self.known.remove(&key).map(|known| known.place);
                    self.end(head, place.unwrap_or_else(|| Arc::new(SleepPlace::UNKNOWN)), "woken");
                }
                _ => {}
            }
        }
        let look = self.looks;
        let gone: Vec<(u32, u64)> =
            self.known.iter().filter(|(_, known)| known.look != look).map(|(key, _)| *key).collect();
        for key in gone {
            if let Some(known) = self.known.remove(&key) {
                let head = StallHead { time: super::clock::boot_ns(), ..known.head };
                self.end(&head, known.place, "exited");
            }
        }
        if self.known.is_empty() {
            self.known.shrink_to(64);
        }
    }

    fn tell(&mut self, head: &StallHead, body: &StallBody) {
        let place = Arc::new(self.place(body));
        let phase = if body.told == 1 { "asleep" } else { "still" };
        self.send(head, head.time, place.clone(), phase, None);
        let key = (head.tid, head.start);
        if self.known.len() < KEPT || self.known.contains_key(&key) {
            self.known.insert(key, Known { head: *head, place, look: self.looks });
        }
    }

    fn end(&mut self, head: &StallHead, place: Arc<SleepPlace>, phase: &'static str) {
        let wake = self.scanner.take_wake(head.tid, head.start);
        let time = wake.as_ref().map_or(head.time, |wake| wake.time);
        // Whoever is killed is woken, too; and one that is gone may have been woken and gone on before.
        let phase = wake.as_ref().map_or(phase, |wake| if wake.dying == 0 { "woken" } else { "exited" });
        let waker = wake.and_then(|wake| self.waker(&wake));
        self.send(head, time, place, phase, waker);
    }

    fn send(
        &self,
        head: &StallHead,
        time: u64,
        place: Arc<SleepPlace>,
        phase: &'static str,
        waker: Option<(u32, u32, u64)>,
    ) {
        let &StallHead { pid, tid, uid, cgroup, since, .. } = head;
        let dur = time.saturating_sub(since);
        self.events.send(AgentEvent::Stall(Box::new(Stall {
            time,
            dur,
            phase,
            pid,
            tid,
            uid,
            cgroup,
            place,
            waker,
        })));
    }

    /// Who woke a thread, unless it was an interrupt, or may have been one.
    fn waker(&mut self, wake: &Wake) -> Option<(u32, u32, u64)> {
        let symbols = self.symbols();
        let stack = wake.stack.iter().take_while(|address| **address != 0);
        let names: Vec<&[u8]> = stack.filter_map(|address| Some(symbols.find(*address)?.0)).collect();
        is_task_context(&names, wake.stack[WAKER_STACK - 1] != 0).then_some((wake.pid, wake.tid, wake.cgroup))
    }

    fn place(&mut self, body: &StallBody) -> SleepPlace {
        let symbols = self.symbols();
        let depth = (body.depth as usize).min(body.stack.len());
        let stack = &body.stack[..depth];
        let mut place = SleepPlace { call: body.call, args: body.args, ..SleepPlace::UNKNOWN };
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
                tracing::warn!(%error, "stacks have addresses instead of names");
                Symbols::default()
            });
            if symbols.is_empty() {
                tracing::warn!(
                    "this kernel hides the names of its functions (kernel.kptr_restrict): \
                     stacks have addresses, and who woke a stalled thread is not known"
                );
            }
            symbols
        })
    }
}

/// Whether code with these callers, innermost first, was called by the current thread. `cut`: there are more.
fn is_task_context(callers: &[&[u8]], cut: bool) -> bool {
    let interrupted =
        callers.iter().any(|name| INTERRUPTS.iter().any(|interrupt| name.starts_with(interrupt)));
    !callers.is_empty() && !cut && !interrupted
}

/// Whether the first argument of this call is a file descriptor.
fn starts_with_fd(call: u32) -> bool {
    let first = syscalls::table().get_key(call).and_then(|call| call.args.first().map(|arg| arg.ty));
    first == Some(ArgType::Fd)
}

/// The name of a block device. Sysfs waits for no device.
fn device_name(major: u32, minor: u32) -> Option<Vec<u8>> {
    if major == 0 {
        return None;
    }
    let link = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(link.file_name()?.as_encoded_bytes().to_vec())
}

/// The same by the name of its backing device, `major:minor`; other names are kept.
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
    use ktape_reader::syscalls::table;

    #[test]
    fn an_interrupt_is_nobody() {
        let task: &[&[u8]] = &[b"try_to_wake_up", b"complete_all", b"mm_release", b"do_syscall_64"];
        let interrupt: &[&[u8]] =
            &[b"try_to_wake_up", b"blk_mq_end_request", b"__common_interrupt", b"asm_common_interrupt"];
        assert!(is_task_context(task, false));
        assert!(!is_task_context(interrupt, false));
        assert!(!is_task_context(&[b"try_to_wake_up", b"asm_sysvec_call_function_single"], false));
        assert!(!is_task_context(task, true), "who called it first is not known");
        assert!(!is_task_context(&[], false), "nothing is known without names");
    }

    #[test]
    fn calls_on_a_descriptor() {
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
