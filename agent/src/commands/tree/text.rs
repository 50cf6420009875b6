//! A tree as text and as JSON.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::process::{End, Process};
use super::shape::{Node, Tree};
use crate::commands::cell::{cut, text};
use ktape_reader::fields::values;
use ktape_reader::names::signal_name;
use ktape_reader::text::escape::{self, Place, escaped};
use ktape_reader::text::time;
use ktape_reader::text::units::{count_text, duration_text};

/// How wide a column before the tree may be.
const WIDEST: usize = 24;
/// Narrower terminals wrap lines themselves.
const NARROWEST: usize = 40;

/// How lines are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub is_ascii: bool,
    /// Longer lines are cut; `None` for no limit.
    pub width: Option<usize>,
}

impl Style {
    /// What stands before a process and below an ancestor: of one with and without later siblings.
    fn lines(self) -> [&'static str; 4] {
        if self.is_ascii { ["|- ", "`- ", "|  ", "   "] } else { ["├─ ", "└─ ", "│  ", "   "] }
    }
}

/// The width of the terminal, if it is known.
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col).max(NARROWEST))
}

const HEADS: [(&str, bool); 9] = [
    ("HOST", false),
    ("START", true),
    ("END", true),
    ("DURATION", true),
    ("EXIT", false),
    ("USER", false),
    ("CONTAINER", false),
    ("THREADS", true),
    ("EVENTS", true),
];

/// Lines of text.
pub struct Lines<'t> {
    tree: &'t Tree,
    /// Wall clock of the capture's start, ns.
    start: i64,
    has_hosts: bool,
    /// The width of each column; 0 for one without values.
    widths: [usize; HEADS.len()],
}

impl<'t> Lines<'t> {
    /// Measures the columns.
    pub fn new(tree: &'t Tree, start: i64) -> Self {
        let mut host: Option<String> = None;
        let mut lines = Self { tree, start, has_hosts: false, widths: [0; HEADS.len()] };
        let Ok(()) = tree.walk::<std::convert::Infallible>(|node| {
            lines.has_hosts |= host.get_or_insert_with(|| node.process.host.clone()) != &node.process.host;
            Ok(())
        });
        let mut widths = [0; HEADS.len()];
        let Ok(()) = tree.walk::<std::convert::Infallible>(|node| {
            for (width, cell) in widths.iter_mut().zip(lines.cells(node.process)) {
                *width = cell.chars().count().max(*width);
            }
            Ok(())
        });
        for (width, (head, _)) in widths.iter_mut().zip(HEADS).filter(|(width, _)| **width > 0) {
            *width = head.len().max(*width);
        }
        Self { widths, ..lines }
    }

    fn cells(&self, process: &Process) -> [String; HEADS.len()] {
        let relative = |at: i64| {
            let sign = if at < self.start { "-" } else { "+" };
            format!("{sign}{}", duration_text(at.abs_diff(self.start)))
        };
        let some = |count: u64| if count == 0 { String::new() } else { count_text(count) };
        [
            if self.has_hosts { cut(&process.host, WIDEST) } else { String::new() },
            process.start.map_or_else(String::new, relative),
            process.end.map_or_else(String::new, |end| relative(end.at)),
            process.duration().map_or_else(String::new, duration_text),
            process.end.map_or_else(String::new, exit),
            cut(&process.user, WIDEST),
            cut(&process.container, WIDEST),
            some(process.threads),
            some(process.events),
        ]
    }

    /// Writes all lines, with a head.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&self, style: Style, out: &mut impl Write) -> io::Result<()> {
        if self.tree.is_empty() {
            return Ok(());
        }
        let mut line = self.columns(HEADS.map(|(head, _)| head.to_owned()));
        line.push_str("PROCESS");
        write_line(&line, style, out)?;
        self.tree.walk(|node| {
            let mut line = self.columns(self.cells(node.process));
            draw(&node, style, &mut line);
            line.push_str(&command_line(node.process));
            write_line(&line, style, out)
        })
    }

    fn columns(&self, cells: [String; HEADS.len()]) -> String {
        let mut line = String::new();
        for ((cell, (_, is_right)), width) in cells.iter().zip(HEADS).zip(self.widths) {
            if width == 0 {
                continue;
            }
            let padding = width - cell.chars().count();
            let (before, after) = if is_right { (padding, 0) } else { (0, padding) };
            line.extend(std::iter::repeat_n(' ', before));
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', after + 2));
        }
        line
    }
}

