//! Recording: from the rings to full chunks. See `ARCHITECTURE.md` for the flow.

mod cgroups;
mod cmdline;
mod columns;
mod decode;
mod drain;
mod gate;
mod memory;
mod merge;
mod processes;
mod rows;
mod sink;
mod stall;
mod users;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use capture_format::{ChunkBuilder, Header, Schema};
use events::{Kind, KindSet, SAMPLES};
use thiserror::Error;

pub use cgroups::Busy;
pub use drain::{Outcome, Stop};
pub use sink::{Along, Destination, End, Filled, Progress, Sink, Stages, Viewer, to_destination, to_viewer};

use crate::agent_events::{self, EventSender};
use crate::background::Background;
use crate::clock;
use crate::containers::ContainerFilter;
use crate::containers::Hierarchy;
use crate::host_root::HostRoot;
use crate::kernel::{LoadError, LoadedPrograms, Lost, Selection, Settings};
use crate::runtimes::{self, ContainerInfo, Sockets};
use crate::sample;
use cgroups::Cgroups;
use drain::{Drain, Parts};
use ktape_reader::containers;
use ktape_reader::text::units::size_text;
use merge::Merge;
use processes::Processes;
use rows::Rows;

/// Largest ring of a CPU, in bytes.
const RING_MAX: u64 = 8 << 20;
/// Smallest ring of a CPU, in bytes: the largest record must fit a few times.
pub const RING_MIN: u64 = 64 << 10;
/// Largest ring of a CPU that may be asked for, in bytes.
pub const RING_LARGEST: u64 = 1 << 30;
/// Smallest lifecycle ring of a CPU, in bytes.
const LIFECYCLE_MIN: u64 = 256 << 10;

/// What the recorder needs beside its rings, in bytes: its own memory, and the programs' other maps.
const BESIDE_RINGS: u64 = 48 << 20;

/// What to record.
#[derive(Clone, Debug)]
pub struct Request {
    /// Kinds to write.
    pub kinds: Vec<Kind>,
    /// Syscalls to record.
    pub selection: Selection,
    /// Only these containers.
    pub containers: ContainerFilter,
    /// Bytes of each CPU's ring; by default 1 % of memory in all, at most 8 MiB each.
    pub ring_bytes: Option<u64>,
    /// The hierarchy that identifies cgroups.
    pub hierarchy: Hierarchy,
    /// Where the host's files are.
    pub host: HostRoot,
    /// Where names of containers are asked for.
    pub sockets: Sockets,
    /// From when on an uninterruptible sleep is told of.
    pub stall: Option<Duration>,
    /// How often resources are sampled.
    pub sample: Option<Duration>,
    /// Only this process and its descendants, from its exec on.
    pub tree_pid: Option<u32>,
    /// Processes to leave out: those that our pipe leads to.
    pub reader_pids: Vec<u32>,
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
    /// Whoever takes more memory than its cgroup may is killed.
    #[error("not enough memory: the rings take {}, the recorder {} beside them, and {} leaves {}; {}",
        size_text(*rings), size_text(BESIDE_RINGS), limited(cgroup.as_deref()), size_text(*left), remedy(*left))]
    Memory {
        /// Bytes of all rings.
        rings: u64,
        /// Bytes that are left.
        left: u64,
        /// Whose limit it is; `None` for the machine's.
        cgroup: Option<PathBuf>,
    },
    /// More than one container fits.
    #[error("`--container {prefix}` fits {count} containers: {list}; write more of the id", count = ids.len(), list = ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// What it fits.
        ids: Vec<String>,
    },
}

/// A capture that runs.
pub struct Recording {
    stop: Arc<Stop>,
    drain: JoinHandle<Outcome>,
}

impl Recording {
    /// Ends the capture; what is in the rings is still written.
    pub fn stop(&self) {
        self.stop.set();
        self.drain.thread().unpark();
    }

    /// Whether the drain has ended, by itself or because it was told to.
    pub fn is_finished(&self) -> bool {
        self.drain.is_finished()
    }

