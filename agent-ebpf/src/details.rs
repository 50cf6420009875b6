//! Ids and credentials of threads and processes: read when a thread is made, executes a program, or has changed.

use agent_ebpf::records::TaskState;
use agent_ebpf::records::details::{ProcessDetails, TaskDetails, ThreadDetails, exe};

use crate::maps::config;
use crate::task::{Task, has, load, probe};

/// Places in `signal_struct.pids` (`enum pid_type`).
mod pid_type {
    pub const TGID: u32 = 1;
    pub const PGID: u32 = 2;
    pub const SID: u32 = 3;
}

/// `OVERLAYFS_SUPER_MAGIC`.
const OVERLAYFS: u64 = 0x794c_7630;
/// `memfd:`, with which the names of such files begin.
const MEMFD: u64 = u64::from_le_bytes(*b"memfd:\0\0");
/// The bytes of that.
const MEMFD_MASK: u64 = (1 << 48) - 1;

/// Where `signal_struct` has one of its pids.
macro_rules! pid_offset {
    ($type:ident) => {
        config!(offsets.signal_pids).wrapping_add(pid_type::$type * size_of::<usize>() as u32)
    };
}

/// What details are from: the kernel's objects for credentials, session, process group and terminal, and the login user. If
/// they are the same, so are the details: the kernel replaces credentials, and does not change them.
#[inline(always)]
fn sources(task: Task) -> [u64; 5] {
    let login = config!(offsets.task_loginuid);
    let signal: *mut u8 = task.pointer(config!(offsets.task_signal));
    [
        task.pointer(config!(offsets.task_cred)) as u64,
        load(signal, pid_offset!(SID)),
        load(signal, pid_offset!(PGID)),
        load(signal, config!(offsets.signal_tty)),
        if has(login) { u64::from(load::<u32>(task.0, login)) } else { 0 },
    ]
}

/// Whether a thread has changed since its details were reported.
#[inline(always)]
pub fn have_changed(task: Task, state: &TaskState) -> bool {
    let [cred, session, group, tty, login] = sources(task);
    let reported = state.reported;
    cred != reported[0]
        || session != reported[1]
        || group != reported[2]
        || tty != reported[3]
        || login != reported[4]
}

/// Notes that what a thread is now is about to be reported. Before the details are read, so that no change after it is missed.
#[inline(always)]
pub fn note_reported(task: Task, state: &mut TaskState) {
    state.reported = sources(task);
}

/// Reads the details of a thread. A function of its own, as several programs need it.
///
/// # Safety
///
/// `to` has room.
#[inline(never)]
pub unsafe fn write(task: Task, to: *mut TaskDetails) -> i32 {
    // SAFETY: by contract.
    unsafe {
        write_thread(task, &raw mut (*to).thread);
        write_process(task, &raw mut (*to).process);
    }
    0
}

#[inline(always)]
unsafe fn write_thread(task: Task, to: *mut ThreadDetails) {
    let cred: *mut u8 = probe(task.0, config!(offsets.task_cred));
    let login = config!(offsets.task_loginuid);
    let own: *mut u8 = probe(task.0, config!(offsets.task_thread_pid));
    let level: u32 = probe(own, config!(offsets.pid_level));
    // SAFETY: by contract.
    unsafe {
        (&raw mut (*to).cap_effective).write(probe(cred, config!(offsets.cred_effective)));
        (&raw mut (*to).cap_permitted).write(probe(cred, config!(offsets.cred_permitted)));
        (&raw mut (*to).cap_inheritable).write(probe(cred, config!(offsets.cred_inheritable)));
        (&raw mut (*to).gid).write(probe(cred, config!(offsets.cred_egid)));
        (&raw mut (*to).loginuid).write(if has(login) { probe(task.0, login) } else { u32::MAX });
        (&raw mut (*to).vtid).write(probe(number(own, level), 0));
        (&raw mut (*to).reserved).write(0);
    }
}

