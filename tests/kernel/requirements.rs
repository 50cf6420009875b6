//! Kernels, privileges and outputs with which ktape cannot record: one message each, and nothing left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ktape_tests::cgroup::{self, Cgroup};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};
use ktape_tests::workload::Workload;
use ktape_tests::{wait, workload};

/// The file with the kernel's types.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The only line of stderr.
fn only_line(out: &Output) -> String {
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim().to_owned()
}

/// A directory that everybody may write to, with the binary in it.
fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::copy(ktape::binary(), dir.path().join("ktape")).unwrap();
    dir
}

/// `ktape capture ARGS` in this directory, as nobody with these capabilities and no others.
fn with_capabilities(dir: &Path, capabilities: &[&str], args: &[&str]) -> Command {
    let list = |sign: &str| {
        let own = capabilities.iter().map(|name| format!("+{name}"));
        [format!("{sign}all")].into_iter().chain(own).collect::<Vec<_>>().join(",")
    };
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["--inh-caps", &list("-"), "--ambient-caps", &list("-"), "--bounding-set", &list("-")])
        .arg(dir.join("ktape"))
        .arg("capture")
        .args(args)
        .current_dir(dir);
    command
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn three_capabilities_suffice() {
    let _guard = Guard::exclusive();
    let dir = open_dir();
    let file = dir.path().join("x.ktape");
    let mut load = Workload::start(workload!(), &["getppid", "1000", "--gate"]);
    assert_eq!(load.line(), "ready");
    // Arguments are read in parallel to the recording, which does not wait for them: of one that goes on making calls.
    let other = Workload::start(workload!(), &["rate", "1000", "15"]);
    let words = ["-o", "x.ktape", "-d", "20s"];
    let capture =
        Capture::spawn(with_capabilities(dir.path(), &["bpf", "perfmon", "sys_ptrace"], &words), &file);
    let pid = load.pid();
    load.go();
    assert_eq!(load.line(), "done");
    load.go();
    load.finish();
    let arguments = format!("proc.pid={} and proc.cmdline='ktape-workload rate 1000 15'", other.pid());
    wait::until("the arguments to be in the file", Duration::from_secs(12), || {
        let counted = ktape::run(&["replay", file.to_str().unwrap(), "--count", &arguments]);
        (!matches!(counted.stdout.as_slice(), b"0\n" | b"")).then_some(())
    });
    other.kill();
    let ended = capture.stop();
    // Processes of other users are recorded, and named. What other processes of the host lose is no matter of capabilities.
    let mine = format!("proc.pid={pid} and evt.type=getppid and proc.name=ktape-workload");
    assert_eq!(ktape::count(&file, &mine), 1000, "{}", ended.stderr);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn missing_capability_is_named() {
    let _guard = Guard::exclusive();
    let dir = open_dir();
    for (given, missing) in
        [(&["bpf", "sys_ptrace"][..], "CAP_PERFMON"), (&["perfmon", "sys_ptrace"], "CAP_BPF")]
    {
        let out = with_capabilities(dir.path(), given, &["-o", "x.ktape", "-d", "1s"]).output().unwrap();
        assert_eq!(out.status.code(), Some(1));
        let line = only_line(&out);
        assert!(line.contains(&format!("missing: {missing}; run: sudo")) && line.contains("sudo"), "{line}");
        assert!(!dir.path().join("x.ktape").exists());
    }
}

/// `ktape capture -d 1s` with another file, or none, in the place of the kernel's types.
fn with_types(types: Option<&Path>, file: &Path) -> Output {
    let mount = match types {
        Some(path) => format!("mount --bind '{}' {BTF}", path.display()),
        None => "mount -t tmpfs none /sys/kernel/btf".to_owned(),
    };
    let script = format!("{mount} && exec \"$@\"");
    Command::new("unshare")
        .args(["-m", "sh", "-c", &script, "sh"])
        .arg(ktape::binary())
        .args(["capture", "-d", "1s", "-o"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The kernel's types with all tracepoints of this name called otherwise.
fn types_without(tracepoint: &str, dir: &Path) -> std::path::PathBuf {
    let mut types = std::fs::read(BTF).unwrap();
    let name = format!("\0btf_trace_{tracepoint}\0");
    let at = types.windows(name.len()).position(|bytes| bytes == name.as_bytes()).unwrap();
    types[at + name.len() - 2] = b'_';
    let path = dir.join("types");
    std::fs::write(&path, types).unwrap();
    path
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn missing_btf_is_reported() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let out = with_types(None, &file);
    assert_eq!(out.status.code(), Some(1));
    let line = only_line(&out);
    for word in [BTF, "CONFIG_DEBUG_INFO_BTF", "5.10"] {
        assert!(line.contains(word), "{line}");
    }
    assert!(!file.exists());

    // Other files are not accepted as BTF.
    let types = dir.path().join("types");
    std::fs::write(&types, b"no types at all, but something longer than a header").unwrap();
    let out = with_types(Some(&types), &file);
    assert_eq!(out.status.code(), Some(1));
    assert!(only_line(&out).contains("BTF"));
    assert!(!file.exists());
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn missing_tracepoint_is_named() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    for (tracepoint, without) in [("sys_exit", "syscalls"), ("sched_process_exec", "programs")] {
        let file = dir.path().join("x.ktape");
        let types = types_without(tracepoint, dir.path());
        let out = with_types(Some(&types), &file);
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{stderr}");
        let line = only_line(&out);
        assert!(line.contains(&format!("no tracepoint {tracepoint}: cannot record {without}")), "{line}");
        assert!(!file.exists());
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn memory_limit_below_ring_size_is_reported() {
    let _guard = Guard::exclusive();
    let root = cgroup::v1_root("memory").unwrap_or_else(cgroup::v2_root);
    let group = Cgroup::make_in(root, "/ktape-test-memory");
    let limit = ["memory.limit_in_bytes", "memory.max"];
    let limit = limit.iter().map(|name| group.dir().join(name)).find(|path| path.exists()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let run = |bytes: u64, buffer: &str| {
        std::fs::write(&limit, bytes.to_string()).unwrap();
        let script = "echo $$ >\"$1/cgroup.procs\"; shift; exec \"$@\"";
        Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(group.dir())
            .arg(ktape::binary())
            .args(["capture", "-d", "1s", "--buffer", buffer, "-o"])
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    for (bytes, remedy) in [(96 << 20, "use a smaller --buffer"), (32 << 20, "raise the limit")] {
        let out = run(bytes, "64MiB");
        assert_eq!(out.status.code(), Some(1), "{out:?}");
        let line = only_line(&out);
        assert!(line.contains("not enough memory") && line.contains(group.path()), "{line}");
        assert!(line.ends_with(remedy), "{line}");
        assert!(!file.exists());
    }
    let out = run(96 << 20, "1MiB");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn unwritable_output_is_named() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let said = |path: &str| {
        let out = ktape::run(&["capture", "-d", "1s", "-o", path]);
        assert_eq!(out.status.code(), Some(1));
        only_line(&out)
    };
    let missing = at("none/x.ktape");
    assert!(said(&missing).contains(&format!("cannot create {missing}: No such file or directory")));
    let file = at("file");
    std::fs::write(&file, b"mine").unwrap();
    assert!(said(&file).contains(&format!("{file} exists")));
    assert!(said(&format!("{file}/x.ktape")).contains("Not a directory"));

    let script = "mount -t tmpfs -o ro none \"$1\" && exec \"$2\" capture -d 1s -o \"$1/x.ktape\"";
    let out = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(ktape::binary())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(only_line(&out).contains("Read-only file system"));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn second_interrupt_ends_immediately() {
    let _guard = Guard::exclusive();
    let mut capture = Command::new(ktape::binary())
        .args(["capture", "-o", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 9];
    let mut stderr = capture.stderr.take().unwrap();
    std::io::Read::read_exact(&mut stderr, &mut said).unwrap();
    // More than the pipe, which has no reader, can take.
    let mut load = Workload::start(workload!(), &["getppid", "1000000", "--gate"]);
    assert_eq!(load.line(), "ready");
    load.go();
    assert_eq!(load.line(), "done");
    load.go();
    load.finish();
    // One that comes before the last was looked at is the same; without a second one it would try for three seconds.
    let start = Instant::now();
    let status = wait::until("the capture to end", wait::TIMEOUT, || {
        // SAFETY: integers only; the child has not been waited for.
        assert_eq!(unsafe { libc::kill(capture.id() as i32, libc::SIGINT) }, 0);
        capture.try_wait().unwrap()
    });
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(1));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut rest).unwrap();
    assert!(rest.contains("interrupted again"), "{rest}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn concurrent_captures_are_independent() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let one = Capture::start(&first, &[]);
    let two = Capture::start(&second, &[]);
    let load = Workload::start(workload!(), &["getppid", "20000"]);
    let pid = load.pid();
    load.finish();
    two.stop();
    one.stop();
    for file in [&first, &second] {
        assert_eq!(ktape::count(file, &format!("proc.pid={pid} and evt.type=getppid")), 20000);
        assert_eq!(ktape::info(file)["lost"], 0);
    }
    // A file that another recorder still writes is refused, even with --force.
    let capture = Capture::start(&dir.path().join("third"), &[]);
    let out = ktape::run(&["capture", "-d", "1s", "--force", "-o", capture.file().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(only_line(&out).contains("another capture"), "{out:?}");
    let ended = capture.stop();
    assert_eq!(ktape::run(&["check", ended.file.to_str().unwrap()]).status.code(), Some(0));
}
