//! Downloads an emulator and kernels from Debian's archive into a cache directory.
//!
//! Does not change the system: `apt` runs with its own configuration, and packages are only unpacked. Emulation needs no KVM.
//! [`Guest`](super::Guest) uses these files:
//!
//! - `qemu/qemu-system-x86_64`: a script that runs the emulator with its own libraries;
//! - `kernels/NAME/vmlinuz`, `kernels/NAME/release`;
//! - `kernels/NAME/modules/*.ko`, and `kernels/NAME/modules.load`: their names in load order.

mod apt;
mod kernel;
mod qemu;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::tables::Kernel;
use crate::limit;
use crate::packages::INSTALL_LIMIT;
use anyhow::{Context, Result, bail};

/// The cache directory: `KTAPE_VM_DIR`, else `ktape-vm` in the user's cache directory.
///
/// # Errors
/// If none of `KTAPE_VM_DIR`, `XDG_CACHE_HOME` and `HOME` is set.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("KTAPE_VM_DIR") {
        return Ok(dir.into());
    }
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(cache.join("ktape-vm"))
}

/// Prepares the emulator and these kernels and prints their paths. Existing ones are replaced only if `again` is set.
///
/// # Errors
/// If something is missing and cannot be downloaded.
pub fn prepare(kernels: &[Kernel], again: bool) -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        bail!("virtual machines need Debian's amd64 packages, but this machine is {}", env::consts::ARCH);
    }
    let dir = cache_dir()?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // Fetches the package lists at most once.
    let mut apt = None;
    let mut prepare_in =
        |what: &str, place: &Path, make: &dyn Fn(&apt::Apt, &Path) -> Result<()>| -> Result<()> {
            if again || !place.is_dir() {
                let apt = match &apt {
                    Some(apt) => apt,
                    None => apt.insert(apt::Apt::open(&dir.join("apt"))?),
                };
                eprintln!("preparing {what}");
                replace(place, |fresh| make(apt, fresh)).with_context(|| format!("cannot prepare {what}"))?;
            }
            println!("{what}: {}", place.display());
            Ok(())
        };
    limit::within("preparing virtual machines", INSTALL_LIMIT, || {
        prepare_in("qemu", &dir.join("qemu"), &qemu::prepare)?;
        for kernel in kernels {
            let place = dir.join("kernels").join(kernel.name);
            prepare_in(&format!("kernel {}", kernel.name), &place, &|apt, fresh| {
                kernel::prepare(apt, *kernel, fresh)
            })?;
        }
        Ok(())
    })
}

/// Creates a directory beside `place` and moves it there when it is complete, so that `place` is never incomplete.
fn replace(place: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let fresh = place.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
    let made = make(&fresh).and_then(|()| {
        if place.is_dir() {
            fs::remove_dir_all(place).with_context(|| format!("cannot remove {}", place.display()))?;
        }
        fs::rename(&fresh, place).with_context(|| format!("cannot create {}", place.display()))
    });
    if made.is_err() {
        // Ignores a second error: the first one is reported.
        let _ = fs::remove_dir_all(&fresh);
    }
    made
}
