//! Errors in the usage of a command.

/// Wrong usage: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

/// Marks an error as wrong usage.
pub fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    Usage(format!("{error:#}")).into()
}
