use super::join::Asked;
use super::*;
use ktape_reader::containers::Runtime;

fn key(cgroup: u64) -> MetadataKey {
    MetadataKey { boot_id: [1; 16], cgroup, birth: 0 }
}

fn facts(pairs: &[(&str, &str)]) -> Facts {
    let mut facts = Facts::default();
    for (name, value) in pairs {
        facts.set(*name, *value);
    }
    facts
}

fn values(told: &Told) -> Vec<(&str, &str)> {
    told.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn either_side_may_come_first() {
    let (out, told) = mpsc::channel();
    let mut join = Join::new(out);
    let newcomer = |id: &str, cgroup| Newcomer { key: key(cgroup), id: id.into(), runtime: Runtime::Docker };

    join.learn("aa", &facts(&[("container.name", "web")]), false, Asked::BEFORE);
    assert!(told.try_recv().is_err());
    // Ids of hex digits are never given again.
    join.appear(newcomer("aa", 7));
    let first = told.try_recv().unwrap();
    assert_eq!((first.key, first.id.as_str()), (key(7), "aa"));
    assert_eq!(values(&first), [("container.full_id", "aa"), ("container.name", "web")]);

    join.appear(newcomer("bb", 8));
    assert!(told.try_recv().is_err() && join.is_open("bb"));
    join.learn("bb", &facts(&[("container.name", "db")]), true, Asked::BEFORE);
    assert_eq!(values(&told.try_recv().unwrap())[1], ("container.name", "db"));
    assert!(!join.is_open("bb"));
    // Nothing new is not told again, something new is.
    join.learn("bb", &facts(&[("container.name", "db")]), true, Asked::BEFORE);
    assert!(told.try_recv().is_err());
    join.learn("bb", &facts(&[("container.exit_code", "3")]), false, Asked::BEFORE);
    assert_eq!(values(&told.try_recv().unwrap())[0], ("container.exit_code", "3"));
}

#[test]
fn a_name_that_is_given_again_is_another_container() {
    let (out, told) = mpsc::channel();
    let mut join = Join::new(out);
    let offset = crate::clock::wall_offset();
    // The cgroup is made at this second of the boot clock, the runtime notes it a tenth before.
    let birth = |second: u64| MetadataKey { boot_id: [1; 16], cgroup: second, birth: second * 1_000_000_000 };
    let newcomer = |second| Newcomer { key: birth(second), id: "redis".into(), runtime: Runtime::Containerd };
    let of = |second: i64, label: &str| {
        let created =
            jiff::Timestamp::from_nanosecond(i128::from(second * 1_000_000_000 - 100_000_000 + offset));
        let created = created.unwrap().to_string();
        facts(&[("container.name", "redis"), ("container.created", &created), ("container.label[a]", label)])
    };
    let label = |told: &Told| {
        values(told).iter().find(|(name, _)| *name == "container.label[a]").map(|(_, v)| (*v).to_owned())
    };

    join.appear(newcomer(10));
    join.learn("redis", &of(10, "old"), true, Asked::BEFORE);
    let first = told.try_recv().unwrap();
    assert_eq!((first.key, label(&first).as_deref()), (birth(10), Some("old")));
    join.appear(newcomer(20));
    assert!(told.try_recv().is_err(), "nothing of the old one is told of the new one");
    // An answer that was under way.
    join.learn("redis", &of(10, "old"), true, Asked::BEFORE);
    assert!(told.try_recv().is_err() && join.is_open("redis"), "nor when it comes late");
    // An answer that is of the next one already.
    join.learn("redis", &of(30, "next"), true, Asked::BEFORE);
    assert!(told.try_recv().is_err() && join.is_open("redis"), "nor of the one that will come");
    join.learn("redis", &of(20, "new"), true, Asked::BEFORE);
    let second = told.try_recv().unwrap();
    assert_eq!((second.key, label(&second).as_deref()), (birth(20), Some("new")));
    assert!(told.try_recv().is_err() && !join.is_open("redis"));
}

#[test]
fn a_container_that_is_started_again_keeps_its_name() {
    let (out, told) = mpsc::channel();
    let mut join = Join::new(out);
    let now = crate::clock::boot_ns();
    let offset = crate::clock::wall_offset();
    let birth = |ago: u64| MetadataKey { boot_id: [1; 16], cgroup: ago, birth: now - ago };
    let newcomer = |ago| Newcomer { key: birth(ago), id: "redis".into(), runtime: Runtime::Containerd };
    let created = jiff::Timestamp::from_nanosecond(i128::from((now - 3_000_000_000).cast_signed() + offset));
    let created = created.unwrap().to_string();
    let facts = facts(&[("container.name", "redis"), ("container.created", &created)]);

    join.appear(newcomer(2_000_000_000));
    join.learn("redis", &facts, true, Asked::BEFORE);
    assert_eq!(told.try_recv().unwrap().key, birth(2_000_000_000));
    join.appear(newcomer(1_000_000_000));
    join.learn("redis", &facts, true, Asked::BEFORE);
    assert!(
        told.try_recv().is_err() && join.is_open("redis"),
        "an answer from before may be of one that is gone"
    );
    join.learn("redis", &facts, true, Asked::now());
    assert_eq!(told.try_recv().unwrap().key, birth(1_000_000_000));
    assert!(!join.is_open("redis"));
}

/// As with `docker restart`: it has its id for ever, and another cgroup each time.
#[test]
fn how_a_container_ended_is_not_how_it_ends_next_time() {
    let (out, told) = mpsc::channel();
    let mut join = Join::new(out);
    let newcomer = |cgroup| Newcomer { key: key(cgroup), id: ID.into(), runtime: Runtime::Docker };
    join.appear(newcomer(1));
    let first = facts(&[("container.name", "web"), ("container.pid", "5"), ("container.exit_code", "3")]);
    join.learn(ID, &first, true, Asked::BEFORE);
    assert_eq!(told.try_recv().unwrap().key, key(1));
    join.appear(newcomer(2));
    let second = told.try_recv().unwrap();
    assert_eq!(second.key, key(2));
    assert_eq!(values(&second), [("container.full_id", ID), ("container.name", "web")]);
    assert!(join.is_open(ID));
    join.learn(ID, &facts(&[("container.pid", "6")]), true, Asked::BEFORE);
    let keys: Vec<MetadataKey> = told.try_iter().map(|told| told.key).collect();
    assert_eq!(keys, [key(2)], "the first one's process id is what it was");
}

#[test]
fn a_moment_belongs_to_the_life_that_it_is_in() {
    let (out, told) = mpsc::channel();
    let mut join = Join::new(out);
    let offset = crate::clock::wall_offset();
    let at = |second: i64| second * 1_000_000_000 + offset;
    let birth = |second: u64| MetadataKey { boot_id: [1; 16], cgroup: second, birth: second * 1_000_000_000 };
    let newcomer = |second| Newcomer { key: birth(second), id: "redis".into(), runtime: Runtime::Containerd };
    let started = |pid: &str| facts(&[("container.pid", pid)]);
    let ended = |code: &str| facts(&[("container.exit_code", code)]);
    let last = || {
        let told: Vec<Told> = told.try_iter().collect();
        told.last().map(|told| {
            let get = |name| values(told).iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            (told.key.cgroup, get("container.pid"), get("container.exit_code"))
        })
    };
    let text = |text: &str| Some(text.to_owned());

    // All of it is told before the cgroup is seen.
    join.learn_at("redis", &started("1"), at(11));
    join.learn_at("redis", &ended("3"), at(12));
    assert_eq!(last(), None);
    join.appear(newcomer(10));
    assert_eq!(last(), Some((10, text("1"), text("3"))));
    // The next life begins before its cgroup is seen, and ends after that.
    join.learn_at("redis", &started("2"), at(21));
    assert_eq!(last(), None);
    join.appear(newcomer(20));
    assert_eq!(last(), Some((20, text("2"), None)));
    join.learn_at("redis", &ended("4"), at(22));
    assert_eq!(last(), Some((20, text("2"), text("4"))));
    // A life of which nothing was seen.
    join.learn_at("redis", &started("3"), at(31));
    join.learn_at("redis", &ended("5"), at(32));
    join.appear(newcomer(40));
    assert_eq!(last().and_then(|(_, pid, code)| pid.or(code)), None);
}

#[test]
fn of_who_is_gone_cri_is_asked_how_it_ended() {
    let (out, told) = mpsc::channel();
    let mut join = Join::new(out);
    let mut cri = join.source(Protocol::Cri);
    let mut docker = join.source(Protocol::Docker);
    join.appear(Newcomer { key: key(1), id: "aa".into(), runtime: Runtime::Kubernetes });
    assert_eq!((cri.try_recv().unwrap().id, docker.try_recv().unwrap().id), ("aa".into(), "aa".into()));
    let name = facts(&[("container.name", "web")]);
    join.learn("aa", &name, true, Asked::BEFORE);
    assert!(!join.is_open("aa"));
    join.gone("aa");
    assert_eq!(cri.try_recv().unwrap().id, "aa");
    assert!(docker.try_recv().is_err());
    // It does not know it yet. Nobody has to wait for it.
    join.learn("aa", &name, true, Asked::BEFORE);
    assert!(join.is_open("aa") && !join.is_waiting() && join.open(Protocol::Cri).is_empty());
    join.learn("aa", &facts(&[("container.exit_code", "3")]), true, Asked::BEFORE);
    assert!(!join.is_open("aa"));
    assert_eq!(values(&told.try_iter().last().unwrap())[0], ("container.exit_code", "3"));
    // It is known, or not there.
    join.gone("aa");
    join.gone("bb");
    assert!(cri.try_recv().is_err());
}

#[test]
fn only_runtimes_that_may_know_are_asked() {
    let (out, _told) = mpsc::channel();
    let mut join = Join::new(out);
    let mut docker = join.source(Protocol::Docker);
    let mut podman = join.source(Protocol::Podman);
    assert!(!join.is_waiting());
    join.appear(Newcomer { key: key(1), id: "aa".into(), runtime: Runtime::Podman });
    assert!(docker.try_recv().is_err());
    assert_eq!(podman.try_recv().unwrap().id, "aa");
    assert!(join.is_waiting());
    assert_eq!(join.open(Protocol::Docker), []);
    assert_eq!(join.open(Protocol::Podman).len(), 1);
}

#[test]
fn what_is_told_is_bounded() {
    let mut facts = Facts::default();
    facts.set("big", "x".repeat(5000));
    assert!(facts.is_empty());
    for n in 0..1000 {
        facts.set(format!("container.label[{n}]"), "x".repeat(1000));
    }
    let bytes: usize = facts.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= 64 << 10 && facts.iter().count() < 70, "{bytes}");
    // What is there may still change.
    for value in ["y", "z", "y"] {
        facts.set("container.label[0]", value);
    }
    assert_eq!(facts.get("container.label[0]"), Some("y"));
    facts.remove("container.label[0]");
    let others: usize = facts.iter().map(|(name, value)| 64 + name.len() + value.len()).sum();
    assert_eq!(facts.bytes(), others);
}

