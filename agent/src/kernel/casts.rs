//! Casts to pointers that the verifier does not trust: without them it spends more time on a start than anything else.

use agent_ebpf::kfunc::{self, types};

use super::btf::Btf;
use super::trial::{self, RETURN};

/// `BPF_FUNC_get_current_task_btf`, as an instruction that calls it.
const CURRENT_TASK: u64 = 158 << 32 | 0x85;
/// `r1 = r0`.
const PASS_RESULT: u64 = 0x01bf;

/// The numbers of the function that casts and of the types in the order of [`types::ALL`].
struct Numbers {
    function: u32,
    types: [u32; types::ALL.len()],
}

/// How casts are made on a kernel.
pub struct Casts(Option<Numbers>);

impl Casts {
    /// Plain moves, if the kernel lacks the function (before 6.2), or does not allow a program to call it as ktape's do.
    pub fn of(btf: &Btf) -> Self {
        Self(Numbers::of(btf))
    }

    /// Whether a program may take a number for a pointer.
    pub fn are_made(&self) -> bool {
        self.0.is_some()
    }

    /// Fills the numbers of the running kernel into a program, or makes the casts plain moves.
    pub fn fill(&self, instructions: &mut [u8]) {
        let numbers = self.0.as_ref();
        let call = numbers.map_or(kfunc::RETURN_ARGUMENT, |numbers| kfunc::call(numbers.function));
        trial::replace(instructions, kfunc::call(kfunc::CAST), call);
        for (index, (placeholder, _)) in types::ALL.into_iter().enumerate() {
            let number = numbers.map_or(0, |numbers| numbers.types[index]);
            trial::replace(instructions, kfunc::pass_type(placeholder), kfunc::pass_type(number));
        }
    }
}

impl Numbers {
    fn of(btf: &Btf) -> Option<Self> {
        let function = btf.function("bpf_rdonly_cast")?;
        let mut numbers = [0; types::ALL.len()];
        for (number, (_, name)) in numbers.iter_mut().zip(types::ALL) {
            *number = btf.structure(name)?;
        }
        let [task, ..] = numbers;
        let cast = [CURRENT_TASK, PASS_RESULT, kfunc::pass_type(task), kfunc::call(function)];
        let program = [&cast[..], &RETURN].concat();
        trial::loads(btf, "sys_enter", 0, &program).then_some(Self { function, types: numbers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_get_their_numbers_or_become_moves() {
        let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
        let cast = |ty| [kfunc::pass_type(ty), kfunc::call(kfunc::CAST)];
        let object = bytes(&[&cast(types::TASK)[..], &[7], &cast(types::CGROUP)].concat());
        let mut with = object.clone();
        Casts(Some(Numbers { function: 99, types: [1, 2, 3, 4, 5, 6, 7, 8, 9] })).fill(&mut with);
        let called = |ty| [kfunc::pass_type(ty), kfunc::call(99)];
        assert_eq!(with, bytes(&[&called(1)[..], &[7], &called(5)].concat()));
        let mut without = object;
        Casts(None).fill(&mut without);
        let moved = [kfunc::pass_type(0), kfunc::RETURN_ARGUMENT];
        assert_eq!(without, bytes(&[&moved[..], &[7], &moved].concat()));
    }

    #[test]
    fn instructions_are_encoded_as_the_kernels() {
        // Opcode, registers (destination in the low half), offset, number.
        assert_eq!(kfunc::pass_type(0x0102_0304).to_le_bytes(), [0xb7, 2, 0, 0, 4, 3, 2, 1]);
        assert_eq!(kfunc::RETURN_ARGUMENT.to_le_bytes(), [0xbf, 0x10, 0, 0, 0, 0, 0, 0]);
        assert_eq!(PASS_RESULT.to_le_bytes(), [0xbf, 0x01, 0, 0, 0, 0, 0, 0]);
        assert_eq!(CURRENT_TASK.to_le_bytes(), [0x85, 0, 0, 0, 158, 0, 0, 0]);
    }
}
