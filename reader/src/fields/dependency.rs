//! What the value of a field depends on.

use super::Field;

/// What a field's value depends on, so that a filter looks at each of those only once in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// The segment.
    Segment,
    /// The table.
    Table,
    /// The cgroup.
    Cgroup,
    /// The thread.
    Task,
    /// The syscall's number.
    Call,
    /// The event.
    Row,
}

/// What a field's value depends on.
pub fn dependency(field: &Field) -> Dependency {
    match field {
        Field::Hostname | Field::HostLabel(_) => Dependency::Segment,
        Field::Category | Field::Direction => Dependency::Table,
        Field::ContainerId
        | Field::ContainerFullId
        | Field::ContainerChain
        | Field::ContainerType
        | Field::Metadata(_)
        | Field::PodUid
        | Field::CgroupId
        | Field::CgroupPath => Dependency::Cgroup,
        Field::ProcName
        | Field::ProcPid
        | Field::ProcPpid
        | Field::ProcParentName
        | Field::ProcExe
        | Field::ProcExePath
        | Field::ProcArgs
        | Field::ProcCmdline
        | Field::ThreadTid
        | Field::ThreadName
        | Field::UserUid
        | Field::UserName => Dependency::Task,
        Field::Type | Field::Call | Field::Abi => Dependency::Call,
        Field::Number
        | Field::Start
        | Field::RawTime
        | Field::RelativeTime
        | Field::Latency
        | Field::Cpu
        | Field::Args
        | Field::ArgNamed(_)
        | Field::ArgAt(_)
        | Field::Result
        | Field::RawResult
        | Field::Failed
        | Field::Mark(_)
        | Field::FdNum
        | Field::FdName
        | Field::Column(..)
        | Field::Part(..) => Dependency::Row,
    }
}
