//! Names, images and labels of containers from the runtimes themselves.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ktape_tests::engine::{Engine, Kind};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, list, text};
use ktape_tests::wait;

/// A container with a name and two labels is found by each of them, when its runtime and all its data are gone.
fn a_container_outlives_its_runtime(kind: Kind) {
    let _guard = Guard::exclusive();
    let mut engine = Engine::start(kind);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let option = engine.option();
    let has_labels = kind != Kind::Lxc;
    // One that is there already, another while it records.
    // A runtime keeps some of its state elsewhere, by name.
    let named = |name: &str| format!("{name}-{}", std::process::id());
    let (old_name, new_name) = (named("kt-old"), named("kt-web"));
    let old = engine.run(&old_name, &[("app", "back"), ("zone", "a b")], &["/bin/sleep", "1000"], true);
    let capture = Capture::start(&file, &["--runtime", &option]);
    let new = engine.run(&new_name, &[("app", "front"), ("zone", "a b")], &["/bin/sh", "/work"], true);
    wait_for_sleep(&file, &new);
    if has_labels {
        let there = ktape::containers(&["--live", "--runtime", &option]);
        assert_eq!(there[&new]["name"], new_name.as_str(), "{:?}", there[&new]);
        assert_eq!(there[&new]["labels"]["app"], "front", "{:?}", there[&new]);
        assert_eq!(there[&old]["processes"], 1, "{:?}", there[&old]);
    }
    for name in [&old_name, &new_name] {
        engine.remove(name);
    }
    // Some remove the cgroup a little later.
    wait::until("both to be gone", Duration::from_secs(30), || {
        let all = ktape::containers(&[&file.to_string_lossy()]);
        let is_gone = |id: &str| all.get(id).is_some_and(|container| container.get("died").is_some());
        (is_gone(&old) && is_gone(&new)).then_some(())
    });
    let ended = capture.stop();
    ended.expect_little_loss();
    engine.stop_daemon();
    drop(engine);

    let all = ktape::replay_json(&file, &["cgroup.id exists"]);
    let of = |id: &str| -> Vec<u64> {
        let cgroups = all.iter().filter(|event| text(event, "container.full_id") == Some(id));
        let mut numbers: Vec<i64> = cgroups.filter_map(|event| int(event, "cgroup.id")).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(i64::cast_unsigned).collect()
    };
    for (id, name, app) in [(&old, &old_name, "back"), (&new, &new_name, "front")] {
        let cgroups = of(id);
        assert!(!cgroups.is_empty(), "{id} has no events");
        let list: Vec<String> = cgroups.iter().map(u64::to_string).collect();
        let expected = ktape::count(&file, &format!("cgroup.id in ({})", list.join(", ")));
        assert!(expected > 0);
        let prefix = if has_hex_id(id) { &id[..12] } else { id };
        let mut ways = vec![name.clone(), prefix.to_owned()];
        let mut filters = vec![format!("container.name={name}")];
        if has_labels {
            ways.push(format!("label:app={app}"));
            filters.push(format!("container.label[app]={app} and container.label[zone]='a b'"));
        }
        if matches!(kind, Kind::Docker | Kind::Podman) {
            filters.push(format!("container.image=localhost/bb:1 and container.name={name}"));
        }
        for way in ways {
            let found = count_of(&file, &way);
            // Who only met the container counts too: the runtime's processes that made it, a switch to it.
            assert!(found >= expected, "{kind:?} --container {way}: {found} of {expected}");
            let only = count_of_both(&file, &way, &format!("cgroup.id in ({})", list.join(", ")));
            assert_eq!(only, expected, "{kind:?} --container {way}");
        }
        for filter in filters {
            assert_eq!(ktape::count(&file, &filter), expected, "{kind:?} {filter}");
        }
    }
    let all = ktape::containers(&[&file.to_string_lossy()]);
    let (old, new) = (&all[&old], &all[&new]);
    assert_eq!((&old["name"], &new["name"]), (&old_name.into(), &new_name.into()));
    assert!(old.get("born").is_none() && new["born"].is_string(), "{old} {new}");
    assert!(new["died"].is_string() && old["died"].is_string(), "{old} {new}");
    // The work makes two hundred; a runtime adds a few.
    assert!((201..230).contains(&new["processes"].as_u64().unwrap()), "{new}");
    if kind != Kind::Lxc {
        // Killed.
        assert_eq!((&old["exit_code"], &new["exit_code"]), (&137.into(), &137.into()), "{old} {new}");
    }
    if has_labels {
        let both = count_of(&file, "label:zone=a b");
        assert!(both >= count_of(&file, "label:app=back") && both >= count_of(&file, "label:app=front"));
    }
}

