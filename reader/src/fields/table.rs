//! The table of fields that are not columns of a kind. `ktape fields`, `docs/fields.md`, the keys of JSON output, the default
//! columns of CSV output, and the chunks that a filter can rule out follow from it.

mod process;

use events::flags;

use super::FieldType::{self, Address, Any, Bool, Duration, Number, OneOf, Port, Size, Text, Time, Unsigned};
use super::decl::{Compared, FieldArg, FieldDecl, Getter, Summarized};
use super::fd::FileGetter;
use super::fd::PathRole::{Absolute, First, Only, Second, Source, Target};
use super::value::Value;
use super::{call, cgroup, event, fd, io, marks, sample, words};
use crate::model::attribute_names as names;

const fn field(name: &'static str, ty: FieldType, getter: Getter, doc: &'static str) -> FieldDecl {
    FieldDecl::new(name, ty, getter, doc)
}

/// An attribute that the container's runtime reports under the name of the field.
const fn attribute(name: &'static str, doc: &'static str) -> FieldDecl {
    field(name, Text, Getter::Attribute, doc)
}

/// An attribute that stands for a number, a time or a yes or no.
const fn number_attribute(name: &'static str, ty: FieldType, doc: &'static str) -> FieldDecl {
    field(name, ty, Getter::Attribute, doc).compared(Compared::As(Getter::AttributeNumber))
}

/// A value of a mount of a container.
const fn of_mount(
    name: &'static str,
    get: for<'a> fn(&cgroup::KnownCgroup<'a>, &str) -> Value<'a>,
    doc: &'static str,
) -> FieldDecl {
    field(name, Text, Getter::CgroupByKey(get), doc).arg(FieldArg::Key)
}

/// A field that never has a value, so that conditions of other tools can be read.
const fn unrecorded(name: &'static str, doc: &'static str) -> FieldDecl {
    field(name, Text, Getter::Header(|_| Value::Missing), doc).unrecorded()
}

/// A field that follows from the files of a syscall.
const fn of_file(name: &'static str, ty: FieldType, get: FileGetter, doc: &'static str) -> FieldDecl {
    field(name, ty, Getter::Files(get), doc)
}

/// All rows, in the order in which `ktape fields` lists them.
pub(super) fn all() -> Vec<FieldDecl> {
    [EVENT_FIELDS, process::FIELDS, OTHER_FIELDS].concat()
}

