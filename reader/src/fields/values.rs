//! The value of a field in an event. Filters compare it, JSON and CSV print it.

use capture_format::ColumnView;
use events::flags;
use events::{Kind, NO_CALL, Ty, UNKNOWN, UNKNOWN_SIGNED, task_state};

use crate::containers;
use crate::fields::args;
use crate::model::metadata::NAME;
use crate::model::{CallEvent, CallString, ChunkView, Context, Event, Rows, calls, short_id};
use crate::names;
use crate::syscalls::sockaddr;
use crate::text::number;

use super::dependency::{Dependency, dependency};
use super::value::Value;
use super::{Field, Part};

/// The name of the thread that runs when nobody else does.
pub const IDLE: &[u8] = b"idle";

/// The name of a container's or a process's field for what is not in a container.
const HOST: &[u8] = b"host";

fn text(bytes: &[u8]) -> Value<'_> {
    if bytes.is_empty() { Value::Missing } else { Value::Bytes(bytes) }
}

fn known(id: u64) -> Value<'static> {
    if id == 0 { Value::Missing } else { Value::Int(i128::from(id)) }
}

/// The value of a field of the segment or the table.
pub fn table_value<'a>(view: &ChunkView<'a>, rows: &Rows<'a>, field: &Field) -> Value<'a> {
    let header = &view.binding.header;
    match field {
        Field::Hostname => text(header.host.as_bytes()),
        Field::HostLabel(key) => header
            .labels
            .iter()
            .find(|(name, _)| name == key)
            .map_or(Value::Missing, |(_, value)| Value::Bytes(value.as_bytes())),
        Field::Direction => Value::Bytes(b"<"),
        Field::Category => Value::Bytes(rows.event.name.as_bytes()),
        _ => Value::Missing,
    }
}

/// The value of a field of a cgroup.
pub fn cgroup_value<'a>(
    context: &Context<'a>,
    view: &ChunkView<'a>,
    cgroup: Option<u32>,
    field: &Field,
) -> Value<'a> {
    let Some(cgroup) = cgroup.map(|row| view.cgroup(row)).filter(|c| c.is_known()) else {
        return Value::Missing;
    };
    let or_host = |bytes: &'a [u8]| Value::Bytes(if cgroup.container.is_empty() { HOST } else { bytes });
    match field {
        Field::ContainerId => or_host(short_id(cgroup.container)),
        Field::ContainerFullId => or_host(cgroup.container),
        Field::ContainerType => or_host(cgroup.runtime),
        Field::ContainerChain => text(cgroup.chain),
        Field::PodUid => text(cgroup.pod_uid),
        Field::CgroupId => Value::Int(i128::from(cgroup.id)),
        Field::CgroupPath => text(cgroup.path),
        Field::Metadata(key) => {
            if cgroup.container.is_empty() {
                return if key == NAME { Value::Bytes(HOST) } else { Value::Missing };
            }
            let identity = capture_format::MetadataKey {
                boot_id: view.binding.header.boot_id,
                cgroup: cgroup.id,
                birth: cgroup.birth,
            };
            match context.names.get(&identity, cgroup.container, key) {
                Some(value) => Value::Bytes(value.as_bytes()),
                // LXC, nspawn and `ctr` know a container by its name alone.
                None if key == NAME && !containers::is_name(cgroup.container) => Value::Missing,
                None if key == NAME => Value::Bytes(cgroup.container),
                None => Value::Missing,
            }
        }
        _ => Value::Missing,
    }
}

