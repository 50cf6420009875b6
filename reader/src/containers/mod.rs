//! Identifies containers by the paths of their cgroups.

mod shapes;

use std::fmt;

pub use shapes::identify;

/// The runtime of a container, as far as the cgroup path identifies it.
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
    /// A container of a Kubernetes pod whose path does not identify the runtime.
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
    /// An unknown runtime that names cgroups by container ids.
    Unknown,
}

impl Runtime {
    /// All runtimes.
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

    /// The name as stored in files and shown by `container.type`.
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

    /// The runtime with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name)
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A container.
///
/// The path does not reveal whether it is the sandbox of its pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// The runtime, as far as the path identifies it.
    pub runtime: Runtime,
    /// The full id: 64 hex digits, or the runtime's name of the container. Never contains [`Chain::SEPARATOR`] or control
    /// characters.
    pub id: String,
    /// The uid of the Kubernetes pod, with dashes; for a static pod, 32 hex digits.
    pub pod_uid: Option<String>,
}

/// Replaces the id of a container that is not selected but that a recorded event refers to. Never the id of a container.
pub const OTHER: &str = "?";
/// Length of a short id.
const SHORT: usize = 12;
/// Length of a full id.
const LONG: usize = 64;

impl Container {
    /// The first 12 digits of a hex id; a name in full.
    pub fn short_id(&self) -> &str {
        short_id(&self.id)
    }

    /// Whether `prefix` (1 to 64 characters, or the whole name) identifies this container.
    pub fn matches_prefix(&self, prefix: &str) -> bool {
        matches_prefix(&self.id, prefix)
    }
}

/// The type of a container: the one that its engine reported, or else that of its cgroup's path. Podman's paths are its own, and its
/// socket may stand where Docker's usually is.
pub fn type_of<'a>(of_path: &'a [u8], reported: Option<&'a [u8]>) -> &'a [u8] {
    reported.filter(|_| of_path != Runtime::Podman.name().as_bytes()).unwrap_or(of_path)
}

/// The first 12 digits of a hex id; a name in full.
pub fn short_id(id: &str) -> &str {
    if is_id(id.as_bytes()) { &id[..SHORT] } else { id }
}

/// Whether `prefix` (1 to 64 characters, or the whole name) identifies the container with this id.
pub fn matches_prefix(id: &str, prefix: &str) -> bool {
    id == prefix || ((1..=LONG).contains(&prefix.chars().count()) && id.starts_with(prefix))
}

/// Whether an id is a name rather than 64 hex digits.
pub fn is_name(id: &[u8]) -> bool {
    !is_id(id)
}

/// Whether the bytes are 64 lower-case hex digits.
fn is_id(bytes: &[u8]) -> bool {
    bytes.len() == LONG && bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The containers that a cgroup belongs to, outermost first; empty on the host itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chain(pub Vec<Container>);

impl Chain {
    /// Separates the ids in [`Chain::joined`].
    pub const SEPARATOR: char = '>';

    /// The innermost container.
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

    /// Whether `prefix` identifies any container of the chain, see [`Container::matches_prefix`].
    pub fn matches_prefix(&self, prefix: &str) -> bool {
        self.0.iter().any(|container| container.matches_prefix(prefix))
    }
}
