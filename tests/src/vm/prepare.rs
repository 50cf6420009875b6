//! What virtual machines are made of: an emulator and kernels, taken from Debian's archive into a cache directory.
//!
//! The system is not changed: `apt` runs with a configuration of its own, and packages are only unpacked. Emulation needs
//! no KVM, and works where there is none. [`Guest`](super::Guest) boots what this prepares:
//!
//! - `qemu/qemu-system-x86_64`: a script that runs the emulator with its own libraries;
//! - `kernels/NAME/vmlinuz`, `kernels/NAME/release`;
//! - `kernels/NAME/modules/*.ko`, and `kernels/NAME/modules.load`: their names in the order of loading.

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

/// The cache: `KTAPE_VM_DIR`, else in the user's cache directory.
///
/// # Errors
/// If no environment variable says where that is.
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

/// Prepare the emulator and these kernels, and print where they are; those that are there only if `again`.
///
/// # Errors
/// If something is missing that is not there and cannot be downloaded.
pub fn prepare(kernels: &[Kernel], again: bool) -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        bail!("the emulator is taken from Debian's amd64 archive: this machine is {}", env::consts::ARCH);
    }
    let dir = cache_dir()?;
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // One list of the archive for all that is missing.
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

/// Make a directory beside `place` and put it there when it is complete: what is there is always whole.
fn replace(place: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let fresh = place.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
    let made = make(&fresh).and_then(|()| {
        if place.is_dir() {
            fs::remove_dir_all(place).with_context(|| format!("cannot remove {}", place.display()))?;
        }
        fs::rename(&fresh, place).with_context(|| format!("cannot make {}", place.display()))
    });
    if made.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_dir_all(&fresh);
    }
    made
}
