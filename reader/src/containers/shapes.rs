//! Finds container ids in cgroup paths.
//!
//! Each component of a path is matched alone or with its neighbours (parent, grandparent, child), at any depth. So cgroup
//! v1 and v2, systemd and cgroupfs drivers, custom cgroup parents, systemd inside a container and nested containers need no
//! rules of their own.
//!
//! A component is a container if it is one of these:
//! - 64 hex digits and nothing else. The parent may identify the runtime (`docker`, `pod<uid>`, ...).
//! - `PREFIX-ID`, `PREFIX-ID.scope` and `SLICE:PREFIX:ID` with a runtime's prefix and 64 hex digits. The
//!   cgroups of their monitors (`libpod-conmon-ID`, `crio-conmon-ID`) are not containers.
//! - A name in an unambiguous position: below `lxc`, `lxc.payload`, `libvirt/lxc`, `buildkit`,
//!   `ecs/TASK`; in `lxc.payload.NAME`, `NAME.libvirt-lxc`, `bpm-NAME.scope`; machines of systemd that hold
//!   a `payload`.
//! - A name given to `ctr`: directly below `default`, `k8s.io` or `moby` (containerd's well-known
//!   namespaces) where these are at the root or directly inside a container. Other namespaces cannot
//!   be distinguished from cgroups of the host, so only 64 hex digits count there.
//!
//! Everything else is not a container: services and their sub-cgroups, virtual machines, sessions, pods.

use std::borrow::Cow;

use super::{Chain, Container, OTHER, Runtime, is_id};

#[cfg(test)]
mod tests;

/// Prefixes before a 64-digit id. A prefix that begins with another one comes first.
const PREFIXES: [(&[u8], Runtime); 6] = [
    (b"docker", Runtime::Docker),
    (b"cri-containerd", Runtime::Containerd),
    (b"nerdctl", Runtime::Containerd),
    (b"crio", Runtime::Crio),
    (b"libpod-payload", Runtime::Podman),
    (b"libpod", Runtime::Podman),
];

/// The containers of the cgroup with this path, which starts at the root of the hierarchy.
pub fn identify(path: impl AsRef<[u8]>) -> Chain {
    let path = path.as_ref();
    let mut chain = Vec::new();
    let mut pod_uid = None;
    // Parent and grandparent of the component; empty if they are containers.
    let (mut parent, mut grandparent): (&[u8], &[u8]) = (b"", b"");
    // Whether the parent is the first component of the path or the first one inside a container.
    let mut top = false;
    let mut components = path.split(|&b| b == b'/').filter(|c| !c.is_empty()).peekable();
    let mut at_start = true;

    while let Some(component) = components.next() {
        if let Some(uid) = pod_uid_of(component) {
            pod_uid = Some(uid);
        }
        let context = PathComponent {
            component,
            parent,
            grandparent,
            top,
            at_start,
            next: components.peek().copied(),
            inside: chain.last().map(|container: &Container| container.runtime),
        };
        if let Some((runtime, id)) = context.container() {
            // Cgroups of the same container may be nested (`libpod-ID.scope/libpod-payload-ID`).
            if chain.last().is_none_or(|last| last.id != id) {
                chain.push(Container { runtime, id, pod_uid: pod_uid.take() });
            }
            (parent, grandparent, top, at_start) = (b"", b"", false, true);
        } else {
            (parent, grandparent, top, at_start) = (component, parent, at_start, false);
        }
    }
    Chain(chain)
}

/// A component of a path with its neighbours.
struct PathComponent<'a> {
    component: &'a [u8],
    parent: &'a [u8],
    grandparent: &'a [u8],
    /// Whether the parent is the first component of the path or inside the enclosing container.
    top: bool,
    /// Whether the component itself is the first one.
    at_start: bool,
    next: Option<&'a [u8]>,
    /// The runtime of the enclosing container.
    inside: Option<Runtime>,
}

