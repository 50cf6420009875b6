//! Installing what a bare Debian machine lacks. Everything is skipped when it is there.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use ktape_tests::packages::{self, INSTALL_LIMIT};
use ktape_tests::{limit, run};

/// The release of bpf-linker that the object is built with.
pub const BPF_LINKER_VERSION: &str = "0.13.0";
/// The LLVM major version that Debian's rustc-web and bpf-linker share.
const LLVM: &str = "22";
/// The release of cargo-deny that CI runs.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Packages for building the object.
const EBPF_PACKAGES: &[&str] =
    &["rustc-web", "rust-web-src", "rust-web-clippy", "llvm-22-dev", "libpolly-22-dev"];
/// The directory of programs that this installs for the user: bpf-linker, cargo-deny.
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

/// bpf-linker in the right version: the cached one, else the one on the path.
pub fn find_bpf_linker() -> Option<PathBuf> {
    let right = |file: &PathBuf| {
        run::try_output(Command::new(file).arg("--version"))
            .is_some_and(|version| version.split_whitespace().nth(1) == Some(BPF_LINKER_VERSION))
    };
    let cached = cache_dir().ok()?.join("bin/bpf-linker");
    Some(cached).filter(right).or_else(|| run::which("bpf-linker").filter(right))
}

/// Install Debian's toolchain for the eBPF object.
///
/// # Errors
/// If this is no Debian, the user is not root, or a download or build fails; the message says what to install.
pub fn ebpf_toolchain() -> Result<()> {
    let missing: Vec<&str> =
        EBPF_PACKAGES.iter().copied().filter(|package| !packages::is_installed(package)).collect();
    packages::apt(&missing).with_context(how_to)?;
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

/// cargo-deny: from the path, from the cache, or built into the cache.
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

/// What a user has to do where this cannot install.
pub fn how_to() -> String {
    format!(
        "Install one of:\n  \
         - Debian 12 or newer, as root: apt-get install -y {}\n    \
         and as the user: LLVM_PREFIX=/usr/lib/llvm-{LLVM} cargo install bpf-linker --version {BPF_LINKER_VERSION} \
         --no-default-features --features llvm-{LLVM}\n  \
         - rustup toolchain install nightly --component rust-src; cargo install bpf-linker --version \
         {BPF_LINKER_VERSION}\n\
         ktape itself builds without any of this: the object is in agent/ebpf.",
        EBPF_PACKAGES.join(" ")
    )
}

fn cargo_install(args: &[&str], envs: &[(&str, &str)]) -> Result<()> {
    let dir = cache_dir()?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // Outside the workspace, so that neither its configuration nor its lock counts.
    let mut cargo = run::cargo(&dir);
    cargo.args(["install", "--locked", "--root"]).arg(&dir).args(args);
    cargo.env("CARGO_TARGET_DIR", dir.join("target")).envs(envs.iter().copied());
    limit::within("cargo install", INSTALL_LIMIT, || run::run(&mut cargo))?;
    // Some hundred MB that nothing reads again.
    fs::remove_dir_all(dir.join("target")).with_context(|| format!("cannot remove {}/target", dir.display()))
}
