//! The commands of bpf(2) that ktape needs beside those of aya's maps. Their attributes are declared up to where the oldest
//! supported kernel ends (5.10): the kernel takes what is missing as zero.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Once;

use aya::util::KernelVersion;
use aya_obj::generated::bpf_prog_info;

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BTF_LOAD: libc::c_int = 18;
const MAP_FREEZE: libc::c_int = 22;
const MAP_UPDATE_BATCH: libc::c_int = 26;
const LINK_CREATE: libc::c_int = 28;
const ITER_CREATE: libc::c_int = 33;

/// `BPF_PROG_TYPE_TRACING`.
const TYPE_TRACING: u32 = 26;
/// `BPF_TRACE_RAW_TP`: a program for a tracepoint.
pub(super) const TRACEPOINT: u32 = 23;
/// `BPF_TRACE_ITER`: an iterator.
pub(super) const ITERATOR: u32 = 28;
/// Bytes of a program's or map's name, with the zero at its end.
const NAME: usize = 16;
/// Bytes of the verifier's log that is shown when it refuses a program.
const LOG: usize = 16 << 20;

/// A tracing program.
#[derive(Clone, Copy)]
pub(super) struct Program<'a> {
    pub name: &'a str,
    /// Instructions of eight bytes.
    pub instructions: &'a [u8],
    pub license: &'a CStr,
    /// [`TRACEPOINT`] or [`ITERATOR`].
    pub attach_type: u32,
    /// The type of what it is attached to, in the kernel's BTF.
    pub attach_btf_id: u32,
    pub flags: u32,
    /// The object's BTF, and which of its functions begins at which instruction (`struct bpf_func_info`).
    pub functions: Option<(BorrowedFd<'a>, &'a [u8])>,
    /// Which of its source lines begins at which instruction (`struct bpf_line_info`): for the verifier's log.
    pub lines: &'a [u8],
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_prog_fd: u32,
    reserved: u32,
}

impl Program<'_> {
    /// Has the kernel verify the program.
    pub fn load(&self) -> io::Result<OwnedFd> {
        self.load_with_log(&mut [])
    }

    /// What the verifier says about a program that it refuses; empty if it says nothing, or accepts it.
    pub fn log(&self) -> String {
        let mut log = vec![0; LOG];
        if self.load_with_log(&mut log).is_ok() {
            return String::new();
        }
        let len = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        String::from_utf8_lossy(&log[..len]).into_owned()
    }

    fn load_with_log(&self, log: &mut [u8]) -> io::Result<OwnedFd> {
        const FUNC_INFO: usize = 8;
        const LINE_INFO: usize = 16;
        let mut attr = LoadAttr {
            prog_type: TYPE_TRACING,
            insn_cnt: (self.instructions.len() / 8) as u32,
            insns: self.instructions.as_ptr() as u64,
            license: self.license.as_ptr() as u64,
            prog_flags: self.flags,
            prog_name: short_name(self.name),
            expected_attach_type: self.attach_type,
            attach_btf_id: self.attach_btf_id,
            ..LoadAttr::default()
        };
        if let Some((btf, functions)) = self.functions {
            attr.prog_btf_fd = btf.as_raw_fd() as u32;
            attr.func_info_rec_size = FUNC_INFO as u32;
            attr.func_info = functions.as_ptr() as u64;
            attr.func_info_cnt = (functions.len() / FUNC_INFO) as u32;
        }
        if !log.is_empty() {
            attr.line_info_rec_size = LINE_INFO as u32;
            attr.line_info = self.lines.as_ptr() as u64;
            attr.line_info_cnt = (self.lines.len() / LINE_INFO) as u32;
            attr.log_level = 1;
            attr.log_size = log.len() as u32;
            attr.log_buf = log.as_mut_ptr() as u64;
        }
        // SAFETY: the kernel reads the attributes and the slices that they point to, and writes at most `log_size` bytes.
        unsafe { descriptor(PROG_LOAD, &mut attr) }
    }
}

/// The start of a name, as much as the kernel keeps.
fn short_name(name: &str) -> [u8; NAME] {
    let mut short = [0; NAME];
    let len = name.len().min(NAME - 1);
    short[..len].copy_from_slice(&name.as_bytes()[..len]);
    short
}

/// Loads an object's types.
pub(super) fn load_btf(bytes: &[u8]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        btf: u64,
        log_buf: u64,
        size: u32,
        log_size: u32,
        log_level: u32,
        reserved: u32,
    }
    let size = bytes.len() as u32;
    let mut attr =
        Attr { btf: bytes.as_ptr() as u64, log_buf: 0, size, log_size: 0, log_level: 0, reserved: 0 };
    // SAFETY: the kernel reads `size` bytes.
    unsafe { descriptor(BTF_LOAD, &mut attr) }
}

