//! The questions of `docs/questions.md`: each command has rows, and answers are what the programs did.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ktape_tests::container::{Container, Options, Runtime, on_host_network, with_mount};
use ktape_tests::device::Loop;
use ktape_tests::engine::{Engine, Kind};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};
use ktape_tests::wait::until;
use ktape_tests::{examples, workload};
use serde_json::{Value, json};

/// How long a program may take.
const TIMEOUT: Duration = Duration::from_secs(40);

/// Datagrams, and connections that end without data.
const DATAGRAMS: &str = "5000";
const NEEDLESS: &str = "30";

/// Reads and deletes a file, two shells below the first process, writes another one, and is denied access to a third.
const THEFT: &str = "sh -c 'cat /data/vault/key >/tmp/copy; rm /data/vault/key; true'; echo x >/etc/motd; cat /data/private; exit 3";

/// The id of a container, from a digit that is its own.
fn id(digit: char) -> String {
    format!("9e{digit}5").repeat(16)
}

/// What is printed of it.
fn short(digit: char) -> String {
    id(digit)[..12].to_owned()
}

/// A row with all of these texts in the answer to the question that begins so. Numbers are what the programs below did.
fn expected() -> Vec<(&'static str, Vec<String>)> {
    let row = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    vec![
        ("Which threads of a process are busy?", row(&["spinner"])),
        ("Which containers does their CPU quota", row(&[&short('1'), "20"])),
        ("Which containers have too much", row(&[&short('1'), "64.0 MiB"])),
        ("The same for a spreadsheet", row(&["shop,shop-1"])),
        ("What did the kernel kill", row(&["eater", &format!("/docker/{}", id('2')), "32.0 MiB"])),
        ("What happened in the half second", row(&["mmap"])),
        ("\"Cannot create native thread\"", row(&[&id('3'), "40", "100", "EAGAIN", "leaker"])),
        ("Which programs cannot start", row(&["leaker", &short('3'), "EAGAIN", "20"])),
        ("Who holds the most file", row(&[&id('4')])),
        ("Which container writes most to disk", row(&[&short('5'), "loop"])),
        ("Which files are written most", row(&["/data/logs", "8.0 MiB"])),
        ("Who fills the disk", row(&["/data", &short('5'), "dd", "8.0 MiB"])),
        ("Is the disk slow", row(&[&short('6'), "wbps=524288"])),
        ("Which threads hang", row(&["stuck", "write"])),
        ("Which fsyncs are slow", row(&["server", "/data/access.log", "20"])),
        ("Who deleted this file", row(&["rm", "sh sh", "sh -c cat /data/vault/key"])),
        ("Who read it", row(&["cat", "sh sh", "4.9 KiB"])),
        ("Who writes to /etc", row(&["sh", "/etc/motd"])),
        ("Who killed this process", row(&["kill", "host", &short('4')])),
        ("Which processes crash", row(&["leaker", &short('3'), "SIGSEGV"])),
        ("What did it look for", row(&["cat", "/data/private", "EACCES", "1"])),
        ("Who talks to the container daemon", row(&[&short('9'), "ktape-workload", "SUCCESS", "3"])),
        ("What does this server wait for", row(&["server", "recvfrom", "127.0.0.3", "20"])),
        ("Where does its time go", row(&["server"])),
        ("What exactly does it sleep", row(&["server", "sleeping", "recvfrom"])),
        ("How long do its system calls", row(&["fsync", "20"])),
        ("Which files are looked for", row(&[&short('7'), "cat", "/nonexistent/config", "60"])),
        ("To what is access denied", row(&["cat", &short('8'), "/data/private"])),
        ("Which pairs of containers", row(&[&short('b'), "tcp"])),
        ("Who floods this service", row(&[&short('a')])),
        ("Which connections are needless", row(&[&short('b'), NEEDLESS])),
        ("How many connections do my servers", row(&["20"])),
        ("Which connections fail", row(&["ktape-workload", "127.0.0.1:9", "refused", "1"])),
        ("Who queries which DNS servers", row(&["ktape-workload", "127.0.0.1", "4"])),
        ("What starts hundreds", row(&["spawner", "400"])),
        ("Who started whom?", row(&["server"])),
    ]
}

