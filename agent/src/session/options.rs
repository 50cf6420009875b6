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

/// The group of options in `--help` that select what is recorded.
pub const WHAT: &str = "What to record";
/// The group of options about where and how data is written.
pub const OUTPUT: &str = "Output";
/// The group of options that limit disk usage.
pub const RETENTION: &str = "Retention";
/// The group of options about containers and their runtimes.
pub const CONTAINERS: &str = "Containers";
/// The group of options that are rarely needed.
pub const ADVANCED: &str = "Advanced";

/// The syntax of `--container`, for the end of `--help`.
macro_rules! selectors {
    () => {
        "\
Selectors:
  web                    the container with this name or id prefix
  'web-*'                containers whose name fits this pattern
  host                   what runs in no container
  label:KEY[=VALUE]      containers with this label, also of their pod
  image:GLOB             containers of this image
  pod:[NAMESPACE/]NAME   containers of this pod
"
    };
}
pub(crate) use selectors;

/// Options of all commands that record. Those under "What to record" are in the order of `display_order`: commands add
/// their own to that group.
#[derive(Debug, clap::Args)]
pub struct RecordOptions {
    /// Stop after this time, such as 30s, 10m or 1h30m [default: run until Ctrl-C]
    #[arg(short, long, value_name = "DURATION", help_heading = WHAT, display_order = 1)]
    pub duration: Option<String>,
    /// Only these event kinds and syscalls, separated by commas [default: all]
    #[arg(short, long, value_name = "LIST", help_heading = WHAT, display_order = 2)]
    pub events: Vec<String>,
    /// Report threads blocked in uninterruptible sleep (D state) for longer than DURATION, or `off`
    #[arg(long, value_name = "DURATION", default_value = "1s", help_heading = WHAT, display_order = 4)]
    pub stall: String,
    /// Record the counters of open TCP connections at this interval, and at the end; 0: only at the end
    #[arg(long, value_name = "TIME", default_value = "60s", help_heading = WHAT, display_order = 4)]
    pub net_interval: String,
    /// Sample the resource usage of cgroups, host, disks and file systems at this interval, or `off`
    #[arg(long, value_name = "DURATION", default_value = "1s", help_heading = WHAT, display_order = 5)]
    pub sample: String,
    /// Do not mask passwords and tokens in command-line arguments
    #[arg(long, help_heading = WHAT, display_order = 6)]
    pub keep_secrets: bool,
    /// Only this container (repeatable; see Selectors)
    #[arg(long, value_name = "SELECTOR", help_heading = CONTAINERS)]
    pub container: Vec<String>,
    /// Get container names from this runtime socket: docker=, podman=, containerd= or cri=PATH, or `off` (repeatable)
    /// [default: all sockets at their usual paths]
    #[arg(long, value_name = "RUNTIME=SOCKET", help_heading = CONTAINERS)]
    pub runtime: Vec<String>,
    /// Identify containers by this cgroup hierarchy: v2, or the name of a v1 controller [default: v2 if it is mounted]
    #[arg(long, value_name = "HIERARCHY", help_heading = CONTAINERS)]
    pub cgroup_hierarchy: Option<String>,
    /// If ktape itself runs in a container: where the host's root is mounted
    #[arg(long, value_name = "DIR", help_heading = CONTAINERS)]
    pub host_root: Option<PathBuf>,
    /// Record system calls at their return only: costs less, but no call has a duration
    #[arg(long, help_heading = ADVANCED)]
    pub no_duration: bool,
    /// Size of each CPU's ring buffer for system calls and switches [default: 0.5% of memory for all together, at most 8MiB each]
    #[arg(long, value_name = "SIZE", help_heading = ADVANCED)]
    pub buffer: Option<String>,
    /// Print log messages of the eBPF programs
    #[arg(long, help_heading = ADVANCED)]
    pub kernel_log: bool,
}

impl RecordOptions {
    /// How long to record; `None` to record until a signal.
    ///
    /// # Errors
    ///
    /// It is not a duration.
    pub fn duration(&self) -> Result<Option<Duration>> {
        let duration = self.duration.as_deref().map(units::duration).transpose().map_err(usage)?;
        Ok(duration.map(Duration::from_nanos))
    }

    /// Where the host's files are.
    pub fn host_root(&self) -> HostRoot {
        self.host_root.as_deref().map_or_else(HostRoot::default, HostRoot::at)
    }

    /// The request to the recorder that the options make.
    ///
    /// # Errors
    ///
    /// An option is wrong, this process is not allowed to record, or no cgroup hierarchy is mounted.
    pub fn request(&self) -> Result<Request> {
        let ring_bytes = self.buffer.as_deref().map(buffer).transpose()?;
        let (kinds, selection) = select::parse(&self.events).map_err(usage)?;
        let host = self.host_root();
        let containers = parse_selectors(&self.container).map_err(usage)?;
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
            net_interval: net_interval(&self.net_interval)?,
            sample: interval("--sample", &self.sample)?,
            tree_pid: None,
            output: None,
            durations: !self.no_duration,
            keep_secrets: self.keep_secrets,
            live: false,
            kernel_log: self.kernel_log,
        })
    }
}

/// Parses the values of `--container`.
///
/// # Errors
///
/// One of them is not a selector.
pub fn parse_selectors(texts: &[String]) -> Result<Vec<ContainerSelector>, String> {
    texts.iter().map(|text| text.parse()).collect()
}

/// Parses the values of `--runtime`.
///
/// # Errors
///
/// One of them is not a runtime and its socket.
pub fn sockets(texts: &[String], host: &HostRoot) -> Result<Sockets, String> {
    match texts {
        [] => Ok(Sockets::Default(host.clone())),
        [off] if off == "off" => Ok(Sockets::None),
        texts => Ok(Sockets::Given(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)),
    }
}

/// The shortest interval of `--stall`, `--net-interval` and `--sample`, ns: a shorter one costs more than it is worth.
const INTERVAL_MIN: u64 = 50_000_000;

/// Parses the value of `--net-interval`; `None` for 0.
fn net_interval(text: &str) -> Result<Option<Duration>> {
    if text == "0" {
        return Ok(None);
    }
    let ns = units::duration(text).map_err(usage)?;
    if (1..INTERVAL_MIN).contains(&ns) {
        return Err(usage(format!("--net-interval must be at least 50 ms or 0, not `{text}`")));
    }
    Ok((ns > 0).then(|| Duration::from_nanos(ns)))
}

/// Parses a duration, or `off`.
fn interval(option: &str, text: &str) -> Result<Option<Duration>> {
    if text == "off" {
        return Ok(None);
    }
    let ns = units::duration(text).map_err(usage)?;
    if ns < INTERVAL_MIN {
        return Err(usage(format!("{option} must be at least 50 ms or `off`, not `{text}`")));
    }
    Ok(Some(Duration::from_nanos(ns)))
}
