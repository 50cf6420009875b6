//! TCP sockets. Most changes of state happen in an interrupt, on whatever was running: whose socket it is
//! follows from those that a process makes itself, and is kept by the socket's address until its end. A connection that
//! is made for a listener belongs to whoever listens, until someone accepts it. `sockets.rs` finds the users of sockets
//! that existed before the capture.

use agent_ebpf::records::net::{self, Net, SockInfo, ending, role, sock_flags, tcp};
use agent_ebpf::records::{Header, task_flags};
use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_get_socket_cookie, bpf_skc_to_tcp_sock};
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use events::Kind;

use crate::cast::untrusted;
use crate::maps::{self, EVENTS, SOCKETS, config};
use crate::preempt_guard::without_preemption;
use crate::storage;
use crate::task::{Task, cgroup_id, has, is_left_out, load, now, probe, probe_cgroup_id};

const IPPROTO_TCP: u16 = 6;
const AF_INET6: u16 = 10;
/// This side sends no more (`SEND_SHUTDOWN`).
const SEND_SHUTDOWN: u8 = 2;

/// Of each CPU: whether the first program is at work there, and how many changes the second one took over from it.
#[btf_map]
static NET_RUNS: PerCpuArray<[u64; net::RUNS], 1> = PerCpuArray::new();

/// Room for a socket's user, for each of the two programs. What was in a map is unknown to the verifier: it walks only once
/// through what follows, however the user was found.
#[btf_map]
static NET_USER: PerCpuArray<SockInfo, 2> = PerCpuArray::new();

/// `sock:inet_sock_set_state` (sk, oldstate, newstate).
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(changed_first(&ctx))
}

#[inline(always)]
fn changed_first(ctx: &BtfTracePointContext) -> i32 {
    let Some(runs) = NET_RUNS.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a live map value of this CPU.
    unsafe { (&raw mut (*runs)[net::ACTIVE]).write_volatile(1) };
    changed(ctx, 0);
    // SAFETY: as above.
    unsafe { (&raw mut (*runs)[net::ACTIVE]).write_volatile(0) };
    0
}

/// The same hook once more. While a process changes a socket a packet may arrive on its CPU and change another, and the
/// kernel does not run a program that it interrupted there: it skips it, but not this one, which does the work then.
/// It has to be attached after the first one, so that a change that was not skipped is over when it looks.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(changed_again(&ctx))
}

#[inline(always)]
fn changed_again(ctx: &BtfTracePointContext) -> i32 {
    let Some(runs) = NET_RUNS.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a live map value of this CPU.
    unsafe {
        if (&raw const (*runs)[net::ACTIVE]).read_volatile() == 0 {
            return 0;
        }
        (*runs)[net::NESTED] += 1;
    }
    changed(ctx, 1)
}

#[inline(always)]
fn changed(ctx: &BtfTracePointContext, program: u32) -> i32 {
    let Some(room) = NET_USER.get_ptr_mut(program) else {
        return 0;
    };
    let time = now();
    let sk: *mut u8 = ctx.arg(0);
    if load::<u16>(sk, config!(offsets.sk_protocol)) != IPPROTO_TCP {
        return 0;
    }
    let old = ctx.arg::<u64>(1) as u32;
    let new = ctx.arg::<u64>(2) as u32;
    let key = sk as u64;
    if old == tcp::LISTEN && new == tcp::SYN_RECV {
        // No socket has changed its state: a new one is being copied from the listener, and has neither its
        // addresses nor its number yet. The change that follows at once is the connection's first.
        let mut info = inherited(sk);
        info.birth = time;
        info.role = role::SERVER;
        keep(key, &info);
        return 0;
    }
    let mut info = SockInfo::default();
    let mut kept: *mut SockInfo = core::ptr::null_mut();
    let begins = new == tcp::SYN_SENT || new == tcp::LISTEN;
    if begins {
        info.birth = time;
        info.role = if new == tcp::LISTEN { role::LISTENER } else { role::CLIENT };
    } else if let Some(known) = SOCKETS.get_ptr_mut(key) {
        // SAFETY: a live value of the map.
        info = unsafe { *known };
        kept = known;
    }
    pass_through(&mut info, room);
    if info.role == role::UNKNOWN {
        // It existed before the capture; some state changes identify the owner all the same.
        info.role = match old {
            tcp::LISTEN => role::LISTENER,
            tcp::SYN_SENT => role::CLIENT,
            tcp::SYN_RECV => role::SERVER,
            _ => role::UNKNOWN,
        };
    }
    let by_process = is_made_by_process(sk, old, new);
    if by_process {
        own(&mut info, Task::current(), None);
    } else if info.flags & sock_flags::OWNED == 0 {
        info.cgroup = cgroup_of(sk);
        info.uid = load(sk, config!(offsets.sk_uid));
    }
    pass_through(&mut info, room);
    if new == tcp::CLOSE {
        // It may be gone already.
        let _ = SOCKETS.remove(key);
    } else if by_process {
        if kept.is_null() {
            keep(key, &info);
        } else {
            // Cheaper than to insert it again.
            // SAFETY: a live value of the map; the socket is locked, so that nothing else changes its state.
            unsafe { kept.write(info) };
        }
    }
    if is_recorded(&info) {
        emit(sk, &info, old, new, time);
    }
    0
}

