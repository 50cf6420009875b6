//! What to record: the options that every recording command has.

use std::time::Duration;

use anyhow::Result;

use super::{buffer, privileges, select, usage};
use crate::containers::Hierarchy;
use crate::record::{ContainerFilter, Request};
use crate::text::units;

/// Options of all commands that record.
#[derive(Debug, clap::Args)]
pub struct RecordOptions {
    /// Stop after this long (30s, 10m, 1h30m); without it, record until Ctrl-C
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<String>,
    /// Kinds of events and names of syscalls, separated by commas [default: all]
    #[arg(short, long, value_name = "LIST")]
    pub events: Vec<String>,
    /// Only this container, by id or the beginning of it; may be repeated
    #[arg(long, value_name = "ID")]
    pub container: Vec<String>,
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

    /// The request: everything on this host that the options ask for.
    ///
    /// # Errors
    ///
    /// An option is wrong, this process may not record, or there are no cgroups.
    pub fn request(&self) -> Result<Request> {
        let ring_bytes = self.buffer.as_deref().map(buffer).transpose()?;
        let (kinds, selection) = select::parse(&self.events).map_err(usage)?;
        privileges::require()?;
        let hierarchy = match &self.cgroup_hierarchy {
            Some(name) => Hierarchy::named(name).map_err(usage)?,
            None => Hierarchy::detect()?,
        };
        Ok(Request {
            kinds,
            selection,
            containers: ContainerFilter::new(self.container.clone()),
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
