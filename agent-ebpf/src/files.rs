//! What the descriptors and paths of a call stand for.
//!
//! The record of a call has an id for it ([`agent_ebpf::records::file`]): a sum of what its name depends on, each multiplied
//! by a constant. Equal ids mean equal names; another name, other addresses of a socket or a deletion make another id. Each
//! CPU remembers which ids it has defined. Only an id that is not among them is looked at closely.
//!
//! All memory is read as numbers: a pointer with a type can neither be multiplied nor compared with what was read before.
//!
//! Exported functions are global ones to the verifier, which looks at each of them once, not at every call. So they take
//! nothing but numbers.

use core::ffi::c_void;
use core::mem::offset_of;

use agent_ebpf::records::cpu::FILES_TOLD_BITS;
use agent_ebpf::records::file::{NAME, Named, Socket, UNIX_PATH, class, name_flags};
use agent_ebpf::records::{Header, TaskState};
use agent_ebpf::spec::{Spec, file, result};
use aya_ebpf::btf_maps::{Array, PerCpuArray};
#[cfg(not(feature = "legacy"))]
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use aya_ebpf::macros::btf_map;
use events::Kind;

use crate::cast::untrusted;
use crate::cpu_ring::ThisCpu;
use crate::maps::{self, EVENTS, config};
use crate::task::{has, load, probe};

/// `AT_FDCWD`.
const AT_FDCWD: i32 = -100;
/// `F_DUPFD` and `F_DUPFD_CLOEXEC`.
const F_DUPFD: u64 = 0;
const F_DUPFD_CLOEXEC: u64 = 1030;
/// Commands of `bpf` that return a descriptor, one bit each (`enum bpf_cmd`): those that create or load, and those that open by
/// path or number.
const BPF_DESCRIPTORS: u64 = 1 << 0
    | 1 << 5
    | 1 << 7
    | 1 << 13
    | 1 << 14
    | 1 << 17
    | 1 << 18
    | 1 << 19
    | 1 << 28
    | 1 << 30
    | 1 << 32
    | 1 << 33
    | 1 << 36;
/// `S_IFMT` and `S_IFSOCK`.
const TYPE_MASK: u64 = 0o170_000;
const SOCKET: u64 = 0o140_000;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Most directories of a path that are defined.
const DEPTH_MAX: u32 = 64;

/// Odd numbers without a pattern.
const FACTORS: [u64; 8] = [
    0x9e37_79b9_7f4a_7c15,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0xd6e8_feb8_6659_fd93,
    0xff51_afd7_ed55_8ccd,
    0xc4ce_b9fe_1a85_ec53,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
];

/// The ids that each CPU has defined, each at a place that follows from it.
#[btf_map]
static TOLD: Array<u64, 4096> = Array::new();

/// Room for a definition, and what is left of a walk towards the root.
#[repr(C)]
struct Scratch {
    dentry: u64,
    mnt: u64,
    id: u64,
    time: u64,
    /// Whether a definition was lost.
    failed: u64,
    named: Named,
    socket: Socket,
}

/// Only programs that have the CPU for themselves use it.
#[btf_map]
static FILE_SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// Eight bytes at an address of the kernel; zeroes if there is nothing.
#[inline(always)]
fn word(base: u64, offset: u32) -> u64 {
    if config!(casts) != 0 && !cfg!(feature = "legacy") {
        let at = (base as *mut u8).wrapping_add(offset as usize);
        return load(untrusted!(at, WORDS), 0);
    }
    probe(base as *mut u8, offset)
}

/// Two bytes.
#[inline(always)]
fn short(base: u64, offset: u32) -> u16 {
    word(base, offset) as u16
}

