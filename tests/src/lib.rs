//! The harness of the end-to-end tests: driving `ktape` as a user does, reading what strace saw of the same
//! run, and starting real containers in any cgroup.
//!
//! The programs under test are in `src/bin/ktape-workload`. What they make is counted by them, by the
//! kernel or by strace, never by ktape.

pub mod cgroup;
pub mod container;
pub mod device;
pub mod engine;
pub mod examples;
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

/// The path of the workload program.
#[macro_export]
macro_rules! workload {
    () => {
        ::std::path::Path::new(env!("CARGO_BIN_EXE_ktape-workload"))
    };
}
