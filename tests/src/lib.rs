//! The harness of the end-to-end tests: driving `ktape` as a user does, reading what strace saw of the same
//! run, and starting real containers in any cgroup.
//!
//! The programs under test are in `src/bin/ktape-workload`. What they make is counted by them, by the
//! kernel or by strace, never by ktape.

pub mod cgroup;
pub mod container;
pub mod device;
pub mod engine;
pub mod guard;
pub mod guest;
pub mod ktape;
pub mod paths;
pub mod random;
pub mod readings;
pub mod strace;
pub mod v1;
pub mod wait;
pub mod workload;

/// Go on only as root and alone on the machine; else say so and return, so that the test counts as passed. With `CI`
/// set, not being root is a failure.
///
/// Evaluates to a guard that has to live as long as the test.
#[macro_export]
macro_rules! kernel_test {
    () => {
        match $crate::guard::Guard::take() {
            Some(guard) => guard,
            None => return,
        }
    };
}

/// Ends the test that it begins, unless it may run virtual machines; else holds a processor for it.
#[macro_export]
macro_rules! guest_test {
    () => {
        match $crate::guard::Guard::share() {
            Some(guard) => guard,
            None => return,
        }
    };
}

/// The path of the workload program.
#[macro_export]
macro_rules! workload {
    () => {
        ::std::path::Path::new(env!("CARGO_BIN_EXE_ktape-workload"))
    };
}
