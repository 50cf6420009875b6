//! Errors of loading and attaching the programs.

use thiserror::Error;

use super::btf::BtfError;

/// Why recording cannot begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The kernel's types cannot be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The object could not be read, or its maps not be created.
    #[error("cannot load the eBPF object: {0}")]
    Object(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The programs' log cannot be opened.
    #[error("cannot receive the programs' messages: {0}")]
    Log(#[from] aya_log::Error),
    /// The kernel refused to load a program.
    #[error("the kernel refuses the program {name}: {source}{}{log}", if log.is_empty() { "" } else { "\n" })]
    Program {
        /// The program.
        name: &'static str,
        /// The cause.
        source: std::io::Error,
        /// What the verifier says.
        log: String,
    },
    /// The kernel refused to attach a program.
    #[error("the kernel refuses to attach the program {name}: {source}")]
    Attach {
        /// The program.
        name: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A map could not be created or filled.
    #[error("cannot set up the map {name}: {source}")]
    Map {
        /// The map.
        name: &'static str,
        /// The cause.
        source: aya::maps::MapError,
    },
    /// There is no memory for the ring buffers: the machine's is exhausted, or a limit of the cgroup is too low.
    #[error(
        "not enough memory for the ring buffers: {bytes} bytes for each of {cpus} CPUs; use a smaller --buffer"
    )]
    RingMemory {
        /// Of one ring buffer.
        bytes: u32,
        /// How many ring buffers.
        cpus: u32,
    },
    /// The object lacks a program or a map.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// The kernel lacks a tracepoint that every recording needs.
    #[error("this kernel has no tracepoint {name}: cannot record {without}")]
    NoTracepoint {
        /// The tracepoint.
        name: &'static str,
        /// What it is needed for.
        without: &'static str,
    },
    /// The kernel lacks what a program is for.
    #[error("this kernel has nothing to attach the program {name} to")]
    NoTarget {
        /// The program.
        name: &'static str,
    },
    /// A ring buffer could not be mapped, or an iterator could not be read.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
}

impl LoadError {
    /// An error while the object was loaded.
    pub(super) fn object(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Object(error.into())
    }
}

/// Turns an error of the map of this name into a [`LoadError`].
pub(super) fn map_error(name: &'static str) -> impl Fn(aya::maps::MapError) -> LoadError {
    move |source| LoadError::Map { name, source }
}
