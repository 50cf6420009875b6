//! What to record, and the errors of starting.

use std::path::{Path, PathBuf};
use std::time::Duration;

use events::Kind;
use thiserror::Error;

use super::memory::BESIDE_RINGS;
use crate::containers::ContainerFilter;
use crate::containers::Hierarchy;
use crate::host_root::HostRoot;
use crate::kernel::{LoadError, SyscallSelection};
use crate::readers::Pipe;
use crate::runtimes::Sockets;
use ktape_reader::text::units::size_text;

/// What to record.
#[derive(Clone, Debug)]
pub struct Request {
    /// Kinds to write.
    pub kinds: Vec<Kind>,
    /// Syscalls to record.
    pub selection: SyscallSelection,
    /// Only these containers.
    pub containers: ContainerFilter,
    /// Bytes of each CPU's ring buffer for system calls; by default 0.5 % of memory in all, at most 8 MiB each.
    pub ring_bytes: Option<u64>,
    /// The hierarchy that identifies cgroups.
    pub hierarchy: Hierarchy,
    /// Where the host's files are.
    pub host: HostRoot,
    /// Sockets of the container runtimes that resolve names.
    pub sockets: Sockets,
    /// How long an uninterruptible sleep lasts before it is reported.
    pub stall: Option<Duration>,
    /// How often the counters of open connections are recorded; `None`: only at the end.
    pub net_interval: Option<Duration>,
    /// How often resources are sampled.
    pub sample: Option<Duration>,
    /// Only this process and its descendants, from its exec on.
    pub tree_pid: Option<u32>,
    /// The pipe that the recording is written to, if it is one: those who read it are excluded.
    pub output: Option<Pipe>,
    /// Whether durations of system calls are recorded.
    pub durations: bool,
    /// Whether values of secret flags are recorded.
    pub keep_secrets: bool,
    /// Whether chunks are handed over as soon as possible.
    pub live: bool,
    /// Whether the programs' own messages are logged.
    pub kernel_log: bool,
}

/// Why recording cannot begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The kernel side.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The ring buffers would exceed a memory limit, and the kernel would kill the recorder.
    #[error("not enough memory: ring buffers need {} and the recorder {}, but {} has only {} left; {}",
        size_text(*rings), size_text(BESIDE_RINGS), limit_name(cgroup.as_deref()), size_text(*left), remedy(*left))]
    Memory {
        /// Bytes of all ring buffers.
        rings: u64,
        /// Bytes that are left.
        left: u64,
        /// The cgroup whose limit it is; `None` for the machine's memory.
        cgroup: Option<PathBuf>,
    },
    /// A prefix matches more than one container.
    #[error("`--container {prefix}` matches {count} containers: {list}; use more characters of the id",
        count = ids.len(), list = ids.join(", "))]
    Ambiguous {
        /// The prefix.
        prefix: String,
        /// Ids of the containers that it matches.
        ids: Vec<String>,
    },
}

fn limit_name(cgroup: Option<&Path>) -> String {
    cgroup.map_or_else(|| "this machine".to_owned(), |path| format!("the limit of {}", path.display()))
}

fn remedy(left: u64) -> &'static str {
    if left > BESIDE_RINGS { "use a smaller --buffer" } else { "raise the limit" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_error_names_the_limit_and_the_remedy() {
        let error = |left, cgroup: Option<&str>| RecordError::Memory {
            rings: 16 << 20,
            left,
            cgroup: cgroup.map(Into::into),
        };
        assert_eq!(
            error(50 << 20, Some("/sys/fs/cgroup/a")).to_string(),
            "not enough memory: ring buffers need 16.0 MiB and the recorder 48.0 MiB, but the limit of /sys/fs/cgroup/a \
             has only 50.0 MiB left; use a smaller --buffer"
        );
        assert!(
            error(8 << 20, None)
                .to_string()
                .ends_with("but this machine has only 8.0 MiB left; raise the limit")
        );
    }
}
