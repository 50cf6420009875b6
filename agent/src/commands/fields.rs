//! `ktape fields`: every field that a filter can name.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;

use ktape_reader::fields::{FieldArg, registry};

const EXAMPLES: &str = "\
Examples:
  ktape fields
  ktape fields container";

/// Arguments of `ktape fields`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct FieldsArgs {
    /// Only fields whose name or description contains WORD
    #[arg(value_name = "WORD")]
    word: Option<String>,
}

const NOTES: &str = "
Compare with  = == != < <= > >=  contains icontains startswith endswith glob  in (a, b)  exists
Combine with  and  or  not  ( )   -- `and` binds tighter than `or`
A field that an event does not have fails every comparison; x != y is exactly not (x = y), so it is true there.
Values with spaces, commas or brackets go into quotes; numbers may be hexadecimal; durations take ns us ms s m h.
";

/// Prints the fields.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &FieldsArgs) -> Result<ExitCode> {
    match write(&mut io::stdout().lock(), args.word.as_deref()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => Ok(result.map(|()| ExitCode::SUCCESS)?),
    }
}

fn write(out: &mut impl Write, word: Option<&str>) -> io::Result<()> {
    let mut text = String::new();
    for decl in registry() {
        let name = match decl.arg {
            FieldArg::None => decl.name.to_owned(),
            FieldArg::Key => format!("{}[KEY]", decl.name),
            FieldArg::IndexOrName => format!("{0}.NAME, {0}[N]", decl.name),
        };
        if word.is_some_and(|w| !name.contains(w) && !decl.doc.contains(w)) {
            continue;
        }
        text.push_str(&format!("{name:<26} {:<9} {}\n", decl.ty.name(), decl.doc));
    }
    if word.is_none() {
        text.push_str(NOTES);
    }
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(word: Option<&str>) -> String {
        let mut out = Vec::new();
        write(&mut out, word).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_field_has_a_line() {
        let text = printed(None);
        for decl in registry() {
            let line = text
                .lines()
                .find(|l| l.strip_prefix(decl.name).is_some_and(|rest| rest.starts_with([' ', '[', '.'])));
            let line = line.unwrap_or_else(|| panic!("{} has no line", decl.name));
            assert!(line.ends_with(decl.doc), "{line}");
        }
        assert!(text.contains("x != y is exactly not (x = y)"));
    }

    #[test]
    fn a_word_narrows_the_list() {
        let text = printed(Some("container."));
        assert!(text.lines().count() >= 6 && text.lines().all(|l| l.contains("container.")), "{text}");
    }
}