fn has_hex_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn count_of(file: &Path, container: &str) -> u64 {
    count_of_both(file, container, "cgroup.id exists")
}

fn count_of_both(file: &Path, container: &str, expression: &str) -> u64 {
    let words = ["replay", &file.to_string_lossy(), "--count", "--container", container, expression];
    ktape::stdout(&words).trim_end().parse().unwrap()
}

/// Until the container's work is done, and in the file.
fn wait_for_sleep(file: &Path, id: &str) {
    let question = format!("evt.type=exec and proc.name=sleep and container.full_id={id}");
    wait::until("the container to sleep", Duration::from_secs(30), || {
        let out = ktape::run(&["replay", &file.to_string_lossy(), "--count", &question]);
        (String::from_utf8_lossy(&out.stdout).trim() != "0").then_some(())
    });
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn docker_containers_are_named() {
    a_container_outlives_its_runtime(Kind::Docker);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn podman_containers_are_named() {
    a_container_outlives_its_runtime(Kind::Podman);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn containerd_containers_are_named() {
    a_container_outlives_its_runtime(Kind::Containerd);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn lxc_containers_are_named_by_cgroup() {
    a_container_outlives_its_runtime(Kind::Lxc);
}

/// A pod with two containers: by the names of both, by the pod and by its labels.
#[test]
#[ignore = "needs root, runc and container engines"]
fn pods_have_kubernetes_names() {
    let _guard = Guard::exclusive();
    let mut engine = Engine::start(Kind::Containerd);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["--runtime", &engine.option()]);
    let uid = "01234567-89ab-cdef-0123-456789abcdef";
    let containers: &[(&str, &[(&str, &str)])] = &[("nginx", &[("tier", "front")]), ("sidecar", &[])];
    let labels = [("app", "shop"), ("zone", "b")];
    let pod = engine.pod(("market", "shop-0", uid), &labels, containers, &["/bin/sh", "/work"]);
    for id in &pod.containers {
        wait_for_sleep(&file, id);
    }
    engine.remove_pod(&pod);
    let ended = capture.stop();
    ended.expect_little_loss();
    engine.stop_daemon();
    drop(engine);

    let count = |expression: &str| ktape::count(&file, expression);
    let of = |id: &str| count(&format!("container.full_id={id}"));
    let (nginx, sidecar, sandbox) = (of(&pod.containers[0]), of(&pod.containers[1]), of(&pod.sandbox));
    assert!(nginx > 200 && sidecar > 200 && sandbox > 0, "{nginx} {sidecar} {sandbox}");
    assert_eq!(count("container.name=nginx"), nginx);
    assert_eq!(count("container.label[tier]=front"), nginx);
    assert_eq!(count("container.name=sidecar and k8s.ns.name=market and k8s.pod.name=shop-0"), sidecar);
    assert_eq!(count("k8s.pod.label[app]=shop"), nginx + sidecar + sandbox);
    assert_eq!(count(&format!("k8s.pod.uid={uid} and k8s.pod.sandbox exists")), sandbox);
    assert_eq!(count("container.image=localhost/bb:1 and container.name=nginx"), nginx);
    let both = |container: &str| count_of_both(&file, container, "container.id!=host");
    assert_eq!(both("pod:market/shop-*"), nginx + sidecar + sandbox);
    assert_eq!(both("label:zone=b"), nginx + sidecar + sandbox);
    // What another one of the pod did to it counts too.
    let own = format!("container.full_id={}", pod.containers[0]);
    assert_eq!(count_of_both(&file, "nginx", &own), nginx);
    let all = ktape::containers(&[&file.to_string_lossy(), "--container", "pod:shop-0"]);
    assert_eq!(all.len(), 3, "{all:?}");
    let nginx = &all[&pod.containers[0]];
    assert_eq!((nginx["pod"].as_str(), nginx["namespace"].as_str()), (Some("shop-0"), Some("market")));
    assert_eq!(
        (nginx["labels"]["app"].as_str(), nginx["labels"]["tier"].as_str()),
        (Some("shop"), Some("front"))
    );
}

/// `ctr` users choose the id, and choose it again: each container has its own labels all the same.
#[test]
#[ignore = "needs root, runc and container engines"]
fn reused_name_is_another_container() {
    let _guard = Guard::exclusive();
    let engine = Engine::start(Kind::Containerd);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "exec", "--runtime", &engine.option()]);
    let name = format!("kt-again-{}", std::process::id());
    for turn in ["one", "two", "three"] {
        engine.run(&name, &[("turn", turn)], &["/bin/echo", turn], false);
    }
    let ended = capture.stop();
    ended.expect_little_loss();
    for turn in ["one", "two", "three"] {
        let execs =
            ktape::replay_json(&file, &[&format!("exec.path=/bin/echo and container.label[turn]={turn}")]);
        let args: Vec<_> = execs.iter().map(|exec| list(exec, "exec.args")).collect();
        assert_eq!(args, [["/bin/echo", turn]], "{}", ended.stderr);
        assert_eq!(text(&execs[0], "container.name"), Some(name.as_str()));
        let label = format!("label:turn={turn}");
        assert_eq!(count_of_both(&file, &label, "exec.path=/bin/echo"), 1, "{label}");
    }
    assert_eq!(count_of_both(&file, &name, "exec.path=/bin/echo"), 3);
    let table = ktape::stdout(&["containers", &file.to_string_lossy(), "--format", "csv"]);
    let turns: Vec<bool> =
        ["one", "two", "three"].map(|turn| table.matches(&format!("turn={turn}")).count() == 1).into();
    assert_eq!(turns, [true; 3], "{table}");

    // Recorded by its label, only that one.
    let filtered = dir.path().join("y.ktape");
    let args = ["--runtime", &engine.option(), "--container", "label:turn=two"];
    let capture = Capture::start(&filtered, &args);
    for turn in ["one", "two", "three"] {
        engine.run(&name, &[("turn", turn)], &["/bin/echo", turn], false);
    }
    let ended = capture.stop();
    ended.expect_little_loss();
    let execs = ktape::replay_json(&filtered, &["evt.type=exec and exec.path=/bin/echo"]);
    let args: Vec<_> = execs.iter().map(|exec| list(exec, "exec.args")).collect();
    assert_eq!(args, [["/bin/echo", "two"]], "{}", ended.stderr);
}

/// How many containers each of these tests starts: `KTAPE_CONTAINERS` for another number.
fn containers(otherwise: usize) -> usize {
    std::env::var("KTAPE_CONTAINERS").map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Runs containers to their end, some at a time; their ids by number, as far as the engine prints them.
fn run_many(engine: &Engine, count: usize, one: impl Fn(&Engine, usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    one(engine, n);
                }
            });
        }
    });
}

