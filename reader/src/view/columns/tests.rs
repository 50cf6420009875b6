use super::super::tests::written;
use super::*;
use crate::model::ContainerNames;
use crate::model::testing::{TestChunk, header, incomplete, sample};

fn lines(chunk: TestChunk, names: &str) -> Vec<String> {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    written(chunk, &ContainerNames::default(), Box::new(ColumnsView::new(names, zone).unwrap()))
}

#[test]
fn columns_are_aligned_and_end_at_a_space() {
    let found = lines(sample(&header(1)), "evt.time,proc.pid,thread.name,evt.latency,evt.failed,fd.name");
    assert_eq!(
        found[..4],
        [
            "13:00:00.999987600   4242 nginx             12.4us false /etc/hosts",
            "13:00:01.000000500    100 dd                     - -     -",
            r#"13:00:00.999988600   4242 pool\x201         12.4us true  /etc/"x"\n"#,
            "13:00:00.999989600   5000 web               12.4us false -",
        ]
    );
}

#[test]
fn spaces_stay_in_the_last_column_alone() {
    let exec = |names: &str| lines(sample(&header(1)), names)[5].clone();
    assert_eq!(exec("exec.args,proc.pid"), r#"ls\x20-l\x20"a\x20b"   5000"#);
    assert_eq!(exec("proc.pid,exec.args"), r#"  5000 ls -l "a b""#);
    assert_eq!(exec("proc.pid,proc.cmdline"), "  5000 web -v x y");
}

#[test]
fn incomplete_text_is_marked() {
    let found = lines(incomplete(&header(1)), "evt.type,fd.name,exec.path,exec.args");
    let words: Vec<Vec<&str>> = found.iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["openat", r#"/long,\x20"x"..."#, "-", "-"]);
    assert_eq!(words[1], ["openat", "?", "-", "-"]);
    assert_eq!(words[2], ["openat", "-", "-", "-"]);
    assert_eq!(words[4], ["exec", "-", "?", "?"]);
    assert!(found[3].ends_with(r#" /usr/bin/jav... java "a b" "" -X..."#), "{}", found[3]);
    assert!(found[5].ends_with(r#" /bin/true       true a "" b """#), "{}", found[5]);
    let java = lines(incomplete(&header(1)), "proc.args,proc.exe,proc.cmdline").remove(0);
    assert_eq!(java, r"-cp\x20/lib/a.ja... java            java -cp /lib/a.ja...");
}

#[test]
fn every_event_has_its_words_and_unknown_names_are_refused() {
    let found = lines(sample(&header(1)), "evt.type,evt.info");
    assert_eq!(found[0], r#"openat          AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC"#);
    assert_eq!(found[8], "exit            process status=1");
    let first = lines(sample(&header(1)), "evt.args,evt.type").remove(0);
    assert_eq!(first, r#"AT_FDCWD,\x20"/etc/hosts",\x20O_RDONLY|O_CLOEXEC openat"#);
    // Without arguments there is nothing to print; a column is never empty.
    let mut chunk = TestChunk::new(&header(1));
    let host = chunk.cgroup(1, "/", &[]);
    let init = chunk.task_with_args((1, 1), "init", "init\0", host);
    chunk.exit(1, init, 0, 0);
    assert_eq!(lines(chunk, "proc.args,proc.exe"), ["-               init"]);
    let error = ColumnsView::new("proc.nam", TimeZone::UTC).unwrap_err().to_string();
    assert!(error.starts_with("unknown field `proc.nam` (did you mean proc.name"), "{error}");
    assert!(ColumnsView::new(" , ", TimeZone::UTC).is_err());
}
