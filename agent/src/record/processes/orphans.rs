//! Children of processes that have ended: the kernel gives them another parent, the nearest ancestor that is a subreaper, or
//! the init process of their pid namespace. No event reports that, so `/proc` is read when the end is drained.
//!
//! All children of a process get the same parent, so one of them is read. What is read is the parent as of now. It was so
//! ever since the old one was left, unless another one was in between and has ended, too. That can only be a nearer ancestor,
//! so if one of these has ended, the parent is unknown until a record of the child reports it.
//!
//! The kernel moves the children some time after the end is reported. Between that and the reading, they may have either
//! parent, so theirs is in doubt and not shown, except with system calls: the kernel side reports another parent before the
//! call that returns with it.

use std::fs;

use agent_ebpf::records::Header;
use events::Kind;

use super::{Process, Processes};
use crate::clock::boot_ns;

/// Ends of processes with children for which `/proc` is read in one second, at most. The others' children have an
/// unknown parent until a record of theirs reports it.
const ENDS_PER_SECOND: u32 = 500;
/// Children that are read to find one that still exists.
const CHILDREN_READ_MAX: usize = 8;
/// Ancestors that are read, at most.
const ANCESTORS_MAX: usize = 32;
/// Processes at their end whose children are in doubt at a time, at most.
const ENDING_MAX: usize = 64;
/// The pause before `/proc` is read again for the children of one of them, ns; each pause is twice as long as the last, up
/// to a second.
const FIRST_PAUSE: u64 = 5_000_000;
const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in the unit of start times in `/proc` (`USER_HZ` is 100).
const TICK: u64 = 10_000_000;

/// A process as `/proc` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The parent's process id.
    pub ppid: u32,
    /// When it started, in ticks since boot.
    pub start: u64,
    /// Whether it is a zombie, or gone.
    pub is_dead: bool,
}

/// Reads a process; `None` if there is none.
pub(super) type ReadStat = fn(u32) -> Option<Stat>;

/// Reads `/proc/PID/stat`, which waits for no lock of the process that it holds for long.
pub(super) fn read_stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<Stat> {
    // The name may contain anything.
    let mut words = stat.rsplit_once(") ")?.1.split(' ');
    let is_dead = matches!(words.next()?, "Z" | "X" | "x");
    let ppid = words.next()?.parse().ok()?;
    // Fields 5 to 21 are in between.
    let start = words.nth(17)?.parse().ok()?;
    Some(Stat { ppid, start, is_dead })
}

/// A process by its id and start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pid: u32,
    start: u64,
}

/// A process that has ended, or is about to.
#[derive(Clone, Copy, Debug)]
struct Ended {
    process: Identity,
    parent: Identity,
}

impl Ended {
    fn of(process: &Process) -> Self {
        Self {
            process: Identity { pid: process.pid, start: process.start },
            parent: Identity { pid: process.ppid, start: process.parent_start },
        }
    }
}

/// The parent that `/proc` shows for the children of a process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NewParent {
    /// They still have the old one, which has not finished exiting.
    Same,
    /// They have this one.
    Other(u32),
    /// It cannot be known.
    Unknown,
}

/// A process that has ended, and what is known of the parent that its children have got.
#[derive(Clone, Copy, Debug)]
struct Ending {
    ended: Ended,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// They still had the old one. `/proc` is read again at `next` (ns of the boot clock), and then after twice the pause.
    Same { next: u64, pause: u64 },
    /// They have had this one, or an unknown one if it is 0, since this time at the latest.
    Other { parent: u32, since: u64 },
}

/// Processes whose children get another parent.
#[derive(Debug)]
pub(super) struct Orphans {
    pub(super) read: ReadStat,
    pub(super) now: fn() -> u64,
    endings: Vec<Ending>,
    /// The second in which `lookups` counts.
    second: u64,
    lookups: u32,
}

impl Orphans {
    pub(super) fn new() -> Self {
        Self { read: read_stat, now: boot_ns, endings: Vec::new(), second: 0, lookups: 0 }
    }

    /// Whether one more lookup is within the limit.
    fn may_look_up(&mut self, time: u64) -> bool {
        let second = time / SECOND;
        if self.second != second {
            (self.second, self.lookups) = (second, 0);
        }
        self.lookups += 1;
        self.lookups <= ENDS_PER_SECOND
    }
}

impl Processes {
    /// Whether the parent of some process is in doubt.
    #[inline]
    pub fn has_orphans(&self) -> bool {
        !self.orphans.endings.is_empty()
    }

    /// A process has ended with this thread: its children get another parent.
    pub fn end(&mut self, head: &Header) {
        let index = self.thread_index(head.pid, head.tid) as usize;
        let process = &mut self.processes[index];
        process.has_ended = true;
        let children = std::mem::take(&mut process.children);
        let ended = Ended::of(process);
        self.count_child(ended.parent, -1);
        if children == 0 {
            return;
        }
        let Identity { pid, start } = ended.process;
        let is_child = |process: &Process| {
            process.ppid == pid && process.parent_start == start && process.pid != 0 && !process.has_ended
        };
        let all = 0..self.processes.len() as u32;
        for orphan in all.filter(|index| is_child(&self.processes[*index as usize])).collect::<Vec<_>>() {
            self.give_parent(orphan, 0);
            self.processes[orphan as usize].left_by = Some(ended.process);
        }
        if self.orphans.may_look_up(head.time) {
            self.look_up(ended, head.time, FIRST_PAUSE);
        } else {
            self.set_new_parent(ended, 0);
        }
    }