/// The programs: copies of the workload, by what they are.
fn programs(dir: &Path) -> Vec<PathBuf> {
    let names = ["server", "spinner", "eater", "leaker", "stuck", "spawner"];
    let copy = |name: &str| {
        let path = dir.join(name);
        fs::copy(workload!(), &path).unwrap();
        path
    };
    names.iter().map(|name| copy(name)).collect()
}

struct Load<'r> {
    runtime: &'r Runtime,
    data: &'r Path,
}

impl Load<'_> {
    /// Starts a container on the host's network, with `/data` and limits.
    fn start(&self, digit: char, args: &[&str], resources: Value) -> Container {
        let cgroup = format!("/docker/{}", id(digit));
        let options = Options { cgroup: &cgroup, args, seccomp: false };
        self.runtime.start_with(&format!("q{digit}"), &options, |config| {
            on_host_network(config);
            with_mount(config, self.data, "/data");
            with_mount(config, Path::new("/dev/zero"), "/dev/zero");
            config["linux"]["resources"] = resources;
        })
    }

    /// The same, until it ends.
    fn run(&self, digit: char, args: &[&str], resources: Value) {
        let container = self.start(digit, args, resources);
        until(&format!("{args:?} to end"), TIMEOUT, || container.has_ended().then_some(()));
        eprintln!("{args:?}: {}", container.output().lines().next().unwrap_or_default());
    }

    fn incident(&self, digit: char, program: &str, args: &[&str], resources: Value) {
        let program = format!("/bin/{program}");
        self.run(digit, &[&[program.as_str(), "incident"], args].concat(), resources);
    }
}

fn printed(container: &Container, line: &str) {
    until(line, TIMEOUT, || container.output().lines().any(|printed| printed == line).then_some(()));
}

/// Everything that the questions are about, while a capture runs.
fn load(runtime: &Runtime, disk: &Loop, data: &Path) {
    let load = Load { runtime, data };
    // Containers that stay for a while: one that wants more CPU than it gets, and one with many descriptors.
    let quota = json!({ "cpu": { "quota": 20_000, "period": 100_000 }, "memory": { "limit": 64 << 20 } });
    let spinner = load.start('1', &["/bin/spinner", "incident", "busy", "8", "100"], quota);
    let holder = load.start('4', &["/bin/ktape-workload", "incident", "hold-fds", "500"], json!({}));
    printed(&holder, "ready");

    load.incident('2', "eater", &["eat", "128"], json!({ "memory": { "limit": 32 << 20 } }));
    load.incident('3', "leaker", &["leak-threads", "20", "20"], json!({ "pids": { "limit": 40 } }));
    load.run('5', &["/bin/dd", "if=/dev/zero", "of=/data/logs", "bs=1M", "count=8", "conv=fsync"], json!({}));
    let number = disk.number();
    let (major, minor) = number.split_once(':').unwrap();
    let parsed = |text: &str| text.parse::<u32>().unwrap();
    let throttle = json!([{ "major": parsed(major), "minor": parsed(minor), "rate": 512 << 10 }]);
    load.incident(
        '6',
        "stuck",
        &["stuck", "/data", "256"],
        json!({ "blockIO": { "throttleWriteBpsDevice": throttle } }),
    );
    load.run('8', &["/bin/sh", "-c", THEFT], json!({}));
    let search = "n=0; while [ $n -lt 60 ]; do cat /nonexistent/config; n=$((n+1)); done";
    load.run('7', &["/bin/sh", "-c", search], json!({}));
    load.incident('d', "spawner", &["spawn", "400", "300"], json!({}));

    // A server with a backend and clients.
    let back = TcpListener::bind("127.0.0.3:0").unwrap();
    let front = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let (listen, to) = (front.to_string(), back.local_addr().unwrap().to_string());
    let args = ["/bin/server", "incident", "serve", &listen, &to, "/data/access.log", "20"];
    let server = load.start('c', &args, json!({}));
    printed(&server, "ready");
    let backend = thread::spawn(move || answer(&back, 20, Duration::from_millis(5)));
    for _ in 0..20 {
        let mut client = std::net::TcpStream::connect(front).unwrap();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
    }
    backend.join().unwrap();

    // Datagrams, queries, connections for nothing, and one that is refused.
    let (sink, resolver) =
        (UdpSocket::bind("127.0.0.1:5140").unwrap(), UdpSocket::bind("127.0.0.1:53").unwrap());
    load.incident('a', "ktape-workload", &["flood", "udp", "127.0.0.1:5140", DATAGRAMS], json!({}));
    load.incident('a', "ktape-workload", &["flood", "udp", "127.0.0.1:53", "4"], json!({}));
    drop((sink, resolver));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let accepting = thread::spawn(move || (0..30).for_each(|_| drop(listener.accept().unwrap())));
    load.incident('b', "ktape-workload", &["dial", &to, NEEDLESS, "0", "5"], json!({}));
    accepting.join().unwrap();
    load.run('b', &["/bin/ktape-workload", "tcp-refused", "127.0.0.1:9"], json!({}));

    // The container daemon.
    fs::create_dir(data.join("run")).unwrap();
    let daemon = UnixListener::bind(data.join("run/docker.sock")).unwrap();
    let asked = thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = daemon.accept().unwrap();
            assert!(stream.read(&mut [0; 100]).unwrap() > 0);
            stream.write_all(b"[]").unwrap();
        }
    });
    load.incident('9', "ktape-workload", &["ask", "/data/run/docker.sock", "3"], json!({}));
    asked.join().unwrap();

    let killer = Command::new("kill").args(["-9", &holder.pid.to_string()]).status();
    assert!(killer.unwrap().success());
    until("the kill", TIMEOUT, || holder.has_ended().then_some(()));
    drop(spinner);
}