/// The value of a field of a thread or its process.
pub fn task_value<'a, 'c: 'a>(
    view: &ChunkView<'c>,
    task: u32,
    field: &Field,
    scratch: &'a mut Vec<u8>,
) -> Value<'a> {
    let row = view.task(task);
    let process = row.process.map(|p| view.process(p)).unwrap_or_default();
    match field {
        Field::ThreadTid => known(row.tid),
        Field::ThreadName => text(row.name),
        Field::UserUid if row.tid == 0 => Value::Missing,
        Field::UserUid => Value::Int(i128::from(row.uid)),
        Field::UserName => text(row.user),
        Field::ProcName => text(process.name),
        Field::ProcPid => known(process.pid),
        Field::ProcPpid => known(process.ppid),
        Field::ProcParentName => text(process.pname),
        Field::ProcExePath => text(process.exe),
        Field::ProcExe => text(process.args.split(|b| *b == 0).next().unwrap_or_default()),
        Field::ProcArgs | Field::ProcCmdline => {
            scratch.clear();
            if *field == Field::ProcCmdline {
                scratch.extend_from_slice(process.name);
            }
            for arg in arguments(process.args).skip(1) {
                if !scratch.is_empty() {
                    scratch.push(b' ');
                }
                scratch.extend_from_slice(arg);
            }
            text(scratch)
        }
        _ => Value::Missing,
    }
}

/// The arguments in a string where each is followed by a NUL.
pub fn arguments(args: &[u8]) -> impl Iterator<Item = &[u8]> {
    let args = args.strip_suffix(b"\0").unwrap_or(args);
    args.split(|b| *b == 0)
}

/// The value of any field in an event.
pub fn value<'a>(event: Event<'a>, field: &Field, scratch: &'a mut Vec<u8>) -> Value<'a> {
    match dependency(field) {
        Dependency::Segment | Dependency::Table => return table_value(event.view, event.rows, field),
        Dependency::Cgroup => return cgroup_value(event.context, event.view, event.cgroup(), field),
        Dependency::Task => {
            return match event.task() {
                Some(task) => task_value(event.view, task, field, scratch),
                None => Value::Missing,
            };
        }
        Dependency::Call | Dependency::Row => {}
    }
    match field {
        Field::Number => Value::Int(i128::from(event.number())),
        Field::Start | Field::RawTime => Value::Int(i128::from(event.start())),
        Field::RelativeTime => Value::Int(i128::from(event.start()) - i128::from(event.context.start)),
        Field::Latency => event.duration().map_or(Value::Missing, |ns| Value::Int(i128::from(ns))),
        Field::Cpu => event.cpu().map_or(Value::Missing, |cpu| Value::Int(i128::from(cpu))),
        Field::Mark(bit) => Value::Int(i128::from(event.flags() & bit != 0)),
        Field::Column(kind, own) => column_value(event, *kind, *own, scratch),
        Field::Part(kind, own, part) if event.kind() == Some(*kind) => {
            part_value(event, *own, *part, scratch)
        }
        Field::Type if event.kind() != Some(Kind::Syscall) => Value::Bytes(event.kind_name().as_bytes()),
        _ if event.kind() == Some(Kind::Syscall) => call_value(&event.call(), field, scratch),
        _ => Value::Missing,
    }
}

/// The value of a field that only syscalls have.
fn call_value<'a>(call: &CallEvent<'a>, field: &Field, scratch: &'a mut Vec<u8>) -> Value<'a> {
    let key = call.key();
    scratch.clear();
    match field {
        Field::Type | Field::Call => {
            call.write_name(scratch);
            Value::Bytes(scratch)
        }
        Field::Abi => Value::Bytes(calls::abi_name(key).as_bytes()),
        Field::RawResult => call.result().map_or(Value::Missing, |r| Value::Int(i128::from(r))),
        Field::Failed => match call.result() {
            Some(result) => Value::Int(i128::from((-4095..0).contains(&result))),
            None => Value::Missing,
        },
        Field::Result => match call.result() {
            None => Value::Missing,
            Some(error @ -4095..0) => match names::errno_name(error.unsigned_abs() as u32) {
                Some(name) => Value::Bytes(name.as_bytes()),
                None => {
                    number::signed(error, scratch);
                    Value::Bytes(scratch)
                }
            },
            Some(_) => Value::Bytes(b"SUCCESS"),
        },
        Field::Args => {
            args::write_args(call, scratch);
            Value::Bytes(scratch)
        }
        Field::ArgAt(position) => argument(call, usize::from(*position), scratch),
        Field::ArgNamed(name) => {
            match call.call().and_then(|c| c.signature.args.iter().position(|arg| arg.name == *name)) {
                Some(position) => argument(call, position, scratch),
                None => Value::Missing,
            }
        }
        Field::FdNum => {
            let is_fd = |arg: &crate::syscalls::Arg| arg.ty == crate::syscalls::ArgType::Fd;
            match call.call().and_then(|c| c.signature.args.iter().position(is_fd)) {
                Some(position) => argument(call, position, scratch),
                None => Value::Missing,
            }
        }
        Field::FdName => {
            // A path or an address; other strings (names of attributes, of file systems) are no files.
            let is_file = |arg: &crate::syscalls::Arg| {
                arg.ty == crate::syscalls::ArgType::Path || args::is_address(arg.ty)
            };
            match call.call().and_then(|c| c.signature.args.iter().position(is_file)) {
                Some(position) => argument(call, position, scratch),
                None => Value::Missing,
            }
        }
        _ => Value::Missing,
    }
}

