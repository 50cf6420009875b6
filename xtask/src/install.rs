//! Installs the build tools that a plain Debian machine lacks. Skips those that are installed.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use ktape_tests::packages::{self, INSTALL_LIMIT};
use ktape_tests::{limit, run};

/// The release of bpf-linker that builds the eBPF objects.
pub const BPF_LINKER_VERSION: &str = "0.13.0";
/// LLVM major version of Debian's rustc-web; bpf-linker must use the same.
const LLVM: &str = "22";
/// The release of cargo-deny that CI runs.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Debian packages for building the eBPF objects.
const EBPF_PACKAGES: &[&str] =
    &["rustc-web", "rust-web-src", "rust-web-clippy", "llvm-22-dev", "libpolly-22-dev"];

/// The directory into which bpf-linker and cargo-deny are installed: `KTAPE_TOOLCHAIN_DIR`, else in the user's cache.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("KTAPE_TOOLCHAIN_DIR") {
        return Ok(dir.into());
    }
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(cache.join("ktape-toolchain"))
}

/// Path of bpf-linker in version [`BPF_LINKER_VERSION`]: the one in [`cache_dir`], else the one in `PATH`.
pub fn find_bpf_linker() -> Option<PathBuf> {
    let right = |file: &PathBuf| {
        run::try_output(Command::new(file).arg("--version"))
            .is_some_and(|version| version.split_whitespace().nth(1) == Some(BPF_LINKER_VERSION))
    };
    let cached = cache_dir().ok()?.join("bin/bpf-linker");
    Some(cached).filter(right).or_else(|| run::which("bpf-linker").filter(right))
}

/// Installs Debian's toolchain for the eBPF objects.
///
/// # Errors
/// If this is not Debian, the user is not root, or a download or build fails; the message says what to install.
pub fn ebpf_toolchain() -> Result<()> {
    let missing: Vec<&str> =
        EBPF_PACKAGES.iter().copied().filter(|package| !packages::is_installed(package)).collect();
    packages::apt(&missing).with_context(instructions)?;
    if find_bpf_linker().is_none() {
        cargo_install(
            &[
                "bpf-linker",
                "--version",
                BPF_LINKER_VERSION,
                "--no-default-features",
                "--features",
                "llvm-22",
            ],
            &[("LLVM_PREFIX", "/usr/lib/llvm-22")],
        )?;
    }
    Ok(())
}

/// Path of cargo-deny: from `PATH` or [`cache_dir`]; builds it if it is in neither.
///
/// # Errors
/// If it cannot be built.
pub fn cargo_deny() -> Result<PathBuf> {
    if let Some(found) = run::which("cargo-deny") {
        return Ok(found);
    }
    let cached = cache_dir()?.join("bin/cargo-deny");
    if !cached.is_file() {
        cargo_install(&["cargo-deny", "--version", CARGO_DENY_VERSION, "--no-default-features"], &[])?;
    }
    Ok(cached)
}

/// How to install a toolchain by hand.
pub fn instructions() -> String {
    format!(
        "Install one of:\n  \
         - Debian 12 or newer, as root: apt-get install -y {}\n    \
         and as the user: LLVM_PREFIX=/usr/lib/llvm-{LLVM} cargo install bpf-linker --version {BPF_LINKER_VERSION} \
         --no-default-features --features llvm-{LLVM}\n  \
         - rustup toolchain install nightly --component rust-src; cargo install bpf-linker --version \
         {BPF_LINKER_VERSION}\n\
         ktape itself builds without these tools: the objects are in agent/ebpf.",
        EBPF_PACKAGES.join(" ")
    )
}

fn cargo_install(args: &[&str], envs: &[(&str, &str)]) -> Result<()> {
    let dir = cache_dir()?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // Runs outside the workspace, whose configuration and lock file must not apply.
    let mut cargo = run::cargo(&dir);
    cargo.args(["install", "--locked", "--root"]).arg(&dir).args(args);
    cargo.env("CARGO_TARGET_DIR", dir.join("target")).envs(envs.iter().copied());
    limit::within("cargo install", INSTALL_LIMIT, || run::run(&mut cargo))?;
    // Several hundred MB that are not needed any more.
    fs::remove_dir_all(dir.join("target")).with_context(|| format!("cannot remove {}/target", dir.display()))
}
