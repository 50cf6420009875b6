//! OOM kills: the victim, the limit that was reached, and the process that reached it.

use std::fs;

use ktape_tests::cgroup::{self, Cgroup};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::wait::{TIMEOUT, until};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

const LIMIT: i64 = 24 << 20;

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn cgroup_oom_kill_names_victim_and_limit() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let limited = "/ktape-test-oom";
    let path = "/ktape-test-oom/inner";
    let own = Cgroup::make(path);
    // Where memory has a hierarchy of its own, at the same place in it.
    let memory = cgroup::v1_root("memory").map(|root| Cgroup::make_in(root, path));
    let (dir_of_limit, name) = match &memory {
        Some(memory) => (memory.dir(), "memory.limit_in_bytes"),
        None => (own.dir(), "memory.max"),
    };
    let limit = dir_of_limit.parent().unwrap().join(name);
    fs::write(&limit, LIMIT.to_string()).unwrap_or_else(|error| panic!("{}: {error}", limit.display()));

    let mut load = Workload::start(workload!(), &["eat-memory", &(4 * LIMIT).to_string()]);
    let pid = i64::from(load.pid());
    own.attach(load.pid());
    if let Some(memory) = &memory {
        memory.attach(load.pid());
    }
    fs::write(format!("/proc/{pid}/oom_score_adj"), "7").unwrap();
    let capture = Capture::start(&file, &["-e", "oom,signal,exit"]);
    load.go();
    until("the process to be killed", TIMEOUT, || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])).then_some(())
    });
    capture.stop();
    load.kill();
    assert_eq!(int(&ktape::info(&file), "lost"), Some(0));

    let ooms = ktape::replay_json(&file, &["-e", "oom", &format!("proc.pid={pid}")]);
    assert_eq!(ooms.len(), 1, "{ooms:#?}");
    let oom = &ooms[0];
    assert_eq!(text(oom, "proc.name"), Some("ktape-workload"), "{oom}");
    assert_eq!(text(oom, "cgroup.path"), Some(path), "{oom}");
    assert_eq!(text(oom, "oom.trigger"), Some("ktape-workload"), "{oom}");
    assert_eq!(int(oom, "oom.trigger.pid"), Some(pid), "{oom}");
    assert_eq!(text(oom, "oom.scope"), Some("cgroup"), "{oom}");
    assert_eq!(text(oom, "oom.limited"), Some(limited), "{oom}");
    assert_eq!(int(oom, "oom.limit"), Some(LIMIT), "{oom}");
    let near = |field: &str, low: i64| {
        let value = int(oom, field).unwrap_or_else(|| panic!("no {field}: {oom}"));
        assert!((low..=LIMIT).contains(&value), "{field}={value}: {oom}");
    };
    near("oom.memory", LIMIT - LIMIT / 16);
    // Nearly all of what is charged, but not what the kernel needs for it.
    near("oom.anon", LIMIT * 3 / 4);
    near("oom.file", 4096);
    near("oom.page_tables", 4096);
    // Where the root is in memory, as in a guest, so are the libraries that the workload has mapped.
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let in_memory =
        mounts.lines().any(|line| line.split(' ').nth(1) == Some("/") && line.contains(" tmpfs "));
    if !in_memory {
        assert_eq!(int(oom, "oom.shmem"), Some(0), "{oom}");
    }
    assert_eq!(int(oom, "oom.swap"), Some(0), "{oom}");
    assert_eq!(int(oom, "oom.score_adj"), Some(7), "{oom}");

    // The kernel's own message, where it can be read, has the same numbers, in KiB.
    let log = std::process::Command::new("dmesg").output().map(|out| out.stdout).unwrap_or_default();
    let log = String::from_utf8_lossy(&log).into_owned();
    let line = log.lines().rfind(|line| line.contains(&format!("Killed process {pid} ")));
    assert!(
        line.is_some() || !in_memory,
        "without the kernel's message nothing says how much is shared:\n{log}"
    );
    if let Some(line) = line {
        let kib = |name: &str| -> i64 {
            let (_, rest) = line.split_once(&format!("{name}:")).unwrap_or_else(|| panic!("{line}"));
            rest.split_once("kB")
                .and_then(|(number, _)| number.parse().ok())
                .unwrap_or_else(|| panic!("{line}"))
        };
        for (field, name) in [
            ("oom.anon", "anon-rss"),
            ("oom.file", "file-rss"),
            ("oom.shmem", "shmem-rss"),
            ("oom.page_tables", "pgtables"),
        ] {
            // Taken moments later: another CPU may have added its part.
            let distance = (int(oom, field).unwrap() - (kib(name) << 10)).abs();
            assert!(distance <= 1 << 20, "{field}: {oom}\n{line}");
        }
    }

    // Then it is killed, by the kernel.
    let kills = ktape::replay_json(
        &file,
        &["-e", "signal", &format!("signal.signal=SIGKILL and signal.target_pid={pid}")],
    );
    assert!(!kills.is_empty());
    assert_eq!(text(&kills[0], "signal.cause"), Some("kernel"), "{}", kills[0]);
    assert_eq!(int(&kills[0], "proc.pid"), Some(pid), "{}", kills[0]);
    assert_eq!(ktape::count(&file, &format!("evt.type=exit and exit.signal=SIGKILL and proc.pid={pid}")), 1);
}
