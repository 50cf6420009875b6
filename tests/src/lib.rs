//! The harness of the end-to-end tests: runs `ktape` as a user does, compares with strace, starts real containers in any
//! cgroup, and boots virtual machines.
//!
//! The recorded programs are in `src/bin/ktape-workload`. Expected numbers come from these programs, the kernel or strace,
//! never from ktape.

pub mod cgroup;
pub mod container;
pub mod device;
pub mod engine;
pub mod examples;
pub mod fidelity;
pub mod guard;
pub mod ktape;
pub mod limit;
pub mod packages;
pub mod paths;
pub mod random;
pub mod readings;
pub mod rotated;
pub mod run;
pub mod strace;
pub mod v1;
pub mod vm;
pub mod wait;
pub mod workload;

/// Path of the workload program. Works only in this package's own tests.
#[macro_export]
macro_rules! workload {
    () => {
        ::std::path::Path::new(env!("CARGO_BIN_EXE_ktape-workload"))
    };
}
