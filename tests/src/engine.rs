//! Private container engines: Docker, Podman, containerd and LXC, each with state and socket in a temporary directory.

mod cri;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{cgroup, container, wait};

/// Timeout for a daemon to answer, and for a task to disappear.
const DEADLINE: Duration = Duration::from_secs(30);
/// Name of the image of all containers.
const IMAGE: &str = "localhost/bb:1";

/// Content of `/work` in each container: runs two hundred processes, then sleeps.
const WORK: &str = "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done; exec /bin/sleep 1000\n";

pub use cri::Pod;

/// The engine of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// dockerd.
    Docker,
    /// `podman system service`.
    Podman,
    /// containerd, with containers started by `ctr`.
    Containerd,
    /// LXC. It has no daemon.
    Lxc,
}

/// An engine with its daemon. Dropping it kills the daemon and all containers.
pub struct Engine {
    kind: Kind,
    dir: tempfile::TempDir,
    daemon: Option<Child>,
    /// Cgroups of all containers that were started.
    cgroups: Mutex<Vec<String>>,
}

impl Engine {
    /// Starts the daemon and imports a busybox image.
    ///
    /// # Panics
    /// If that fails.
    pub fn start(kind: Kind) -> Self {
        // A short path, because that of a socket is limited to 107 bytes.
        let dir =
            tempfile::Builder::new().prefix("kt-").tempdir_in("/var/tmp").expect("a temporary directory");
        let mut engine = Self { kind, dir, daemon: None, cgroups: Vec::new().into() };
        engine.make_image();
        engine.start_daemon();
        let tar = engine.path("rootfs.tar");
        match kind {
            Kind::Docker | Kind::Podman => {
                engine.must(&["import", &tar, IMAGE]);
            }
            Kind::Containerd => engine.import_for_cri(),
            Kind::Lxc => {}
        }
        engine
    }

