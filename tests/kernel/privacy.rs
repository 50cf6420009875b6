//! Of two containers that interact, a capture or copy of one contains nothing of the other.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use ktape_tests::cgroup::Cgroup;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;

/// A container, its program, and the ids of its processes.
struct Tenant {
    cgroup: Cgroup,
    /// A link to the cgroup's directory. System calls of the other container have paths through it, and not the id.
    link: PathBuf,
    id: String,
    program: PathBuf,
    arg: &'static str,
    pids: BTreeSet<i64>,
}

/// What a process does, and to which container.
struct Task<'a> {
    what: &'a [&'a str],
    other: &'a Tenant,
    /// The process to signal.
    pid: u32,
    /// Whether it moves to the other container. Such a process has a neutral name, which it keeps there.
    moves: bool,
}

impl Tenant {
    fn new(dir: &Path, id: &str, name: &str, arg: &'static str) -> Self {
        let id = id.repeat(32);
        let cgroup = Cgroup::make(&format!("/docker/{id}"));
        let program = dir.join(name);
        fs::copy(workload!(), &program).unwrap();
        let link = dir.join(format!("cgroup-{}", fs::read_dir(dir).unwrap().count()));
        symlink(cgroup.dir(), &link).unwrap();
        Self { cgroup, link, id, program, arg, pids: BTreeSet::new() }
    }

    fn start(&self, task: &Task<'_>) -> Child {
        let mover = self.program.with_file_name("mover");
        let (program, arg) = if task.moves { (&mover, "arg-of-mover") } else { (&self.program, self.arg) };
        let mut command = Command::new(program);
        command.args(task.what).arg(arg).stdin(Stdio::piped()).stdout(Stdio::piped()).env_clear();
        command.env("OTHER_CGROUP", &task.other.link).env("OTHER_PID", task.pid.to_string());
        command.env("OTHER_PROGRAM", &task.other.program).env("OTHER_ARG", task.other.arg);
        let procs = self.cgroup.dir().join("cgroup.procs");
        // SAFETY: between fork and exec the child only writes to a file.
        unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
        command.spawn().unwrap()
    }
}

