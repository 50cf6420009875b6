//! Small programs that are loaded to see whether the kernel accepts them, and instructions that are replaced before a
//! load.

use super::btf::Btf;

/// `BPF_PROG_LOAD` of bpf(2).
const PROG_LOAD: libc::c_int = 5;
/// `BPF_PROG_TYPE_TRACING`.
const TYPE_TRACING: u32 = 26;
/// `BPF_TRACE_RAW_TP`.
const ATTACH_RAW_TP: u32 = 23;
/// `BPF_F_SLEEPABLE`.
pub const SLEEPABLE: u32 = 1 << 4;
/// `r0 = 0; exit`.
pub const RETURN: [u64; 2] = [0xb7, 0x95];

/// The part of `union bpf_attr` that loads a program, up to where 5.10 ends.
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
    prog_name: [u8; 16],
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

/// Whether the kernel accepts this program for a tracepoint.
pub fn loads(btf: &Btf, tracepoint: &str, flags: u32, instructions: &[u64]) -> bool {
    let Some(attach_btf_id) = btf.tracepoint_type(tracepoint) else { return false };
    let mut attr = LoadAttr {
        prog_type: TYPE_TRACING,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        prog_flags: flags,
        expected_attach_type: ATTACH_RAW_TP,
        attach_btf_id,
        ..LoadAttr::default()
    };
    // SAFETY: the kernel reads the attributes, and the instructions and the license that they point to.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw mut attr, size_of::<LoadAttr>()) };
    let Ok(fd) = libc::c_int::try_from(fd) else { return false };
    if fd < 0 {
        return false;
    }
    // SAFETY: a new descriptor that nothing else owns.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    true
}

/// Replaces an instruction of the programs in an object, wherever it stands.
pub fn replace(object: &mut [u8], from: u64, to: u64) {
    let (from, to) = (from.to_le_bytes(), to.to_le_bytes());
    // Instructions are aligned, as sections are.
    for instruction in object.chunks_exact_mut(from.len()).filter(|bytes| **bytes == from) {
        instruction.copy_from_slice(&to);
    }
}
