use super::super::tests::written;
use super::*;
use crate::model::ContainerNames;
use crate::model::testing::{TestChunk, header, incomplete, sample};

fn lines(chunk: TestChunk, template: &str) -> Vec<String> {
    let view = TemplateView::new(template, TimeZone::get("Europe/Berlin").unwrap());
    written(chunk, &ContainerNames::default(), Box::new(view.unwrap()))
}

fn first(template: &str) -> String {
    lines(sample(&header(1)), template).remove(0)
}

#[test]
fn the_templates_of_sysdig_work() {
    assert_eq!(
        first("*%evt.num %evt.outputtime %evt.cpu %proc.name (%thread.tid) %evt.dir %evt.type %evt.info"),
        r#"1 13:00:00.999987600 1 nginx (4242) < openat AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC"#
    );
    assert_eq!(
        first("%evt.latency %evt.failed %evt.arg[2] %evt.arg.filename"),
        "12400 false O_RDONLY|O_CLOEXEC /etc/hosts"
    );
    assert_eq!(
        first("The file is %fd.name."),
        "The file is /etc/hosts.",
        "the full stop is no part of a name"
    );
    assert_eq!(first("%proc.name:%proc.pid,%user.name"), "nginx:4242,alice");
    assert_eq!(first(r"100%% %evt.type\t%proc.pid\\"), "100% openat\t4242\\");
}

#[test]
fn widths_pad_and_cut() {
    assert_eq!(first("[%10proc.name][%-10proc.name][%3proc.name]"), "[nginx     ][nginx     ][ngi]");
    assert_eq!(first("[%6exec.path]"), "[<NA>  ]");
}

#[test]
fn every_event_is_printed_with_a_star_or_without() {
    for template in ["%evt.type %fd.name", "*%evt.type %fd.name"] {
        let found = lines(sample(&header(1)), template);
        assert_eq!(found.len(), 11, "{template}");
        assert_eq!(found[..2], ["openat /etc/hosts", "cgroup_mkdir <NA>"], "{template}");
    }
    assert_eq!(first("%evt.type *%exec.path"), "openat *<NA>", "a star elsewhere is a star");
}

#[test]
fn incomplete_text_is_marked() {
    let found = lines(incomplete(&header(1)), "%evt.type %12fd.name|%exec.path|%exec.args|%6proc.cmdline");
    assert_eq!(found[0], r#"openat /long, "x...|<NA>|<NA>|jav..."#);
    assert_eq!(found[1], "openat ?           |<NA>|<NA>|jav...");
    assert_eq!(found[3], r#"exec <NA>        |/usr/bin/jav...|java "a b" "" -X...|jav..."#);
    assert_eq!(found[4], "exec <NA>        |?|?|jav...");
}

#[test]
fn wrong_templates_are_refused_with_what_is_wrong() {
    let error = |template: &str| TemplateView::new(template, TimeZone::UTC).unwrap_err().to_string();
    let unknown = error("%proc.nme");
    assert!(unknown.starts_with("unknown field `proc.nme` (did you mean proc.name"), "{unknown}");
    assert_eq!(
        error("%"),
        "no field follows `%` in `%`; write %evt.time, %20proc.name, or %% for a percent sign"
    );
    assert!(error("a %(proc.name)").starts_with("no field follows `%` in `%(proc.name)`"));
    assert_eq!(error("%9999proc.name"), "the width in `%9999` is above 1000 characters");
    assert!(error(r"\q %proc.name").starts_with(r"unknown escape in `\q `"));
    assert!(error("c").starts_with("`c` names no field; write a template such as"));
    assert!(error("%evt.arg").contains("needs an argument's name or position"));
    assert!(error("%proc.name[x]").contains("takes no argument"));
}
