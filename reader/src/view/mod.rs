//! Events as output: text for people who know strace, JSON and CSV for programs.

mod call_text;
mod cell;
mod columns;
mod csv;
mod event_text;
mod json;
mod json_fields;
mod subject;
mod template;
mod text;

#[cfg(test)]
mod descriptor_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;

use crate::fields::FieldError;
use crate::model::{ChunkView, Event};

pub use columns::ColumnsView;
pub use csv::CsvView;
pub use json::JsonView;
pub use json_fields::JsonFieldsView;
pub use template::{TemplateError, TemplateView};
pub use text::TextView;

/// A way to write events.
pub trait View: Send {
    /// Appends the lines before the first event.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// Appends one event as one line.
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>);
}

/// The formats of `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One line an event, for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

impl Format {
    /// A view of this format; text prints times in `zone`.
    pub fn view(self, zone: TimeZone) -> Box<dyn View> {
        match self {
            Self::Text => Box::new(TextView::new(zone)),
            Self::Json => Box::new(JsonView::new()),
            Self::Csv => Box::new(CsvView::new()),
        }
    }

    /// A view of this format that prints only these fields, by a list of names separated by commas; text prints times in
    /// `zone`.
    ///
    /// # Errors
    /// If there is no field of such a name.
    pub fn fields_view(self, names: &str, zone: TimeZone) -> Result<Box<dyn View>, FieldError> {
        Ok(match self {
            Self::Text => Box::new(ColumnsView::new(names, zone)?),
            Self::Json => Box::new(JsonFieldsView::new(names)?),
            Self::Csv => Box::new(CsvView::with_columns(names)?),
        })
    }
}

/// Caches the piece of output that describes a task, such as its container and process. Events of several chunks may
/// alternate, so the last few chunks are cached.
#[derive(Debug, Default)]
struct TaskCache {
    chunks: Vec<TaskPieces>,
}

#[derive(Debug)]
struct TaskPieces {
    chunk: u64,
    bytes: Vec<u8>,
    /// Where each task's piece is; an empty range if it was not written yet.
    ranges: Vec<(u32, u32)>,
}

impl TaskCache {
    const CHUNKS: usize = 16;

    /// The piece of a task; `write` makes it when it is first needed.
    fn get(&mut self, view: &ChunkView<'_>, task: u32, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let id = view.chunk.id();
        let place = match self.chunks.iter().position(|c| c.chunk == id) {
            Some(place) => place,
            None => {
                if self.chunks.len() == Self::CHUNKS {
                    self.chunks.remove(0);
                }
                let ranges = vec![(0, 0); view.task_rows()];
                self.chunks.push(TaskPieces { chunk: id, bytes: Vec::new(), ranges });
                self.chunks.len() - 1
            }
        };
        let pieces = &mut self.chunks[place];
        let Some(range) = pieces.ranges.get_mut(task as usize) else { return &[] };
        if range.0 == range.1 {
            let start = pieces.bytes.len() as u32;
            write(&mut pieces.bytes);
            *range = (start, pieces.bytes.len() as u32);
        }
        &pieces.bytes[range.0 as usize..range.1 as usize]
    }
}
