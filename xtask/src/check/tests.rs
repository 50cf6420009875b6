//! Small crates with violations.

use std::fs;

use super::*;

const RULES: &str = r#"
[crate.app]
path = "app"
depends = ["base"]
[crate.app.modules]
record = ["clock", "kernel"]
session = ["record"]
kernel = []
clock = []
"#;

/// Problems of a crate `app` with these files.
fn checked(files: &[(&str, &str)]) -> Vec<String> {
    let rules = Rules::parse(RULES).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("main.rs", ""), ("session.rs", ""), ("kernel.rs", ""), ("clock.rs", "")] {
        let file = dir.path().join("app/src").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    for (name, text) in files {
        let file = dir.path().join("app/src").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let sources = sources(dir.path(), &dir.path().join("app/src")).unwrap();
    let imports = imports_of(&sources).unwrap();
    let mut problems = check_imports("app", &rules.crates["app"], &sources, &imports);
    problems.extend(cycles::find(&imports));
    problems
}

const PLANTED: &str = "must not import session (allowed: clock, kernel)";

#[test]
fn an_import_that_is_not_allowed_is_reported_with_its_place() {
    let problems = checked(&[("record/mod.rs", "use crate::clock::now;\nuse crate::session::Options;\n")]);
    assert_eq!(problems, [format!("app/src/record/mod.rs:2: record {PLANTED}")]);
}

#[test]
fn paths_groups_macros_and_super_are_imports_too() {
    for (name, text) in [
        ("record/mod.rs", "fn f() { crate::session::run() }"),
        ("record/mod.rs", "use crate::{clock, session::{Options, run}};"),
        ("record/mod.rs", "fn f() { assert!(x, \"{}\", crate::session::run()); }"),
        ("record/mod.rs", "use super::session::Options;"),
        ("record/mod.rs", "mod inner { use super::super::session::Options; }"),
        ("record/mod.rs", "pub use crate::session as other;"),
        ("record/mod.rs", "fn f(x: &dyn crate::session::Run) {}"),
    ] {
        assert_eq!(checked(&[(name, text)]), [format!("app/src/{name}:1: record {PLANTED}")], "{text}");
    }
    let deep = "use super::super::session::Options;";
    let problems = checked(&[("record/mod.rs", ""), ("record/drain.rs", deep)]);
    assert_eq!(problems, [format!("app/src/record/drain.rs:1: record {PLANTED}")]);
}

#[test]
fn comments_strings_and_unit_tests_are_no_imports() {
    let text = "// crate::session\nconst A: &str = \"crate::session::x\";\n\
                #[cfg(test)]\nmod tests { use crate::session::Options; }\n";
    let problems = checked(&[("record/mod.rs", text), ("record/tests.rs", "use crate::session::Options;")]);
    assert_eq!(problems, [""; 0]);
}

#[test]
fn modules_that_are_not_listed_and_listed_ones_that_are_gone_are_reported() {
    let problems = checked(&[("extra.rs", "use crate::clock::now;")]);
    assert_eq!(
        problems,
        [
            "xtask/arrows.toml: module extra of app is not listed",
            "xtask/arrows.toml: app has no module record"
        ]
    );
}

#[test]
fn circles_are_found_in_every_folder() {
    let problems = checked(&[
        ("record/mod.rs", "use self::drain::x;"),
        ("record/drain.rs", "use super::merge::A; use super::Parent;"),
        ("record/merge.rs", "\nuse crate::record::drain::B;"),
    ]);
    assert_eq!(
        problems,
        ["import cycle: record::drain imports record::merge (app/src/record/drain.rs:1), \
          record::merge imports record::drain (app/src/record/merge.rs:2)"]
    );
    let problems = checked(&[("record.rs", "use crate::kernel::A;"), ("kernel.rs", "use crate::record::B;")]);
    assert_eq!(
        problems,
        [
            "app/src/kernel.rs:1: kernel must not import record (allowed: nothing)",
            "import cycle: kernel imports record (app/src/kernel.rs:1), record imports kernel (app/src/record.rs:1)"
        ]
    );
}

#[test]
fn crates_depend_only_on_what_is_listed() {
    let rules = Rules::parse(RULES).unwrap();
    let dependencies = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let all = BTreeMap::from([
        ("app".to_owned(), dependencies(&["base", "other"])),
        ("base".to_owned(), dependencies(&[])),
    ]);
    assert_eq!(
        check_dependencies(&rules, &all),
        [
            "app/Cargo.toml: app must not depend on other (allowed: base)",
            "xtask/arrows.toml: crate base is not listed"
        ]
    );
}

#[test]
fn long_files_need_an_exception_and_exceptions_a_long_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("app/src")).unwrap();
    fs::write(dir.path().join("app/src/long.rs"), "\n".repeat(501)).unwrap();
    fs::write(dir.path().join("app/src/main.rs"), "\n".repeat(500)).unwrap();
    let found = |exception: &str| {
        let rules = Rules::parse(&format!("{RULES}\n[long]\n{exception}")).unwrap();
        check_lengths(dir.path(), &rules).unwrap()
    };
    assert_eq!(found(""), ["app/src/long.rs: 501 lines, more than the maximum of 500: split it by subject"]);
    assert_eq!(found("\"app/src/long.rs\" = \"a table\""), [""; 0]);
    assert_eq!(
        found("\"app/src/long.rs\" = \"a table\"\n\"app/src/main.rs\" = \"no\""),
        ["xtask/arrows.toml: app/src/main.rs is no longer too long: remove the exception"]
    );
}

#[test]
fn build_output_in_the_repository_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("small"), "x").unwrap();
    fs::File::create(dir.path().join("large")).unwrap().set_len(MAX_BYTES + 1).unwrap();
    let tracked = ["small", "large", "deleted"].map(str::to_owned);
    assert_eq!(
        too_large(dir.path(), &tracked),
        ["large: 1310721 bytes, more than the maximum of 1310720: remove build output from git"]
    );
}
