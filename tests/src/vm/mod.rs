//! Virtual machines: another kernel, pure cgroup2 with all controllers, and disks of one's own. They are emulated, so
//! that it works where there is no KVM; what they show is correctness, never speed.
//!
//! `cargo xtask guest` prepares the emulator and the kernels. A guest boots with a script, which has a shell, the given
//! programs and `functions.sh`; what it prints, its exit status and the files that it leaves in `/out` come back.

mod archive;
mod cpio;
mod disk;
pub mod matrix;
pub mod prepare;
mod report;
mod systemd;
pub mod tables;

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use self::disk::Disk;
use crate::container::{self, Options};
use crate::ktape;

/// The kernel of a test that does not need a certain one: `KTAPE_GUEST_KERNEL`, else [`tables::USUAL_KERNEL`].
pub fn kernel() -> String {
    env::var("KTAPE_GUEST_KERNEL").unwrap_or_else(|_| tables::USUAL_KERNEL.to_owned())
}

/// A guest that runs longer is killed, and the test fails.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Where a guest's payload lies in the first file system.
const TREE: &str = "tree";
/// What a container's root holds, in the guest.
const ROOTFS: &str = "/rootfs";
const WORKLOAD: &str = "ktape-workload";
/// For the files that come back, in bytes.
const OUT_SIZE: u64 = 512 << 20;

/// A virtual machine in the making.
pub struct Guest {
    emulator: PathBuf,
    kernel: PathBuf,
    /// Names in the guest, and files here.
    programs: Vec<(String, PathBuf)>,
    files: Vec<(String, Vec<u8>)>,
    disks: Vec<Disk>,
    memory: u32,
    parameters: String,
    deadline: Duration,
}

impl Guest {
    /// One with this kernel (`6.12`), `ktape`, and `workload`.
    ///
    /// # Panics
    /// If `cargo xtask guest` has not prepared this kernel.
    pub fn new(kernel: &str, workload: &Path) -> Self {
        Self::with_program(kernel, ktape::binary(), workload)
    }

