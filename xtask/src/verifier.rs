//! Writes load time and number of verified instructions of each eBPF program to `docs/verifier.md`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use ktape_tests::run;

const DOC: &str = "docs/verifier.md";

/// Loads every program and prints the table; writes it too unless `print` is set.
///
/// # Errors
/// If root rights are missing or a program does not load.
pub fn verifier(root: &Path, print: bool) -> Result<()> {
    run::run(run::cargo(root).args(["build", "--release", "--package", "ktape"]))?;
    let ktape = run::target_dir(root).join("release/ktape");
    let mut command = if run::is_root() {
        Command::new(&ktape)
    } else if run::which("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.arg(&ktape);
        sudo
    } else {
        bail!(
            "loading eBPF programs requires root and sudo is not installed: run `cargo xtask verifier` as root"
        );
    };
    let table = run::output(command.args(["doctor", "--programs"]))?;
    let kernel = run::output(Command::new("uname").args(["-r", "-m"]))?;
    let text = document(&kernel, &table);
    print!("{text}");
    if !print {
        let file = root.join(DOC);
        fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("wrote {DOC}");
    }
    Ok(())
}

fn document(kernel: &str, table: &str) -> String {
    let (release, arch) = kernel.rsplit_once(' ').unwrap_or((kernel, "unknown"));
    format!(
        "# What the verifier makes of each program\n\n\
         Written by `cargo xtask verifier`. A program is rejected above 1,000,000 verified instructions; load time is part \
         of the time until a recording begins.\n\n\
         Kernel {release}, {arch}:\n\n\
         {table}\n"
    )
}
