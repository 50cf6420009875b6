//! How the commands that print events print them.

use anyhow::Result;
use jiff::tz::TimeZone;

use crate::session::options::OUTPUT;
use crate::usage::usage;
use ktape_reader::view::{Format, TemplateView, View};

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
            (None, None) => Ok(format.view(zone)),
        }
    }
}
