//! Filter expressions of commands that record.

use std::iter;

use anyhow::Result;

use crate::session::messages::message;
use crate::usage::usage;
use ktape_reader::filter::Filter;

/// Compiles the expression of a command that records events of this version, and prints advice on it.
///
/// # Errors
/// It is not valid, or names what no event has.
pub fn for_recording(text: Option<&str>) -> Result<Option<Filter>> {
    let filter = text.map(Filter::parse).transpose().map_err(usage)?;
    if let Some(filter) = &filter {
        filter.check(iter::empty()).map_err(usage)?;
        filter.hints().iter().for_each(message);
    }
    Ok(filter)
}
