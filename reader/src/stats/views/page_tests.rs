//! `docs/views.md` lists the views of this version.

use std::collections::BTreeMap;
use std::fs;

use crate::stats::Plan;

use super::Views;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/views.md");
const BEGIN: &str = "<!-- generated: views -->\n";
const END: &str = "<!-- end generated -->\n";

fn table() -> String {
    let mut table =
        "| view | question | grouped by | columns | `capture -e` |\n|---|---|---|---|---|\n".to_owned();
    for view in Views::built_in().all() {
        let view = view.unwrap();
        let plan = Plan::new(&view.table).unwrap();
        let titles: Vec<&str> = view.columns().map(|(title, _)| title).collect();
        let by: Vec<String> = plan.keys().iter().map(|key| format!("`{}`", key.field)).collect();
        let record = match view.to_record(&plan).join(",") {
            record if record.is_empty() => "any".to_owned(),
            record => format!("`{record}`"),
        };
        table.push_str(&format!(
            "| `{}` | {} | {} | {} | {record} |\n",
            view.name,
            view.question,
            by.join(", "),
            titles.join(", ")
        ));
    }
    table
}

#[test]
fn page_lists_every_view() {
    let page = fs::read_to_string(FILE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    let expected = table();
    if std::env::var_os("KTAPE_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(FILE, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(
        listed == expected,
        "docs/views.md is out of date: run `KTAPE_GOLDEN=write cargo test -p ktape-reader page_lists_every_view`"
    );
}

/// The example of the page is a view.
#[test]
fn example_of_the_page_is_valid() {
    let page = fs::read_to_string(FILE).unwrap();
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```\n").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slow-reads.toml");
    fs::write(&path, example).unwrap();
    let mut views = Views::built_in();
    views.add(&path);
    let view = views.get("slow-reads").unwrap().unwrap();
    views.check_enter(&view).unwrap();
    fs::write(&path, example.replace("reads = count", "reads = cuont")).unwrap();
    let error = super::View::open(&path, &BTreeMap::new()).unwrap_err();
    assert!(
        page.contains(&error.to_string().replace(&format!("{}/", dir.path().display()), "")[..90]),
        "{error}"
    );
}
