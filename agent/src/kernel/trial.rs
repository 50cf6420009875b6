//! Small programs that are loaded to see whether the kernel accepts them, and instructions that are replaced before a
//! load.

use super::bpf::{self, Program};
use super::btf::Btf;

/// `BPF_F_SLEEPABLE`.
pub const SLEEPABLE: u32 = 1 << 4;
/// `r0 = 0; exit`.
pub const RETURN: [u64; 2] = [0xb7, 0x95];

/// Whether the kernel accepts this program for a tracepoint.
pub fn loads(btf: &Btf, tracepoint: &str, flags: u32, instructions: &[u64]) -> bool {
    let Some(attach_btf_id) = btf.tracepoint_type(tracepoint) else { return false };
    let instructions: Vec<u8> = instructions.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let program = Program {
        name: "ktape_trial",
        instructions: &instructions,
        license: c"GPL",
        attach_type: bpf::TRACEPOINT,
        attach_btf_id,
        flags,
        functions: None,
        lines: &[],
    };
    program.load().is_ok()
}

/// Replaces an instruction of the programs in an object, wherever it stands.
pub fn replace(object: &mut [u8], from: u64, to: u64) {
    let (from, to) = (from.to_le_bytes(), to.to_le_bytes());
    // Instructions are aligned, as sections are.
    for instruction in object.chunks_exact_mut(from.len()).filter(|bytes| **bytes == from) {
        instruction.copy_from_slice(&to);
    }
}
