//! Why recording cannot begin.

use thiserror::Error;

use super::btf::BtfError;

/// Why recording cannot begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The kernel does not describe its types.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// aya could not read the kernel's types.
    #[error("cannot read the kernel's types: {0}")]
    AyaBtf(#[from] aya::BtfError),
    /// The object could not be loaded.
    #[error("cannot load the eBPF object: {0}")]
    Object(#[from] aya::EbpfError),
    /// The programs' messages cannot be had.
    #[error("cannot receive the programs' messages: {0}")]
    Log(#[from] aya_log::Error),
    /// A program was refused.
    #[error("the kernel refuses the program {name}: {source}")]
    Program {
        /// The program.
        name: &'static str,
        /// Why, with the verifier's log.
        source: aya::programs::ProgramError,
    },
    /// A map could not be made or filled.
    #[error("cannot set up the map {name}: {source}")]
    Map {
        /// The map.
        name: &'static str,
        /// Why.
        source: aya::maps::MapError,
    },
    /// There is no memory for the rings: the machine's is used up, or a limit of the cgroup is too low.
    #[error(
        "not enough memory for the rings, {bytes} bytes for each of {cpus} CPUs; a smaller --buffer helps"
    )]
    RingMemory {
        /// Of one ring.
        bytes: u32,
        /// How many rings.
        cpus: u32,
    },
    /// Something that the object must have is not there.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// The kernel lacks a hook that nothing works without.
    #[error("this kernel has no tracepoint {name}: without it, no {without}")]
    NoTracepoint {
        /// The tracepoint.
        name: &'static str,
        /// What it is for.
        without: &'static str,
    },
    /// A ring could not be mapped, or an iterator not read.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Of the map of this name.
pub(super) fn map_error(name: &'static str) -> impl Fn(aya::maps::MapError) -> LoadError {
    move |source| LoadError::Map { name, source }
}
