//! The socket iterator: every TCP socket that a process holds. It is run when the hooks are attached, to find the users of
//! sockets that existed before, and then from time to time, for the counters of connections that are open.

use core::ffi::c_void;

use agent_ebpf::records::net::{Net, SockInfo, role, tcp};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_seq_write;

use crate::maps::{NET_SCRATCH, SOCKETS, config};
use crate::net::{self, Change, Socket};
use crate::task::{Task, load, now, probe};

const IPPROTO_TCP: u16 = 6;
const SOCK_STREAM: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// `S_IFMT` and `S_IFSOCK`.
const TYPE_MASK: u16 = 0o170_000;
const SOCKET: u16 = 0o140_000;

/// `struct bpf_iter__task_file`: all members are in 8-byte slots.
#[repr(C)]
struct FileContext {
    /// What is the same for all files; its first member is the seq_file.
    meta: *mut *mut c_void,
    /// The task; null after the last one.
    task: *mut u8,
    /// The descriptor.
    fd: u64,
    /// The file, which the iterator keeps open meanwhile.
    file: *mut u8,
}

/// Notes the user of each TCP socket that has none, and writes a `Net` for each connection that is recorded.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub fn socket_iter(ctx: *mut c_void) -> i32 {
    let ctx = ctx.cast::<FileContext>();
    // SAFETY: the context of an `iter/task_file` program.
    let (meta, task, file) = unsafe { ((*ctx).meta, (*ctx).task, (*ctx).file) };
    if task.is_null() || file.is_null() {
        return 0;
    }
    let sk = socket_of(file);
    if sk.is_null() || !is_tcp(sk) {
        return 0;
    }
    let task = Task(task);
    let state = u32::from(load::<u8>(sk, config!(offsets.sk_state)));
    if state == tcp::CLOSE || task.is_kthread() {
        return 0;
    }
    let info = note_user(sk, task, state);
    if state == tcp::LISTEN || !net::is_recorded(&info) {
        return 0;
    }
    let Some(scratch) = NET_SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    let change = Change { old: state, new: tcp::OPEN, time: now() };
    net::fill(scratch, Socket { sk, full: full_of(sk) }, &info, change);
    // SAFETY: the first member of `struct bpf_iter_meta` is the seq_file; a whole map value.
    unsafe { bpf_seq_write((*meta).cast(), scratch.cast(), size_of::<Net>() as u32) };
    0
}

/// The socket behind an open file; null if it is none.
#[inline(always)]
fn socket_of(file: *mut u8) -> *mut u8 {
    if config!(socket_cookie) != 0 {
        // The helper is as old as that of cookies, which takes only sockets that the verifier knows.
        // SAFETY: a file that the verifier knows.
        let socket: *mut u8 = unsafe { aya_ebpf::helpers::generated::bpf_sock_from_file(file.cast()) }.cast();
        if socket.is_null() {
            return socket;
        }
        // SAFETY: the verifier checks type and bounds.
        return unsafe { socket.add(config!(offsets.socket_sk) as usize).cast::<*mut u8>().read_volatile() };
    }
    let inode: *mut u8 = probe(file, config!(offsets.file_inode));
    if probe::<u16>(inode, config!(offsets.inode_mode)) & TYPE_MASK != SOCKET {
        return core::ptr::null_mut();
    }
    let socket: *mut u8 = probe(file, config!(offsets.file_private));
    if socket.is_null() { socket } else { probe(socket, config!(offsets.socket_sk)) }
}

#[inline(always)]
fn is_tcp(sk: *mut u8) -> bool {
    let family: u16 = load(sk, config!(offsets.sk_family));
    (family == AF_INET || family == AF_INET6)
        && load::<u16>(sk, config!(offsets.sk_protocol)) == IPPROTO_TCP
        && load::<u16>(sk, config!(offsets.sk_type)) == SOCK_STREAM
}

/// The socket as a `struct tcp_sock`, which begins with a `struct sock`.
#[inline(always)]
fn full_of(sk: *mut u8) -> *mut u8 {
    #[cfg(not(feature = "legacy"))]
    // SAFETY: a socket that the verifier knows.
    return unsafe { aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock(sk.cast()) }.cast();
    // The legacy programs load through a helper that needs no type.
    #[cfg(feature = "legacy")]
    return sk;
}

/// Notes the task as the user of a socket that has none of its own; what hooks have noted since is newer.
#[inline(always)]
fn note_user(sk: *mut u8, task: Task, state: u32) -> SockInfo {
    let key = sk as u64;
    if let Some(known) = SOCKETS.get_ptr_mut(key) {
        // SAFETY: a live value of the map.
        let mut info = unsafe { *known };
        if net::lacks_user(&info) {
            net::own(&mut info, task, None);
            // SAFETY: as above. A change of state at this moment keeps the user that it knows.
            unsafe { *known = info };
        }
        return info;
    }
    let mut info = SockInfo {
        role: match state {
            tcp::LISTEN => role::LISTENER,
            tcp::SYN_SENT => role::CLIENT,
            _ => role::UNKNOWN,
        },
        ..SockInfo::default()
    };
    net::own(&mut info, task, None);
    // A hook may have been faster.
    let _ = SOCKETS.insert(key, info, u64::from(BPF_NOEXIST));
    info
}
