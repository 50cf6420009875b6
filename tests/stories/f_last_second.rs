//! f. What did a container do in the second before it died? Who talks to the container daemon?

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use ktape_tests::container::{Options, Runtime, with_mount};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;

use super::{at, cgroup, container, count, ended, finished, id, short};

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

    // When did it die, and how?
    let expression = format!("evt.category = exit and proc.pid = {pid} and exit.process = true");
    let exit = &ktape::replay_json(&file, &[&expression, "--container", &id('6')[..6]])[0];
    assert_eq!(int(exit, "exit.status"), Some(3), "{exit}");
    let died = int(exit, "evt.rawtime").unwrap();

    // What had it looked for?
    let (from, to) = (at(died - 1_000_000_000), at(died));
    let id = id('6');
    let last = ["--from", &from, "--to", &to, "--container", &id[..6]];
    let mut args = last.to_vec();
    args.push("evt.type in (open, openat) and fd.name startswith /etc/app");
    let events = ktape::replay_json(&file, &args);
    let names: Vec<_> = events.iter().map(|event| text(event, "evt.arg.filename").unwrap()).collect();
    eprintln!("{names:?}");
    assert_eq!(names.last(), Some(&"/etc/app/secret"));
    assert!(names.len() >= 5 && names.len() <= 12, "{names:?}");
    assert!(names.contains(&"/etc/app/config-19") && !names.contains(&"/etc/app/config-5"), "{names:?}");
    assert!(events.iter().all(|event| text(event, "evt.res") == Some("ENOENT")), "{events:#?}");
    assert!(events.iter().all(|event| container(event) == short('6')));
    // Nothing of it comes later than its end.
    let everything = ktape::replay_json(&file, &last);
    assert!(everything.iter().all(|event| int(event, "evt.rawtime").unwrap() <= died));
    let mut programs = last.to_vec();
    // busybox is all of its programs: their first argument selects one.
    programs.push("exec.args contains /etc/app");
    assert!((5..=12).contains(&count(&file, &programs)));
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

    let mut clients: BTreeMap<(String, String), u64> = BTreeMap::new();
    for call in ktape::replay_json(&file, &["evt.type = connect and fd.name endswith /docker.sock"]) {
        assert_eq!(text(&call, "evt.res"), Some("SUCCESS"), "{call}");
        let who = (container(&call).to_owned(), text(&call, "proc.name").unwrap().to_owned());
        *clients.entry(who).or_default() += 1;
    }
    let name = "ktape-workload".to_owned();
    assert_eq!(clients, BTreeMap::from([((short('7'), name.clone()), 3), (("host".to_owned(), name), 2)]));
}
