//! The cgroup hierarchies of this host.

mod cgroupfs;
mod choice;
mod filter;

pub(crate) use cgroupfs::unescape;
pub use cgroupfs::{Hierarchy, HierarchyError};
pub use choice::Missing;
pub use filter::ContainerFilter;