/// The open file behind a descriptor of the current thread, 0 if there is none.
#[inline(always)]
fn open_file(cpu: ThisCpu, fd: u32) -> u64 {
    let files = word(cpu.task(), config!(offsets.task_files));
    let table = word(files, config!(offsets.files_fdt));
    if fd >= word(table, config!(offsets.fdt_max)) as u32 {
        return 0;
    }
    let array = word(table, config!(offsets.fdt_fd));
    word(array.wrapping_add(u64::from(fd) * 8), 0)
}

/// Whether the current thread alone has its descriptors.
#[inline(always)]
fn has_own_files(cpu: ThisCpu) -> bool {
    let files = word(cpu.task(), config!(offsets.task_files));
    word(files, config!(offsets.files_count)) as u32 == 1
}

/// The id of a name in a mount. `ops`: how an open file works, which alone distinguishes anonymous files.
#[inline(always)]
fn id_of_name(dentry: u64, mnt: u64, ops: u64) -> u64 {
    let parent = word(dentry, config!(offsets.dentry_parent));
    let hash = word(dentry, config!(offsets.dentry_hash));
    let inode = word(dentry, config!(offsets.dentry_inode));
    let exists = word(dentry, config!(offsets.dentry_pprev)) != 0;
    let ino = word(inode, config!(offsets.inode_ino));
    let generation = word(inode, config!(offsets.inode_generation)) as u32;
    let ops = if parent == dentry { ops } else { 0 };
    dentry
        .wrapping_mul(FACTORS[0])
        .wrapping_add(mnt.wrapping_mul(FACTORS[1]))
        .wrapping_add(parent.wrapping_add(u64::from(exists)).wrapping_mul(FACTORS[2]))
        .wrapping_add(hash.wrapping_mul(FACTORS[3]))
        .wrapping_add(ino.wrapping_mul(FACTORS[4]))
        .wrapping_add((ops ^ u64::from(generation) << 32).wrapping_mul(FACTORS[5]))
}

/// The id of a socket.
#[inline(always)]
fn id_of_socket(sk: u64, ino: u64) -> u64 {
    let family = short(sk, config!(offsets.sk_family));
    let id = sk.wrapping_mul(FACTORS[6]).wrapping_add(ino.wrapping_mul(FACTORS[7]));
    if family == AF_UNIX {
        if !has(config!(offsets.unix_addr)) {
            return id;
        }
        let address = word(sk, config!(offsets.unix_addr));
        let peer = word(sk, config!(offsets.unix_peer));
        return id.wrapping_add(address.wrapping_mul(FACTORS[0])).wrapping_add(peer.wrapping_mul(FACTORS[1]));
    }
    if family != AF_INET && family != AF_INET6 {
        return id;
    }
    let ports = u64::from(short(sk, config!(offsets.sk_dport)))
        | u64::from(short(sk, config!(offsets.sk_num))) << 16
        | u64::from(family) << 32;
    let id = id.wrapping_add(ports.wrapping_mul(FACTORS[2]));
    if family == AF_INET {
        let local = word(sk, config!(offsets.sk_saddr)) as u32;
        let remote = word(sk, config!(offsets.sk_daddr)) as u32;
        return id.wrapping_add((u64::from(local) | u64::from(remote) << 32).wrapping_mul(FACTORS[3]));
    }
    if !has(config!(offsets.sk_v6_saddr)) {
        return id;
    }
    let (local, remote) = (config!(offsets.sk_v6_saddr), config!(offsets.sk_v6_daddr));
    id.wrapping_add(word(sk, local).wrapping_mul(FACTORS[3]))
        .wrapping_add(word(sk, local + 8).wrapping_mul(FACTORS[4]))
        .wrapping_add(word(sk, remote).wrapping_mul(FACTORS[5]))
        .wrapping_add(word(sk, remote + 8).wrapping_mul(FACTORS[0]))
}

