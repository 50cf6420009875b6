//! The views that are built in, files with errors, and filters of rows.

use std::collections::BTreeMap;
use std::fs;

use crate::filter::Filter;
use crate::scan::{Captures, Query};
use crate::stats::{Cell, Datum, Plan, Question};
use crate::text::escape::escaped;

use super::*;

const GOLDEN: [&str; 2] = ["../tests/golden/calls-0.1.ktape", "../tests/golden/kinds-0.1.ktape"];

#[test]
fn built_in_views_are_valid() {
    let views = Views::built_in();
    for view in views.all() {
        let view = view.unwrap_or_else(|error| panic!("{error}"));
        views.check_enter(&view).unwrap_or_else(|error| panic!("{error}"));
        assert!(view.question.ends_with('?') && view.title.chars().count() < 50, "{}", view.name);
        assert!(file::is_name(&view.name), "{}", view.name);
    }
    let files = fs::read_dir("src/stats/views").unwrap().flatten();
    let files = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "toml"));
    assert_eq!(files.count(), views.names().count(), "every file is a view");
}

/// The rows of a view have to be found again: by the filter of the row in the events of the view.
#[test]
fn filters_of_rows_find_the_events_of_the_rows() {
    let mut rows = 0;
    for path in GOLDEN {
        let captures = Captures::open(&[path]).unwrap();
        for view in Views::built_in().all() {
            let view = view.unwrap();
            let counted = Question { columns: vec!["count".into()], top: None, ..view.table.clone() };
            let plan = Plan::new(&Question { sort: Vec::new(), having: None, ..counted }).unwrap();
            let all = Query { filter: view.event_filter(), ..Query::default() };
            let (answer, _) = captures.query(all).unwrap().answer(&plan);
            for row in answer.rows.iter().take(20) {
                let text = row_filter(&plan, &row.key);
                let filter = Filter::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", view.name));
                let both = view.event_filter().map_or(filter.clone(), |of_view| of_view.and(filter));
                let found = captures.query(Query { filter: Some(both), ..Query::default() }).unwrap().count();
                let Cell::Number(events) = row.cells[0] else { panic!("a count") };
                // Names of files and ends of connections have several values.
                let is_exact = !text.contains("fd.") && !text.contains("net.local");
                let found = i128::from(found.matching);
                assert!(found == events || !is_exact && found > events, "{}: {text}: {found}", view.name);
                rows += 1;
            }
        }
    }
    assert!(rows > 100, "{rows}");
}

fn plan(by: &[&str]) -> Plan {
    let by = by.iter().map(|text| (*text).to_owned()).collect();
    Plan::new(&Question { by, columns: vec!["count".into()], ..Question::default() }).unwrap()
}

fn text(bytes: &[u8]) -> Datum {
    Datum::Text(bytes.into())
}

#[test]
fn hostile_values_are_compared_as_they_are() {
    let values: &[&[u8]] = &[
        b"plain",
        b"",
        b"two words",
        b"it's",
        b"say \"x\"",
        b"a,b)(c",
        b"x\\",
        b"\\n",
        b"line\nbreak\ttab\r",
        b"\x1b[31m",
        b"\xff\xfe\x00",
        "\u{202e}gnirts".as_bytes(),
        "gr\u{fc}n".as_bytes(),
        b"{proc.pid}",
        b"' or proc.pid = 1 or proc.name = '",
    ];
    let plan = plan(&["proc.name", "fd.name"]);
    for value in values {
        let filter = row_filter(&plan, &[text(value), text(value)]);
        let parsed = Filter::parse(&filter).unwrap_or_else(|error| panic!("{error}"));
        let compared: Vec<&[u8]> =
            parsed.comparisons().iter().map(|comparison| comparison.literals[0].bytes.as_slice()).collect();
        assert_eq!(compared, [*value, *value], "{filter}");
    }
}

