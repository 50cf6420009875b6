//! Starts a recording, and the threads that belong to it.
//!
//! The order matters: the hooks are attached first, then cgroups and threads are scanned, so that nothing falls
//! in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use capture_format::Header;
use events::{Kind, SAMPLES, STALLS};

use super::cgroups::Cgroups;
use super::cmdline;
use super::connections;
use super::drain::{Drain, DrainTiming, Inputs, Outcome, Parts, Stop};
use super::prepare::Prepared;
use super::processes::Processes;
use super::progress::Progress;
use super::request::{RecordError, Request};
use super::rows::{RowWriter, Scope};
use super::sink::ChunkSender;
use super::source::Ring;
use super::stall;
use crate::agent_events::{self, EventSender};
use crate::background::{Background, preferred};
use crate::clock::{self, SystemClock};
use crate::containers::Hierarchy;
use crate::kernel::{ConnectionScanner, LoadError, LoadedPrograms};
use crate::readers::{OutputReaders, Reader};
use crate::runtimes::{self, ContainerInfo, Sockets};
use crate::sample;

/// A recording that runs.
pub struct Recording {
    stop: Arc<Stop>,
    drain: JoinHandle<Outcome>,
}

impl Recording {
    /// Ends the recording; what is in the ring buffers is still written.
    pub fn stop(&self) {
        self.stop.set();
        self.drain.thread().unpark();
    }

    /// Whether the drain has ended, by itself or on request.
    pub fn is_finished(&self) -> bool {
        self.drain.is_finished()
    }

    /// Waits for the end of the drain.
    pub fn join(self) -> Outcome {
        self.drain.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Attached hooks: everything is recorded from here on, into the ring buffers. Dropping this detaches them.
pub struct Attached {
    prepared: Prepared,
    /// When, ns of the boot clock.
    since: u64,
    readers: Option<OutputReaders>,
}

impl Prepared {
    /// Attaches the hooks.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn attach(mut self) -> Result<Attached, RecordError> {
        let readers = self.request.output.clone().zip(self.kernel.take_readers());
        let readers = readers.map(|(output, set)| OutputReaders::find(output, set));
        let since = clock::boot_ns();
        self.kernel.cpus().set_offset(clock::suspended_ns());
        preferred(|| self.kernel.attach())?;
        trace_start();
        Ok(Attached { prepared: self, since, readers })
    }
}

impl Attached {
    /// Scans what there is, and starts the drain.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn start(
        self,
        header: &Header,
        sink: ChunkSender,
        progress: &Arc<Progress>,
    ) -> Result<Recording, RecordError> {
        let Self { prepared, since, readers } = self;
        let Prepared { mut kernel, merge, request, io_hierarchy, ring_bytes, .. } = prepared;
        let scanner = scan_connections(&mut kernel, &request)?;
        let cgroups = scan_cgroups(&mut kernel, &request, io_hierarchy)?;
        let tasks = kernel.scan_tasks()?;
        let mut processes = Processes::new(request.keep_secrets);
        processes.add_scan(&tasks);
        let arguments = cmdline::read_in_background(&tasks);
        let scope = Scope::new(&request.kinds, request.tree_pid);
        let mut rows = RowWriter::new(&header.schema, processes, cgroups, scope);
        rows.name_users(&request.host);
        rows.name_requests(kernel.request_names());
        if !request.durations {
            rows.expect_returns_only();
        }
        let (sender, agent_events) = agent_events::channel();
        let mut background = Vec::new();
        let containers = start_runtimes(&request, rows.cgroups_mut(), header.boot_id, &mut background);
        background.extend(start_sampler(&request, rows.cgroups_mut(), &sender));
        let connections = start_connections(&request, scanner, &sender)?;
        background.extend(start_stalls(&request, &mut kernel, sender)?);
        let readers =
            readers.map(|readers| follow_readers(readers, &mut rows, &mut background)).transpose()?;
        let parts = Parts {
            kernel,
            merge,
            rows,
            sink,
            inputs: Inputs { arguments, containers, agent_events, readers },
            background,
            connections,
            progress: progress.clone(),
            clock: SystemClock,
        };
        spawn(Drain::new(parts, DrainTiming::new(since, ring_bytes, request.live)), progress.clone())
    }
}

/// Logs how long the start took, for `-v`: from here on everything is recorded.
fn trace_start() {
    if let Some(started) = clock::process_start_ns() {
        let took = Duration::from_nanos(clock::boot_ns().saturating_sub(started));
        tracing::info!("recording: all hooks attached {} ms after the process started", took.as_millis());
    }
}

/// Starts the thread that follows the readers of the output.
fn follow_readers(
    readers: OutputReaders,
    rows: &mut RowWriter,
    background: &mut Vec<Background>,
) -> Result<Receiver<Reader>, LoadError> {
    let (thread, news, found) = readers.follow().map_err(|source| LoadError::Io {
        what: "start the thread that follows the output's readers",
        source,
    })?;
    rows.report_forks_to(news);
    background.push(thread);
    Ok(found)
}