#[test]
fn what_all_runtimes_tell_is_bounded() {
    let (out, told) = mpsc::channel();
    let mut join = Join::new(out);
    let many: Vec<(String, String)> =
        (0..60).map(|n| (format!("container.label[{n}]"), "x".repeat(1000))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for n in 0..1000 {
        join.learn(&format!("{n}"), &facts(&many), true, Asked::BEFORE);
    }
    let newcomer = |id: &str| Newcomer { key: key(1), id: id.into(), runtime: Runtime::Docker };
    // 16 MiB are some 250 of them: the last ones.
    join.appear(newcomer("700"));
    assert!(told.try_recv().is_err());
    join.appear(newcomer("800"));
    assert_eq!(told.try_recv().unwrap().id, "800");
}

/// A runtime that speaks HTTP, with an answer for each path.
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

/// What is told of [`ID`] with this runtime, within a second.
fn told_by(runtime: impl AsyncFnOnce(tokio::net::UnixListener)) -> Option<Told> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (out, told) = mpsc::channel();
    LocalSet::new().block_on(&reactor, async {
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let join = Rc::new(RefCell::new(Join::new(out)));
        let asks = join.borrow_mut().source(Protocol::Docker);
        let socket = Socket { protocol: Protocol::Docker, path: path.clone() };
        tokio::task::spawn_local(docker::follow(socket, join.clone(), asks));
        join.borrow_mut().appear(Newcomer { key: key(1), id: ID.into(), runtime: Runtime::Docker });
        let asked = async {
            loop {
                if let Ok(told) = told.try_recv() {
                    return told;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            told = tokio::time::timeout(Duration::from_secs(1), asked) => told.ok(),
            () = runtime(listener) => unreachable!("a runtime serves for ever"),
        }
    })
}

#[test]
fn runtimes_that_answer_lie_or_hang() {
    let good = |path: &str| match path {
        "/containers/json?all=1" => Some("[]".to_owned()),
        _ => Some(format!(r#"{{"Id":"{ID}","Name":"/web"}}"#)),
    };
    let told = told_by(async |listener| serve(listener, good).await).unwrap();
    assert_eq!(values(&told), [("container.full_id", ID), ("container.name", "web")]);

    // It tells of another container than the one it was asked for; or garbage.
    let lie = |_: &str| Some(r#"{"Id":"ff","Name":"/evil"}"#.to_owned());
    assert_eq!(told_by(async |listener| serve(listener, lie).await), None);
    assert_eq!(told_by(async |listener| serve(listener, |_| Some("\u{1b}[2J{{{".to_owned())).await), None);
    // It never answers.
    assert_eq!(
        told_by(async |listener| {
            let mut kept = Vec::new();
            loop {
                kept.push(listener.accept().await);
            }
        }),
        None
    );
}