/// Where a CPU remembers an id, and what stands there if it does.
#[inline(always)]
fn place(cpu: ThisCpu, id: u64) -> Option<(*mut u64, u64)> {
    let index = (cpu.number() << FILES_TOLD_BITS) as u32 | (id >> (64 - FILES_TOLD_BITS)) as u32;
    let epoch = cpu.renewed().wrapping_add(cpu.undefined() << 32);
    Some((TOLD.get_ptr_mut(index)?, id ^ epoch))
}

/// Whether this CPU has defined an id. If not, it is noted as defined.
#[inline(always)]
fn is_defined(cpu: ThisCpu, id: u64) -> bool {
    let Some((told, expected)) = place(cpu, id) else { return true };
    // SAFETY: a live value of the map, which only this CPU writes to.
    unsafe {
        if told.read_volatile() == expected {
            return true;
        }
        told.write_volatile(expected);
    }
    false
}

/// The id of an open file, which is then defined; 0 if it could not be.
#[inline(always)]
fn of_file(cpu: ThisCpu, open: u64, time: u64) -> u64 {
    let inode = word(open, config!(offsets.file_inode));
    if word(inode, config!(offsets.inode_mode)) & TYPE_MASK == SOCKET {
        let socket = word(open, config!(offsets.file_private));
        let sk = word(socket, config!(offsets.socket_sk));
        let ino = word(inode, config!(offsets.inode_ino));
        let id = id_of_socket(sk, ino);
        if is_defined(cpu, id) || define_socket(sk, id, ino, time) == 0 {
            return id;
        }
        return 0;
    }
    let dentry = word(open, config!(offsets.file_dentry));
    let mnt = word(open, config!(offsets.file_mnt));
    let id = id_of_name(dentry, mnt, word(open, config!(offsets.file_op)));
    if is_defined(cpu, id) || define_name(dentry, mnt, id, time) == 0 { id } else { 0 }
}

/// The id of the current thread's working directory.
#[inline(always)]
fn of_working_directory(cpu: ThisCpu, time: u64) -> u64 {
    let fs = word(cpu.task(), config!(offsets.task_fs));
    let dentry = word(fs, config!(offsets.pwd_dentry));
    let mnt = word(fs, config!(offsets.pwd_mnt));
    let id = id_of_name(dentry, mnt, 0);
    if is_defined(cpu, id) || define_name(dentry, mnt, id, time) == 0 { id } else { 0 }
}

/// What one of [`Spec::files`] stands for, with the value of its argument.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn file_at_entry(how: u32, argument: u64) -> u64 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    let how = how as u8;
    let fd = if how & file::CWD != 0 { AT_FDCWD } else { argument as i32 };
    if fd >= 0 {
        let open = open_file(cpu, fd as u32);
        return if open == 0 { 0 } else { of_file(cpu, open, cpu.now()) };
    }
    if fd == AT_FDCWD && how & (file::BASE | file::CWD) != 0 {
        return of_working_directory(cpu, cpu.now());
    }
    0
}

/// Whether something has to be looked up. `first`: the first byte of each string.
#[inline(always)]
fn is_wanted(how: u8, first: [u8; 2]) -> bool {
    if how & (file::BASE | file::CWD) == 0 {
        return how != 0;
    }
    let byte = if how & file::SECOND != 0 { first[1] } else { first[0] };
    byte != b'/'
}

/// What the descriptors of a call that is entered stand for.
#[inline(always)]
pub fn of_call(spec: &Spec, first: [u8; 2], argument: impl Fn(u8) -> u64) -> [u64; 2] {
    let mut files = [0; 2];
    for (to, how) in files.iter_mut().zip(spec.files) {
        if is_wanted(how, first) {
            *to = file_at_entry(u32::from(how), argument(how & file::ARGUMENT));
        }
    }
    files
}

/// What the descriptors of a call stand for whose entry was not seen, if they cannot have changed since; a path starts from
/// where it would start now.
#[inline(always)]
pub fn of_returned(cpu: ThisCpu, spec: &Spec, call: &TaskState) -> [u64; 2] {
    if !has_own_files(cpu) {
        return [0; 2];
    }
    of_call(spec, [0; 2], |index| crate::syscall::argument(call, index))
}

