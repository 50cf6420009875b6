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

mod define;
mod id;
#[cfg(not(feature = "legacy"))]
mod open;

use agent_ebpf::records::cpu::FILES_DEFINED_BITS;
use agent_ebpf::spec::{Spec, file, result};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::macros::btf_map;

use self::define::{define_name, define_socket};
use self::id::{Name, id_of_socket};
use crate::cast::untrusted;
use crate::cpu_ring::ThisCpu;
use crate::maps::config;
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
/// The open created the file.
const FMODE_CREATED: u32 = 0x10_0000;
/// `S_IFMT` and `S_IFSOCK`.
const TYPE_MASK: u64 = 0o170_000;
const SOCKET: u64 = 0o140_000;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The ids that each CPU has defined, each at a place that follows from it.
#[btf_map]
static DEFINED: Array<u64, 4096> = Array::new();

/// Eight bytes at an address of the kernel; zeroes if there is nothing.
#[inline(always)]
pub fn word(base: u64, offset: u32) -> u64 {
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
    open_file_of(cpu.task(), fd)
}

/// The open file behind a descriptor of a thread, 0 if there is none.
#[inline(always)]
pub fn open_file_of(task: u64, fd: u32) -> u64 {
    let files = word(task, config!(offsets.task_files));
    let table = word(files, config!(offsets.files_fdt));
    if fd >= word(table, config!(offsets.fdt_max)) as u32 {
        return 0;
    }
    let array = word(table, config!(offsets.fdt_fd));
    word(array.wrapping_add(u64::from(fd) * 8), 0)
}

/// The same of the current thread, and whether it alone has its descriptors.
#[inline(always)]
fn open_file_and_owner(cpu: ThisCpu, fd: u32) -> (u64, bool) {
    #[cfg(not(feature = "legacy"))]
    if config!(casts) != 0 {
        return open::open_file_and_owner(cpu, fd);
    }
    (open_file(cpu, fd), has_own_files(cpu))
}

/// Whether the current thread alone has its descriptors.
#[inline(always)]
fn has_own_files(cpu: ThisCpu) -> bool {
    let files = word(cpu.task(), config!(offsets.task_files));
    word(files, config!(offsets.files_count)) as u32 == 1
}

/// How often a recorded call has changed mounts.
#[unsafe(no_mangle)]
static mut MOUNTS_CHANGED: u64 = 0;

/// A number that changes when files are to be defined again on a CPU.
#[inline(always)]
fn epoch(cpu: ThisCpu) -> u64 {
    // SAFETY: a variable of the object.
    let mounts = unsafe { (&raw const MOUNTS_CHANGED).read_volatile() };
    cpu.renewed().wrapping_add(cpu.undefined() << 32).wrapping_add(mounts << 48)
}

/// A call has changed mounts: all CPUs define all files again, as the id of a file does not depend on where the mounts above it
/// are.
#[inline(always)]
pub fn note_mounts(ret: i64) {
    if ret == 0 {
        let count = &raw mut MOUNTS_CHANGED;
        // SAFETY: a variable of the object. Of two calls at a time one may not be counted, but both change the number.
        unsafe { count.write_volatile(count.read_volatile().wrapping_add(1)) };
    }
}

/// Where a CPU remembers an id, and what stands there if it does.
#[inline(always)]
fn place(cpu: ThisCpu, id: u64) -> Option<(*mut u64, u64)> {
    let index = (cpu.number() << FILES_DEFINED_BITS) as u32 | (id >> (64 - FILES_DEFINED_BITS)) as u32;
    Some((DEFINED.get_ptr_mut(index)?, id ^ epoch(cpu)))
}

/// Whether this CPU has defined an id. If not, it is noted as defined.
#[inline(always)]
fn is_defined(cpu: ThisCpu, id: u64) -> bool {
    let Some((at, expected)) = place(cpu, id) else { return true };
    // SAFETY: a live value of the map, which only this CPU writes to.
    unsafe {
        if at.read_volatile() == expected {
            return true;
        }
        at.write_volatile(expected);
    }
    false
}

/// Notes an id as not defined.
#[inline(always)]
fn forget(cpu: ThisCpu, id: u64) {
    if let Some((at, _)) = place(cpu, id) {
        // SAFETY: as above.
        unsafe { at.write_volatile(0) };
    }
}

