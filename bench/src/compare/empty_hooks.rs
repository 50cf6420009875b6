//! Two eBPF programs that do nothing, attached to the entry and return of every system call: the minimum cost of any
//! recorder of system calls.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Result, bail};

// linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
/// Instructions: `r0 = 0`, `exit`.
const EMPTY_PROGRAM: [u64; 2] = [0xb7, 0x95];

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgLoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The fields of `union bpf_attr` for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct RawTracepointAttr {
    name: u64,
    prog_fd: u32,
    reserved: u32,
}

/// The programs are attached until this is dropped.
pub struct EmptyHooks(#[expect(dead_code, reason = "closing it detaches")] Vec<OwnedFd>);

impl EmptyHooks {
    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// If the kernel rejects a program or its attachment.
    pub fn attach() -> Result<Self> {
        let load = ProgLoadAttr {
            prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
            insn_cnt: EMPTY_PROGRAM.len() as u32,
            insns: EMPTY_PROGRAM.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: 0,
        };
        let mut open = Vec::new();
        for name in [c"sys_enter", c"sys_exit"] {
            let program = bpf(BPF_PROG_LOAD, &load)?;
            open.push(attach(name, &program)?);
        }
        Ok(Self(open))
    }
}

fn attach(name: &CStr, program: &OwnedFd) -> Result<OwnedFd> {
    let attr = RawTracepointAttr {
        name: name.as_ptr() as u64,
        prog_fd: program.as_raw_fd().cast_unsigned(),
        reserved: 0,
    };
    bpf(BPF_RAW_TRACEPOINT_OPEN, &attr)
}

fn bpf<T>(command: libc::c_int, attr: &T) -> Result<OwnedFd> {
    // SAFETY: `attr` has the layout and size for `command`, and what it points to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    match i32::try_from(fd) {
        // SAFETY: a new descriptor that nothing else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => bail!("cannot attach empty hooks: {}", std::io::Error::last_os_error()),
    }
}
