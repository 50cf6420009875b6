//! Whether this kernel can preempt ktape's programs, and whether programs can disable preemption.
//!
//! While a preempted program waits to continue on its CPU, the kernel skips its runs for all other threads there. Version
//! numbers do not show what a kernel does, so this module loads programs that do nothing and sees which are accepted.

use agent_ebpf::kfunc;

use super::btf::Btf;

/// `BPF_PROG_LOAD` of bpf(2).
const PROG_LOAD: libc::c_int = 5;
/// `BPF_PROG_TYPE_TRACING`.
const TYPE_TRACING: u32 = 26;
/// `BPF_TRACE_RAW_TP`.
const ATTACH_RAW_TP: u32 = 23;
/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;
/// `r0 = 0; exit`.
const RETURN: [u64; 2] = [0xb7, 0x95];

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

/// Whether this kernel can preempt the programs of the syscall tracepoints.
///
/// These tracepoints may sleep since 6.13, but their BPF programs still ran with preemption disabled. The change that
/// allowed sleepable programs there also made all programs preemptible: each type of program now protects itself, and
/// one that does not sleep only disables migration. So where a program for `sys_enter` may sleep, ktape's programs can be
/// preempted. Some older kernels ignore the sleepable flag of a tracepoint's program and accept it everywhere. They are
/// recognized by `sched_switch`, where no program may sleep.
pub fn preempts_programs(btf: &Btf) -> bool {
    let may_sleep = |tracepoint: &str| loads(btf, tracepoint, SLEEPABLE, &RETURN);
    may_sleep("sys_enter") && !may_sleep("sched_switch")
}

/// The numbers of the functions with which a program disables preemption, in the order of [`kfunc::ALL`]; `None` if the
/// kernel lacks one, or does not allow a program to call them as ktape's programs do.
pub fn functions(btf: &Btf) -> Option<[u32; kfunc::ALL.len()]> {
    let mut numbers = [0; kfunc::ALL.len()];
    for (number, (_, name)) in numbers.iter_mut().zip(kfunc::ALL) {
        *number = btf.function(name)?;
    }
    let [disable, enable, save, restore] = numbers.map(kfunc::call);
    // r1 = r10; r1 += -8
    let slot = [0xa1bf, 0xffff_fff8_0000_0107];
    let program = [&[disable][..], &slot, &[save, enable], &slot, &[restore], &RETURN].concat();
    loads(btf, "sys_enter", 0, &program).then_some(numbers)
}

/// Fills the numbers of the kernel's functions into an object, or removes the calls if there are none.
pub fn set_functions(object: &mut [u8], functions: Option<&[u32; kfunc::ALL.len()]>) {
    for (index, (placeholder, _)) in kfunc::ALL.into_iter().enumerate() {
        let from = kfunc::call(placeholder).to_le_bytes();
        let to = functions.map_or(kfunc::NOTHING, |numbers| kfunc::call(numbers[index])).to_le_bytes();
        // Instructions are aligned, as sections are.
        for instruction in object.chunks_exact_mut(from.len()).filter(|bytes| **bytes == from) {
            instruction.copy_from_slice(&to);
        }
    }
}

/// Whether the kernel accepts this program for a tracepoint.
fn loads(btf: &Btf, tracepoint: &str, flags: u32, instructions: &[u64]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of an object, or of a program.
    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn calls_get_their_numbers_or_are_removed() {
        let [disable, enable, save, restore] = kfunc::ALL.map(|(number, _)| kfunc::call(number));
        let object = bytes(&[1, disable, 2, save, enable, restore, disable, 3]);
        let mut with = object.clone();
        set_functions(&mut with, Some(&[11, 12, 13, 14]));
        let [a, b, c, d] = [11, 12, 13, 14].map(kfunc::call);
        assert_eq!(with, bytes(&[1, a, 2, c, b, d, a, 3]));
        let mut without = object;
        set_functions(&mut without, None);
        let n = kfunc::NOTHING;
        assert_eq!(without, bytes(&[1, n, 2, n, n, n, n, 3]));
    }

    #[test]
    fn a_call_is_encoded_as_the_kernels_instruction() {
        // opcode, registers, offset, number
        assert_eq!(kfunc::call(0x0102_0304).to_le_bytes(), [0x85, 0x20, 0, 0, 4, 3, 2, 1]);
        assert_eq!(kfunc::NOTHING.to_le_bytes(), [5, 0, 0, 0, 0, 0, 0, 0]);
    }
}
