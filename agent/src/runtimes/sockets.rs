//! The unix sockets of container runtimes.

use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::host_root::HostRoot;
use ktape_reader::containers::Runtime;

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Docker's Engine API.
    Docker,
    /// Podman's API, which includes Docker's.
    Podman,
    /// containerd's API and, in most cases, CRI.
    Containerd,
    /// Only CRI.
    Cri,
}

impl Protocol {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Docker, "docker"),
        (Self::Podman, "podman"),
        (Self::Containerd, "containerd"),
        (Self::Cri, "cri"),
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(protocol, _)| *protocol == self).map_or("", |(_, name)| name)
    }

    /// The runtime whose containers a socket with this protocol reports; `None` if several have the protocol.
    pub fn runtime(self) -> Option<Runtime> {
        match self {
            Self::Docker => Some(Runtime::Docker),
            Self::Podman => Some(Runtime::Podman),
            Self::Containerd => Some(Runtime::Containerd),
            Self::Cri => None,
        }
    }

    /// Whether a runtime with this protocol may have containers whose cgroup path looks like `runtime`.
    pub fn knows(self, runtime: Runtime) -> bool {
        match runtime {
            Runtime::Docker | Runtime::Ecs => self == Self::Docker,
            Runtime::Podman => self == Self::Podman,
            Runtime::Crio => self == Self::Cri,
            Runtime::Containerd => self == Self::Containerd,
            Runtime::Kubernetes => self != Self::Podman,
            Runtime::Unknown => true,
            // These have no API; their ids are names.
            Runtime::Buildkit
            | Runtime::Lxc
            | Runtime::LibvirtLxc
            | Runtime::Nspawn
            | Runtime::Bpm
            | Runtime::Garden => false,
        }
    }
}

/// A runtime's socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Socket {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its path.
    pub path: PathBuf,
}

impl FromStr for Socket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let names = Protocol::ALL.map(|(_, name)| name).join(", ");
            format!(
                "`{text}` is not a runtime socket; expected RUNTIME=SOCKET, where RUNTIME is one of {names}"
            )
        };
        let (name, path) = text.split_once('=').ok_or_else(wrong)?;
        let (protocol, _) = Protocol::ALL.into_iter().find(|(_, known)| *known == name).ok_or_else(wrong)?;
        let path = path.strip_prefix("unix://").unwrap_or(path);
        if path.is_empty() { Err(wrong()) } else { Ok(Self { protocol, path: path.into() }) }
    }
}

/// The sockets to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// No sockets.
    None,
    /// The sockets at the default paths of this host.
    Default(HostRoot),
    /// Only these sockets.
    Given(Vec<Socket>),
}

impl Sockets {
    /// Whether any socket exists now.
    pub fn any_available(&self) -> bool {
        !Found::new(self.clone()).new_ones().is_empty()
    }
}

/// The default paths of system-wide runtimes.
const DEFAULT_PATHS: &[(Protocol, &str)] = &[
    (Protocol::Docker, "/run/docker.sock"),
    (Protocol::Docker, "/var/run/docker.sock"),
    (Protocol::Podman, "/run/podman/podman.sock"),
    (Protocol::Containerd, "/run/containerd/containerd.sock"),
    (Protocol::Containerd, "/run/k3s/containerd/containerd.sock"),
    (Protocol::Containerd, "/run/k0s/containerd.sock"),
    (Protocol::Cri, "/run/crio/crio.sock"),
    (Protocol::Cri, "/run/cri-dockerd.sock"),
];
/// The default paths of rootless runtimes, below `/run/user/UID`.
const ROOTLESS_PATHS: &[(Protocol, &str)] =
    &[(Protocol::Docker, "docker.sock"), (Protocol::Podman, "podman/podman.sock")];

/// The sockets that were found so far.
#[derive(Debug)]
pub struct Found {
    sockets: Sockets,
    known: BTreeSet<PathBuf>,
}

impl Found {
    /// No socket is found yet.
    pub fn new(sockets: Sockets) -> Self {
        Self { sockets, known: BTreeSet::new() }
    }

    /// The sockets that appeared since the last call. Those of `--runtime` are returned at the first call even if they do
    /// not exist yet.
    pub fn new_ones(&mut self) -> Vec<Socket> {
        let candidates = match &self.sockets {
            Sockets::None => return Vec::new(),
            Sockets::Given(sockets) => sockets.clone(),
            Sockets::Default(host) => {
                default_sockets(host).into_iter().filter(|socket| is_socket(&socket.path)).collect()
            }
        };
        let mut new = Vec::new();
        for socket in candidates {
            // A socket with two paths is used once.
            let real = socket.path.canonicalize().unwrap_or_else(|_| socket.path.clone());
            if self.known.insert(real) {
                warn_if_denied(&socket.path);
                new.push(socket);
            }
        }
        new
    }
}

fn default_sockets(host: &HostRoot) -> Vec<Socket> {
    let at = |(protocol, path): &(Protocol, &str)| Socket { protocol: *protocol, path: host.path(path) };
    let mut all: Vec<Socket> = DEFAULT_PATHS.iter().map(at).collect();
    for user in std::fs::read_dir(host.path("/run/user")).into_iter().flatten().flatten() {
        let of_user = ROOTLESS_PATHS.iter();
        all.extend(
            of_user.map(|(protocol, path)| Socket { protocol: *protocol, path: user.path().join(path) }),
        );
    }
    all
}

/// Connecting to a socket needs write access to it.
fn warn_if_denied(path: &Path) {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    if accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS) == Err(rustix::io::Errno::ACCESS) {
        let path = path.display();
        tracing::warn!(
            "permission denied on {path}: container names unavailable; run as root or as a user with write access"
        );
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_parse_from_the_command_line() {
        let socket: Socket = "docker=unix:///run/d.sock".parse().unwrap();
        assert_eq!(socket, Socket { protocol: Protocol::Docker, path: "/run/d.sock".into() });
        assert!("docker".parse::<Socket>().is_err());
        assert!("rkt=/x".parse::<Socket>().unwrap_err().contains("docker, podman, containerd, cri"));
        assert!("cri=".parse::<Socket>().is_err());
    }

    #[test]
    fn given_sockets_may_be_missing_and_are_used_once() {
        let given: Socket = "cri=/nowhere/cri.sock".parse().unwrap();
        let mut found = Found::new(Sockets::Given(vec![given.clone(), given.clone()]));
        assert_eq!(found.new_ones(), [given]);
        assert_eq!(found.new_ones(), []);
    }
}
