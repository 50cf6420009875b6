use super::registry::RequestTime;
use super::*;
use ktape_reader::containers::Runtime;

fn key(cgroup: u64) -> MetadataKey {
    MetadataKey { boot_id: [1; 16], cgroup, birth: 0 }
}

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    let mut attributes = Attributes::default();
    for (name, value) in pairs {
        attributes.set(*name, *value);
    }
    attributes
}

fn values(info: &ContainerInfo) -> Vec<(&str, &str)> {
    info.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn cgroup_and_attributes_can_come_in_either_order() {
    let (out, infos) = mpsc::channel();
    let mut registry = ContainerRegistry::new(out);
    let container =
        |id: &str, cgroup| NewContainer { key: key(cgroup), id: id.into(), runtime: Runtime::Docker };

    registry.update("aa", &attributes(&[("container.name", "web")]), false, RequestTime::UNKNOWN);
    assert!(infos.try_recv().is_err());
    // Hexadecimal ids are never reused.
    registry.container_started(container("aa", 7));
    let first = infos.try_recv().unwrap();
    assert_eq!((first.key, first.id.as_str()), (key(7), "aa"));
    assert_eq!(values(&first), [("container.full_id", "aa"), ("container.name", "web")]);

    registry.container_started(container("bb", 8));
    assert!(infos.try_recv().is_err() && registry.is_pending("bb"));
    registry.update("bb", &attributes(&[("container.name", "db")]), true, RequestTime::UNKNOWN);
    assert_eq!(values(&infos.try_recv().unwrap())[1], ("container.name", "db"));
    assert!(!registry.is_pending("bb"));
    // Only new values are reported.
    registry.update("bb", &attributes(&[("container.name", "db")]), true, RequestTime::UNKNOWN);
    assert!(infos.try_recv().is_err());
    registry.update("bb", &attributes(&[("container.exit_code", "3")]), false, RequestTime::UNKNOWN);
    assert_eq!(values(&infos.try_recv().unwrap())[0], ("container.exit_code", "3"));
}

#[test]
fn a_reused_name_is_another_container() {
    let (out, infos) = mpsc::channel();
    let mut registry = ContainerRegistry::new(out);
    let offset = crate::clock::wall_offset();
    // The cgroup is created at this second of the boot clock; the runtime registers the container 100 ms before.
    let birth = |second: u64| MetadataKey { boot_id: [1; 16], cgroup: second, birth: second * 1_000_000_000 };
    let container =
        |second| NewContainer { key: birth(second), id: "redis".into(), runtime: Runtime::Containerd };
    let of = |second: i64, label: &str| {
        let created =
            jiff::Timestamp::from_nanosecond(i128::from(second * 1_000_000_000 - 100_000_000 + offset));
        let created = created.unwrap().to_string();
        attributes(&[
            ("container.name", "redis"),
            ("container.created", &created),
            ("container.label[a]", label),
        ])
    };
    let label = |info: &ContainerInfo| {
        values(info).iter().find(|(name, _)| *name == "container.label[a]").map(|(_, v)| (*v).to_owned())
    };

    registry.container_started(container(10));
    registry.update("redis", &of(10, "old"), true, RequestTime::UNKNOWN);
    let first = infos.try_recv().unwrap();
    assert_eq!((first.key, label(&first).as_deref()), (birth(10), Some("old")));
    registry.container_started(container(20));
    assert!(infos.try_recv().is_err(), "the new container has no attributes of the old one");
    // A late answer about the old container.
    registry.update("redis", &of(10, "old"), true, RequestTime::UNKNOWN);
    assert!(infos.try_recv().is_err() && registry.is_pending("redis"), "not even after a late answer");
    // An answer about the next container.
    registry.update("redis", &of(30, "next"), true, RequestTime::UNKNOWN);
    assert!(infos.try_recv().is_err() && registry.is_pending("redis"), "nor attributes of the next one");
    registry.update("redis", &of(20, "new"), true, RequestTime::UNKNOWN);
    let second = infos.try_recv().unwrap();
    assert_eq!((second.key, label(&second).as_deref()), (birth(20), Some("new")));
    assert!(infos.try_recv().is_err() && !registry.is_pending("redis"));
}

#[test]
fn a_restarted_container_keeps_its_name() {
    let (out, infos) = mpsc::channel();
    let mut registry = ContainerRegistry::new(out);
    let now = crate::clock::boot_ns();
    let offset = crate::clock::wall_offset();
    let birth = |ago: u64| MetadataKey { boot_id: [1; 16], cgroup: ago, birth: now - ago };
    let container = |ago| NewContainer { key: birth(ago), id: "redis".into(), runtime: Runtime::Containerd };
    let created = jiff::Timestamp::from_nanosecond(i128::from((now - 3_000_000_000).cast_signed() + offset));
    let created = created.unwrap().to_string();
    let attributes = attributes(&[("container.name", "redis"), ("container.created", &created)]);

    registry.container_started(container(2_000_000_000));
    registry.update("redis", &attributes, true, RequestTime::UNKNOWN);
    assert_eq!(infos.try_recv().unwrap().key, birth(2_000_000_000));
    registry.container_started(container(1_000_000_000));
    registry.update("redis", &attributes, true, RequestTime::UNKNOWN);
    assert!(
        infos.try_recv().is_err() && registry.is_pending("redis"),
        "an older answer can be about a container that was removed"
    );
    registry.update("redis", &attributes, true, RequestTime::now());
    assert_eq!(infos.try_recv().unwrap().key, birth(1_000_000_000));
    assert!(!registry.is_pending("redis"));
}

/// As with `docker restart`: the container keeps its id and has a new cgroup after each start.
#[test]
fn the_exit_code_of_one_run_is_not_that_of_the_next() {
    let (out, infos) = mpsc::channel();
    let mut registry = ContainerRegistry::new(out);
    let container = |cgroup| NewContainer { key: key(cgroup), id: ID.into(), runtime: Runtime::Docker };
    registry.container_started(container(1));
    let first =
        attributes(&[("container.name", "web"), ("container.pid", "5"), ("container.exit_code", "3")]);
    registry.update(ID, &first, true, RequestTime::UNKNOWN);
    assert_eq!(infos.try_recv().unwrap().key, key(1));
    registry.container_started(container(2));
    let second = infos.try_recv().unwrap();
    assert_eq!(second.key, key(2));
    assert_eq!(values(&second), [("container.full_id", ID), ("container.name", "web")]);
    assert!(registry.is_pending(ID));
    registry.update(ID, &attributes(&[("container.pid", "6")]), true, RequestTime::UNKNOWN);
    let keys: Vec<MetadataKey> = infos.try_iter().map(|info| info.key).collect();
    assert_eq!(keys, [key(2)], "the process id of the first run does not change");
}

#[test]
fn events_belong_to_the_run_that_they_happened_in() {
    let (out, infos) = mpsc::channel();
    let mut registry = ContainerRegistry::new(out);
    let offset = crate::clock::wall_offset();
    let at = |second: i64| second * 1_000_000_000 + offset;
    let birth = |second: u64| MetadataKey { boot_id: [1; 16], cgroup: second, birth: second * 1_000_000_000 };
    let container =
        |second| NewContainer { key: birth(second), id: "redis".into(), runtime: Runtime::Containerd };
    let started = |pid: &str| attributes(&[("container.pid", pid)]);
    let ended = |code: &str| attributes(&[("container.exit_code", code)]);
    let last = || {
        let received: Vec<ContainerInfo> = infos.try_iter().collect();
        received.last().map(|info| {
            let get = |name| values(info).iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            (info.key.cgroup, get("container.pid"), get("container.exit_code"))
        })
    };
    let text = |text: &str| Some(text.to_owned());

    // All events are reported before the cgroup is seen.
    registry.update_at("redis", &started("1"), at(11));
    registry.update_at("redis", &ended("3"), at(12));
    assert_eq!(last(), None);
    registry.container_started(container(10));
    assert_eq!(last(), Some((10, text("1"), text("3"))));
    // The next run begins before its cgroup is seen, and ends after that.
    registry.update_at("redis", &started("2"), at(21));
    assert_eq!(last(), None);
    registry.container_started(container(20));
    assert_eq!(last(), Some((20, text("2"), None)));
    registry.update_at("redis", &ended("4"), at(22));
    assert_eq!(last(), Some((20, text("2"), text("4"))));
    // A run whose cgroup was not seen.
    registry.update_at("redis", &started("3"), at(31));
    registry.update_at("redis", &ended("5"), at(32));
    registry.container_started(container(40));
    assert_eq!(last().and_then(|(_, pid, code)| pid.or(code)), None);
}

#[test]
fn cri_is_queried_for_the_exit_code_of_removed_containers() {
    let (out, infos) = mpsc::channel();
    let mut registry = ContainerRegistry::new(out);
    let mut cri = registry.add_runtime(Protocol::Cri);
    let mut docker = registry.add_runtime(Protocol::Docker);
    registry.container_started(NewContainer { key: key(1), id: "aa".into(), runtime: Runtime::Kubernetes });
    assert_eq!((cri.try_recv().unwrap().id, docker.try_recv().unwrap().id), ("aa".into(), "aa".into()));
    let name = attributes(&[("container.name", "web")]);
    registry.update("aa", &name, true, RequestTime::UNKNOWN);
    assert!(!registry.is_pending("aa"));
    registry.container_removed("aa");
    assert_eq!(cri.try_recv().unwrap().id, "aa");
    assert!(docker.try_recv().is_err());
    // CRI does not know the exit code yet; shutdown does not wait for it.
    registry.update("aa", &name, true, RequestTime::UNKNOWN);
    assert!(
        registry.is_pending("aa") && !registry.is_waiting() && registry.pending(Protocol::Cri).is_empty()
    );
    registry.update("aa", &attributes(&[("container.exit_code", "3")]), true, RequestTime::UNKNOWN);
    assert!(!registry.is_pending("aa"));
    assert_eq!(values(&infos.try_iter().last().unwrap())[0], ("container.exit_code", "3"));
    // The exit code is known, or the container is unknown.
    registry.container_removed("aa");
    registry.container_removed("bb");
    assert!(cri.try_recv().is_err());
}

#[test]
fn lookups_go_only_to_runtimes_that_may_have_the_container() {
    let (out, _told) = mpsc::channel();
    let mut registry = ContainerRegistry::new(out);
    let mut docker = registry.add_runtime(Protocol::Docker);
    let mut podman = registry.add_runtime(Protocol::Podman);
    assert!(!registry.is_waiting());
    registry.container_started(NewContainer { key: key(1), id: "aa".into(), runtime: Runtime::Podman });
    assert!(docker.try_recv().is_err());
    assert_eq!(podman.try_recv().unwrap().id, "aa");
    assert!(registry.is_waiting());
    assert_eq!(registry.pending(Protocol::Docker), []);
    assert_eq!(registry.pending(Protocol::Podman).len(), 1);
}

#[test]
fn attributes_of_one_container_are_bounded() {
    let mut attributes = Attributes::default();
    attributes.set("big", "x".repeat(5000));
    assert!(attributes.is_empty());
    for n in 0..1000 {
        attributes.set(format!("container.label[{n}]"), "x".repeat(1000));
    }
    let bytes: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= 64 << 10 && attributes.iter().count() < 70, "{bytes}");
    // Present attributes can still change.
    for value in ["y", "z", "y"] {
        attributes.set("container.label[0]", value);
    }
    assert_eq!(attributes.get("container.label[0]"), Some("y"));
    attributes.remove("container.label[0]");
    let others: usize = attributes.iter().map(|(name, value)| 64 + name.len() + value.len()).sum();
    assert_eq!(attributes.bytes(), others);
}

