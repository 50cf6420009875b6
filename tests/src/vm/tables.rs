//! Kernels, suites, programs and packages of the virtual machines.

use std::fmt;
use std::str::FromStr;

/// A kernel that guests can boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Name on the command line.
    pub name: &'static str,
    /// First two numbers of its release; `None` for the newest in the archive.
    pub version: Option<&'static str>,
    /// Whether the kernel may skip an eBPF program that interrupts another one (`docs/kernels.md`). Suites may fail once there.
    pub skips_programs: bool,
}

/// All kernels, oldest first: those of Debian 11, 12, 13, and 13's backports.
pub const KERNELS: &[Kernel] = &[
    Kernel { name: "5.10", version: Some("5.10"), skips_programs: false },
    Kernel { name: "6.1", version: Some("6.1"), skips_programs: false },
    Kernel { name: "6.12", version: Some("6.12"), skips_programs: false },
    Kernel { name: "newest", version: None, skips_programs: true },
];

/// Name of the kernel for tests that run on any kernel.
pub const USUAL_KERNEL: &str = "6.12";

impl FromStr for Kernel {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
        let found = KERNELS.iter().find(|kernel| kernel.name == name);
        found.copied().ok_or_else(|| format!("unknown kernel `{name}`: use {}", names.join(", ")))
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A module of a test binary that runs in guests.
pub struct Suite {
    /// Name of the test binary.
    pub binary: &'static str,
    /// Name of the module. All tests `MODULE::...` run, except those in `excluded`.
    pub module: &'static str,
    /// Tests that do not run in guests.
    pub excluded: &'static [Excluded],
    /// Name of the only kernel on which it runs; `None` for all.
    pub only: Option<&'static str>,
}

/// A test that does not run in guests.
pub struct Excluded {
    /// Name without the module.
    pub test: &'static str,
    /// Why it is excluded.
    pub reason: &'static str,
    /// Name of the kernel on which it is excluded; `None` for all.
    pub kernel: Option<&'static str>,
}

impl Suite {
    /// Whether it runs on this kernel.
    pub fn runs_on(&self, kernel: Kernel) -> bool {
        self.only.is_none_or(|only| only == kernel.name)
    }

    /// The tests that are excluded on this kernel.
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

/// All suites, the quick ones first.
pub const SUITES: &[Suite] = &[
    kernel_suite("clock"),
    kernel_suite("limits"),
    kernel_suite("signal"),
    kernel_suite("uring"),
    kernel_suite("oom"),
    kernel_suite("in_flight"),
    Suite {
        excluded: &[everywhere(
            "ends::hosts_that_do_not_answer_are_unreachable",
            "a guest cannot make virtual network devices",
        )],
        ..kernel_suite("net")
    },
    Suite {
        excluded: &[everywhere(
            "open_connections_are_those_of_ss",
            "guests lack the modules that ss gets a connection's counters from",
        )],
        ..kernel_suite("conns")
    },
    kernel_suite("arguments"),
    kernel_suite("syscalls"),
    kernel_suite("structs"),
    Suite {
        excluded: &[everywhere(
            "a_descriptor_that_other_threads_replace_has_the_name_of_the_file_that_was_read",
            "150,000 reads of eight threads take minutes in emulation",
        )],
        ..kernel_suite("descriptors")
    },
    kernel_suite("identity"),
    kernel_suite("lifecycle"),
    Suite {
        binary: "kernel",
        module: "strace_comparison",
        excluded: &[
            everywhere(
                "arguments_and_names_of_descriptors_equal_those_of_strace",
                "guests lack most of the programs that it compares",
            ),
            everywhere("threads_equal_strace", "strace of many threads takes minutes in emulation"),
            everywhere("dd_call_count_equals_strace", "strace of 200,000 calls takes half a minute"),
            Excluded {
                test: "seccomp_results_equal_strace",
                reason: "a call for which seccomp kills the process reaches no tracepoint",
                kernel: Some("5.10"),
            },
        ],
        only: None,
    },
    // Real containers with cgroup2 only. On the other kernels, another test records a single container.
    Suite {
        binary: "containers",
        module: "identification",
        excluded: &[
            everywhere(
                "every_cgroup_path_shape_is_identified_and_filtered",
                "34 containers, each with its own capture, take minutes in emulation",
            ),
            everywhere("v1_hierarchies_identify_containers", "a guest has no v1 hierarchy"),
            everywhere(
                "recorder_in_a_container_records_the_host",
                "a guest has no users, and its root is not on a disk",
            ),
        ],
        only: Some("6.12"),
    },
];

/// Programs of this machine that the tests start: those that busybox lacks or implements with other options.
pub const PROGRAMS: &[&str] = &[
    "bash", "chroot", "date", "dd", "dmesg", "ldd", "runc", "setpriv", "setsid", "ss", "strace", "tar", "tc",
    "timeout", "umount", "unshare",
];

/// Directories in which tests expect these programs.
pub const PROGRAM_DIRS: &[&str] = &["/sbin", "/usr/bin", "/usr/sbin"];

/// Modules that guests load unless they are built in: disks, file system, device mapper, overlayfs.
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

/// Default mirror for kernels and the emulator; `KTAPE_DEBIAN_MIRROR` overrides it.
pub const MIRROR: &str = "http://deb.debian.org";
/// Keys that sign the archive.
pub const ARCHIVE_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Archive (path below the mirror) and suite of each package source.
pub const SUITES_OF_ARCHIVE: &[(&str, &str)] = &[
    ("debian", "bookworm"),
    ("debian-security", "bookworm-security"),
    ("debian-security", "bullseye-security"),
    ("debian", "trixie"),
    ("debian", "trixie-backports"),
];
/// The suite of the emulator and its libraries.
pub const EMULATOR_SUITE: &str = "trixie";
