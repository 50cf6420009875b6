//! A capture that is read while it is written.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};
use ktape_tests::workload::Workload;
use ktape_tests::{wait, workload};

/// `ktape replay -f`, with the lines that it prints.
struct Following {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Following {
    fn start(what: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(ktape::binary())
            .arg("replay")
            .arg(what)
            .arg("-f")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits until this many lines were printed.
    fn until(&mut self, count: usize) {
        wait::until(&format!("{count} lines"), wait::TIMEOUT, || {
            self.seen.extend(self.lines.try_iter());
            (self.seen.len() >= count).then_some(())
        });
    }

    /// Waits for its own end; every line, and its exit code.
    fn end(mut self) -> (Vec<String>, Option<i32>) {
        let status =
            wait::until("the reader to end", Duration::from_secs(10), || self.child.try_wait().unwrap());
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            self.seen.push(line);
        }
        (self.seen, status.code())
    }
}

fn calls(count: usize) {
    Workload::start(workload!(), &["getppid", &count.to_string()]).finish();
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn follow_prints_each_event_once_as_it_is_written() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    for killed in [false, true] {
        let capture = Capture::start(&file, &["-e", "getppid", "--force"]);
        let mut reader = Following::start(&file, &["evt.type=getppid and proc.name=ktape-workload"]);
        calls(300);
        reader.until(300);
        calls(500);
        reader.until(800);
        if killed {
            capture.kill()
        } else {
            capture.stop()
        };
        let (lines, code) = reader.end();
        assert_eq!((lines.len(), code), (800, Some(0)), "killed: {killed}");
        let whole = ktape::stdout(&[
            "replay",
            file.to_str().unwrap(),
            "evt.type=getppid and proc.name=ktape-workload",
        ]);
        assert!(lines == whole.lines().collect::<Vec<_>>(), "not what is in the file");
    }
    // A file without a writer is read to its end.
    let (lines, code) = Following::start(&file, &["-e", "getppid"]).end();
    assert_eq!((lines.len(), code), (800, Some(0)));
    for refused in ["--count", "-wx", "--speed=1x"] {
        let out = ktape::run(&["replay", file.to_str().unwrap(), "-f", refused]);
        assert_eq!(out.status.code(), Some(2), "{refused}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn follow_continues_with_the_next_rotated_file() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let series = format!("{}/", dir.path().display());
    let capture = Capture::start(Path::new(&series), &["-e", "getppid,sample", "--rotate", "1s"]);
    let mut reader = Following::start(dir.path(), &["evt.type=getppid and proc.name=ktape-workload"]);
    for round in 1..=6 {
        calls(200);
        reader.until(200 * round);
    }
    capture.stop();
    let (lines, code) = reader.end();
    assert_eq!((lines.len(), code), (1200, Some(0)));
    let files = std::fs::read_dir(dir.path()).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "ktape")
    });
    assert!(files.count() >= 3, "nothing was rotated");
}
