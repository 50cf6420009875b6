//! Structures behind pointers, given or filled in, are recorded as the kernel has them.

use serde_json::{Value, json};

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, text};
use ktape_tests::workload;

/// Records the workload; returns the capture and what the workload printed of each call.
fn record(dir: &std::path::Path, options: &[&str]) -> (std::path::PathBuf, Vec<(String, String)>) {
    let (file, out) = (dir.join("x.ktape"), dir.join("out"));
    let script = format!("{} structs {} >{}", workload!().display(), dir.display(), out.display());
    ktape::record(&file, options, &["sh", "-c", &script]);
    let printed = std::fs::read_to_string(out).unwrap();
    let call =
        |line: &str| line.split_once('\t').map(|(name, args)| (name.to_owned(), args.to_owned())).unwrap();
    let calls: Vec<_> = printed.lines().map(call).collect();
    assert!(calls.len() >= 30, "{calls:?}");
    (file, calls)
}

/// The lines without an event, where each event is later than that of the line before.
fn missing(events: &[Value], calls: &[(String, String)]) -> Vec<String> {
    let (mut from, mut missing) = (0, Vec::new());
    for (name, args) in calls.iter().filter(|(name, _)| !name.starts_with("SO_")) {
        let is_it =
            |event: &Value| text(event, "evt.type") == Some(name) && text(event, "evt.args") == Some(args);
        if let Some(at) = events[from..].iter().position(is_it) {
            from += at + 1;
        } else {
            let same_name = events[from..].iter().filter(|event| text(event, "evt.type") == Some(name));
            let others: Vec<_> = same_name.filter_map(|event| text(event, "evt.args")).take(3).collect();
            missing.push(format!("{name}({args}); there is {others:?}"));
        }
    }
    missing
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn structures_are_recorded_as_given_and_as_filled_in() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let (file, calls) = record(dir.path(), &[]);
    let of = |expression: &str| {
        ktape::replay_json(&file, &[&format!("proc.name=ktape-workload and ({expression})")])
    };
    let events = of("evt.category=syscall");
    let missing = missing(&events, &calls);
    assert!(missing.is_empty(), "{missing:#?}");

    let number = |name: &str| -> i64 {
        calls.iter().find(|(call, _)| call == name).and_then(|(_, value)| value.parse().ok()).unwrap()
    };
    let option = |optname: &str| {
        let events = of(&format!("evt.type=getsockopt and evt.arg.optname={optname}"));
        events[0]["evt.arg.optval"].clone()
    };
    assert_eq!(option("SO_ERROR"), json!(number("SO_ERROR")));
    assert_eq!(option("SO_TYPE"), json!(number("SO_TYPE")));
    // Several numbers, members of one structure, and of each in an array.
    let pipe = &of("evt.type=pipe2 and evt.res=SUCCESS and evt.arg.flags=O_CLOEXEC")[0];
    let fds = pipe["evt.arg.fildes"].as_array().unwrap();
    assert_eq!((fds.len(), &pipe["fd.num"]), (2, &fds[0]));
    let limits = &of("evt.arg.new_rlim.rlim_cur <= 321 and evt.arg.new_rlim.rlim_cur > 0")[0];
    assert!(limits["evt.arg.old_rlim.rlim_max"].is_number(), "{limits}");
    let polled = of("evt.type=poll and evt.arg.ufds.revents has POLLOUT");
    assert_eq!(polled[0]["evt.arg.ufds"][1]["revents"], json!(4));
    assert_eq!(
        of(&format!("evt.type=poll and evt.arg.ufds.fd = {}", polled[0]["evt.arg.ufds"][0]["fd"])).len(),
        3
    );
    assert_eq!(of("evt.type=openat2 and evt.arg.how.flags has O_CREAT and evt.is_open_write=true").len(), 1);
    let printed = |name: &str| -> Vec<i64> {
        let (_, numbers) = calls.iter().find(|(call, _)| call == name).unwrap();
        numbers.split(' ').map(|number| number.parse().unwrap()).collect()
    };
    let numbers = |event: &Value, names: &[&str]| -> Vec<i64> {
        names.iter().map(|name| ktape::int(event, name).unwrap()).collect()
    };
    let of_state = ["evt.arg.buffer.stx_size", "evt.arg.buffer.stx_ino", "evt.arg.buffer.stx_mtime.tv_nsec"];
    assert_eq!(numbers(&of("evt.type=statx and evt.arg.mask=STATX_SIZE")[0], &of_state), printed("SO_STATX"));
    let of_file_system = ["evt.arg.buf.f_bsize", "evt.arg.buf.f_namelen"];
    let proc = &of("evt.type=statfs and evt.arg.buf.f_type=PROC_SUPER_MAGIC")[0];
    assert_eq!(numbers(proc, &of_file_system), printed("SO_STATFS"));
    assert_eq!(of("evt.arg.statbuf.st_size = 5000").len(), 3);
    let sysinfo = &of("evt.type=sysinfo and evt.arg.info.totalram > 0")[0];
    assert_eq!(sysinfo["evt.arg.info.loads"].as_array().unwrap().len(), 3);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(of(&format!("evt.arg.name.release = '{}'", kernel.trim())).len(), 1);
    assert_eq!(of("evt.type=fcntl and evt.arg.arg.l_start=5").len(), 1);
    assert_eq!(of("evt.type=fcntl and evt.arg.cmd=F_SETFL and evt.arg.arg has O_APPEND").len(), 1);
    // What was not filled in, and what could not be read.
    assert_eq!(
        of("evt.type=newfstatat and evt.arg.filename=/none/x and not evt.arg.statbuf exists").len(),
        1
    );
    assert_eq!(of("evt.type=wait4 and evt.arg.stat_addr exists").len(), 2);
    assert_eq!(of("evt.type=nanosleep and evt.unread=true").len(), 1);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn structures_are_recorded_with_the_return_alone() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let (file, mut calls) = record(dir.path(), &["--no-duration"]);
    // The kernel has replaced the limit by what is left of it, the position by the next one;
    // without the room at the entry, no address is read.
    calls.retain(|(name, _)| name != "ppoll" && name != "sendfile" && name != "getsockname");
    let expression = "evt.category=syscall and proc.name=ktape-workload";
    let mut events = ktape::replay_json(&file, &[expression]);
    // What was given is read at the return, and marked.
    for event in &mut events {
        if let Some(args) = event.get_mut("evt.args") {
            *args = Value::String(args.as_str().unwrap_or_default().replace('~', ""));
        }
    }
    let missing = missing(&events, &calls);
    assert!(missing.is_empty(), "{missing:#?}");
}
