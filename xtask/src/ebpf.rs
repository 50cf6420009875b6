//! The committed eBPF objects: building them, and telling whether they are what the sources say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::stamp::{self, Stamp};
use crate::toolchain::{self, Toolchain};
use ktape_tests::run;

const TARGET: &str = "bpfel-unknown-none";

/// An object, and the feature that makes it.
#[derive(Clone, Copy)]
struct Object {
    file: &'static str,
    feature: &'static str,
}

/// In the order of the stamp.
const OBJECTS: [Object; 2] = [
    Object { file: stamp::OBJECT, feature: "programs" },
    Object { file: stamp::LEGACY_OBJECT, feature: "legacy" },
];

/// Build the object and write it with its stamp.
///
/// # Errors
/// If there is no toolchain, or the build fails.
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
        let dir = file.parent().context("no directory for the object")?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        fs::write(&file, &content).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("wrote {name} ({} bytes)", content.len());
    }
    Ok(())
}

/// Fail if a committed object is not what the sources give.
///
/// # Errors
/// If the stamp is stale, or if the same toolchain builds other bytes.
pub fn check(root: &Path, install: bool) -> Result<()> {
    let stamp = stamp::verify(root)?;
    let toolchain = toolchain::pick(install, Some(&stamp.rustc))?;
    for (object, committed) in OBJECTS.into_iter().zip([&stamp.object, &stamp.legacy]) {
        let built = compile(root, &toolchain, object)?;
        let name = object.file;
        if toolchain.identity() != (stamp.rustc.clone(), stamp.linker.clone()) {
            eprintln!(
                "{name}: the sources build here, but the bytes were NOT compared: committed by {} and {}",
                stamp.rustc, stamp.linker
            );
        } else if stamp::hash(&built) == *committed {
            eprintln!("{name}: rebuilt with the same toolchain, {} equal bytes", built.len());
        } else {
            let kept = target_dir(root).join("differs.bpf.o");
            fs::write(&kept, &built).with_context(|| format!("cannot write {}", kept.display()))?;
            bail!(
                "{name} differs from what the same toolchain builds from the same sources ({} bytes there, {} built, \
                 see {}): run `cargo xtask ebpf` and commit agent/ebpf",
                fs::metadata(root.join(name)).map(|m| m.len()).unwrap_or(0),
                built.len(),
                kept.display()
            );
        }
    }
    Ok(())
}

/// Run clippy over the programs, which the workspace's own clippy cannot compile.
///
/// # Errors
/// If clippy finds something.
pub fn clippy(root: &Path, install: bool) -> Result<()> {
    let toolchain = toolchain::pick(install, None)?;
    let Some(driver) = &toolchain.clippy else {
        if run::is_ci() {
            bail!("{} has no clippy-driver: install rust-web-clippy or the clippy component", toolchain.name);
        }
        eprintln!("SKIPPED: clippy of the eBPF programs, {} has no clippy-driver", toolchain.name);
        return Ok(());
    };
    for object in OBJECTS {
        let mut cargo = cargo(root, &toolchain, "check", object)?;
        // The entry macros want the context by value.
        let lints = ["-Dwarnings", "-Aclippy::needless_pass_by_value"];
        cargo.env("RUSTC_WORKSPACE_WRAPPER", driver).env("CLIPPY_ARGS", lints.join("__CLIPPY_HACKERY__"));
        run::run(&mut cargo)?;
    }
    Ok(())
}

fn target_dir(root: &Path) -> PathBuf {
    run::target_dir(root).join("ebpf")
}

fn cargo(root: &Path, toolchain: &Toolchain, verb: &str, object: Object) -> Result<Command> {
    let library = toolchain.sysroot.join("lib/rustlib/src/rust");
    // Where rustc finds its library through a symlink, file names carry the link's target.
    let library_real =
        library.canonicalize().with_context(|| format!("cannot resolve {}", library.display()))?;
    let mut flags = vec![
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    // File names are in the object's line information: two clones in different places give the same bytes.
    let mut places = vec![(root.to_path_buf(), "/ktape"), (library_real, "/rust"), (library, "/rust")];
    places.extend(crate_sources(root)?.into_iter().map(|dir| (dir, "/crates")));
    flags.extend(places.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    let mut cargo = toolchain.cargo(root)?;
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env("CARGO_TARGET_DIR", target_dir(root));
    cargo.args([verb, "--package", "agent-ebpf", "--bin", "ktape-ebpf", "--features", object.feature]);
    cargo.args(["--profile", "ebpf", "--target", TARGET, "-Z", "build-std=core"]);
    Ok(cargo)
}

/// The directories that hold the sources of crates: one for each registry, named by the registry.
fn crate_sources(root: &Path) -> Result<Vec<PathBuf>> {
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo"),
    };
    let sources = cargo_home.join("registry/src");
    // They are unpacked here, so that none appears only during the build.
    run::run(run::cargo(root).args(["fetch", "--quiet"]))?;
    let mut dirs = Vec::new();
    for entry in fs::read_dir(&sources).with_context(|| format!("cannot list {}", sources.display()))? {
        dirs.push(entry?.path());
    }
    dirs.sort();
    Ok(dirs)
}

/// Build and strip: the DWARF that became BTF is ten times the size of all else.
fn compile(root: &Path, toolchain: &Toolchain, object: Object) -> Result<Vec<u8>> {
    run::run(&mut cargo(root, toolchain, "build", object)?)?;
    let linked = target_dir(root).join(TARGET).join("ebpf/ktape-ebpf");
    let stripped = target_dir(root).join("stripped.bpf.o");
    run::run(Command::new(&toolchain.objcopy).arg("--strip-debug").arg(&linked).arg(&stripped))?;
    fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
}