/// The open files behind the descriptors of a call, if other threads can replace them before the kernel looks them up: then the
/// call may work on others. 0 for those that cannot be replaced.
#[inline(always)]
pub fn replaceable(cpu: ThisCpu, spec: &Spec, files: [u64; 2], argument: impl Fn(u8) -> u64) -> [u64; 2] {
    let mut open = [0; 2];
    if has_own_files(cpu) {
        return open;
    }
    for (slot, to) in open.iter_mut().enumerate() {
        let how = spec.files[slot];
        if files[slot] != 0 && how & file::DESCRIPTOR != 0 && how & file::CLOSED == 0 {
            let fd = argument(how & file::ARGUMENT) as i32;
            if fd >= 0 {
                *to = open_file(cpu, fd as u32);
            }
        }
    }
    open
}

/// The files of a call that returns, without those that another thread may have replaced.
#[inline(always)]
pub fn unchanged(
    cpu: ThisCpu,
    spec: &Spec,
    mut files: [u64; 2],
    open: [u64; 2],
    argument: impl Fn(u8) -> u64,
) -> [u64; 2] {
    for (slot, file) in files.iter_mut().enumerate() {
        let fd = argument(spec.files[slot] & file::ARGUMENT) as u32;
        if open[slot] != 0 && open_file(cpu, fd) != open[slot] {
            *file = 0;
        }
    }
    files
}

/// What a call that returned has made: the file behind its descriptor, or the working directory.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn file_of_result(what: u64, ret: i64, time: u64) -> u64 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    if ret < 0 {
        return 0;
    }
    if what == u64::from(result::CWD) {
        return of_working_directory(cpu, time.wrapping_sub(1));
    }
    let open = open_file(cpu, ret as u32);
    if open == 0 { 0 } else { of_file(cpu, open, time.wrapping_sub(1)) }
}

/// What to look up when a call returns: [`Spec::result`], but of some calls by the command that is their first or second
/// argument.
#[inline(always)]
pub fn result_of(spec: &Spec, [first, second]: [u64; 2]) -> u64 {
    let returns = match spec.result {
        result::FCNTL => second as u32 as u64 == F_DUPFD || second as u32 as u64 == F_DUPFD_CLOEXEC,
        result::BPF => first < 64 && BPF_DESCRIPTORS >> first & 1 != 0,
        other => return u64::from(other),
    };
    u64::from(if returns { result::DESCRIPTOR } else { result::NONE })
}

/// The definition could not be written: everything is defined again on this CPU.
#[inline(always)]
fn undo(cpu: ThisCpu) -> i32 {
    cpu.set_undefined(cpu.undefined().wrapping_add(1));
    1
}

#[inline(always)]
fn header(class: u8, time: u64) -> Header {
    Header { time, kind: Kind::Syscall as u8, class, ..Header::default() }
}

