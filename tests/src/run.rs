//! Runs other programs.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::limit;

/// Directory of the workspace's `Cargo.toml`.
pub fn workspace_root() -> PathBuf {
    // The compiled-in path is wrong if the clone was moved since.
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let own = own.as_deref().unwrap_or(compiled);
    own.parent().unwrap_or(own).to_path_buf()
}

/// Cargo's target directory of this workspace.
pub fn target_dir(root: &Path) -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir),
        None => root.join("target"),
    }
}

/// The cargo that runs this program, in directory `root`.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// The first file of this name in `$PATH`.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// `$PATH` with `dir` prepended.
pub fn path_with(dir: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(dir.to_path_buf()).chain(env::split_paths(&path)))
        .context("a directory of PATH contains a colon")
}

/// Whether the effective user is root; false if that cannot be determined.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|uids| uids.split_whitespace().nth(1))
        .is_some_and(|euid| euid == "0")
}

/// Whether this runs in CI, where a skipped test is a failure. From the variable `CI`.
pub fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "0" && ci != "false")
}

/// Runs a command with inherited output, within the step's limit. Errors name the command and its status.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = limit::status(command, &shown)?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// Runs a command and returns its standard output without trailing whitespace.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let (status, stdout) = limit::output(command, &shown)?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    let text = String::from_utf8(stdout).with_context(|| format!("`{shown}` did not print UTF-8"))?;
    Ok(text.trim_end().to_owned())
}

/// Like [`output`], but `None` if the program is missing or fails. Discards its standard error.
pub fn try_output(command: &mut Command) -> Option<String> {
    let shown = show(command);
    let (status, stdout) = limit::output(command.stderr(Stdio::null()), &shown).ok()?;
    if !status.success() {
        return None;
    }
    Some(String::from_utf8_lossy(&stdout).trim_end().to_owned())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
