//! Which processes read the output now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::descriptors::{Depth, Pipe, PipeEnd, pipe_ends, processes};
use super::roles::{Role, roles};
use super::{Change, Reader};
use crate::background::Beat;
use crate::kernel::ReaderSet;

/// A process that was made or has executed this long ago has its final descriptors.
const SETTLED: Duration = Duration::from_secs(1);
/// How often a process that has not settled is looked at.
const UNSETTLED_PAUSE: Duration = Duration::from_millis(5);
/// How often a settled one is.
const SETTLED_PAUSE: Duration = Duration::from_secs(1);
/// How long the thread waits for forks and execs, at most.
const IDLE: Duration = Duration::from_millis(100);
/// Time between two looks at all processes, at least.
const SCAN_PAUSE: Duration = Duration::from_secs(5);
/// How much longer than such a look the pause after it is: it costs a hundredth of a CPU.
const SCAN_SHARE: u32 = 100;
/// Maximum number of watched processes.
const WATCHED_MAX: usize = 512;

/// A process that is watched.
#[derive(Debug)]
struct Watched {
    ends: Vec<PipeEnd>,
    /// When it was made, or executed a program.
    changed: Instant,
    looked: Instant,
    /// Whether what it has open counts at once. Between its fork and its exec, a process has what its parent has.
    sure: bool,
}

impl Watched {
    fn is_settled(&self) -> bool {
        self.changed.elapsed() >= SETTLED
    }
}

/// The processes that read the output, and those that may come to.
#[derive(Debug)]
pub struct Watch {
    output: Pipe,
    set: ReaderSet,
    found: Sender<Reader>,
    missed: Arc<AtomicBool>,
    watched: BTreeMap<u32, Watched>,
    readers: BTreeMap<u32, Role>,
    /// When all processes are looked at again.
    next_scan: Instant,
    /// When that costs no more than [`SCAN_SHARE`] allows.
    scan_permitted: Instant,
    /// Whether all descriptors of all processes were looked at.
    scanned: bool,
}

impl Watch {
    pub fn new(output: Pipe, set: ReaderSet, found: Sender<Reader>, missed: Arc<AtomicBool>) -> Self {
        Self {
            output,
            set,
            found,
            missed,
            watched: BTreeMap::new(),
            readers: BTreeMap::new(),
            next_scan: Instant::now(),
            scan_permitted: Instant::now(),
            scanned: false,
        }
    }

    /// Looks at the standard input and output of all processes: a matter of milliseconds, with thousands of them.
    pub fn look_at_standard(&mut self) {
        self.scan(Depth::Standard);
        self.apply();
        // Everything else is looked at as soon as the hooks are attached.
        self.next_scan = Instant::now();
    }

