//! Parts of a thread's time that have not been written, because it is not known yet in which call they were.

use events::task_state;

/// Most parts of one thread.
const MOST: usize = 4096;
/// Parts at the beginning that are never put together.
const FIRST: usize = 8;

/// What a thread did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Runnable,
    Sleeping,
    Blocked,
    Stopped,
    Idle,
    OffCpu,
    Unknown,
}

/// All states, in the order of their declaration.
pub(super) const STATES: [State; 8] = [
    State::Running,
    State::Runnable,
    State::Sleeping,
    State::Blocked,
    State::Stopped,
    State::Idle,
    State::OffCpu,
    State::Unknown,
];

impl State {
    /// Its name in output.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Runnable => "runnable",
            Self::Sleeping => "sleeping",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
            Self::Idle => "idle",
            Self::OffCpu => "off_cpu",
            Self::Unknown => "unknown",
        }
    }

    /// That of a thread that left the CPU in this [`task_state`].
    pub(super) fn after(state: u64, is_preempted: bool) -> Self {
        match u8::try_from(state) {
            _ if is_preempted => Self::Runnable,
            Ok(task_state::RUNNABLE) => Self::Runnable,
            Ok(task_state::INTERRUPTIBLE) => Self::Sleeping,
            Ok(task_state::UNINTERRUPTIBLE) => Self::Blocked,
            Ok(task_state::STOPPED | task_state::TRACED) => Self::Stopped,
            Ok(task_state::IDLE | task_state::PARKED) => Self::Idle,
            _ => Self::OffCpu,
        }
    }
}

/// A part of a thread's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    /// ns. Less than what lies between start and end, if several parts in the same state were put together.
    pub(super) dur: u64,
    pub(super) end: u64,
    pub(super) state: State,
    /// Where it waited, and for which device: numbers in [`super::names::Names`], 0 for none.
    pub(super) wait: u32,
    pub(super) dev: u32,
}

/// The parts since the last call that returned, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<Piece>);

impl Pieces {
    /// Adds a part, which begins where the last one ends.
    #[inline]
    pub(super) fn push(&mut self, piece: Piece) {
        if let Some(last) = self.0.last_mut()
            && (last.state, last.end, last.wait, last.dev) == (piece.state, piece.start, piece.wait, piece.dev)
            // Two waits for a CPU, or two sleeps, are two waits.
            && piece.state == State::Running
        {
            last.end = piece.end;
            last.dur += piece.dur;
            return;
        }
        if self.0.len() >= MOST {
            self.condense();
        }
        self.0.push(piece);
    }

    /// A call that lasts has too many parts: those of a state become one. Only how many there were, and how long each of them
    /// was, is lost. The first ones stay: most likely, the call began in one of them.
    fn condense(&mut self) {
        let mut condensed: Vec<Piece> = Vec::new();
        for piece in self.0.drain(FIRST..) {
            let same = |known: &&mut Piece| {
                (known.state, known.wait, known.dev) == (piece.state, piece.wait, piece.dev)
            };
            match condensed.iter_mut().find(same) {
                Some(known) => (known.dur, known.end) = (known.dur + piece.dur, piece.end),
                None => condensed.push(piece),
            }
        }
        self.0.append(&mut condensed);
    }

    /// Sets where and for what the thread waited, of parts in which it was blocked and that were not over before `since`.
    pub(super) fn name_waits(&mut self, since: u64, wait: u32, dev: u32) {
        let blocked = self.0.iter_mut().rev().take_while(|piece| piece.end > since);
        for piece in blocked.filter(|piece| piece.state == State::Blocked) {
            if wait != 0 {
                piece.wait = wait;
            }
            if dev != 0 {
                piece.dev = dev;
            }
        }
    }

    /// Moves all parts to a list, each with whether it is after `entry`; one that is before and after becomes two.
    pub(super) fn split(&mut self, entry: u64, out: &mut Vec<(Piece, bool)>) {
        for piece in self.0.drain(..) {
            let is_whole = piece.dur == piece.end - piece.start;
            if piece.end <= entry {
                out.push((piece, false));
            } else if piece.start >= entry || !is_whole {
                out.push((piece, true));
            } else {
                out.push((Piece { end: entry, dur: entry - piece.start, ..piece }, false));
                out.push((Piece { start: entry, dur: piece.end - entry, ..piece }, true));
            }
        }
    }
}
