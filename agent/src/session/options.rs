//! What to record: the options that every recording command has.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::{buffer, privileges, select};
use crate::containers::{ContainerFilter, Hierarchy};
use crate::host_root::HostRoot;
use crate::record::Request;
use crate::runtimes::Sockets;
use crate::usage::usage;
use ktape_reader::model::ContainerSelector;
use ktape_reader::text::units;

/// Options of all commands that record.
#[derive(Debug, clap::Args)]
pub struct RecordOptions {
    /// Stop after this long (30s, 10m, 1h30m); without it, record until Ctrl-C
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<String>,
    /// Kinds of events and names of syscalls, separated by commas [default: all]
    #[arg(short, long, value_name = "LIST")]
    pub events: Vec<String>,
    /// Only this container: its name, the beginning of its id, label:KEY=VALUE, image:GLOB or pod:NAMESPACE/NAME; may
    /// be repeated
    #[arg(long, value_name = "NAME")]
    pub container: Vec<String>,
    /// Ask this runtime for the names of containers: docker=, podman=, containerd= or cri=SOCKET, or `off`; may be repeated
    /// [default: those at the usual places]
    #[arg(long, value_name = "NAME=SOCKET")]
    pub runtime: Vec<String>,
    /// Memory of each CPU's ring [default: 1 % of all memory in sum, at most 8MiB each]
    #[arg(long, value_name = "SIZE")]
    pub buffer: Option<String>,
    /// Tell of threads in uninterruptible sleep for longer than this, while they sleep, or `off`
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub stall: String,
    /// How often the resources of cgroups, host, disks and file systems are sampled, or `off`
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub sample: String,
    /// Record the values of password and token flags in arguments
    #[arg(long)]
    pub keep_secrets: bool,
    /// Which cgroups identify containers: v2, or a v1 controller [default: v2 if mounted]
    #[arg(long, value_name = "NAME")]
    pub cgroup_hierarchy: Option<String>,
    /// In a container: where the host's root is mounted, for names of users and runtimes and for its file systems
    #[arg(long, value_name = "DIR")]
    pub host_root: Option<PathBuf>,
    /// Log what the programs in the kernel say of themselves
    #[arg(long)]
    pub kernel_log: bool,
}

impl RecordOptions {
    /// How long to record, if not until told to stop.
    ///
    /// # Errors
    ///
    /// It is no duration.
    pub fn duration(&self) -> Result<Option<Duration>> {
        let duration = self.duration.as_deref().map(units::duration).transpose().map_err(usage)?;
        Ok(duration.map(Duration::from_nanos))
    }

    /// Where the host's files are.
    pub fn host_root(&self) -> HostRoot {
        self.host_root.as_deref().map_or_else(HostRoot::default, HostRoot::at)
    }

    /// The request: everything on this host that the options ask for.
    ///
    /// # Errors
    ///
    /// An option is wrong, this process may not record, or there are no cgroups.
    pub fn request(&self) -> Result<Request> {
        let ring_bytes = self.buffer.as_deref().map(buffer).transpose()?;
        let (kinds, selection) = select::parse(&self.events).map_err(usage)?;
        let host = self.host_root();
        let containers = wanted(&self.container).map_err(usage)?;
        let sockets = sockets(&self.runtime, &host).map_err(usage)?;
        privileges::require()?;
        let hierarchy = match &self.cgroup_hierarchy {
            Some(name) => Hierarchy::named(name).map_err(usage)?,
            None => Hierarchy::detect()?,
        };
        Ok(Request {
            kinds,
            selection,
            containers: ContainerFilter::new(containers),
            sockets,
            host,
            ring_bytes,
            hierarchy,
            stall: interval("--stall", &self.stall)?,
            sample: interval("--sample", &self.sample)?,
            tree_pid: None,
            reader_pids: Vec::new(),
            keep_secrets: self.keep_secrets,
            live: false,
            kernel_log: self.kernel_log,
        })
    }
}

/// What `--container` was given.
///
/// # Errors
///
/// One of them is not whole.
pub fn wanted(texts: &[String]) -> Result<Vec<ContainerSelector>, String> {
    texts.iter().map(|text| text.parse()).collect()
}

/// What `--runtime` was given.
///
/// # Errors
///
/// One of them names no runtime.
pub fn sockets(texts: &[String], host: &HostRoot) -> Result<Sockets, String> {
    match texts {
        [] => Ok(Sockets::Usual(host.clone())),
        [off] if off == "off" => Ok(Sockets::None),
        texts => Ok(Sockets::Given(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)),
    }
}

/// The shortest time that `--stall` and `--sample` take: less would cost more than it tells.
const SHORTEST: u64 = 50_000_000;

/// Reads a time, or `off`.
fn interval(option: &str, text: &str) -> Result<Option<Duration>> {
    if text == "off" {
        return Ok(None);
    }
    let ns = units::duration(text).map_err(usage)?;
    if ns < SHORTEST {
        return Err(usage(format!("{option} is at least 50ms, or `off`, not `{text}`")));
    }
    Ok(Some(Duration::from_nanos(ns)))
}
