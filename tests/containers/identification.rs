//! Containers are identified by every shape of cgroup path, with all their processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ktape_tests::cgroup::Cgroup;
use ktape_tests::container::{self, Container, Options, Runtime};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text, truth};
use ktape_tests::wait::until;
use ktape_tests::workload;
use ktape_tests::workload::Workload;
use serde_json::{Value, json};

const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";
const B: &str = "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfb0b1b2b3b4b5b6b7b8b9babbbcbdbebf";
/// The calls that only the workload makes.
const OWN: &str = "evt.type=getppid and proc.name=ktape-workload";
const UID: &str = "01234567-89ab-cdef-0123-456789abcdef";
const UID_: &str = "01234567_89ab_cdef_0123_456789abcdef";

/// The cgroup path of a container with this id, and the id that ktape should give it.
fn shapes(id: &str) -> Vec<(String, String)> {
    let name = format!("web-{}", &id[..4]);
    let burstable = "/kubepods.slice/kubepods-burstable.slice";
    let hex = |path: String| (path, id.to_owned());
    vec![
        hex(format!("/docker/{id}")),
        hex(format!("/system.slice/docker-{id}.scope")),
        hex(format!("/kubepods/burstable/pod{UID}/{id}")),
        hex(format!("/kubepods/pod{UID}/{id}")),
        hex(format!("{burstable}/kubepods-burstable-pod{UID_}.slice/cri-containerd-{id}.scope")),
        hex(format!(
            "/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{id}"
        )),
        hex(format!("/kubepods/besteffort/pod{UID}/crio-{id}")),
        hex(format!("{burstable}/kubepods-burstable-pod{UID_}.slice/crio-{id}.scope")),
        hex(format!("/libpod_parent/libpod-{id}")),
        hex(format!("/machine.slice/libpod-{id}.scope")),
        hex(format!("/machine.slice/libpod-{id}.scope/container")),
        hex(format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope")),
        hex(format!("/system.slice/nerdctl-{id}.scope")),
        (format!("/default/{name}"), name.clone()),
        (format!("/lxc/{name}"), name.clone()),
        (format!("/lxc.payload.{name}"), name.clone()),
        (format!("/machine.slice/machine-{}.scope/payload", name.replace('-', "\\x2d")), name.clone()),
    ]
}

/// By thread: the calls in order, as (name, result, start in ns if it is known).
type Calls = BTreeMap<i64, Vec<(String, Option<i64>, Option<i64>)>>;

fn calls(file: &Path, args: &[&str]) -> Calls {
    let mut threads = Calls::new();
    let mut all = vec!["-e", "syscall"];
    all.extend(args);
    for event in ktape::replay_json(file, &all) {
        threads.entry(int(&event, "thread.tid").unwrap()).or_default().push((
            text(&event, "evt.type").unwrap().to_owned(),
            int(&event, "evt.rawres"),
            int(&event, "evt.rawtime").filter(|_| !truth(&event, "evt.start_unknown")),
        ));
    }
    threads
}

/// Two recorders read the clock twice for one entry: microseconds apart, or a preemption. A call in flight when its
/// thread was moved into the container has no start for the recorder that filters.
fn same(left: &Calls, right: &Calls) {
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>(), "other threads");
    for (tid, left) in left {
        let right = &right[tid];
        let names = |calls: &[(String, Option<i64>, Option<i64>)]| -> Vec<_> {
            calls.iter().map(|(name, result, _)| (name.clone(), *result)).collect()
        };
        assert_eq!(names(left), names(right), "thread {tid}");
        for (left, right) in left.iter().zip(right) {
            if let (Some(one), Some(other)) = (left.2, right.2) {
                assert!((one - other).abs() < 50_000_000, "thread {tid}: {left:?} {right:?}");
            }
        }
    }
}