/// Writes a socket's user to a map and reads it again, see [`NET_USER`].
#[inline(always)]
fn pass_through(info: &mut SockInfo, room: *mut SockInfo) {
    let (info, room) = (core::ptr::from_mut(info).cast::<u64>(), room.cast::<u64>());
    for i in 0..size_of::<SockInfo>() / 8 {
        // SAFETY: both are a whole, aligned `SockInfo`.
        unsafe {
            room.add(i).write_volatile(info.add(i).read());
            info.add(i).write(room.add(i).read_volatile());
        }
    }
}

/// Whether the events of a socket with this user are recorded.
#[inline(always)]
pub fn is_recorded(info: &SockInfo) -> bool {
    info.flags & sock_flags::EXCLUDED == 0
        && (config!(tree_pid) == 0 || info.flags & sock_flags::TREE != 0)
        && (config!(filter_cgroups) == 0 || maps::allowed(info.cgroup))
}

/// What a connection has from its listener at the moment at which the kernel copies it: the listener's user.
///
/// The copy's list of segments in flight is still that of the listener byte for byte, which is empty and so points to
/// itself: to the listener. Only an address that is known as that of a listener is believed.
#[inline(always)]
fn inherited(sk: *mut u8) -> SockInfo {
    let list = config!(offsets.tcp_sent_queue);
    let listener = probe::<u64>(sk, list).wrapping_sub(u64::from(list));
    if let Some(known) = SOCKETS.get_ptr(listener) {
        // SAFETY: a live value of the map.
        let mut info = unsafe { *known };
        if info.role == role::LISTENER && info.flags & sock_flags::OWNED != 0 {
            info.flags |= sock_flags::INHERITED;
            return info;
        }
    }
    SockInfo { cgroup: cgroup_of(sk), ..SockInfo::default() }
}

#[inline(always)]
fn keep(key: u64, info: &SockInfo) {
    // A socket that is not kept is one that nothing is known of.
    let _ = SOCKETS.insert(key, *info, u64::from(BPF_ANY));
}

/// Whether the process that causes this change is the current one: nothing but its calls makes these changes.
#[inline(always)]
fn is_made_by_process(sk: *mut u8, old: u32, new: u32) -> bool {
    match new {
        tcp::SYN_SENT | tcp::LISTEN | tcp::FIN_WAIT1 | tcp::LAST_ACK => true,
        // From an open connection straight to the end: closed with unread data or without lingering, or
        // reset by the other side. The former has shut its own side down first.
        tcp::CLOSE => {
            old == tcp::LISTEN
                || (old == tcp::ESTABLISHED || old == tcp::CLOSE_WAIT)
                    && has(config!(offsets.sk_shutdown))
                    && load::<u8>(sk, config!(offsets.sk_shutdown)) & SEND_SHUTDOWN != 0
        }
        _ => false,
    }
}

/// Notes a socket's user.
#[inline(always)]
pub fn own(info: &mut SockInfo, task: Task, cgroup: Option<u64>) {
    // A kernel thread may close for a process that has passed it on.
    if info.flags & sock_flags::OWNED != 0 && task.is_kthread() {
        return;
    }
    info.pid = task.pid();
    info.tid = task.tid();
    info.uid = task.uid();
    info.cgroup = match cgroup {
        Some(cgroup) => cgroup,
        None => task.cgroup(),
    };
    info.flags = sock_flags::OWNED;
    if is_left_out(info.pid) {
        info.flags |= sock_flags::EXCLUDED;
    }
    if config!(tree_pid) != 0 || config!(readers) != 0 {
        // SAFETY: the current task.
        let state = unsafe { storage::state(task.0, false) };
        if !state.is_null() {
            // SAFETY: not null.
            let bits = unsafe { (*state).flags };
            if bits & task_flags::TREE != 0 {
                info.flags |= sock_flags::TREE;
            }
            if bits & task_flags::EXCLUDED != 0 {
                info.flags |= sock_flags::EXCLUDED;
            }
        }
    }
}