#[inline(always)]
unsafe fn write_process(task: Task, to: *mut ProcessDetails) {
    let signal: *mut u8 = probe(task.0, config!(offsets.task_signal));
    let own: *mut u8 = probe(signal, pid_offset!(TGID));
    let level: u32 = probe(own, config!(offsets.pid_level));
    let group: *mut u8 = probe(signal, pid_offset!(PGID));
    let session: *mut u8 = probe(signal, pid_offset!(SID));
    // SAFETY: by contract.
    unsafe {
        (&raw mut (*to).vpid).write(probe(number(own, level), 0));
        (&raw mut (*to).sid).write(probe(number(session, 0), 0));
        (&raw mut (*to).pgid).write(probe(number(group, 0), 0));
        (&raw mut (*to).vpgid).write(number_in(group, level, namespace(own, level)));
        (&raw mut (*to).tty).write(terminal(probe(signal, config!(offsets.signal_tty))));
        write_exe(task, to);
    }
}

/// The address of a number of a `struct pid`.
#[inline(always)]
fn number(pid: *mut u8, level: u32) -> *mut u8 {
    pid.wrapping_add((config!(offsets.pid_numbers) + level * config!(upid_size)) as usize)
}

/// The namespace that it is of.
#[inline(always)]
fn namespace(pid: *mut u8, level: u32) -> u64 {
    probe(number(pid, level), config!(offsets.upid_ns))
}

/// The number that a `struct pid` has in a namespace, 0 if none.
#[inline(always)]
fn number_in(pid: *mut u8, level: u32, wanted: u64) -> u32 {
    if probe::<u32>(pid, config!(offsets.pid_level)) < level || namespace(pid, level) != wanted {
        return 0;
    }
    probe(number(pid, level), 0)
}

/// A terminal's device as the kernel shows it to programs (`new_encode_dev`).
#[inline(always)]
fn terminal(tty: *mut u8) -> u32 {
    if tty.is_null() {
        return 0;
    }
    let driver: *mut u8 = probe(tty, config!(offsets.tty_driver));
    let major: u32 = probe(driver, config!(offsets.driver_major));
    let first: u32 = probe(driver, config!(offsets.driver_minor));
    let minor = first.wrapping_add(probe(tty, config!(offsets.tty_index)));
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

#[inline(always)]
unsafe fn write_exe(task: Task, to: *mut ProcessDetails) {
    let mm: *mut u8 = probe(task.0, config!(offsets.task_mm));
    let file: *mut u8 = probe(mm, config!(offsets.mm_exe_file));
    let inode: *mut u8 = probe(file, config!(offsets.file_inode));
    let mut bits = 0;
    let mut ino = 0u64;
    if !mm.is_null() && !file.is_null() {
        ino = probe(inode, config!(offsets.inode_ino));
        let sb: *mut u8 = probe(inode, config!(offsets.inode_sb));
        if probe::<u64>(sb, config!(offsets.sb_magic)) == OVERLAYFS {
            // `ovl_inode` has its upper dentry behind the inode.
            let upper: *mut u8 = probe(inode, config!(inode_size));
            if !upper.is_null() && probe::<u64>(upper, config!(offsets.dentry_inode)) != 0 {
                bits |= exe::UPPER_LAYER;
            }
        }
        let dentry: *mut u8 = probe(file, config!(offsets.file_dentry));
        let name: *mut u8 = probe(dentry, config!(offsets.dentry_name));
        // A name in a directory can begin like that, too. A file of memfd_create is in none.
        if probe::<u64>(dentry, config!(offsets.dentry_parent)) == dentry as u64
            && probe::<u64>(name, 0) & MEMFD_MASK == MEMFD
        {
            bits |= exe::MEMFD;
        }
    }
    // SAFETY: by contract.
    unsafe {
        (&raw mut (*to).exe_ino).write(ino);
        (&raw mut (*to).exe).write(bits);
    }
}
