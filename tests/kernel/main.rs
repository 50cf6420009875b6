//! Recording on the running kernel, as root: what ktape records is compared with what the programs under test, the
//! kernel's own files or strace count.

mod arguments;
mod as_given;
mod block;
mod blocked_output;
mod capture_files;
mod charged_io;
mod clean_clone;
mod clock;
mod command_line;
mod crash_safety;
mod damage;
mod documentation;
mod escaping;
mod failing_disks;
mod follow;
mod in_flight;
mod lifecycle;
mod limits;
mod loss;
mod net;
mod oom;
mod output_readers;
mod overhead;
mod privacy;
mod requirements;
mod rotation;
mod samples;
mod samples_host;
mod sched;
mod signal;
mod stall;
mod start;
mod strace_comparison;
mod stress;
mod syscalls;