#[test]
fn attributes_of_all_containers_are_bounded() {
    let (out, infos) = mpsc::channel();
    let mut registry = ContainerRegistry::new(out);
    let many: Vec<(String, String)> =
        (0..60).map(|n| (format!("container.label[{n}]"), "x".repeat(1000))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for n in 0..1000 {
        registry.update(&format!("{n}"), &attributes(&many), true, RequestTime::UNKNOWN);
    }
    let container = |id: &str| NewContainer { key: key(1), id: id.into(), runtime: Runtime::Docker };
    // 16 MiB have space for about the last 250 of them.
    registry.container_started(container("700"));
    assert!(infos.try_recv().is_err());
    registry.container_started(container("800"));
    assert_eq!(infos.try_recv().unwrap().id, "800");
}

/// Serves HTTP, with an answer for each path.
async fn serve(listener: tokio::net::UnixListener, answer: fn(&str) -> Option<String>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        tokio::task::spawn_local(async move {
            let mut request = vec![0; 4096];
            let Ok(read) = stream.read(&mut request).await else { return };
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            if path.starts_with("/events") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                std::future::pending::<()>().await;
            }
            let text = match answer(path) {
                Some(body) => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
                None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
            };
            let _ = stream.write_all(text.as_bytes()).await;
        });
    }
}

