//! A process and its ancestors.

use super::dict_rows::ProcessRow;
use super::rows::ChunkView;

/// Most processes from one to its oldest known ancestor. Recorders write no more, but a file may claim any number.
const LINEAGE_MAX: usize = 65;

impl<'c> ChunkView<'c> {
    /// The process of a task, its parent, the parent's parent and so on, as far as they are known. Of a parent without a row,
    /// which older versions did not record, there are the id and the name.
    pub fn lineage<'v>(&'v self, task: u32) -> impl Iterator<Item = ProcessRow<'c>> + use<'v, 'c> {
        let first = self.process_of(task).map(|row| self.process(row)).filter(|process| process.pid != 0);
        std::iter::successors(first, |process| self.parent_of(process)).take(LINEAGE_MAX)
    }

    /// The parent of a process.
    pub fn parent_of(&self, process: &ProcessRow<'c>) -> Option<ProcessRow<'c>> {
        let row = process.parent.map(|row| self.process(row)).filter(|parent| parent.pid != 0);
        let named = (process.ppid != 0).then(|| ProcessRow {
            pid: process.ppid,
            name: process.pname,
            ..ProcessRow::default()
        });
        row.or(named)
    }
}
