//! Columns of text, lined up and fitted to the terminal.

use std::io::{self, IsTerminal};

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

use ktape_reader::stats::chart::Ink;

/// A column that may be cut is not cut to less than this.
const NARROWEST: usize = 12;

/// What answers are drawn on, and with.
#[derive(Clone, Debug)]
pub struct Paper {
    /// The zone of times.
    pub zone: TimeZone,
    /// Columns of the terminal; `None` if the output is none.
    pub width: Option<usize>,
    /// Which characters the terminal has.
    pub ink: Ink,
}

/// The width of the terminal; `None` if standard output is none.
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (io::stdout().is_terminal() && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// A column of a table: its head and its cells.
#[derive(Clone, Debug)]
pub struct TextColumn {
    is_right: bool,
    /// Whether cells may be cut to fit the terminal.
    is_cuttable: bool,
    cells: Vec<String>,
    width: usize,
}

impl TextColumn {
    /// Names, lined up on the left and cut if there is no room for them.
    pub fn names(cells: Vec<String>) -> Self {
        Self::new(false, true, cells)
    }

    /// Numbers, lined up on the right and never cut.
    pub fn numbers(cells: Vec<String>) -> Self {
        Self::new(true, false, cells)
    }

    /// Pictures, lined up on the left and never cut.
    pub fn pictures(cells: Vec<String>) -> Self {
        Self::new(false, false, cells)
    }

    fn new(is_right: bool, is_cuttable: bool, cells: Vec<String>) -> Self {
        let width = cells.iter().map(|cell| cell.width()).max().unwrap_or(0);
        Self { is_right, is_cuttable, cells, width }
    }
}

/// Spaces between columns, and where the terminal is too narrow for that.
const GAPS: [usize; 2] = [2, 1];

/// The width of a table.
pub fn width_of(columns: &[TextColumn]) -> usize {
    with_gaps(columns, GAPS[0])
}

fn with_gaps(columns: &[TextColumn], gap: usize) -> usize {
    columns.iter().map(|column| column.width).sum::<usize>() + gap * columns.len().saturating_sub(1)
}

/// Appends a table, its names cut to fit into `width`.
pub fn write(mut columns: Vec<TextColumn>, width: Option<usize>, out: &mut Vec<u8>) {
    let gap = match width {
        // A narrow gap is better than a name that cannot be recognised.
        Some(width) if width_of(&columns) > width => GAPS[1],
        _ => GAPS[0],
    };
    if let Some(width) = width {
        fit(&mut columns, width, gap);
    }
    let lines = columns.first().map_or(0, |column| column.cells.len());
    for line in 0..lines {
        let mut text = String::new();
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                text.extend(std::iter::repeat_n(' ', gap));
            }
            let cell = cut(&column.cells[line], column.width);
            let pad = column.width - cell.width().min(column.width);
            if column.is_right {
                text.extend(std::iter::repeat_n(' ', pad));
                text.push_str(&cell);
            } else {
                text.push_str(&cell);
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        out.extend_from_slice(text.trim_end().as_bytes());
        out.push(b'\n');
    }
}

/// Narrows the widest names until the table fits, or none can be cut further.
fn fit(columns: &mut [TextColumn], width: usize, gap: usize) {
    while let Some(excess) = with_gaps(columns, gap).checked_sub(width).filter(|excess| *excess > 0) {
        let names = columns.iter_mut().filter(|column| column.is_cuttable && column.width > NARROWEST);
        let Some(widest) = names.max_by_key(|column| column.width) else { return };
        widest.width = widest.width.saturating_sub(excess.min(8)).max(NARROWEST);
    }
}

/// Cuts in the middle; the end of what does not fit says more than the middle: `/var/lib...d-shm/data.log`.
fn cut(cell: &str, width: usize) -> String {
    const MARK: &str = "...";
    if cell.width() <= width {
        return cell.to_owned();
    }
    let room = width.saturating_sub(MARK.len());
    let start = prefix(cell.chars(), room / 3);
    let end: String = prefix(cell.chars().rev(), room - start.width()).chars().rev().collect();
    format!("{start}{MARK}{end}")
}

/// As many characters as fit into `width`.
pub fn prefix(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut taken = String::new();
    for c in characters {
        taken.push(c);
        if taken.width() > width {
            taken.pop();
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: Vec<TextColumn>, width: Option<usize>) -> String {
        let mut out = Vec::new();
        write(columns, width, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn cells(list: &[&str]) -> Vec<String> {
        list.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn names_are_on_the_left_and_numbers_on_the_right() {
        let columns = vec![
            TextColumn::names(cells(&["NAME", "a", "日本"])),
            TextColumn::numbers(cells(&["N", "1,000", "7"])),
        ];
        assert_eq!(table(columns, None), "NAME      N\na     1,000\n日本      7\n");
    }

    #[test]
    fn names_are_cut_in_the_middle_and_numbers_never() {
        let path = "/var/lib/some/where/data.log";
        let columns =
            || vec![TextColumn::names(cells(&["FILE", path])), TextColumn::numbers(cells(&["N", "123"]))];
        assert_eq!(table(columns(), Some(80)), format!("{:28}    N\n{path}  123\n", "FILE"));
        assert_eq!(table(columns(), Some(25)), "FILE                    N\n/var/l...ere/data.log 123\n");
        // Not below what can still be recognised.
        assert_eq!(table(columns(), Some(5)), "FILE           N\n/va...ta.log 123\n");
        assert_eq!(cut("日本語日本語", 9), "日...本語");
    }
}
