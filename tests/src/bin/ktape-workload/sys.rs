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

/// Exits without the cleanup of Rust and the C library.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}