/// The rows of events.
const EVENT_FIELDS: &[FieldDecl] = &[
    field("evt.num", Unsigned, Getter::Event(event::number_of), "the event's number in the capture, from 1")
        .json(10)
        .csv(10),
    field(
        "evt.time",
        Time,
        Getter::Event(event::start),
        "when the event started; compares with RFC 3339, 2026-11-22 12:00, 12:00, 12:00:01, +5s, -10s",
    )
    .json(11)
    .csv(11)
    .summarized(Summarized::Time),
    field(
        "evt.outputtime",
        Time,
        Getter::Event(event::start),
        "the same as evt.time, under sysdig's name for printed times",
    )
    .summarized(Summarized::Time),
    field("evt.rawtime", Number, Getter::Event(event::start), "when the event started, in ns since 1970")
        .json(12)
        .csv(12)
        .summarized(Summarized::Time),
    field(
        "evt.reltime",
        Duration,
        Getter::Event(event::since_start),
        "when the event started, since the start of the capture",
    ),
    field(
        "evt.latency",
        Duration,
        Getter::Duration,
        "duration of the event, in ns; compares with 5ms, 1.5s, 800ns",
    )
    .json(61)
    .csv(26),
    field(
        "evt.dir",
        OneOf(&words::DIRECTIONS),
        Getter::Table(event::direction),
        "always `<`: an event is recorded once, at its end",
    ),
    field(
        "evt.type",
        FieldType::EventType,
        Getter::EventType,
        "the name of the syscall, or of the kind for other events",
    )
    .json(14)
    .csv(22)
    .summarized(Summarized::TypeName),
    field(
        "evt.category",
        FieldType::Kind,
        Getter::Table(event::kind),
        "the kind of event: syscall, fork, exec, loss, ...",
    )
    .json(13)
    .csv(21)
    .summarized(Summarized::KindName),
    field("evt.cpu", Unsigned, Getter::Event(event::cpu), "the CPU on which the event ended").json(15).csv(13),
    field(
        "evt.args",
        Text,
        Getter::Syscall(call::args),
        "all arguments of a syscall, as text output shows them",
    )
    .csv(23)
    .worded(),
    field(
        "evt.info",
        Text,
        Getter::Syscall(call::args),
        "the same as evt.args, under sysdig's name for what is printed",
    )
    .worded(),
    field(
        "evt.arg",
        Any,
        Getter::Argument,
        "one argument of a syscall: evt.arg.filename or evt.arg[1]; flags and enumerations by name (O_CREAT), in JSON as numbers",
    )
    .arg(FieldArg::IndexOrName),
    field(
        "evt.rawarg",
        Any,
        Getter::RawArgument,
        "the same, but flags and enumerations are always numbers: evt.rawarg.flags or evt.rawarg[2]",
    )
    .arg(FieldArg::IndexOrName),
    field(
        "evt.res",
        FieldType::Outcome,
        Getter::Syscall(call::outcome),
        "the result of a syscall: SUCCESS or the name of the error, such as ENOENT; compares with numbers, too: 2 or -2",
    )
    .compared(Compared::As(Getter::Syscall(call::error_number)))
    .json(62)
    .csv(24),
    field(
        "evt.rawres",
        Number,
        Getter::Syscall(call::result),
        "the result of a syscall; errors are negative",
    )
    .json(63)
    .csv(25),
    field("evt.failed", Bool, Getter::Syscall(call::failed), "whether a syscall returned an error").json(64),
    field(
        "evt.is_open_read",
        Bool,
        Getter::Syscall(call::is_open_read),
        "whether a syscall opens a file for reading, also if it fails; missing for openat2, whose flags are not recorded",
    ),
    field(
        "evt.is_open_write",
        Bool,
        Getter::Syscall(call::is_open_write),
        "whether a syscall opens a file for writing, also if it fails; missing for openat2, whose flags are not recorded",
    ),
    field(
        "evt.is_open_create",
        Bool,
        Getter::Flag(flags::CREATED),
        "whether a syscall created the file that it opened",
    ),
    field("evt.is_io", Bool, Getter::Call(io::is_io), "whether a syscall reads or writes by a descriptor"),
    field("evt.is_io_read", Bool, Getter::Call(io::is_read), "whether a syscall reads by a descriptor"),
    field("evt.is_io_write", Bool, Getter::Call(io::is_write), "whether a syscall writes by a descriptor"),
    field(
        "evt.io_dir",
        OneOf(&words::IO_DIRECTIONS),
        Getter::Call(io::io_direction),
        "`r` or `w`; missing for calls that do both, such as sendfile",
    ),
    field(
        "evt.buflen",
        Size,
        Getter::Result(io::counts_bytes),
        "the bytes that a syscall read or wrote; missing if it failed",
    ),
    field(
        "evt.is_wait",
        Bool,
        Getter::Call(io::is_wait),
        "whether the purpose of a syscall is to wait: nanosleep, poll, futex, wait4, ...",
    ),
    field(
        "evt.wait_latency",
        Duration,
        Getter::Syscall(io::wait_latency),
        "the duration of such a syscall",
    ),
    field("evt.count", Unsigned, Getter::Event(io::count), "always 1, to be summed"),
    field("evt.count.error", Unsigned, Getter::Event(io::error_count), "1 for a syscall that failed, 0 otherwise"),
    field("evt.hostname", Text, Getter::Header(event::hostname), "the host that recorded the event").json(16),
    field(
        "evt.unfinished",
        Bool,
        Getter::Flag(flags::UNFINISHED),
        "whether the event had not ended: a call that had not returned, a request in flight, a hang that lasted",
    ),
    field(
        "evt.start_unknown",
        Bool,
        Getter::Flag(flags::START_UNKNOWN),
        "whether the start of the event is unknown: it was before the recording, or an I/O limit held the request",
    ),
    field("evt.killed", Bool, Getter::Flag(flags::KILLED), "whether the thread was killed inside the call"),
    field("evt.at_end", Bool, Getter::Flag(flags::AT_END), "whether the capture ended before the event did"),
    field(
        "evt.seccomp",
        Bool,
        Getter::Flag(flags::SECCOMP),
        "whether seccomp denied or answered the call before it began",
    ),
    field(
        "evt.late",
        Bool,
        Getter::Flag(flags::LATE),
        "whether the event was written after later ones; readers put it in order",
    ),
    field(
        "evt.args_uncertain",
        Bool,
        Getter::Flag(flags::STRINGS_UNCERTAIN),
        "whether the kernel may have used other paths or addresses: these were read when the call returned, or another thread changes them; in text they end with ~",
    ),
    field(
        "evt.clamped",
        Bool,
        Getter::Flag(flags::CLAMPED),
        "whether the clock stepped back during the call, so that its duration is given as 0",
    ),
    field(
        "evt.cut",
        Bool,
        Getter::Event(marks::is_cut),
        "whether some text of the event is cut: longer than what is recorded",
    ),
    field("evt.unread", Bool, Getter::Event(marks::is_unread), "whether some text of the event could not be read"),
    field(
        "evt.incomplete",
        Text,
        Getter::EventText(marks::joined_names),
        "the names of the fields whose text is cut or could not be read; in JSON an array",
    )
    .list(marks::names),
    field(
        "syscall.type",
        FieldType::Call,
        Getter::OwnCall(call::name),
        "the name of the syscall; other events have none",
    )
    .summarized(Summarized::CallName),
    field("syscall.abi", OneOf(&words::ABIS), Getter::OwnCall(call::abi), "native, i386 or x32").json(60),
];

