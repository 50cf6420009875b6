//! Which containers are recorded.

use ktape_reader::containers::Chain;
use ktape_reader::model::ContainerSelector;

/// Which containers are wanted.
#[derive(Clone, Debug, Default)]
pub struct ContainerFilter {
    wanted: Vec<ContainerSelector>,
}

impl ContainerFilter {
    /// Wants the containers that one of these means; everything if there is none.
    pub fn new(wanted: Vec<ContainerSelector>) -> Self {
        Self { wanted }
    }

    /// Whether everything is wanted.
    pub fn is_open(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether it takes a runtime to tell whether a container is wanted.
    pub fn needs_names(&self) -> bool {
        self.wanted.iter().any(ContainerSelector::needs_names)
    }

    /// Whether a cgroup with this chain of containers may be wanted, as far as its path tells: outer includes inner.
    pub fn may_want(&self, chain: &Chain) -> bool {
        self.is_open() || !chain.is_host() && self.needs_names() || self.wants_by_id(chain)
    }

    /// Whether a cgroup with this chain is wanted by an id.
    pub fn wants_by_id(&self, chain: &Chain) -> bool {
        self.wanted
            .iter()
            .any(|wanted| matches!(wanted, ContainerSelector::Word(word) if chain.matches_prefix(word)))
    }

    /// Whether a container is wanted by what its runtime told: a value for each name.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.wanted.iter().any(|wanted| wanted.matches(&get))
    }

    /// What is wanted.
    pub fn wanted(&self) -> &[ContainerSelector] {
        &self.wanted
    }
}
