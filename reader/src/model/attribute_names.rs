//! Names of the attributes that container runtimes report, which are those of the fields that show them.

/// The full id of the container.
pub const FULL_ID: &str = super::metadata::FULL_ID;
/// Its name.
pub const NAME: &str = super::metadata::NAME;
/// The engine that reported it, by the name that `container.type` has for it. Older captures have none.
pub const TYPE: &str = "container.type";
/// Its image, as the user named it.
pub const IMAGE: &str = "container.image";
/// The image's id or digest.
pub const IMAGE_ID: &str = "container.image.id";
/// When it was created, RFC 3339.
pub const CREATED: &str = "container.created";
/// The process id of its first process, in the host's namespace.
pub const PID: &str = "container.pid";
/// Its exit status.
pub const EXIT_CODE: &str = "container.exit_code";
/// Its memory limit, bytes.
pub const MEMORY_LIMIT: &str = "container.memory.limit";
/// Its CPU limit, in thousandths of a CPU.
pub const CPU_LIMIT: &str = "container.cpu.limit";
/// Its CPU shares (relative weight).
pub const CPU_SHARES: &str = "container.cpu.shares";
/// Its limit on the number of processes.
pub const PIDS_LIMIT: &str = "container.pids.limit";
/// Whether it is privileged: `true` or `false`.
pub const PRIVILEGED: &str = "container.privileged";
/// All of its mounts, each as [`MOUNT`], joined by commas.
pub const MOUNTS: &str = "container.mounts";
/// A mount, `source:destination:mode:writable:propagation`: followed by its number in brackets, from 0.
pub const MOUNT: &str = "container.mount";
/// A label: followed by its key in brackets.
pub const LABEL: &str = "container.label";
/// An annotation: followed by its key in brackets.
pub const ANNOTATION: &str = "container.annotation";
/// The pod's name.
pub const POD_NAME: &str = "k8s.pod.name";
/// The pod's namespace.
pub const POD_NAMESPACE: &str = "k8s.ns.name";
/// The pod's uid.
pub const POD_UID: &str = "k8s.pod.uid";
/// A label of the pod: followed by its key in brackets.
pub const POD_LABEL: &str = "k8s.pod.label";
/// `true` for the sandbox (pause) container, which holds the namespaces of its pod.
pub const POD_SANDBOX: &str = "k8s.pod.sandbox";
