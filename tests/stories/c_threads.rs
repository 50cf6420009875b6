//! c. "Cannot create native thread": whose threads grow, against which limit, which calls failed, which process died of it?

use ktape_tests::container::{Options, Runtime};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;
use serde_json::json;

use super::{cgroup, container, ended, id, short};

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

    // Which calls failed?
    let failed = ktape::replay_json(&file, &["evt.type in (clone, clone3) and evt.failed = true"]);
    assert_eq!(failed.len() as i64, refused, "{failed:#?}");
    for call in &failed {
        assert_eq!(container(call), short('d'), "{call}");
        assert_eq!(text(call, "evt.res"), Some("EAGAIN"), "{call}");
        assert_eq!(int(call, "proc.pid"), Some(pid), "{call}");
    }
    let first = int(&failed[0], "evt.rawtime").unwrap();

    // Whose threads grow, against which limit?
    let samples = ktape::replay_json(&file, &["-e", "sample", "--container", &id('d')[..6]]);
    let threads: Vec<_> = samples.iter().filter_map(|sample| int(sample, "sample.threads")).collect();
    eprintln!("threads {threads:?}");
    assert_eq!(threads.iter().max(), Some(&LIMIT), "{threads:?}");
    let alive: Vec<_> = threads.iter().copied().take_while(|threads| *threads < LIMIT).collect();
    assert!(alive.len() >= 2 && alive.is_sorted() && alive.first() < alive.last(), "{threads:?}");
    let full: Vec<_> = samples.iter().filter(|sample| int(sample, "sample.pids") == Some(LIMIT)).collect();
    assert!(!full.is_empty(), "{samples:#?}");
    assert!(full.iter().all(|sample| int(sample, "sample.pids_max") == Some(LIMIT)), "{full:#?}");
    // How often the limit was hit, as the kernel counts it.
    let hit = samples.iter().filter_map(|sample| int(sample, "sample.pids_failures")).max();
    assert!(hit.is_some_and(|hit| (1..=refused).contains(&hit)), "{hit:?}");
    let quiet = ktape::replay_json(&file, &["-e", "sample", "--container", &id('e')[..6]]);
    assert!(quiet.iter().filter_map(|sample| int(sample, "sample.threads")).all(|threads| threads <= 1));

    // Who died of it, and how?
    let expression = format!("evt.category = exit and proc.pid = {pid} and exit.process = true");
    let exits = ktape::replay_json(&file, &[&expression]);
    assert_eq!(exits.len(), 1, "{exits:#?}");
    // abort() sends SIGABRT, which the first process of a pid namespace does not feel, and then runs an instruction that
    // kills.
    assert_eq!(text(&exits[0], "exit.signal"), Some("SIGSEGV"), "{exits:#?}");
    assert!(int(&exits[0], "evt.rawtime").unwrap() > first, "{exits:#?}");
    // All but the main one; runc's own threads, which its exec of the program ended, had this process id too.
    let all = format!("evt.category = exit and proc.pid = {pid} and thread.name startswith pool-");
    assert_eq!(ktape::count(&file, &all) as i64, LIMIT - 1);
}
