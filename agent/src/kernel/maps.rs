//! Takes maps out of a loaded object.

use aya::maps::Map;

use super::error::{LoadError, map_error};
use super::object::Object;

/// Takes a map out of the object, which then no longer keeps it open.
///
/// # Errors
/// The object has no map of this name, or the map has another type.
pub(super) fn take<M>(object: &mut Object, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<Map, Error = aya::maps::MapError>,
{
    object.take_map(name).ok_or(LoadError::Missing(name))?.try_into().map_err(map_error(name))
}
