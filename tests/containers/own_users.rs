//! Containers that the host does not know as its own: their users, and the hierarchies that they are in.

use std::path::PathBuf;
use std::process::Command;

use ktape_tests::cgroup::{self, Cgroup};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};

const ID: &str = "dd11223344556677889900aabbccddeeff00112233445566778899aabbccddee";

/// Moves a shell into these cgroups and opens `path`, as user 1 of a container.
fn open_inside(dirs: &[PathBuf], path: &str) {
    let script = "path=$1; shift; for dir; do echo $$ >\"$dir/cgroup.procs\"; done; \
                  exec setpriv --reuid 1 --clear-groups cat \"$path\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", path]).args(dirs);
    // The file does not exist.
    assert_eq!(shell.output().unwrap().status.code(), Some(1));
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn users_of_containers_have_no_name_of_the_host() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let group = Cgroup::make(&format!("/docker/{ID}"));
    let capture = Capture::start(&dir.path().join("x.ktape"), &["-e", "openat"]);
    open_inside(&[group.dir()], "/none/inside");
    open_inside(&[], "/none/outside");
    let file = capture.stop().file;
    let user = |path: &str| {
        let events = ktape::replay_json(&file, &[&format!("fd.name = {path}")]);
        let event = events.first().unwrap_or_else(|| panic!("no event of {path}"));
        (int(event, "user.uid"), text(event, "user.name").map(str::to_owned))
    };
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let name = passwd.lines().find_map(|line| {
        let mut words = line.split(':');
        let name = words.next()?;
        (words.nth(1)? == "1").then(|| name.to_owned())
    });
    assert_eq!(user("/none/inside"), (Some(1), None));
    assert_eq!(user("/none/outside"), (Some(1), name.clone()));
    let name = name.expect("this host has a user 1");
    assert_eq!(ktape::count(&file, &format!("user.name = {name} and fd.name startswith /none/")), 1);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn containers_of_the_v1_hierarchies_alone_are_identified() {
    let _guard = Guard::exclusive();
    let roots: Vec<PathBuf> = ["pids", "memory", "cpu"].into_iter().filter_map(cgroup::v1_root).collect();
    if roots.is_empty() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = format!("/docker-v1/{ID}");
    let groups: Vec<Cgroup> = roots.into_iter().map(|root| Cgroup::make_in(root, &path)).collect();
    let dirs: Vec<PathBuf> = groups.iter().map(Cgroup::dir).collect();
    let capture = Capture::start(&dir.path().join("v1.ktape"), &["-e", "openat"]);
    open_inside(&dirs, "/none/v1-only");
    let ended = capture.stop();
    let events = ktape::replay_json(&ended.file, &["fd.name = /none/v1-only"]);
    assert_eq!(
        events.first().and_then(|event| text(event, "container.full_id")),
        Some(ID),
        "{}",
        ended.stderr
    );

    // Where the user has chosen, nothing else is.
    let capture = Capture::start(&dir.path().join("v2.ktape"), &["-e", "openat", "--cgroup-hierarchy", "v2"]);
    open_inside(&dirs, "/none/v1-only");
    let ended = capture.stop();
    assert_eq!(ktape::count(&ended.file, "fd.name = /none/v1-only and container.id = host"), 1);
    assert!(!ended.stderr.contains("alone"), "{}", ended.stderr);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn containers_that_come_later_and_are_in_v1_alone_are_reported() {
    let _guard = Guard::exclusive();
    let Some(root) = cgroup::v1_root("pids") else { return };
    let dir = tempfile::tempdir().unwrap();
    let capture = Capture::start(&dir.path().join("x.ktape"), &["-e", "exec"]);
    let group = Cgroup::make_in(root, &format!("/docker-v1/{ID}"));
    let ended = capture.stop();
    drop(group);
    let warning = ended.stderr.lines().find(|line| line.contains("in the cgroup hierarchy pids alone"));
    assert!(warning.is_some_and(|line| line.ends_with("pass --cgroup-hierarchy pids")), "{}", ended.stderr);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn unmatched_containers_are_reported() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let ended = Capture::start(&dir.path().join("x.ktape"), &["--container", "nosuch"]).stop();
    let hint = "ktape: no container matched `--container nosuch`; list the containers with `ktape containers --live`\n";
    assert!(ended.stderr.contains(hint), "{}", ended.stderr);
    let ended = Capture::start(&dir.path().join("y.ktape"), &[]).stop();
    assert!(!ended.stderr.contains("no container matched"), "{}", ended.stderr);
}
