//! Context switches, against what the kernel counts.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text, truth};
use ktape_tests::workload;

const MS: i64 = 1_000_000;

fn lost(file: &Path) -> Value {
    ktape::info(file)["lost"].clone()
}

/// When an event ended, ns.
fn end(event: &Value) -> i64 {
    int(event, "evt.rawtime").unwrap() + int(event, "evt.latency").unwrap_or(0)
}

/// A player's own account.
struct Player {
    tid: i64,
    voluntary: usize,
    involuntary: usize,
    cpu: i64,
    wait: i64,
}

fn players(out: &str) -> Vec<Player> {
    let player = |line: &str| {
        let words: Vec<i64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        Player {
            tid: words[0],
            voluntary: words[1] as usize,
            involuntary: words[2] as usize,
            cpu: words[3],
            wait: words[4],
        }
    };
    out.lines().map(player).collect()
}

/// Whether the switches and times of a player are those that the kernel counted. A switch inside one of the calls that
/// ask the kernel may have been counted or not: then nothing is proved, and it is false.
fn agrees(file: &Path, player: &Player) -> bool {
    let of_thread = format!("thread.tid={}", player.tid);
    let calls = ktape::replay_json(file, &["-e", "getrusage", &of_thread]);
    assert_eq!(calls.len(), 2, "{calls:#?}");
    let begin = |event: &Value| int(event, "evt.rawtime").unwrap();
    let (from, to) = (&calls[0], &calls[1]);
    let mine = format!("{of_thread} or switch.next.tid={}", player.tid);
    let switches = ktape::replay_json(file, &["-e", "switch", &mine]);
    let left: Vec<&Value> =
        switches.iter().filter(|event| int(event, "thread.tid") == Some(player.tid)).collect();
    let unsure = left.iter().any(|event| {
        let time = end(event);
        [from, to].iter().any(|call| (begin(call)..=end(call)).contains(&time))
    });
    if unsure {
        return false;
    }
    let within = |event: &&&Value| (end(from)..begin(to)).contains(&end(event));
    let counted: Vec<&&Value> = left.iter().filter(within).collect();
    assert_eq!(counted.len(), player.voluntary + player.involuntary, "switches of {}", player.tid);
    let involuntary = counted.iter().filter(|event| text(event, "switch.state") == Some("R")).count();
    assert_eq!(involuntary, player.involuntary, "switches of {} that could have gone on", player.tid);
    assert!(counted.iter().all(|event| ["R", "S"].contains(&text(event, "switch.state").unwrap())));

    let times = |field: &str, party: &str| -> Vec<Option<i64>> {
        let whole = |event: &&Value| int(event, party) == Some(player.tid) && within(&event);
        switches.iter().filter(whole).map(|event| int(event, field)).collect()
    };
    let sum = |field: &str, party: &str| times(field, party).into_iter().flatten().sum::<i64>();
    let waits = times("switch.runnable", "switch.next.tid");
    assert!(waits.iter().all(Option::is_some), "a wait of {} is not known", player.tid);
    check_unknown(file, player, &counted);
    let near = |what: &str, ours: i64, kernels: i64, percent: i64, slack: i64| {
        let error = (ours - kernels).abs();
        assert!(error <= kernels * percent / 100 + slack, "{what}: {ours} ns, the kernel says {kernels}");
    };
    println!("cpu {} kernel {}", sum("switch.ran", "thread.tid"), player.cpu);
    println!("wait {} kernel {}", sum("switch.runnable", "switch.next.tid"), player.wait);
    // What it ran before its first and after its last switch is in the kernel's number alone.
    near("CPU time", sum("switch.ran", "thread.tid"), player.cpu, 1, 3 * MS);
    // From waking to switching in, the kernel looks at its clock at other moments: part of a microsecond each time.
    let slack = 2_000 * waits.len() as i64;
    near("wait", sum("switch.runnable", "switch.next.tid"), player.wait, 5, slack);
    true
}

