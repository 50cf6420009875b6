//! Names of the kernel's numbers.

mod errno;
mod signal;

pub use errno::{errno_name, errno_names, errno_number};
pub use signal::{signal_name, signal_names, signal_number};
