//! `docs/fields.md` lists the fields of this version.

use std::collections::BTreeMap;
use std::fs;

use events::KINDS;

use super::{FieldArg, FieldDecl, registry};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fields.md");
const BEGIN: &str = "<!-- generated: fields -->\n";
const END: &str = "<!-- end generated -->\n";

/// The part of the page between the markers: a table of the fields that several kinds have, then one for each kind.
fn tables() -> String {
    let mut of_kinds: BTreeMap<_, Vec<&FieldDecl>> = BTreeMap::new();
    for decl in registry() {
        of_kinds.entry(decl.getter.kinds().and_then(|kinds| kinds.iter().next())).or_default().push(decl);
    }
    let mut page = section("All events", "", &of_kinds[&None]);
    for kind in KINDS {
        let decl = kind.decl();
        let intro = format!("An event is {}.\n\n", decl.doc);
        page.push('\n');
        let title = format!("`{}`", decl.name);
        match kind.field_owner() {
            owner if owner != kind => {
                let owner = owner.decl().name;
                page.push_str(&format!("## {title}\n\n{intro}It has the fields of [`{owner}`](#{owner}).\n"));
            }
            _ => page.push_str(&section(&title, &intro, &of_kinds[&Some(kind)])),
        }
    }
    page
}

fn section(title: &str, intro: &str, fields: &[&FieldDecl]) -> String {
    let mut text = format!("## {title}\n\n{intro}| field | type | value |\n|---|---|---|\n");
    for decl in fields {
        let name = match decl.arg {
            FieldArg::None => format!("`{}`", decl.name),
            FieldArg::Key => format!("`{}[KEY]`", decl.name),
            FieldArg::Generation => format!("`{0}`, `{0}[N]`", decl.name),
            FieldArg::IndexOrName => format!("`{0}.NAME`, `{0}[N]`", decl.name),
        };
        text.push_str(&format!(
            "| {name} | {} | {} |\n",
            decl.ty.name(),
            decl.description().replace('|', "\\|")
        ));
    }
    text
}

#[test]
fn page_lists_every_field() {
    let page = fs::read_to_string(FILE).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (listed, after) = rest.split_once(END).unwrap();
    let expected = tables();
    if std::env::var_os("KTAPE_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(FILE, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(
        listed == expected,
        "docs/fields.md is out of date: run `KTAPE_GOLDEN=write cargo test -p ktape-reader page_lists_every_field`"
    );
}