/// Defines a socket. 0 if that is done.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn define_socket(sk: u64, id: u64, ino: u64, time: u64) -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 1 };
    let Some(scratch) = FILE_SCRATCH.get_ptr_mut(0) else { return 1 };
    // SAFETY: a map value that this program has for itself.
    let socket = unsafe { &mut (*scratch).socket };
    let family = short(sk, config!(offsets.sk_family));
    socket.head = header(class::SOCKET, time);
    socket.id = id;
    socket.ino = ino;
    socket.family = family;
    socket.ty = short(sk, config!(offsets.sk_type));
    // A word of bits before 5.6; 16 bits since.
    socket.protocol = short(sk, config!(offsets.sk_protocol));
    socket.local = [0; 2];
    socket.remote = [0; 2];
    (socket.local_port, socket.remote_port) = (0, 0);
    (socket.path_len, socket.peer_len, socket.peer_pid) = (0, 0, 0);
    (socket.reserved, socket.reserved_too) = (0, 0);
    if family == AF_INET || family == AF_INET6 {
        socket.local_port = short(sk, config!(offsets.sk_num));
        socket.remote_port = u16::from_be(short(sk, config!(offsets.sk_dport)));
        if family == AF_INET {
            socket.local[0] = u64::from(word(sk, config!(offsets.sk_saddr)) as u32);
            socket.remote[0] = u64::from(word(sk, config!(offsets.sk_daddr)) as u32);
        } else if has(config!(offsets.sk_v6_saddr)) {
            let (local, remote) = (config!(offsets.sk_v6_saddr), config!(offsets.sk_v6_daddr));
            socket.local = [word(sk, local), word(sk, local + 8)];
            socket.remote = [word(sk, remote), word(sk, remote + 8)];
        }
    } else if family == AF_UNIX && has(config!(offsets.unix_addr)) {
        socket.path_len = unix_address(sk, &raw mut socket.path);
        let peer = word(sk, config!(offsets.unix_peer));
        if peer != 0 {
            socket.peer_len = unix_address(peer, &raw mut socket.peer);
        }
        if has(config!(offsets.sk_peer_pid)) {
            let pid = word(sk, config!(offsets.sk_peer_pid));
            if pid != 0 {
                socket.peer_pid = word(pid, config!(offsets.pid_numbers)) as u32;
            }
        }
    }
    let record = (&raw const *socket).cast::<u8>();
    let is_written = if family == AF_UNIX {
        maps::output(&EVENTS, record, size_of::<Socket>() as u64)
    } else {
        maps::output(&EVENTS, record, offset_of!(Socket, path) as u64)
    };
    if is_written { 0 } else { undo(cpu) }
}

/// Copies the address of a unix socket without its family; returns how many bytes it has.
#[inline(always)]
fn unix_address(sk: u64, to: *mut [u8; UNIX_PATH]) -> u16 {
    let address = word(sk, config!(offsets.unix_addr));
    if address == 0 {
        return 0;
    }
    let len = word(address, config!(offsets.unix_address_len)) as u32;
    let from = address.wrapping_add(u64::from(config!(offsets.unix_address_name)) + 2);
    // Whatever is behind a shorter one is not looked at.
    // SAFETY: the array has the length given; a bad source is an error of the helper.
    unsafe { bpf_probe_read_kernel(to.cast(), UNIX_PATH as u32, from as *const c_void) };
    (len.wrapping_sub(2) & 0x7f) as u16
}

/// Defines a name and the directories above it, as far as they are not defined. 0 if that is done.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn define_name(dentry: u64, mnt: u64, id: u64, time: u64) -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 1 };
    let Some(scratch) = FILE_SCRATCH.get_ptr_mut(0) else { return 1 };
    // SAFETY: a map value that this program has for itself.
    unsafe {
        (*scratch).dentry = dentry;
        (*scratch).mnt = mnt;
        (*scratch).id = id;
        (*scratch).time = time;
        (*scratch).failed = 0;
    }
    #[cfg(not(feature = "legacy"))]
    if config!(loops) != 0 {
        let step: extern "C" fn(u32, *mut c_void) -> u64 = next_name;
        let mut nothing = 0u64;
        // SAFETY: the function and its argument; the verifier checks what it does with it.
        unsafe { bpf_loop(DEPTH_MAX, step as *mut c_void, (&raw mut nothing).cast(), 0) };
        // SAFETY: as above.
        return if unsafe { (*scratch).failed } == 0 { 0 } else { undo(cpu) };
    }
    let mut depth = 0;
    while depth < DEPTH_MAX && define_one(cpu) == 0 {
        depth += 1;
    }
    // SAFETY: as above.
    if unsafe { (*scratch).failed } == 0 { 0 } else { undo(cpu) }
}

