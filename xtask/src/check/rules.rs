//! The rules in `xtask/arrows.toml`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Deserialize;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// By package name.
    #[serde(rename = "crate")]
    pub(super) crates: BTreeMap<String, CrateRules>,
    /// Files that may be long, by their path in the repository, with the reason.
    #[serde(default)]
    pub(super) long: BTreeMap<String, String>,
}

/// What a crate may depend on, and what its modules may import.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CrateRules {
    /// Directory of its manifest, relative to the workspace.
    pub(super) path: String,
    /// Packages of the workspace that it may depend on, tests included.
    #[serde(default)]
    pub(super) depends: BTreeSet<String>,
    /// For each top-level module, the modules that it may import. The crate's root may import all.
    #[serde(default)]
    pub(super) modules: BTreeMap<String, BTreeSet<String>>,
}

impl Rules {
    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }
}
