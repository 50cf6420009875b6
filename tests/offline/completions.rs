//! Completion of names that only ktape knows.

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
