//! Names of the kernel's numbers.

mod capability;
mod errno;
mod loss_stage;
mod signal;

pub use capability::write_capabilities;
pub use errno::{errno_name, errno_names, errno_number};
pub use loss_stage::{LOSS_STAGES, LossStage, loss_stage};
pub use signal::{signal_name, signal_names, signal_number};
