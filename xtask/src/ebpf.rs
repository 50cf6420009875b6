//! Builds the committed eBPF objects, and checks that they match their sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::stamp::{self, Stamp};
use crate::toolchain::{self, Toolchain};
use ktape_tests::run;

const TARGET: &str = "bpfel-unknown-none";

/// A committed object and the cargo feature that builds it.
#[derive(Clone, Copy)]
struct EbpfObject {
    file: &'static str,
    feature: &'static str,
}

/// In the order of the stamp's fields.
const OBJECTS: [EbpfObject; 2] = [
    EbpfObject { file: stamp::OBJECT, feature: "programs" },
    EbpfObject { file: stamp::LEGACY_OBJECT, feature: "legacy" },
];

/// Builds the objects and writes them with their stamp.
///
/// # Errors
/// If there is no toolchain or the build fails.
pub fn build(root: &Path, install: bool) -> Result<()> {
    let toolchain = toolchain::pick(install, None)?;
    let objects = OBJECTS.map(|object| compile(root, &toolchain, object));
    let [object, legacy] = objects;
    let (object, legacy) = (object?, legacy?);
    let (rustc, linker) = toolchain.identity();
    let stamp = Stamp {
        sources: stamp::sources_hash(root)?,
        object: stamp::hash(&object),
        legacy: stamp::hash(&legacy),
        rustc,
        linker,
        target: TARGET.into(),
    };
    let text = stamp.to_text().into_bytes();
    for (name, content) in [(stamp::OBJECT, object), (stamp::LEGACY_OBJECT, legacy), (stamp::STAMP, text)] {
        let file = root.join(name);
        let dir = file.parent().with_context(|| format!("{name} has no directory"))?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        fs::write(&file, &content).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("wrote {name} ({} bytes)", content.len());
    }
    Ok(())
}

/// Checks that the committed objects match the sources. Compares their bytes only if the toolchain of the stamp is installed.
///
/// # Errors
/// If the stamp is stale, or if the same toolchain builds different bytes.
pub fn check(root: &Path, install: bool) -> Result<()> {
    let stamp = stamp::verify(root)?;
    let toolchain = toolchain::pick(install, Some(&stamp.rustc))?;
    for (object, committed) in OBJECTS.into_iter().zip([&stamp.object, &stamp.legacy]) {
        let built = compile(root, &toolchain, object)?;
        let name = object.file;
        if toolchain.identity() != (stamp.rustc.clone(), stamp.linker.clone()) {
            eprintln!(
                "{name}: builds, but was NOT compared byte by byte: the committed object was built with {} and {}",
                stamp.rustc, stamp.linker
            );
        } else if stamp::hash(&built) == *committed {
            eprintln!("{name}: identical when rebuilt with the same toolchain, {} bytes", built.len());
        } else {
            let kept = target_dir(root).join("differs.bpf.o");
            fs::write(&kept, &built).with_context(|| format!("cannot write {}", kept.display()))?;
            bail!(
                "{name} ({} bytes) differs from what the same toolchain builds from the same sources ({} bytes, \
                 see {}): run `cargo xtask ebpf` and commit agent/ebpf",
                fs::metadata(root.join(name)).map(|m| m.len()).unwrap_or(0),
                built.len(),
                kept.display()
            );
        }
    }
    Ok(())
}

/// Runs clippy on the eBPF programs, which the workspace's own clippy cannot compile.
///
/// # Errors
/// If clippy reports a warning.
pub fn clippy(root: &Path, install: bool) -> Result<()> {
    let toolchain = toolchain::pick(install, None)?;
    let Some(driver) = &toolchain.clippy else {
        if run::is_ci() {
            bail!("{} has no clippy-driver: install rust-web-clippy or the clippy component", toolchain.name);
        }
        eprintln!("SKIPPED: clippy on the eBPF programs: {} has no clippy-driver", toolchain.name);
        return Ok(());
    };
    for object in OBJECTS {
        let mut cargo = cargo(root, &toolchain, "check", object)?;
        // The entry macros pass the context by value.
        let lints = ["-Dwarnings", "-Aclippy::needless_pass_by_value"];
        cargo.env("RUSTC_WORKSPACE_WRAPPER", driver).env("CLIPPY_ARGS", lints.join("__CLIPPY_HACKERY__"));
        run::run(&mut cargo)?;
    }
    Ok(())
}

fn target_dir(root: &Path) -> PathBuf {
    run::target_dir(root).join("ebpf")
}

fn cargo(root: &Path, toolchain: &Toolchain, verb: &str, object: EbpfObject) -> Result<Command> {
    let library = toolchain.sysroot.join("lib/rustlib/src/rust");
    // If the library is behind a symlink, file names in the object contain the target of the link.
    let library_real =
        library.canonicalize().with_context(|| format!("cannot resolve {}", library.display()))?;
    let mut flags = vec![
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    // Line information contains file names. With these prefixes, clones in different directories build the same bytes.
    let mut prefixes = vec![(root.to_path_buf(), "/ktape"), (library_real, "/rust"), (library, "/rust")];
    prefixes.extend(crate_sources(root)?.into_iter().map(|dir| (dir, "/crates")));
    flags.extend(prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    let mut cargo = toolchain.cargo(root)?;
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env("CARGO_TARGET_DIR", target_dir(root));
    cargo.args([verb, "--package", "agent-ebpf", "--bin", "ktape-ebpf", "--features", object.feature]);
    cargo.args(["--profile", "ebpf", "--target", TARGET, "-Z", "build-std=core"]);
    Ok(cargo)
}

/// The directories with the sources of dependencies: one per registry, named after it.
fn crate_sources(root: &Path) -> Result<Vec<PathBuf>> {
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo"),
    };
    let sources = cargo_home.join("registry/src");
    // Unpacks all dependencies: otherwise a directory might appear only during the build.
    run::run(run::cargo(root).args(["fetch", "--quiet"]))?;
    let mut dirs = Vec::new();
    for entry in fs::read_dir(&sources).with_context(|| format!("cannot list {}", sources.display()))? {
        dirs.push(entry?.path());
    }
    dirs.sort();
    Ok(dirs)
}

/// Builds an object and strips its DWARF, which is ten times larger than the rest and not needed once BTF is made of it.
fn compile(root: &Path, toolchain: &Toolchain, object: EbpfObject) -> Result<Vec<u8>> {
    run::run(&mut cargo(root, toolchain, "build", object)?)?;
    let linked = target_dir(root).join(TARGET).join("ebpf/ktape-ebpf");
    let stripped = target_dir(root).join("stripped.bpf.o");
    run::run(Command::new(&toolchain.objcopy).arg("--strip-debug").arg(&linked).arg(&stripped))?;
    fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
}
