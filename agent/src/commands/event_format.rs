//! `--format` of the commands that print events.

use ktape_reader::view::Format;

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
