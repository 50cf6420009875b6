//! Processes that exit at once.

use std::process::{Command, Stdio};
use std::thread;

use crate::timed;

/// One execution in this many searches PATH and has many arguments.
const SEARCH_EVERY: u64 = 4;

/// On each CPU, executes `true` `n` times, one after the other. The C library searches along PATH, in the new process: an
/// execution fails in each directory without such a program.
pub fn storm(n: u64) {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let many: Vec<String> = (0..24).map(|i| format!("--argument={i}")).collect();
    let execute = || {
        for i in 0..n {
            let search = i % SEARCH_EVERY == 0;
            let mut command = Command::new(if search { "true" } else { "/bin/true" });
            command.arg("ktape-bench-storm").stdin(Stdio::null());
            if search {
                command.args(&many);
            }
            let status = command.status().expect("a process");
            assert!(status.success(), "{status}");
        }
    };
    timed(|| {
        thread::scope(|scope| {
            for _ in 0..cpus {
                scope.spawn(execute);
            }
        });
    });
}
