//! The stamp of the committed object: which sources and which toolchain it was built from.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// The object, relative to the workspace.
pub const OBJECT: &str = "agent/ebpf/ktape.bpf.o";
/// The object for kernels before 5.15, relative to the workspace.
pub const LEGACY_OBJECT: &str = "agent/ebpf/ktape-legacy.bpf.o";
/// Their stamp, relative to the workspace.
pub const STAMP: &str = "agent/ebpf/ktape.bpf.toml";

/// What the stamp says. Hashes are SHA-256 in hex.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Over everything in the repository that decides the object's bytes.
    pub sources: String,
    /// Over the object.
    pub object: String,
    /// Over the object for older kernels.
    pub legacy: String,
    /// Release, commit and LLVM of the compiler.
    pub rustc: String,
    /// Release of the linker.
    pub linker: String,
    /// The target triple.
    pub target: String,
}

impl Stamp {
    /// As a TOML file.
    pub fn to_text(&self) -> String {
        format!(
            "# Written by `cargo xtask ebpf`: what the objects were built from. Do not edit.\n\
             sources = \"{}\"\nobject = \"{}\"\nlegacy = \"{}\"\nrustc = \"{}\"\nlinker = \"{}\"\ntarget = \"{}\"\n",
            self.sources, self.object, self.legacy, self.rustc, self.linker, self.target
        )
    }

    /// Read what [`Stamp::to_text`] wrote.
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

/// The committed stamp, if it belongs to the committed object and to the present sources. Needs no eBPF toolchain.
///
/// # Errors
/// If one of the three does not fit the others; the message says which command to run.
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

/// The hash of what decides the object's bytes: the sources and manifests of `agent-ebpf` and `events`, the build profiles, and the
/// versions of the aya-ebpf crates.
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

/// Name and length first, so that no two different trees give the same bytes.
fn part(all: &mut Sha256, name: &str, bytes: &[u8]) {
    all.update(format!("{name}\0{}\0", bytes.len()));
    all.update(bytes);
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(root.join(dir)).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = dir.join(entry.file_name());
        // Tests of the library target are never part of the object.
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

/// The settings of the profile that builds the object and of the one it inherits, without comments.
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