#[test]
fn each_type_of_group_has_its_comparison() {
    let of = |by: &str, value: Datum| {
        let filter = row_filter(&plan(&[by]), &[value]);
        Filter::parse(&filter).unwrap_or_else(|error| panic!("{error}"));
        filter
    };
    assert_eq!(of("proc.pid", Datum::Number(7)), "proc.pid = 7");
    assert_eq!(of("proc.pid", Datum::Missing), "not proc.pid exists");
    assert_eq!(of("evt.failed", Datum::Number(1)), "evt.failed = true");
    assert_eq!(of("evt.res", text(b"ENOENT")), "evt.res = \"ENOENT\"");
    assert_eq!(of("net.remote", text(b"[::1]:80")), "net.remote = \"[::1]:80\"");
    assert_eq!(of("container.label[app]", text(b"a b")), "container.label[app] = \"a b\"");
    assert_eq!(of("evt.time", Datum::Number(1)), "evt.time = 1970-01-01T00:00:00.000000001Z");
    assert_eq!(of("sample_host.load1", Datum::Number(1205)), "sample_host.load1 = 12.05");
    assert_eq!(of("log2(evt.latency)", Datum::Number(1024)), "evt.latency >= 1024 and evt.latency < 2048");
    assert_eq!(of("log2(evt.latency)", Datum::Number(0)), "evt.latency = 0");
    assert_eq!(of("log2(evt.rawres)", Datum::Missing), "not evt.rawres >= 0");
    // A short name is no field: what it stands for is.
    assert_eq!(of("compose.service", text(b"db")), "container.label[com.docker.compose.service] = \"db\"");
    let tree = plan(&["proc.name/fd.name"]);
    assert_eq!(row_filter(&tree, &[text(b"dd"), Datum::Other]), "proc.name = \"dd\"");
    assert_eq!(
        of("fd.directory[2]", text(b"/var/log")),
        "(fd.directory = \"/var/log\" or fd.directory startswith \"/var/log/\")"
    );
    assert_eq!(of("fd.rip|fd.name", text(b"/x")), "not fd.rip exists and fd.name = \"/x\"");
    assert_eq!(
        of("fd.rip|fd.name", text(b"10.0.0.1")),
        "(fd.rip = \"10.0.0.1\" or not fd.rip exists and fd.name = \"10.0.0.1\")"
    );
    assert_eq!(of("fd.rip|fd.name", Datum::Missing), "not fd.rip exists and not fd.name exists");
    assert_eq!(of("fd.directory[2]", text(b"/var")), "fd.directory = \"/var\"");
    assert_eq!(of("fd.directory[1]", text(b"/")), "fd.directory = \"/\"");
    assert_eq!(of("fd.name[1]", text(b"pipe:[7]")), "fd.name = \"pipe:[7]\"");
    assert_eq!(of("fd.name[1]", Datum::Missing), "not fd.name exists");
    let steps = Plan::new(&Question { per: Some(1_000_000_000), ..Question::default() }).unwrap();
    let of_step = row_filter(&steps, &[Datum::Number(2_000_000_000)]);
    assert_eq!(
        of_step,
        "evt.time >= 1970-01-01T00:00:02.000000000Z and evt.time < 1970-01-01T00:00:03.000000000Z"
    );
}

fn view(text: &str) -> Result<View, String> {
    let head = "title = \"T\"\nquestion = \"Q?\"\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.toml");
    fs::write(&path, format!("{head}{text}")).unwrap();
    View::open(&path, &BTreeMap::new()).map_err(|error| {
        assert_eq!(error.file, path.display().to_string());
        error.key.map_or_else(|| error.reason.clone(), |key| format!("{key}: {}", error.reason))
    })
}

#[test]
fn templates_are_filled_with_the_values_of_a_row() {
    let view = view(
        "by = [\"proc.name\", \"switch.next.pid\"]\n\
         enter = { view = \"x\", filter = \"(proc.pid = {switch.next.pid}) and proc.name != { proc.name }\" }",
    );
    let view = view.unwrap();
    let plan_of_view = Plan::new(&view.table).unwrap();
    let of = |row: &[Datum]| row_filter_of(&view, &plan_of_view, row).unwrap();
    assert_eq!(of(&[text(b"a \"b\""), Datum::Number(3)]), "(proc.pid = 3) and proc.name != \"a \\\"b\\\"\"");
    assert_eq!(of(&[Datum::Missing, Datum::Missing]), "(not proc.pid exists) and proc.name exists");
    // Rows that are grouped by something else are opened by that.
    let other = plan(&["evt.type"]);
    assert_eq!(row_filter_of(&view, &other, &[text(b"read")]).unwrap(), "evt.type = \"read\"");
}

