//! What `ktape capture` reports at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::record::{End, Outcome, Progress};
use crate::session::messages::{Advice, explain_loss, message, report_unidentified};
use ktape_reader::containers::short_id;
use ktape_reader::text::units::{count_text, duration_text, size_text};

/// Containers in the summary, at most.
const MOST_ACTIVE: usize = 3;

/// A finished capture.
pub struct Summary<'a> {
    /// What the recorder reports.
    pub outcome: &'a Outcome,
    /// Counters of all stages.
    pub progress: &'a Progress,
    /// Duration of the capture.
    pub elapsed: Duration,
    /// The output's name in messages.
    pub name: &'a str,
    /// Whether the output can be replayed by that name.
    pub is_file: bool,
    /// Whether files were rotated.
    pub rotated: bool,
}

impl Summary<'_> {
    /// Prints it.
    pub fn print(&self) {
        self.print_reason();
        report_unidentified(self.progress);
        self.print_totals();
        self.print_compression();
        self.print_loss();
        if self.rotated {
            let count = |counter: &AtomicU64| count_text(counter.load(Ordering::Relaxed));
            message(format_args!(
                "{} files written, {} deleted; rotated files use {}",
                count(&self.progress.files),
                count(&self.progress.deleted),
                size_text(self.progress.kept.load(Ordering::Relaxed)),
            ));
        }
        if self.outcome.damaged > 0 {
            message(format_args!(
                "cannot decode {} records from the kernel: please report this",
                count_text(self.outcome.damaged)
            ));
        }
        self.print_most_active();
        if self.is_file {
            message(format_args!("view with: ktape replay {}", self.name));
        }
    }

    /// Prints why the capture ended early, if it did.
    fn print_reason(&self) {
        match self.progress.wants_to_end() {
            Some(End::MaxSize(bytes)) => {
                message(format_args!("stopped: --max-size limit of {} reached", size_text(bytes)));
            }
            Some(End::NoRoom(why)) => message(format_args!("stopped: {why}")),
            Some(End::Full) => message(format_args!(
                "stopped: out of disk space (No space left on device); {} is complete up to this point",
                self.name
            )),
            None => {}
        }
    }

    fn print_totals(&self) {
        let events = self.progress.encoded.load(Ordering::Relaxed);
        let bytes = self.progress.bytes.load(Ordering::Relaxed);
        let seconds = self.elapsed.as_secs_f64().max(0.001);
        let each = if events > 0 { bytes as f64 / events as f64 } else { 0.0 };
        message(format_args!(
            "recorded {} events in {} ({}/s) to {}: {}, {each:.1} bytes each",
            count_text(events),
            duration_text(self.elapsed.as_nanos() as u64),
            count_text((events as f64 / seconds) as u64),
            self.name,
            size_text(bytes),
        ));
    }

    /// Prints how much was compressed less, if anything was.
    fn print_compression(&self) {
        let chunks = self.progress.less_chunks.load(Ordering::Relaxed);
        if chunks > 0 {
            let bytes = size_text(self.progress.less_bytes.load(Ordering::Relaxed));
            let chunks =
                if chunks == 1 { "1 chunk".into() } else { format!("{} chunks", count_text(chunks)) };
            message(format_args!("compressed less under pressure: {chunks}, {bytes}"));
        }
    }

    fn print_loss(&self) {
        if self.outcome.lost == 0 {
            message("no events lost");
            return;
        }
        let by = self.outcome.lost_by.iter();
        let by: Vec<String> = by.map(|(what, count)| format!("{what} {}", count_text(*count))).collect();
        message(format_args!("LOST {} events ({})", count_text(self.outcome.lost), by.join(", ")));
        explain_loss(
            self.outcome.lost_by.iter().filter_map(|(what, _)| what.split(' ').next()),
            Advice::Given,
        );
    }

    fn print_most_active(&self) {
        let total = self.outcome.events.max(1) as f64;
        let busiest = self.outcome.busiest.iter().take(MOST_ACTIVE);
        let shares: Vec<String> = busiest
            .map(|busy| {
                let who = match &busy.container {
                    None => "host",
                    Some(id) if busy.name.is_empty() => short_id(id),
                    Some(_) => &busy.name,
                };
                format!("{who} {:.0}%", busy.events as f64 * 100.0 / total)
            })
            .collect();
        if !shares.is_empty() {
            // The kernel side and the drain count before --filter is applied.
            let all = self.outcome.events;
            let before =
                if self.progress.encoded.load(Ordering::Relaxed) < all { " before --filter" } else { "" };
            message(format_args!("most active: {} of {} events{before}", shares.join(", "), count_text(all)));
        }
    }
}
