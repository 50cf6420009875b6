//! The filter of `--container`.

use ktape_reader::containers::Chain;
use ktape_reader::model::ContainerSelector;

/// Which containers are recorded. Without selectors, everything is.
#[derive(Clone, Debug, Default)]
pub struct ContainerFilter {
    wanted: Vec<ContainerSelector>,
}

impl ContainerFilter {
    /// Selects the containers that match any of the selectors; everything if there are none.
    pub fn new(wanted: Vec<ContainerSelector>) -> Self {
        Self { wanted }
    }

    /// Whether everything is recorded.
    pub fn is_open(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether a selector needs the names or attributes that runtimes report.
    pub fn needs_names(&self) -> bool {
        self.wanted.iter().any(ContainerSelector::needs_names)
    }

    /// Whether a cgroup with this chain of containers can match, judged by its path only. A match of an outer container
    /// includes its inner ones.
    pub fn may_want(&self, chain: &Chain) -> bool {
        self.is_open() || !chain.is_host() && self.needs_names() || self.wants_by_id(chain)
    }

    /// Whether a cgroup with this chain matches by container id, or as one of the host.
    pub fn wants_by_id(&self, chain: &Chain) -> bool {
        self.wanted.iter().any(|wanted| wanted.matches_chain(chain))
    }

    /// Whether a container matches by its attributes; `get` returns the value of an attribute by name.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.wanted.iter().any(|wanted| wanted.matches(&get))
    }

    /// The selectors.
    pub fn wanted(&self) -> &[ContainerSelector] {
        &self.wanted
    }
}
