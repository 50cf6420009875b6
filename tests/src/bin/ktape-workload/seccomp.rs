//! Calls that a seccomp filter rejects.

use crate::sys;
use crate::sys::{exit, fails, wait};

const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Installs a filter and makes the calls that it handles: denied ones, one that "succeeds" without running, and a fatal one.
pub fn seccomp() {
    let answers = [
        (libc::SYS_mkdirat, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        (libc::SYS_unshare, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        (libc::SYS_uname, libc::SECCOMP_RET_ERRNO | libc::EACCES as u32),
        (libc::SYS_getpgid, libc::SECCOMP_RET_ERRNO),
        (libc::SYS_getsid, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let mut filter = vec![libc::sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 }];
    for (number, answer) in answers {
        let number = u32::try_from(number).expect("a small number");
        filter.push(libc::sock_filter { code: JUMP_EQUAL, jt: 0, jf: 1, k: number });
        filter.push(libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: answer });
    }
    filter.push(libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW });
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("a short filter"),
        filter: filter.as_mut_ptr(),
    };
    sys!(SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).expect("it always succeeds");
    sys!(SYS_prctl, libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
        .expect("a valid filter");

    // On the heap: the kernel does not read the path of a denied call, and a recorder that must not fault pages in cannot read
    // a string literal in a page that was not used before.
    let path = std::ffi::CString::new("/none/denied").expect("no NUL");
    fails("mkdirat", sys!(SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), 0o700), libc::EPERM);
    fails("unshare", sys!(SYS_unshare, libc::CLONE_NEWNS), libc::EPERM);
    fails("uname", sys!(SYS_uname, 0), libc::EACCES);
    assert_eq!(sys!(SYS_getpgid, 0), Ok(0));
    let child = sys!(SYS_fork).expect("fork");
    if child == 0 {
        let _ = sys!(SYS_getsid, 0);
        exit(1);
    }
    assert_eq!(wait(child) & 0x7f, libc::SIGSYS);
}
