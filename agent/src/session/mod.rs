//! What commands that record have in common: options, the recorded command, privileges, messages, and waiting for the end.

pub mod child;
pub mod interrupt;
pub mod messages;
pub mod options;
pub mod privileges;
pub mod run;
pub mod scan_line;
pub mod select;
pub mod service;

use crate::record;
use crate::usage::usage;
use ktape_reader::text::units;

/// Parses `--buffer`: bytes of each CPU's own ring buffer.
///
/// # Errors
///
/// It is not a size, or outside of the supported range.
pub fn buffer(text: &str) -> anyhow::Result<u64> {
    let bytes = units::size(text).map_err(usage)?;
    if !(record::RING_MIN..=record::RING_LARGEST).contains(&bytes) {
        let (least, most) = (units::size_text(record::RING_MIN), units::size_text(record::RING_LARGEST));
        return Err(usage(format!("--buffer must be from {least} to {most} per CPU, not `{text}`")));
    }
    Ok(bytes)
}
