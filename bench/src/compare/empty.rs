//! Two programs that do nothing, on the entry and the return of every call of the machine: the floor below which nothing that
//! watches calls can be.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Result, bail};

// linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
/// `r0 = 0`, `exit`.
const NOTHING: [u64; 2] = [0xb7, 0x95];

/// The start of `union bpf_attr`, as `BPF_PROG_LOAD` takes it.
#[repr(C)]
struct Load {
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

/// The same, as `BPF_RAW_TRACEPOINT_OPEN` takes it.
#[repr(C)]
struct Open {
    name: u64,
    prog_fd: u32,
    reserved: u32,
}

/// Attached until dropped.
pub struct Hooks(#[expect(dead_code, reason = "closing it detaches")] Vec<OwnedFd>);

impl Hooks {
    /// Load and attach them.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn attach() -> Result<Self> {
        let load = Load {
            prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
            insn_cnt: NOTHING.len() as u32,
            insns: NOTHING.as_ptr() as u64,
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
    let attr = Open { name: name.as_ptr() as u64, prog_fd: program.as_raw_fd().cast_unsigned(), reserved: 0 };
    bpf(BPF_RAW_TRACEPOINT_OPEN, &attr)
}

fn bpf<T>(command: libc::c_int, attr: &T) -> Result<OwnedFd> {
    // SAFETY: the attributes are of the command's kind and of that size, and what they point to is alive.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    match i32::try_from(fd) {
        // SAFETY: a new descriptor that nobody else has.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => bail!("cannot attach empty hooks: {}", std::io::Error::last_os_error()),
    }
}