/// A step of the loop; 1 ends it.
#[cfg(not(feature = "legacy"))]
#[inline(never)]
extern "C" fn next_name(_step: u32, _nothing: *mut c_void) -> u64 {
    match ThisCpu::get() {
        Some(cpu) => define_one(cpu) as u64,
        None => 1,
    }
}

/// Defines the name that the walk has reached, and goes on to the directory above it. 1 if the walk ends.
#[inline(never)]
fn define_one(cpu: ThisCpu) -> i32 {
    let Some(scratch) = FILE_SCRATCH.get_ptr_mut(0) else { return 1 };
    // SAFETY: a map value that this program has for itself.
    let scratch = unsafe { &mut *scratch };
    let (dentry, mnt) = (scratch.dentry, scratch.mnt);
    let above = word(dentry, config!(offsets.dentry_parent));
    let mut next = (above, mnt);
    let mut flags = 0;
    let mut is_named = true;
    if dentry == word(mnt, config!(offsets.vfsmount_root)) {
        is_named = false;
        let mount = mnt.wrapping_sub(u64::from(config!(offsets.mount_mnt)));
        let outer = word(mount, config!(offsets.mount_parent));
        if outer == mount {
            next = (0, 0);
            // Null, or an error.
            let namespace = word(mount, config!(offsets.mount_ns));
            if (namespace as i64) >= 0 || namespace > u64::MAX - 4095 {
                flags = name_flags::DETACHED;
            }
        } else {
            let covered = word(mount, config!(offsets.mount_point));
            next = (covered, outer.wrapping_add(u64::from(config!(offsets.mount_mnt))));
        }
    } else if above == dentry {
        flags = name_flags::ALONE;
        next = (0, 0);
    }
    if is_named && word(dentry, config!(offsets.dentry_pprev)) == 0 {
        flags |= name_flags::DELETED;
    }
    let parent = if next.0 == 0 { 0 } else { id_of_name(next.0, next.1, 0) };
    describe(&mut scratch.named, dentry, is_named);
    scratch.named.head = header(class::NAMED, scratch.time);
    scratch.named.id = scratch.id;
    scratch.named.parent = parent;
    scratch.named.flags = flags;
    let mut len = u64::from(scratch.named.name_len);
    // SAFETY: a mask that the verifier sees where the length is made; no name is longer.
    unsafe { core::arch::asm!("{len} &= {mask}", len = inout(reg) len, mask = const 2 * NAME - 1) };
    if len > NAME as u64 {
        len = NAME as u64;
    }
    let bytes = offset_of!(Named, name) as u64 + len;
    if !maps::output(&EVENTS, (&raw const scratch.named).cast::<u8>(), bytes) {
        scratch.failed = 1;
        return 1;
    }
    if next.0 == 0 || is_defined(cpu, parent) {
        return 1;
    }
    scratch.dentry = next.0;
    scratch.mnt = next.1;
    scratch.id = parent;
    0
}

/// What is known of a name by itself.
#[inline(always)]
fn describe(named: &mut Named, dentry: u64, is_named: bool) {
    let inode = word(dentry, config!(offsets.dentry_inode));
    let sb = word(inode, config!(offsets.inode_sb));
    named.ino = word(inode, config!(offsets.inode_ino));
    named.magic = word(sb, config!(offsets.sb_magic));
    named.dev = word(sb, config!(offsets.sb_dev)) as u32;
    named.mode = short(inode, config!(offsets.inode_mode));
    named.rdev = word(inode, config!(offsets.inode_rdev)) as u32;
    named.name_len = 0;
    if is_named {
        let from = word(dentry, config!(offsets.dentry_name));
        // SAFETY: the array has the length given; a bad source is an error of the helper.
        let len = unsafe {
            bpf_probe_read_kernel_str((&raw mut named.name).cast(), NAME as u32, from as *const c_void)
        };
        named.name_len = if len > 0 { len as u32 } else { 0 };
    }
}