    /// A record of this child has a parent whose end is drained already: that one had not finished exiting.
    pub(super) fn doubt(&mut self, child: u32, parent: u32, time: u64) {
        let Some(process) = self.process_of(parent).filter(|process| process.has_ended) else { return };
        let ended = Ended::of(process);
        self.processes[child as usize].left_by = Some(ended.process);
        if !self.orphans.endings.iter().any(|ending| ending.ended.process == ended.process) {
            self.wait(ended, time, FIRST_PAUSE);
        }
    }

    /// Looks up the parents again for processes that had not finished exiting.
    pub fn retry_lookups(&mut self, now: u64) {
        for at in (0..self.orphans.endings.len()).rev() {
            let Ending { ended, state } = self.orphans.endings[at];
            if let State::Same { next, pause } = state
                && next <= now
            {
                self.orphans.endings.swap_remove(at);
                self.look_up(ended, now, pause);
            }
        }
    }

    /// All that follows is from this time on: children have the parents that they had got by then.
    pub fn adopt_orphans(&mut self, time: u64) {
        for at in (0..self.orphans.endings.len()).rev() {
            let Ending { ended, state } = self.orphans.endings[at];
            if let State::Other { parent, since } = state
                && since <= time
            {
                self.orphans.endings.swap_remove(at);
                for orphan in self.orphans_of(&ended) {
                    self.processes[orphan as usize].left_by = None;
                    self.give_parent(orphan, parent);
                }
            }
        }
    }

    /// Before an event of a kind is written: whether the parent of its process is the old one, as with a system call, or in
    /// doubt.
    pub fn settle_parent(&mut self, kind: Kind, head: &Header) {
        let Some(thread) = self.threads.get(&head.tid) else { return };
        let index = thread.process;
        let process = &self.processes[index as usize];
        let (Some(old), ppid) = (process.left_by, process.ppid) else { return };
        let shown = match kind {
            Kind::Syscall => old.pid,
            Kind::Switch
            | Kind::Block
            | Kind::Net
            | Kind::Oom
            | Kind::Stall
            | Kind::StallOngoing
            | Kind::Uring => 0,
            // Their records have it.
            _ => ppid,
        };
        if process.pid == head.pid && ppid != shown {
            self.give_parent(index, shown);
        }
    }

    /// A process has one child more, or less.
    pub(super) fn count_child_of(&mut self, child: u32, change: i32) {
        let child = &self.processes[child as usize];
        if !child.has_ended {
            self.count_child(Identity { pid: child.ppid, start: child.parent_start }, change);
        }
    }

    fn count_child(&mut self, parent: Identity, change: i32) {
        let Some(thread) = self.threads.get(&parent.pid) else { return };
        let process = &mut self.processes[thread.process as usize];
        if process.pid == parent.pid && process.start == parent.start {
            process.children = process.children.saturating_add_signed(change);
        }
    }

    /// The children of a process whose parents are in doubt.
    fn orphans_of(&self, ended: &Ended) -> Vec<u32> {
        let is_orphan = |index: &u32| {
            let process = &self.processes[*index as usize];
            process.left_by == Some(ended.process) && !process.has_ended
        };
        (0..self.processes.len() as u32).filter(is_orphan).collect()
    }

    fn look_up(&mut self, ended: Ended, time: u64, pause: u64) {
        match self.new_parent(&ended) {
            NewParent::Other(parent) => self.set_new_parent(ended, parent),
            NewParent::Same => self.wait(ended, time, pause),
            NewParent::Unknown => self.set_new_parent(ended, 0),
        }
    }

    fn wait(&mut self, ended: Ended, time: u64, pause: u64) {
        if self.orphans.endings.len() < ENDING_MAX {
            let state = State::Same { next: time + pause, pause: (2 * pause).min(SECOND) };
            self.orphans.endings.push(Ending { ended, state });
        } else {
            self.set_new_parent(ended, 0);
        }
    }

    /// The children have this parent from now on; if it is 0, an unknown one until a record of theirs reports it.
    fn set_new_parent(&mut self, ended: Ended, parent: u32) {
        let since = (self.orphans.now)();
        self.orphans.endings.push(Ending { ended, state: State::Other { parent, since } });
    }

    fn new_parent(&self, ended: &Ended) -> NewParent {
        let read = |process: Identity| {
            let stat = (self.orphans.read)(process.pid)?;
            (process.start != 0 && process.start / TICK == stat.start).then_some(stat)
        };
        let identity = |index: u32| {
            let process = &self.processes[index as usize];
            Identity { pid: process.pid, start: process.start }
        };
        let orphans = self.orphans_of(ended);
        let mut found = orphans.iter().take(CHILDREN_READ_MAX).filter_map(|index| read(identity(*index)));
        let Some(ppid) = found.find(|stat| !stat.is_dead).map(|stat| stat.ppid) else {
            return NewParent::Unknown;
        };
        if ppid == ended.process.pid {
            return NewParent::Same;
        }
        // Init processes end last.
        let mut ancestor = ended.parent;
        for _ in 0..ANCESTORS_MAX {
            if ancestor.pid <= 1 || ancestor.pid == ppid {
                return NewParent::Other(ppid);
            }
            let is_alive = read(ancestor).is_some_and(|stat| !stat.is_dead);
            match self.process_of(ancestor.pid).filter(|process| process.start == ancestor.start) {
                Some(process) if is_alive => {
                    ancestor = Identity { pid: process.ppid, start: process.parent_start };
                }
                _ => return NewParent::Unknown,
            }
        }
        NewParent::Unknown
    }
}

#[cfg(test)]
mod tests;
