//! What commands that record have in common: options into a request, the file and its header, the
//! recorded command, privileges.

pub mod child;
pub mod header;
pub mod output;
pub mod privileges;
pub mod run;
pub mod select;

/// A mistake in how a command was called: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

/// Makes an error a mistake of the caller.
pub fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    Usage(format!("{error:#}")).into()
}
