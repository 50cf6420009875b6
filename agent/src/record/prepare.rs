//! Loads the programs that a request needs.

use events::{Kind, STALLS};

use super::budget::RingSizes;
use super::cgroups::Cgroups;
use super::memory;
use super::merge::Merge;
use super::request::{RecordError, Request};
use super::source::{Ring, Sources};
use crate::background::preferred;
use crate::containers::{ContainerFilter, Hierarchy};
use crate::kernel::{LoadedPrograms, Settings, cpu_rings};
use ktape_reader::containers;
use ktape_reader::model::ContainerSelector;

/// The programs, loaded but not attached: until [`Prepared::attach`] nothing costs anything.
pub struct Prepared {
    pub(super) kernel: LoadedPrograms,
    pub(super) merge: Merge<Ring>,
    pub(super) request: Request,
    /// The hierarchy in which block I/O is charged, if it is recorded and that is another one.
    pub(super) io_hierarchy: Option<Hierarchy>,
    /// Bytes of each CPU's own ring buffer.
    pub(super) ring_bytes: u64,
    /// Bytes of all ring buffers.
    ring_buffers: u64,
}

impl Prepared {
    /// The programs as the kernel sees them.
    pub fn kernel(&self) -> &LoadedPrograms {
        &self.kernel
    }

    /// Bytes of all ring buffers.
    pub fn ring_buffers(&self) -> u64 {
        self.ring_buffers
    }
}

/// Loads what the request needs.
///
/// # Errors
///
/// The kernel refuses, there is not enough memory, or a container prefix matches several containers.
pub fn prepare(mut request: Request) -> Result<Prepared, RecordError> {
    if request.stall.is_none() {
        request.kinds.retain(|kind| !STALLS.contains(kind));
    }
    memory::return_large_buffers();
    let cpus = u64::from(cpu_rings());
    let sizes = RingSizes::choose(request.ring_bytes, cpus)?;
    let records_blocks = request.kinds.contains(&Kind::Block);
    let io_hierarchy = if records_blocks { request.hierarchy.of_block_io() } else { None };
    let (cgroups, io_cgroups) = wanted_cgroups(&request, io_hierarchy.as_ref())?;
    let settings = Settings {
        kinds: request.kinds.clone(),
        selection: request.selection.clone(),
        cgroups,
        tree_pid: request.tree_pid,
        readers: request.output.is_some(),
        ring_bytes: sizes.calls as u32,
        event_bytes: sizes.events as u32,
        lifecycle_bytes: sizes.lifecycle as u32,
        hierarchy: request.hierarchy.clone(),
        io_hierarchy: io_hierarchy.as_ref().map(|hierarchy| hierarchy.number),
        io_cgroups,
        stall: request.stall,
        durations: request.durations,
        kernel_log: request.kernel_log,
    };
    let (kernel, rings) = preferred(|| LoadedPrograms::load(&settings))?;
    let merge = Merge::new(Sources::from(rings));
    let (ring_bytes, ring_buffers) = (sizes.calls, sizes.total(cpus));
    Ok(Prepared { kernel, merge, request, io_hierarchy, ring_bytes, ring_buffers })
}

/// The cgroups that are recorded, `None` for all; and those of the I/O hierarchy.
fn wanted_cgroups(
    request: &Request,
    io_hierarchy: Option<&Hierarchy>,
) -> Result<(Option<Vec<u64>>, Vec<u64>), RecordError> {
    if request.containers.is_open() {
        return Ok((None, Vec::new()));
    }
    let mut cgroups = Cgroups::scan(request.hierarchy.clone(), request.containers.clone());
    check_prefixes(&request.containers, &cgroups.containers())?;
    if let Some(hierarchy) = io_hierarchy {
        cgroups.charge_io_in(hierarchy.clone());
    }
    Ok((Some(cgroups.wanted_ids()), cgroups.wanted_io_ids()))
}

/// No prefix may match several containers, unless it is the whole id of one.
fn check_prefixes(filter: &ContainerFilter, known: &[String]) -> Result<(), RecordError> {
    for wanted in filter.wanted() {
        let ContainerSelector::Word(prefix) = wanted else { continue };
        let ids: Vec<String> =
            known.iter().filter(|id| containers::matches_prefix(id, prefix)).cloned().collect();
        if ids.len() > 1 && !ids.contains(prefix) {
            return Err(RecordError::Ambiguous { prefix: prefix.clone(), ids });
        }
        if ids.is_empty() && !wanted.needs_names() {
            tracing::warn!("no container with an id that starts with `{prefix}` yet; waiting for one");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ambiguous_prefix_names_the_candidates() {
        let known = vec!["abc1".to_owned(), "abd2".to_owned(), "x".to_owned(), "xy".to_owned()];
        let check =
            |prefix: &str| check_prefixes(&ContainerFilter::new(vec![prefix.parse().unwrap()]), &known);
        assert!(check("abc").is_ok());
        assert!(check("nobody").is_ok());
        assert!(check("x").is_ok(), "a whole id wins over a longer one");
        let error = check("ab").unwrap_err().to_string();
        assert!(error.contains("abc1, abd2"), "{error}");
    }
}