/// One argument of a call.
pub fn argument<'a>(call: &CallEvent<'a>, position: usize, scratch: &'a mut Vec<u8>) -> Value<'a> {
    let values = call.args();
    let Some(known) = call.call() else {
        return values.get(position).map_or(Value::Missing, |v| Value::Int(i128::from(*v)));
    };
    let Some(arg) = known.signature.args.get(position) else { return Value::Missing };
    if let Some(Some(slot)) = known.strings.get(position) {
        let CallString::Read { bytes, .. } = call.string(*slot, position) else {
            return Value::Missing;
        };
        if !args::is_address(arg.ty) {
            return Value::Bytes(bytes);
        }
        scratch.clear();
        sockaddr::format(bytes, scratch);
        return text(scratch);
    }
    match values.get(position) {
        Some(value) if crate::syscalls::kept(arg.ty) && arg.ty.is_signed() => {
            Value::Int(i128::from(*value as i64))
        }
        Some(value) if crate::syscalls::kept(arg.ty) => Value::Int(i128::from(*value)),
        _ => Value::Missing,
    }
}

/// The value of a column that one kind has.
fn column_value<'a>(event: Event<'a>, kind: Kind, own: u16, scratch: &'a mut Vec<u8>) -> Value<'a> {
    if event.kind() != Some(kind) {
        return Value::Missing;
    }
    let Some(column) = event.rows.event.known(own) else { return Value::Missing };
    let ty = event.rows.event.columns.get(usize::from(column)).and_then(|c| c.ty);
    stored_value(event, column, ty, scratch)
}

/// A part of the value of a column, by this version's index.
pub fn part_value<'a>(event: Event<'a>, own: u16, part: Part, scratch: &'a mut Vec<u8>) -> Value<'a> {
    match part {
        Part::Pid | Part::Tid => {
            let Some(task) = event.column_ref(own) else { return Value::Missing };
            if event.is_idle(task) {
                return Value::Int(0);
            }
            let field = if part == Part::Pid { Field::ProcPid } else { Field::ThreadTid };
            task_value(event.view, task, &field, scratch)
        }
        Part::Container => {
            let Some(task) = event.column_ref(own) else { return Value::Missing };
            cgroup_value(event.context, event.view, event.view.cgroup_of(task), &Field::ContainerId)
        }
        Part::Ip | Part::Port => {
            let bytes = event.column_bytes(own).unwrap_or_default();
            let Some(sockaddr::SockAddr::Inet { ip, port, .. }) = sockaddr::SockAddr::parse(bytes) else {
                return Value::Missing;
            };
            if part == Part::Port {
                return Value::Int(i128::from(port));
            }
            scratch.clear();
            scratch.extend_from_slice(ip.to_string().as_bytes());
            Value::Bytes(scratch)
        }
    }
}

