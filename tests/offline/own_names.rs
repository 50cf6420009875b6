//! Names that a user has: views in completions, short names of fields in views.

use crate::sandbox::Sandbox;

/// What bash offers for the words of a command line, of which the last one is begun.
fn offered(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let script = format!(
        "bash -c 'ktape completions bash > completions; . ./completions; COMP_WORDS=({}); COMP_CWORD={}; \
         _ktape_with_views ktape \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf \"%s\\n\" \"${{COMPREPLY[@]}}\"; complete -p ktape >&2'",
        words.join(" "),
        words.len() - 1
    );
    let out = sandbox.shell(&script);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stderr).contains("-F _ktape_with_views ktape"));
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn names_of_views_are_completed() {
    let sandbox = Sandbox::new();
    assert_eq!(offered(&sandbox, &["ktape", "views", "run"]), ["runqueue"]);
    assert_eq!(offered(&sandbox, &["ktape", "stats", "all.ktape", "siz"]), ["sizing"]);
    assert_eq!(offered(&sandbox, &["ktape", "stats", "all.ktape", "set"]), ["set"], "files, too");
    assert_eq!(offered(&sandbox, &["ktape", "stats", "all.ktape", "--his"]), ["--histogram"]);
    assert!(offered(&sandbox, &["ktape", "re"]).contains(&"replay".to_owned()));
    assert!(!offered(&sandbox, &["ktape", "replay", "run"]).contains(&"runqueue".to_owned()));
}

#[test]
fn short_names_hold_in_views() {
    let sandbox = Sandbox::new();
    let script = r#"mkdir -p config/ktape/views; export XDG_CONFIG_HOME=$PWD/config
        printf 'program = "proc.name"\n' > config/ktape/names.toml
        printf 'title = "T"\nquestion = "Q?"\nby = ["program"]\nsort = ["program"]\n' > config/ktape/views/ours.toml
        ktape views --check config/ktape/views/ours.toml && ktape stats calls.ktape ours --format csv -n 1
        ktape stats calls.ktape --view config/ktape/views/ours.toml --columns count --format csv -n 1
        rm config/ktape/names.toml; ktape views --check config/ktape/views/ours.toml"#;
    let out = sandbox.shell(script);
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], "config/ktape/views/ours.toml: the view ours is valid", "{stdout}{stderr}");
    assert!(lines[1].starts_with("program,count") && lines[2].starts_with("cat,45,"), "{stdout}{stderr}");
    assert_eq!(lines[3..], ["program,count", "cat,45"], "{stderr}");
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr.contains("ours.toml: by: unknown field `program`"), "{stderr}");
}
