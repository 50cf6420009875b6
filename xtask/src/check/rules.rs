//! The allowed arrows, from `xtask/arrows.toml`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Deserialize;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// By name of the package.
    #[serde(rename = "crate")]
    pub(super) crates: BTreeMap<String, CrateRules>,
    /// Files that may be long, by their path in the repository, and why.
    #[serde(default)]
    pub(super) long: BTreeMap<String, String>,
}

/// What a crate and its modules may use.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CrateRules {
    /// The directory of its manifest.
    pub(super) path: String,
    /// Packages of the workspace that it may depend on, in tests too.
    #[serde(default)]
    pub(super) depends: BTreeSet<String>,
    /// What each module at its top may import. The crate's root may import all.
    #[serde(default)]
    pub(super) modules: BTreeMap<String, BTreeSet<String>>,
}

impl Rules {
    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }
}
