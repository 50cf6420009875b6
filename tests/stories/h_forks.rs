//! h. What starts hundreds of processes a second, and what do they cost in all?

use ktape_tests::container::{Options, Runtime};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;

use super::{cgroup, ended};

const PROCESSES: i64 = 1_500;
/// CPU time that each of them takes, us.
const EACH: i64 = 500;

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn h_fork_storm() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let (processes, each) = (PROCESSES.to_string(), EACH.to_string());
    let args = ["/bin/ktape-workload", "incident", "spawn", &processes, &each];
    let storm = runtime.start("storm", &Options { cgroup: &cgroup('a'), args: &args, seccomp: false });
    ended(&storm);
    let pid = i64::from(storm.pid);
    let output = storm.output();
    drop(storm);
    let recorded = capture.stop();
    eprintln!("{output}{}", recorded.stderr);
    let mut words = output.split_whitespace().map(|word| word.parse::<i64>().unwrap());
    let (lasted, cpu) = (words.next().unwrap(), words.next().unwrap());

    let rows = ktape::stats_json(&file, &["spawns"]);
    let row = &rows[0];
    eprintln!("{row:#}");
    assert_eq!(
        (text(row, "proc.pname"), int(row, "proc.ppid")),
        (Some("ktape-workload"), Some(pid)),
        "{row}"
    );
    assert_eq!((int(row, "processes"), int(row, "ended")), (Some(PROCESSES), Some(PROCESSES)), "{row}");
    assert!(text(row, "parent").unwrap().contains(&format!("spawn {processes} {each}")), "{row}");
    // What the kernel counts of all children together, some of it in the end of a process, after its last event.
    let seen = int(row, "cpu time").unwrap();
    assert!((seen - cpu).abs() < cpu / 10, "{seen}, the kernel counted {cpu}");
    assert!(seen >= PROCESSES * EACH * 1_000 * 9 / 10, "{seen}");
    let life = int(row, "p50 life").unwrap();
    assert!((EACH * 900..20 * EACH * 1_000).contains(&life), "{life}");

    // How many a second, while it lasted?
    let storm = format!("proc.ppid = {pid} and exit.process = true");
    let rows = ktape::stats_json(&file, &["spawns", &storm, "--per", "100ms"]);
    let most = rows.iter().filter_map(|row| row["ended per second"].as_f64()).fold(0.0, f64::max);
    let by_program = PROCESSES as f64 / (lasted as f64 / 1e9);
    assert!(most >= by_program * 0.9 && most < by_program * 4.0, "{most} {by_program}");
}