    /// Waits for the end of the drain.
    pub fn join(self) -> Outcome {
        self.drain.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The programs, loaded but not attached: until [`Prepared::start`] nothing costs anything.
pub struct Prepared {
    kernel: LoadedPrograms,
    merge: Merge,
    request: Request,
    ring_bytes: u64,
}

/// Loads what the request needs.
///
/// # Errors
///
/// The kernel refuses, or a container prefix fits several containers.
pub fn prepare(mut request: Request) -> Result<Prepared, RecordError> {
    if request.stall.is_none() {
        request.kinds.retain(|kind| *kind != Kind::Stall);
    }
    let cpus = u64::from(crate::kernel::online_cpus());
    let room = memory::room();
    let ring_bytes = ring_size(request.ring_bytes, room.limit, cpus);
    let lifecycle_bytes = (ring_bytes / 8).max(LIFECYCLE_MIN);
    let rings = cpus * (ring_bytes + lifecycle_bytes);
    if rings + BESIDE_RINGS > room.left {
        return Err(RecordError::Memory { rings, left: room.left, cgroup: room.cgroup });
    }
    let cgroups = if request.containers.is_open() {
        None
    } else {
        let cgroups = Cgroups::scan(request.hierarchy.clone(), request.containers.clone());
        check_prefixes(&request.containers, &cgroups.containers())?;
        Some(cgroups.wanted_ids())
    };
    let settings = Settings {
        kinds: request.kinds.clone(),
        selection: request.selection.clone(),
        cgroups,
        tree_pid: request.tree_pid,
        reader_pids: request.reader_pids.clone(),
        ring_bytes: ring_bytes as u32,
        lifecycle_bytes: lifecycle_bytes as u32,
        hierarchy: request.hierarchy.clone(),
        stall: request.stall,
        kernel_log: request.kernel_log,
    };
    let (kernel, rings) = LoadedPrograms::load(&settings)?;
    Ok(Prepared { kernel, merge: Merge::new(rings), request, ring_bytes })
}

impl Prepared {
    /// The programs as the kernel sees them.
    pub fn kernel(&self) -> &LoadedPrograms {
        &self.kernel
    }

    /// Attaches the hooks, then looks who is there, then starts the drain.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn start(
        self,
        header: &Header,
        sink: Sink,
        progress: &Arc<Progress>,
    ) -> Result<Recording, RecordError> {
        let (schema, boot_id) = (&header.schema, header.boot_id);
        let Self { mut kernel, merge, request, ring_bytes } = self;
        let attached = clock::boot_ns();
        kernel.attach()?;
        let filter = request.containers.clone();
        let filtered = !filter.is_open();
        let cgroups = Cgroups::scan(request.hierarchy.clone(), filter);
        if filtered {
            // One that was created between the first look and the attachment is in no event.
            for id in cgroups.wanted_ids() {
                kernel.set_allowed(id, true)?;
            }
        }
        let tasks = kernel.scan_tasks()?;
        let mut processes = Processes::new(request.keep_secrets);
        processes.add_scan(&tasks);
        let arguments = cmdline::read_in_background(&tasks);
        let wanted = KindSet::of(&request.kinds);
        let mut rows = Rows::new(schema, processes, cgroups, wanted, request.tree_pid);
        rows.name_users(&request.host);
        let (outbox, inbox) = agent_events::channel();
        let mut background = Vec::new();
        let named = match start_asking(&request) {
            Some((thread, asker, named)) => {
                rows.cgroups.ask_with(asker, boot_id);
                background.push(thread);
                named
            }
            None => std::sync::mpsc::channel().1,
        };
        if let Some((thread, news)) = start_sampler(&request, &outbox) {
            rows.cgroups.tell(news);
            background.push(thread);
        }
        if let Some(limit) = request.stall
            && request.kinds.contains(&Kind::Stall)
        {
            let scanner = kernel.stall_scanner()?;
            let started = stall::start(scanner, limit, outbox)
                .map_err(|source| LoadError::Io { what: "start the thread that looks for stalls", source })?;
            background.push(started);
        }
        rows.name_requests(kernel.request_names());
        let parts = Parts {
            attached,
            kernel,
            merge,
            rows,
            sink,
            arguments,
            named,
            progress: progress.clone(),
            inbox,
            background,
        };
        let drain = Drain::new(parts, ring_bytes, request.live);
        let stop = Arc::new(Stop::default());
        let told = stop.clone();
        let failed = progress.clone();
        let drain = std::thread::Builder::new()
            .name("ktape-drain".to_owned())
            .spawn(move || {
                let outcome = drain.run(&told);
                failed.events.store(outcome.events, Ordering::Relaxed);
                outcome
            })
            .map_err(|source| LoadError::Io { what: "start the drain's thread", source })?;
        Ok(Recording { stop, drain })
    }
}

/// The thread that asks runtimes for names. A capture without them is better than none.
fn start_asking(request: &Request) -> Option<(Background, runtimes::RuntimeHandle, Receiver<ContainerInfo>)> {
    if request.sockets == Sockets::None {
        return None;
    }
    match runtimes::start(request.sockets.clone()) {
        Ok(started) => Some(started),
        Err(error) => {
            tracing::warn!(%error, "the names of containers are not asked for");
            None
        }
    }
}

/// The thread that samples, if samples are wanted. A capture without them is better than none.
fn start_sampler(request: &Request, outbox: &EventSender) -> Option<(Background, sample::News)> {
    let kinds: Vec<Kind> = SAMPLES.into_iter().filter(|kind| request.kinds.contains(kind)).collect();
    let config = sample::Config {
        every: request.sample.filter(|_| !kinds.is_empty())?,
        kinds,
        hierarchy: request.hierarchy.clone(),
        filter: request.containers.clone(),
        host: request.host.clone(),
    };
    match sample::start(config, outbox.clone()) {
        Ok(started) => Some(started),
        Err(error) => {
            tracing::warn!(%error, "resources are not sampled");
            None
        }
    }
}

fn check_prefixes(filter: &ContainerFilter, known: &[String]) -> Result<(), RecordError> {
    for wanted in filter.wanted() {
        let ktape_reader::model::ContainerSelector::Word(prefix) = wanted else { continue };
        let ids: Vec<String> =
            known.iter().filter(|id| containers::matches_prefix(id, prefix)).cloned().collect();
        if ids.len() > 1 && !ids.contains(prefix) {
            return Err(RecordError::Ambiguous { prefix: prefix.clone(), ids });
        }
        if ids.is_empty() && !wanted.needs_names() {
            tracing::warn!("no container's id starts with `{prefix}`; waiting for one");
        }
    }
    Ok(())
}

/// Rows that tell what could not be written, by kind, between two moments of the boot clock, ns.
pub fn unwritten_rows(
    schema: &Arc<Schema>,
    hierarchy: Hierarchy,
    counts: &[(Option<Kind>, u64)],
    (from, to): (u64, u64),
) -> ChunkBuilder {
    let cgroups = Cgroups::none(hierarchy, ContainerFilter::default());
    let mut rows = Rows::new(schema, Processes::new(false), cgroups, KindSet::EMPTY, None);
    let mut builder = ChunkBuilder::new(schema.clone());
    for (kind, count) in counts {
        let lost = Lost { cpu: None, kind: *kind, cgroup: None, stage: "writer", count: *count };
        rows.loss(&mut builder, from, to, &lost);
    }
    builder
}

/// Who limits the memory.
fn limited(cgroup: Option<&Path>) -> String {
    cgroup.map_or_else(|| "this machine".to_owned(), |path| format!("the limit of {}", path.display()))
}

/// What to do about it.
fn remedy(left: u64) -> &'static str {
    if left > BESIDE_RINGS { "a smaller --buffer helps" } else { "raise the limit" }
}

/// Bytes of each CPU's ring: a power of two.
fn ring_size(asked: Option<u64>, memory: u64, cpus: u64) -> u64 {
    let size = asked.unwrap_or(memory / 100 / cpus.max(1)).clamp(RING_MIN, RING_LARGEST);
    // Rounding a default up would exceed the budget.
    match asked {
        Some(_) => size.next_power_of_two(),
        None => (1 << size.ilog2()).min(RING_MAX),
    }
}
