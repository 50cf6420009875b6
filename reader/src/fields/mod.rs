//! Every field that a filter can name, and that JSON and CSV print. Kinds and their columns come from
//! the table of kinds; the names of the others follow sysdig where it has them.

pub mod args;
pub mod dependency;
mod lookup;
mod value;
pub mod values;

use std::sync::LazyLock;

use events::flags;
use events::{KINDS, Kind, Ty};

use crate::model::column;

pub use lookup::{FieldError, lookup};
pub use value::Value;

/// What the values of a field are, which decides how a literal is read and what may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A whole number.
    Number,
    /// Nanoseconds; literals may carry a unit.
    Duration,
    /// A point in time.
    Time,
    /// `true` or `false`.
    Bool,
    /// Bytes, mostly text.
    Text,
    /// A number or text, depending on the event.
    Any,
}

impl FieldType {
    /// The name that `ktape fields` prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Duration => "duration",
            Self::Time => "time",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Any => "any",
        }
    }
}

/// What follows a field's name in brackets or after a further dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldArg {
    /// Nothing.
    None,
    /// `[key]`.
    Key,
    /// `[number]` or `.name`.
    IndexOrName,
}

/// A field with its argument: what a filter asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `evt.num`
    Number,
    /// `evt.time`
    Start,
    /// `evt.rawtime`
    RawTime,
    /// `evt.reltime`
    RelativeTime,
    /// `evt.latency`
    Latency,
    /// `evt.dir`
    Direction,
    /// `evt.type`
    Type,
    /// `evt.category`
    Category,
    /// `evt.cpu`
    Cpu,
    /// `evt.args`
    Args,
    /// `evt.arg.NAME`
    ArgNamed(String),
    /// `evt.arg[N]`
    ArgAt(u8),
    /// `evt.res`
    Result,
    /// `evt.rawres`
    RawResult,
    /// `evt.failed`
    Failed,
    /// `evt.hostname`
    Hostname,
    /// A bit of the record's flags.
    Mark(u32),
    /// `syscall.type`
    Call,
    /// `syscall.abi`
    Abi,
    /// `proc.name`
    ProcName,
    /// `proc.pid`
    ProcPid,
    /// `proc.ppid`
    ProcPpid,
    /// `proc.pname`
    ProcParentName,
    /// `proc.exe`
    ProcExe,
    /// `proc.exepath`
    ProcExePath,
    /// `proc.args`
    ProcArgs,
    /// `proc.cmdline`
    ProcCmdline,
    /// `thread.tid`
    ThreadTid,
    /// `thread.name`
    ThreadName,
    /// `user.uid`
    UserUid,
    /// `user.name`
    UserName,
    /// `container.id`
    ContainerId,
    /// `container.full_id`
    ContainerFullId,
    /// `container.chain`
    ContainerChain,
    /// `container.type`
    ContainerType,
    /// A value that metadata gives a container: its name in metadata.
    Metadata(String),
    /// `k8s.pod.uid`
    PodUid,
    /// `cgroup.id`
    CgroupId,
    /// `cgroup.path`
    CgroupPath,
    /// `host.label[K]`
    HostLabel(String),
    /// `fd.num`
    FdNum,
    /// `fd.name`
    FdName,
    /// A column of a kind.
    Column(Kind, u16),
    /// A part of a column of a kind.
    Part(Kind, u16, Part),
}

/// What a value that names something consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The process id of a thread.
    Pid,
    /// The thread id of a thread.
    Tid,
    /// The short id of a thread's container, or `host`.
    Container,
    /// The address of a socket address.
    Ip,
    /// The port of a socket address.
    Port,
}

impl Part {
    /// The name that follows the column's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Tid => "tid",
            Self::Container => "container",
            Self::Ip => "ip",
            Self::Port => "port",
        }
    }

    /// The parts of a value of this type.
    pub const fn of(ty: Ty) -> &'static [Self] {
        match ty {
            Ty::Task => &[Self::Pid, Self::Tid, Self::Container],
            Ty::SockAddr => &[Self::Ip, Self::Port],
            _ => &[],
        }
    }

    const fn ty(self) -> FieldType {
        match self {
            Self::Pid | Self::Tid | Self::Port => FieldType::Number,
            Self::Container | Self::Ip => FieldType::Text,
        }
    }

    const fn doc(self) -> &'static str {
        match self {
            Self::Pid => "the process id of that thread",
            Self::Tid => "the thread id of that thread",
            Self::Container => "the container of that thread, as container.id",
            Self::Ip => "the IP address alone",
            Self::Port => "the port alone",
        }
    }
}

/// A row of the registry.
#[derive(Clone, Debug)]
pub struct FieldDecl {
    /// The name, without its argument.
    pub name: String,
    /// What may follow the name.
    pub arg: FieldArg,
    /// The type of its values.
    pub ty: FieldType,
    /// What it holds.
    pub doc: String,
    /// The field, with an empty argument if it takes one.
    pub field: Field,
}

