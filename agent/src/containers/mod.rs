//! The cgroup hierarchies of this host.

mod cgroupfs;
mod filter;

pub(crate) use cgroupfs::unescape;
pub use cgroupfs::{Hierarchy, HierarchyError};
pub use filter::ContainerFilter;
