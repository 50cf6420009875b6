//! Runs real containers with runc: a root file system with busybox and the workload, and any cgroup path.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::cgroup;

/// A directory with a root file system and runc's state, shared by all containers of a test.
pub struct Runtime {
    dir: tempfile::TempDir,
}

/// Options of one container.
pub struct Options<'a> {
    /// `linux.cgroupsPath`: an absolute path, the same in each hierarchy.
    pub cgroup: &'a str,
    /// Command to run, with paths inside the container.
    pub args: &'a [&'a str],
    /// Whether to apply a seccomp profile that denies the same calls as Docker's default profile.
    pub seccomp: bool,
}

impl Runtime {
    /// Creates the root file system: busybox in /bin, and `programs` with their libraries.
    ///
    /// # Panics
    /// If busybox or a program is missing.
    pub fn new(programs: &[&Path]) -> Self {
        let dir = tempfile::Builder::new().prefix("ktape-runc-").tempdir().expect("a temporary directory");
        let rootfs = dir.path().join("rootfs");
        for name in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
            fs::create_dir_all(rootfs.join(name)).expect("a directory");
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("busybox-static is installed");
        let status = Command::new("chroot")
            .arg(&rootfs)
            .args(["/bin/busybox", "--install", "-s", "/bin"])
            .status()
            .expect("chroot starts");
        assert!(status.success(), "busybox --install: {status}");
        for program in programs {
            let name = program.file_name().expect("a program has a name");
            fs::copy(program, rootfs.join("bin").join(name)).expect("the program can be copied");
            for library in libraries(program) {
                let inside = rootfs.join(library.strip_prefix("/").expect("ldd prints absolute paths"));
                fs::create_dir_all(inside.parent().expect("a library lies in a directory"))
                    .expect("a directory");
                fs::copy(&library, inside).expect("the library can be copied");
            }
        }
        Self { dir }
    }

    /// Starts a container in the background. `name` is its ID in runc.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(&self, name: &str, options: &Options<'_>) -> Container {
        self.start_with(name, options, |_| ())
    }

    /// Like [`Self::start`], but lets `change` modify its `config.json`: limits, mounts, namespaces.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(
        &self,
        name: &str,
        options: &Options<'_>,
        change: impl FnOnce(&mut Value),
    ) -> Container {
        let bundle = self.bundle(name, options, change);
        let pid_file = bundle.join("pid");
        let output = fs::File::create(bundle.join("output")).expect("a file for the output");
        // Created before the start, because a failed start may also leave cgroups behind.
        let mut container = Container {
            root: self.dir.path().join("state"),
            name: name.to_owned(),
            cgroup: options.cgroup.to_owned(),
            bundle: bundle.clone(),
            pid: 0,
        };
        let status = self
            .runc()
            .args(["run", "-d", "--pid-file"])
            .arg(&pid_file)
            .arg("-b")
            .arg(&bundle)
            .arg(name)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second descriptor"))
            .stderr(output)
            .status()
            .expect("runc starts");
        assert!(status.success(), "runc run {name}: {status}: {}", container.output());
        let pid = fs::read_to_string(&pid_file).expect("runc wrote the process id");
        container.pid = pid.trim().parse().expect("a process id");
        container
    }

    /// Command line that runs a container in the foreground.
    pub fn command(&self, name: &str, options: &Options<'_>) -> Vec<String> {
        let bundle = self.bundle(name, options, |_| ());
        let state = self.dir.path().join("state");
        let words =
            ["runc", "--root", &state.to_string_lossy(), "run", "-b", &bundle.to_string_lossy(), name]
                .map(str::to_owned);
        words.into()
    }

    fn runc(&self) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(self.dir.path().join("state"));
        runc
    }

    fn bundle(&self, name: &str, options: &Options<'_>, change: impl FnOnce(&mut Value)) -> PathBuf {
        let bundle = self.dir.path().join(name);
        fs::create_dir_all(&bundle).expect("a directory");
        let mut config = config(&self.dir.path().join("rootfs"), options);
        change(&mut config);
        fs::write(bundle.join("config.json"), config.to_string()).expect("the bundle can be written");
        // runc opens the root file system as the user that is root in the container.
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
        bundle
    }
}