const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The first info about [`ID`] from this runtime, within a second.
fn first_info(runtime: impl AsyncFnOnce(tokio::net::UnixListener)) -> Option<ContainerInfo> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (out, infos) = mpsc::channel();
    LocalSet::new().block_on(&reactor, async {
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let registry = Rc::new(RefCell::new(ContainerRegistry::new(out)));
        let lookups = registry.borrow_mut().add_runtime(Protocol::Docker);
        let socket = Socket { protocol: Protocol::Docker, path: path.clone() };
        tokio::task::spawn_local(docker::follow(socket, registry.clone(), lookups));
        registry.borrow_mut().container_started(NewContainer {
            key: key(1),
            id: ID.into(),
            runtime: Runtime::Docker,
        });
        let first = async {
            loop {
                if let Ok(info) = infos.try_recv() {
                    return info;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            info = tokio::time::timeout(Duration::from_secs(1), first) => info.ok(),
            () = runtime(listener) => unreachable!("the server never ends"),
        }
    })
}

#[test]
fn correct_wrong_and_missing_answers() {
    let good = |path: &str| match path {
        "/containers/json?all=1" => Some("[]".to_owned()),
        _ => Some(format!(r#"{{"Id":"{ID}","Name":"/web"}}"#)),
    };
    let info = first_info(async |listener| serve(listener, good).await).unwrap();
    let expected = [("container.full_id", ID), ("container.name", "web"), ("container.type", "docker")];
    assert_eq!(values(&info), expected);

    // The answer is about another container, or garbage.
    let lie = |_: &str| Some(r#"{"Id":"ff","Name":"/evil"}"#.to_owned());
    assert_eq!(first_info(async |listener| serve(listener, lie).await), None);
    assert_eq!(first_info(async |listener| serve(listener, |_| Some("\u{1b}[2J{{{".to_owned())).await), None);
    // The runtime never answers.
    assert_eq!(
        first_info(async |listener| {
            let mut kept = Vec::new();
            loop {
                kept.push(listener.accept().await);
            }
        }),
        None
    );
}