/// The value of a column of the file's table, with the meaning `ty` if that is known.
pub fn stored_value<'a>(
    event: Event<'a>,
    column: u16,
    ty: Option<Ty>,
    scratch: &'a mut Vec<u8>,
) -> Value<'a> {
    let Ok(values) = event.rows.table.column(column) else { return Value::Missing };
    let unknown = event.flags();
    scratch.clear();
    match (values, ty) {
        (ColumnView::U64(values), ty) => {
            let Some(value) = values.get(event.row).copied() else { return Value::Missing };
            match ty {
                Some(Ty::MaybeDuration | Ty::MaybeU64 | Ty::Size | Ty::Device) if value == UNKNOWN => {
                    Value::Missing
                }
                Some(Ty::Syscall) if value == u64::from(NO_CALL) => Value::Missing,
                Some(Ty::TaskState) => {
                    let letter = usize::try_from(value).ok().and_then(|at| task_state::LETTERS.get(at));
                    scratch.push(letter.copied().unwrap_or(b'?'));
                    Value::Bytes(scratch)
                }
                Some(Ty::Errno) if value == 0 => Value::Missing,
                Some(Ty::Errno) => match names::errno_name(u32::try_from(value).unwrap_or(0)) {
                    Some(name) => Value::Bytes(name.as_bytes()),
                    None => Value::Int(i128::from(value)),
                },
                Some(Ty::Device) => {
                    number::decimal(value >> 20, scratch);
                    scratch.push(b':');
                    number::decimal(value & 0xf_ffff, scratch);
                    Value::Bytes(scratch)
                }
                Some(Ty::Time) => Value::Int(i128::from(event.view.wall(value))),
                Some(Ty::Duration) if unknown & flags::START_UNKNOWN != 0 => Value::Missing,
                Some(Ty::Syscall) => {
                    event.view.binding.calls.write_name(value, scratch);
                    Value::Bytes(scratch)
                }
                Some(Ty::Signal | Ty::Kind) if value == 0 => Value::Missing,
                Some(Ty::Signal) => {
                    let name = names::signal_name(u32::try_from(value).unwrap_or(u32::MAX));
                    scratch.extend_from_slice(name.as_bytes());
                    Value::Bytes(scratch)
                }
                Some(Ty::Kind) => match event.view.binding.events.iter().find(|t| u64::from(t.id.0) == value)
                {
                    Some(table) => Value::Bytes(table.name.as_bytes()),
                    None => Value::Int(i128::from(value)),
                },
                _ => Value::Int(i128::from(value)),
            }
        }
        (ColumnView::I64(_), Some(Ty::SyscallResult))
            if unknown & (flags::UNFINISHED | flags::NO_RESULT) != 0 =>
        {
            Value::Missing
        }
        (ColumnView::I64(values), ty) => match values.get(event.row) {
            Some(&UNKNOWN_SIGNED) if ty == Some(Ty::MaybeI64) => Value::Missing,
            value => value.map_or(Value::Missing, |v| Value::Int(i128::from(*v))),
        },
        (ColumnView::Bytes(ids), ty) => {
            let Some(id) = ids.get(event.row) else { return Value::Missing };
            let bytes = event.view.chunk.str(*id);
            match ty {
                Some(Ty::SockAddr) => {
                    sockaddr::format(bytes, scratch);
                    return if bytes.is_empty() { Value::Missing } else { text(scratch) };
                }
                Some(Ty::Stack) => {
                    for (i, line) in arguments(bytes).enumerate() {
                        if i > 0 {
                            scratch.push(b';');
                        }
                        scratch.extend_from_slice(line);
                    }
                    return text(scratch);
                }
                Some(Ty::Args) => {}
                _ => return Value::Bytes(bytes),
            }
            for (i, arg) in arguments(bytes).enumerate() {
                if i > 0 {
                    scratch.push(b' ');
                }
                scratch.extend_from_slice(arg);
            }
            Value::Bytes(scratch)
        }
        (ColumnView::Ref(_, refs), Some(Ty::Cgroup)) => {
            let cgroup = refs.get(event.row).map(|r| event.view.cgroup(*r)).filter(|c| c.is_known());
            cgroup.map_or(Value::Missing, |c| text(c.path))
        }
        (ColumnView::Ref(_, refs), Some(Ty::Task)) => match refs.get(event.row) {
            Some(task) if event.is_idle(*task) => Value::Bytes(IDLE),
            task => task.map_or(Value::Missing, |task| text(event.view.task(*task).name)),
        },
        (ColumnView::Ref(_, refs), _) => {
            refs.get(event.row).map_or(Value::Missing, |r| Value::Int(i128::from(*r)))
        }
        (ColumnView::U64List(_) | ColumnView::BytesList(_), _) => Value::Missing,
    }
}
