//! Container runtimes that answer late, never or with garbage, or exit.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use ktape_tests::cgroup::Cgroup;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};
use ktape_tests::workload::Workload;
use ktape_tests::{wait, workload};

/// How a made-up runtime behaves.
#[derive(Clone, Copy)]
enum Manner {
    /// Answers as Docker does, after three seconds.
    Slow,
    /// Accepts connections, and never answers.
    Silent,
    /// Answers with no protocol at all.
    Garbage,
    /// Takes one connection and is gone.
    Dying,
}

/// A container that the made-up Docker knows.
const ID: &str = "51055105510551055105510551055105510551055105510551055105510551aa";

fn serve(listener: UnixListener, manner: Manner) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        if matches!(manner, Manner::Dying) {
            return;
        }
        std::thread::spawn(move || {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let body = match manner {
                Manner::Silent => {
                    std::thread::sleep(Duration::from_secs(60));
                    return;
                }
                Manner::Garbage => {
                    let _ = stream.write_all(&[0x1b; 70_000]);
                    return;
                }
                _ if path.starts_with("/events") => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    std::thread::sleep(Duration::from_secs(60));
                    return;
                }
                _ if path.contains(ID) => {
                    format!(r#"{{"Id":"{ID}","Name":"/slow","Config":{{"Labels":{{"a":"b"}}}}}}"#)
                }
                _ => "[]".to_owned(),
            };
            std::thread::sleep(Duration::from_secs(3));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        });
    }
}

/// Runtimes that answer late, never, with garbage, or die: recording begins as soon, and loses nothing; the name that comes
/// late names the events before it.
#[test]
#[ignore = "needs root, runc and container engines"]
fn failing_runtimes_cost_only_names() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let mut args = Vec::new();
    for (number, (protocol, manner)) in [
        ("docker", Manner::Slow),
        ("docker", Manner::Silent),
        ("docker", Manner::Garbage),
        ("docker", Manner::Dying),
        ("containerd", Manner::Silent),
        ("containerd", Manner::Garbage),
        ("containerd", Manner::Dying),
        ("cri", Manner::Garbage),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = dir.path().join(number.to_string());
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || serve(listener, manner));
        args.extend(["--runtime".to_owned(), format!("{protocol}={}", socket.display())]);
    }
    args.extend(["--runtime", "containerd=/nowhere/sock", "-e", "getppid"].map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let cgroup = Cgroup::make(&format!("/docker/{ID}"));
    let began = Instant::now();
    let capture = Capture::start(&file, &args);
    let start = began.elapsed();
    let mut load = Workload::start(workload!(), &["getppid", "100000", "--gate"]);
    assert_eq!(load.line(), "ready");
    cgroup.attach(load.pid());
    load.go();
    load.finish();
    wait::until("the name to be in the file", Duration::from_secs(20), || {
        let out = ktape::run(&["replay", &file.to_string_lossy(), "--count", "container.name=slow"]);
        (String::from_utf8_lossy(&out.stdout).trim() == "100000").then_some(())
    });
    let stop = Instant::now();
    let ended = capture.stop();
    ended.expect_little_loss();
    assert!(stop.elapsed() < Duration::from_secs(3), "it ended after {:?}", stop.elapsed());
    eprintln!("it recorded after {start:?}");
    assert_eq!(ktape::count(&file, "evt.type=getppid and container.label[a]=b"), 100_000);
    let named = ["replay", &file.to_string_lossy(), "--count", "--container", "slow"];
    assert_eq!(ktape::stdout(&named).trim_end(), "100000");

    // Without any of them it begins no sooner.
    let other = dir.path().join("y.ktape");
    let began = Instant::now();
    let capture = Capture::start(&other, &["--runtime", "off", "-e", "getppid"]);
    let without = began.elapsed();
    capture.stop();
    assert!(start < without * 3 + Duration::from_millis(500), "{start:?}, without runtimes {without:?}");
}

/// Without a runtime that resolves names nothing is guessed: events of containers that could match are dropped, and counted.
#[test]
#[ignore = "needs root, runc and container engines"]
fn unnamed_containers_are_dropped_and_counted() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let socket = dir.path().join("silent");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || serve(listener, Manner::Silent));
    let runtime = format!("docker={}", socket.display());
    let cgroup = Cgroup::make(&format!("/docker/{ID}"));
    let capture = Capture::start(&file, &["-e", "getppid", "--container", "web", "--runtime", &runtime]);
    let mut load = Workload::start(workload!(), &["getppid", "1000", "--gate"]);
    assert_eq!(load.line(), "ready");
    cgroup.attach(load.pid());
    load.go();
    load.finish();
    let ended = capture.stop();
    let said = "dropped 1,000 events: no container runtime identified their containers within 10 s";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert_eq!(ktape::info(&file)["events"], 0, "{}", ended.stderr);
    let leaked = ktape::all_strings(&file)
        .into_iter()
        .filter(|text| String::from_utf8_lossy(text).contains(&ID[..12]));
    assert_eq!(leaked.count(), 0);
}