/// The current task has got a connection: `fd` is what its accept returned.
#[inline(always)]
pub fn accepted(task: Task, fd: i64, cgroup: u64) {
    let files: *mut u8 = load(task.0, config!(offsets.task_files));
    let table: *mut u8 = probe(files, config!(offsets.files_fdt));
    let array: *mut u8 = probe(table, config!(offsets.fdt_fd));
    let file: *mut u8 = probe(array.wrapping_add(fd as usize * size_of::<usize>()), 0);
    let socket: *mut u8 = probe(file, config!(offsets.file_private));
    let sk: u64 = probe(socket, config!(offsets.socket_sk));
    // Only an address that is known as that of a TCP socket without a user of its own is believed: another thread may
    // have closed the file meanwhile.
    if let Some(known) = SOCKETS.get_ptr_mut(sk) {
        // SAFETY: a live value of the map; a change of state at this moment has no user to note.
        let info = unsafe { &mut *known };
        if lacks_user(info) {
            own(info, task, Some(cgroup));
        }
    }
}

/// Whether a socket's user is unknown, or only that of its listener.
#[inline(always)]
pub fn lacks_user(info: &SockInfo) -> bool {
    info.flags & (sock_flags::OWNED | sock_flags::INHERITED) != sock_flags::OWNED
}

/// The cgroup that a socket was made in, 0 if it is not of the chosen hierarchy.
#[inline(always)]
fn cgroup_of(sk: *mut u8) -> u64 {
    if config!(hierarchy) != 0 {
        return 0;
    }
    if has(config!(offsets.sk_cgroup)) {
        let cgroup: *mut u8 = load(untrusted!(sk, SOCK), config!(offsets.sk_cgroup));
        return if cgroup.is_null() { 0 } else { cgroup_id(cgroup) };
    }
    if has(config!(offsets.sk_cgroup_val)) {
        let value: u64 = load(sk, config!(offsets.sk_cgroup_val));
        // Bit 0: numbers of net_cls and net_prio.
        if value != 0 && value & 1 == 0 {
            return probe_cgroup_id(value as *mut u8);
        }
    }
    0
}

#[inline(always)]
fn emit(sk: *mut u8, info: &SockInfo, old: u32, new: u32, time: u64) {
    let Some(slot) = maps::reserve::<Net>(&EVENTS, Kind::Net as u8, info.cgroup) else {
        return;
    };
    // SAFETY: the socket is an argument of the hook.
    let full: *mut u8 = unsafe { bpf_skc_to_tcp_sock(sk.cast()) }.cast();
    fill(slot.as_ptr(), Socket { sk, full }, info, Change { old, new, time });
    slot.submit();
}

/// A TCP socket.
#[derive(Clone, Copy)]
pub struct Socket {
    /// As a `struct sock`.
    pub sk: *mut u8,
    /// As a `struct tcp_sock`; null if it is none.
    pub full: *mut u8,
}

/// What is reported of it.
#[derive(Clone, Copy)]
pub struct Change {
    /// The state before, or the present one.
    pub old: u32,
    /// The state after, or [`tcp::OPEN`].
    pub new: u32,
    /// When, ns of CLOCK_BOOTTIME.
    pub time: u64,
}