/// Creates an array of maps; `inner` is one like those that it will hold.
pub(super) fn create_array_of_maps(
    name: &str,
    definition: &aya_obj::Map,
    inner: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        inner: u32,
        numa_node: u32,
        name: [u8; NAME],
        reserved: u32,
    }
    let mut attr = Attr {
        map_type: definition.map_type(),
        key_size: definition.key_size(),
        value_size: definition.value_size(),
        max_entries: definition.max_entries(),
        map_flags: definition.map_flags(),
        inner: inner.as_raw_fd() as u32,
        numa_node: 0,
        name: short_name(name),
        reserved: 0,
    };
    // SAFETY: the attributes contain no pointers.
    unsafe { descriptor(MAP_CREATE, &mut attr) }
}

/// Puts maps into an array of maps, from its start.
///
/// The kernel then waits until no running program uses what was there before, some 10 ms: once for all where it takes them
/// together, otherwise for each.
pub(super) fn set_maps(array: BorrowedFd<'_>, maps: &[BorrowedFd<'_>]) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        from: u64,
        to: u64,
        keys: u64,
        values: u64,
        count: u32,
        array: u32,
        element_flags: u64,
        flags: u64,
    }
    let values: Vec<u32> = maps.iter().map(|map| map.as_raw_fd() as u32).collect();
    let keys: Vec<u32> = (0..values.len() as u32).collect();
    let mut attr = Attr {
        from: 0,
        to: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: values.len() as u32,
        array: array.as_raw_fd() as u32,
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads as many keys and values as there are.
    if unsafe { command(MAP_UPDATE_BATCH, &mut attr) }.is_ok() {
        return Ok(());
    }
    for (key, value) in keys.iter().zip(&values) {
        // SAFETY: a value is a descriptor.
        unsafe { set_element(array, *key, std::ptr::from_ref(value).cast()) }?;
    }
    Ok(())
}

/// Sets an element of an array.
///
/// # Safety
///
/// `value` points to a whole value of the map.
pub(super) unsafe fn set_element(map: BorrowedFd<'_>, key: u32, value: *const u8) -> io::Result<()> {
    #[repr(C)]
    struct Attr {
        map: u32,
        reserved: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let map = map.as_raw_fd() as u32;
    let mut attr = Attr { map, reserved: 0, key: (&raw const key) as u64, value: value as u64, flags: 0 };
    // SAFETY: the kernel reads a key and, by contract, a value.
    unsafe { command(MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

/// Makes a map read-only for processes; the verifier then knows its contents.
pub(super) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = map.as_raw_fd() as u32;
    // SAFETY: the attribute contains no pointers.
    unsafe { command(MAP_FREEZE, &mut attr) }.map(drop)
}

/// Attaches a program to the tracepoint that it was loaded for, until the descriptor is closed.
pub(super) fn attach_tracepoint(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        name: u64,
        program: u32,
        reserved: u32,
    }
    let mut attr = Attr { name: 0, program: program.as_raw_fd() as u32, reserved: 0 };
    // SAFETY: the attributes contain no pointers.
    unsafe { descriptor(RAW_TRACEPOINT_OPEN, &mut attr) }
}

/// A link for an iterator program.
pub(super) fn link_iterator(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attr {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
        info: u64,
        info_len: u32,
        reserved: u32,
    }
    let program = program.as_raw_fd() as u32;
    let mut attr =
        Attr { program, target: 0, attach_type: ITERATOR, flags: 0, info: 0, info_len: 0, reserved: 0 };
    // SAFETY: the attributes contain no pointers.
    unsafe { descriptor(LINK_CREATE, &mut attr) }
}

/// A run of a linked iterator program: a file whose content is what the program writes.
pub(super) fn create_iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = [link.as_raw_fd() as u32, 0];
    // SAFETY: the attributes contain no pointers.
    unsafe { descriptor(ITER_CREATE, &mut attr) }
}

/// What the kernel reports of a loaded program; members that it does not know are zero.
pub(super) fn program_info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    #[repr(C)]
    struct Attr {
        program: u32,
        len: u32,
        info: u64,
    }
    // SAFETY: a C struct of integers, for which all zeroes are valid.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = Attr {
        program: program.as_raw_fd() as u32,
        len: size_of_val(&info) as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes at most `len` bytes to `info`, which is that large.
    unsafe { command(OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

/// Runs a command that returns a file descriptor.
///
/// # Safety
///
/// As for [`command`].
unsafe fn descriptor<T>(number: libc::c_int, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: by contract.
    let fd = unsafe { command(number, attr) }?;
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Runs a command of bpf(2).
///
/// # Safety
///
/// `attr` is what the command expects, and what it points to is valid for what the command does with it.
unsafe fn command<T>(number: libc::c_int, attr: &mut T) -> io::Result<libc::c_int> {
    static LIMIT_RAISED: Once = Once::new();
    LIMIT_RAISED.call_once(raise_memory_limit);
    // SAFETY: by contract; the kernel reads `size_of::<T>()` bytes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, number, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

/// Before 5.11, the maps and programs of all processes of a user together count as locked memory, whose limit is often
/// 64 KiB. Without the privilege to raise it, the kernel refuses what exceeds it.
fn raise_memory_limit() {
    if KernelVersion::current().is_ok_and(|running| running >= KernelVersion::new(5, 11, 0)) {
        return;
    }
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a pointer to a limit.
    if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } != 0 {
        tracing::warn!(error = %io::Error::last_os_error(), "cannot raise the limit of locked memory");
    }
}
