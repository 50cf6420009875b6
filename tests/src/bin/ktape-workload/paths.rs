//! Calls with paths.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ktape_tests::paths::{LONGEST, NASTY, of_length};

use crate::sys;

fn c(path: &[u8]) -> CString {
    CString::new(path).expect("no NUL inside")
}

/// Opens a path of each length, then the unusual ones, then makes calls with two paths in `dir`.
pub fn paths(dir: &str) {
    for length in 1..=LONGEST {
        let path = c(&of_length(length));
        // Only "/" exists.
        let opened = sys!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY);
        assert_eq!(opened.is_ok(), length == 1, "{path:?}");
        // Pauses, because megabytes of paths within milliseconds could overrun the ring buffer.
        if length % 64 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    for path in NASTY {
        let path = c(path);
        let opened = sys!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY);
        assert_eq!(opened, Err(libc::ENOENT), "{path:?}");
    }

    let dir = Path::new(dir);
    let inside = |name: &str| c(dir.join(name).to_str().expect("the test's directory is text").as_bytes());
    fs::write(dir.join("first"), "").expect("a file");
    let (here, first, second) = (inside(""), inside("first"), inside("second"));
    let dirfd = sys!(SYS_openat, libc::AT_FDCWD, here.as_ptr(), libc::O_DIRECTORY).expect("the directory");
    println!("{dirfd}");
    sys!(SYS_openat, dirfd, c"first".as_ptr(), libc::O_RDONLY).expect("the file");
    sys!(SYS_rename, first.as_ptr(), second.as_ptr()).expect("a new name");
    sys!(SYS_renameat2, dirfd, c"second".as_ptr(), dirfd, c"third".as_ptr(), 0).expect("a new name");
    sys!(SYS_symlinkat, c"to nowhere".as_ptr(), dirfd, c"link".as_ptr()).expect("a link");
    sys!(SYS_linkat, dirfd, c"third".as_ptr(), dirfd, c"fourth".as_ptr(), 0).expect("another name");
    // Two paths of maximum length must fit in one event.
    let (from, to) = (c(&of_length(LONGEST)), c(&of_length(LONGEST - 1)));
    assert_eq!(sys!(SYS_rename, from.as_ptr(), to.as_ptr()), Err(libc::ENOENT));
    // The path ends at the end of a page, and the next page is unreadable: a recorder must not read beyond the NUL.
    assert_eq!(
        sys!(SYS_openat, libc::AT_FDCWD, at_page_end(b"/none/at page end\0"), libc::O_RDONLY),
        Err(libc::ENOENT)
    );
}

fn at_page_end(bytes: &[u8]) -> *const u8 {
    // SAFETY: two fresh pages; the second becomes unreadable; the bytes fit in the first.
    unsafe {
        let pages = libc::mmap(
            std::ptr::null_mut(),
            8192,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(pages, libc::MAP_FAILED, "no memory");
        assert_eq!(libc::mprotect(pages.byte_add(4096), 4096, libc::PROT_NONE), 0);
        let start = pages.cast::<u8>().add(4096 - bytes.len());
        start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        start
    }
}
