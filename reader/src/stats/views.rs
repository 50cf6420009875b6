//! Views: questions with names, as data. Each is a TOML file: those that are built in are files of `views/`, and users add
//! their own. A view becomes a [`Question`] and a filter; `docs/views.md` describes the format.

mod built_in;
mod file;
mod list;
mod needs;
mod row;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use events::Kind;

use crate::filter::Filter;

use super::parse;
use super::plan::Question;

pub use file::ViewError;
pub use list::Views;
pub use needs::{Missing, recorded_kinds};
pub use row::{RowFilterError, row_filter, row_filter_of};

/// The name of the view that shows what a capture contains.
pub const OVERVIEW: &str = "overview";

/// Where a view is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is part of ktape.
    BuiltIn,
    /// A file.
    File(PathBuf),
}

/// What opening a row of a view shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enter {
    /// The name of the view that opens.
    pub view: String,
    /// Which events it is about, with `{KEY}` for the row's values. Without it, those with the same keys.
    pub filter: Option<String>,
}

/// A question with a name.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name: a word of small letters, digits and hyphens.
    pub name: String,
    /// A few words.
    pub title: String,
    /// The question that it answers.
    pub question: String,
    /// What has to be recorded beside the kinds of events: options of `capture`.
    pub needs: Option<String>,
    /// Event kinds and syscalls that it is about, as for `-e`; all if empty.
    pub kinds: Vec<String>,
    /// Which of these events.
    pub filter: Option<String>,
    /// Groups, columns and order.
    pub table: Question,
    /// What opening a row shows; without it, the events of the row.
    pub enter: Option<Enter>,
    /// Where it is from.
    pub origin: Origin,
    /// The file.
    pub text: String,
}

impl View {
    /// Reads a file; its name without `.toml` is that of the view. `names`: short names for fields, as of
    /// [`Question::names`].
    ///
    /// # Errors
    /// The file cannot be read, or is not a valid view.
    pub fn open(path: &Path, names: &BTreeMap<String, String>) -> Result<Self, ViewError> {
        file::open(path, names)
    }

    /// The title of each column and its expression, as they are written.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.table.columns.iter().flat_map(|text| parse::split(text, ","));
        texts.filter(|text| !text.is_empty()).map(|text| {
            let (title, expr) = parse::split_title(text);
            (title.unwrap_or(text), expr)
        })
    }

    /// The events that the view is about; `None` if all are.
    pub fn event_filter(&self) -> Option<Filter> {
        // A name that no capture has matches nothing.
        let kinds = Filter::of_events(&self.kinds, |word| !is_kind(word)).ok().flatten();
        let filter = self.filter.as_deref().and_then(|text| Filter::parse(text).ok());
        match (kinds, filter) {
            (Some(kinds), Some(filter)) => Some(kinds.and(filter)),
            (kinds, filter) => kinds.or(filter),
        }
    }
}

fn is_kind(word: &str) -> bool {
    events::KINDS.iter().any(|kind: &Kind| kind.decl().name == word)
}

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;
