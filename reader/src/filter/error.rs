//! Errors in an expression.

use crate::text::escape::{Place, escaped};

/// An error in an expression, with its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\n  {text}\n  {pointer}")]
pub struct ParseError {
    /// The reason, with the column.
    pub message: String,
    /// The column of the error, in characters from 1.
    pub column: usize,
    text: String,
    pointer: String,
}

impl ParseError {
    pub(super) fn new(text: &str, message: String, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text).chars().count();
        Self {
            message: format!("{message} (column {})", before + 1),
            column: before + 1,
            text: escaped(text.as_bytes(), Place::Free).into_owned(),
            pointer: format!("{}^", " ".repeat(before)),
        }
    }
}

/// Why there is no such comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong.
    pub(super) message: String,
    /// The position of the value that is wrong, if it is one.
    pub(super) value: Option<usize>,
}
