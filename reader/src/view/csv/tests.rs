use super::super::tests::written;
use super::*;
use crate::model::ContainerNames;
use crate::model::testing::{TestChunk, header, incomplete, sample};

fn lines(chunk: TestChunk, names: &str) -> Vec<String> {
    written(chunk, &ContainerNames::default(), Box::new(CsvView::with_columns(names).unwrap()))
}

#[test]
fn cells_are_quoted_as_rfc_4180_has_it() {
    let found = lines(sample(&header(1)), "host.label[a,b],cgroup.path,proc.args,evt.failed,evt.args");
    assert_eq!(found[0], r#""host.label[a,b]",cgroup.path,proc.args,evt.failed,evt.args"#);
    assert_eq!(found[1], r#",/docker/a,"-v ""x y""",0,"AT_FDCWD, ""/etc/hosts"", O_RDONLY|O_CLOEXEC""#);
    let found = lines(incomplete(&header(1)), "cgroup.path,exec.args");
    assert_eq!(found[6], r#""/a,b","true a """" b """"""#);
}

#[test]
fn incomplete_text_is_marked() {
    let found = lines(incomplete(&header(1)), "fd.name,exec.path,exec.args,evt.cut,proc.cmdline");
    assert_eq!(
        found[1..6],
        [
            r#""/long, ""x""...",,,1,java -cp /lib/a.ja..."#,
            "?,,,0,java -cp /lib/a.ja...",
            ",,,0,java -cp /lib/a.ja...",
            r#",/usr/bin/jav...,"java ""a b"" """" -X...",1,java -cp /lib/a.ja..."#,
            ",?,?,0,java -cp /lib/a.ja...",
        ]
    );
}
