//! Which cgroups are wanted: by their path, or by what a runtime tells of their containers.

use capture_format::MetadataRecord;

use super::{Cgroup, Cgroups};
use crate::clock::boot_ns;
use crate::runtimes::ContainerInfo;
use ktape_reader::containers::Chain;
use ktape_reader::model::attribute_names as names;

/// How long a runtime has to tell of a container that may be wanted, ns.
const PATIENCE: u64 = 10_000_000_000;

/// Whether the events of a cgroup are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    #[default]
    No,
    /// That depends on what a runtime has yet to tell: they are recorded, and may be dropped.
    Undecided,
    Yes,
}

impl Cgroups {
    /// The cgroup `id` is of this container itself: it takes the place `at` of one that is of a container inside, and was
    /// seen first.
    pub(super) fn found_own(&mut self, container: &str, id: u64, at: &mut u64) {
        let own = self.known.get(at).and_then(|cgroup| cgroup.chain.innermost());
        if own.is_none_or(|own| own.id == container) {
            return;
        }
        let before = std::mem::replace(at, id);
        self.instances.insert(container.to_owned(), id);
        for cgroup in self.known.values_mut() {
            for (outer, at) in cgroup.chain.0.iter().zip(&mut cgroup.instances) {
                if outer.id == container && *at == before {
                    *at = id;
                }
            }
        }
    }

    pub(super) fn judge(&self, chain: &Chain, instances: &[u64]) -> Verdict {
        if self.filter.is_open() || self.filter.wants_by_id(chain) {
            return Verdict::Yes;
        }
        if chain.is_host() || !self.filter.needs_names() {
            return Verdict::No;
        }
        let both = || chain.0.iter().zip(instances);
        let judged = || both().map(|(container, at)| self.judged.get(&(container.id.clone(), *at)).copied());
        if judged().any(|judged| judged == Some(true)) {
            Verdict::Yes
        } else if judged().any(|judged| judged.is_none()) {
            Verdict::Undecided
        } else {
            Verdict::No
        }
    }

    /// A runtime told of a container.
    pub fn learn(&mut self, told: ContainerInfo) {
        let get = |name: &str| told.values.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
        // A word about its end alone decides nothing.
        let container = (told.id.clone(), told.key.cgroup);
        if self.filter.needs_names() && get(names::NAME).is_some() && !self.judged.contains_key(&container) {
            let wanted = self.filter.matches(get);
            self.decide(container, wanted, true);
        }
        // What is told of others stays out of the file, too.
        let is_wanted = |cgroup: &Cgroup| self.filter.is_open() || cgroup.verdict == Verdict::Yes;
        if self.known.get(&told.key.cgroup).is_none_or(is_wanted) {
            self.along.names.push(MetadataRecord { key: told.key, values: told.values });
        }
    }

    /// Whether a container is wanted; `named` if its runtime told of it, else time is up.
    fn decide(&mut self, container: (String, u64), wanted: bool, named: bool) {
        let inside = |cgroup: &Cgroup| {
            let mut both = cgroup.chain.0.iter().zip(&cgroup.instances);
            both.any(|(outer, at)| outer.id == container.0 && *at == container.1)
        };
        let open = self.known.iter().filter(|(_, c)| c.verdict == Verdict::Undecided && inside(c));
        let open: Vec<u64> = open.map(|(id, _)| *id).collect();
        self.judged.insert(container, wanted);
        self.decided = true;
        let verdict = |id: u64| Some((id, self.known.get(&id).map(|c| self.judge(&c.chain, &c.instances))?));
        let open: Vec<(u64, Verdict)> = open.into_iter().filter_map(verdict).collect();
        for (id, verdict) in open {
            if let Some(cgroup) = self.known.get_mut(&id) {
                cgroup.verdict = verdict;
            }
            match verdict {
                Verdict::Yes => self.along.accepted.push(id),
                Verdict::No => {
                    self.unwanted.push(id);
                    if named {
                        self.along.rejected.push(id);
                    }
                }
                Verdict::Undecided => {}
            }
        }
        self.last = (u64::MAX, false);
    }

