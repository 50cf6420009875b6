//! Mistakes in how a command was called.

/// A mistake in how a command was called: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

/// Makes an error a mistake of the caller.
pub fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    Usage(format!("{error:#}")).into()
}
