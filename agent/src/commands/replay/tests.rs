use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::Parser;

use super::*;
use crate::commands::inputs;
use crate::usage::Usage;
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
    inputs::split("replay", &words).map(|(paths, filter)| (paths, filter.is_some()))
}

#[test]
fn the_last_argument_may_be_an_expression() {
    let (dir, path) = directory();
    assert_eq!(split(&[&path, "proc.name=dd"]).unwrap(), (vec![PathBuf::from(&path)], true));
    assert_eq!(split(&[&path]).unwrap(), (vec![PathBuf::from(&path)], false));
    assert_eq!(split(&["-", "evt.type=read"]).unwrap(), (vec![PathBuf::from("-")], true));
    let error = |words: &[&str]| split(words).unwrap_err().to_string();
    let both = error(&[&path, "proc.nam=dd"]);
    assert!(
        both.starts_with("`proc.nam=dd` is neither a file nor a valid expression: unknown field"),
        "{both}"
    );
    assert!(error(&["proc.name=dd"]).contains("use: ktape replay FILE 'proc.name=dd'"));
    // A file of that name wins.
    let odd = dir.path().join("proc.name=dd");
    fs::copy(&path, &odd).unwrap();
    let odd = odd.to_str().unwrap();
    assert!(!split(&[&path, odd]).unwrap().1);
}

#[test]
fn missing_files_are_reported_before_any_expression() {
    let (_dir, path) = directory();
    let error = |words: &[&str]| split(words).unwrap_err().to_string();
    for missing in ["nosuch.ktape", "none/at/all", "/none/at all", "./x y", "nosuch"] {
        assert_eq!(error(&[missing]), format!("cannot open {missing}: no such file"));
    }
    assert_eq!(error(&[&path, "nosuch.ktape"]), "cannot open nosuch.ktape: no such file");
    assert_eq!(error(&["nosuch.ktape", &path]), "cannot open nosuch.ktape: no such file");
    assert_eq!(
        error(&["proc.name = dd", &path]),
        format!("the expression must be the last argument; use: ktape replay {path} 'proc.name = dd'")
    );
    assert_eq!(
        error(&[&path, "proc.name=dd", "and", "evt.failed=true"]),
        format!(
            "the expression must be one argument, the last one; use: ktape replay {path} 'proc.name=dd and evt.failed=true'"
        )
    );
    let invalid = error(&["proc.nam = dd", &path]);
    assert!(invalid.starts_with("the expression must be the last argument"), "{invalid}");
    assert!(invalid.contains("it is not valid: unknown field `proc.nam`"), "{invalid}");
    // A last argument that is neither a file nor an expression is wrong usage, as if it were the only one.
    for (words, is_usage) in [
        (["nosuch.ktape", "nosuch2.ktape"], true),
        (["nosuch.ktape", "proc.name=dd"], false),
        (["nosuch.ktape", &path], false),
    ] {
        assert_eq!(split(&words).unwrap_err().is::<Usage>(), is_usage, "{words:?}");
    }
    assert!(split(&[&path, "fd.name=/etc/hosts"]).unwrap().1, "an expression may have a slash");
}

#[test]
fn exit_codes_of_replay() {
    let (dir, path) = directory();
    let out = dir.path().join("out.ktape");
    let out = out.to_str().unwrap();
    let code = |words: &[&str]| match run(&args(words)) {
        Ok(code) => format!("{code:?}"),
        Err(error) if error.is::<Usage>() => format!("{:?}", ExitCode::from(2)),
        Err(error) => panic!("{error}"),
    };
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