    /// Gives up on containers of which nobody told in time, and asks for those that there was no room for.
    pub fn look_after(&mut self) {
        let now = boot_ns();
        while let Some((id, since)) = self.oldest_undecided().map(|(id, _, since)| (id, since))
            && now.saturating_sub(since) >= PATIENCE
        {
            let Some(cgroup) = self.known.get(&id) else { break };
            let both =
                cgroup.chain.0.iter().map(|container| container.id.clone()).zip(cgroup.instances.clone());
            for container in both.collect::<Vec<_>>() {
                if !self.judged.contains_key(&container) {
                    self.decide(container, false, false);
                }
            }
        }
        if let Some((asker, _)) = &self.asker {
            while let Some(newcomer) = self.unasked.pop_front() {
                if let Err(newcomer) = asker.resolve(newcomer) {
                    self.unasked.push_front(newcomer);
                    break;
                }
            }
        }
    }

    /// The cgroup that is undecided for the longest time.
    pub(super) fn oldest_undecided(&mut self) -> Option<(u64, u64, u64)> {
        while let Some(oldest) = self.undecided.front().copied() {
            if self.known.get(&oldest.0).is_some_and(|cgroup| cgroup.verdict == Verdict::Undecided) {
                return Some(oldest);
            }
            self.undecided.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use capture_format::MetadataKey;

    use super::*;
    use crate::containers::ContainerFilter;
    use crate::containers::Hierarchy;

    fn cgroups() -> Cgroups {
        let hierarchy = Hierarchy {
            name: "v2".into(),
            subsys: None,
            number: 0,
            mount: "/sys/fs/cgroup".into(),
            root: b"/".to_vec(),
            initial_namespace: true,
            hybrid: false,
        };
        Cgroups::none(hierarchy, ContainerFilter::new(vec!["label:app=chosen".parse().unwrap()]))
    }

    fn told(cgroup: u64, id: &str, app: &str) -> ContainerInfo {
        let values = [("container.name", "some"), ("container.label[app]", app)];
        ContainerInfo {
            key: MetadataKey { boot_id: [0; 16], cgroup, birth: 0 },
            id: id.into(),
            values: values.map(|(name, value)| (name.into(), value.into())).into(),
        }
    }

    fn verdict(cgroups: &Cgroups, id: u64) -> Verdict {
        cgroups.known[&id].verdict
    }

    #[test]
    fn what_is_inside_may_be_seen_before_what_is_around_it() {
        let mut cgroups = cgroups();
        let (outer, inner) = ("a".repeat(64), "b".repeat(64));
        cgroups.insert(2, 0, format!("/docker/{outer}/docker/{inner}").into_bytes());
        cgroups.insert(1, 0, format!("/docker/{outer}").into_bytes());
        assert_eq!((verdict(&cgroups, 1), verdict(&cgroups, 2)), (Verdict::Undecided, Verdict::Undecided));
        cgroups.learn(told(1, &outer, "chosen"));
        assert_eq!((verdict(&cgroups, 1), verdict(&cgroups, 2)), (Verdict::Yes, Verdict::Yes));
        cgroups.learn(told(2, &inner, "other"));
        assert_eq!(verdict(&cgroups, 2), Verdict::Yes, "outer includes inner");
    }

    #[test]
    fn an_id_that_is_given_again_is_judged_again() {
        let mut cgroups = cgroups();
        let path = || b"/default/redis".to_vec();
        cgroups.insert(1, 0, path());
        cgroups.rmdir(1);
        cgroups.insert(2, 0, path());
        // A late word about the first one.
        cgroups.learn(told(1, "redis", "chosen"));
        assert_eq!((verdict(&cgroups, 1), verdict(&cgroups, 2)), (Verdict::Yes, Verdict::Undecided));
        cgroups.learn(told(2, "redis", "other"));
        assert_eq!(verdict(&cgroups, 2), Verdict::No);
    }
}
