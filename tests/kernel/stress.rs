//! Recording under stress: its memory stays bounded, losses are counted, and it ends in time.
//!
//! What is frozen here is thawed by a guard, and by a watchdog if the test does not come to it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ktape_tests::cgroup::Cgroup;
use ktape_tests::device::Loop;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::v1;
use ktape_tests::wait::{TIMEOUT, until, until_blocked, until_uninterruptible};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

/// How long the recorder's disk does not answer.
const FROZEN: Duration = Duration::from_secs(6);
/// What the recorder may use beside its rings: the design says 64 MiB; queues and waiting lifecycle records are in it.
const MEMORY_KIB: u64 = 64 << 10;

/// A value of `/proc/PID/status`, in KiB.
fn memory(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What was lost of the calls of a cgroup, and that nothing else was that must not be.
fn lost_of(file: &Path, cgroup: &str) -> u64 {
    let mut lost = 0;
    for loss in ktape::replay_json(file, &["-e", "loss"]) {
        let kind = text(&loss, "loss.kind").unwrap();
        assert!(!["fork", "exec", "exit", "cgroup_mkdir", "oom", "signal"].contains(&kind), "{loss}");
        if kind == "syscall" && text(&loss, "loss.cgroup") == Some(cgroup) {
            lost += u64::try_from(int(&loss, "loss.count").unwrap()).unwrap();
        }
    }
    lost
}

/// More than fits into all queues is made while the file cannot be written.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn hanging_disk_bounds_memory_and_counts_losses() {
    const WORK: u64 = 12_000_000;
    let _guard = Guard::exclusive();
    let disk = Loop::make(512 << 20, false);
    let mount = disk.mount();
    let file = mount.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "syscall,fork,exec,exit"]);
    let cgroup = Cgroup::make("/ktape-test-frozen");
    let mut load = Workload::start(workload!(), &["getppid", &WORK.to_string(), "--cpu", "0", "--gate"]);
    assert_eq!(load.line(), "ready");
    until_blocked(load.pid(), load.pid(), libc::SYS_read);
    cgroup.attach(load.pid());
    let frozen = mount.freeze();
    load.go();
    let began = Instant::now();
    let (mut anon, mut children) = (0, Vec::new());
    while began.elapsed() < FROZEN {
        anon = anon.max(memory(capture.pid(), "RssAnon"));
        let mut child = Command::new(workload!()).args(["exit", "7"]).spawn().unwrap();
        children.push(i64::from(child.id()));
        assert_eq!(child.wait().unwrap().code(), Some(7));
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(frozen);
    assert_eq!(load.line(), "done");
    until_blocked(load.pid(), load.pid(), libc::SYS_read);
    cgroup.detach(load.pid());
    load.go();
    load.finish();
    let mut child = Command::new(workload!()).args(["exit", "9"]).spawn().unwrap();
    let after = child.id();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    anon = anon.max(memory(capture.pid(), "RssAnon"));
    let ended = capture.stop();
    eprintln!("{}\nRssAnon at most {anon} KiB", ended.stderr);

    assert!(anon > 0 && anon < MEMORY_KIB, "{anon} KiB");
    let check = ktape::run(&["check", file.to_str().unwrap()]);
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let of_load = format!("cgroup.path = {} and evt.category = syscall", cgroup.path());
    let (written, lost) = (ktape::count(&file, &of_load), lost_of(&file, cgroup.path()));
    eprintln!("{written} written, {lost} lost");
    assert_eq!(written + lost, WORK + 4);
    assert!(written > 0 && lost > 0, "{written} written, {lost} lost");
    // Who came and went meanwhile is in the file, and so is what came after.
    let exits = ktape::replay_json(&file, &["-e", "exit", "evt.category = exit"]);
    let ended = |pid: i64| exits.iter().any(|exit| int(exit, "proc.pid") == Some(pid));
    assert!(children.iter().all(|pid| ended(*pid)));
    assert!(ended(i64::from(after)));
}

