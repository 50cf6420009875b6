//! Questions about many events: filter, group, aggregate. One engine for tables, time series, live views and reports, so
//! that their numbers agree.
//!
//! A [`Question`] is text: what to group by, which columns, in which order. A [`Plan`] is the question parsed. It is
//! answered chunk by chunk on all cores, from the numbers that stand for threads, calls, strings and files in a chunk:
//! each value is looked at once per chunk. The results of chunks merge in any order.
//!
//! ```
//! use ktape_reader::scan::{Captures, Query};
//! use ktape_reader::stats::{Cell, Datum, Plan, Question};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let captures = Captures::open(&["../tests/golden/calls-0.1.ktape"])?;
//! let question = Question {
//!     by: vec!["syscall.type".into()],
//!     columns: vec!["count".into(), "p99(evt.latency)".into()],
//!     top: Some(1),
//!     ..Question::default()
//! };
//! let (answer, report) = captures.query(Query::parse("syscall.type = getppid")?)?.answer(&Plan::new(&question)?);
//! assert_eq!(answer.rows[0].key, [Datum::Text(b"getppid"[..].into())]);
//! assert_eq!(answer.rows[0].cells[0], Cell::Number(21));
//! assert_eq!(report.lost.total, 0);
//! # Ok(())
//! # }
//! ```

mod answer;
pub mod chart;
mod datum;
mod distinct;
mod expr;
mod function;
mod gathered;
mod groups;
mod keys;
pub mod names;
mod parse;
mod partial;
mod plan;
mod quantiles;
mod running;
pub mod text;
mod unit;
pub mod views;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::thread;

use crate::scan::{ScanReport, Search};

pub use answer::{Answer, AnswerRow, Series};
pub use datum::Datum;
pub use distinct::{EXACT, STANDARD_ERROR};
pub use expr::Cell;
pub use function::Function;
pub use keys::{Key, KeyError};
pub use parse::ExprError;
pub use plan::{Column, Plan, Question, QuestionError, ResolveError, SortBy};
pub use quantiles::RELATIVE_ERROR;
pub use running::Running;
pub use unit::{Base, Unit};

use partial::Partial;

/// Most bytes that the groups of all threads use. If there are more, those that lead are kept.
const BUDGET: usize = 16 << 20;

impl Search<'_> {
    /// Answers a question about the events that match.
    pub fn answer(&self, plan: &Plan) -> (Answer, ScanReport) {
        self.answer_within(plan, BUDGET)
    }

    fn answer_within(&self, plan: &Plan, budget: usize) -> (Answer, ScanReport) {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (mut partial, report) = self.scan_with(
            plan.wanted(),
            || Partial::new(plan, budget / threads),
            Partial::fold,
            |all, part| {
                all.merge(&part);
            },
        );
        (Answer::new(plan, &mut partial, self.range()), report)
    }

    /// The time that the query is about, wall-clock ns.
    fn range(&self) -> Option<(i64, i64)> {
        let span = self.captures().span();
        let from = self.query().from.map_or(span.start, |from| from.max(span.start));
        let to = match (self.query().to, span.end) {
            (Some(to), Some(end)) => to.min(end),
            (to, end) => to.or(end)?,
        };
        Some((from, to))
    }
}