/// The registry, in the order in which `ktape fields` prints it.
pub fn registry() -> &'static [FieldDecl] {
    static REGISTRY: LazyLock<Vec<FieldDecl>> = LazyLock::new(|| {
        let mut all = general();
        all.extend(of_kinds());
        all
    });
    &REGISTRY
}

/// The names of the marks that a record's flags carry.
pub const MARKS: [(u32, &str, &str); 7] = [
    (
        flags::UNFINISHED,
        "evt.unfinished",
        "it has not ended: a call that has not returned, a request in flight",
    ),
    (flags::START_UNKNOWN, "evt.start_unknown", "it began before the capture could see it"),
    (flags::KILLED, "evt.killed", "the thread was killed inside the call"),
    (flags::AT_END, "evt.at_end", "the capture ended before it did"),
    (flags::SECCOMP, "evt.seccomp", "the call was denied or answered by seccomp before it began"),
    (flags::LATE, "evt.late", "written after later events; the reader puts it in its place"),
    (flags::CLAMPED, "evt.clamped", "the clock stepped back during the call; its duration is given as 0"),
];

fn general() -> Vec<FieldDecl> {
    use FieldType::{Any, Bool, Duration, Number, Text, Time};
    let mut all = Vec::new();
    let mut add = |name: &str, ty: FieldType, field: Field, doc: &str| {
        let arg = match field {
            Field::ArgAt(_) => FieldArg::IndexOrName,
            Field::HostLabel(_) => FieldArg::Key,
            Field::Metadata(ref key) if key.is_empty() => FieldArg::Key,
            _ => FieldArg::None,
        };
        all.push(FieldDecl { name: name.to_owned(), arg, ty, doc: doc.to_owned(), field });
    };
    add("evt.num", Number, Field::Number, "the event's number in the capture, from 1");
    add("evt.time", Time, Field::Start, "when it started; compares with RFC 3339, 12:00:01, +5s, -10s");
    add("evt.rawtime", Number, Field::RawTime, "when it started, in ns since 1970");
    add("evt.reltime", Duration, Field::RelativeTime, "when it started, from the start of the capture");
    add("evt.latency", Duration, Field::Latency, "how long it took, in ns; compares with 5ms, 1.5s");
    add("evt.dir", Text, Field::Direction, "always `<`: an event is recorded once, at its end");
    add("evt.type", Text, Field::Type, "the name of the syscall, or of the kind for other events");
    add("evt.category", Text, Field::Category, "the kind of event: syscall, fork, exec, loss, ...");
    add("evt.cpu", Number, Field::Cpu, "the CPU it ended on");
    add("evt.args", Text, Field::Args, "all arguments of a syscall, as text output shows them");
    add("evt.arg", Any, Field::ArgAt(0), "one argument of a syscall: evt.arg.filename or evt.arg[1]");
    add("evt.res", Text, Field::Result, "SUCCESS or the name of the error, such as ENOENT");
    add("evt.rawres", Number, Field::RawResult, "the result of a syscall; errors are negative");
    add("evt.failed", Bool, Field::Failed, "whether a syscall returned an error");
    add("evt.hostname", Text, Field::Hostname, "the host that recorded it");
    for (bit, name, doc) in MARKS {
        add(name, Bool, Field::Mark(bit), doc);
    }
    add("syscall.type", Text, Field::Call, "the name of the syscall; other events have none");
    add("syscall.abi", Text, Field::Abi, "native, i386 or x32");
    add("proc.name", Text, Field::ProcName, "the name of the process (its main thread)");
    add("proc.pid", Number, Field::ProcPid, "the process id in the initial namespace");
    add("proc.ppid", Number, Field::ProcPpid, "the parent's process id");
    add("proc.pname", Text, Field::ProcParentName, "the parent's name");
    add("proc.exe", Text, Field::ProcExe, "the first argument of the process, as it was given");
    add("proc.exepath", Text, Field::ProcExePath, "the path of the executable");
    add("proc.args", Text, Field::ProcArgs, "the arguments after the first, joined by spaces");
    add("proc.cmdline", Text, Field::ProcCmdline, "the name and the arguments after the first");
    add("thread.tid", Number, Field::ThreadTid, "the thread id in the initial namespace");
    add("thread.name", Text, Field::ThreadName, "the name of the thread");
    add("user.uid", Number, Field::UserUid, "the effective user id in the initial namespace");
    add("user.name", Text, Field::UserName, "the user's name on the recording host");
    add(
        "container.id",
        Text,
        Field::ContainerId,
        "the first 12 characters of the innermost container's id, or `host`; `=` takes any unambiguous prefix of the id",
    );
    add("container.full_id", Text, Field::ContainerFullId, "the id of the innermost container, or `host`");
    add(
        "container.chain",
        Text,
        Field::ContainerChain,
        "the ids of all containers around it, outermost first, joined by `>`",
    );
    add("container.type", Text, Field::ContainerType, "the runtime of the innermost container, or `host`");
    add(
        "container.name",
        Text,
        Field::Metadata("container.name".into()),
        "the name that the runtime gave the container, or `host`",
    );
    add("container.image", Text, Field::Metadata("container.image".into()), "the image of the container");
    add(
        "container.label",
        Text,
        Field::Metadata(String::new()),
        "a label of the container: container.label[KEY]",
    );
    add(
        "container.annotation",
        Text,
        Field::Metadata(String::new()),
        "an annotation of the container: container.annotation[KEY]",
    );
    let told = |name: &str| Field::Metadata(name.to_owned());
    use crate::model::attribute_names as names;
    for (name, doc) in [
        (names::IMAGE_ID, "the id or digest of the container's image"),
        (names::CREATED, "when the runtime made the container, RFC 3339"),
        (names::PID, "the process id of the container's first process"),
        (names::EXIT_CODE, "the status that the container ended with"),
        (names::MEMORY_LIMIT, "the memory that the runtime allows the container, bytes"),
        (names::CPU_LIMIT, "the CPU time that the runtime allows the container, thousandths of a CPU"),
        (names::CPU_SHARES, "the container's weight of CPU time"),
        (names::PIDS_LIMIT, "the processes that the runtime allows the container"),
        (names::POD_SANDBOX, "true for the container that holds the namespaces of its Kubernetes pod"),
    ] {
        add(name, Text, told(name), doc);
    }
    add(
        names::POD_LABEL,
        Text,
        Field::Metadata(String::new()),
        "a label of the Kubernetes pod: k8s.pod.label[KEY]",
    );
    add("k8s.pod.uid", Text, Field::PodUid, "the uid of the Kubernetes pod");
    add("k8s.pod.name", Text, Field::Metadata("k8s.pod.name".into()), "the name of the Kubernetes pod");
    add("k8s.ns.name", Text, Field::Metadata("k8s.ns.name".into()), "the namespace of the Kubernetes pod");
    add("cgroup.id", Number, Field::CgroupId, "the kernel's id of the cgroup it happened in");
    add("cgroup.path", Text, Field::CgroupPath, "the path of that cgroup");
    add(
        "host.label",
        Text,
        Field::HostLabel(String::new()),
        "a label given with capture --label: host.label[KEY]",
    );
    add("fd.num", Number, Field::FdNum, "the first file descriptor among the arguments of a syscall");
    add("fd.name", Text, Field::FdName, "the path or socket address among the arguments of a syscall");
    all
}