/// Answers each connection's first byte.
fn answer(listener: &TcpListener, connections: u64, after: Duration) {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        thread::sleep(after);
        stream.write_all(b"y").unwrap();
    }
}

#[test]
#[ignore = "needs root, a kernel with BTF and Podman"]
fn questions_have_answers() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let disk = Loop::make(64 << 20, false);
    let mount = disk.mount();
    let data = mount.path();
    fs::create_dir(data.join("vault")).unwrap();
    fs::write(data.join("vault/key"), [b's'; 5_000]).unwrap();
    fs::write(data.join("private"), "x").unwrap();
    fs::set_permissions(data.join("private"), fs::Permissions::from_mode(0o600)).unwrap();
    chown(data.join("private"), Some(1_000), Some(1_000)).unwrap();
    let copies = programs(dir.path());
    let mut all: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
    all.push(workload!());
    let runtime = Runtime::new(&all);
    let engine = Engine::start(Kind::Podman);
    let option = engine.option();

    let file = dir.path().join("my.ktape");
    let capture = Capture::start(&file, &["--stall", "200ms", "--sample", "200ms", "--runtime", &option]);
    engine.run("shop-1", &[("app", "shop")], &["/bin/sleep", "1000"], true);
    load(&runtime, &disk, data);
    let recorded = capture.stop();
    engine.remove("shop-1");
    eprintln!("{}", recorded.stderr);

    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let bin = tempfile::tempdir().unwrap();
    symlink(ktape::binary(), bin.path().join("ktape")).unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap_or_default());
    let mut expected = expected();
    let mut wrong = Vec::new();
    let mut questions = BTreeSet::new();
    let of_page =
        |example: &examples::Example| example.place.starts_with("docs/questions.md") && !example.records();
    for example in examples::all(repository).into_iter().filter(of_page) {
        let mut command = Command::new("sh");
        command
            .args(["-c", &example.line])
            .current_dir(dir.path())
            .env("PATH", &path)
            .env("LC_ALL", "C.UTF-8");
        let out = command.stdin(Stdio::null()).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        let rows: Vec<&str> = stdout.lines().skip(1).collect();
        let place = expected.iter().position(|(question, _)| example.question.starts_with(question));
        let texts = place.map(|place| expected.swap_remove(place).1).unwrap_or_default();
        // The last row of the answer to who started whom is a process, and has no head.
        let has_row = stdout.lines().any(|row| texts.iter().all(|text| row.contains(text.as_str())));
        if !out.status.success() || rows.is_empty() || !has_row {
            let (place, line) = (&example.place, &example.line);
            wrong.push(format!("{place}: `{line}`: {}, expected {texts:?}\n{stdout}{stderr}", out.status));
        }
        questions.insert(example.question);
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(expected.is_empty(), "no such questions: {expected:?}");
    assert!(questions.len() >= 55, "{} questions", questions.len());
}