    fn cgroups(&self) -> MutexGuard<'_, Vec<String>> {
        self.cgroups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    fn make_image(&self) {
        let rootfs = self.dir.path().join("rootfs");
        for name in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
            fs::create_dir_all(rootfs.join(name)).expect("a directory");
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("busybox-static is installed");
        fs::write(rootfs.join("work"), WORK).expect("a file");
        let mut install = Command::new("chroot");
        install.arg(&rootfs).args(["/bin/busybox", "--install", "-s", "/bin"]);
        run(&mut install);
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&rootfs).arg("-cf").arg(self.path("rootfs.tar")).arg(".");
        run(&mut tar);
    }

    /// Path of the daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// Value of ktape's `--runtime` for this engine.
    pub fn option(&self) -> String {
        let name = match self.kind {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
            Kind::Containerd | Kind::Lxc => "containerd",
        };
        format!("{name}={}", self.socket().display())
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Panics
    /// If it does not answer in time.
    pub fn start_daemon(&mut self) {
        let socket = format!("unix://{}", self.socket().display());
        let mut command = Command::new("unshare");
        // In its own network namespace, so that bridges and firewall rules do not affect the host.
        command.arg("-n");
        match self.kind {
            Kind::Docker => {
                command.args([
                    "dockerd",
                    "--data-root",
                    &self.path("data"),
                    "--exec-root",
                    &self.path("exec"),
                ]);
                command.args([
                    "-p",
                    &self.path("pid"),
                    "-H",
                    &socket,
                    "--bridge",
                    "none",
                    "--iptables=false",
                ]);
                command.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
            }
            Kind::Podman => {
                let conf = "[containers]\ndefault_ulimits=[]\n[engine]\ncgroup_manager=\"cgroupfs\"\n\
                    events_logger=\"file\"\nruntime=\"runc\"\n";
                fs::write(self.path("containers.conf"), conf).expect("a file");
                command.arg("podman").args(self.podman_options());
                command.args(["system", "service", "--time=0", &socket]);
                command.env("CONTAINERS_CONF", self.path("containers.conf"));
            }
            Kind::Containerd => {
                let conf = format!(
                    "version = 2\nroot = \"{}\"\nstate = \"{}\"\n[grpc]\naddress = \"{}\"\n\
                    [plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\nsandbox_image = \"{IMAGE}\"\n\
                    [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n\
                    [plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"{}\"\n",
                    self.path("root"),
                    self.path("state"),
                    self.socket().display(),
                    self.path("cni"),
                );
                fs::write(self.path("config.toml"), conf).expect("a file");
                command.args(["containerd", "-c", &self.path("config.toml")]);
            }
            Kind::Lxc => return,
        }
        let log = File::create(self.path("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor")).stderr(log);
        // In its own process group, so that its children can be killed with it.
        command.process_group(0);
        self.daemon = Some(command.spawn().expect("unshare starts"));
        wait::until("the daemon answers", DEADLINE, || {
            let mut client = self.client();
            client.arg(if self.kind == Kind::Podman { "info" } else { "version" });
            let works = client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            (self.socket().exists() && works.is_ok_and(|status| status.success())).then_some(())
        });
    }

    /// Stops the daemon. Its containers may continue to run.
    ///
    /// # Panics
    /// If it does not exit within 10 s.
    pub fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        signal_group(&daemon, libc::SIGTERM);
        let mut exited = false;
        for _ in 0..1000 {
            exited = daemon.try_wait().expect("the daemon can be waited for").is_some();
            if exited {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(
            exited,
            "the daemon does not exit: {}",
            fs::read_to_string(self.path("log")).unwrap_or_default()
        );
        let _ = fs::remove_file(self.socket());
    }

    fn podman_options(&self) -> Vec<String> {
        let (root, run) = (self.path("root"), self.path("run"));
        ["--root", &root, "--runroot", &run, "--storage-driver", "vfs"].map(str::to_owned).into()
    }

    fn client(&self) -> Command {
        match self.kind {
            Kind::Docker => {
                let mut docker = Command::new("docker");
                docker.arg("-H").arg(format!("unix://{}", self.socket().display()));
                docker
            }
            Kind::Podman => {
                let mut podman = Command::new("podman");
                podman.args(self.podman_options()).env("CONTAINERS_CONF", self.path("containers.conf"));
                podman
            }
            Kind::Containerd | Kind::Lxc => {
                let mut ctr = Command::new("ctr");
                ctr.arg("-a").arg(self.socket());
                ctr
            }
        }
    }

    fn must(&self, words: &[&str]) -> String {
        let mut client = self.client();
        client.args(words);
        run(&mut client)
    }

    /// Runs a container and returns its full ID. With `stays` it runs in the background; otherwise this waits until it exits
    /// and removes it.
    ///
    /// # Panics
    /// If that fails.
    pub fn run(&self, name: &str, labels: &[(&str, &str)], args: &[&str], stays: bool) -> String {
        let mut words: Vec<String> = Vec::new();
        let labels = labels.iter().flat_map(|(key, value)| ["--label".to_owned(), format!("{key}={value}")]);
        let cgroup = match self.kind {
            Kind::Docker | Kind::Podman => {
                words.extend(["run", "--network", "none", "--name", name].map(str::to_owned));
                words.push(if stays { "-d" } else { "--rm" }.to_owned());
                words.extend(labels);
                words.push(IMAGE.to_owned());
                None
            }
            Kind::Containerd => {
                words.push("run".to_owned());
                words.push(if stays { "-d" } else { "--rm" }.to_owned());
                words.extend(labels);
                words.extend(["--rootfs".to_owned(), self.path("rootfs"), name.to_owned()]);
                Some(format!("/default/{name}"))
            }
            Kind::Lxc => {
                let config = format!(
                    "lxc.rootfs.path = dir:{}\nlxc.uts.name = {name}\nlxc.net.0.type = empty\nlxc.init.cmd = {}\n",
                    self.path("rootfs"),
                    args.join(" ")
                );
                fs::write(self.path("lxc.conf"), config).expect("a file");
                let mut lxc = Command::new("lxc-start");
                lxc.args(["-P", &self.path("lxc"), "-n", name, "-f", &self.path("lxc.conf"), "-d"]);
                fs::create_dir_all(self.path("lxc")).expect("a directory");
                run(&mut lxc);
                self.cgroups().push(format!("/lxc.payload.{name}"));
                self.cgroups().push(format!("/lxc.monitor.{name}"));
                return name.to_owned();
            }
        };
        words.extend(args.iter().map(|word| (*word).to_owned()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.must(&words);
        let id = if self.kind == Kind::Containerd { name } else { output.trim() };
        let cgroup = cgroup.unwrap_or_else(|| match self.kind {
            Kind::Docker => format!("/docker/{id}"),
            _ => format!("/libpod_parent/libpod-{id}"),
        });
        if !id.is_empty() {
            self.cgroups().push(cgroup);
        }
        id.to_owned()
    }

    /// Restarts a container of Docker or Podman.
    ///
    /// # Panics
    /// If that fails.
    pub fn restart(&self, name: &str) {
        self.must(&["restart", "-t", "0", name]);
    }

    /// Stops and removes a container that was [run](Self::run) with `stays`.
    ///
    /// # Panics
    /// If that fails.
    pub fn remove(&self, name: &str) {
        match self.kind {
            Kind::Docker => {
                self.must(&["rm", "-f", name]);
            }
            Kind::Podman => {
                self.must(&["rm", "-f", "-t", "0", name]);
            }
            Kind::Containerd => {
                let mut client = self.client();
                client.args(["task", "kill", "-s", "SIGKILL", name]);
                let _ = client.output();
                wait::until("the task is gone", DEADLINE, || {
                    let mut client = self.client();
                    client.args(["task", "rm", name]);
                    let gone = client.output().expect("ctr starts");
                    let text = String::from_utf8_lossy(&gone.stderr);
                    (gone.status.success() || text.contains("not found")).then_some(())
                });
                self.must(&["container", "rm", name]);
            }
            Kind::Lxc => {
                let mut lxc = Command::new("lxc-stop");
                lxc.args(["-P", &self.path("lxc"), "-n", name, "-k"]);
                run(&mut lxc);
            }
        }
    }

    /// Directory with the engine's whole state.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Engine {
    /// Processes whose arguments contain the engine's directory, such as the monitors of its containers.
    fn processes(&self) -> Vec<i32> {
        let own = self.dir.path().to_string_lossy().into_owned();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
        pids.filter(|pid: &i32| {
            let args = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&args).contains(&own)
        })
        .collect()
    }
}

fn kill(pid: i32) {
    // SAFETY: integers only.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            signal_group(&daemon, libc::SIGTERM);
            for _ in 0..500 {
                if !matches!(daemon.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            signal_group(&daemon, libc::SIGKILL);
            let _ = daemon.wait();
        }
        // A failed test may leave containers, their monitors and mounts behind.
        let cgroups = self.cgroups();
        for root in cgroup::roots() {
            let inside =
                cgroups.iter().map(|path| root.join(path.trim_start_matches('/')).join("cgroup.procs"));
            for pids in inside.filter_map(|procs| fs::read_to_string(procs).ok()) {
                pids.lines().filter_map(|pid| pid.parse().ok()).for_each(kill);
            }
        }
        self.processes().into_iter().for_each(kill);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let mut ours: Vec<&str> = ours.filter(|at| Path::new(at).starts_with(self.dir.path())).collect();
        ours.sort_unstable();
        for at in ours.iter().rev() {
            let _ = Command::new("umount").args(["-l", at]).stderr(Stdio::null()).status();
        }
        if self.kind == Kind::Podman {
            container::remove_cgroups("/libpod_parent/conmon");
        }
        for cgroup in cgroups.iter() {
            container::remove_cgroups(cgroup);
        }
    }
}

fn signal_group(child: &Child, signal: i32) {
    let group = -child.id().cast_signed();
    // SAFETY: kill touches no memory; the group is the child's own, and the child has not been reaped.
    unsafe { libc::kill(group, signal) };
}

/// Runs a command, which must succeed, and returns its standard output.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
