//! One thread.

use events::task_state;

use super::pieces::{Piece, Pieces, State};

/// Whether a thread that leaves the CPU in this [`task_state`] never comes back.
pub(super) fn is_end(state: u64) -> bool {
    state == u64::from(task_state::DEAD) || state == u64::from(task_state::ZOMBIE)
}

/// A thread gets the CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    pub(super) time: u64,
    /// How long it had been off the CPU, ns.
    pub(super) off_cpu: Option<u64>,
    /// How much of that it was runnable.
    pub(super) runnable: Option<u64>,
}

/// What is known of a thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) tid: u64,
    /// Up to when its time is in `pieces`, or written.
    cursor: u64,
    /// What it does since then: running, or why it left the CPU. `None`: no event has shown it.
    now: Option<State>,
    pub(super) pieces: Pieces,
    /// The last parts in which it ran its own code, which can grow by more of them.
    pub(super) own_time: Option<Piece>,
    /// Its row in the task dictionary of the current chunk.
    pub(super) task: Option<u32>,
    /// The same in the rows that are carried over.
    pub(super) carried: Option<u32>,
    /// It has ended.
    pub(super) is_over: bool,
    /// Whether all of its switches are recorded.
    pub(super) is_followed: bool,
    /// Whether it seems to be one of the kernel, which makes no calls that its time could belong to.
    pub(super) is_kernel: bool,
    /// The last report of a hang that lasts: when, where it waits, and for which device.
    pub(super) hang: Option<(u64, u32, u32)>,
    /// Its last request to a disk that was completed: when, and by which.
    pub(super) block: Option<(u64, u32)>,
}

impl Thread {
    /// One that exists since then.
    pub(super) fn new(tid: u64, began: u64) -> Self {
        Self {
            tid,
            cursor: began,
            now: None,
            pieces: Pieces::default(),
            own_time: None,
            task: None,
            carried: None,
            is_over: false,
            is_followed: false,
            is_kernel: false,
            hang: None,
            block: None,
        }
    }

    /// Its time up to then was in this state.
    #[inline]
    fn advance(&mut self, to: u64, state: State) {
        if to <= self.cursor {
            return;
        }
        let start = self.cursor;
        self.cursor = to;
        let (mut wait, mut dev) = (0, 0);
        let mut state = state;
        if !matches!(state, State::Running | State::Runnable) {
            if let Some((_, function, device)) = self.hang.take_if(|(at, ..)| *at > start && *at <= to) {
                (wait, dev) = (function, device);
                if state == State::OffCpu {
                    state = State::Blocked;
                }
            }
            // It was woken by the end of a request of its own.
            if let Some((at, device)) = self.block
                && (start..=to).contains(&at)
                && state == State::Blocked
                && dev == 0
            {
                dev = device;
            }
        }
        self.pieces.push(Piece { start, dur: to - start, end: to, state, wait, dev });
    }

    /// It leaves the CPU, on which it was for `ran` ns.
    pub(super) fn leave(&mut self, time: u64, ran: Option<u64>, then: State) {
        match (ran, self.now) {
            // The switch that gave it the CPU was lost.
            (Some(ran), Some(state)) if state != State::Running => {
                self.advance(time.saturating_sub(ran), state);
            }
            (Some(ran), None) => self.advance(time.saturating_sub(ran), State::OffCpu),
            (None, Some(state)) => self.advance(time, state),
            (Some(_), Some(_)) | (None, None) => {}
        }
        self.advance(time, State::Running);
        self.now = Some(then);
    }

    /// It gets the CPU.
    pub(super) fn enter(&mut self, switch: Switch) {
        let Switch { time, off_cpu, runnable } = switch;
        let state = match (self.now, off_cpu) {
            // The switch that took it from the CPU was lost.
            (Some(State::Running), Some(off_cpu)) => {
                self.advance(time.saturating_sub(off_cpu), State::Running);
                State::OffCpu
            }
            (Some(State::Running), None) => State::Unknown,
            (Some(state), _) => state,
            (None, _) => State::OffCpu,
        };
        self.advance(time.saturating_sub(runnable.unwrap_or(0)), state);
        self.advance(time, State::Runnable);
        self.now = Some(State::Running);
    }

    /// A call of it ends. One that has not returned may have ended without it.
    pub(super) fn call(&mut self, end: u64, has_returned: bool) {
        let state = match (self.now, has_returned) {
            // It returns, so it runs; without a switch since the beginning, it has always done so.
            (Some(State::Running) | None, true) => State::Running,
            (Some(state), _) => state,
            (None, false) => State::OffCpu,
        };
        self.advance(end, state);
        if has_returned {
            self.now = Some(State::Running);
        }
    }

    /// A hang that lasts was seen.
    pub(super) fn hangs(&mut self, at: u64, wait: u32, dev: u32) {
        self.hang = Some((at, wait, dev));
        self.now.get_or_insert(State::Blocked);
    }

    /// It exits.
    pub(super) fn exit(&mut self, time: u64) {
        let state = self.now.unwrap_or(State::Running);
        self.advance(time, state);
    }

    /// The capture ends.
    pub(super) fn end(&mut self, end: u64) {
        let state = self.now.unwrap_or(State::OffCpu);
        self.advance(end, state);
    }
}
