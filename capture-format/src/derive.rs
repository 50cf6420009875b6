//! The derives of structs that are stored; [`crate::codec`] encodes them.

pub(crate) use bincode::{Decode, Encode};
