//! A table that is drawn over the one before.

use std::io::{self, IsTerminal, Write};

use super::table::{prefix, terminal_width};

/// A terminal with lines that are drawn again and again.
#[derive(Debug, Default)]
pub struct Screen {
    /// Lines that the last table has left on the terminal.
    lines: usize,
}

impl Screen {
    /// Standard output, if it is a terminal that can move its cursor.
    pub fn of_stdout() -> Option<Self> {
        let is_able = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        (io::stdout().is_terminal() && is_able).then(Self::default)
    }

    /// Draws lines, as many of them and as much of each as fit.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn draw(&mut self, text: &str) -> io::Result<()> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
        let rows = size.map_or(24, |size| usize::from(size.ws_row)).max(3) - 1;
        self.write(text, rows, terminal_width().unwrap_or(80), &mut io::stdout().lock())
    }

    fn write(&mut self, text: &str, rows: usize, width: usize, out: &mut impl Write) -> io::Result<()> {
        let mut drawn = self.home();
        self.lines = 0;
        for line in text.lines().take(rows) {
            // In one write, and without clearing all of it first, so that it does not flicker.
            drawn.push_str(&prefix(line.chars(), width));
            drawn.push_str("\x1b[K\n");
            self.lines += 1;
        }
        drawn.push_str("\x1b[J");
        out.write_all(drawn.as_bytes())?;
        out.flush()
    }

    /// Removes the lines.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn clear(self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(format!("{}\x1b[J", self.home()).as_bytes())?;
        stdout.flush()
    }

    /// Moves the cursor to the first line.
    fn home(&self) -> String {
        if self.lines == 0 { String::new() } else { format!("\x1b[{}A\r", self.lines) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_the_one_before_and_fits_the_terminal() {
        let mut screen = Screen::default();
        let mut draw = |text: &str| {
            let mut out = Vec::new();
            screen.write(text, 3, 5, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(draw("a\nb\n"), "a\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(draw("1234567\n2\n3\n4\n"), "\x1b[2A\r12345\x1b[K\n2\x1b[K\n3\x1b[K\n\x1b[J");
        assert_eq!(draw("a\n"), "\x1b[3A\ra\x1b[K\n\x1b[J");
    }
}
