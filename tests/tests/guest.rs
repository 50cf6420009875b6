//! Another kernel, pure cgroup2 and a real boot, in a virtual machine.

use std::time::{Duration, Instant};

use ktape_tests::container::Options;
use ktape_tests::guest::{Guest, kernel};
use ktape_tests::ktape::{self, int, text};
use ktape_tests::{kernel_test, workload};

const ID: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

#[test]
fn a_guest_that_does_not_end_is_killed() {
    let _guard = kernel_test!();
    let Some(guest) = Guest::new(&kernel(), workload!()) else { return };
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
fn a_capture_made_on_another_kernel_is_read_here() {
    let _guard = kernel_test!();
    let Some(guest) = Guest::new(&kernel(), workload!()) else { return };
    let release = guest.release();
    let cgroup = format!("/docker/{ID}");
    let args = ["/bin/ktape-workload", "getppid", "300"];
    let ran = guest.bundle("web", &Options { cgroup: &cgroup, args: &args, seccomp: false }, |_| {}).run(
        "uname -r
            cat /sys/fs/cgroup/cgroup.subtree_control
            record x.ktape
            ktape-workload getppid 200
            runc run -b /bundles/web web </dev/null || exit 1
            recorded
            exit 7",
    );
    assert_eq!(ran.status, 7, "{}\n{}", ran.output, ran.console);
    let mut lines = ran.output.lines();
    assert_eq!(lines.next(), Some(release.as_str()), "{}", ran.output);
    assert_eq!(lines.next(), Some("cpu io memory pids"));

    let file = ran.file("x.ktape");
    let info = ktape::info(&file);
    assert!(info.to_string().contains(&release), "{info}");
    assert!(info.to_string().contains("\"guest\""), "{info}");
    let outside =
        ktape::replay_json(&file, &["evt.type=getppid and proc.name=ktape-workload and container.id=host"]);
    assert_eq!(outside.len(), 200);
    let inside = ktape::replay_json(&file, &[&format!("evt.type=getppid and container.full_id={ID}")]);
    let inside: Vec<_> = inside.iter().filter(|e| text(e, "proc.name") == Some("ktape-workload")).collect();
    assert_eq!(inside.len(), 300);
    for event in inside {
        assert_eq!(text(event, "cgroup.path"), Some(cgroup.as_str()), "{event}");
        // The container has process ids of its own; the parent of its first process is outside.
        assert_eq!(int(event, "evt.rawres"), Some(0), "{event}");
    }
}
