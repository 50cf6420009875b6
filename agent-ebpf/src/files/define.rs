//! Definitions of ids.

use core::ffi::c_void;
use core::mem::offset_of;

use agent_ebpf::records::Header;
use agent_ebpf::records::file::{DEPTH_MAX, NAME, Named, Socket, UNIX_PATH, class, name_flags};
use aya_ebpf::btf_maps::PerCpuArray;
#[cfg(not(feature = "legacy"))]
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use aya_ebpf::macros::btf_map;
use events::Kind;

use super::id::{Name, local_port};
use super::{AF_INET, AF_INET6, AF_UNIX, forget, is_defined, short, word};
use crate::cpu_ring::ThisCpu;
use crate::maps::{self, EVENTS, config};
use crate::task::has;

/// Most directories of a path that are defined where each is a step of its own to the verifier.
#[cfg(not(feature = "legacy"))]
const STEPS_MAX: u32 = 64;
#[cfg(feature = "legacy")]
const STEPS_MAX: u32 = DEPTH_MAX;

/// Room for a definition, and what is left of a walk towards the root.
#[repr(C)]
struct Scratch {
    dentry: u64,
    mnt: u64,
    id: u64,
    time: u64,
    /// How the walk went so far, one of [`walk`].
    state: u64,
    /// Definitions written.
    written: u64,
    named: Named,
    socket: Socket,
}

/// Only programs that have the CPU for themselves use it.
#[btf_map]
static FILE_SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// How a walk went.
mod walk {
    /// All definitions were written.
    pub const COMPLETE: u64 = 0;
    /// None was: there was no room.
    pub const NOTHING: u64 = 1;
    /// Only some were, so that files are defined below a directory that is not.
    pub const INCOMPLETE: u64 = 2;
    /// It has not ended: the path has too many directories.
    pub const UNDER_WAY: u64 = 3;
}

/// Writes the header of a definition. Word by word: otherwise the compiler calls a function to clear it, and what all functions
/// on the way have on the stack is limited.
#[inline(always)]
fn set_header(head: &mut Header, class: u8, time: u64) {
    const _: () = assert!(
        size_of::<Header>() == 32 && offset_of!(Header, kind) == 30 && offset_of!(Header, class) == 31
    );
    let words = core::ptr::from_mut(head).cast::<u64>();
    // SAFETY: four words, which are integers.
    unsafe {
        words.write_volatile(time);
        words.add(1).write_volatile(0);
        words.add(2).write_volatile(0);
        words.add(3).write_volatile(u64::from(Kind::Syscall as u8) << 48 | u64::from(class) << 56);
    }
}

/// Defines a socket. 0 if that is done.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn define_socket(sk: u64, id: u64, ino: u64, time: u64) -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 1 };
    let Some(scratch) = FILE_SCRATCH.get_ptr_mut(0) else { return 1 };
    // SAFETY: a map value that this program has for itself.
    let socket = unsafe { &mut (*scratch).socket };
    let family = short(sk, config!(offsets.sk_family));
    set_header(&mut socket.head, class::SOCKET, time);
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
        socket.local_port = u16::from_be(local_port(sk));
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
    if !is_written {
        forget(cpu, id);
        return 1;
    }
    0
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
pub extern "C" fn define_name(dentry: u64, mnt: u64, id: u64, time: u64) -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 1 };
    let Some(scratch) = FILE_SCRATCH.get_ptr_mut(0) else { return 1 };
    // SAFETY: a map value that this program has for itself.
    unsafe {
        (*scratch).dentry = dentry;
        (*scratch).mnt = mnt;
        (*scratch).id = id;
        (*scratch).time = time;
        (*scratch).state = walk::UNDER_WAY;
        (*scratch).written = 0;
    }
    #[cfg(not(feature = "legacy"))]
    if config!(loops) != 0 {
        let step: extern "C" fn(u32, *mut c_void) -> u64 = next_name;
        let mut nothing = 0u64;
        // SAFETY: the function and its argument; the verifier checks what it does with it.
        unsafe { bpf_loop(DEPTH_MAX, step as *mut c_void, (&raw mut nothing).cast(), 0) };
        // SAFETY: as above.
        return unsafe { ended(cpu, id, (*scratch).state, (*scratch).id) };
    }
    let mut depth = 0;
    while depth < STEPS_MAX && define_one() == 0 {
        depth += 1;
    }
    // SAFETY: as above.
    unsafe { ended(cpu, id, (*scratch).state, (*scratch).id) }
}

/// What follows from how a walk from the name `id` went, which stopped at the directory `at`. 0 if the definition is
/// complete.
#[inline(always)]
fn ended(cpu: ThisCpu, id: u64, state: u64, at: u64) -> i32 {
    if state == walk::COMPLETE {
        return 0;
    }
    if state == walk::NOTHING {
        forget(cpu, id);
    } else if state == walk::UNDER_WAY {
        // It counts as defined and is not: a shorter path defines it.
        forget(cpu, at);
        return 0;
    } else {
        // Everything is defined again on this CPU.
        cpu.set_undefined(cpu.undefined().wrapping_add(1));
    }
    1
}

/// A step of the loop; 1 ends it.
#[cfg(not(feature = "legacy"))]
#[inline(never)]
extern "C" fn next_name(_step: u32, _nothing: *mut c_void) -> u64 {
    define_one() as u64
}

/// Defines the name that the walk has reached, and goes on to the directory above it. 1 if the walk ends.
#[cfg_attr(feature = "legacy", unsafe(no_mangle))]
#[inline(never)]
extern "C" fn define_one() -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 1 };
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
    let parent = if next.0 == 0 { 0 } else { Name::of_directory(next.0, next.1).id() };
    describe(&mut scratch.named, dentry, is_named);
    set_header(&mut scratch.named.head, class::NAMED, scratch.time);
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
        scratch.state = if scratch.written == 0 { walk::NOTHING } else { walk::INCOMPLETE };
        return 1;
    }
    scratch.written += 1;
    if next.0 == 0 || is_defined(cpu, parent) {
        scratch.state = walk::COMPLETE;
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
