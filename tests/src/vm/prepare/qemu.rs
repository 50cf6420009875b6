//! Prepares the emulator with all its libraries, independent of the host's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::apt::Apt;
use crate::run;

const PROGRAM: &str = "qemu-system-x86_64";
/// Directories that the emulator does not need: most of the packages' size.
const NOT_NEEDED: &[&str] =
    &["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/icons", "usr/share/perl"];

/// Downloads and unpacks the emulator, and writes the script that runs it.
pub fn prepare(apt: &Apt, to: &Path) -> Result<()> {
    let root = to.join("root");
    apt.unpack_with_dependencies("qemu-system-x86", &root)?;
    for part in NOT_NEEDED {
        let dir = root.join(part);
        if dir.is_dir() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
    }
    let script = format!(
        "#!/bin/sh\n\
         root=$(dirname \"$(readlink -f \"$0\")\")/root\n\
         lib=$root/usr/lib/x86_64-linux-gnu\n\
         exec \"$lib/ld-linux-x86-64.so.2\" --library-path \"$lib\" \"$root/usr/bin/{PROGRAM}\" \\\n    \
         -L \"$root/usr/share/qemu\" -L \"$root/usr/share/seabios\" \"$@\"\n"
    );
    let file = to.join(PROGRAM);
    fs::write(&file, script).with_context(|| format!("cannot write {}", file.display()))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", file.display()))?;
    // Fails here, rather than in a test, if the emulator does not run.
    let version = run::output(Command::new(&file).arg("--version"))?;
    eprintln!("{}", version.lines().next().unwrap_or_default());
    Ok(())
}