fn spawn(
    drain: Drain<LoadedPrograms, Ring, SystemClock>,
    progress: Arc<Progress>,
) -> Result<Recording, RecordError> {
    let stop = Arc::new(Stop::default());
    let until = stop.clone();
    let drain = std::thread::Builder::new()
        .name("ktape-drain".to_owned())
        .spawn(move || {
            let outcome = drain.run(&until);
            progress.events.store(outcome.events, Ordering::Relaxed);
            outcome
        })
        .map_err(|source| LoadError::Io { what: "start the drain's thread", source })?;
    Ok(Recording { stop, drain })
}

/// Lists the cgroups. One that was created between the first scan and the attachment is in no event, so that it has to be
/// put into the kernel's set here.
fn scan_cgroups(
    kernel: &mut LoadedPrograms,
    request: &Request,
    io_hierarchy: Option<Hierarchy>,
) -> Result<Cgroups, LoadError> {
    let mut cgroups = Cgroups::scan(request.hierarchy.clone(), request.containers.clone());
    if let Some(hierarchy) = io_hierarchy {
        cgroups.charge_io_in(hierarchy);
    }
    if !request.containers.is_open() {
        for id in cgroups.wanted_ids() {
            kernel.set_allowed(id, true)?;
        }
        for id in cgroups.wanted_io_ids() {
            kernel.set_allowed_io(id, true)?;
        }
    }
    Ok(cgroups)
}

/// Finds the users of TCP sockets that existed before the hooks were attached, if those are recorded.
fn scan_connections(
    kernel: &mut LoadedPrograms,
    request: &Request,
) -> Result<Option<ConnectionScanner>, LoadError> {
    if !request.kinds.contains(&Kind::Net) {
        return Ok(None);
    }
    let mut scanner = kernel.connection_scanner()?;
    if let Err(error) = scanner.scan() {
        tracing::warn!(%error, "cannot list sockets: the users of those that exist already are unknown");
    }
    Ok(Some(scanner))
}

/// Starts the thread that lists open connections.
fn start_connections(
    request: &Request,
    scanner: Option<ConnectionScanner>,
    events: &EventSender,
) -> Result<Option<Background>, LoadError> {
    let Some(scanner) = scanner else { return Ok(None) };
    let thread = connections::start(scanner, request.net_interval, events.clone())
        .map_err(|source| LoadError::Io { what: "start the thread that lists open connections", source })?;
    Ok(Some(thread))
}

/// Starts the thread that queries the container runtimes. Without it, recording continues without names.
fn start_runtimes(
    request: &Request,
    cgroups: &mut Cgroups,
    boot_id: [u8; 16],
    background: &mut Vec<Background>,
) -> Receiver<ContainerInfo> {
    let none = || std::sync::mpsc::channel().1;
    if request.sockets == Sockets::None {
        return none();
    }
    match runtimes::start(request.sockets.clone()) {
        Ok((thread, runtimes, containers)) => {
            cgroups.resolve_with(runtimes, boot_id);
            background.push(thread);
            containers
        }
        Err(error) => {
            tracing::warn!(%error, "cannot start the thread that resolves container names: names unavailable");
            none()
        }
    }
}

/// Starts the thread that samples resources, if that is wanted. Without it, recording continues without samples.
fn start_sampler(request: &Request, cgroups: &mut Cgroups, events: &EventSender) -> Option<Background> {
    let kinds: Vec<Kind> = SAMPLES.into_iter().filter(|kind| request.kinds.contains(kind)).collect();
    let config = sample::SamplerConfig {
        every: request.sample.filter(|_| !kinds.is_empty())?,
        kinds,
        hierarchy: request.hierarchy.clone(),
        filter: request.containers.clone(),
        host: request.host.clone(),
    };
    match sample::start(config, events.clone()) {
        Ok((thread, sampler)) => {
            cgroups.report_to(sampler);
            Some(thread)
        }
        Err(error) => {
            tracing::warn!(%error, "cannot sample resources");
            None
        }
    }
}

/// Starts the thread that looks for threads in uninterruptible sleep, if that is wanted.
fn start_stalls(
    request: &Request,
    kernel: &mut LoadedPrograms,
    events: EventSender,
) -> Result<Option<Background>, LoadError> {
    let Some(limit) = request.stall.filter(|_| STALLS.iter().any(|kind| request.kinds.contains(kind))) else {
        return Ok(None);
    };
    let scanner = kernel.stall_scanner()?;
    let thread = stall::start(scanner, limit, events)
        .map_err(|source| LoadError::Io { what: "start the thread that looks for stalls", source })?;
    Ok(Some(thread))
}
