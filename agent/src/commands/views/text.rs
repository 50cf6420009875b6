//! Views as text and JSON.

use serde_json::{Value, json};

use ktape_reader::stats::views::{Origin, View};
use ktape_reader::stats::{Base, Column, Plan, Unit};
use ktape_reader::text::escape::{Place, escaped};
use ktape_reader::text::units::duration_text;

/// Lines are not longer than this.
const WIDTH: usize = 80;

/// Appends a paragraph for each view: name, title, question.
pub fn list(views: &[View], out: &mut Vec<u8>) {
    let width = views.iter().map(|view| view.name.chars().count()).max().unwrap_or(0) + 2;
    for view in views {
        let title = match &view.origin {
            Origin::BuiltIn => shown(&view.title),
            Origin::File(path) => format!("{} ({})", shown(&view.title), shown(&path.display().to_string())),
        };
        wrapped(&format!("{:<width$}", view.name), &title, out);
        wrapped(&" ".repeat(width), &shown(&view.question), out);
    }
}

/// Appends everything that is to be known about a view.
pub fn explain(view: &View, out: &mut Vec<u8>) {
    wrapped("", &format!("{}: {}", view.name, shown(&view.title)), out);
    wrapped("", &shown(&view.question), out);
    out.push(b'\n');
    let mut line = |head: &str, text: &str| wrapped(&format!("{head:<10}"), text, out);
    if let Origin::File(path) = &view.origin {
        line("file", &shown(&path.display().to_string()));
    }
    let plan = Plan::new(&view.table);
    if let Ok(plan) = &plan {
        line("records", &record_with(view, plan));
    }
    if let Some(needs) = &view.needs {
        line("needs", &shown(needs));
    }
    if !view.kinds.is_empty() {
        line("kinds", &shown(&view.kinds.join(", ")));
    }
    if let Some(filter) = &view.filter {
        line("filter", &shown(filter));
    }
    if !view.table.by.is_empty() {
        line("by", &shown(&view.table.by.join(", ")));
    }
    if let Some(per) = view.table.per {
        line("per", &duration_text(per));
    }
    if let Ok(plan) = &plan {
        let width = plan.columns().iter().map(|column| column.title.chars().count()).max().unwrap_or(0);
        for (at, column) in plan.columns().iter().enumerate() {
            let head = if at == 0 { "columns" } else { "" };
            let expr = expression(view, column);
            line(
                head,
                &format!("{:<width$}  {}{}", shown(&column.title), shown(&expr), unit_text(column.unit())),
            );
        }
    }
    if let Some(having) = &view.table.having {
        line("having", &shown(having));
    }
    if !view.table.sort.is_empty() {
        line("sort", &shown(&view.table.sort.join(", ")));
    }
    if let Some(top) = view.table.top {
        line("top", &top.to_string());
    }
    let enter = match &view.enter {
        None => "the events of the row".to_owned(),
        Some(enter) => match &enter.filter {
            Some(filter) => format!("the view {} of events with {filter}", enter.view),
            None => format!("the view {} of events with the same {}", enter.view, view.table.by.join(", ")),
        },
    };
    line("Enter", &shown(&enter));
}

/// Appends an object.
pub fn json(view: &View, out: &mut Vec<u8>) {
    let plan = Plan::new(&view.table).ok();
    let columns = plan.iter().flat_map(Plan::columns);
    let columns: Vec<Value> = columns
        .map(|column| json!({ "title": column.title, "expression": expression(view, column) }))
        .collect();
    let file = match &view.origin {
        Origin::BuiltIn => Value::Null,
        Origin::File(path) => path.display().to_string().into(),
    };
    let object = json!({
        "name": view.name,
        "title": view.title,
        "question": view.question,
        "file": file,
        "record": plan.as_ref().map(|plan| view.to_record(plan)),
        "needs": view.needs,
        "kinds": view.kinds,
        "filter": view.filter,
        "by": view.table.by,
        "per": view.table.per,
        "columns": columns,
        "having": view.table.having,
        "sort": view.table.sort,
        "top": view.table.top,
        "enter": view.enter.as_ref().map(|enter| json!({ "view": enter.view, "filter": enter.filter })),
    });
    out.extend_from_slice(object.to_string().as_bytes());
    out.push(b'\n');
}

/// How to record what a view needs.
fn record_with(view: &View, plan: &Plan) -> String {
    match view.to_record(plan) {
        words if words.is_empty() => "any capture".to_owned(),
        words => format!("capture -e {} (or all events)", words.join(",")),
    }
}

/// The expression of a column as the file has it.
fn expression(view: &View, column: &Column) -> String {
    let found = view.columns().find(|(title, _)| *title == column.title);
    found.map_or_else(|| column.title.clone(), |(_, expr)| expr.to_owned())
}

/// What the numbers of a column are, in brackets; nothing for numbers without a unit.
fn unit_text(unit: Unit) -> &'static str {
    match (unit.base, unit.per_second) {
        (Base::Duration, true) => "  [% of a CPU]",
        (Base::Duration, false) => "  [time]",
        (Base::Size, true) => "  [bytes/s]",
        (Base::Size, false) => "  [bytes]",
        (Base::Time, _) => "  [time of day]",
        (Base::Share, _) => "  [%]",
        (Base::Plain, true) => "  [per second]",
        (Base::Plain | Base::Field(_), _) => "",
    }
}

fn shown(text: &str) -> String {
    escaped(text.as_bytes(), Place::Free).into_owned()
}

/// Appends `head` and a text, wrapped at spaces with a hanging indent.
fn wrapped(head: &str, text: &str, out: &mut Vec<u8>) {
    let indent = head.chars().count();
    let mut line = head.to_owned();
    let mut column = indent;
    for (at, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > WIDTH {
            push_line(&line, out);
            line = " ".repeat(indent);
            column = indent;
        } else if at > 0 {
            line.push(' ');
            column += 1;
        }
        line.push_str(word);
        column += length;
    }
    push_line(&line, out);
}

fn push_line(line: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(line.trim_end().as_bytes());
    out.push(b'\n');
}
