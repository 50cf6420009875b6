//! Finds a Rust toolchain that can build the eBPF objects: one with the source of `core` and the same LLVM as bpf-linker.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::install::{self, BPF_LINKER_VERSION};
use ktape_tests::run;

/// A complete toolchain.
pub struct Toolchain {
    /// `debian` or `nightly`.
    pub name: &'static str,
    /// Path of rustc.
    pub rustc: PathBuf,
    /// Path of its clippy-driver, if installed.
    pub clippy: Option<PathBuf>,
    /// Contains the source of the standard library.
    pub sysroot: PathBuf,
    /// Release, commit and LLVM version, from `rustc -Vv`.
    pub rustc_version: String,
    /// Path of the llvm-objcopy that strips the objects.
    pub objcopy: PathBuf,
    /// Output of `bpf-linker --version`.
    pub linker_version: String,
    /// Directory of bpf-linker.
    linker_dir: PathBuf,
}

impl Toolchain {
    /// A cargo command that compiles with this toolchain. It uses the workspace's own stable cargo; `RUSTC_BOOTSTRAP` makes
    /// cargo and rustc accept `-Z`.
    pub fn cargo(&self, root: &Path) -> Result<Command> {
        let mut cargo = run::cargo(root);
        cargo
            .env("RUSTC", &self.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("PATH", run::path_with(&self.linker_dir)?);
        for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_RUSTFLAGS"] {
            cargo.env_remove(name);
        }
        Ok(cargo)
    }

    /// The versions of compiler and linker, as in the stamp.
    pub fn identity(&self) -> (String, String) {
        (self.rustc_version.clone(), self.linker_version.clone())
    }
}

/// Returns the toolchain whose rustc version is `wanted`, else the first complete one. If there is none and `install` is set,
/// installs one.
pub fn pick(install: bool, wanted: Option<&str>) -> Result<Toolchain> {
    let mut missing = Vec::new();
    let mut found = find(&mut missing);
    if found.is_empty() && install {
        install::ebpf_toolchain()?;
        missing.clear();
        found = find(&mut missing);
    }
    let wanted = found.iter().position(|t| Some(t.rustc_version.as_str()) == wanted).unwrap_or(0);
    if found.is_empty() {
        bail!(
            "no toolchain can build the eBPF object:\n  {}\n{}",
            missing.join("\n  "),
            install::instructions()
        );
    }
    let picked = found.swap_remove(wanted);
    eprintln!(
        "eBPF toolchain: {} ({}; {}; {})",
        picked.name,
        picked.rustc.display(),
        picked.rustc_version,
        picked.linker_version
    );
    Ok(picked)
}

fn find(missing: &mut Vec<String>) -> Vec<Toolchain> {
    let only = env::var("KTAPE_EBPF_TOOLCHAIN").ok();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let mut found = Vec::new();
    if wanted("debian") {
        complete("debian", Path::new("/usr/bin/rustc").to_path_buf(), missing, &mut found);
    }
    if wanted("nightly") {
        match run::try_output(Command::new("rustup").args(["which", "rustc", "--toolchain", "nightly"])) {
            Some(rustc) => complete("nightly", rustc.into(), missing, &mut found),
            None => missing.push("nightly: rustup has no nightly toolchain".to_owned()),
        }
    }
    found
}

fn complete(name: &'static str, rustc: PathBuf, missing: &mut Vec<String>, found: &mut Vec<Toolchain>) {
    match inspect(name, rustc) {
        Ok(toolchain) => found.push(toolchain),
        Err(reason) => missing.push(format!("{name}: {reason}")),
    }
}

fn inspect(name: &'static str, rustc: PathBuf) -> Result<Toolchain> {
    let Some(verbose) = run::try_output(Command::new(&rustc).arg("-Vv")) else {
        bail!("cannot run {}", rustc.display());
    };
    let field = |key: &str| verbose.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("unknown").trim();
    let (release, commit, llvm) = (field("release:"), field("commit-hash:"), field("LLVM version:"));
    let sysroot = run::output(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let sysroot = PathBuf::from(sysroot);
    if !sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file() {
        bail!("{} {release} has no library source (rust-src)", rustc.display());
    }
    let Some(linker) = install::find_bpf_linker() else {
        bail!("bpf-linker {BPF_LINKER_VERSION} is missing");
    };
    let Some(linker_version) = run::try_output(Command::new(&linker).arg("--version")) else {
        bail!("cannot run {}", linker.display());
    };
    let major = llvm.split('.').next().unwrap_or("unknown");
    if let Some(own) = linker_llvm_major(&linker)
        && own != major
    {
        bail!("{} uses LLVM {own}, but {} {release} uses LLVM {llvm}", linker.display(), rustc.display());
    }
    let Some(objcopy) = find_objcopy(&sysroot, major) else {
        bail!("llvm-objcopy is missing: install Debian's llvm-{major} or rustup's llvm-tools");
    };
    let clippy = rustc.with_file_name("clippy-driver");
    Ok(Toolchain {
        name,
        clippy: clippy.is_file().then_some(clippy),
        rustc_version: format!("rustc {release} {commit} LLVM {llvm}"),
        rustc,
        sysroot,
        objcopy,
        linker_version,
        linker_dir: linker.parent().unwrap_or(Path::new("/")).to_path_buf(),
    })
}

/// Major version of the LLVM that bpf-linker loads; `None` if it is linked statically.
fn linker_llvm_major(linker: &Path) -> Option<String> {
    let libraries = run::try_output(Command::new("ldd").arg(linker))?;
    let (_, rest) = libraries.split_once("libLLVM.so.").or_else(|| libraries.split_once("libLLVM-"))?;
    Some(rest.chars().take_while(char::is_ascii_digit).collect())
}

/// The llvm-objcopy of the compiler's LLVM version, else any other.
fn find_objcopy(sysroot: &Path, llvm_major: &str) -> Option<PathBuf> {
    let rustup =
        sysroot.join(format!("lib/rustlib/{}-unknown-linux-gnu/bin/llvm-objcopy", env::consts::ARCH));
    run::which(&format!("llvm-objcopy-{llvm_major}"))
        .or_else(|| Some(rustup).filter(|file| file.is_file()))
        .or_else(|| run::which("llvm-objcopy"))
}
