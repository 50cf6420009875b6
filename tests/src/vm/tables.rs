//! What the virtual machines are made of, and what runs in them.

use std::fmt;
use std::str::FromStr;

/// A kernel that can be booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// As on the command line.
    pub name: &'static str,
    /// The first two numbers of its release; `None` for the newest one in the archive.
    pub version: Option<&'static str>,
    /// Whether it may skip programs that another one interrupted (`docs/kernels.md`): a suite may fail there once.
    pub skips_programs: bool,
}

/// Every one, the oldest first: Debian 11, 12, 13, and the backports of 13.
pub const KERNELS: &[Kernel] = &[
    Kernel { name: "5.10", version: Some("5.10"), skips_programs: false },
    Kernel { name: "6.1", version: Some("6.1"), skips_programs: false },
    Kernel { name: "6.12", version: Some("6.12"), skips_programs: false },
    Kernel { name: "newest", version: None, skips_programs: true },
];

/// The kernel of tests that need no certain one, by name.
pub const USUAL_KERNEL: &str = "6.12";

impl FromStr for Kernel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
        let found = KERNELS.iter().find(|kernel| kernel.name == name);
        found.copied().ok_or_else(|| format!("no kernel `{name}`: there are {}", names.join(", ")))
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A module of a test binary that runs in the guests.
pub struct Suite {
    /// The test binary.
    pub binary: &'static str,
    /// The module: all tests `MODULE::...` run, but those of `excluded`.
    pub module: &'static str,
    /// What does not run.
    pub excluded: &'static [Excluded],
    /// The name of the only kernel where it runs; `None` for all.
    pub only: Option<&'static str>,
}

/// A test that does not run in guests.
pub struct Excluded {
    /// Its name, without the module.
    pub test: &'static str,
    /// Why.
    pub reason: &'static str,
    /// The name of the kernel where it does not run; `None` for all.
    pub kernel: Option<&'static str>,
}

impl Suite {
    /// Whether it runs on this kernel.
    pub fn runs_on(&self, kernel: Kernel) -> bool {
        self.only.is_none_or(|only| only == kernel.name)
    }

    /// What does not run on this kernel.
    pub fn excluded_on(&self, kernel: Kernel) -> impl Iterator<Item = &Excluded> {
        self.excluded.iter().filter(move |excluded| excluded.kernel.is_none_or(|other| other == kernel.name))
    }
}

const fn kernel_suite(module: &'static str) -> Suite {
    Suite { binary: "kernel", module, excluded: &[], only: None }
}

const fn everywhere(test: &'static str, reason: &'static str) -> Excluded {
    Excluded { test, reason, kernel: None }
}

/// What runs in each guest, the quick ones first.
pub const SUITES: &[Suite] = &[
    kernel_suite("clock"),
    kernel_suite("signal"),
    kernel_suite("oom"),
    kernel_suite("in_flight"),
    kernel_suite("net"),
    kernel_suite("syscalls"),
    kernel_suite("lifecycle"),
    Suite {
        binary: "kernel",
        module: "strace_comparison",
        excluded: &[
            everywhere("threads_equal_strace", "strace of many threads takes minutes in emulation"),
            everywhere("dd_call_count_equals_strace", "strace of 200,000 calls takes half a minute"),
            Excluded {
                test: "seccomp_results_equal_strace",
                reason: "a call that seccomp kills for reaches no tracepoint there",
                kernel: Some("5.10"),
            },
        ],
        only: None,
    },
    // Real containers where there is cgroup2 alone. On the other kernels it is one container, recorded with every commit.
    Suite {
        binary: "containers",
        module: "identification",
        excluded: &[
            everywhere(
                "every_cgroup_path_shape_is_identified_and_filtered",
                "34 containers and as many recordings take minutes in emulation",
            ),
            everywhere("v1_hierarchies_identify_containers", "there is no v1 hierarchy"),
            everywhere(
                "recorder_in_a_container_records_the_host",
                "a guest has neither users nor a disk as its root",
            ),
        ],
        only: Some("6.12"),
    },
];

/// Programs of this machine that the tests start, and that busybox has not, or with other options.
pub const PROGRAMS: &[&str] = &[
    "bash", "chroot", "date", "dd", "dmesg", "ldd", "runc", "setpriv", "setsid", "ss", "strace", "tar", "tc",
    "timeout", "umount", "unshare",
];

/// Directories where tests look for them by path.
pub const PROGRAM_DIRS: &[&str] = &["/sbin", "/usr/bin", "/usr/sbin"];

/// Modules that are loaded where the kernel does not have them built in: disks, a file system, device mapper, union
/// mounts.
pub const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "crc32c_generic",
    "crc32c_intel",
    "ext4",
    "loop",
    "dm_mod",
    "dm_delay",
    "overlay",
    "null_blk",
];

/// Where kernels and the emulator are downloaded, unless `KTAPE_DEBIAN_MIRROR` is set.
pub const MIRROR: &str = "http://deb.debian.org";
/// What the archive is signed with.
pub const ARCHIVE_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Below the mirror: archive, suite.
pub const SUITES_OF_ARCHIVE: &[(&str, &str)] = &[
    ("debian", "bookworm"),
    ("debian-security", "bookworm-security"),
    ("debian-security", "bullseye-security"),
    ("debian", "trixie"),
    ("debian", "trixie-backports"),
];
/// The suite that the emulator comes from, with all its libraries.
pub const EMULATOR_SUITE: &str = "trixie";
