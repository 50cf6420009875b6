use std::os::unix::fs::PermissionsExt;

use clap::Parser;

use super::*;
use ktape_reader::model::testing::{file, header, sample};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ReplayArgs,
}

fn args(words: &[&str]) -> ReplayArgs {
    let words = std::iter::once("replay").chain(words.iter().copied());
    Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{e}")).args
}

fn directory() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ktape");
    fs::write(&path, file(&header(1), vec![sample(&header(1))], &[])).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

fn split(words: &[&str]) -> Result<(Vec<PathBuf>, bool)> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    split_inputs(&words).map(|(paths, filter)| (paths, filter.is_some()))
}

#[test]
fn the_last_argument_may_be_an_expression() {
    let (dir, path) = directory();
    assert_eq!(split(&[&path, "proc.name=dd"]).unwrap(), (vec![PathBuf::from(&path)], true));
    assert_eq!(split(&[&path]).unwrap(), (vec![PathBuf::from(&path)], false));
    assert_eq!(split(&["-", "evt.type=read"]).unwrap(), (vec![PathBuf::from("-")], true));
    let both = split(&[&path, "proc.nam=dd"]).unwrap_err().to_string();
    assert!(both.contains("as a file: No such file"), "{both}");
    assert!(both.contains("as an expression: unknown field `proc.nam`"), "{both}");
    let alone = split(&["proc.name=dd"]).unwrap_err().to_string();
    assert!(alone.contains("which capture?"), "{alone}");
    // A file of that name wins.
    let odd = dir.path().join("proc.name=dd");
    fs::copy(&path, &odd).unwrap();
    let odd = odd.to_str().unwrap();
    assert!(!split(&[&path, odd]).unwrap().1);
}

#[test]
fn exit_codes_say_what_happened() {
    let (dir, path) = directory();
    let out = dir.path().join("out.ktape");
    let out = out.to_str().unwrap();
    let code = |words: &[&str]| format!("{:?}", run(&args(words)).unwrap());
    let expected = |n: u8| format!("{:?}", ExitCode::from(n));
    assert_eq!(code(&[&path, "-w", out, "evt.category=exit"]), expected(0));
    assert_eq!(fs::metadata(out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(&[&path, "-w", out]), expected(2), "it exists");
    assert_eq!(code(&[&path, "-w", &path, "--force"]), expected(2), "it is being read");
    assert_eq!(code(&[&path, "-w", out, "--force", "--strict"]), expected(3), "events were lost");
    assert_eq!(code(&[&path, "-w", out, "--force", "--strict", "-e", "exec"]), expected(0));
    assert_eq!(code(&[&path, "-w", out, "--force", "--container", "zz"]), expected(0), "unknown: a warning");
    assert_eq!(code(&[&path, "-w", out, "--force", "--filter", "x=1"]), expected(2));
    assert_eq!(code(&[&path, "-w", out, "--force", "-e", "nonsense"]), expected(2));
    assert_eq!(code(&[&path, "-w", out, "--force", "--from", "noon"]), expected(2));
    assert!(run(&args(&["/nonexistent/x.ktape", &path])).is_err());
}

#[test]
fn a_copy_of_a_directory_is_complete() {
    let (dir, path) = directory();
    fs::copy(&path, dir.path().join("b.ktape")).unwrap();
    fs::write(dir.path().join("notes.txt"), b"not a capture").unwrap();
    let out = tempfile::tempdir().unwrap();
    let copy = out.path().join("all.ktape");
    let words = [dir.path().to_str().unwrap(), "-w", copy.to_str().unwrap()];
    run(&args(&words)).unwrap();
    let read = capture_format::verify(&copy).unwrap();
    assert_eq!((read.segments, read.events, read.damage.len()), (2, 22, 0));
}
