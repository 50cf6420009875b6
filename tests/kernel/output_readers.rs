//! Processes that read the output are not recorded, whenever they start: they would add to what they read.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, int};
use ktape_tests::wait;

/// The processes of a session.
fn session(leader: u32) -> BTreeSet<i64> {
    let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let is_member = |stat: &str| {
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(3)?.parse().ok()) == Some(leader)
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|pid| stat(pid).is_some_and(|stat| is_member(&stat)))
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Runs a pipeline in a session of its own; `WATCH` is `ktape watch` of all system calls, `OUT` a file.
fn start(pipeline: &str, out: &Path) -> Child {
    let watch = format!("{} watch -e syscall,exec,fork --format json", ktape::binary().display());
    let script = pipeline.replace("WATCH", &watch).replace("OUT", out.to_str().unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
    // SAFETY: setsid may be called between fork and exec.
    unsafe {
        shell.pre_exec(|| {
            libc::setsid();
            Ok(())
        })
    };
    shell.spawn().unwrap()
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |meta| meta.len())
}

/// How many of the events in the output of a pipeline are of the pipeline itself, from when it has settled.
fn about_itself(pipeline: &str) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut shell = start(pipeline, &out);
    // Something has to happen on this machine in order to be printed.
    let made = || {
        Command::new("true").status().unwrap();
        size(&out)
    };
    wait::until("the first output", wait::TIMEOUT, || (made() > 0).then_some(()));
    let begin = size(&out);
    wait::until("more output", wait::TIMEOUT, || (made() > begin + 100_000).then_some(()));
    let members = session(shell.id());
    let group = i32::try_from(shell.id()).unwrap();
    // SAFETY: the shell has not been waited for, so that the group is still its own.
    unsafe { libc::kill(-group, libc::SIGTERM) };
    shell.wait().unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(&out).unwrap()).into_owned();
    let events: Vec<serde_json::Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let own = events.iter().filter(|event| int(event, "proc.pid").is_some_and(|pid| members.contains(&pid)));
    (own.count(), events.len())
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn readers_of_the_output_are_not_recorded_however_late_they_start() {
    let _guard = Guard::exclusive();
    for pipeline in [
        "WATCH | cat > OUT",
        "WATCH | (sleep 0.3; cat) > OUT",
        "WATCH | cat | cat | grep --line-buffered . > OUT",
        "WATCH | tee OUT > /dev/null",
        "WATCH | sh -c 'while read -r l; do printf \"%s\\n\" \"$l\"; done' > OUT",
        // Each line starts a process.
        "WATCH | while read -r l; do echo \"$l\" | cat; done > OUT",
    ] {
        let (own, all) = about_itself(pipeline);
        // What a late one does before it reads for the first time is not its reading.
        assert!(own < 600 && own * 4 < all, "{pipeline}: {own} of {all} events");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn children_of_a_program_that_reads_the_output_are_recorded() {
    let _guard = Guard::exclusive();
    let mut watch = Command::new(ktape::binary())
        .args(["watch", "-e", "exec,read", "--format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = watch.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    });
    let deadline = std::time::Instant::now() + Duration::from_secs(6);
    // In order of time: their ids may wrap around.
    let mut children = Vec::new();
    while std::time::Instant::now() < deadline {
        let mut child = Command::new("true").spawn().unwrap();
        children.push(i64::from(child.id()));
        child.wait().unwrap();
    }
    let pid = i32::try_from(watch.id()).unwrap();
    // SAFETY: it has not been waited for, so that the id is still its own.
    unsafe { libc::kill(pid, libc::SIGINT) };
    watch.wait().unwrap();
    let text = reader.join().unwrap();
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let executed: BTreeSet<i64> = events
        .iter()
        .filter(|event| ktape::text(event, "evt.type") == Some("exec"))
        .filter_map(|event| int(event, "proc.pid"))
        .collect();
    let seen: Vec<&i64> = children.iter().filter(|pid| executed.contains(pid)).collect();
    let first = children.iter().position(|pid| Some(&pid) == seen.first()).expect("some are recorded");
    assert_eq!(seen.len(), children.len() - first, "from the start of the recording on, all of them are");
    // This process reads the output itself.
    let own = i64::from(std::process::id());
    let reads = events.iter().filter(|event| {
        int(event, "proc.pid") == Some(own) && ktape::text(event, "evt.type") == Some("read")
    });
    // It is excluded once it has had the pipe for a second: before, it could have got it only to pass it on.
    let start = |event: &serde_json::Value| int(event, "evt.rawtime").unwrap();
    let begin = events.iter().map(start).min().unwrap();
    let latest = reads.map(start).max().map(|ns| (ns - begin) as f64 / 1e9);
    assert!(latest.is_none_or(|seconds| seconds < 4.0), "read {latest:?} s after the begin");
}
