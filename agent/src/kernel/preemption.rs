//! Whether this kernel can preempt ktape's programs, and whether programs can disable preemption.
//!
//! While a preempted program waits to continue on its CPU, the kernel skips its runs for all other threads there. Version
//! numbers do not show what a kernel does, so this module loads programs that do nothing and sees which are accepted.

use agent_ebpf::kfunc;

use super::btf::Btf;
use super::trial::{self, RETURN, SLEEPABLE, loads};

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

/// The numbers of the functions with which a program disables preemption, in the order of [`kfunc::PREEMPTION`]; `None` if the
/// kernel lacks one, or does not allow a program to call them as ktape's programs do.
pub fn functions(btf: &Btf) -> Option<[u32; kfunc::PREEMPTION.len()]> {
    let mut numbers = [0; kfunc::PREEMPTION.len()];
    for (number, (_, name)) in numbers.iter_mut().zip(kfunc::PREEMPTION) {
        *number = btf.function(name)?;
    }
    let [disable, enable, save, restore] = numbers.map(kfunc::call);
    // r1 = r10; r1 += -8
    let slot = [0xa1bf, 0xffff_fff8_0000_0107];
    let program = [&[disable][..], &slot, &[save, enable], &slot, &[restore], &RETURN].concat();
    loads(btf, "sys_enter", 0, &program).then_some(numbers)
}

/// Fills the numbers of the kernel's functions into an object, or removes the calls if there are none.
pub fn set_functions(object: &mut [u8], functions: Option<&[u32; kfunc::PREEMPTION.len()]>) {
    for (index, (placeholder, _)) in kfunc::PREEMPTION.into_iter().enumerate() {
        let to = functions.map_or(kfunc::NOTHING, |numbers| kfunc::call(numbers[index]));
        trial::replace(object, kfunc::call(placeholder), to);
    }
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
        let [disable, enable, save, restore] = kfunc::PREEMPTION.map(|(number, _)| kfunc::call(number));
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
