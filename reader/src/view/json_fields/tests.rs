use serde_json::json;

use super::super::tests::written;
use super::*;
use crate::model::ContainerNames;
use crate::model::testing::{TestChunk, header, incomplete, sample};

fn objects(chunk: TestChunk, names: &str) -> Vec<serde_json::Value> {
    let lines = written(chunk, &ContainerNames::default(), Box::new(JsonFieldsView::new(names).unwrap()));
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_line_has_the_keys_that_were_chosen() {
    let found =
        objects(sample(&header(1)), "evt.time, evt.failed,fd.name,proc.args,evt.args,host.label[a,b]");
    assert_eq!(
        found[0],
        json!({
            "evt.time": "2026-11-22T12:00:00.999987600Z",
            "evt.failed": false,
            "fd.name": "/etc/hosts",
            "proc.args": ["-v", "x y"],
            "evt.args": "AT_FDCWD, \"/etc/hosts\", O_RDONLY|O_CLOEXEC",
            "host.label[a,b]": null,
        })
    );
    assert_eq!(found[8]["evt.args"], "process status=1");
    assert_eq!(found[8]["fd.name"], serde_json::Value::Null);
    let line = written(
        sample(&header(1)),
        &ContainerNames::default(),
        Box::new(JsonFieldsView::new("proc.pid,evt.num").unwrap()),
    );
    assert_eq!(line[0], r#"{"proc.pid":4242,"evt.num":1}"#, "in this order");
}

#[test]
fn incomplete_text_is_marked() {
    let found = objects(incomplete(&header(1)), "fd.name,exec.args");
    assert_eq!(
        found[0],
        json!({"fd.name": "/long, \"x\"", "exec.args": null, "evt.incomplete": ["fd.name"]})
    );
    assert_eq!(found[1], json!({"fd.name": null, "exec.args": null, "evt.incomplete": ["fd.name"]}));
    assert_eq!(found[2], json!({"fd.name": null, "exec.args": null}));
    assert_eq!(found[3]["evt.incomplete"], json!(["exec.args"]));
    assert_eq!(found[5], json!({"fd.name": null, "exec.args": ["true", "a", "", "b", ""]}));
    let java = objects(incomplete(&header(1)), "proc.cmdline");
    assert_eq!(java[2], json!({"proc.cmdline": "java -cp /lib/a.ja", "evt.incomplete": ["proc.cmdline"]}));
    let asked = objects(incomplete(&header(1)), "evt.cut,evt.incomplete,exec.path");
    assert_eq!(asked[3]["evt.incomplete"], json!(["exec.path", "exec.args"]), "of the whole event");
    assert_eq!((&asked[3]["evt.cut"], &asked[2]["evt.cut"]), (&json!(true), &json!(false)));
}