/// Some machines run no program of anybody's, neither ours nor perf's, where a thread of process 1 is the current one: that it
/// leaves a CPU is not seen, nor that another one gets it from there. Only then is it not known how long that one ran.
fn check_unknown(file: &Path, player: &Player, left: &[&&Value]) {
    let unknown: Vec<&&&Value> = left.iter().filter(|event| event.get("switch.ran").is_none()).collect();
    if unknown.is_empty() {
        return;
    }
    let all = ktape::replay_json(file, &["-e", "switch"]);
    for event in unknown {
        let before = all
            .iter()
            .rev()
            .find(|other| int(other, "evt.cpu") == int(event, "evt.cpu") && end(other) < end(event));
        let before = before.expect("something was on that CPU");
        assert_eq!(int(before, "switch.next.pid"), Some(1), "{}: {before} {event}", player.tid);
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn switches_of_two_threads_passing_a_token_are_counted() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    for attempt in 0.. {
        let file = dir.path().join(format!("{attempt}.ktape"));
        let capture = Capture::start(&file, &["-e", "switch,getrusage"]);
        let out = workload::run(workload!(), &["token", "100000"]);
        capture.stop();
        assert_eq!(lost(&file), 0, "{}", ktape::info(&file));
        let players = players(&out);
        assert_eq!(players.len(), 2);
        assert!(players.iter().all(|player| player.voluntary > 50_000 / 2), "{out}");
        if players.iter().all(|player| agrees(&file, player)) {
            break;
        }
        assert!(attempt < 5, "switches fell into the calls that ask the kernel, each time");
    }
}

/// How often the threads of a process have left a CPU.
fn switches_of(pid: u32) -> u64 {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        sum += counts.map(|(_, count)| count.trim().parse::<u64>().unwrap()).sum::<u64>();
    }
    sum
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn switch_counts_equal_those_of_perf() {
    let _guard = Guard::exclusive();
    let perf = Command::new("perf").arg("--version").stdout(Stdio::null()).status();
    assert!(perf.is_ok(), "this test needs perf (Debian package linux-perf)");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "switch,exec,exit"]);
    let before = switches_of(capture.pid());
    let load = workload!().to_str().unwrap();
    let out = Command::new("perf")
        .args([
            "stat",
            "-x",
            ",",
            "-a",
            "-e",
            "sched:sched_switch,context-switches",
            "--",
            "timeout",
            "30",
            load,
        ])
        .args(["token", "50000"])
        .output()
        .unwrap();
    let own = switches_of(capture.pid()) - before;
    capture.stop();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{stderr}");
    let count = |event: &str| -> u64 {
        let line = stderr.lines().find(|line| line.contains(event)).expect("perf's count");
        line.split(',').next().unwrap().parse().unwrap()
    };
    let (perf, counter) = (count("sched:sched_switch"), count("context-switches"));
    assert_eq!(lost(&file), 0);

    let start = &ktape::replay_json(
        &file,
        &["-e", "exec", "exec.args endswith \"token 50000\" and proc.name=timeout"],
    )[0];
    let of_it = format!("proc.pid={}", int(start, "proc.pid").unwrap());
    let exits = ktape::replay_json(&file, &["-e", "exit", &of_it]);
    let (from, to) = (end(start), end(&exits[0]));
    let events = ktape::replay_json(&file, &["-e", "switch"]);
    let ours = events.iter().filter(|event| (from..=to).contains(&end(event))).count() as u64;
    println!("perf {perf}, its counter {counter}, ktape {ours}, of the recorder itself {own}");
    // perf counts the recorder's own switches too: each thread that it leaves the CPU with, and takes it with again.
    // Its counters begin before the exec and end after the exit.
    for theirs in [perf, counter] {
        let skew = 300 + theirs / 100;
        assert!(
            ours <= theirs + skew && theirs <= ours + 2 * own + skew,
            "perf {perf}, its counter {counter}, ktape {ours}, own {own}"
        );
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn preemption_by_a_realtime_thread_is_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let between = |value: i64, from: i64, to: i64| (from * MS..to * MS).contains(&value);
    // On a busy machine, A may take the CPU from another thread than B, or lose it itself while it burns its 40 ms.
    let (file, a, b, all, taken) = (0..8)
        .find_map(|attempt| {
            let file = dir.path().join(format!("{attempt}.ktape"));
            let capture = Capture::start(&file, &["-e", "switch,fork,exit"]);
            let out = workload::run(workload!(), &["turns"]);
            capture.stop();
            assert_eq!(lost(&file), 0);
            let (a, b) = out.trim_end().split_once(' ').unwrap();
            let (a, b): (i64, i64) = (a.parse().unwrap(), b.parse().unwrap());
            let of_both = format!("proc.pid={a} or switch.next.pid={a}");
            let all = ktape::replay_json(&file, &["-e", "switch", &of_both]);
            let taken = all.iter().find(|event| {
                int(event, "thread.tid") == Some(b)
                    && int(event, "switch.next.tid") == Some(a)
                    && text(event, "switch.state") == Some("R")
                    && int(event, "switch.off_cpu").is_some_and(|off| off > 15 * MS)
            });
            let is_whole = |event: &&Value| {
                int(event, "thread.tid") == Some(a)
                    && int(event, "switch.ran").is_some_and(|ran| between(ran, 39, 80))
            };
            all.iter().find(is_whole)?;
            let taken = taken?.clone();
            Some((file, a, b, all, taken))
        })
        .expect("A takes the CPU from B");
    let get = |event: &Value, field: &str| int(event, field).unwrap_or(-1);
    let find = |what: &str, wanted: &dyn Fn(&Value) -> bool| -> Value {
        let found: Vec<&Value> = all.iter().filter(|event| wanted(event)).collect();
        assert!(!found.is_empty(), "no {what}: {all:#?}");
        found[0].clone()
    };

    // A has burnt its 40 ms and sleeps.
    let sleeps = find("A that leaves", &|event| {
        get(event, "thread.tid") == a && between(get(event, "switch.ran"), 39, 80)
    });
    assert_eq!(text(&sleeps, "switch.state"), Some("S"), "{sleeps}");
    assert!(!truth(&sleeps, "switch.preempted"), "{sleeps}");
    assert_eq!(int(&sleeps, "proc.pid"), Some(a), "{sleeps}");
    assert_eq!(int(&sleeps, "evt.cpu"), Some(0), "{sleeps}");
    assert_eq!(text(&sleeps, "evt.type"), Some("switch"), "{sleeps}");
    // B, woken before, gets the CPU only then.
    let gets = find("B that gets the CPU", &|event| {
        get(event, "switch.next.tid") == b && between(get(event, "switch.runnable"), 38, 80)
    });
    assert!(between(get(&gets, "switch.off_cpu"), 95, 200), "{gets}");
    assert!(end(&gets) >= end(&sleeps) && end(&gets) < end(&sleeps) + 10 * MS, "{gets}");
    assert_eq!(int(&gets, "switch.next.pid"), Some(a), "{gets}");
    assert!(text(&gets, "switch.next").unwrap().contains("ktape-workload"), "{gets}");
    // A takes the CPU from it.
    assert_eq!(text(&taken, "switch.state"), Some("R"), "{taken}");
    assert!(truth(&taken, "switch.preempted"), "{taken}");
    assert!(between(get(&taken, "switch.off_cpu"), 19, 30), "{taken}");
    assert!(get(&taken, "switch.runnable") < 5 * MS && get(&taken, "switch.runnable") >= 0, "{taken}");

    // The first time that B has a CPU: off it since its fork.
    let forks = ktape::replay_json(&file, &["-e", "fork", &format!("fork.child_tid={b}")]);
    let first = find("B's first switch", &|event| get(event, "switch.next.tid") == b);
    assert_eq!(get(&first, "switch.off_cpu"), end(&first) - end(&forks[0]), "{first} {}", forks[0]);
    assert!(get(&first, "switch.runnable") <= get(&first, "switch.off_cpu"), "{first}");
    // The last one: it is dead, and no one waits for a thread.
    let last = all.iter().rev().find(|event| get(event, "thread.tid") == b).unwrap();
    assert_eq!(text(last, "switch.state"), Some("X"), "{last}");
    // Its process is waited for.
    let last = all.iter().rev().find(|event| get(event, "thread.tid") == a).unwrap();
    assert_eq!(text(last, "switch.state"), Some("Z"), "{last}");
    // All of B's time is recorded: 80 ms of work.
    let ran: i64 =
        all.iter().filter(|event| get(event, "thread.tid") == b).map(|e| get(e, "switch.ran")).sum();
    assert!(between(ran, 79, 95), "{ran}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn yielding_is_not_preemption() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "switch"]);
    let out = workload::run(workload!(), &["yields", "1000"]);
    capture.stop();
    let tids: Vec<&str> = out.lines().collect();
    let pair = format!("thread.tid in ({0}, {1}) and switch.next.tid in ({0}, {1})", tids[0], tids[1]);
    let by_itself = ktape::count(&file, &format!("{pair} and switch.state=R and switch.preempted=false"));
    let preempted = ktape::count(&file, &format!("{pair} and switch.preempted=true"));
    assert!(by_itself > 200, "{by_itself} by themselves, {preempted} preempted");
    assert!(preempted < by_itself / 4, "{by_itself} by themselves, {preempted} preempted");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn idle_switches_and_filtered_switches() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    // On a machine where others work, both CPUs may have something to do whenever the command waits.
    let (file, all) = loop {
        let file = dir.path().join(format!("{}.ktape", deadline.duration_since(Instant::now()).as_nanos()));
        ktape::record(
            &file,
            &["-e", "switch"],
            &["/bin/sh", "-c", "sleep 0.05; /bin/true; sleep 0.01; sleep 0.01"],
        );
        let all = ktape::replay_json(&file, &["-e", "switch"]);
        if all.iter().any(|event| int(event, "switch.next.tid") == Some(0)) || Instant::now() >= deadline {
            break (file, all);
        }
    };
    let pid = int(&ktape::replay_json(&file, &["proc.name=sleep"])[0], "proc.ppid").unwrap();
    // One side is the command's, always.
    let tree = |event: &Value, field: &str| int(event, field).is_some_and(|other| other >= pid);
    assert!(all.iter().all(|event| tree(event, "proc.pid") || tree(event, "switch.next.pid")), "{all:#?}");
    // The command is a shell that waits: its CPU is idle meanwhile.
    let idle: Vec<&Value> = all.iter().filter(|event| int(event, "switch.next.tid") == Some(0)).collect();
    assert!(!idle.is_empty(), "no CPU went idle: {all:#?}");
    for event in &idle {
        assert_eq!(int(event, "switch.next.pid"), Some(0), "{event}");
        assert_eq!(text(event, "switch.next"), Some("idle"), "{event}");
    }
    for expression in ["switch.next.tid = 0", "switch.next = idle"] {
        assert_eq!(ktape::count(&file, expression), idle.len() as u64, "{expression}");
    }
    let out = ktape::stdout(&["replay", &file.to_string_lossy(), "-e", "switch"]);
    assert_eq!(out.matches("next=idle").count(), idle.len(), "{out}");
    let slept = all.iter().find(|event| {
        text(event, "switch.next").is_some_and(|next| next.starts_with("sleep"))
            && int(event, "switch.off_cpu").is_some_and(|off| off >= 50 * MS)
    });
    let slept = slept.unwrap_or_else(|| panic!("nobody slept 50 ms: {all:#?}"));
    // The sleep is what is left when its wait for a CPU is taken off.
    let asleep = int(slept, "switch.off_cpu").unwrap() - int(slept, "switch.runnable").unwrap();
    assert!((49 * MS..70 * MS).contains(&asleep), "{slept}");
}