/// Writes a record.
#[inline(always)]
pub fn fill(record: *mut Net, socket: Socket, info: &SockInfo, change: Change) {
    let Socket { sk, full } = socket;
    let Change { old, new, time } = change;
    let mut counters = Counters::default();
    let mut local_port: u16 = load(sk, config!(offsets.sk_num));
    let (mut unacked, mut error, mut ending) = (0, 0, 0);
    if !full.is_null() {
        if local_port == 0 {
            // Given up already, but still written down.
            local_port = u16::from_be(load(full, config!(offsets.inet_sport)));
        }
        if (new == tcp::CLOSE || new == tcp::OPEN) && info.role != role::LISTENER {
            counters = Counters::read(sk, full, info, old);
        }
        if new == tcp::CLOSE {
            unacked = unacked_of(full);
            error = load::<u32>(sk, config!(offsets.sk_err)) as u16;
            ending =
                load::<u64>(sk, config!(offsets.sk_flags)) as u16 & (ending::ORPHANED | ending::FIN_RECEIVED);
        }
    }
    let sock = if config!(socket_cookie) != 0 {
        // SAFETY: a socket that the verifier knows.
        unsafe { bpf_get_socket_cookie(sk.cast()) }
    } else {
        // Not the address itself, which would reveal the kernel's layout. Through the record, since no verifier lets a pointer be
        // calculated with.
        // SAFETY: a member of the record.
        let address = unsafe {
            let word = &raw mut (*record).sock;
            word.write_volatile(sk as u64);
            word.read_volatile()
        };
        address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8
    };
    let net: *mut u8 = load(untrusted!(sk, SOCK), config!(offsets.sk_net));
    let family: u16 = load(sk, config!(offsets.sk_family));
    let (mut local, mut remote) = ([0u32; 4], [0u32; 4]);
    if family == AF_INET6 && has(config!(offsets.sk_v6_saddr)) {
        local = words(sk, config!(offsets.sk_v6_saddr));
        remote = words(sk, config!(offsets.sk_v6_daddr));
    } else {
        local[0] = load(sk, config!(offsets.sk_saddr));
        remote[0] = load(sk, config!(offsets.sk_daddr));
    }
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u16;
    let head = Header {
        time,
        cgroup: info.cgroup,
        pid: info.pid,
        tid: info.tid,
        flags: 0,
        cpu,
        kind: Kind::Net as u8,
        class: 0,
    };
    // SAFETY: the caller passes room for this type.
    unsafe {
        record.write(Net {
            head,
            sock,
            birth: info.birth,
            sent: counters.sent,
            received: counters.received,
            local,
            remote,
            netns: if has(config!(offsets.net_inum)) { load(net, config!(offsets.net_inum)) } else { 0 },
            uid: info.uid,
            retrans: counters.retrans,
            scope: load(sk, config!(offsets.sk_bound)),
            family,
            local_port,
            remote_port: u16::from_be(load(sk, config!(offsets.sk_dport))),
            old: old as u8,
            new: new as u8,
            role: info.role,
            counted: counters.counted,
            unacked,
            error,
            ending,
        });
    }
}

/// Sequence numbers that were written and not acknowledged.
#[inline(always)]
fn unacked_of(full: *mut u8) -> u32 {
    load::<u32>(full, config!(offsets.tcp_write_seq))
        .wrapping_sub(load::<u32>(full, config!(offsets.tcp_snd_una)))
}

#[inline(always)]
fn words(base: *mut u8, offset: u32) -> [u32; 4] {
    [load(base, offset), load(base, offset + 4), load(base, offset + 8), load(base, offset + 12)]
}

#[derive(Default)]
struct Counters {
    sent: u64,
    received: u64,
    retrans: u32,
    counted: u32,
}

impl Counters {
    /// The kernel counts sequence numbers, of which SYN and FIN take one each.
    #[inline(always)]
    fn read(sk: *mut u8, full: *mut u8, info: &SockInfo, old: u32) -> Self {
        let mut sent: u64 = load(full, config!(offsets.tcp_bytes_acked));
        let mut received: u64 = load(full, config!(offsets.tcp_bytes_received));
        let fin_sent = matches!(old, tcp::FIN_WAIT1 | tcp::FIN_WAIT2 | tcp::CLOSING | tcp::LAST_ACK);
        if fin_sent && unacked_of(full) == 0 && sent > 0 {
            sent -= 1;
        }
        if info.role == role::CLIENT {
            sent = sent.saturating_sub(1);
        } else if info.role == role::UNKNOWN
            && has(config!(offsets.tcp_bytes_sent))
            && has(config!(offsets.tcp_bytes_retrans))
        {
            // It may have been a client: more cannot have been acknowledged than was sent and is not in flight.
            let in_flight = load::<u32>(full, config!(offsets.tcp_snd_nxt))
                .wrapping_sub(load::<u32>(full, config!(offsets.tcp_snd_una)));
            let most = load::<u64>(full, config!(offsets.tcp_bytes_sent))
                .wrapping_sub(load::<u64>(full, config!(offsets.tcp_bytes_retrans)))
                .wrapping_sub(u64::from(in_flight));
            if sent == most.wrapping_add(1) {
                sent = most;
            }
        }
        if load::<u64>(sk, config!(offsets.sk_flags)) & u64::from(ending::FIN_RECEIVED) != 0 && received > 0 {
            received -= 1;
        }
        Self { sent, received, retrans: load(full, config!(offsets.tcp_total_retrans)), counted: 1 }
    }
}
