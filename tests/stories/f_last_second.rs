//! f. What did a container do in the second before it died? Who talks to the container daemon?

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use ktape_tests::container::{Options, Runtime, with_mount};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;

use super::{cgroup, ended, finished, id, short};

/// It looks for its configuration for two seconds, one file after the other, and gives up.
const SCRIPT: &str = "n=0; while [ $n -lt 20 ]; do cat /etc/app/config-$n; n=$((n+1)); sleep 0.1; done; \
                      cat /etc/app/secret; exit 3";

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn f_last_second_before_death() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let options = Options { cgroup: &cgroup('6'), args: &["/bin/sh", "-c", SCRIPT], seccomp: false };
    let app = runtime.start("app", &options);
    let pid = app.pid;
    ended(&app);
    drop(app);
    capture.stop();

    // How did it die?
    let died = format!("evt.category = exit and proc.pid = {pid} and exit.process = true");
    let exits = ktape::stats_json(&file, &["exits", &died]);
    assert_eq!((exits.len(), int(&exits[0], "exit.status")), (1, Some(3)), "{exits:#?}");

    // What had it looked for in the second before?
    let id = id('6');
    let before = ["--before", &died, "1s", "--container", &id[..6]];
    let looked_for = "evt.type in (open, openat) and fd.name startswith /etc/app";
    let by = ["--by", "fd.name,evt.res", "-c", "calls = count,time = last(evt.time)", "--sort", "time:asc"];
    let rows = ktape::stats_json(&file, &[&[looked_for], &before[..], &by].concat());
    let names: Vec<_> = rows.iter().map(|row| text(row, "fd.name").unwrap()).collect();
    eprintln!("{names:?}");
    // One every 0.1 s, until the last one: those are what the script says that it looks for, in its order.
    let expected: Vec<String> = (21 - names.len()..20).map(|n| format!("/etc/app/config-{n}")).collect();
    assert!((5..=12).contains(&names.len()), "{names:?}");
    assert_eq!(names[..names.len() - 1], expected);
    assert_eq!(names.last(), Some(&"/etc/app/secret"));
    assert!(rows.iter().all(|row| text(row, "evt.res") == Some("ENOENT") && int(row, "calls") == Some(1)));
    // The events themselves are in that time, too.
    let events = ktape::replay_json(&file, &before);
    let end = events.iter().filter_map(|event| int(event, "evt.rawtime")).max().unwrap();
    let death = events.iter().find(|event| {
        text(event, "evt.type") == Some("exit") && int(event, "proc.pid") == Some(i64::from(pid))
    });
    assert_eq!(death.and_then(|event| int(event, "evt.rawtime")), Some(end));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn f_who_talks_to_the_daemon() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let socket = run.join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // Three of the container, two of the host.
    let daemon = thread::spawn(move || {
        for _ in 0..5 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0u8; 100];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n[]").unwrap();
        }
    });
    let capture = Capture::start(&file, &[]);
    let options = Options {
        cgroup: &cgroup('7'),
        args: &["/bin/ktape-workload", "incident", "ask", "/run/docker.sock", "3"],
        seccomp: false,
    };
    let watcher = runtime.start_with("watcher", &options, |config| with_mount(config, &run, "/run"));
    ended(&watcher);
    assert_eq!(watcher.output().trim(), "3");
    let host = Command::new(workload!())
        .args(["incident", "ask", socket.to_str().unwrap(), "2"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(finished(host).success());
    daemon.join().unwrap();
    drop(watcher);
    capture.stop();

    let by = ["--by", "container.id,proc.name,evt.res", "-c", "requests = count"];
    let rows = ktape::stats_json(
        &file,
        &[&["evt.type = connect and fd.name endswith /docker.sock"], &by[..]].concat(),
    );
    let clients: Vec<_> = rows
        .iter()
        .map(|row| {
            (text(row, "container.id").unwrap(), text(row, "evt.res").unwrap(), int(row, "requests").unwrap())
        })
        .collect();
    assert_eq!(clients, [(&*short('7'), "SUCCESS", 3), ("host", "SUCCESS", 2)]);
    assert!(rows.iter().all(|row| text(row, "proc.name") == Some("ktape-workload")), "{rows:#?}");
}