/// Changes a `config.json` so that the container uses the host's network.
///
/// # Panics
/// If the configuration has no namespaces.
pub fn on_host_network(config: &mut Value) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "network");
}

/// Changes a `config.json` so that the host's directory `source` appears at `inside`.
///
/// # Panics
/// If the configuration has no mounts.
pub fn with_mount(config: &mut Value, source: &Path, inside: &str) {
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts
        .push(json!({ "destination": inside, "type": "bind", "source": source, "options": ["rbind", "rw"] }));
}

/// A container. Dropping it deletes the container and its cgroups.
pub struct Container {
    root: PathBuf,
    name: String,
    cgroup: String,
    bundle: PathBuf,
    /// Process ID of its first process, on the host.
    pub pid: u32,
}

impl Container {
    /// ID of its cgroup in cgroup2.
    ///
    /// # Panics
    /// If the cgroup does not exist.
    pub fn cgroup_id(&self) -> u64 {
        let dir = cgroup::v2_root().join(self.cgroup.trim_start_matches('/'));
        fs::metadata(dir).expect("the container's cgroup exists").ino()
    }

    /// Sends a signal to its first process.
    pub fn signal(&self, signal: i32) {
        // SAFETY: integers only.
        unsafe { libc::kill(self.pid.cast_signed(), signal) };
    }

    /// Output so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.bundle.join("output")).unwrap_or_default()
    }

    /// Runs a command in the container until it exits.
    ///
    /// # Panics
    /// If runc does not start.
    pub fn exec(&self, args: &[&str]) -> Output {
        Command::new("runc")
            .arg("--root")
            .arg(&self.root)
            .args(["exec", &self.name])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("runc starts")
    }

    /// Whether its first process has exited.
    pub fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let delete = Command::new("runc")
            .arg("--root")
            .arg(&self.root)
            .args(["delete", "-f", &self.name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if let Err(error) = delete {
            eprintln!("cannot delete container {}: {error}", self.name);
        }
        remove_cgroups(&self.cgroup);
    }
}

/// Removes a cgroup and its empty parents, in every hierarchy.
pub fn remove_cgroups(path: &str) {
    for root in cgroup::roots() {
        let mut dir = root.join(path.trim_start_matches('/'));
        if dir.is_dir() {
            cgroup::remove(&dir);
        }
        while dir.pop() && dir != root {
            // Fails, as intended, if another cgroup or a process is left.
            if fs::remove_dir(&dir).is_err() && dir.is_dir() {
                break;
            }
        }
    }
}

/// Shared libraries of a program, and the dynamic loader.
pub(crate) fn libraries(program: &Path) -> Vec<PathBuf> {
    let out = Command::new("ldd").arg(program).output().expect("ldd starts");
    String::from_utf8_lossy(&out.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// The `config.json` of a container.
pub(crate) fn config(rootfs: &Path, options: &Options<'_>) -> Value {
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": options.args,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": rootfs, "readonly": false },
        "hostname": "test",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
        ],
        "linux": {
            "cgroupsPath": options.cgroup,
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" }, { "type": "network" },
            ],
        },
    });
    if options.seccomp {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{
                "names": [
                    "acct", "add_key", "bpf", "clock_settime", "create_module", "delete_module", "finit_module",
                    "init_module", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "mount",
                    "move_pages", "name_to_handle_at", "nfsservctl", "open_by_handle_at", "perf_event_open",
                    "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace", "quotactl", "reboot",
                    "request_key", "setns", "settimeofday", "stime", "swapoff", "swapon", "umount2", "unshare",
                    "userfaultfd", "vm86",
                ],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": libc::EPERM,
            }],
        });
    }
    config
}