/// Waits for a process and returns the ids that it prints.
fn ended(child: Child) -> Vec<i64> {
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", out.status);
    String::from_utf8(out.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

/// What one container does to another: shares a CPU with its threads, signals them, moves them, starts them.
fn work(one: &mut Tenant, other: &mut Tenant, moves: bool) {
    let task = |what, pid, other| Task { what, other, pid, moves: false };
    let turns: &[&str] = &["neighbour", "turns"];
    let (left, right) = (one.start(&task(turns, 0, other)), other.start(&task(turns, 0, one)));
    let mut target = other.start(&task(&["neighbour", "turns"], 0, one));
    let signaller = one.start(&task(&["neighbour", "signal"], target.id(), other));
    let pids = [left.id(), right.id(), target.id(), signaller.id()].map(i64::from);
    for child in [left, right, signaller] {
        ended(child);
    }
    target.wait().unwrap();
    one.pids.extend([pids[0], pids[3]]);
    other.pids.extend([pids[1], pids[2]]);
    for what in ["cgroup", "start"] {
        let child = one.start(&Task { what: &["neighbour", what], other, pid: 0, moves });
        one.pids.insert(i64::from(child.id()));
        let children = ended(child);
        // A child that is moved has been in the first container before.
        if what == "start" {
            other.pids.extend(children);
        }
    }
}

/// Fields with ids of threads and processes.
const IDS: [&str; 13] = [
    "proc.pid",
    "proc.ppid",
    "thread.tid",
    "switch.next.pid",
    "switch.next.tid",
    "signal.target_pid",
    "signal.target_tid",
    "signal.target.pid",
    "signal.target.tid",
    "stall.waker.pid",
    "fork.child_pid",
    "fork.child_tid",
    "cgroup_attach.moved_pid",
];

/// Whether the party with this id is still on the host: a new process of this test, before it enters its container.
fn is_on_host(event: &Value, field: &str) -> bool {
    let container = match field.rsplit_once(['.', '_']) {
        Some(("proc" | "thread", _)) => "container.id".to_owned(),
        Some((party, _)) => format!("{party}.container"),
        None => return false,
    };
    text(event, &container) == Some("host")
}

/// Searches all strings of a capture and the output of all commands for names, arguments and ids of a container.
fn assert_contains_nothing(what: &str, file: &Path, secret: &Tenant) {
    let name = secret.program.file_name().unwrap().to_str().unwrap();
    let words = [&secret.id[..12], name, secret.arg];
    // Paths of what a process of the selected container opens itself, here by a link, are its own.
    let opened = secret.cgroup.dir().to_str().unwrap().to_owned();
    let has_secret = |text: &str| {
        let text = text.replace(&opened, "");
        words.iter().any(|word| text.contains(word))
    };
    for string in ktape::all_strings(file) {
        let string = String::from_utf8_lossy(&string).into_owned();
        assert!(!has_secret(&string), "{what}: the file has {string:?}");
    }
    let path = file.to_str().unwrap();
    let commands: [&[&str]; 7] = [
        &["replay", path],
        &["replay", path, "--format", "json"],
        &["replay", path, "--format", "csv"],
        &["info", path],
        &["info", path, "--json"],
        &["containers", path, "--format", "json"],
        &["check", path],
    ];
    for command in commands {
        let out = ktape::stdout(command);
        let line = out.lines().find(|line| has_secret(line));
        assert!(line.is_none(), "{what}: {command:?} says {line:?}");
    }
    for event in ktape::replay_json(file, &[]) {
        let is_secret = |field: &&&str| int(&event, field).is_some_and(|id| secret.pids.contains(&id));
        let id = IDS.iter().filter(is_secret).find(|field| !is_on_host(&event, field));
        assert!(id.is_none(), "{what}: {id:?} in {event}");
    }
}

fn kinds(events: &[Value]) -> BTreeSet<&str> {
    events.iter().filter_map(|event| text(event, "evt.category")).collect()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn copies_and_captures_of_a_container_contain_nothing_of_another() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let mut one = Tenant::new(dir.path(), "a1", "tenant-one", "arg-of-one");
    let mut other = Tenant::new(dir.path(), "b2", "tenant-other", "arg-of-other");
    fs::copy(workload!(), dir.path().join("mover")).unwrap();
    let (all, captured) = (dir.path().join("all.ktape"), dir.path().join("captured.ktape"));
    let everything = Capture::start(&all, &["--stall", "200ms"]);
    let filtering = Capture::start(&captured, &["--stall", "200ms", "--container", &one.id[..12]]);
    work(&mut one, &mut other, false);
    work(&mut other, &mut one, true);
    filtering.stop();
    everything.stop();

    let events = ktape::replay_json(&all, &[]);
    let expected =
        ["switch", "signal", "fork", "exec", "cgroup_mkdir", "cgroup_attach", "cgroup_rmdir", "stall"];
    assert!(expected.iter().all(|kind| kinds(&events).contains(kind)), "{:?}", kinds(&events));
    assert_contains_nothing("capture --container", &captured, &other);
    let id = &one.id[..12];
    let by_id = format!("container.id = {id}");
    // By name alone, the expression would also select the other container, in which this program has children.
    let by_name = format!("proc.name = tenant-one and container.id = {id}");
    let copies: [&[&str]; 3] = [&["--container", id], &[&by_id], &[&by_name]];
    for (number, selection) in copies.into_iter().enumerate() {
        let copy = dir.path().join(format!("copy-{number}.ktape"));
        let mut args = vec!["replay", all.to_str().unwrap(), "-w", copy.to_str().unwrap()];
        args.extend(selection);
        ktape::stdout(&args);
        let events = ktape::replay_json(&copy, &[]);
        for kind in ["switch", "signal", "fork", "exec", "cgroup_mkdir", "cgroup_attach"] {
            assert!(kinds(&events).contains(kind), "{selection:?}: no {kind}");
        }
        assert_contains_nothing(&format!("replay -w {selection:?}"), &copy, &other);
    }
    // Signals from and to the other container are there, without its identity.
    let signals = ktape::replay_json(&captured, &["signal.signal = SIGCONT"]);
    assert!(signals.len() >= 2, "{signals:#?}");
    for signal in &signals {
        let of = |field: &str| text(signal, field) == Some("?");
        assert!(of("container.id") || of("signal.target.container"), "{signal}");
    }
}
