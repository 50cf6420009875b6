//! What most parts of threads' time refer to.

use capture_format::StrId;

use super::pieces::STATES;
use crate::derive::output::Output;
use crate::model::dictionaries::FILE;

/// Strings and rows of the current output chunk that most parts need.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) generation: u64,
    pub(super) empty: StrId,
    pub(super) no_file: u32,
    /// By [`State`](super::pieces::State).
    pub(super) states: [StrId; STATES.len()],
}

impl Texts {
    pub(super) fn new(out: &mut Output) -> Self {
        Self {
            generation: out.generation(),
            empty: out.text(b""),
            no_file: out.unknown(FILE),
            states: STATES.map(|state| out.text(state.name().as_bytes())),
        }
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self { generation: 0, empty: StrId(0), no_file: 0, states: [StrId(0); STATES.len()] }
    }
}
