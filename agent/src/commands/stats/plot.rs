//! Answers as pictures: bars, lines over time, heatmaps.

use super::output;
use super::table::{self, Paper, TextColumn};
use ktape_reader::stats::chart;
use ktape_reader::stats::text::Formatter;
use ktape_reader::stats::{Answer, AnswerRow, Cell, Datum, Plan};

/// The width of bars and lines if the output is no terminal.
const WIDTH: usize = 60;

/// Pictures are at least this wide, whatever the terminal.
const NARROWEST: usize = 10;

/// Appends a table with a picture of its first column: with time steps and other keys, a line over time for each group, else
/// a bar for each row.
pub fn table(plan: &Plan, answer: &Answer, paper: &Paper, out: &mut Vec<u8>) {
    let (width, ink) = (paper.width, paper.ink);
    let format = Formatter::of(plan, answer, &paper.zone);
    let is_stepped = plan.keys().first().is_some_and(|key| key.step_width().is_some());
    if !is_stepped || plan.keys().len() == 1 {
        let rows = filled(plan, answer);
        let mut columns = output::columns(plan, rows.iter(), answer.other.as_ref(), (0, &format));
        let numbers: Vec<f64> = rows.iter().map(|row| first_number(&row.cells).unwrap_or(0.0)).collect();
        let greatest = numbers.iter().copied().fold(0.0, f64::max);
        let room = room(&columns, width);
        let bars = numbers.iter().map(|number| chart::bar(number / greatest, room, ink));
        let other = answer.other.iter().map(|_| String::new());
        columns.push(TextColumn::pictures(std::iter::once(String::new()).chain(bars).chain(other).collect()));
        return table::write(columns, width, out);
    }
    let whole = answer.series.iter().map(|series| &series.whole);
    let mut columns = output::columns(plan, whole, answer.other.as_ref(), (1, &format));
    let room = room(&columns, width);
    let starts = starts(plan, answer);
    let line = |series: &ktape_reader::stats::Series| {
        let numbers: Vec<Option<f64>> = starts
            .iter()
            .map(|start| {
                let at = series.steps.binary_search_by_key(start, |(start, _)| *start).ok()?;
                first_number(&series.steps[at].1)
            })
            .collect();
        chart::sparkline(&chart::narrowed(&numbers, room), ink)
    };
    let lines = answer.series.iter().map(line);
    let other = answer.other.iter().map(|_| String::new());
    let head = match (starts.first(), starts.last()) {
        (Some(first), Some(last)) => format!("{} to {}", format.time(*first), format.time(*last)),
        _ => String::new(),
    };
    let cells = std::iter::once(head).chain(lines).chain(other).collect();
    // Beside the names, so that the eye does not have to cross the numbers.
    columns.insert(plan.keys().len() - 1, TextColumn::pictures(cells));
    table::write(columns, width, out);
}

fn first_number(cells: &[Cell]) -> Option<f64> {
    cells.iter().find_map(Cell::number)
}

/// The width that is left for pictures.
fn room(columns: &[TextColumn], width: Option<usize>) -> usize {
    width
        .map_or(WIDTH, |width| width.saturating_sub(table::width_of(columns) + 2).clamp(NARROWEST, 2 * WIDTH))
}

/// The beginnings of all steps, also of those without events.
fn starts(plan: &Plan, answer: &Answer) -> Vec<i64> {
    /// Most steps to draw; an event of long ago would otherwise make a picture of nothing.
    const MOST: usize = 100_000;
    let Some(step) = plan.keys().first().and_then(ktape_reader::stats::Key::step_width) else {
        return Vec::new();
    };
    let all = || answer.series.iter().flat_map(|series| series.steps.iter().map(|(start, _)| *start));
    let (Some(first), Some(last)) = (all().min(), all().max()) else { return Vec::new() };
    let count = ((last - first) / step) as usize + 1;
    if count > MOST {
        let mut starts: Vec<i64> = all().collect();
        starts.sort_unstable();
        starts.dedup();
        return starts;
    }
    (0..count).map(|at| first + at as i64 * step).collect()
}

/// The rows; of a histogram also those of powers of two between others that no event has.
fn filled(plan: &Plan, answer: &Answer) -> Vec<AnswerRow> {
    let mut rows = answer.rows.clone();
    if !plan.is_histogram() || answer.more > 0 {
        return rows;
    }
    let value = |row: &AnswerRow| match row.key[..] {
        [Datum::Number(number)] => Some(number),
        _ => None,
    };
    let known: Vec<i128> = rows.iter().filter_map(value).collect();
    let (Some(least), Some(greatest)) = (known.iter().copied().filter(|v| *v > 0).min(), known.iter().max())
    else {
        return rows;
    };
    let missing = std::iter::successors(Some(least), |value| value.checked_mul(2))
        .take_while(|value| value < greatest)
        .filter(|value| !known.contains(value));
    rows.extend(missing.map(|value| AnswerRow { key: vec![Datum::Number(value)], cells: plan.nothing() }));
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// Appends a heatmap: time from left to right, powers of two from bottom to top, darker where there is more of the first
/// column. The question groups by time steps and powers of two.
pub fn heatmap(plan: &Plan, answer: &Answer, paper: &Paper, out: &mut Vec<u8>) {
    let (width, ink) = (paper.width, paper.ink);
    let format = Formatter::of(plan, answer, &paper.zone);
    let starts = starts(plan, answer);
    let Some(key) = plan.keys().get(1) else { return };
    let mut rows: Vec<(&Datum, Vec<f64>)> = Vec::new();
    let mut greatest = 0.0f64;
    let names: Vec<String> = answer
        .series
        .iter()
        .filter_map(|s| s.whole.key.first())
        .map(|value| format.key(value, key.ty))
        .collect();
    let label = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let room = width.unwrap_or(WIDTH + label + 2).saturating_sub(label + 2).max(NARROWEST);
    let stretch = starts.len().div_ceil(room).max(1);
    for series in &answer.series {
        let Some(value) = series.whole.key.first() else { continue };
        let mut counts = vec![0.0; starts.len().div_ceil(stretch)];
        for (start, cells) in &series.steps {
            if let (Ok(at), Some(number)) = (starts.binary_search(start), first_number(cells)) {
                counts[at / stretch] += number;
            }
        }
        greatest = counts.iter().copied().fold(greatest, f64::max);
        rows.push((value, counts));
    }
    rows.sort_by(|a, b| b.0.cmp(a.0));
    for (value, counts) in rows {
        let text = format.key(value, key.ty);
        let pad = " ".repeat(label - text.len().min(label));
        out.extend_from_slice(
            format!("{pad}{text} |{}", chart::shades(&counts, greatest, ink)).trim_end().as_bytes(),
        );
        out.push(b'\n');
    }
    if let (Some(first), Some(last)) = (starts.first(), starts.last()) {
        let (first, last) = (format.time(*first), format.time(*last));
        let between = starts.len().div_ceil(stretch).saturating_sub(first.len() + last.len()).max(1);
        out.extend_from_slice(
            format!("{}{first}{}{last}\n", " ".repeat(label + 2), " ".repeat(between)).as_bytes(),
        );
    }
}
