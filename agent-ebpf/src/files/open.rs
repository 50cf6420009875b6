//! Open files whose ids are known: a file that is the same as when its id was made has that id.
//!
//! Everything that the id of a name is made from is compared, but for the number of times that the inode's number was used
//! before: a file that has the name, the number and all else of one before it is described in the same words.

use agent_ebpf::records::cpu::{FILES_OPEN, FILES_OPEN_BITS};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;

use super::epoch;
use super::id::{Name, id_of_socket};
use crate::cast::untrusted;
use crate::cpu_ring::ThisCpu;
use crate::maps::member;
use crate::task::load;

/// What an open file was when its id was made. It is compared with pointers, which the verifier allows, but not to make one
/// number of them.
#[repr(C)]
struct Open {
    file: u64,
    /// See [`epoch`].
    epoch: u64,
    id: u64,
    /// How it works, if the id depends on it, else 0.
    ops: u64,
    inode: u64,
    ino: u64,
    /// The `struct sock`, 0 if it is no socket.
    sk: u64,
    mnt: u64,
    dentry: u64,
    parent: u64,
    /// The lower half: that of the name itself.
    hash: u32,
    exists: u32,
    /// A power of two.
    reserved: [u64; 5],
}

/// Those that each CPU remembers, each at a place that follows from its address.
#[btf_map]
static OPEN_FILES: Array<Open, 128> = Array::new();

/// The open file behind a descriptor of the current thread, 0 if there is none, and whether the thread alone has its
/// descriptors. Of kernels with casts alone.
#[inline(always)]
pub fn open_file_and_owner(cpu: ThisCpu, fd: u32) -> (u64, bool) {
    let task = untrusted!(cpu.task() as *mut u8, TASK) as u64;
    let files = member!(task, task_files, "u64");
    let own = member!(files, files_count, "u32") == 1;
    let table = member!(files, files_fdt, "u64");
    if u64::from(fd) >= member!(table, fdt_max, "u32") {
        return (0, own);
    }
    let place = member!(table, fdt_fd, "u64").wrapping_add(u64::from(fd) * 8);
    (load(untrusted!(place as *mut u8, WORDS), 0), own)
}

#[inline(always)]
fn place(cpu: ThisCpu, open: u64) -> Option<*mut Open> {
    // Files are in slabs, where each begins at a multiple of its size.
    let at = (open >> 6 ^ open >> 13) as u32 & (FILES_OPEN - 1);
    OPEN_FILES.get_ptr_mut((cpu.number() << FILES_OPEN_BITS) as u32 | at)
}

/// The id of an open file, 0 if it is not known. Of kernels with casts alone.
#[inline(always)]
pub fn known(cpu: ThisCpu, open: u64) -> u64 {
    let Some(known) = place(cpu, open) else { return 0 };
    macro_rules! is {
        ($field:ident: $value:expr) => {{
            let value = $value;
            // SAFETY: a live value of the map.
            unsafe { (&raw const (*known).$field).read_volatile() == value }
        }};
    }
    if !is!(file: open) || !is!(epoch: epoch(cpu)) {
        return 0;
    }
    let file = untrusted!(open as *mut u8, FILE) as u64;
    let inode = member!(file, file_inode, "u64");
    if !is!(inode: inode) {
        return 0;
    }
    let ino = member!(inode, inode_ino, "u64");
    if !is!(ino: ino) {
        return 0;
    }
    // SAFETY: a live value of the map.
    let (id, sk) =
        unsafe { ((&raw const (*known).id).read_volatile(), (&raw const (*known).sk).read_volatile()) };
    if sk != 0 {
        let socket = untrusted!(member!(file, file_private, "u64") as *mut u8, SOCKET) as u64;
        if !is!(sk: member!(socket, socket_sk, "u64")) || !is!(id: id_of_socket(sk, ino)) {
            return 0;
        }
        return id;
    }
    if !is!(mnt: member!(file, file_mnt, "u64")) {
        return 0;
    }
    if !is!(ops: 0) && !is!(ops: member!(file, file_op, "u64")) {
        return 0;
    }
    let dentry = member!(file, file_dentry, "u64");
    if !is!(dentry: dentry)
        || !is!(parent: member!(dentry, dentry_parent, "u64"))
        || !is!(hash: member!(dentry, dentry_hash, "u32") as u32)
        || !is!(exists: u32::from(member!(dentry, dentry_pprev, "u64") != 0))
    {
        return 0;
    }
    id
}

/// Remembers the id of an open file with this name.
#[inline(always)]
pub fn remember_name(cpu: ThisCpu, open: u64, name: Name, id: u64) {
    let Some(known) = place(cpu, open) else { return };
    // SAFETY: a live value of the map, which only this CPU writes to.
    unsafe {
        (&raw mut (*known).file).write_volatile(open);
        (&raw mut (*known).epoch).write_volatile(epoch(cpu));
        (&raw mut (*known).id).write_volatile(id);
        (&raw mut (*known).ops).write_volatile(name.own_ops());
        (&raw mut (*known).inode).write_volatile(name.inode);
        (&raw mut (*known).ino).write_volatile(name.ino);
        (&raw mut (*known).sk).write_volatile(0);
        (&raw mut (*known).mnt).write_volatile(name.mnt);
        (&raw mut (*known).dentry).write_volatile(name.dentry);
        (&raw mut (*known).parent).write_volatile(name.parent);
        (&raw mut (*known).hash).write_volatile(name.hash as u32);
        (&raw mut (*known).exists).write_volatile(u32::from(name.exists));
    }
}

/// Remembers the id of a socket.
#[inline(always)]
pub fn remember_socket(cpu: ThisCpu, open: u64, inode: u64, ino: u64, sk: u64, id: u64) {
    let Some(known) = place(cpu, open) else { return };
    // SAFETY: as above.
    unsafe {
        (&raw mut (*known).file).write_volatile(open);
        (&raw mut (*known).epoch).write_volatile(epoch(cpu));
        (&raw mut (*known).id).write_volatile(id);
        (&raw mut (*known).inode).write_volatile(inode);
        (&raw mut (*known).ino).write_volatile(ino);
        (&raw mut (*known).sk).write_volatile(sk);
    }
}