/// Whether an open file is a socket.
#[inline(always)]
fn is_socket(open: u64) -> bool {
    let inode = word(open, config!(offsets.file_inode));
    word(inode, config!(offsets.inode_mode)) & TYPE_MASK == SOCKET
}

/// The id of an open file, if this CPU has it already; 0 if not.
#[cfg(not(feature = "legacy"))]
#[inline(always)]
fn known(cpu: ThisCpu, open: u64) -> u64 {
    if config!(casts) != 0 { open::known(cpu, open) } else { 0 }
}

#[cfg(feature = "legacy")]
#[inline(always)]
fn known(_: ThisCpu, _: u64) -> u64 {
    0
}

/// The id of an open file, which is then defined; 0 if it could not be.
#[inline(always)]
fn of_file(cpu: ThisCpu, open: u64, time: impl FnOnce() -> u64) -> u64 {
    if is_socket(open) {
        let inode = word(open, config!(offsets.file_inode));
        let socket = word(open, config!(offsets.file_private));
        let sk = word(socket, config!(offsets.socket_sk));
        let ino = word(inode, config!(offsets.inode_ino));
        let id = id_of_socket(sk, ino);
        if is_defined(cpu, id) || define_socket(sk, id, ino, time()) == 0 {
            #[cfg(not(feature = "legacy"))]
            open::remember_socket(cpu, open, inode, ino, sk, id);
            return id;
        }
        return 0;
    }
    let name = Name::of_file(open);
    let id = name.id();
    if is_defined(cpu, id) || define_name(name.dentry, name.mnt, id, time()) == 0 {
        #[cfg(not(feature = "legacy"))]
        open::remember_name(cpu, open, name, id);
        return id;
    }
    0
}

/// The id of a thread's working directory.
#[inline(always)]
fn of_working_directory(cpu: ThisCpu, task: u64, time: impl FnOnce() -> u64) -> u64 {
    let fs = word(task, config!(offsets.task_fs));
    let dentry = word(fs, config!(offsets.pwd_dentry));
    let mnt = word(fs, config!(offsets.pwd_mnt));
    let id = Name::of_directory(dentry, mnt).id();
    if is_defined(cpu, id) || define_name(dentry, mnt, id, time()) == 0 { id } else { 0 }
}

/// The id of an open file, without a look at those that are [`known`]. `time`: just after what it is needed for, 0 for now.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn file_of_open(open: u64, time: u64) -> u64 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    if open == 0 {
        return 0;
    }
    of_file(cpu, open, || if time == 0 { cpu.now() } else { time - 1 })
}

/// The id of the working directory of the thread that this CPU's verdict is about.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn directory_at_entry() -> u64 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    of_working_directory(cpu, cpu.task(), || cpu.now())
}

/// The id of the current thread's working directory, whatever this CPU's verdict is about.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn working_directory(time: u64) -> u64 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    of_working_directory(cpu, task, || time.wrapping_sub(1))
}

/// Whether the open of a file has created it.
#[inline(always)]
pub fn was_created(open: u64) -> bool {
    open != 0 && word(open, config!(offsets.file_mode)) as u32 & FMODE_CREATED != 0
}

/// Whether something has to be looked up. `first`: the first byte of each string.
#[inline(always)]
pub fn is_wanted(how: u8, first: [u8; 2]) -> bool {
    if how & (file::BASE | file::CWD) == 0 {
        return how != 0;
    }
    let byte = if how & file::SECOND != 0 { first[1] } else { first[0] };
    byte != b'/'
}

/// What the descriptors of a call stand for.
#[derive(Clone, Copy)]
pub struct Files {
    /// The id of each, 0 if it is not known or there is none.
    pub ids: [u64; 2],
    /// The open files behind the descriptors, if other threads can replace them before the kernel looks them up: then the call
    /// may work on others. 0 for those that cannot be replaced, 1 for one that is not open.
    pub open: [u64; 2],
}

