//! Generates `reader/src/syscalls/constants.tbl`: the names of the values of flags, commands and constants.
//!
//! [`sets`] reads the lists in `constants/sets`, [`source`] the values of names from the sources of the crate
//! `linux-raw-sys`, which `Cargo.lock` pins, and [`table`] combines them. So the table does not depend on the headers of
//! the machine. Values that the crate lacks are in the lists, next to the kernel header that defines them.

mod sets;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ktape_tests::run;

/// The table, relative to the root of the workspace.
pub const FILE: &str = "reader/src/syscalls/constants.tbl";

/// The crate with the values.
const SOURCE: &str = "linux-raw-sys";

/// A platform whose packages include it.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The content of `constants.tbl`.
///
/// # Errors
/// If the sources of the crate cannot be found or read, or if the lists contain a name without a value.
pub fn generate(root: &Path) -> Result<String> {
    let values = source::Values::read(&source_directory(root)?)?;
    let mut sections = Vec::new();
    for (file, text) in sets::FILES {
        sections.extend(sets::parse(text).with_context(|| format!("xtask/src/constants/sets/{file}"))?);
    }
    table::write(&sections, &values)
}

fn source_directory(root: &Path) -> Result<PathBuf> {
    let mut metadata = run::cargo(root);
    // Without a platform, cargo downloads the packages of all.
    metadata.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", PLATFORM]);
    let text = run::output(&mut metadata)?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).context("cargo metadata printed invalid JSON")?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == SOURCE)
        .and_then(|package| Path::new(package["manifest_path"].as_str()?).parent())
        .map(|directory| directory.join("src"))
        .with_context(|| format!("{SOURCE} is not a dependency any more; the constants need its sources"))
}