    /// Follows them until the recording ends.
    pub fn run(&mut self, beat: &Beat, news: &Receiver<Change>) {
        while beat.wait_until(Instant::now()) {
            match news.recv_timeout(self.pause()) {
                Ok(change) => {
                    self.note(change);
                    news.try_iter().for_each(|change| self.note(change));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.update();
        }
    }

    fn pause(&self) -> Duration {
        if self.watched.values().all(Watched::is_settled) { IDLE } else { UNSETTLED_PAUSE }
    }

    fn note(&mut self, change: Change) {
        match change {
            Change::Forked { parent, child } => {
                // Another one may have had the id.
                self.watched.remove(&child);
                if self.watched.contains_key(&parent) {
                    self.watch(child, Vec::new(), false);
                }
            }
            Change::Executed { pid } => {
                if let Some(watched) = self.watched.get_mut(&pid) {
                    watched.changed = Instant::now();
                    watched.looked = watched.changed - UNSETTLED_PAUSE;
                }
            }
        }
    }

    fn watch(&mut self, pid: u32, ends: Vec<PipeEnd>, sure: bool) {
        if self.watched.len() < WATCHED_MAX && !self.watched.contains_key(&pid) {
            let changed = Instant::now();
            let looked = changed - UNSETTLED_PAUSE;
            self.watched.insert(pid, Watched { ends, changed, looked, sure });
        }
    }

    fn update(&mut self) {
        if self.missed.swap(false, Ordering::Relaxed) {
            self.next_scan = self.next_scan.min(self.scan_permitted);
        }
        if self.next_scan <= Instant::now() {
            let began = Instant::now();
            self.scan(Depth::All);
            self.scan_permitted = Instant::now() + began.elapsed() * SCAN_SHARE;
            self.next_scan = self.scan_permitted.max(Instant::now() + SCAN_PAUSE);
        }
        self.look_again();
        self.apply();
    }

    /// Looks at the processes that are watched, when it is time.
    fn look_again(&mut self) {
        let now = Instant::now();
        let output = &self.output;
        self.watched.retain(|pid, watched| {
            let pause = if watched.is_settled() { SETTLED_PAUSE } else { UNSETTLED_PAUSE };
            if now - watched.looked < pause {
                return true;
            }
            watched.looked = now;
            match pipe_ends(*pid, output, Depth::All) {
                Ok(ends) => watched.ends = ends,
                // It has exited.
                Err(_) => return false,
            }
            true
        });
    }

    /// Looks at all processes, and watches those that read the output, and the parent of this one.
    fn scan(&mut self, depth: Depth) {
        let own = std::process::id();
        let all: BTreeMap<u32, Vec<PipeEnd>> = processes()
            .into_iter()
            .filter(|pid| *pid != own)
            .filter_map(|pid| Some((pid, pipe_ends(pid, &self.output, depth).ok()?)))
            .filter(|(_, ends)| !ends.is_empty())
            .collect();
        let found = roles(&self.output, &all);
        for (pid, ends) in all.into_iter().filter(|(pid, _)| found.contains_key(pid)) {
            self.watch(pid, ends, !self.scanned);
        }
        self.watch(std::os::unix::process::parent_id(), Vec::new(), false);
        self.scanned |= depth == Depth::All;
    }

    /// Excludes processes that read the output now, and includes again those that no longer do.
    fn apply(&mut self) {
        let ends = self.watched.iter().map(|(pid, watched)| (*pid, watched.ends.clone())).collect();
        let mut found = roles(&self.output, &ends);
        found.retain(|pid, role| {
            let is_sure =
                || self.watched.get(pid).is_some_and(|watched| watched.sure || watched.is_settled());
            *role == Role::Stage || self.readers.contains_key(pid) || is_sure()
        });
        let before = std::mem::take(&mut self.readers);
        for (pid, role) in &found {
            if before.get(pid) != Some(role) {
                self.change(*pid, Some(*role));
            }
        }
        for pid in before.keys().filter(|pid| !found.contains_key(pid)) {
            self.change(*pid, None);
        }
        self.readers = found;
        let (readers, parent) = (&self.readers, std::os::unix::process::parent_id());
        // A process that has settled and does not read the output never will.
        self.watched
            .retain(|pid, watched| readers.contains_key(pid) || *pid == parent || !watched.is_settled());
    }

    fn change(&mut self, pid: u32, role: Option<Role>) {
        match role {
            Some(role) => {
                tracing::info!(pid, ?role, "not recorded: it reads the output");
                self.set.exclude(pid, role == Role::Stage);
            }
            None => self.set.include(pid),
        }
        // The drain may have ended.
        let _ = self.found.send(Reader { pid, role });
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::process::{Command, Stdio};
    use std::sync::mpsc::channel;

    use super::*;

    fn watch(output: Pipe) -> (Watch, Receiver<Reader>) {
        let (sender, found) = channel();
        (Watch::new(output, ReaderSet::none(), sender, Arc::new(AtomicBool::new(false))), found)
    }

    fn until(mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < deadline, "it never holds");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn stages_are_found_with_those_behind_them_and_forgotten_when_they_end() {
        let (read, write) = std::io::pipe().unwrap();
        let (mut watch, found) = watch(Pipe::of_descriptor(write.as_raw_fd()).unwrap());
        let mut first = Command::new("cat").stdin(read).stdout(Stdio::piped()).spawn().unwrap();
        let mut second =
            Command::new("cat").stdin(first.stdout.take().unwrap()).stdout(Stdio::null()).spawn().unwrap();
        let mut expected = [first.id(), second.id()].map(|pid| Reader { pid, role: Some(Role::Stage) });
        expected.sort_by_key(|reader| reader.pid);
        let mut seen = Vec::new();
        until(|| {
            watch.look_at_standard();
            seen.extend(found.try_iter());
            seen.len() >= 2
        });
        seen.sort_by_key(|reader| reader.pid);
        assert_eq!(seen, expected);

        drop(write);
        first.wait().unwrap();
        second.wait().unwrap();
        watch.watched.values_mut().for_each(|watched| watched.looked -= SETTLED_PAUSE);
        watch.look_again();
        watch.apply();
        let mut gone: Vec<_> = found.try_iter().collect();
        gone.sort_by_key(|reader| reader.pid);
        assert_eq!(gone, expected.map(|reader| Reader { role: None, ..reader }));
    }

    #[test]
    fn a_reader_that_a_watched_process_forks_is_found_at_once() {
        let (read, write) = std::io::pipe().unwrap();
        let (mut watch, found) = watch(Pipe::of_descriptor(write.as_raw_fd()).unwrap());
        let parent = std::process::id();
        watch.watch(parent, Vec::new(), false);
        let mut late = Command::new("cat").stdin(read).stdout(Stdio::null()).spawn().unwrap();
        watch.next_scan = Instant::now() + SCAN_PAUSE;
        watch.note(Change::Forked { parent, child: late.id() });
        watch.note(Change::Forked { parent: 0, child: 1 });
        let mut seen = Vec::new();
        until(|| {
            watch.update();
            seen.extend(found.try_iter().filter(|reader| reader.pid == late.id()));
            !seen.is_empty()
        });
        assert_eq!(seen, [Reader { pid: late.id(), role: Some(Role::Stage) }]);
        assert!(!watch.watched.contains_key(&1));
        drop(write);
        late.wait().unwrap();
    }
}
