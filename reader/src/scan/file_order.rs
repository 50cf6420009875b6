//! Chunks in file order.

use super::captures::Search;
use super::columns::ChunkMatches;
use super::plan;
use super::report::ScanReport;

impl Search<'_> {
    /// Passes each chunk that may have matching events to `look`, in file order.
    pub fn for_each_chunk(&self, mut look: impl FnMut(&ChunkMatches<'_>)) -> ScanReport {
        let mut report = ScanReport::default();
        for capture in self.captures().files() {
            for plan in plan::by_place(capture, self.query()) {
                match plan.open(self.query(), self.context(), false, &mut report.lost) {
                    Ok(chunk) => {
                        report.chunks_read += 1;
                        report.matching += chunk.matching;
                        look(&chunk.matches(self.context()));
                    }
                    Err(cause) => report.damaged.chunk(&capture.path, plan.entry.len, &cause),
                }
            }
        }
        self.finished(report)
    }
}
