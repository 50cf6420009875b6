//! The stamp of the committed objects: the sources and the toolchain that they were built from.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// The object for Linux 5.15 and later, relative to the workspace.
pub const OBJECT: &str = "agent/ebpf/ktape.bpf.o";
/// The object for kernels before 5.15, relative to the workspace.
pub const LEGACY_OBJECT: &str = "agent/ebpf/ktape-legacy.bpf.o";
/// The stamp of both objects, relative to the workspace.
pub const STAMP: &str = "agent/ebpf/ktape.bpf.toml";

/// The content of the stamp. Hashes are SHA-256 in hex.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Hash of everything in the repository that determines the objects: see [`sources_hash`].
    pub sources: String,
    /// Hash of [`OBJECT`].
    pub object: String,
    /// Hash of [`LEGACY_OBJECT`].
    pub legacy: String,
    /// Release, commit and LLVM version of the compiler.
    pub rustc: String,
    /// Output of `bpf-linker --version`.
    pub linker: String,
    /// Target triple.
    pub target: String,
}

impl Stamp {
    /// Formats the stamp as TOML.
    pub fn to_text(&self) -> String {
        format!(
            "# Written by `cargo xtask ebpf`: what the objects were built from. Do not edit.\n\
             sources = \"{}\"\nobject = \"{}\"\nlegacy = \"{}\"\nrustc = \"{}\"\nlinker = \"{}\"\ntarget = \"{}\"\n",
            self.sources, self.object, self.legacy, self.rustc, self.linker, self.target
        )
    }

    /// Parses the output of [`Stamp::to_text`].
    ///
    /// # Errors
    /// If a key is missing.
    pub fn from_text(text: &str) -> Result<Self> {
        let get = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once(" = "))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.trim_matches('"').to_owned())
                .with_context(|| format!("{STAMP} has no `{key}`"))
        };
        Ok(Self {
            sources: get("sources")?,
            object: get("object")?,
            legacy: get("legacy")?,
            rustc: get("rustc")?,
            linker: get("linker")?,
            target: get("target")?,
        })
    }
}

/// Returns the committed stamp if it matches the committed objects and the current sources. Needs no eBPF toolchain.
///
/// # Errors
/// If something does not match; the message names the command to run.
pub fn verify(root: &Path) -> Result<Stamp> {
    let read = |name: &str| {
        fs::read(root.join(name)).with_context(|| format!("cannot read {name}: run `cargo xtask ebpf`"))
    };
    let stamp = Stamp::from_text(&String::from_utf8_lossy(&read(STAMP)?))?;
    if stamp.sources != sources_hash(root)? {
        bail!(
            "{OBJECT} is stale: agent-ebpf, events, their build profile or the aya-ebpf version changed since it was built. \
             Run `cargo xtask ebpf` and commit agent/ebpf"
        );
    }
    for (name, wanted) in [(OBJECT, &stamp.object), (LEGACY_OBJECT, &stamp.legacy)] {
        if *wanted != hash(&read(name)?) {
            bail!(
                "{name} is not the object that {STAMP} describes: run `cargo xtask ebpf` and commit all three"
            );
        }
    }
    Ok(stamp)
}

/// SHA-256 in hex.
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hash of everything that determines the objects: the sources and manifests of `agent-ebpf` and `events`, the build
/// profiles, and the versions of the aya-ebpf crates.
///
/// # Errors
/// If a file cannot be read.
pub fn sources_hash(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    for package in ["agent-ebpf", "events"] {
        let package = Path::new(package);
        files.push(package.join("Cargo.toml"));
        collect(root, &package.join("src"), &mut files)?;
    }
    files.sort();
    let mut all = Sha256::new();
    for file in files {
        let bytes = fs::read(root.join(&file)).with_context(|| format!("cannot read {}", file.display()))?;
        part(&mut all, &file.to_string_lossy(), &bytes);
    }
    let read =
        |name: &str| fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"));
    part(&mut all, "profiles", profiles(&read("Cargo.toml")?).as_bytes());
    part(&mut all, "crates", locked_crates(&read("Cargo.lock")?).as_bytes());
    Ok(hex(&all.finalize()))
}

/// Hashes a part with its name and length, so that no two different trees have the same input.
fn part(all: &mut Sha256, name: &str, bytes: &[u8]) {
    all.update(format!("{name}\0{}\0", bytes.len()));
    all.update(bytes);
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(root.join(dir)).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = dir.join(entry.file_name());
        // Unit tests are not part of the objects.
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs")
            && path.file_name().is_none_or(|n| n != "tests.rs")
        {
            files.push(path);
        }
    }
    Ok(())
}

/// The settings of the profile `ebpf` and of `release`, from which it inherits, without comments.
fn profiles(manifest: &str) -> String {
    let mut wanted = false;
    let mut out = String::new();
    for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            wanted = line == "[profile.ebpf]" || line == "[profile.release]";
        }
        if wanted {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Name, version and checksum of each aya-ebpf crate.
fn locked_crates(lock: &str) -> String {
    let mut out = String::new();
    for package in lock.split("[[package]]").skip(1) {
        let get = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("none");
        if get("name = ").trim_matches('"').starts_with("aya-ebpf") {
            let _ = writeln!(out, "{} {} {}", get("name = "), get("version = "), get("checksum = "));
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
