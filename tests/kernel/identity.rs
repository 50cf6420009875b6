//! Ids in namespaces, sessions, terminals, groups and capabilities, compared with `/proc`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text, truth};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

/// The fields that the workload prints, in its order, after the name of the step.
const FIELDS: [&str; 13] = [
    "thread.tid",
    "proc.vpid",
    "thread.vtid",
    "proc.sid",
    "proc.pgid",
    "proc.vpgid",
    "proc.tty",
    "group.gid",
    "user.loginuid",
    "thread.cap_effective",
    "thread.cap_permitted",
    "thread.cap_inheritable",
    "proc.exe_ino",
];

/// What ktape has in the call of each step, by its name.
fn recorded(file: &Path) -> HashMap<String, Vec<String>> {
    let fields = format!("fd.nameraw,{}", FIELDS.join(","));
    let events = ktape::replay_json(file, &["--fields", &fields, "fd.nameraw startswith /none/"]);
    let shown = |event: &Value, field: &str| match &event[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let of = |event: &Value| {
        let step = shown(event, "fd.nameraw").trim_start_matches("/none/").to_owned();
        (step, FIELDS.iter().map(|field| shown(event, field)).collect())
    };
    events.iter().map(of).collect()
}

/// Names by number, for machines without `capsh`: those of capabilities(7), in the order of the kernel's header.
const CAPABILITIES: &str = "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable \
    net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct \
    sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap \
    mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore";

/// The names of a set of capabilities, by libcap's `capsh` where there is one.
fn capabilities(hex: &str) -> String {
    let names = match Command::new("capsh").arg(format!("--decode={hex}")).output() {
        Ok(out) => {
            let text = String::from_utf8(out.stdout).expect("text");
            let (_, names) = text.trim_end().split_once('=').expect("VALUE=NAMES");
            names.replace(',', " ")
        }
        Err(_) => {
            let bits = u64::from_str_radix(hex, 16).expect("a number");
            let names = CAPABILITIES.split(' ').enumerate().filter(|(number, _)| bits >> number & 1 != 0);
            names.map(|(_, name)| format!("cap_{name}")).collect::<Vec<_>>().join(" ")
        }
    };
    names.to_uppercase()
}

/// The lines of the workload, by the name of the step, as the fields have them.
fn printed(lines: &[String]) -> HashMap<String, Vec<String>> {
    let of = |line: &String| {
        let mut words = line.split(' ').map(str::to_owned);
        let step = words.next().expect("a step");
        let mut values: Vec<String> = words.collect();
        assert_eq!(values.len(), FIELDS.len(), "{line}");
        if values[8] == u32::MAX.to_string() {
            values[8] = "-1".to_owned();
        }
        for set in &mut values[9..12] {
            *set = capabilities(set);
        }
        (step, values)
    };
    lines.iter().map(of).collect()
}

/// Lines up to `DONE`.
fn lines(load: &mut Workload) -> Vec<String> {
    std::iter::from_fn(|| Some(load.line()).filter(|line| line != "DONE")).collect()
}

fn assert_same(recorded: &HashMap<String, Vec<String>>, printed: &HashMap<String, Vec<String>>) {
    for (step, expected) in printed {
        let found = recorded.get(step).unwrap_or_else(|| panic!("no call of {step}"));
        for ((field, found), expected) in FIELDS.iter().zip(found).zip(expected) {
            assert_eq!(found, expected, "{field} at {step}");
        }
    }
}

/// Records the workload, started by `command`, from its first change on.
fn record_changes(command: &[&str]) -> HashMap<String, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let mut load = Workload::start(Path::new(command[0]), &command[1..]);
    let capture = Capture::start(&file, &[]);
    load.go();
    let mut all = lines(&mut load);
    load.go();
    all.push(load.line());
    assert_eq!(load.finish(), "");
    capture.stop();
    let printed = printed(&all);
    assert_same(&recorded(&file), &printed);
    printed
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn changes_during_the_capture_are_in_the_next_call() {
    let _guard = Guard::exclusive();
    let steps = record_changes(&[workload!().to_str().unwrap(), "change-identity"]);
    // That the workload did what the names of its steps promise.
    let at =
        |step: &str, field: &str| steps[step][FIELDS.iter().position(|name| *name == field).unwrap()].clone();
    assert_eq!(at("setpgid", "proc.pgid"), at("setpgid", "proc.vpid"));
    assert_eq!(at("setsid", "proc.sid"), at("setsid", "thread.tid"));
    assert_ne!(at("setsid", "proc.sid"), at("fork", "proc.sid"));
    assert_eq!(at("setsid", "proc.tty"), "0");
    assert_ne!(at("tiocsctty", "proc.tty"), "0");
    assert_eq!(at("with-terminal", "proc.tty"), at("tiocsctty", "proc.tty"));
    assert_eq!(at("tiocnotty", "proc.tty"), "0");
    assert_eq!(at("setresgid", "group.gid"), "1234");
    assert!(at("setresgid", "thread.cap_effective").contains("CAP_SYS_ADMIN"));
    assert!(!at("capset", "thread.cap_effective").contains("CAP_SYS_ADMIN"));
    assert!(at("capset", "thread.cap_permitted").contains("CAP_SYS_ADMIN"));
    assert_eq!(at("capset", "thread.cap_inheritable"), "CAP_KILL");
    assert!(!at("capset-of-thread", "thread.cap_effective").contains("CAP_KILL"));
    assert!(at("not-of-leader", "thread.cap_effective").contains("CAP_KILL"));
    assert_eq!(at("setresuid", "thread.cap_effective"), "");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn ids_in_a_pid_namespace_are_those_that_its_processes_see() {
    let _guard = Guard::exclusive();
    let workload = workload!().to_str().unwrap();
    let steps = record_changes(&["unshare", "--pid", "--fork", workload, "change-identity"]);
    assert_eq!(steps["start"][1..3], ["1", "1"], "the first process");
    // Of `unshare`, outside.
    assert_eq!(steps["start"][5], "0");
    assert_eq!(steps["setpgid"][5], "1");
    assert_eq!(steps["capset-of-thread"][1], "2");
    assert_ne!(steps["capset-of-thread"][2], "2");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn what_a_process_was_before_the_capture_is_known() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let mut load = Workload::start(workload!(), &["change-identity"]);
    load.go();
    lines(&mut load);
    let capture = Capture::start(&file, &[]);
    load.go();
    let end = load.line();
    load.finish();
    capture.stop();
    assert_same(&recorded(&file), &printed(&[end]));

    // Without system calls, what is known of a process is what it was at its fork or exec, or when the capture started.
    let file = dir.path().join("lifecycle.ktape");
    let calls = Capture::start(&file, &["-e", "fork,exec,exit"]);
    let status = Command::new("setsid").args(["--wait", "true"]).status().unwrap();
    assert!(status.success());
    calls.stop();
    let exits = ktape::replay_json(
        &file,
        &["--fields", "proc.pid,proc.sid,proc.is_sid_leader,proc.sname", "evt.type=exec and proc.name=true"],
    );
    assert_eq!(exits.len(), 1, "{exits:?}");
    assert_eq!(int(&exits[0], "proc.sid"), int(&exits[0], "proc.pid"), "{exits:?}");
    assert!(truth(&exits[0], "proc.is_sid_leader"), "{exits:?}");
    assert_eq!(text(&exits[0], "proc.sname"), Some("true"), "{exits:?}");
}

/// Starts a program, and waits for its end.
fn run(program: &Path) {
    assert!(Command::new(program).args(["exit", "0"]).status().unwrap().success(), "{}", program.display());
}

/// Mounts that end with the test.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--recursive", "--lazy"]).arg(self.0).status();
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn executables_in_memory_and_in_an_upper_layer_are_marked() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        at("lower").display(),
        at("upper").display(),
        at("work").display()
    );
    let mount =
        |args: &[&str]| assert!(Command::new("mount").args(args).status().unwrap().success(), "{args:?}");
    // Not every file system can be an upper layer.
    mount(&["-t", "tmpfs", "ktape-test", dir.path().to_str().unwrap()]);
    let _unmount = Unmount(dir.path());
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::copy(workload!(), at("lower/of-image")).unwrap();
    fs::copy(workload!(), at("lower/memfd:no")).unwrap();
    mount(&["-t", "overlay", "overlay", "-o", &options, at("merged").to_str().unwrap()]);
    fs::copy(workload!(), at("merged/added")).unwrap();

    // SAFETY: a name with its NUL.
    let memory = unsafe { libc::memfd_create(c"made".as_ptr(), 0) };
    assert!(memory >= 0);
    // SAFETY: a descriptor of our own.
    let mut memory = unsafe { File::from_raw_fd(memory) };
    memory.write_all(&fs::read(workload!()).unwrap()).unwrap();
    let in_memory = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());

    let file = at("x.ktape");
    let capture = Capture::start(&file, &["-e", "exec"]);
    for path in [at("merged/of-image"), at("merged/added"), at("lower/memfd:no"), in_memory.clone().into()] {
        run(&path);
    }
    capture.stop();
    let fields = "exec.path,proc.is_exe_upper_layer,proc.is_exe_from_memfd,proc.exe_ino";
    let events = ktape::replay_json(&file, &["--fields", fields]);
    let of = |path: &str| {
        let event = events.iter().find(|event| text(event, "exec.path") == Some(path)).expect("an exec");
        (truth(event, "proc.is_exe_upper_layer"), truth(event, "proc.is_exe_from_memfd"))
    };
    let path = |name: &str| at(name).to_str().unwrap().to_owned();
    assert_eq!(of(&path("merged/of-image")), (false, false));
    assert_eq!(of(&path("merged/added")), (true, false));
    assert_eq!(of(&path("lower/memfd:no")), (false, false));
    assert_eq!(of(&in_memory), (false, true));
    let inode = |path: &str| {
        let event = events.iter().find(|event| text(event, "exec.path") == Some(path)).expect("an exec");
        int(event, "proc.exe_ino").map(i64::cast_unsigned)
    };
    let file = fs::metadata(at("lower/memfd:no")).unwrap().ino();
    assert_eq!(inode(&path("lower/memfd:no")), Some(file));
    assert_eq!(inode(&in_memory), Some(memory.metadata().unwrap().ino()));
}
