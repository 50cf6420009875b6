//! Installs Debian packages of the programs that tests and benchmarks run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{limit, run};

/// Programs that the tests on the real kernel run, each with its package.
const TEST_PACKAGES: &[(&str, &str)] = &[
    ("/bin/busybox", "busybox-static"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/bin/strace", "strace"),
    ("/usr/bin/trace-cmd", "trace-cmd"),
    ("/usr/bin/perf", "linux-perf"),
    ("/usr/sbin/dmsetup", "dmsetup"),
    ("/usr/sbin/mkfs.ext4", "e2fsprogs"),
    ("/usr/bin/ip", "iproute2"),
    ("/usr/bin/jq", "jq"),
    ("/usr/bin/systemctl", "systemd"),
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/containerd", "containerd"),
    ("/usr/bin/podman", "podman"),
    ("/usr/bin/lxc-start", "lxc"),
];

/// Programs that `cargo xtask fidelity` compares with strace beside those, each with its package.
const COMPARED_PACKAGES: &[(&str, &str)] = &[
    ("/usr/sbin/nginx", "nginx-light"),
    ("/usr/bin/redis-server", "redis-server"),
    ("/usr/bin/stress-ng", "stress-ng"),
];

/// What the answers of `ktape stats` are compared with: a Python package, with its version.
const DUCKDB: &str = "duckdb==2.0.1";

/// Timeouts, so that neither an unresponsive server nor another installation blocks apt forever.
pub const APT_OPTIONS: &[&str] =
    &["-o", "Acquire::http::Timeout=30", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"];
/// Limit for one installation.
pub const INSTALL_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Installs the programs that the tests on the real kernel run.
///
/// # Errors
/// If this is not Debian, the user is not root, or a download fails; the message names the packages.
pub fn install_test_programs() -> Result<()> {
    install(TEST_PACKAGES)
}

/// Where [`install_python_packages`] puts packages: a value for `PYTHONPATH`.
pub fn python_path() -> PathBuf {
    run::target_dir(&run::workspace_root()).join("python")
}

/// Installs the Python packages of tests, beside the system's own.
///
/// # Errors
/// If there is no Python, or the download fails.
pub fn install_python_packages() -> Result<()> {
    let path = python_path();
    let mut probe = Command::new("python3");
    let probe = probe.args(["-c", "import duckdb; print(duckdb.__version__)"]).env("PYTHONPATH", &path);
    if run::try_output(probe).is_some_and(|version| DUCKDB.ends_with(version.trim())) {
        return Ok(());
    }
    if run::try_output(Command::new("python3").args(["-m", "pip", "--version"])).is_none() {
        apt(&["python3", "python3-pip"])?;
    }
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--upgrade",
    ]);
    run::run(pip.arg("--target").arg(path).arg(DUCKDB))
}

/// Installs the programs that are compared with strace.
///
/// # Errors
/// As [`install_test_programs`].
pub fn install_compared_programs() -> Result<()> {
    install(COMPARED_PACKAGES)
}

/// Installs the packages of missing programs. Each entry is the path of a program and its package.
///
/// # Errors
/// As [`install_test_programs`].
pub fn install(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect();
    apt(&missing)
}

/// Whether a Debian package is installed.
pub fn is_installed(package: &str) -> bool {
    run::try_output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))
        .is_some_and(|status| status == "installed")
}

/// Installs these Debian packages.
///
/// # Errors
/// As [`install_test_programs`].
pub fn apt(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if run::which("apt-get").is_none() {
        bail!(
            "cannot install packages: no apt-get; install the equivalents of these Debian packages: {list}"
        );
    }
    if !run::is_root() {
        bail!("missing packages; run as root: apt-get update && apt-get install -y {list}");
    }
    eprintln!("installing {list}");
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(APT_OPTIONS).args(args).env("DEBIAN_FRONTEND", "noninteractive");
        run::run(&mut apt)
    };
    limit::within("installing packages", INSTALL_LIMIT, || {
        apt(&["update", "-qq"])?;
        let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
        install.extend(packages);
        apt(&install)
    })
}
