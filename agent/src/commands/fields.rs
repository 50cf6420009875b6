//! `ktape fields`: every field that a filter can name.

use std::io::{self, IsTerminal, Write};
use std::iter;
use std::process::ExitCode;

use anyhow::{Result, bail};

use ktape_reader::fields::{FieldArg, registry};
use ktape_reader::text::suggest;

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
Compare with  = == != < <= > >=  contains icontains startswith endswith
              glob iglob regex bcontains bstartswith  has  exists
              in (a, b)  intersects (a, b)  pmatch (/a, /b)
              = and text operators: anyof (a, b)  allof (a, b)  oneof (a, b)
Functions     tolower(X) toupper(X) basename(X) b64(X) len(X) concat(X, 'a')
              join(',', X); another field: proc.name = val(proc.pname)
Combine with  and  or  not  ( )   -- `and` binds tighter than `or`
A field that an event does not have fails every comparison; x != y is exactly
not (x = y), so it is true there.
Values with spaces, commas or brackets go into quotes; numbers may be
hexadecimal; durations need a unit (ns us ms s m h), sizes may have one (K M G).
Addresses compare with networks, too (10.0.0.0/8), signals and errors with names
or numbers. A value that the field cannot have is an error. Operators of text
compare what is shown; regex and glob match all of it. See docs/filters.md.
";

/// Prints the fields.
///
/// # Errors
/// If standard output cannot be written, or there is no such field.
pub fn run(args: &FieldsArgs) -> Result<ExitCode> {
    // To a program or a file, one line each, for grep.
    let width = io::stdout().is_terminal().then(terminal_width);
    let text = list(args.word.as_deref(), width);
    if let Some(word) = args.word.as_deref()
        && text.is_empty()
    {
        let hint = suggest::did_you_mean(word, registry().iter().map(|decl| decl.name));
        bail!("no field has `{word}` in its name or description{hint}; `ktape fields` lists all fields");
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => Ok(result.map(|()| ExitCode::SUCCESS)?),
    }
}

/// The width of the terminal; 80 if it is unknown.
fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col)).max(MIN_WIDTH)
}

/// Narrower terminals wrap lines themselves.
const MIN_WIDTH: usize = 80;

/// Where descriptions begin.
const INDENT: usize = 37;

/// A paragraph for each field, for those that have `word` in their name or description if it is given. Descriptions are
/// wrapped to `width` columns.
fn list(word: Option<&str>, width: Option<usize>) -> String {
    let wanted = word.map(str::to_lowercase);
    let mut text = String::new();
    for decl in registry() {
        let name = match decl.arg {
            FieldArg::None => decl.name.to_owned(),
            FieldArg::Key => format!("{}[KEY]", decl.name),
            FieldArg::Generation => format!("{}[N]", decl.name),
            FieldArg::IndexOrName => format!("{0}.NAME, {0}[N]", decl.name),
        };
        let head = format!("{name:<26} {:<9} ", decl.ty.name());
        let line = format!("{head}{}\n", decl.description());
        if wanted.as_ref().is_none_or(|word| line.to_lowercase().contains(word)) {
            match width {
                Some(width) => wrap(&head, &decl.description(), width, &mut text),
                None => text.push_str(&line),
            }
        }
    }
    if word.is_none() {
        text.push_str(NOTES);
    }
    text
}

/// Appends `head` and a description, wrapped at spaces to `width` columns with a hanging indent.
fn wrap(head: &str, description: &str, width: usize, text: &mut String) {
    text.push_str(head);
    let mut column = head.len();
    for (i, word) in description.split(' ').enumerate() {
        let len = word.chars().count();
        if i > 0 && column + 1 + len > width {
            text.extend(iter::once('\n').chain(iter::repeat_n(' ', INDENT)));
            column = INDENT;
        } else if i > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += len;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_line() {
        let text = list(None, None);
        for decl in registry() {
            let line = text
                .lines()
                .find(|l| l.strip_prefix(decl.name).is_some_and(|rest| rest.starts_with([' ', '[', '.'])));
            let line = line.unwrap_or_else(|| panic!("{} has no line", decl.name));
            assert!(line.ends_with(&*decl.description()), "{line}");
        }
        assert!(text.contains("x != y is exactly\nnot (x = y)"));
    }

    #[test]
    fn descriptions_are_wrapped_to_a_terminal() {
        let text = list(None, Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let joined = text.replace(&format!("\n{}", " ".repeat(INDENT)), " ");
        assert_eq!(joined, list(None, None), "only spaces become line breaks");
    }

    #[test]
    fn a_word_narrows_the_list() {
        let text = list(Some("container."), None);
        assert!(text.lines().count() >= 6 && text.lines().all(|l| l.contains("container.")), "{text}");
        assert_eq!(list(Some("CONTAINER."), None), text);
        assert!(list(Some("established"), None).lines().any(|l| l.starts_with("net.new ")));
    }

    #[test]
    fn a_word_that_no_field_has_is_reported() {
        let run = |word: &str| run(&FieldsArgs { word: Some(word.to_owned()) }).unwrap_err().to_string();
        assert_eq!(
            run("proc.nmae"),
            "no field has `proc.nmae` in its name or description (did you mean proc.name?); `ktape fields` lists all fields"
        );
        assert!(!run("xyzzy").contains("did you mean"));
    }
}