/// Half of the containers have the label: all of those, from their first instruction on, and nothing of the others.
#[test]
#[ignore = "needs root, runc and container engines"]
fn container_label_selects_what_is_recorded() {
    let _guard = Guard::exclusive();
    let engine = Engine::start(Kind::Docker);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let count = containers(20);
    let capture = Capture::start(&file, &["--runtime", &engine.option(), "--container", "label:app=chosen"]);
    run_many(&engine, count, |engine, n| {
        let (app, word) = if n % 2 == 0 { ("chosen", "mine") } else { ("another", "secret") };
        let args = ["/bin/echo", &format!("{word}-{n}-")];
        engine.run(&format!("kt-{word}-{n}"), &[("app", app), ("n", &format!("{word}-{n}"))], &args, false);
    });
    let ended = capture.stop();
    ended.expect_little_loss();

    let execs = ktape::replay_json(&file, &["evt.type=exec and exec.path=/bin/echo"]);
    for n in (0..count).step_by(2) {
        let word = format!("mine-{n}-");
        let of = execs.iter().find(|exec| list(exec, "exec.args").iter().any(|arg| arg.contains(&word)));
        let exec = of.unwrap_or_else(|| panic!("no execve of {n}: {}", ended.stderr));
        assert_eq!(text(exec, "container.name"), Some(format!("kt-mine-{n}").as_str()), "{exec}");
    }
    assert_eq!(execs.len(), count.div_ceil(2));
    let leaked: Vec<String> = ktape::all_strings(&file)
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .filter(|text| text.contains("secret") || text.contains("another"))
        .collect();
    assert_eq!(leaked, Vec::<String>::new(), "{}", ended.stderr);
}

