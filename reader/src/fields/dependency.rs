//! What the value of a field depends on.

use super::decl::{Field, Getter};

/// What a field's value depends on: a filter gets each distinct value only once in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// The segment's header: [`super::values::table_value`].
    Segment,
    /// The event's table: [`super::values::table_value`].
    Table,
    /// The row of the cgroup dictionary: [`super::values::cgroup_value`].
    Cgroup,
    /// The row of the task dictionary: [`super::values::task_value`].
    Task,
    /// The syscall's number ([`super::values::call_value`]); in other events than syscalls, the table.
    Call,
    /// The call, its files and its paths and addresses ([`crate::model::CallEvent::files_key`]): [`super::values::value`].
    Files,
    /// The event: [`super::values::value`].
    Row,
}

/// What a field's value depends on, which follows from how it is got.
pub fn dependency(field: &Field) -> Dependency {
    match field.getter() {
        Getter::Header(_) | Getter::HeaderByKey(_) => Dependency::Segment,
        Getter::Table(_) => Dependency::Table,
        Getter::Cgroup(_) | Getter::CgroupByKey(_) | Getter::Attribute | Getter::AttributeNumber => {
            Dependency::Cgroup
        }
        Getter::Task(_) | Getter::Process(_) => Dependency::Task,
        Getter::Call(_) | Getter::OwnCall(_) | Getter::EventType => Dependency::Call,
        Getter::Files(_) | Getter::RequestFiles(_) => Dependency::Files,
        Getter::Duration
        | Getter::Event(_)
        | Getter::EventText(_)
        | Getter::Sample(_)
        | Getter::Flag(_)
        | Getter::Syscall(_)
        | Getter::Result(_)
        | Getter::Argument
        | Getter::RawArgument
        | Getter::Column(..)
        | Getter::Stored(..)
        | Getter::SockAddr(..)
        | Getter::Part(..) => Dependency::Row,
    }
}