/// A thread that sleeps in the kernel cannot be killed, and a process is not over before all of its threads are. So what
/// can be asked for: in time nothing is left of the recorder but the one thread that the disk holds, and that one's
/// end is the disk's answer.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn shutdown_with_hanging_disk_ends_in_time() {
    let _guard = Guard::exclusive();
    let disk = Loop::make(64 << 20, false);
    let mount = disk.mount();
    let file = mount.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let pid = capture.pid();
    Workload::start(workload!(), &["getppid", "300000"]).finish();
    // A file can be read while it is written.
    let calls = "evt.type = getppid and proc.name = ktape-workload";
    until("the calls to be in the file", TIMEOUT, || {
        std::thread::sleep(Duration::from_millis(200));
        (ktape::count(&file, calls) == 300_000).then_some(())
    });
    let hooks = || -> usize {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let of = |task: fs::DirEntry| {
            let fds = fs::read_dir(task.path().join("fd")).into_iter().flatten().flatten();
            let names = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
            names.filter(|name| name.to_string_lossy().contains("link")).count()
        };
        tasks.map(of).max().unwrap_or(0)
    };
    let attached = hooks();
    assert!(attached > 2, "{attached}");
    let frozen = mount.freeze();
    let mut load = Workload::start(workload!(), &["getppid", "1000000", "--gate"]);
    assert_eq!(load.line(), "ready");
    load.go();
    assert_eq!(load.line(), "done");
    let began = Instant::now();
    capture.signal(libc::SIGTERM);
    let threads = || -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let stat = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).ok();
        let state = |stat: String| Some(stat.rsplit_once(") ")?.1.get(..1)?.to_owned());
        let mut states: Vec<String> = tasks.filter_map(stat).filter_map(state).collect();
        states.sort();
        states
    };
    // D is the writer in the kernel; Z the first thread, kept until it is gone.
    let left = until("the recorder to end but for the thread in the disk", Duration::from_secs(6), || {
        let states = threads();
        states.iter().all(|state| state == "D" || state == "Z").then_some(states)
    });
    let took = began.elapsed();
    let still = hooks();
    eprintln!("{took:?}, left {left:?}, {still} of {attached} hooks");
    assert!(took < Duration::from_millis(5_200), "{took:?}");
    assert!(left.iter().filter(|state| *state == "D").count() <= 1, "{left:?}");
    // A recorder that has stopped recording costs nothing.
    assert_eq!(still, 0, "hooks are still attached");
    drop(frozen);
    let ended = capture.wait();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("giving up"), "{}", ended.stderr);
    load.go();
    load.finish();
    // Readable up to its last complete chunk.
    assert!(ktape::count(&file, calls) >= 300_000);
}

