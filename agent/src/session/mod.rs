//! What commands that record have in common: options into a request, the file and its header, the
//! recorded command, privileges.

pub mod child;
pub mod header;
pub mod output;
pub mod privileges;
pub mod run;
pub mod select;