#[test]
fn templates_that_need_a_value_report_its_absence() {
    let view = view(
        "by = [\"sample.cgroup\"]\nenter = { view = \"x\", filter = \"cgroup.path pmatch ({sample.cgroup})\" }",
    );
    let view = view.unwrap();
    let plan = Plan::new(&view.table).unwrap();
    let missing = row_filter_of(&view, &plan, &[Datum::Missing]).unwrap_err();
    assert_eq!(missing.to_string(), "the row has no value for `sample.cgroup`");
}

#[test]
fn errors_name_the_key_and_what_is_wrong() {
    let wrong = |text: &str| view(text).unwrap_err();
    let starts = |text: &str, expected: &str| {
        let found = wrong(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    };
    starts(
        "colums = [\"count\"]",
        "unknown key `colums` (did you mean columns?); there are title, question,",
    );
    starts("by = 3", "by: has to be a list such as [\"a\", \"b\"], not a number");
    starts("by = [true]", "by: has to be a list such as [\"a\", \"b\"], not true or false");
    starts("by = [\"proc.nam\"]", "by: unknown field `proc.nam` (did you mean proc.name");
    starts("columns = [\"p99(proc.name)\"]", "columns: `p99(proc.name)`: p99 needs a number");
    starts("columns = [\"a = cuont\"]", "columns: unknown function `cuont` (did you mean count?)");
    starts(
        "columns = [\"count(evt.type = opennat)\"]",
        "columns: no event kind or syscall is named `opennat`",
    );
    starts("by = [\"proc.name\"]\nfilter = \"proc.nam = x\"", "filter: unknown field `proc.nam`");
    starts(
        "by = [\"proc.name\"]\nfilter = \"evt.type = opennat\"",
        "filter: no event kind or syscall is named",
    );
    starts(
        "by = [\"proc.name\"]\nkinds = [\"blok\"]",
        "kinds: `blok` is neither a kind of event nor a syscall (did you mean block?)",
    );
    starts("by = [\"proc.name\"]\nhaving = \"count\"", "having: `count` is not a comparison of columns");
    starts("by = [\"proc.name\"]\nsort = [\"size\"]", "sort: cannot sort by `size`");
    starts("by = [\"proc.name\"]\nper = \"1 parsec\"", "per: ");
    starts("by = [\"proc.name\"]\nper = \"0s\"", "per: the time step must be longer than 0");
    starts("by = [\"proc.name\"]\ntop = 0", "top: has to be a number of rows, 1 or more");
    starts(
        "by = [\"proc.name\"]\nenter = \"files\"",
        "enter: has to be a table such as { view = \"files\" }, not text",
    );
    starts(
        "by = [\"proc.name\"]\nenter = { vew = \"files\" }",
        "enter: unknown key `vew` (did you mean view?)",
    );
    starts("by = [\"proc.name\"]\nenter = { }", "enter: the key `view` is missing");
    starts(
        "by = [\"proc.name\"]\nenter = { view = \"files\", filter = \"proc.pid = {proc.pid}\" }",
        "enter: `{proc.pid}` is none of the groups of `by`: proc.name",
    );
    starts(
        "by = [\"proc.name\"]\nenter = { view = \"files\", filter = \"proc.pid = {proc.name}\" }",
        "enter: ",
    );
    starts("top = 3", "a view needs groups or columns");
    starts("needs = \"\"\nby = [\"proc.name\"]", "needs: is empty");
    let syntax = wrong("by = [\"proc.name\"");
    assert!(syntax.contains("line 3"), "{syntax}");
    starts("title = \"again\"", "TOML parse error at line 3");
}

#[test]
fn the_name_of_the_file_is_that_of_the_view() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["Web.toml", "web view.toml", "1st.toml", ".toml"] {
        let path = dir.path().join(name);
        fs::write(&path, "title = \"T\"\nquestion = \"Q?\"\nby = [\"proc.name\"]").unwrap();
        let error = View::open(&path, &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("the name of the file becomes the name of the view"), "{error}");
    }
    let missing = View::open(&dir.path().join("no.toml"), &BTreeMap::new()).unwrap_err().to_string();
    assert!(missing.contains("no.toml: No such file"), "{missing}");
    let large = dir.path().join("large.toml");
    fs::write(&large, "#".repeat(70_000)).unwrap();
    assert!(
        View::open(&large, &BTreeMap::new())
            .unwrap_err()
            .to_string()
            .ends_with("too large for a view: at most 64.0 KiB")
    );
}

