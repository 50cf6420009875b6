//! Direct system calls, without the C library's wrappers.

use std::io;

/// Makes a call and returns its result or its error number.
pub fn call(number: libc::c_long, args: [usize; 6]) -> Result<i64, i32> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the callers pass pointers that are valid for what the call does, or that the kernel refuses.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        return Err(io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    Ok(result)
}

/// Makes a call with up to six arguments: `sys!(SYS_close, fd)`.
#[macro_export]
macro_rules! sys {
    ($number:ident $(, $arg:expr)*) => {{
        #[allow(unused_mut, unused_assignments, clippy::allow_attributes)]
        let args = {
            let mut args = [0usize; 6];
            let mut i = 0;
            $( args[i] = $arg as usize; i += 1; )*
            let _ = i;
            args
        };
        $crate::sys::call(libc::$number, args)
    }};
}

/// Asserts that a call failed with this error number.
pub fn fails(what: &str, result: Result<i64, i32>, error: i32) {
    assert_eq!(result.err(), Some(error), "{what}");
}

/// Creates a pipe and returns its read end and its write end.
pub fn pipe() -> (usize, usize) {
    let mut fds = [0i32; 2];
    sys!(SYS_pipe2, fds.as_mut_ptr(), 0).expect("a pipe");
    (fds[0].cast_unsigned() as usize, fds[1].cast_unsigned() as usize)
}

/// Waits for a child and returns its raw wait status.
pub fn wait(pid: i64) -> i32 {
    let mut status = 0i32;
    loop {
        match sys!(SYS_wait4, pid, &raw mut status, 0, 0) {
            Ok(_) => return status,
            Err(libc::EINTR) => {}
            Err(error) => panic!("wait4: {error}"),
        }
    }
}

/// Whether a thread of this process sleeps in a call.
pub fn is_blocked(tid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
}

/// An address of IPv4 as the kernel takes it.
pub fn address(to: std::net::SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// Exits without the cleanup of Rust and the C library.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Keeps this thread on one CPU.
pub fn pin(cpu: usize) {
    // SAFETY: an empty set, in which one bit is set.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &raw const set), 0);
    }
}
