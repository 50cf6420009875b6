//! What commands that record have in common: options into a request, the file and its header, the
//! recorded command, privileges.

pub mod child;
pub mod options;
pub mod privileges;
pub mod run;
pub mod say;
pub mod select;
pub mod service;

use crate::record;
use crate::usage::usage;
use ktape_reader::text::units;

/// Reads `--buffer`: bytes of each CPU's ring.
///
/// # Errors
///
/// It is no size, or beyond what makes sense.
pub fn buffer(text: &str) -> anyhow::Result<u64> {
    let bytes = units::size(text).map_err(usage)?;
    if !(record::RING_MIN..=record::RING_LARGEST).contains(&bytes) {
        let (least, most) = (units::size_text(record::RING_MIN), units::size_text(record::RING_LARGEST));
        return Err(usage(format!("--buffer is from {least} to {most} for each CPU, not `{text}`")));
    }
    Ok(bytes)
}
