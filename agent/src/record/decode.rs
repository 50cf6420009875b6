//! Bytes of the ring buffers to typed records. Our own programs fill the ring buffers, and still every length is
//! checked: a record that is too short is counted as damaged.

pub use agent_ebpf::records::Plain;
use agent_ebpf::records::file::{Named, Socket};
use agent_ebpf::records::uring::TextHead;
use agent_ebpf::records::{Cgroup, Change, Exec, ExecGiven, GIVEN_ARGS, GIVEN_SIZES, Header};
use events::Kind;

/// The bytes of a record, as they lie in a ring buffer.
pub fn bytes_of<T: Plain>(record: &T) -> &[u8] {
    // SAFETY: a Plain type has no padding, so all its bytes are initialised; the slice borrows from it.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast(), size_of::<T>()) }
}

/// Reads a record that has one size; `None` if there are too few bytes.
#[inline]
pub fn record<T: Plain>(bytes: &[u8]) -> Option<T> {
    read(bytes, 0)
}

#[inline]
fn read<T: Plain>(bytes: &[u8], at: usize) -> Option<T> {
    let bytes = bytes.get(at..at + size_of::<T>())?;
    // SAFETY: long enough, any bytes are a value of a Plain type, and no alignment is needed.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// When the record ended, ns of the boot clock; 0 if the record is too short.
#[inline]
pub fn time(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

/// The kind of a record.
#[inline]
pub fn kind(bytes: &[u8]) -> Option<Kind> {
    Kind::from_number(*bytes.get(std::mem::offset_of!(Header, kind))?)
}

/// What a call of `execve` was given.
pub struct GivenRecord<'a> {
    /// Common part.
    pub head: Header,
    /// Path and arguments.
    pub strings: [&'a [u8]; 2],
}

/// Reads what an exec was given.
pub fn given(bytes: &[u8]) -> Option<GivenRecord<'_>> {
    let head: Header = read(bytes, 0)?;
    let size = *GIVEN_SIZES.get(usize::from(head.class))?;
    let args_at = size - GIVEN_ARGS[usize::from(head.class)];
    let len: [u32; 2] = read(bytes, size_of::<Header>())?;
    let strings = bytes.get(std::mem::offset_of!(ExecGiven<0>, bytes)..)?.get(..size)?;
    let (path, args) = strings.split_at(args_at);
    Some(GivenRecord { head, strings: [path.get(..len[0] as usize)?, args.get(..len[1] as usize)?] })
}

/// Reads a string of a request of io_uring: the request's number, which string it is, and its bytes.
pub fn uring_text(bytes: &[u8]) -> Option<(u64, usize, &[u8])> {
    let fixed: TextHead = read(bytes, 0)?;
    let text = bytes.get(size_of::<TextHead>()..)?.get(..fixed.len as usize)?;
    Some((fixed.id, fixed.slot as usize, text))
}

/// Reads the definition of a name, and the name.
pub fn named(bytes: &[u8]) -> Option<(Named, &[u8])> {
    const AT: usize = std::mem::offset_of!(Named, name);
    let mut fixed = [0; size_of::<Named>()];
    fixed.get_mut(..AT)?.copy_from_slice(bytes.get(..AT)?);
    let named: Named = read(&fixed, 0)?;
    // With its NUL.
    let len = (named.name_len as usize).saturating_sub(1);
    Some((named, bytes.get(AT..)?.get(..len)?))
}

/// Reads the definition of a socket. Only one of a unix socket has paths.
pub fn socket(bytes: &[u8]) -> Option<Socket> {
    const AT: usize = std::mem::offset_of!(Socket, path);
    let mut fixed = [0; size_of::<Socket>()];
    let len = bytes.len().min(fixed.len());
    if len < AT {
        return None;
    }
    fixed[..len].copy_from_slice(&bytes[..len]);
    read(&fixed, 0)
}

/// Whether a record is an event: a change of a thread and what an exec was given are none.
pub fn is_event(bytes: &[u8]) -> bool {
    kind(bytes) != Some(Kind::Syscall) && !is_change(bytes)
}

/// Whether a record is a [`Change`], and so no event.
pub fn is_change(bytes: &[u8]) -> bool {
    kind(bytes) == Some(Kind::Fork) && bytes.get(std::mem::offset_of!(Header, class)) == Some(&Change::CLASS)
}

/// An exec record.
pub struct ExecRecord<'a> {
    /// Everything but path and arguments.
    pub fixed: Exec,
    /// The path.
    pub path: &'a [u8],
    /// The arguments.
    pub args: &'a [u8],
}

/// The used part of a record: without the unused room for an exec's arguments.
pub fn used(bytes: &[u8]) -> &[u8] {
    if kind(bytes) != Some(Kind::Exec) {
        return bytes;
    }
    let len = read::<Exec>(bytes, 0).map_or(usize::MAX, |exec| size_of::<Exec>() + exec.args_len as usize);
    bytes.get(..len).unwrap_or(bytes)
}

/// Reads an exec record.
pub fn exec(bytes: &[u8]) -> Option<ExecRecord<'_>> {
    let fixed: Exec = read(bytes, 0)?;
    let path = bytes.get(std::mem::offset_of!(Exec, path)..)?.get(..fixed.path_len as usize)?;
    let args = bytes.get(size_of::<Exec>()..)?.get(..fixed.args_len as usize)?;
    Some(ExecRecord { fixed, path, args })
}

/// A cgroup record.
pub struct CgroupRecord<'a> {
    /// Common part.
    pub head: Header,
    /// The cgroup.
    pub id: u64,
    /// The moved task's process id (attach).
    pub moved_pid: u32,
    /// The moved task's thread id (attach).
    pub moved_tid: u32,
    /// Whether the whole process moved (attach).
    pub threadgroup: bool,
    /// Effective user id of the subject.
    pub uid: u32,
    /// The process id of the subject's parent.
    pub ppid: u32,
    /// The cgroup's path.
    pub path: &'a [u8],
}

/// Reads a cgroup record.
pub fn cgroup(bytes: &[u8]) -> Option<CgroupRecord<'_>> {
    let fixed: Cgroup = read(bytes, 0)?;
    let path = bytes.get(std::mem::offset_of!(Cgroup, path)..)?.get(..fixed.path_len as usize)?;
    Some(CgroupRecord {
        head: fixed.head,
        id: fixed.id,
        moved_pid: fixed.moved_pid,
        moved_tid: fixed.moved_tid,
        threadgroup: fixed.threadgroup != 0,
        uid: fixed.uid,
        ppid: fixed.ppid,
        path,
    })
}