#[test]
fn short_names_are_names_of_groups() {
    let names = BTreeMap::from([("env".to_owned(), "host.label[env]".to_owned())]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ours.toml");
    let content = "title = \"T\"\nquestion = \"Q?\"\nby = [\"env\"]\nsort = [\"env\"]\n\
                enter = { view = \"files\", filter = \"host.label[env] = {env}\" }";
    fs::write(&path, content).unwrap();
    assert!(View::open(&path, &BTreeMap::new()).unwrap_err().to_string().contains("by: unknown field `env`"));
    let mut views = Views::built_in().with_names(names);
    views.add(&path);
    let view = views.get("ours").unwrap().unwrap();
    let plan = Plan::new(&view.table).unwrap();
    assert_eq!(row_filter(&plan, &[text(b"eu1")]), "host.label[env] = \"eu1\"");
}

#[test]
fn own_views_replace_others_of_the_same_name() {
    let (host, user) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |dir: &tempfile::TempDir, name: &str, title: &str| {
        let text = format!("title = \"{title}\"\nquestion = \"Q?\"\nby = [\"proc.name\"]");
        fs::write(dir.path().join(name), text).unwrap();
    };
    write(&host, "files.toml", "of the host");
    write(&host, "ours.toml", "of the host");
    write(&host, "web.toml", "of the host");
    write(&user, "web.toml", "of the user");
    write(&user, "readme.txt", "no view");
    fs::write(user.path().join("ours.toml"), "broken").unwrap();
    let dirs = [host.path().to_owned(), user.path().to_owned(), host.path().join("none")];
    let views = Views::with_directories(&dirs);
    let title = |name: &str| views.get(name).unwrap().unwrap().title;
    assert_eq!([title("files"), title("web"), title("errors")], ["of the host", "of the user", "Errors"]);
    // A file with an error does not make way for another one.
    assert!(views.get("ours").unwrap().is_err());
    assert!(views.get("readme").is_none());
    assert_eq!(views.names().count(), Views::built_in().names().count() + 2);
    assert_eq!(views.hint("filess"), " (did you mean files?)");
    assert_eq!(views.hint("limits"), " (did you mean memory-and-limits?)");
    assert_eq!(views.hint("xyzzy"), "");
    let mut opens = views.get("web").unwrap().unwrap();
    opens.enter = Some(Enter { view: "filess".into(), filter: None });
    let error = views.check_enter(&opens).unwrap_err().to_string();
    assert!(error.ends_with("web.toml: enter: no view is named `filess` (did you mean files?)"), "{error}");
}

#[test]
fn what_a_capture_lacks_is_reported() {
    let captures = Captures::open(&GOLDEN[..1]).unwrap();
    let recorded = recorded_kinds(&captures);
    let missing = |name: &str| {
        let view = Views::built_in().get(name).unwrap().unwrap();
        let plan = Plan::new(&view.table).unwrap();
        (view.missing(&plan, recorded), view.to_record(&plan).join(","))
    };
    assert_eq!(missing("block"), (Missing { kinds: vec!["block"], columns: vec![] }, "block".into()));
    assert_eq!(missing("syscalls"), (Missing::default(), "syscall".into()));
    assert_eq!(missing("losses").1, "");
    assert_eq!(missing("overview"), (Missing::default(), String::new()));
    let (of_containers, record) = missing("containers");
    let titles: Vec<&str> = of_containers.columns.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!((titles, record.as_str()), (vec!["cpu", "memory"], "switch,sample,syscall"));
}

#[test]
fn titles_and_questions_are_shown_as_they_are() {
    for view in Views::built_in().all() {
        let view = view.unwrap();
        for text in [&view.title, &view.question] {
            assert_eq!(escaped(text.as_bytes(), crate::text::escape::Place::Free), *text);
        }
    }
}