/// A process with a thread that waits in a page fault and another that wants to change the memory map: who reads its
/// command line from `/proc` waits as well.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn locked_memory_map_does_not_block_recording() {
    let _guard = Guard::exclusive();
    let disk = Loop::make(64 << 20, false);
    let mount = disk.mount();
    let page = mount.path().join("page");
    fs::write(&page, [b'm'; 4096]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let mut load = Workload::start(workload!(), &["incident", "hold-mmap", page.to_str().unwrap()]);
    assert_eq!(load.line(), "ready");
    let pid = load.pid();
    let frozen = mount.freeze();
    load.go();
    let fault = until("the thread that faults", TIMEOUT, || {
        let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let is_fault = |task: &fs::DirEntry| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == "fault")
        };
        tasks.find(is_fault)?.file_name().to_str()?.parse::<u32>().ok()
    });
    until_uninterruptible(pid, fault);
    load.go();
    until_uninterruptible(pid, pid);
    // Others do wait: that is what this test is about.
    let mut reader = Command::new("cat")
        .arg(format!("/proc/{pid}/cmdline"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(reader.try_wait().unwrap().is_none(), "the memory map is not locked");

    let capture = Capture::start(&file, &["--sample", "200ms"]);
    let startup = capture.startup;
    Workload::start(workload!(), &["getppid", "1000"]).finish();
    let recorded = Instant::now();
    until("some samples", TIMEOUT, || (recorded.elapsed() > Duration::from_secs(1)).then_some(()));
    let stopping = Instant::now();
    let ended = capture.stop();
    let stop = stopping.elapsed();
    drop(frozen);
    assert!(until("the reader to end", TIMEOUT, || reader.try_wait().unwrap()).success());
    assert_eq!(load.line(), "done");
    load.finish();
    eprintln!("start {startup:?}, end {stop:?}\n{}", ended.stderr);
    // Who waits for the map waits until the disk answers.
    assert!(startup < Duration::from_secs(10), "{startup:?}");
    assert!(stop < Duration::from_secs(3), "{stop:?}");
    assert_eq!(ktape::count(&file, "evt.type = getppid and proc.name = ktape-workload"), 1000);
    // It is known all the same, and that its thread is in a call.
    let mut calls = ktape::replay_json(&file, &[&format!("proc.pid = {pid} and evt.unfinished = true")]);
    calls.retain(|call| text(call, "evt.type") != Some("loss"));
    assert!(calls.iter().any(|call| text(call, "evt.type") == Some("mprotect")), "{calls:#?}");
    assert!(calls.iter().all(|call| text(call, "proc.name") == Some("ktape-workload")), "{calls:#?}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn twenty_thousand_processes_are_recorded() {
    let _guard = Guard::exclusive();
    let wanted = room_for_processes().min(20_000);
    let mut load = Workload::start(workload!(), &["sleepers", &wanted.to_string()]);
    let made = Instant::now();
    assert_eq!(load.line(), "READY");
    eprintln!("{wanted} processes in {:?}", made.elapsed());
    let dir = ktape::disk_dir();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let startup = capture.startup;
    Workload::start(workload!(), &["getppid", "100000"]).finish();
    let anon = memory(capture.pid(), "RssAnon");
    let parent = load.pid();
    let stopping = Instant::now();
    let ended = capture.stop();
    let stop = stopping.elapsed();
    load.kill();
    until("the processes to be gone", TIMEOUT, || (room_for_processes() > wanted).then_some(()));
    eprintln!("start {startup:?}, end {stop:?}, RssAnon {anon} KiB\n{}", ended.stderr);
    assert_eq!(ktape::count(&file, "evt.type = getppid and proc.name = ktape-workload"), 100_000);
    let asleep = format!("evt.type = ppoll and evt.unfinished = true and proc.ppid = {parent}");
    assert_eq!(ktape::count(&file, &asleep), wanted);
    assert!(startup < Duration::from_secs(10), "{startup:?}");
    assert!(stop < Duration::from_secs(5), "{stop:?}");
    assert!(anon < MEMORY_KIB, "{anon} KiB");
}

/// How many more processes the machine takes, with some left for itself.
fn room_for_processes() -> u64 {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let most = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    let most = most.into_iter().filter_map(number).min().unwrap();
    let now = fs::read_to_string("/proc/loadavg").unwrap();
    let now: u64 = now.split(['/', ' ']).nth(4).unwrap().parse().unwrap();
    most.saturating_sub(now + 2_000)
}

/// Everyone forks as often as the controller lets them, beside a flood of calls into a small buffer.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn fork_bomb_bounds_memory_and_counts_losses() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let file = dir.path().join("x.ktape");
    let pids = v1::Group::make("pids", "ktape-test-bomb");
    pids.set("pids.max", "150");
    let cgroup = Cgroup::make("/ktape-test-bomb");
    let capture = Capture::start(&file, &["--buffer", "256KiB"]);
    // The shell enters both cgroups and becomes the bomb.
    let enter = format!(
        "echo $$ > {}/cgroup.procs; echo $$ > {}/cgroup.procs; exec {} incident fork-bomb 2000",
        pids.dir().display(),
        cgroup.dir().display(),
        workload!().display()
    );
    let said = {
        let mut load = Workload::start(Path::new("/bin/sh"), &["-c", &enter]);
        let line = load.line();
        load.finish();
        line
    };
    let counted: Vec<u64> = said.split(' ').map(|word| word.parse().unwrap()).collect();
    let anon = memory(capture.pid(), "RssAnon");
    let ended = capture.stop();
    eprintln!("{said} forks and refusals, RssAnon {anon} KiB\n{}", ended.stderr);
    let (forks, refused) = (counted[0], counted[1]);
    assert!(forks > 150 && refused > 0, "{said}");
    let here = |kind: &str| {
        ktape::count(&file, &format!("evt.category = {kind} and cgroup.path = {}", cgroup.path()))
    };
    assert_eq!(here("fork"), forks);
    // And all of them ended, the first one included.
    assert_eq!(here("exit"), forks + 1);
    for loss in ktape::replay_json(&file, &["-e", "loss"]) {
        let kind = text(&loss, "loss.kind").unwrap();
        assert!(["syscall", "switch", "block", "net"].contains(&kind), "{loss}");
    }
    assert!(anon < MEMORY_KIB, "{anon} KiB");
    let failed = format!("evt.type = clone and evt.res = EAGAIN and cgroup.path = {}", cgroup.path());
    let lost = lost_of(&file, cgroup.path());
    let failed = ktape::count(&file, &failed);
    assert!(failed <= refused && failed + lost >= refused, "{failed} of {refused}, {lost} calls lost");
}