fn of_kinds() -> impl Iterator<Item = FieldDecl> {
    KINDS.iter().flat_map(|kind| {
        let decl = kind.decl();
        let shown = decl.columns.iter().filter(|c| !matches!(c.ty, Ty::SyscallArgs | Ty::SyscallStrings));
        shown.flat_map(move |c| {
            let own = column(*kind, c.name);
            let whole = FieldDecl {
                name: format!("{}.{}", decl.name, c.name),
                arg: FieldArg::None,
                ty: type_of(c.ty),
                doc: c.doc.to_owned(),
                field: Field::Column(*kind, own),
            };
            let parts = Part::of(c.ty).iter().map(move |part| FieldDecl {
                name: format!("{}.{}.{}", decl.name, c.name, part.name()),
                arg: FieldArg::None,
                ty: part.ty(),
                doc: part.doc().to_owned(),
                field: Field::Part(*kind, own, *part),
            });
            std::iter::once(whole).chain(parts)
        })
    })
}

fn type_of(ty: Ty) -> FieldType {
    match ty {
        Ty::Duration | Ty::MaybeDuration => FieldType::Duration,
        Ty::Time => FieldType::Time,
        Ty::Bool => FieldType::Bool,
        Ty::Cpu
        | Ty::Flags
        | Ty::Pid
        | Ty::Uid
        | Ty::U64
        | Ty::I64
        | Ty::MaybeU64
        | Ty::MaybeI64
        | Ty::Size
        | Ty::SyscallResult => FieldType::Number,
        Ty::Syscall
        | Ty::SyscallArgs
        | Ty::SyscallStrings
        | Ty::Signal
        | Ty::Kind
        | Ty::Path
        | Ty::Args
        | Ty::Text
        | Ty::Task
        | Ty::Cgroup
        | Ty::TaskState
        | Ty::Errno
        | Ty::Device
        | Ty::SockAddr
        | Ty::Stack => FieldType::Text,
    }
}

#[cfg(test)]
mod tests;
