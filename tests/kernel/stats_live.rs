//! `ktape stats` on captures that go on: what it counts is what programs did, and what it counts in the file.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};
use ktape_tests::workload::Workload;
use ktape_tests::{wait, workload};

const CALLS: &str = "evt.type=getppid and proc.name=ktape-workload";

fn calls(count: usize) {
    Workload::start(workload!(), &["getppid", &count.to_string()]).finish();
}

/// A running `ktape stats`. Dropping it kills it.
struct Stats(Child);

impl Stats {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(ktape::binary());
        command.arg("stats").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// The same, once it records.
    fn live(args: &[&str]) -> Self {
        let mut stats = Self::start(&[&["--live"], args].concat());
        let mut line = Vec::new();
        // Byte by byte: the rest is read at the end.
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            stats.0.stderr.as_mut().unwrap().read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        let line = String::from_utf8(line).unwrap();
        assert!(line.starts_with("ktape: counting "), "{line}");
        stats
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the child has not been reaped.
        assert_eq!(unsafe { libc::kill(self.0.id().cast_signed(), signal) }, 0);
    }

    /// Waits for its end; its exit code, standard output and standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        let status = wait::until("the end", Duration::from_secs(20), || self.0.try_wait().unwrap());
        let (mut out, mut err) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (status.code(), out, err)
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn live_counts_are_those_of_the_program() {
    let _guard = Guard::exclusive();
    let stats = Stats::live(&[
        "evt.type = read or evt.type = write",
        "--by",
        "proc.name,syscall.type",
        "--format",
        "csv",
    ]);
    let dd = ["if=/dev/zero", "of=/dev/null", "bs=64", "count=12345", "status=none"];
    assert!(Command::new("dd").args(dd).status().unwrap().success());
    stats.signal(libc::SIGINT);
    let (code, out, err) = stats.end();
    assert_eq!(code, Some(0), "{err}");
    // dd's own, and those of its start: one read of the head of libc.
    let count = |call: &str| {
        let start = format!("dd,{call},");
        let line = out.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{out}"));
        line.split(',').nth(2).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(count("write"), 12_345);
    assert!((12_345..12_350).contains(&count("read")), "{out}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn live_counts_of_a_command_end_with_it() {
    let _guard = Guard::exclusive();
    let script = "dd if=/dev/zero of=/dev/null bs=64 count=4321 status=none; echo to-stderr; exit 7";
    let stats = Stats::start(&[
        "--live",
        "evt.type = write and proc.name = dd",
        "-c",
        "N = count",
        "--format",
        "tsv",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let (code, out, err) = stats.end();
    // What the command prints is not part of the answer.
    assert_eq!((code, out.as_str()), (Some(7), "N\n4321\n"), "{err}");
    assert!(err.contains("to-stderr\n") && err.contains("ktape: command exited with code 7\n"), "{err}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn what_comes_through_a_pipe_is_answered_as_from_the_file() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let load = "dd if=/dev/zero of=/dev/null bs=64 count=5000 status=none; ls -lR /usr/share >/dev/null; cat /nonexistent";
    let pipe = format!(
        "{0} capture -o - -- sh -c '{load}' 2>/dev/null | tee {1} | {0} stats - --by proc.name,evt.type \
         -c 'count,sum(evt.buflen),p99(evt.latency),distinct(fd.name),rate,share' --format csv --top 0",
        ktape::binary().display(),
        file.display()
    );
    let piped = Command::new("sh").args(["-c", &pipe]).output().unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    let args = [
        "--by",
        "proc.name,evt.type",
        "-c",
        "count,sum(evt.buflen),p99(evt.latency),distinct(fd.name),rate,share",
    ];
    let from_file = ktape::run(
        &[&["stats", file.to_str().unwrap()], &args[..], &["--format", "csv", "--top", "0"]].concat(),
    );
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), String::from_utf8(from_file.stdout).unwrap());
    assert_eq!(String::from_utf8(piped.stderr).unwrap(), String::from_utf8(from_file.stderr).unwrap());
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn following_a_file_ends_with_its_answer() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let path = file.to_str().unwrap();
    for killed in [false, true] {
        let capture = Capture::start(&file, &["-e", "getppid", "--force"]);
        let stats =
            Stats::start(&["-f", path, CALLS, "--by", "proc.name", "-c", "count,rate", "--format", "csv"]);
        calls(700);
        wait::until("the calls to be written", wait::TIMEOUT, || {
            (ktape::count(&file, CALLS) == 700).then_some(())
        });
        if killed {
            capture.kill()
        } else {
            capture.stop()
        };
        let (code, out, err) = stats.end();
        let whole = ktape::stdout(&[
            "stats",
            path,
            CALLS,
            "--by",
            "proc.name",
            "-c",
            "count,rate",
            "--format",
            "csv",
        ]);
        assert_eq!((code, out), (Some(0), whole), "{err}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn ctrl_c_ends_following_with_the_answer_so_far() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "getppid"]);
    calls(300);
    wait::until("the calls to be written", wait::TIMEOUT, || {
        (ktape::count(&file, CALLS) == 300).then_some(())
    });
    let stats = Stats::start(&["-f", file.to_str().unwrap(), CALLS, "-c", "N = count", "--format", "tsv"]);
    // It handles the signal before it reads anything, and polls the file at its end.
    let polls = format!("/proc/{}/wchan", stats.0.id());
    wait::until("its end to be reached", wait::TIMEOUT, || {
        std::fs::read_to_string(&polls).is_ok_and(|wait| wait.contains("nanosleep")).then_some(())
    });
    stats.signal(libc::SIGINT);
    let (code, out, err) = stats.end();
    assert_eq!((code, out.as_str()), (Some(0), "N\n300\n"), "{err}");
    capture.stop();
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn steps_are_printed_when_they_are_complete() {
    let _guard = Guard::exclusive();
    let args = ["--live", CALLS, "--per", "1s", "-c", "N = count", "--format", "csv"];
    let mut stats = Stats::start(&args);
    let mut lines = BufReader::new(stats.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "evt.time,N");
    let (mut made, mut printed) = (0, 0);
    // The first rows come while it records.
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| lines.by_ref().take(3).map(|line| of_step(&line.unwrap())).sum::<u64>());
        while !reader.is_finished() {
            calls(100);
            made += 100;
        }
        printed += reader.join().unwrap();
    });
    assert!(printed > 0 && printed <= made, "{printed} of {made}");
    stats.signal(libc::SIGINT);
    printed += lines.map(|line| of_step(&line.unwrap())).sum::<u64>();
    let status = stats.0.wait().unwrap();
    assert!(status.success(), "{status}");
    // Those before it was attached are missing.
    assert!(printed <= made && printed + 400 >= made, "{printed} of {made}");
}

fn of_step(line: &str) -> u64 {
    line.rsplit(',').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn a_closed_pipe_ends_it_without_an_error() {
    let _guard = Guard::exclusive();
    let mut stats = Stats::start(&["--live", "--by", "proc.name", "--per", "1s", "--format", "csv"]);
    drop(stats.0.stdout.take());
    let status = wait::until("the end", Duration::from_secs(20), || stats.0.try_wait().unwrap());
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

/// On a terminal of script(1), as a user sees it.
#[test]
#[ignore = "needs root, script(1) and a kernel with BTF"]
fn a_terminal_gets_the_table_again_and_again_and_then_the_answer() {
    let _guard = Guard::exclusive();
    let line = format!(
        "stty cols 80 rows 24; {} stats --live -d 2s --interval 300ms -e getppid --by proc.name --last 1s",
        ktape::binary().display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null()).process_group(0);
    let out = script.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}");
    assert!(text.matches(" last ").count() >= 3, "{text:?}");
    // Each one is drawn over the one before, and the last one is removed.
    let (_, end) = text.rsplit_once("\x1b[J").unwrap();
    assert!(end.contains("PROC.NAME") && !end.contains(" last "), "{text:?}");
    assert!(text.split("\x1b[J").skip(1).all(|drawn| drawn.starts_with("\x1b[") || drawn == end), "{text:?}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn kinds_that_follow_from_the_filter_are_enough() {
    let _guard = Guard::exclusive();
    // One exec of `true`, whatever else is recorded.
    for expression in
        ["evt.category = exec and proc.name = true", "exec.path contains true and proc.name = true"]
    {
        let stats = Stats::live(&["--format", "tsv", "-c", "N = count", expression]);
        assert!(Command::new("true").status().unwrap().success());
        stats.signal(libc::SIGINT);
        let (_, out, err) = stats.end();
        assert_eq!(out, "N\n1\n", "{expression}: {err}");
    }
}
