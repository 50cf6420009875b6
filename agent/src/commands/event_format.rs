//! How the commands that print events print them.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};

use anyhow::Result;
use jiff::tz::TimeZone;

use crate::session::options::OUTPUT;
use crate::usage::usage;
use ktape_reader::text::paint::Paint;
use ktape_reader::view::{Format, TemplateView, TextView, View};

/// The values of `--format`, see [`Format`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EventFormat {
    /// One line per event, for people
    #[default]
    Text,
    /// One JSON object per line
    Json,
    /// Comma-separated values with a header
    Csv,
}

impl From<EventFormat> for Format {
    fn from(format: EventFormat) -> Self {
        match format {
            EventFormat::Text => Self::Text,
            EventFormat::Json => Self::Json,
            EventFormat::Csv => Self::Csv,
        }
    }
}

/// Options that say how events are printed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EventOutput {
    /// Output format: text (one line per event), json (one JSON object per line) or csv (with a header line)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, help_heading = OUTPUT)]
    pub format: EventFormat,
    /// Print only these fields, separated by commas, in any format (see `ktape fields`)
    #[arg(long, value_name = "LIST", alias = "columns", help_heading = OUTPUT)]
    pub fields: Option<String>,
    /// Print a line of text per event, with %FIELD for the values, such as '%evt.time %proc.name %fd.name'
    #[arg(short, long, value_name = "TEMPLATE", allow_hyphen_values = true, conflicts_with = "fields", help_heading = OUTPUT)]
    pub print: Option<String>,
    /// Colour text: auto (on a terminal, unless NO_COLOR is set), always or never; not with --fields and --print
    #[arg(long, value_enum, value_name = "WHEN", default_value_t, hide_possible_values = true, help_heading = OUTPUT)]
    pub color: ColorWhen,
}

/// The values of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorWhen {
    /// On a terminal
    #[default]
    Auto,
    /// Also in files and pipes
    Always,
    /// Nowhere
    Never,
}

/// What decides whether `--color auto` colours: standard output and the environment.
#[derive(Clone, Debug, Default)]
struct Terminal {
    is_terminal: bool,
    /// `NO_COLOR` (<https://no-color.org>): any value but an empty one.
    no_color: Option<OsString>,
    /// `TERM`.
    term: Option<OsString>,
}

impl Terminal {
    fn of_stdout() -> Self {
        Self {
            is_terminal: io::stdout().is_terminal(),
            no_color: env::var_os("NO_COLOR"),
            term: env::var_os("TERM"),
        }
    }
}

impl ColorWhen {
    fn paint(self, terminal: &Terminal) -> Paint {
        let is_unwanted = terminal.no_color.as_ref().is_some_and(|value| !value.is_empty());
        let is_able = terminal.term.as_ref().is_some_and(|term| term != "dumb");
        match self {
            Self::Always => Paint::Color,
            Self::Auto if terminal.is_terminal && is_able && !is_unwanted => Paint::Color,
            Self::Auto | Self::Never => Paint::Plain,
        }
    }
}

impl EventOutput {
    /// What writes events so; text prints times in `zone`.
    ///
    /// # Errors
    /// A name is no field, or the options exclude each other.
    pub fn view(&self, zone: TimeZone) -> Result<Box<dyn View>> {
        let format = Format::from(self.format);
        match (&self.fields, &self.print) {
            (Some(names), _) => format.fields_view(names, zone).map_err(usage),
            (None, Some(_)) if self.format != EventFormat::Text => {
                Err(usage("--print writes text: with --format json or csv, use --fields"))
            }
            (None, Some(template)) => Ok(Box::new(TemplateView::new(template, zone).map_err(usage)?)),
            (None, None) if format == Format::Text => {
                Ok(Box::new(TextView::new(zone).painted(self.color.paint(&Terminal::of_stdout()))))
            }
            (None, None) => Ok(format.view(zone)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminals_get_colours_by_themselves() {
        let terminal = |is_terminal, no_color: Option<&str>, term: Option<&str>| Terminal {
            is_terminal,
            no_color: no_color.map(OsString::from),
            term: term.map(OsString::from),
        };
        let xterm = Some("xterm-256color");
        for (found, expected) in [
            (terminal(true, None, xterm), Paint::Color),
            (terminal(true, Some(""), xterm), Paint::Color),
            (terminal(true, Some("1"), xterm), Paint::Plain),
            (terminal(true, None, Some("dumb")), Paint::Plain),
            (terminal(true, None, None), Paint::Plain),
            (terminal(false, None, xterm), Paint::Plain),
        ] {
            assert_eq!(ColorWhen::Auto.paint(&found), expected, "{found:?}");
            assert_eq!(ColorWhen::Always.paint(&found), Paint::Color, "{found:?}");
            assert_eq!(ColorWhen::Never.paint(&found), Paint::Plain, "{found:?}");
        }
    }
}
