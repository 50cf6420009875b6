//! Pointers that the verifier does not trust.
//!
//! Since 6.2 the verifier looks up in lists whether what a trusted object points to can be trusted too. It searches all of
//! the kernel's types by name for each list, at each load of a pointer and on each path to it: on 6.18 that was more than
//! half of the time that a start took. No program here needs that trust. An untrusted pointer is read like any other that
//! comes from memory: a bad address gives zeroes.

/// The same pointer, untrusted; `$type` is one of [`agent_ebpf::kfunc::types`].
macro_rules! untrusted {
    ($pointer:expr, $type:ident) => {{
        let pointer: *mut u8 = $pointer;
        #[cfg(not(feature = "legacy"))]
        // It is passed through, and nothing is read through it here.
        #[allow(clippy::pointers_in_nomem_asm_block)]
        let pointer = {
            let same: *mut u8;
            // SAFETY: one call of a function of the kernel that returns its first argument, or a move that does so. What
            // it clobbers is named.
            unsafe {
                core::arch::asm!(
                    ".quad {pass_type}",
                    ".quad {cast}",
                    pass_type = const agent_ebpf::kfunc::pass_type(agent_ebpf::kfunc::types::$type),
                    cast = const agent_ebpf::kfunc::call(agent_ebpf::kfunc::CAST),
                    inlateout("r1") pointer => _,
                    lateout("r0") same,
                    out("r2") _, out("r3") _, out("r4") _, out("r5") _,
                    options(pure, nomem, nostack),
                );
            }
            same
        };
        pointer
    }};
}

pub(crate) use untrusted;