/// The rows of containers, hosts, files and samples.
const OTHER_FIELDS: &[FieldDecl] = &[
    field(
        "container.id",
        Text,
        Getter::Cgroup(cgroup::container_id),
        "the first 12 characters of the innermost container's id, or `host`; `=` takes any unambiguous prefix of the id",
    )
    .json(40)
    .csv(14)
    .summarized(Summarized::Chain(cgroup::id_in_chain))
    .prefix_of(names::FULL_ID),
    field(
        names::FULL_ID,
        Text,
        Getter::Cgroup(cgroup::container_full_id),
        "the id of the innermost container, or `host`",
    )
    .json(41)
    .summarized(Summarized::Chain(cgroup::full_id_in_chain)),
    field(
        "container.chain",
        Text,
        Getter::Cgroup(cgroup::container_chain),
        "the ids of all enclosing containers, outermost first, joined by `>`",
    )
    .summarized(Summarized::Chain(cgroup::whole_chain)),
    field(
        "container.type",
        OneOf(&words::CONTAINER_TYPES),
        Getter::Cgroup(cgroup::container_type),
        "the runtime of the innermost container, or `host`",
    )
    .json(43),
    field(
        names::NAME,
        Text,
        Getter::Cgroup(cgroup::container_name),
        "the name that the runtime gave the container, or `host`",
    )
    .json(42)
    .csv(15),
    attribute(names::IMAGE, "the image of the container").json(44),
    field(
        "container.image.repository",
        Text,
        Getter::Cgroup(cgroup::image_repository),
        "the image's name without tag and digest: docker.io/library/nginx",
    ),
    field("container.image.tag", Text, Getter::Cgroup(cgroup::image_tag), "the tag in the image's name"),
    field("container.image.digest", Text, Getter::Cgroup(cgroup::image_digest), "the digest in the image's name"),
    attribute(names::LABEL, "a label of the container: container.label[KEY]").arg(FieldArg::Key),
    attribute(names::ANNOTATION, "an annotation of the container: container.annotation[KEY]")
        .arg(FieldArg::Key),
    attribute(names::IMAGE_ID, "the id or digest of the container's image"),
    number_attribute(names::CREATED, Time, "when the runtime created the container, RFC 3339"),
    number_attribute(names::PID, Unsigned, "the process id of the container's first process"),
    number_attribute(names::EXIT_CODE, Number, "the exit status of the container"),
    number_attribute(names::MEMORY_LIMIT, Size, "the memory limit of the container, in bytes"),
    number_attribute(
        names::CPU_LIMIT,
        Unsigned,
        "the CPU limit of the container, in thousandths of a CPU",
    ),
    number_attribute(names::CPU_SHARES, Unsigned, "the CPU weight of the container"),
    number_attribute(names::PIDS_LIMIT, Unsigned, "the process limit of the container"),
    number_attribute(names::PRIVILEGED, Bool, "whether the container is privileged; missing if its runtime does not report it: containers of ctr and nerdctl, LXC, nspawn"),
    attribute(names::MOUNTS, "the mounts of the container, joined by commas, each as SOURCE:DEST:MODE:RDWR:PROPAGATION; missing if longer than 4 KiB"),
    of_mount(names::MOUNT, cgroup::whole_mount, "one of these mounts, by its number or source, which can be a glob: container.mount[0], container.mount[/srv/*]; N/A if there is none"),
    of_mount("container.mount.source", cgroup::mount_source, "the source of a mount, by its number or destination"),
    of_mount("container.mount.dest", cgroup::mount_destination, "the destination of a mount, by its number or source"),
    of_mount("container.mount.mode", cgroup::mount_mode, "the mode of a mount, by its number or source"),
    of_mount("container.mount.rdwr", cgroup::mount_is_writable, "whether the container may write to a mount, true or false, by its number or source"),
    of_mount("container.mount.propagation", cgroup::mount_propagation, "the propagation of a mount, by its number or source"),
    number_attribute(
        names::POD_SANDBOX,
        Bool,
        "true for the container that holds the namespaces of its Kubernetes pod",
    ),
    attribute(names::POD_LABEL, "a label of the Kubernetes pod: k8s.pod.label[KEY]").arg(FieldArg::Key),
    field(names::POD_UID, Text, Getter::Cgroup(cgroup::pod_uid), "the uid of the Kubernetes pod").json(45),
    attribute(names::POD_NAME, "the name of the Kubernetes pod").json(46),
    attribute(names::POD_NAMESPACE, "the namespace of the Kubernetes pod").json(47),
    field("cgroup.id", Unsigned, Getter::Cgroup(cgroup::id), "the kernel's id of the event's cgroup")
        .json(48),
    field("cgroup.path", Text, Getter::Cgroup(cgroup::path), "the path of that cgroup").json(49),
    field(
        "host.label",
        Text,
        Getter::HeaderByKey(event::host_label),
        "a label given with `capture --label`: host.label[KEY]",
    )
    .arg(FieldArg::Key),
    field(
        "fd.num",
        Number,
        Getter::Syscall(call::descriptor),
        "the first file descriptor among the arguments of a syscall; without one, the descriptor that it returned",
    )
    .json(65),
    field(
        "fd.name",
        FieldType::File,
        Getter::Files(fd::name),
        "what a syscall works on, by descriptor, path or address: an absolute path, 10.0.0.7:4711->10.0.0.2:80, pipe:[4711]; of several names, as in rename and link, the first is shown and each is compared, so are paths as they were given and both ends of a connection",
    )
    .marked(fd::name_mark)
    .json(66),
    of_file(
        "fd.nameraw",
        Text,
        fd::given_paths,
        "the path of a syscall as it was given; of two, the first is shown and each is compared; missing where a descriptor alone names the file",
    )
    .marked(fd::given_mark),
    of_file(
        "fd.type",
        Text,
        fd::type_name,
        "the type of that file: file (also a device), directory, ipv4, ipv6, unix, netlink, pipe, event, eventpoll, inotify, signalfd, timerfd, memfd, pidfd, io_uring, bpf, or the kernel's name of another one; missing where a path alone names it",
    )
    .json(67),
    of_file("fd.typechar", Text, fd::type_letter, "the type as sysdig's letter: f, d, 4, 6, u, n, p, e, l, i, s, t, m, P, r, b, or o for others"),
    of_file(
        "fd.directory",
        Text,
        fd::directory,
        "the directory of the path in fd.name; that of a directory is the directory itself, if a descriptor stands for it",
    )
    .marked(fd::name_mark),
    of_file("fd.filename", Text, fd::file_name, "the last component of the path in fd.name; missing for directories").marked(fd::name_mark),
    of_file("fd.ino", Unsigned, fd::inode, "the inode number of the file"),
    of_file("fd.dev", Text, fd::device, "the device of the file's file system, MAJOR:MINOR"),
    of_file("fd.deleted", Bool, fd::is_deleted, "whether the file had been deleted"),
    of_file("fd.l4proto", Text, fd::protocol, "the protocol of the socket: tcp, udp, icmp, ..."),
    of_file("fd.sockfamily", OneOf(&words::SOCKET_FAMILIES), fd::family, "the family of the socket: ip or unix"),
    of_file("fd.ip", Address, fd::any_ip, "the IP address of either end of the socket, the local one is shown; compares with networks, too"),
    of_file("fd.lip", Address, fd::local_ip, "the local IP address of the socket"),
    of_file("fd.rip", Address, fd::remote_ip, "the remote IP address of the socket; of a datagram, the address that the call names"),
    of_file("fd.cip", Address, fd::client_ip, "the IP address of the client; only for calls that are proof of who it is: connect, accept and accept4"),
    of_file("fd.sip", Address, fd::server_ip, "the IP address of the server; for the same calls"),
    unrecorded("fd.sip.name", "never has a value: names of hosts are not resolved while recording, and another host would resolve them differently; fd.sip has the address"),
    unrecorded("fd.cip.name", "never has a value, like fd.sip.name; fd.cip has the address"),
    unrecorded("fd.lip.name", "never has a value, like fd.sip.name; fd.lip has the address"),
    unrecorded("fd.rip.name", "never has a value, like fd.sip.name; fd.rip has the address"),
    of_file("fd.port", Port, fd::any_port, "the port of either end of the socket, the local one is shown"),
    of_file("fd.lport", Port, fd::local_port, "the local port of the socket"),
    of_file("fd.rport", Port, fd::remote_port, "the remote port of the socket"),
    of_file("fd.cport", Port, fd::client_port, "the port of the client; only for connect, accept and accept4"),
    of_file("fd.sport", Port, fd::server_port, "the port of the server; for the same calls"),
    of_file("fd.net", Address, fd::any_ip, "the same as fd.ip, under sysdig's name for comparisons with networks: fd.net = 10.0.0.0/8"),
    of_file("fd.lnet", Address, fd::local_ip, "the same as fd.lip"),
    of_file("fd.rnet", Address, fd::remote_ip, "the same as fd.rip"),
    of_file("fd.cnet", Address, fd::client_ip, "the same as fd.cip"),
    of_file("fd.snet", Address, fd::server_ip, "the same as fd.sip"),
    of_file("fd.connected", Bool, fd::is_connected, "whether the socket has a remote address; of connect, whether it had one before"),
    of_file("fd.name_changed", Bool, fd::names_other_peer, "whether the call names another peer than its socket has: a datagram to or from an address, connect"),
    of_file("fd.is_server", Bool, fd::is_server, "whether the process is the server of the connection; only for connect, accept and accept4"),
    of_file("fs.path.name", Text, |call, found| Only.absolute(call, found), "the absolute path of a syscall that was given one path").marked(|event| Only.mark(event)),
    of_file("fs.path.nameraw", Text, |call, found| Only.raw(call, found), "the same, as it was given").marked(|event| Only.raw_mark(event)),
    of_file(
        "fs.path.source",
        Text,
        |call, found| Source.absolute(call, found),
        "the absolute first path of a syscall that was given two, such as rename; of link and symlink, the new name, as with sysdig",
    )
    .marked(|event| Source.mark(event)),
    of_file("fs.path.sourceraw", Text, |call, found| Source.raw(call, found), "the same, as it was given").marked(|event| Source.raw_mark(event)),
    of_file(
        "fs.path.target",
        Text,
        |call, found| Target.absolute(call, found),
        "the other path of such a syscall; of symlink, the text of the link",
    )
    .marked(|event| Target.mark(event)),
    of_file("fs.path.targetraw", Text, |call, found| Target.raw(call, found), "the same, as it was given").marked(|event| Target.raw_mark(event)),
    of_file(
        "evt.abspath",
        Text,
        |call, found| Absolute.absolute(call, found),
        "the absolute path of a syscall that was given one path; of symlink, the new name",
    )
    .marked(|event| Absolute.mark(event)),
    of_file("evt.abspath.src", Text, |call, found| First.absolute(call, found), "the absolute first path of a syscall that was given two").marked(|event| First.mark(event)),
    of_file("evt.abspath.dst", Text, |call, found| Second.absolute(call, found), "the absolute second path of such a syscall").marked(|event| Second.mark(event)),
    field(
        "uring.file",
        FieldType::File,
        Getter::RequestFiles(fd::name),
        "what the request works on, as fd.name",
    ),
    field(
        "uring.path",
        Text,
        Getter::RequestFiles(fd::given_paths),
        "the path of the request as it was given; of two, the first is shown and each is compared",
    ),
    field(
        "sample.cpu_percent",
        Unsigned,
        Getter::Sample(sample::cpu_percent),
        "CPU time used since the last sample, in percent of one CPU",
    ),
    field(
        "sample.cpu_limit_percent",
        Unsigned,
        Getter::Sample(sample::cpu_limit_percent),
        "CPU time used since the last sample, in percent of the quota",
    ),
    field(
        "sample.mem_percent",
        Unsigned,
        Getter::Sample(sample::mem_percent),
        "memory usage, in percent of the limit",
    ),
    field(
        "sample.pids_percent",
        Unsigned,
        Getter::Sample(sample::pids_percent),
        "tasks counted by the pids controller, in percent of the limit",
    ),
];