fn ended(container: &Container) {
    until("the container to end", Duration::from_secs(20), || container.has_ended().then_some(()));
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn every_cgroup_path_shape_is_identified_and_filtered() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let mut failed = Vec::new();
    for ((number, (path_a, id_a)), (path_b, id_b)) in shapes(A).into_iter().enumerate().zip(shapes(B)) {
        let run = || {
            let (some, all) =
                (dir.path().join(format!("some{number}")), dir.path().join(format!("all{number}")));
            // The filtering one sees only what begins after it; both see all of the containers.
            let filtering = Capture::start(&some, &["--container", &id_a]);
            let everything = Capture::start(&all, &[]);
            let load_a = ["/bin/ktape-workload", "getppid", "300"];
            let load_b = ["/bin/ktape-workload", "threads", "3"];
            let a = runtime
                .start(&format!("a{number}"), &Options { cgroup: &path_a, args: &load_a, seccomp: true });
            let b = runtime
                .start(&format!("b{number}"), &Options { cgroup: &path_b, args: &load_b, seccomp: false });
            ended(&a);
            ended(&b);
            drop((a, b));
            filtering.stop();
            everything.stop();

            let some_calls = calls(&some, &[]);
            same(&some_calls, &calls(&all, &["--container", &id_a]));
            same(
                &some_calls,
                &calls(&all, &[&format!("container.full_id=\"{}\"", id_a.replace('\\', "\\\\"))]),
            );
            // runc makes two as well.
            assert_eq!(ktape::count(&some, OWN), 300);
            assert_eq!(
                ktape::count(&some, "thread.name startswith worker-"),
                0,
                "events of the other container"
            );
            let threads = ktape::replay_json(&all, &["thread.name startswith worker-", "-e", "getppid"]);
            let of = |tid| threads.iter().filter(|event| int(event, "thread.tid") == Some(tid)).count();
            let too_many =
                threads.iter().filter(|event| int(event, "thread.tid").is_none_or(|tid| of(tid) > 20));
            let too_many: Vec<String> = too_many.map(Value::to_string).collect();
            assert_eq!(threads.len(), 60, "threads with more than 20:\n{}", too_many.join("\n"));
            for event in threads {
                assert_eq!(text(&event, "container.full_id"), Some(id_b.as_str()), "{event}");
                // The escape rule doubles backslashes.
                assert_eq!(
                    text(&event, "cgroup.path"),
                    Some(path_b.replace('\\', "\\\\").as_str()),
                    "{event}"
                );
            }
        };
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            failed.push(format!("{path_a}: {why}"));
        }
    }
    assert!(failed.is_empty(), "{} shapes failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn preexisting_processes_belong_to_their_container() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let path = format!("/docker/{A}");
    let args = ["/bin/sh", "-c", "while :; do ktape-workload getppid 10; echo round; sleep 0.05; done"];
    let container = runtime.start("early", &Options { cgroup: &path, args: &args, seccomp: false });
    let capture = Capture::start(&file, &["--container", &A[..6]]);
    // Counts, too: docker exec makes a process elsewhere and moves it.
    let out = container.exec(&["/bin/ktape-workload", "exit", "0"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let rounds = || container.output().lines().filter(|line| *line == "round").count();
    let before = rounds();
    until("the loop to go round", Duration::from_secs(20), || (rounds() > before + 2).then_some(()));
    capture.stop();
    let all = ktape::count(&file, "evt.category=syscall");
    assert!(ktape::count(&file, "evt.type=getppid") >= 10);
    assert_eq!(ktape::count(&file, &format!("container.full_id={A} and evt.category=syscall")), all);
    assert!(
        ktape::count(&file, "evt.type=exit_group and proc.args contains exit") == 1,
        "the exec is missing"
    );
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn outer_container_includes_nested_ones() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let (outer_file, inner_file) = (dir.path().join("outer.ktape"), dir.path().join("inner.ktape"));
    let outer = format!("/docker/{A}");
    let inner = format!("/docker/{A}/docker/{B}");
    let sleep = ["/bin/sleep", "60"];
    let outer_container = runtime.start("outer", &Options { cgroup: &outer, args: &sleep, seccomp: false });
    let of_outer = Capture::start(&outer_file, &["--container", A]);
    let of_inner = Capture::start(&inner_file, &["--container", B]);
    let load = ["/bin/ktape-workload", "getppid", "300"];
    let inner_container = runtime.start("inner", &Options { cgroup: &inner, args: &load, seccomp: false });
    ended(&inner_container);
    let out = outer_container.exec(&["/bin/ktape-workload", "getppid", "100"]);
    assert!(out.status.success());
    of_outer.stop();
    of_inner.stop();

    assert_eq!(ktape::count(&inner_file, OWN), 300);
    assert_eq!(ktape::count(&outer_file, OWN), 400);
    same(&calls(&inner_file, &[]), &calls(&outer_file, &["--container", B]));
    let event = ktape::replay_json(&inner_file, &["-n", "1", "-e", "getppid"]).remove(0);
    assert_eq!(text(&event, "container.full_id"), Some(B), "{event}");
    assert_eq!(ktape::count(&inner_file, &format!("{OWN} and container.chain='{A}>{B}'")), 300);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn v1_hierarchies_identify_containers() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    for hierarchy in ["pids", "memory", "cpu", "v2"] {
        let file = dir.path().join(format!("{hierarchy}.ktape"));
        let file = file.as_path();
        let only = Capture::start(file, &["--cgroup-hierarchy", hierarchy, "--container", &A[..8]]);
        for (name, id, count) in [("a", A, "300"), ("b", B, "200")] {
            let path = format!("/docker/{id}");
            let args = ["/bin/ktape-workload", "getppid", count];
            ended(&runtime.start(name, &Options { cgroup: &path, args: &args, seccomp: false }));
        }
        only.stop();
        assert_eq!(ktape::count(file, OWN), 300, "{hierarchy}");
        let events = ktape::replay_json(file, &["-n", "1", "-e", "getppid"]);
        assert_eq!(text(&events[0], "container.full_id"), Some(A), "{hierarchy}");
        assert_eq!(text(&events[0], "container.type"), Some("docker"), "{hierarchy}");
        assert_eq!(text(&events[0], "cgroup.path"), Some(format!("/docker/{A}").as_str()), "{hierarchy}");
        assert_eq!(ktape::count(file, &format!("container.full_id={B}")), 0, "{hierarchy}");
    }
}

/// With the host's process ids, its `/sys` and its root mounted, a recorder in a container sees what one on the host sees.
#[test]
#[ignore = "needs root, runc and container engines"]
fn recorder_in_a_container_records_the_host() {
    let _guard = Guard::exclusive();
    let out = ktape::disk_dir();
    let runtime = Runtime::new(&[ktape::binary()]);
    let name = ktape::binary().file_name().unwrap().to_str().unwrap();
    let args = [&format!("/bin/{name}"), "capture", "--host-root", "/host", "-o", "/out/x.ktape"];
    let options = Options { cgroup: &format!("/docker/{A}"), args: &args, seccomp: false };
    let recorder = runtime.start_with("recorder", &options, |config| {
        config["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "ipc" }]);
        config.as_object_mut().unwrap().remove("hostname");
        let capabilities = [
            "CAP_BPF",
            "CAP_PERFMON",
            "CAP_SYS_PTRACE",
            "CAP_DAC_READ_SEARCH",
            "CAP_DAC_OVERRIDE",
            "CAP_SYSLOG",
            "CAP_SYS_NICE",
            "CAP_SETPCAP",
        ];
        let sets = ["bounding", "effective", "permitted"].map(|set| (set.to_owned(), json!(capabilities)));
        config["process"]["capabilities"] = json!(BTreeMap::from(sets));
        container::with_mount(config, Path::new("/sys"), "/sys");
        container::with_mount(config, Path::new("/"), "/host");
        // Engines mount the container's own part of the cgroups over the host's.
        let own = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup" });
        config["mounts"].as_array_mut().unwrap().push(own);
        container::with_mount(config, out.path(), "/out");
    });
    until("it to record", Duration::from_secs(20), || {
        recorder.output().contains("recording to").then_some(())
    });
    let mut load = Workload::start(workload!(), &["getppid", "1000", "--gate"]);
    assert_eq!(load.line(), "ready");
    let (pid, cgroup) = (load.pid(), Cgroup::make(&format!("/docker/{B}")));
    cgroup.attach(pid);
    load.go();
    load.finish();
    let file = out.path().join("x.ktape");
    until("the calls to be in the file", Duration::from_secs(20), || {
        let counted = ktape::run(&["replay", file.to_str().unwrap(), "--count", OWN]);
        (String::from_utf8_lossy(&counted.stdout).trim() == "1000").then_some(())
    });
    recorder.signal(libc::SIGTERM);
    ended(&recorder);

    let calls = ktape::replay_json(&file, &[OWN]);
    let call = calls.iter().find(|event| text(event, "evt.type") == Some("getppid")).unwrap();
    assert_eq!(int(call, "proc.pid"), Some(i64::from(pid)));
    // A container has users of its own; those of the host are found below its root.
    assert_eq!(text(call, "user.name"), None);
    assert!(ktape::count(&file, "user.name = root and container.id = host") > 0);
    assert_eq!(text(call, "container.full_id"), Some(B));
    assert_eq!(text(call, "proc.exepath"), workload!().canonicalize().unwrap().to_str());
    let capture = capture_format::CaptureFile::open(&file).unwrap();
    let header = &capture.segments()[0].header;
    assert_eq!(header.host_id, std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim());
    let usual = ["recording to", "recorded", "no events lost", "LOST", "most active", "view with"];
    let output = recorder.output();
    let mut messages = output.lines().filter_map(|line| line.strip_prefix("ktape: "));
    let warning = messages.find(|text| !usual.iter().any(|start| text.starts_with(start)));
    assert_eq!(warning, None, "{output}");
    let of_host = ktape::count(&file, "evt.type=sample_host");
    let of_cgroups = ktape::count(&file, "evt.type=sample and container.id=host");
    assert!(of_host > 0 && of_cgroups > 0, "{of_host} {of_cgroups}");
    // The root of the host has its size.
    let rows = ktape::replay_json(&file, &["evt.type=sample_fs and sample_fs.mount=/"]);
    let stat = std::process::Command::new("stat").args(["-f", "-c", "%b %S", "/"]).output().unwrap();
    let numbers: Vec<i64> =
        String::from_utf8_lossy(&stat.stdout).split_whitespace().map(|n| n.parse().unwrap()).collect();
    let size = rows.first().and_then(|row| int(row, "sample_fs.bytes"));
    assert_eq!(size, Some(numbers.iter().product()), "{}", recorder.output());
}

/// A warning is printed if the host's cgroups are not visible, because containers are then taken for the host.
#[test]
#[ignore = "needs root, runc and container engines"]
fn partial_cgroup_view_is_refused() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let in_part = |args: &[&str]| {
        let mut unshare = std::process::Command::new("unshare");
        unshare.arg("-C").arg(ktape::binary()).args(args).output().unwrap()
    };
    let out = in_part(&["capture", "-d", "100ms", "-o", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success() && said.contains("only a part of the cgroup hierarchy is visible"),
        "{said}"
    );
    let out = in_part(&["doctor"]);
    let said = String::from_utf8_lossy(&out.stdout);
    let line = said.lines().find(|line| line.contains("cgroups: "));
    assert!(line.is_some_and(|line| line.starts_with("MISSING") && line.contains("only a part")), "{said}");
    assert_eq!(out.status.code(), Some(1));
}

/// A process that is moved belongs to where it is: a container, a service of the host with groups of its own, a service of a systemd
/// inside a container, a container inside a container.
#[test]
#[ignore = "needs root, runc and container engines"]
fn moved_process_belongs_to_its_new_container() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let places = [
        (format!("/docker/{A}"), A.to_owned(), A.to_owned()),
        ("/system.slice/ktape-test.service/runtime".to_owned(), "host".to_owned(), String::new()),
        (format!("/docker/{A}/system.slice/nginx.service"), A.to_owned(), A.to_owned()),
        (format!("/docker/{A}/docker/{B}"), B.to_owned(), format!("{A}>{B}")),
        (format!("/docker/{B}"), B.to_owned(), B.to_owned()),
        ("/user.slice/ktape-test/session.scope".to_owned(), "host".to_owned(), String::new()),
    ];
    let cgroups: Vec<Cgroup> = places.iter().map(|(path, ..)| Cgroup::make(path)).collect();
    let home = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let home = home.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned();
    let root = ktape_tests::cgroup::v2_root();
    let mut script = String::new();
    for (n, cgroup) in cgroups.iter().enumerate() {
        // The shell's own calls: each place has another number.
        script.push_str(&format!(
            "echo $$ >{}/cgroup.procs; i=0; while [ $i -lt {} ]; do kill -0 $$; i=$((i+1)); done\n",
            cgroup.dir().display(),
            10 * (n + 1)
        ));
    }
    script.push_str(&format!("echo $$ >{}{home}/cgroup.procs", root.display()));
    let ended = ktape::record(&file, &["-e", "kill"], &["/bin/busybox", "sh", "-c", &script]);
    assert_eq!(ktape::count(&file, "evt.type=kill"), 210, "{}", ended.stderr);
    for (n, (path, container, chain)) in places.iter().enumerate() {
        let made = 10 * (n as u64 + 1);
        let here = format!("evt.type=kill and cgroup.path={path}");
        assert_eq!(ktape::count(&file, &here), made, "{path}");
        assert_eq!(ktape::count(&file, &format!("{here} and container.full_id={container}")), made, "{path}");
        let same = if chain.is_empty() {
            "not container.chain exists".to_owned()
        } else {
            format!("container.chain='{chain}'")
        };
        assert_eq!(ktape::count(&file, &format!("{here} and {same}")), made, "{path}");
    }
    let of = |id: &str| -> u64 {
        let words = ["replay", file.to_str().unwrap(), "--count", "--container", id, "evt.type=kill"];
        ktape::stdout(&words).trim_end().parse().unwrap()
    };
    // Outer includes inner, and what was moved out counts no more.
    assert_eq!((of(A), of(B)), (10 + 30 + 40, 40 + 50));
}
