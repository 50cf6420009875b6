//! Which of several cgroup hierarchies has the containers.

use std::collections::BTreeSet;
use std::fmt;

use super::Hierarchy;
use ktape_reader::containers::{identify, short_id};

/// Containers that are named in a warning.
const NAMED: usize = 3;

/// Containers that the chosen hierarchy does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Full ids.
    ids: Vec<String>,
    /// The chosen hierarchy.
    chosen: String,
    /// One that has them.
    other: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = self.ids.iter().take(NAMED).map(|id| short_id(id)).collect();
        let more = if self.ids.len() > NAMED { ", ..." } else { "" };
        let are = if self.ids.len() == 1 { "container is" } else { "containers are" };
        write!(
            f,
            "{} {are} in the cgroup hierarchy {} alone ({}{more}), and containers are identified by {}: their events \
             are attributed to the host; pass --cgroup-hierarchy {}",
            self.ids.len(),
            self.other,
            named.join(", "),
            self.chosen,
            self.other,
        )
    }
}

/// The first hierarchy that has the containers of all, else the first one and what it lacks.
pub fn choose<'a>(
    hierarchies: impl Iterator<Item = &'a Hierarchy>,
) -> (Option<&'a Hierarchy>, Option<Missing>) {
    let found: Vec<Found<'a>> = hierarchies.map(Found::in_hierarchy).collect();
    let Some(chosen) = best(&found) else { return (None, None) };
    (Some(found[chosen].hierarchy), lack(&found, chosen))
}

/// The containers of `others` that `chosen` lacks.
pub fn missing<'a>(chosen: &'a Hierarchy, others: impl Iterator<Item = &'a Hierarchy>) -> Option<Missing> {
    let found: Vec<Found<'a>> = std::iter::once(chosen).chain(others).map(Found::in_hierarchy).collect();
    lack(&found, 0)
}

/// A hierarchy and its containers.
struct Found<'a> {
    hierarchy: &'a Hierarchy,
    ids: BTreeSet<String>,
}

impl<'a> Found<'a> {
    fn in_hierarchy(hierarchy: &'a Hierarchy) -> Self {
        // One that cannot be read has none.
        let cgroups = hierarchy.scan().unwrap_or_default();
        let containers = cgroups.iter().flat_map(|(_, path)| identify(path).0);
        Self { hierarchy, ids: containers.map(|container| container.id).collect() }
    }
}

fn best(found: &[Found<'_>]) -> Option<usize> {
    let has_all = |one: &Found<'_>| found.iter().all(|other| other.ids.is_subset(&one.ids));
    found.iter().position(has_all).or((!found.is_empty()).then_some(0))
}

fn lack(found: &[Found<'_>], chosen: usize) -> Option<Missing> {
    let known = &found[chosen].ids;
    let lacking = |other: &Found<'_>| other.ids.difference(known).cloned().collect::<Vec<String>>();
    // The one that has most of them.
    let (other, ids) = found
        .iter()
        .map(|other| (other, lacking(other)))
        .filter(|(_, ids)| !ids.is_empty())
        .reduce(|most, other| if other.1.len() > most.1.len() { other } else { most })?;
    Some(Missing { ids, chosen: found[chosen].hierarchy.name.clone(), other: other.hierarchy.name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(name: &str) -> Hierarchy {
        Hierarchy {
            name: name.to_owned(),
            subsys: None,
            number: 0,
            mount: "/none".into(),
            root: b"/".to_vec(),
            initial_namespace: true,
            hybrid: true,
        }
    }

    /// The name of the hierarchy that is chosen among v2, pids and memory with these containers, and the warning.
    fn chosen(ids: [&[&str]; 3]) -> (String, Option<String>) {
        let names = ["v2", "pids", "memory"].map(hierarchy);
        let found: Vec<Found<'_>> = names
            .iter()
            .zip(ids)
            .map(|(hierarchy, ids)| Found { hierarchy, ids: ids.iter().map(|id| (*id).to_owned()).collect() })
            .collect();
        let best = best(&found).unwrap();
        (names[best].name.clone(), lack(&found, best).map(|missing| missing.to_string()))
    }

    #[test]
    fn v2_is_chosen_as_long_as_it_has_all_containers() {
        assert_eq!(chosen([&[], &[], &[]]), ("v2".to_owned(), None));
        assert_eq!(chosen([&["a"], &["a"], &[]]), ("v2".to_owned(), None));
    }

    #[test]
    fn a_v1_hierarchy_with_all_containers_is_chosen_if_v2_lacks_some() {
        assert_eq!(chosen([&[], &["a"], &["a"]]), ("pids".to_owned(), None));
        assert_eq!(chosen([&["a"], &["a"], &["a", "b"]]), ("memory".to_owned(), None));
    }

    #[test]
    fn containers_in_no_common_hierarchy_are_reported() {
        let (name, warning) = chosen([&["new"], &["old1", "old2", "old3", "old4"], &["old1"]]);
        assert_eq!(name, "v2");
        assert_eq!(
            warning.unwrap(),
            "4 containers are in the cgroup hierarchy pids alone (old1, old2, old3, ...), and containers are identified by v2: \
             their events are attributed to the host; pass --cgroup-hierarchy pids"
        );
    }

    #[test]
    fn unreadable_hierarchies_have_no_containers() {
        let (v2, pids) = (hierarchy("v2"), hierarchy("pids"));
        assert_eq!(choose([&v2, &pids].into_iter()), (Some(&v2), None));
        assert_eq!(missing(&v2, [&pids].into_iter()), None);
        assert_eq!(choose(std::iter::empty()), (None, None));
    }
}
