//! Running `ktape`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary: `KTAPE_BIN`, else the one that was built with these tests.
pub fn binary() -> PathBuf {
    env::var_os("KTAPE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_ktape").into(), PathBuf::from)
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository")
}

/// Whether expected output is to be written instead of compared.
pub fn regenerates() -> bool {
    env::var_os("KTAPE_GOLDEN").is_some_and(|word| word == "write")
}

/// Run `ktape ARGS` in a directory, without input.
pub fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).current_dir(dir).stdin(Stdio::null()).output().expect("ktape starts")
}

/// The stdout of `ktape ARGS`, which has to succeed.
pub fn stdout(dir: &Path, args: &[&str]) -> String {
    let out = run(dir, args);
    assert!(out.status.success(), "ktape {args:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("ktape prints UTF-8")
}
