//! Virtual machines: another kernel, cgroup2 only with all controllers, and private disks. They are emulated and need no
//! KVM, so they test correctness, never speed.
//!
//! `cargo xtask guest` prepares the emulator and the kernels. A guest boots and runs a script, with a shell, the given programs
//! and `functions.sh`. It returns the script's output, its exit status, and the files that it leaves in `/out`.

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

/// The kernel of tests that run on any kernel: `KTAPE_GUEST_KERNEL`, else [`tables::USUAL_KERNEL`].
pub fn kernel() -> String {
    env::var("KTAPE_GUEST_KERNEL").unwrap_or_else(|_| tables::USUAL_KERNEL.to_owned())
}

/// Default time after which a guest is killed and its test fails.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Directory in the initramfs that becomes the guest's root file system.
const TREE: &str = "tree";
/// The containers' root file system in the guest.
const ROOTFS: &str = "/rootfs";
const WORKLOAD: &str = "ktape-workload";
/// Size of the disk that returns files, bytes.
const OUT_SIZE: u64 = 512 << 20;

/// The configuration of a virtual machine.
pub struct Guest {
    emulator: PathBuf,
    /// Directory with the prepared kernel.
    kernel: PathBuf,
    /// Names in the guest, and paths on this machine.
    programs: Vec<(String, PathBuf)>,
    files: Vec<(String, Vec<u8>)>,
    disks: Vec<Disk>,
    /// MiB.
    memory: u32,
    parameters: String,
    deadline: Duration,
}

impl Guest {
    /// A guest with this kernel (such as `6.12`), the `ktape` of the tests, and `workload`.
    ///
    /// # Panics
    /// If `cargo xtask guest` has not prepared this kernel.
    pub fn new(kernel: &str, workload: &Path) -> Self {
        Self::with_program(kernel, ktape::binary(), workload)
    }

    /// A guest with another `ktape`.
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

    /// Release of the kernel, as in `uname -r`.
    ///
    /// # Panics
    /// If the prepared kernel is incomplete.
    pub fn release(&self) -> String {
        fs::read_to_string(self.kernel.join("release")).expect("the kernel's release").trim().to_owned()
    }

    /// Replaces the default [`DEADLINE`].
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Adds a program of this machine, with its libraries.
    #[must_use]
    pub fn program(mut self, path: &str) -> Self {
        let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !self.programs.iter().any(|(other, _)| *other == name) {
            self.programs.push((name, path.into()));
        }
        self
    }

    /// Adds a program under another name.
    #[must_use]
    pub fn program_at(mut self, name: &str, path: &Path) -> Self {
        self.programs.push((name.to_owned(), path.to_path_buf()));
        self
    }

    /// Adds a file. `path` is absolute, but without its leading slash.
    #[must_use]
    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.files.push((path.to_owned(), content.to_vec()));
        self
    }

    /// Sets the guest's memory in MiB. The default is 1024.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory = mib;
        self
    }

    /// Adds a parameter to the kernel's command line.
    #[must_use]
    pub fn parameter(mut self, parameter: &str) -> Self {
        self.parameters.push(' ');
        self.parameters.push_str(parameter);
        self
    }

    /// Adds a disk, which the guest sees as `/dev/disk-NAME`.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// Adds the bundle `/bundles/NAME` for `runc run -b`. Its root file system has a shell and the workload. `edit` modifies its
    /// `config.json`.
    #[must_use]
    pub fn bundle(mut self, name: &str, options: &Options<'_>, edit: impl FnOnce(&mut Value)) -> Self {
        self = self.program("/usr/sbin/runc");
        let mut config = container::config(Path::new(ROOTFS), options);
        edit(&mut config);
        self.files.push((format!("bundles/{name}/config.json"), config.to_string().into_bytes()));
        self
    }

    /// Boots, runs the script and powers off.
    ///
    /// # Panics
    /// If anything but the script fails, or the deadline passes.
    pub fn run(self, script: &str) -> Ran {
        let dir = ktape::disk_dir();
        let at = |name: &str| dir.path().join(name);
        self.write_archive(&at("initrd"), script).expect("the initramfs can be written");
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
                "the guest {} after {:?}\n--- script:\n{output}\n--- console:\n{}\n--- emulator:\n{}",
                if in_time { "exited without a result" } else { "was killed" },
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

    /// Boots and runs the script, waits until it prints a line that starts with `sign`, waits for `more`, and cuts the power.
    /// Returns the script's output so far. The file of a [kept](Disk::kept) disk has what the guest had written to the disk.
    ///
    /// # Panics
    /// If there is no such line before the deadline.
    pub fn cut(self, script: &str, sign: &str, more: Duration) -> String {
        let dir = ktape::disk_dir();
        let at = |name: &str| dir.path().join(name);
        self.write_archive(&at("initrd"), script).expect("the initramfs can be written");
        let mut child = start_with_us(&mut self.emulator(dir.path()));
        let read = |name: &str| String::from_utf8_lossy(&fs::read(at(name)).unwrap_or_default()).into_owned();
        let start = Instant::now();
        let mut seen: Option<Instant> = None;
        while seen.is_none_or(|seen| seen.elapsed() < more) {
            let exited = child.try_wait().expect("the emulator can be waited for").is_some();
            assert!(
                !exited && start.elapsed() < self.deadline,
                "the guest {} before its power could be cut\n--- script:\n{}\n--- console:\n{}",
                if exited { "exited" } else { "did not print the expected line" },
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

    /// The command that boots the guest. `dir` contains its initramfs and receives its output.
    fn emulator(&self, dir: &Path) -> Command {
        let at = |name: &str| dir.join(name);
        let mut command = Command::new(&self.emulator);
        // One thread for both CPUs: with two, guests sometimes hung.
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

/// Results of a guest.
pub struct Ran {
    /// Exit status of the script.
    pub status: i32,
    /// Output of the script.
    pub output: String,
    /// Messages of the kernel.
    pub console: String,
    /// Removed when this is dropped.
    dir: tempfile::TempDir,
    files: PathBuf,
}

impl Ran {
    /// Path of a file that the script left in `/out`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.join(name)
    }

    /// Content of a file that the script left in `/out`.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn text(&self, name: &str) -> String {
        let file = self.file(name);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Directory with the disk images and all other files, until this is dropped.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Asserts that the script succeeded.
    ///
    /// # Panics
    /// If it failed.
    pub fn expect_success(&self) {
        assert_eq!(self.status, 0, "the guest's script failed:\n{}\n{}", self.output, self.console);
    }
}

/// Starts a program that is killed if this thread exits before it.
fn start_with_us(command: &mut Command) -> Child {
    // SAFETY: prctl is async-signal-safe, so it may be called between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// Waits until the child exits. If the deadline passes, kills it and returns false.
fn wait(child: &mut Child, deadline: Duration) -> bool {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return true,
            Ok(None) if start.elapsed() < deadline => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // kill fails if the child has already exited; wait reaps it.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}
