//! The README's commands, in a fresh copy of the repository, on a machine that has stable Rust and nothing for eBPF.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use ktape_tests::guard::Guard;
use ktape_tests::ktape;

/// What only a build of the eBPF object needs.
const HIDDEN: &[&str] =
    &["/usr/lib/llvm-*", "/usr/lib/rustlib", "/usr/src/rustc-*", "/usr/bin/rustc", "/usr/bin/clang*"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Everything that a commit of the present state would hold.
fn copy(to: &Path) {
    let root = workspace();
    let out = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for name in String::from_utf8(out.stdout).unwrap().split_terminator('\0') {
        let (from, to) = (root.join(name), to.join(name));
        // A deleted file that is not committed yet is still listed.
        if from.is_file() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    }
}

/// The commands of the README from the build to the first capture, in its order, as root and with a short capture.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
    let (_, from_build) = readme.split_once("\n## Build\n").expect("a section on building");
    let code = from_build.lines().filter_map(|line| line.strip_prefix("    "));
    let mut commands = Vec::new();
    for line in code {
        let command = line.split("  #").next().unwrap_or_default().trim();
        commands.push(command.trim_start_matches("sudo ").replace("30s", "2s"));
        if command.starts_with("sudo ktape capture") {
            return commands;
        }
    }
    panic!("no capture in README.md: {commands:?}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn slow_readme_commands_work_in_a_clean_clone() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let clone = dir.path().join("clone");
    copy(&clone);
    let commands = commands();
    assert_eq!(commands.first().map(String::as_str), Some("cargo build --release"), "{commands:?}");
    assert!(commands.contains(&"cargo run --release -- capture --duration 2s".to_owned()), "{commands:?}");
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o755)).unwrap();
    let caches = [
        format!("{}/ktape-toolchain", std::env::var("XDG_CACHE_HOME").unwrap_or_default()),
        format!("{}/.cache/ktape-toolchain", std::env::var("HOME").unwrap_or_default()),
        std::env::var("KTAPE_TOOLCHAIN_DIR").unwrap_or_default(),
    ];
    let script = format!(
        "set -e
        for hidden in {} {}; do
            if [ -d \"$hidden\" ]; then mount --bind {empty} \"$hidden\"; fi
            if [ -f \"$hidden\" ]; then mount --bind /dev/null \"$hidden\"; fi
        done
        ! bpf-linker --version 2>/dev/null
        ! /usr/bin/rustc --version 2>/dev/null
        # What is installed there stays in this mount namespace.
        mount -t tmpfs none /usr/local/bin
        {}",
        HIDDEN.join(" "),
        caches.join(" "),
        commands.join("\n        "),
        empty = empty.display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-c", &script]).current_dir(&clone);
    for name in
        ["CARGO_TARGET_DIR", "CARGO_MANIFEST_DIR", "RUSTFLAGS", "RUSTC_BOOTSTRAP", "RUSTC", "KTAPE_BIN"]
    {
        command.env_remove(name);
    }
    // As fast as it can be built: the other tests drive the binary as it is shipped.
    for (name, value) in [("LTO", "off"), ("OPT_LEVEL", "1"), ("DEBUG", "none")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    let out = command.env("CARGO_HOME", dir.path().join("cargo-home")).output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}\n{stderr}", out.status);

    let files: Vec<PathBuf> = fs::read_dir(&clone)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ktape"))
        .collect();
    assert_eq!(files.len(), 2, "{files:?}\n{stderr}");
    for file in files {
        assert!(ktape::count(&file, "evt.category=syscall") > 100, "{}", file.display());
    }
}
