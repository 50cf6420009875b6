//! The command line on real captures: outputs, formats, files and exit codes.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;

fn recorded(dir: &tempfile::TempDir) -> PathBuf {
    let file = dir.path().join("x.ktape");
    ktape::record(&file, &["--label", "team=a b"], &[workload!().to_str().unwrap(), "getppid", "1000"]);
    file
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn capture_file_is_private_and_not_overwritten() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = recorded(&dir);
    let meta = std::fs::metadata(&file).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o600);
    let before = std::fs::read(&file).unwrap();
    let out = ktape::run(&["capture", "-d", "1s", "-o", file.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("--force"));
    assert!(std::fs::read(&file).unwrap() == before);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn default_file_name_is_reported() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let out =
        Command::new(ktape::binary()).args(["capture", "-d", "1s"]).current_dir(dir.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{stderr}");
    assert!(out.stdout.is_empty(), "data only on stdout");
    let file =
        std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    assert!(file.starts_with("ktape-") && file.ends_with("Z.ktape"), "{file}");
    assert!(stderr.lines().next().unwrap().contains(&file), "{stderr}");
    assert!(stderr.matches(&file).count() >= 2, "{stderr}");
    assert!(stderr.contains("replay"), "{stderr}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn info_count_and_output_formats_agree() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = recorded(&dir);
    let name = file.to_str().unwrap();
    let info = ktape::info(&file);
    for key in ["events", "lost", "lost_by", "start", "end", "host", "kernel", "containers", "bytes"] {
        assert!(info.get(key).is_some(), "no {key} in {info}");
    }
    assert_eq!(info["bytes"].as_u64(), Some(std::fs::metadata(&file).unwrap().len()), "{info}");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(info["kernel"].as_str().unwrap().contains(release.trim()), "{info}");

    let all: u64 = ktape::stdout(&["replay", name, "--count"]).trim().parse().unwrap();
    assert_eq!(info["events"].as_u64(), Some(all), "{info}");
    let rows = ktape::replay_json(&file, &[]);
    let events = rows.iter().filter(|row| text(row, "evt.type") != Some("loss")).count();
    assert_eq!(events as u64, all);
    assert_eq!(ktape::stdout(&["replay", name]).lines().count(), rows.len());
    let csv = ktape::stdout(&["replay", name, "--format", "csv"]);
    assert_eq!(csv.lines().count(), rows.len() + 1);
    assert!(csv.lines().next().unwrap().contains("evt.type"));
    assert_eq!(ktape::replay_json(&file, &["-n", "7"]).len(), 7);
    assert_eq!(ktape::count(&file, "evt.type=getppid"), 1000);
    assert_eq!(ktape::count(&file, "host.label[team]='a b' and evt.type = getppid"), 1000);

    // evt.time is the start; --from and --to take what overlaps.
    let calls: Vec<_> = rows.iter().filter(|row| text(row, "evt.type") == Some("getppid")).collect();
    let middle = text(calls[500], "evt.time").unwrap();
    let from = ktape::replay_json(&file, &["--from", middle, "-e", "getppid"]).len();
    let to = ktape::replay_json(&file, &["--to", middle, "-e", "getppid"]).len();
    assert!((499..=501).contains(&from) && (500..=502).contains(&to), "{from} {to}");
    assert!(int(calls[500], "evt.latency").unwrap() > 0);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn text_output_resembles_strace() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    ktape::record(&file, &[], &["cat", "/etc/hostname"]);
    let text = ktape::stdout(&["replay", file.to_str().unwrap(), "--utc", "-e", "openat", "proc.name=cat"]);
    let line = text.lines().find(|line| line.contains("/etc/hostname")).expect("the file was opened");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0].len(), "12:00:01.123456789".len(), "{line}");
    assert!(words[1].parse::<u32>().is_ok(), "{line}");
    assert_eq!(words[2], "-", "{line}");
    assert!(words[3].starts_with("cat(") && words[3].ends_with(')'), "{line}");
    assert!(line.contains(" openat(AT_FDCWD, \"/etc/hostname\", "), "{line}");
    assert!(line.contains(" = 3") && line.ends_with('>'), "{line}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn fields_lists_every_json_key() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = recorded(&dir);
    let fields = ktape::stdout(&["fields"]);
    let names: std::collections::BTreeSet<&str> =
        fields.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for row in ktape::replay_json(&file, &[]) {
        for key in row.as_object().unwrap().keys() {
            assert!(
                key.starts_with("evt.arg") || names.contains(key.as_str()),
                "{key} is not in `ktape fields`"
            );
        }
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn doctor_reports_no_problem_as_root() {
    let _guard = Guard::exclusive();
    let out = ktape::run(&["doctor"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stdout));
    assert!(!out.stdout.is_empty());
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn watch_prints_events_but_not_its_own() {
    let _guard = Guard::exclusive();
    let mut watch = Command::new(ktape::binary())
        .args(["watch", "evt.type=getppid and proc.name=ktape-workload"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let line = std::thread::spawn(move || lines.next().unwrap().unwrap());
    ktape_tests::wait::until("a line of watch", ktape_tests::wait::TIMEOUT, || {
        workload::run(workload!(), &["getppid", "5"]);
        line.is_finished().then_some(())
    });
    let line = line.join().unwrap();
    assert!(line.contains("ktape-workload(") && line.contains("getppid() = "), "{line}");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn capture_ends_by_duration_and_by_signal() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let start = std::time::Instant::now();
    let ended = Capture::start(&file("duration"), &["-d", "1s"]).wait();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!((1000..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    let capture = Capture::start(&file("term"), &[]);
    capture.signal(libc::SIGTERM);
    let ended = capture.wait();
    assert!(ended.status.success(), "{}", ended.stderr);
    let capture = Capture::start(&file("hangup"), &[]);
    capture.signal(libc::SIGHUP);
    let ended = capture.wait();
    assert!(ended.status.success(), "{}", ended.stderr);
    // Under nohup a closed terminal does not end it.
    let mut nohup = Command::new("nohup");
    nohup.arg(ktape::binary()).args(["capture", "-o"]).arg(file("nohup"));
    let capture = Capture::spawn(nohup, &file("nohup"));
    capture.signal(libc::SIGHUP);
    workload::run(workload!(), &["getppid", "7"]);
    capture.signal(libc::SIGTERM);
    assert!(capture.wait().status.success());
    assert_eq!(ktape::count(&file("nohup"), "evt.type=getppid and proc.name=ktape-workload"), 7);
    for name in ["duration", "term", "hangup", "nohup"] {
        let check = ktape::run(&["check", file(name).to_str().unwrap()]);
        assert_eq!(check.status.code(), Some(0));
    }
}
