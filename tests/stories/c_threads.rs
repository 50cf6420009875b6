//! c. "Cannot create native thread": whose threads grow, against which limit, which calls failed, which process died of it?

use ktape_tests::container::{Options, Runtime};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;
use serde_json::json;

use super::{cgroup, ended, id};

const LIMIT: i64 = 60;

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn c_thread_leak() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["--sample", "500ms"]);
    let options = Options {
        cgroup: &cgroup('d'),
        args: &["/bin/ktape-workload", "incident", "leak-threads", "40", "50"],
        seccomp: false,
    };
    let load = runtime.start_with("leak", &options, |config| {
        config["linux"]["resources"] = json!({ "pids": { "limit": LIMIT } });
    });
    // Beside it one that does not leak.
    let options = Options { cgroup: &cgroup('e'), args: &["/bin/sleep", "100"], seccomp: false };
    let quiet = runtime.start("quiet", &options);
    ended(&load);
    let said = load.output();
    let pid = i64::from(load.pid);
    drop((load, quiet));
    capture.stop();
    let mut words = said.split_whitespace().map(|word| word.parse::<i64>().unwrap());
    let (made, refused) = (words.next().unwrap(), words.next().unwrap());
    assert_eq!((made, refused), (LIMIT - 1, 50), "{said}");

    // Whose threads grow, against which limit, and which calls failed because of it?
    let rows = ktape::stats_json(&file, &["pids"]);
    let leaky = &rows[0];
    eprintln!("{leaky:#?}");
    assert_eq!(text(leaky, "sample.cgroup|cgroup.path"), Some(&*cgroup('d')), "{leaky}");
    let numbers =
        ["threads", "pids", "limit", "highest %", "failed calls"].map(|name| int(leaky, name).unwrap());
    assert_eq!(numbers, [LIMIT, LIMIT, LIMIT, 100, refused], "{leaky}");
    assert!(int(leaky, "first threads").unwrap() < LIMIT / 2, "{leaky}");
    assert_eq!((text(leaky, "error"), text(leaky, "process")), (Some("EAGAIN"), Some("ktape-workload")));
    // As the kernel counted them until the last sample.
    let by_kernel = int(leaky, "refused forks").unwrap();
    assert!((1..=refused).contains(&by_kernel), "{by_kernel}");
    // Those of the program, and the ones of runc that made its process.
    let started = int(leaky, "started").unwrap();
    assert!((made..made + 20).contains(&started), "{started}");
    let quiet =
        rows.iter().find(|row| text(row, "sample.cgroup|cgroup.path") == Some(&*cgroup('e'))).unwrap();
    assert_eq!((int(quiet, "threads"), int(quiet, "failed calls")), (Some(1), Some(0)), "{quiet}");

    // Who died of it, and how?
    let exits = ktape::stats_json(&file, &["exits", "--container", &id('d')[..6], "exit.signal exists"]);
    assert_eq!(exits.len(), 1, "{exits:#?}");
    // abort() sends SIGABRT, which the first process of a pid namespace does not feel, and then runs an instruction that
    // kills.
    assert_eq!((text(&exits[0], "exit.signal"), int(&exits[0], "processes")), (Some("SIGSEGV"), Some(1)));
    // All but the main one; runc's own threads, which its exec of the program ended, had this process id too.
    let all = format!("evt.category = exit and proc.pid = {pid} and thread.name startswith pool-");
    assert_eq!(ktape::count(&file, &all) as i64, LIMIT - 1);
}