impl PathComponent<'_> {
    fn container(&self) -> Option<(Runtime, String)> {
        if is_id(self.component) {
            return Some((self.runtime_of_bare_id(), text(self.component)?));
        }
        self.prefixed().or_else(|| self.named()).or_else(|| self.machine()).or_else(|| self.in_namespace())
    }

    fn runtime_of_bare_id(&self) -> Runtime {
        match self.parent {
            b"docker" | b"moby" | b"actions_job" => Runtime::Docker,
            b"libpod_parent" | b"libpod" => Runtime::Podman,
            b"default" | b"k8s.io" => Runtime::Containerd,
            b"buildkit" => Runtime::Buildkit,
            b"lxc" | b"lxc.payload" => Runtime::Lxc,
            _ if self.grandparent == b"ecs" => Runtime::Docker,
            parent if pod_uid_of(parent).is_some() => Runtime::Kubernetes,
            _ => Runtime::Unknown,
        }
    }

    /// `docker-ID.scope`, `crio-ID`, `SLICE:cri-containerd:ID`.
    fn prefixed(&self) -> Option<(Runtime, String)> {
        let base = self.component.strip_suffix(b".scope").unwrap_or(self.component);
        let mut parts = base.split(|&b| b == b':');
        if let (Some(_), Some(prefix), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        {
            let (_, runtime) = PREFIXES.into_iter().find(|(known, _)| *known == prefix)?;
            return with_id(runtime, id);
        }
        PREFIXES.into_iter().find_map(|(prefix, runtime)| {
            let id = base.strip_prefix(prefix)?.strip_prefix(b"-")?;
            with_id(runtime, id)
        })
    }

    /// Names in unambiguous positions.
    fn named(&self) -> Option<(Runtime, String)> {
        let c = self.component;
        if let Some(name) = c.strip_suffix(b".libvirt-lxc") {
            return Some((Runtime::LibvirtLxc, text(&unescape(name))?));
        }
        if let Some(name) = c.strip_prefix(b"lxc.payload.") {
            return Some((Runtime::Lxc, text(name)?));
        }
        if let Some(scope) = c.strip_suffix(b".scope") {
            let bpm = scope.strip_prefix(b"bpm-").or_else(|| scope.strip_prefix(b"runc-bpm-"));
            if let Some(name) = bpm {
                return Some((Runtime::Bpm, text(&unescape(name))?));
            }
        }
        if is_garden(c) {
            return Some((Runtime::Garden, text(c)?));
        }
        if is_unit(c) {
            return None;
        }
        let runtime = match (self.grandparent, self.parent) {
            (b"libvirt", b"lxc") => Runtime::LibvirtLxc,
            (_, b"lxc" | b"lxc.payload") => Runtime::Lxc,
            (_, b"buildkit") => Runtime::Buildkit,
            (b"ecs", _) => Runtime::Ecs,
            _ => return None,
        };
        Some((runtime, text(c)?))
    }

    /// Machines of systemd: containers of nspawn and libvirt. Virtual machines have no payload.
    fn machine(&self) -> Option<(Runtime, String)> {
        let c = self.component;
        if let Some(scope) = c.strip_suffix(b".scope").and_then(|c| c.strip_prefix(b"machine-")) {
            let name = unescape(scope);
            if let Some(numbered) = name.strip_prefix(b"lxc-") {
                let digits = numbered.iter().take_while(|b| b.is_ascii_digit()).count();
                let rest =
                    numbered[digits..].strip_prefix(b"-").filter(|rest| digits > 0 && !rest.is_empty());
                if let Some(rest) = rest {
                    return Some((Runtime::LibvirtLxc, text(rest)?));
                }
            }
            return self.holds_payload().then(|| Some((Runtime::Nspawn, text(&name)?)))?;
        }
        if let Some(name) = c.strip_suffix(b".service").and_then(|c| c.strip_prefix(b"systemd-nspawn@")) {
            return self.holds_payload().then(|| Some((Runtime::Nspawn, text(&unescape(name))?)))?;
        }
        // A container without a name, started in a cgroup namespace or without registration.
        let unnamed = c == b"payload" && self.at_start && self.inside != Some(Runtime::Nspawn);
        unnamed.then(|| (Runtime::Nspawn, "payload".to_owned()))
    }

    /// Whether the next component is the one that nspawn creates for its payload, or (in old versions, which create none)
    /// one that a systemd inside the container creates.
    fn holds_payload(&self) -> bool {
        matches!(self.next, Some(b"payload" | b"init.scope" | b"system.slice" | b"user.slice"))
    }

    /// Names chosen by users of `ctr`.
    fn in_namespace(&self) -> Option<(Runtime, String)> {
        let runtime = match self.parent {
            b"default" | b"k8s.io" => Runtime::Containerd,
            b"moby" => Runtime::Docker,
            _ => return None,
        };
        let c = self.component;
        let well_formed = c.len() <= 76
            && c.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && c.first().is_some_and(u8::is_ascii_alphanumeric)
            && !is_unit(c);
        (self.top && well_formed && pod_uid_of(c).is_none()).then(|| Some((runtime, text(c)?)))?
    }
}

/// Requires an id of 64 digits, except for build steps of Docker's BuildKit, which have 25 letters and digits.
fn with_id(runtime: Runtime, id: &[u8]) -> Option<(Runtime, String)> {
    if is_id(id) {
        return Some((runtime, text(id)?));
    }
    let build_step = runtime == Runtime::Docker
        && id.len() == 25
        && id.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    build_step.then(|| Some((Runtime::Buildkit, text(id)?)))?
}

/// Whether the component is a systemd unit or an LXC monitor.
fn is_unit(c: &[u8]) -> bool {
    [&b".service"[..], b".slice", b".scope", b".socket", b".mount", b".swap"].iter().any(|s| c.ends_with(s))
        || c.starts_with(b"lxc.monitor")
        || c == b"lxc.pivot"
}

/// Whether the component has the form of a Garden handle: 8-4-4-4-4 hex digits.
fn is_garden(c: &[u8]) -> bool {
    c.len() == 28
        && c.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => *b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// The uid in `pod<uid>` or `...-pod<uid>.slice[:...]`, with dashes.
fn pod_uid_of(component: &[u8]) -> Option<String> {
    let unit = component.split(|&b| b == b':').next()?;
    let uid = match unit.strip_suffix(b".slice") {
        Some(slice) => {
            let start = slice.windows(4).rposition(|w| w == b"-pod")?;
            &slice[start + 4..]
        }
        None => unit.strip_prefix(b"pod")?,
    };
    let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let dashed = uid.len() == 36
        && uid.iter().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => matches!(b, b'-' | b'_'),
            _ => hex(b),
        });
    // The uid of a static pod is an MD5 hash.
    let hash = uid.len() == 32 && uid.iter().all(hex);
    (dashed || hash).then(|| text(uid).map(|uid| uid.replace('_', "-")))?
}

/// Resolves systemd's escapes, such as `\x2d`.
fn unescape(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, tail)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|digits| digits.get(..2));
        let byte = hex.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

/// An id as text; `None` for text that no runtime uses as a name.
fn text(id: &[u8]) -> Option<String> {
    let id = std::str::from_utf8(id).ok()?;
    let plain = !id.is_empty() && id != OTHER && !id.chars().any(|c| c.is_control() || c == Chain::SEPARATOR);
    plain.then(|| id.to_owned())
}