/// The id of what one of [`Spec::files`] stands for, and its open file if it can be replaced. `FAST`: without a call of a function
/// for a file that is known.
#[inline(always)]
fn look_up<const FAST: bool>(cpu: ThisCpu, how: u8, argument: u64) -> (u64, u64) {
    let fd = argument as i32;
    if how & file::DESCRIPTOR != 0 && fd >= 0 {
        let (open, own) = open_file_and_owner(cpu, fd as u32);
        // Taken before its id is made: what is replaced in between has changed too.
        let replaceable = match open {
            _ if own || how & file::CLOSED != 0 => 0,
            0 => 1,
            open => open,
        };
        let id = if FAST { known(cpu, open) } else { 0 };
        return (if id == 0 { file_of_open(open, 0) } else { id }, replaceable);
    }
    if how & file::CWD != 0 || how & file::BASE != 0 && fd == AT_FDCWD {
        return (directory_at_entry(), 0);
    }
    (0, 0)
}

/// The same of the second one, which few calls have; the open file is in [`ThisCpu::open`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn second_at_entry(how: u32, argument: u64) -> u64 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    let (id, open) = look_up::<false>(cpu, how as u8, argument);
    cpu.set_open([0, open]);
    id
}

/// What the descriptors of a call that is entered stand for.
#[inline(always)]
pub fn of_call(cpu: ThisCpu, spec: &Spec, first: [u8; 2], argument: impl Fn(u8) -> u64) -> Files {
    let mut files = Files { ids: [0; 2], open: [0; 2] };
    let [how, second] = spec.files;
    if is_wanted(how, first) {
        (files.ids[0], files.open[0]) = look_up::<true>(cpu, how, argument(how & file::ARGUMENT));
    }
    if second != 0 && is_wanted(second, first) {
        files.ids[1] = second_at_entry(u32::from(second), argument(second & file::ARGUMENT));
        files.open[1] = cpu.open()[1];
    }
    files
}

/// What the descriptors of a call stand for whose entry was not seen, if they cannot have changed since; a path starts from
/// where it would start now.
#[inline(always)]
pub fn of_returned(cpu: ThisCpu, spec: &Spec, argument: impl Fn(u8) -> u64) -> [u64; 2] {
    if !has_own_files(cpu) {
        return [0; 2];
    }
    of_call(cpu, spec, [0; 2], argument).ids
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
        if open[slot] == 0 {
            continue;
        }
        // The kernel uses the memory of a file that was closed for the next one that is opened: it must be the same file, too.
        let now = open_file(cpu, fd);
        let is_same = now == open[slot]
            && (known(cpu, now) == *file || is_socket(now) || Name::of_file(now).id() == *file);
        if !is_same {
            *file = 0;
        }
    }
    files
}

/// What a call has made.
pub struct Made {
    /// Its id, 0 if it is not known.
    pub id: u64,
    /// The open file, 0 if it is a directory that the thread works in now.
    pub open: u64,
}

/// What a call that has not failed has made: the file behind its descriptor, or the working directory.
#[inline(always)]
pub fn made(cpu: ThisCpu, what: u64, ret: i64, time: u64) -> Made {
    if what == u64::from(result::CWD) {
        return Made { id: of_working_directory(cpu, cpu.task(), || time.wrapping_sub(1)), open: 0 };
    }
    let (open, _) = open_file_and_owner(cpu, ret as u32);
    let id = known(cpu, open);
    Made { id: if id == 0 { file_of_open(open, time) } else { id }, open }
}

/// The id of what a call that returned has made.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn file_of_result(what: u64, ret: i64, time: u64) -> u64 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    if ret < 0 { 0 } else { made(cpu, what, ret, time).id }
}

/// Whether a call opens a path, and may create a file.
#[inline(always)]
pub fn opens(spec: &Spec) -> bool {
    spec.result == result::DESCRIPTOR && spec.files[0] & (file::BASE | file::CWD) != 0
}

/// Whether a call has created the file behind the descriptor that it returns. Only calls that open paths do.
#[inline(always)]
pub fn has_created(cpu: ThisCpu, spec: &Spec, ret: i64) -> bool {
    ret >= 0 && opens(spec) && was_created(open_file(cpu, ret as u32))
}

/// The id of the program that the current thread executes, as of an exec.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn file_of_program(time: u64) -> u64 {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    let mm = word(task, config!(offsets.task_mm));
    if !has(config!(offsets.mm_exe_file)) {
        return 0;
    }
    let open = word(mm, config!(offsets.mm_exe_file));
    file_of_open(open, time)
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
