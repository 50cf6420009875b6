//! Recording on other kernels, with pure cgroup2 after a real boot.

use std::path::Path;
use std::time::{Duration, Instant};

use ktape_tests::container::Options;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, int, text};
use ktape_tests::vm::{Guest, kernel};
use ktape_tests::workload;

const ID: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn hanging_guest_is_killed() {
    let _guard = Guard::shared();
    let guest = Guest::new(&kernel(), workload!());
    let start = Instant::now();
    let run = || guest.deadline(Duration::from_secs(2)).run("while :; do :; done");
    let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) else {
        panic!("a guest that was killed has no result")
    };
    let why = panic.downcast_ref::<String>().map_or("", String::as_str);
    assert!(why.starts_with("the guest was killed after 2"), "{why}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn capture_from_5_10_is_readable() {
    a_capture_is_read_here("5.10");
}

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn capture_from_6_1_is_readable() {
    a_capture_is_read_here("6.1");
}

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn capture_from_6_12_is_readable() {
    a_capture_is_read_here("6.12");
}

#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn capture_from_the_newest_kernel_is_readable() {
    a_capture_is_read_here("newest");
}

/// How many calls the kernel did not let us see; nothing else may be lost.
fn skipped_calls(file: &Path) -> usize {
    let lost = ktape::replay_json(file, &["-e", "loss"]);
    for loss in &lost {
        assert_eq!(text(loss, "loss.stage"), Some("recursion"), "{lost:#?}");
        assert_eq!(text(loss, "loss.kind"), Some("syscall"), "{lost:#?}");
    }
    lost.iter().filter_map(|loss| int(loss, "loss.count")).map(|count| usize::try_from(count).unwrap()).sum()
}

/// Where a thread that loses its CPU within a program keeps the program for itself, the others' calls on that CPU are told
/// by the stand-in; all of them once.
#[test]
#[ignore = "needs root and virtual machines: cargo xtask guest"]
fn calls_of_preempted_threads_are_kept_on_the_newest_kernel() {
    const PROCESSES: usize = 4;
    const CALLS: usize = 3000;
    let _guard = Guard::shared();
    let guest = Guest::new("newest", workload!());
    let ran = guest.run(&format!(
        "record x.ktape
            all=
            for i in $(seq {PROCESSES}); do
                ktape-workload getppid {CALLS} --cpu 0 &
                all=\"$all $!\"
            done
            wait $all || exit 1
            recorded
            echo pids $all"
    ));
    ran.expect_success();
    let file = ran.file("x.ktape");
    let lost = skipped_calls(&file);
    let mut seen = 0;
    let pids = ran.output.lines().find_map(|line| line.strip_prefix("pids ")).expect("process ids");
    for pid in pids.split_whitespace() {
        let calls = ktape::stdout(&[
            "replay",
            file.to_str().unwrap(),
            &format!("evt.type=getppid and proc.pid={pid}"),
            "-e",
            "syscall",
            "--count",
        ]);
        let calls: usize = calls.trim().parse().unwrap();
        assert!(calls <= CALLS, "{calls} calls of {pid}: some were told twice");
        seen += calls;
    }
    eprintln!("{seen} of {} calls, {lost} lost", PROCESSES * CALLS);
    assert!(seen + lost >= PROCESSES * CALLS, "{seen} calls and {lost} lost of {}", PROCESSES * CALLS);
    // An entry and a return each. Without the stand-ins it was more than a quarter.
    assert!(lost <= PROCESSES * CALLS / 4, "{lost} lost");
}

fn a_capture_is_read_here(kernel: &str) {
    let _guard = Guard::shared();
    let guest = Guest::new(kernel, workload!());
    let release = guest.release();
    let cgroup = format!("/docker/{ID}");
    let args = ["/bin/ktape-workload", "getppid", "300"];
    let ran = guest.bundle("web", &Options { cgroup: &cgroup, args: &args, seccomp: false }, |_| {}).run(
        "uname -r
            cat /sys/fs/cgroup/cgroup.subtree_control
            ktape doctor >/out/doctor || exit 1
            record x.ktape
            ktape-workload getppid 200 &
            echo pid $!
            wait $! || exit 1
            runc run -b /bundles/web web </dev/null || exit 1
            recorded
            ktape replay /out/x.ktape --format json --utc >/out/there.json || exit 1
            ktape replay /out/x.ktape --utc >/out/there.txt || exit 1
            exit 7",
    );
    assert_eq!(ran.status, 7, "{}\n{}", ran.output, ran.console);
    let mut lines = ran.output.lines();
    assert_eq!(lines.next(), Some(release.as_str()), "{}", ran.output);
    assert_eq!(lines.next(), Some("cpu io memory pids"));
    let pid = lines.find_map(|line| line.strip_prefix("pid ")).expect("a process id");
    let pid: i64 = pid.parse().expect("a number");

    let file = ran.file("x.ktape");
    // The output of a file is the same on every machine.
    let path = file.to_str().unwrap();
    assert!(
        ktape::stdout(&["replay", path, "--format", "json", "--utc"]) == ran.text("there.json"),
        "JSON differs"
    );
    assert!(ktape::stdout(&["replay", path, "--utc"]) == ran.text("there.txt"), "the text differs");
    assert!(ran.text("doctor").ends_with("ktape can record here\n"), "{}", ran.text("doctor"));

    let info = ktape::info(&file);
    // In 7.3 a thread may lose its CPU within a program, and another one within the program that stands in for it.
    let skipped = skipped_calls(&file);
    assert!(skipped == 0 || kernel == "newest" && skipped <= 50, "{skipped} lost");
    assert!(info.to_string().contains(&release), "{info}");
    assert!(info.to_string().contains("\"guest\""), "{info}");
    let outside =
        ktape::replay_json(&file, &["evt.type=getppid and proc.name=ktape-workload and container.id=host"]);
    let outside: Vec<_> = outside.iter().filter(|event| text(event, "evt.type") == Some("getppid")).collect();
    assert!((200 - skipped..=200).contains(&outside.len()), "{}, {skipped} lost", outside.len());
    for event in outside {
        // By another way than the name: an offset of a struct that is wrong here gives another number.
        assert_eq!((int(event, "proc.pid"), int(event, "thread.tid")), (Some(pid), Some(pid)), "{event}");
        assert_eq!(int(event, "evt.rawres"), int(event, "proc.ppid"), "{event}");
        assert_eq!(int(event, "user.uid"), Some(0), "{event}");
    }
    let inside = ktape::replay_json(&file, &[&format!("evt.type=getppid and container.full_id={ID}")]);
    let inside: Vec<_> = inside.iter().filter(|e| text(e, "proc.name") == Some("ktape-workload")).collect();
    assert!((300 - skipped..=300).contains(&inside.len()), "{}, {skipped} lost", inside.len());
    for event in inside {
        assert_eq!(text(event, "cgroup.path"), Some(cgroup.as_str()), "{event}");
        // The container has process ids of its own; the parent of its first process is outside.
        assert_eq!(int(event, "evt.rawres"), Some(0), "{event}");
    }
}