/// The exit status, or the signal that killed it.
fn exit(end: End) -> String {
    match end.signal {
        0 => end.status.to_string(),
        signal if end.dumped_core => format!("{} (core)", signal_name(signal)),
        signal => signal_name(signal).into_owned(),
    }
}

fn draw(node: &Node<'_>, style: Style, line: &mut String) {
    let [next, last, passing, nothing] = style.lines();
    if let Some((own, ancestors)) = node.is_last.split_last() {
        ancestors.iter().for_each(|is_last| line.push_str(if *is_last { nothing } else { passing }));
        line.push_str(if *own { last } else { next });
    }
}

/// Name, id, and the arguments after the first.
fn command_line(process: &Process) -> String {
    let mut line = Vec::new();
    match &*process.name {
        b"" => line.push(b'?'),
        name => escape::escape(name, Place::Free, &mut line),
    }
    line.extend_from_slice(format!("({})", process.pid()).as_bytes());
    for arg in values::arguments(&process.args).skip(1) {
        line.push(b' ');
        if arg.is_empty() || arg.iter().any(|byte| matches!(byte, b' ' | b'"')) {
            escape::quote(arg, &mut line);
        } else {
            escape::escape(arg, Place::Free, &mut line);
        }
    }
    if is_cut(process) {
        line.extend_from_slice(b"...");
    }
    String::from_utf8_lossy(&line).into_owned()
}

/// Whether there were more arguments than what is recorded.
fn is_cut(process: &Process) -> bool {
    process.args.last().is_some_and(|last| *last != 0)
}

fn write_line(line: &str, style: Style, out: &mut impl Write) -> io::Result<()> {
    match style.width {
        Some(width) if line.chars().count() > width => {
            let kept: String = line.chars().take(width - 3).collect();
            writeln!(out, "{kept}...")
        }
        _ => writeln!(out, "{}", line.trim_end()),
    }
}

/// Writes one JSON object per line.
///
/// # Errors
/// If writing fails.
pub fn write_json(tree: &Tree, out: &mut impl Write) -> io::Result<()> {
    tree.walk(|node| {
        let process = node.process;
        let mut object = Map::new();
        let mut add = |name: &str, value: Value| {
            if value != Value::Null && value != json!("") {
                object.insert(name.to_owned(), value);
            }
        };
        let bytes = |bytes: &[u8]| Value::from(escaped(bytes, Place::Free));
        add("host", text(&process.host).into());
        add("pid", process.pid().into());
        add("ppid", node.parent.map(Process::pid).into());
        add("parent_start", node.parent.and_then(|parent| parent.start).map(time::rfc3339).into());
        add("depth", node.is_last.len().into());
        add("name", bytes(&process.name));
        add("exepath", bytes(&process.exe));
        if !process.args.is_empty() {
            add("args", values::arguments(&process.args).map(bytes).collect::<Vec<Value>>().into());
            add("args_cut", is_cut(process).then_some(true).into());
        }
        add("start", process.start.map(time::rfc3339).into());
        if let Some(end) = process.end {
            add("end", time::rfc3339(end.at).into());
            add("duration", process.duration().into());
            add("status", (end.signal == 0).then_some(end.status).into());
            add("signal", (end.signal != 0).then(|| signal_name(end.signal)).into());
            add("core", end.dumped_core.then_some(true).into());
        }
        add("user", text(&process.user).into());
        add("container", text(&process.container).into());
        add("container_id", bytes(&process.container_id));
        add("threads", process.threads.into());
        add("events", process.events.into());
        writeln!(out, "{}", Value::Object(object))
    })
}
