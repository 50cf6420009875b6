//! Which container a cgroup belongs to, and which cgroups there are.

mod shapes;

use std::fmt;

pub use shapes::identify;

/// What made a container, as far as the path of its cgroup tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd: as a Kubernetes runtime, or by `ctr` or `nerdctl`.
    Containerd,
    /// CRI-O.
    Crio,
    /// Podman.
    Podman,
    /// A container of a Kubernetes pod; the path does not tell of which runtime.
    Kubernetes,
    /// A build step of BuildKit.
    Buildkit,
    /// LXC or LXD.
    Lxc,
    /// libvirt's LXC driver.
    LibvirtLxc,
    /// systemd-nspawn.
    Nspawn,
    /// BOSH process manager.
    Bpm,
    /// Cloud Foundry Garden.
    Garden,
    /// A task of Amazon ECS that is not run by Docker.
    Ecs,
    /// Something that names cgroups by container ids.
    Unknown,
}

impl Runtime {
    /// Every runtime.
    pub const ALL: [Self; 13] = [
        Self::Docker,
        Self::Containerd,
        Self::Crio,
        Self::Podman,
        Self::Kubernetes,
        Self::Buildkit,
        Self::Lxc,
        Self::LibvirtLxc,
        Self::Nspawn,
        Self::Bpm,
        Self::Garden,
        Self::Ecs,
        Self::Unknown,
    ];

    /// Its name, as stored and as `container.type` gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Podman => "podman",
            Self::Kubernetes => "kubernetes",
            Self::Buildkit => "buildkit",
            Self::Lxc => "lxc",
            Self::LibvirtLxc => "libvirt-lxc",
            Self::Nspawn => "nspawn",
            Self::Bpm => "bpm",
            Self::Garden => "garden",
            Self::Ecs => "ecs",
            Self::Unknown => "unknown",
        }
    }

    /// The runtime of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name)
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One container.
///
/// Whether it is the sandbox of its pod, the path does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// What made it.
    pub runtime: Runtime,
    /// Its full id: 64 hex digits, or the name that the runtime knows it by. Never contains
    /// [`Chain::SEPARATOR`] or control bytes.
    pub id: String,
    /// The uid of its Kubernetes pod, with dashes; that of a static pod is 32 hex digits.
    pub pod_uid: Option<String>,
}

/// Stands for the id of a container that is not recorded and that an event mentions all the same. No container has it.
pub const OTHER: &str = "?";
/// How many characters of a container id people write.
const SHORT: usize = 12;
/// Length of a full id.
const LONG: usize = 64;

impl Container {
    /// The first 12 digits of a hex id; a name in full.
    pub fn short_id(&self) -> &str {
        short_id(&self.id)
    }

    /// Whether `prefix` (1 to 64 characters, or the whole name) can stand for this container's id.
    pub fn matches_prefix(&self, prefix: &str) -> bool {
        matches_prefix(&self.id, prefix)
    }
}

/// The first 12 digits of a hex id; a name in full.
pub fn short_id(id: &str) -> &str {
    if is_id(id.as_bytes()) { &id[..SHORT] } else { id }
}

/// Whether `prefix` (1 to 64 characters, or the whole name) can stand for the id.
pub fn matches_prefix(id: &str, prefix: &str) -> bool {
    id == prefix || ((1..=LONG).contains(&prefix.chars().count()) && id.starts_with(prefix))
}

/// Whether an id is a name that somebody gave, not hex digits that a runtime made up.
pub fn is_name(id: &[u8]) -> bool {
    !is_id(id)
}

/// Whether these are 64 lower-case hex digits.
fn is_id(bytes: &[u8]) -> bool {
    bytes.len() == LONG && bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The containers that a cgroup belongs to, outermost first; empty on the host itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chain(pub Vec<Container>);

impl Chain {
    /// Stands between the ids of [`Chain::joined`].
    pub const SEPARATOR: char = '>';

    /// The container itself, inside all others.
    pub fn innermost(&self) -> Option<&Container> {
        self.0.last()
    }

    /// Whether the cgroup belongs to no container.
    pub fn is_host(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids, outermost first: `outer>inner`; empty on the host.
    pub fn joined(&self) -> String {
        let mut joined = String::with_capacity(self.0.len() * (LONG + 1));
        for container in &self.0 {
            if !joined.is_empty() {
                joined.push(Self::SEPARATOR);
            }
            joined.push_str(&container.id);
        }
        joined
    }

    /// Whether any element can be meant by `prefix`, see [`Container::matches_prefix`].
    pub fn matches_prefix(&self, prefix: &str) -> bool {
        self.0.iter().any(|container| container.matches_prefix(prefix))
    }
}
