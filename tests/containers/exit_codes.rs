//! Exit codes of containers, from their runtimes: the exit code is that of the first process, whichever ends last.

use std::path::Path;
use std::time::Duration;

use ktape_tests::engine::{Engine, Kind};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int};
use ktape_tests::wait;

/// The first process ends with 3, and the kernel kills the other one after it.
const COMMAND: &[&str] = &["/bin/sh", "-c", "/bin/sleep 1000 & /bin/sleep 1; exit 3"];

/// Until what is known of how this container ended is in the file.
fn wait_for_code(file: &Path, id: &str) {
    let mut last = None;
    wait::until("the exit code to be in the file", Duration::from_secs(20), || {
        let container = ktape::containers(&[&file.to_string_lossy()]).remove(id)?;
        let code = container.get("exit_code").and_then(serde_json::Value::as_i64);
        if last.replace(code) != Some(code) {
            eprintln!("{id}: {container}");
        }
        (code == Some(3)).then_some(())
    });
}

fn ends_with_its_own_code(kind: Kind) {
    let _guard = Guard::exclusive();
    let engine = Engine::start(kind);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "exec,exit", "--runtime", &engine.option()]);
    let name = format!("kt-end-{}", std::process::id());
    let id = engine.run(&name, &[], COMMAND, true);
    wait_for_code(&file, &id);
    engine.remove(&name);
    capture.stop();
    // So it stays when the container is gone, and it is a field of its events.
    wait_for_code(&file, &id);
    let own = format!("evt.type=exec and container.full_id={id} and container.exit_code=3");
    // The shell, and twice sleep; the first of them is the one whose id the runtime gave.
    assert_eq!(ktape::count(&file, &format!("{own} and proc.name=sleep")), 2);
    let first = ktape::replay_json(&file, &[&format!("{own} and proc.name=sh")]);
    assert_eq!(first.len(), 1, "{first:?}");
    let pid = int(&first[0], "proc.pid").unwrap();
    assert_eq!(ktape::count(&file, &format!("{own} and proc.name=sh and container.pid={pid}")), 1);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn docker_exit_code_is_recorded() {
    ends_with_its_own_code(Kind::Docker);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn podman_exit_code_is_recorded() {
    ends_with_its_own_code(Kind::Podman);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn containerd_exit_code_is_recorded() {
    ends_with_its_own_code(Kind::Containerd);
}

/// `docker restart`: it runs again, and how it ended before is not how it is.
#[test]
#[ignore = "needs root, runc and container engines"]
fn restarted_container_has_no_exit_code() {
    let _guard = Guard::exclusive();
    let engine = Engine::start(Kind::Docker);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "exec,exit,cgroup_rmdir", "--runtime", &engine.option()]);
    let name = format!("kt-again-{}", std::process::id());
    let id = engine.run(&name, &[], &["/bin/sleep", "1000"], true);
    let container = || ktape::containers(&[&file.to_string_lossy()]).remove(&id);
    let wait = |what: &str, is: &dyn Fn(&serde_json::Value) -> bool| {
        wait::until(what, Duration::from_secs(30), || is(&container()?).then_some(()));
    };
    engine.restart(&name);
    let execs = format!("evt.type=exec and container.full_id={id} and exec.path=/bin/sleep");
    wait::until("the second start", Duration::from_secs(30), || {
        let out = ktape::run(&["replay", &file.to_string_lossy(), "--count", &execs]);
        (String::from_utf8_lossy(&out.stdout).trim() == "2").then_some(())
    });
    wait("it to run", &|is| is.get("pid").is_some());
    let running = container().unwrap();
    assert!(running.get("died").is_none() && running.get("exit_code").is_none(), "{running}");
    engine.remove(&name);
    wait("its end", &|is| is.get("died").is_some() && is["exit_code"] == 137);
    capture.stop();
}

/// CRI alone, as with CRI-O: it is queried when the container is gone.
#[test]
#[ignore = "needs root, runc and container engines"]
fn cri_exit_code_is_recorded() {
    let _guard = Guard::exclusive();
    let engine = Engine::start(Kind::Containerd);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let option = format!("cri={}", engine.socket().display());
    let capture = Capture::start(&file, &["-e", "exec,exit", "--runtime", &option]);
    let uid = "11234567-89ab-cdef-0123-456789abcdef";
    let pod = engine.pod(("market", "shop-0", uid), &[], &[("nginx", &[])], COMMAND);
    wait_for_code(&file, &pod.containers[0]);
    engine.remove_pod(&pod);
    capture.stop();
    let count = ktape::count(&file, "evt.type=exec and container.name=nginx and container.exit_code=3");
    assert!(count > 0);
}
