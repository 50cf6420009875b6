//! A table, JSON, CSV.

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::Row;
use crate::commands::cell::{cut, text};
use ktape_reader::containers::short_id;
use ktape_reader::model::attribute_names as names;
use ktape_reader::text::time;
use ktape_reader::text::units::count_text;

/// How wide a column of the table may be; labels come last and may be wider.
const WIDEST: usize = 32;

/// Appends an aligned table, without empty columns.
pub fn table(rows: &[Row], zone: &TimeZone, live: bool, out: &mut Vec<u8>) {
    let time = |at: Option<i64>| at.map_or(String::new(), |at| time::date_time(at, zone));
    let number = |value: u64| if live || value == 0 { String::new() } else { count_text(value) };
    let labels = |row: &Row| {
        let labels = row.labels();
        let labels: Vec<String> = labels.iter().map(|(k, v)| text(&format!("{k}={v}"))).collect();
        labels.join(" ")
    };
    let hosts = rows.windows(2).any(|pair| pair[0].host != pair[1].host);
    type Column<'a> = (&'a str, bool, Box<dyn Fn(&Row) -> String + 'a>);
    let columns: Vec<Column<'_>> = vec![
        ("HOST", false, Box::new(|row| if hosts { cut(&row.host, WIDEST) } else { String::new() })),
        ("ID", false, Box::new(|row| cut(short_id(&row.id), WIDEST))),
        ("NAME", false, Box::new(|row| cut(row.name(), WIDEST))),
        ("RUNTIME", false, Box::new(|row| cut(&row.runtime, WIDEST))),
        ("IMAGE", false, Box::new(|row| cut(row.attribute(names::IMAGE), WIDEST))),
        ("POD", false, Box::new(|row| cut(&row.pod(), WIDEST))),
        ("BORN", false, Box::new(|row| time(row.born))),
        ("DIED", false, Box::new(|row| time(row.died))),
        ("EXIT", true, Box::new(|row| row.exit_code().map_or(String::new(), |code| code.to_string()))),
        (
            "OOM",
            true,
            Box::new(|row| if row.oom_kills > 0 { row.oom_kills.to_string() } else { String::new() }),
        ),
        ("PROCESSES", true, Box::new(|row| row.processes.to_string())),
        ("EVENTS", true, Box::new(|row| number(row.events))),
        ("LABELS", false, Box::new(labels)),
    ];
    let mut cells: Vec<(&str, bool, Vec<String>)> = columns
        .iter()
        .map(|(name, right, value)| (*name, *right, rows.iter().map(value).collect()))
        .collect();
    cells.retain(|(name, _, values)| *name == "ID" || values.iter().any(|value| !value.is_empty()));
    let mut lines = vec![String::new(); rows.len() + 1];
    let last = cells.len().saturating_sub(1);
    for (at, (name, right, values)) in cells.iter().enumerate() {
        let all = || std::iter::once(*name).chain(values.iter().map(String::as_str));
        let width = all().map(|cell| cell.chars().count()).max().unwrap_or(0);
        for (line, cell) in lines.iter_mut().zip(all()) {
            let pad = width - cell.chars().count();
            let (before, after) = match (right, at == last) {
                (true, _) => (pad, 0),
                (false, true) => (0, 0),
                (false, false) => (0, pad),
            };
            let gap = if at == 0 { 0 } else { 2 };
            line.extend(std::iter::repeat_n(' ', gap + before));
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', after));
        }
    }
    for line in lines {
        out.extend_from_slice(line.trim_end().as_bytes());
        out.push(b'\n');
    }
}

/// Appends one JSON object per line.
pub fn json(rows: &[Row], out: &mut Vec<u8>) {
    for row in rows {
        let mut object = Map::new();
        let mut add = |name: &str, value: Value| {
            if value != Value::Null && value != json!("") {
                object.insert(name.to_owned(), value);
            }
        };
        add("host", text(&row.host).into());
        add("id", text(&row.id).into());
        add("name", text(row.name()).into());
        add("runtime", text(&row.runtime).into());
        add("chain", text(&row.chain).into());
        for (name, key) in [
            ("image", names::IMAGE),
            ("image_id", names::IMAGE_ID),
            ("created", names::CREATED),
            ("pod", names::POD_NAME),
            ("namespace", names::POD_NAMESPACE),
        ] {
            add(name, text(row.attribute(key)).into());
        }
        add("pod_uid", text(&row.pod_uid).into());
        let labels: Map<String, Value> =
            row.labels().into_iter().map(|(k, v)| (text(k), text(v).into())).collect();
        add("labels", labels.into());
        let number = |key: &str| row.attribute(key).parse::<i64>().map_or(Value::Null, Value::from);
        add("pid", number(names::PID));
        add("memory_limit", number(names::MEMORY_LIMIT));
        add("cpu_limit", number(names::CPU_LIMIT));
        add("cpu_shares", number(names::CPU_SHARES));
        add("pids_limit", number(names::PIDS_LIMIT));
        add("born", row.born.map_or(Value::Null, |at| time::rfc3339(at).into()));
        add("died", row.died.map_or(Value::Null, |at| time::rfc3339(at).into()));
        add("exit_code", row.exit_code().map_or(Value::Null, Value::from));
        add("oom_kills", row.oom_kills.into());
        add("processes", row.processes.into());
        add("events", row.events.into());
        out.extend_from_slice(Value::Object(object).to_string().as_bytes());
        out.push(b'\n');
    }
}

/// Appends CSV with a header.
pub fn csv(rows: &[Row], out: &mut Vec<u8>) {
    let head = "host,id,name,runtime,image,pod,labels,born,died,exit_code,oom_kills,processes,events,\
                memory_limit,cpu_limit,cpu_shares,pids_limit\n";
    out.extend_from_slice(head.as_bytes());
    for row in rows {
        let labels: Vec<String> = row.labels().iter().map(|(k, v)| format!("{k}={v}")).collect();
        let time = |at: Option<i64>| at.map_or(String::new(), time::rfc3339);
        let cells = [
            row.host.clone(),
            row.id.clone(),
            row.name().to_owned(),
            row.runtime.clone(),
            row.attribute(names::IMAGE).to_owned(),
            row.pod(),
            labels.join(","),
            time(row.born),
            time(row.died),
            row.exit_code().map_or(String::new(), |code| code.to_string()),
            row.oom_kills.to_string(),
            row.processes.to_string(),
            row.events.to_string(),
            row.attribute(names::MEMORY_LIMIT).to_owned(),
            row.attribute(names::CPU_LIMIT).to_owned(),
            row.attribute(names::CPU_SHARES).to_owned(),
            row.attribute(names::PIDS_LIMIT).to_owned(),
        ];
        let cells: Vec<String> = cells.iter().map(|cell| quoted(&text(cell))).collect();
        out.extend_from_slice(cells.join(",").as_bytes());
        out.push(b'\n');
    }
}

/// Quotes a cell as in RFC 4180, if necessary.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
