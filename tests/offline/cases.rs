//! What commands print and how they exit: each file of `cases` holds command lines with all that came of them.
//!
//! A command is a line `$ ...` of a shell that runs in a [`Sandbox`]. Below it: its stdout (`| ...`), its stderr
//! (`! ...`) and, unless it is 0, its exit code (`= ...`). `KTAPE_GOLDEN=write cargo test -p ktape --test offline` writes
//! everything below the commands anew.

use std::fmt::Write as _;
use std::fs;

use crate::sandbox::Sandbox;
use crate::tool;

/// Run all commands of a file, and compare or write what came of them.
fn check_topic(topic: &str) {
    let file = tool::repository().join(format!("tests/offline/cases/{topic}.txt"));
    let expected = fs::read_to_string(&file).expect("a file of commands");
    let sandbox = Sandbox::new();
    let found = run_all(&expected, &sandbox);
    if tool::regenerates() {
        fs::write(&file, found).expect("the file can be written");
        return;
    }
    let mut commands = expected.split("\n$ ").zip(found.split("\n$ "));
    let differs = commands.find(|(expected, found)| expected.trim_end() != found.trim_end());
    if let Some((expected, found)) = differs {
        panic!(
            "{} differs\n--- expected\n$ {expected}\n--- found\n$ {found}\n--- if it is right so: \
             KTAPE_GOLDEN=write cargo test -p ktape --test offline",
            file.display()
        );
    }
    assert!(expected.split("\n$ ").count() == found.split("\n$ ").count());
}

/// The file with what its commands print now.
fn run_all(text: &str, sandbox: &Sandbox) -> String {
    let mut found = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push_str(&run(command, sandbox));
        } else if line.starts_with('#') {
            let _ = writeln!(found, "{line}\n");
        }
    }
    found.truncate(found.trim_end().len());
    found.push('\n');
    found
}

fn run(command: &str, sandbox: &Sandbox) -> String {
    let out = sandbox.shell(command);
    let mut text = format!("$ {command}\n");
    for (sign, bytes) in [('|', &out.stdout), ('!', &out.stderr)] {
        for line in sandbox.without_path(bytes).lines() {
            text.push_str(format!("{sign} {line}").trim_end());
            text.push('\n');
        }
    }
    match out.status.code() {
        Some(0) => {}
        Some(code) => {
            let _ = writeln!(text, "= {code}");
        }
        None => {
            let _ = writeln!(text, "= {}", out.status);
        }
    }
    text.push('\n');
    text
}

macro_rules! topics {
    ($($topic:ident),* $(,)?) => {
        $(
            #[test]
            fn $topic() {
                check_topic(stringify!($topic));
            }
        )*

        #[test]
        fn every_file_of_cases_is_checked() {
            let dir = tool::repository().join("tests/offline/cases");
            let mut found: Vec<_> = fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            found.sort();
            assert_eq!(found, [$(stringify!($topic)),*]);
        }
    };
}

topics![
    check,
    containers,
    damage,
    doctor,
    expressions,
    fields,
    help,
    info,
    not_captures,
    recording,
    replay,
    stats,
    tree,
    usage,
    views,
];