/// Containers that live for one `true`, as fast as the engine starts them.
fn short_lives(kind: Kind, count: usize) {
    let _guard = Guard::exclusive();
    let engine = Engine::start(kind);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let count = containers(count);
    let capture = Capture::start(&file, &["-e", "exec,cgroup_mkdir,exit", "--runtime", &engine.option()]);
    run_many(&engine, count, |engine, n| {
        let name = format!("kt-short-{}-{n}", std::process::id());
        engine.run(&name, &[("n", &n.to_string()), ("kind", "short")], &["/bin/true"], false);
    });
    all_are_named(kind, capture, count);
}

/// Each of many containers has its `true`, with its name and labels.
fn all_are_named(kind: Kind, capture: Capture, count: usize) {
    let ended = capture.stop();
    ended.expect_little_loss();
    let own = "evt.type=exec and exec.path=/bin/true and container.id!=host";
    let count_of = |more: &str| ktape::count(&ended.file, &format!("{own}{more}"));
    let (all, named) = (count_of(""), count_of(" and container.name startswith kt-short-"));
    let labelled = count_of(" and container.label[kind]=short");
    eprintln!("{kind:?}: {count} containers, {named} with their name, {labelled} with their labels");
    let count = count as u64;
    assert_eq!((all, named, labelled), (count, count, count), "{kind:?}: {}", ended.stderr);
}

/// Those of a pod, which only CRI reports.
#[test]
#[ignore = "needs root, runc and container engines"]
fn short_lived_pod_containers_are_named() {
    let _guard = Guard::exclusive();
    let engine = Engine::start(Kind::Containerd);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let option = format!("cri={}", engine.socket().display());
    let capture = Capture::start(&file, &["-e", "exec,cgroup_mkdir,exit", "--runtime", &option]);
    let count = containers(20);
    let names: Vec<String> = (0..count).map(|n| format!("kt-short-{n}")).collect();
    let each = names.iter().map(|name| (name.as_str(), [("kind", "short")].as_slice()));
    let uid = "21234567-89ab-cdef-0123-456789abcdef";
    let pod = engine.pod(("market", "shop-0", uid), &[], &each.collect::<Vec<_>>(), &["/bin/true"]);
    engine.remove_pod(&pod);
    all_are_named(Kind::Containerd, capture, count);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn short_lived_docker_containers_are_named() {
    short_lives(Kind::Docker, 20);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn short_lived_podman_containers_are_named() {
    short_lives(Kind::Podman, 8);
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn short_lived_containerd_containers_are_named() {
    short_lives(Kind::Containerd, 20);
}