    /// The same with this `ktape`.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn with_program(kernel: &str, ktape: &Path, workload: &Path) -> Self {
        let dir = prepare::cache_dir().expect("a directory for virtual machines");
        let (emulator, directory) = (dir.join("qemu/qemu-system-x86_64"), dir.join("kernels").join(kernel));
        assert!(
            emulator.is_file() && directory.is_dir(),
            "this test boots Linux {kernel}: run `cargo xtask guest {kernel}` first"
        );
        Self {
            emulator,
            kernel: directory,
            programs: vec![
                ("ktape".to_owned(), ktape.to_path_buf()),
                (WORKLOAD.to_owned(), workload.to_path_buf()),
            ],
            files: Vec::new(),
            disks: Vec::new(),
            memory: 1024,
            parameters: String::new(),
            deadline: DEADLINE,
        }
    }

    /// The kernel's release, as `uname -r` says.
    ///
    /// # Panics
    /// If what was prepared is not whole.
    pub fn release(&self) -> String {
        fs::read_to_string(self.kernel.join("release")).expect("the kernel's release").trim().to_owned()
    }

    /// Kill it earlier than after [`DEADLINE`].
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// One more program of this machine, with its libraries.
    #[must_use]
    pub fn program(mut self, path: &str) -> Self {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !self.programs.iter().any(|(other, _)| *other == name) {
            self.programs.push((name, path.into()));
        }
        self
    }

    /// One more program, under its own name.
    #[must_use]
    pub fn program_at(mut self, name: &str, path: &Path) -> Self {
        self.programs.push((name.to_owned(), path.to_path_buf()));
        self
    }

    /// One more file, by its path without the first slash.
    #[must_use]
    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.files.push((path.to_owned(), content.to_vec()));
        self
    }

    /// Memory of the machine, in MiB, instead of 1024.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory = mib;
        self
    }

    /// One more parameter of the kernel's command line.
    #[must_use]
    pub fn parameter(mut self, parameter: &str) -> Self {
        self.parameters.push(' ');
        self.parameters.push_str(parameter);
        self
    }

    /// One more disk: `/dev/disk-NAME`.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// The bundle `/bundles/NAME` for `runc run -b`, whose root has a shell and the workload. `edit` changes its
    /// configuration.
    #[must_use]
    pub fn bundle(mut self, name: &str, options: &Options<'_>, edit: impl FnOnce(&mut Value)) -> Self {
        self = self.program("/usr/sbin/runc");
        let mut config = container::config(Path::new(ROOTFS), options);
        edit(&mut config);
        self.files.push((format!("bundles/{name}/config.json"), config.to_string().into_bytes()));
        self
    }

    /// Boot, run the script and switch off.
    ///
    /// # Panics
    /// If anything fails but the script, or the deadline passes.
    pub fn run(self, script: &str) -> Ran {
        let dir = ktape::disk_dir();
        let at = |name: &str| dir.path().join(name);
        self.write_archive(&at("initrd"), script).expect("the first file system can be written");
        let mut command = self.emulator(dir.path());
        let start = Instant::now();
        let in_time = wait(&mut start_with_us(&mut command), self.deadline);
        let read = |name: &str| String::from_utf8_lossy(&fs::read(at(name)).unwrap_or_default()).into_owned();
        let (output, console) = (read("output"), read("console"));
        let exit = output.rsplit_once("\nktape-guest-exit ");
        let status = exit.and_then(|(_, status)| status.trim().parse::<i32>().ok());
        let Some(status) = status.filter(|_| in_time) else {
            let tail: Vec<&str> = console.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            panic!(
                "the guest {} after {:?}\n--- its script:\n{output}\n--- its console:\n{}\n--- the emulator:\n{}",
                if in_time { "ended without a result" } else { "was killed" },
                start.elapsed(),
                tail.join("\n"),
                read("problems")
            );
        };
        let files = at("files");
        fs::create_dir(&files).expect("a directory");
        let untar = Command::new("tar")
            .arg("-xf")
            .arg(at("out"))
            .arg("-C")
            .arg(&files)
            .stdin(Stdio::null())
            .output()
            .expect("tar starts");
        assert!(untar.status.success(), "{}", String::from_utf8_lossy(&untar.stderr));
        let output = exit.map(|(output, _)| output.to_owned()).unwrap_or_default();
        eprintln!("the guest ran for {:?}", start.elapsed());
        Ran { status, output, console, dir, files }
    }

    /// Boot and run the script, wait until a line of what it prints begins with `sign`, and for `more`; then cut the power.
    /// What the script printed until then. The file of a [kept](Disk::kept) disk has what the guest had written to it.
    ///
    /// # Panics
    /// If the sign does not come before the deadline.
    pub fn cut(self, script: &str, sign: &str, more: Duration) -> String {
        let dir = ktape::disk_dir();
        let at = |name: &str| dir.path().join(name);
        self.write_archive(&at("initrd"), script).expect("the first file system can be written");
        let mut child = start_with_us(&mut self.emulator(dir.path()));
        let read = |name: &str| String::from_utf8_lossy(&fs::read(at(name)).unwrap_or_default()).into_owned();
        let start = Instant::now();
        let mut seen: Option<Instant> = None;
        while seen.is_none_or(|seen| seen.elapsed() < more) {
            let ended = child.try_wait().expect("the emulator can be waited for").is_some();
            assert!(
                !ended && start.elapsed() < self.deadline,
                "the guest {} before its power could be cut\n--- its script:\n{}\n--- its console:\n{}",
                if ended { "ended" } else { "did not say what was waited for" },
                read("output"),
                read("console")
            );
            if seen.is_none() && read("output").lines().any(|line| line.starts_with(sign)) {
                seen = Some(Instant::now());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("the emulator runs");
        child.wait().expect("the emulator can be waited for");
        read("output")
    }

    /// The command that boots it, with everything in this directory.
    fn emulator(&self, dir: &Path) -> Command {
        let at = |name: &str| dir.join(name);
        let mut command = Command::new(&self.emulator);
        // One thread for both processors: with two, guests were seen to hang.
        command.args([
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            &self.memory.to_string(),
        ]);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-monitor",
            "none",
        ]);
        command.arg("-serial").arg(format!("file:{}", at("console").display()));
        command.arg("-serial").arg(format!("file:{}", at("output").display()));
        command.arg("-kernel").arg(self.kernel.join("vmlinuz")).arg("-initrd").arg(at("initrd"));
        let fixed = "console=ttyS0 loglevel=4 panic=-1 rdinit=/init mitigations=off nokaslr nowatchdog";
        command.arg("-append").arg(format!("{fixed}{}", self.parameters));
        for disk in [&Disk::new("out", OUT_SIZE)].into_iter().chain(&self.disks) {
            disk.add_to(&mut command, &at(disk.name));
        }
        let problems = File::create(at("problems")).expect("a file for the emulator's messages");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(problems);
        command
    }
}

/// What a guest left.
pub struct Ran {
    /// The script's exit status.
    pub status: i32,
    /// What the script printed.
    pub output: String,
    /// What the kernel printed.
    pub console: String,
    /// Where everything lies until this is dropped.
    dir: tempfile::TempDir,
    files: PathBuf,
}

impl Ran {
    /// A file that the script left in `/out`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    /// The text of such a file.
    ///
    /// # Panics
    /// If it is not there.
    pub fn text(&self, name: &str) -> String {
        let file = self.file(name);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Where the disk images and all else lie until this is dropped.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Fail unless the script succeeded.
    ///
    /// # Panics
    /// If it did not.
    pub fn expect_success(&self) {
        assert_eq!(self.status, 0, "the guest's script failed:\n{}\n{}", self.output, self.console);
    }
}

/// Start a program that is killed should this thread end before it.
fn start_with_us(command: &mut Command) -> Child {
    // SAFETY: a plain system call, which may be made between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// Wait for its end; if the deadline passes kill it, and say false.
fn wait(child: &mut Child, deadline: Duration) -> bool {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return true,
            Ok(None) if start.elapsed() < deadline => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // It is gone already, or the second call reaps it.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}
