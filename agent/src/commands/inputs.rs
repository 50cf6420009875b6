//! Which arguments are captures, and which is a filter expression.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::text::escape::{Place, escaped};

/// The paths among the arguments of a command, and the expression if the last argument is one. A file of that name wins.
///
/// # Errors
/// A capture does not exist, or the last argument is neither a file nor an expression.
pub fn split(command: &str, inputs: &[OsString]) -> Result<(Vec<PathBuf>, Option<Filter>)> {
    let mut paths: Vec<PathBuf> = inputs.iter().map(PathBuf::from).collect();
    let Some((last, others)) = inputs.split_last() else { return Ok((paths, None)) };
    if let Some(position) = others.iter().position(|input| is_missing(input)) {
        return Err(missing_before_last(command, inputs, position));
    }
    if !is_missing(last) {
        return Ok((paths, None));
    }
    let shown = shown(last);
    if looks_like_file(last) || others.is_empty() && is_word(last) {
        return Err(usage(format!("cannot open {shown}: no such file")));
    }
    let parsed = match last.to_str() {
        Some(text) => Filter::parse(text).map_err(|error| error.to_string()),
        None => Err("not valid UTF-8".to_owned()),
    };
    match parsed {
        Ok(_) if others.is_empty() => Err(usage(format!(
            "no capture given for the expression `{shown}`; use: ktape {command} FILE '{shown}'"
        ))),
        Ok(filter) => {
            paths.pop();
            Ok((paths, Some(filter)))
        }
        Err(reason) => Err(usage(format!("`{shown}` is neither a file nor a valid expression: {reason}"))),
    }
}

/// An argument before the last one can only be a capture; an expression there is in the wrong place, or without quotes.
fn missing_before_last(command: &str, inputs: &[OsString], position: usize) -> anyhow::Error {
    let missing = &inputs[position];
    let (words, files): (Vec<&OsString>, Vec<&OsString>) = inputs.iter().partition(|input| is_missing(input));
    let whole = join(&words);
    let is_expression = !looks_like_file(missing) && !is_word(missing);
    // What compares something is an expression, whatever is wrong with it.
    let compares = || whole.bytes().any(|byte| b"=<>".contains(&byte));
    let parsed = Filter::parse(&whole);
    if is_expression && (parsed.is_ok() || compares()) || words.len() > 1 && parsed.is_ok() {
        let rule = match words.len() {
            1 => "the expression must be the last argument",
            _ => "the expression must be one argument, the last one",
        };
        let message = format!("{rule}; use: ktape {command} {} '{whole}'", join(&files));
        return usage(match parsed {
            Ok(_) => message,
            Err(reason) => format!("{message}; it is not valid: {reason}"),
        });
    }
    let message = format!("cannot open {}: no such file", shown(missing));
    // If the last argument is neither a file nor an expression, this is wrong usage.
    let is_usage = inputs.last().is_some_and(|last| is_missing(last) && !is_parsable(last));
    if is_usage { usage(message) } else { anyhow::Error::msg(message) }
}

/// Arguments as they were written, without their quotes.
fn join(inputs: &[&OsString]) -> String {
    let shown: Vec<String> = inputs.iter().map(|input| shown(input)).collect();
    shown.join(" ")
}

fn shown(input: &OsStr) -> String {
    escaped(input.as_encoded_bytes(), Place::Free).into_owned()
}

/// Whether it is an expression, by its syntax and its fields.
fn is_parsable(input: &OsStr) -> bool {
    input.to_str().is_some_and(|text| Filter::parse(text).is_ok())
}

/// Whether there is nothing with this name. Standard input (`-`), and what exists but cannot be examined, is not missing.
pub fn is_missing(input: &OsStr) -> bool {
    let kinds = [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::InvalidFilename];
    input != "-" && fs::metadata(input).is_err_and(|error| kinds.contains(&error.kind()))
}

/// Whether an argument that does not exist looks like a file: named `*.ktape`, or a path without an operator.
pub fn looks_like_file(input: &OsStr) -> bool {
    let path = Path::new(input);
    let starts = [".", "..", "/"].iter().any(|start| path.starts_with(start));
    path.extension().is_some_and(|extension| extension == "ktape")
        || starts
        || is_word(input) && input.as_encoded_bytes().contains(&b'/')
}

/// Whether it has nothing that an expression consists of beside names and values.
pub fn is_word(input: &OsStr) -> bool {
    !input.as_encoded_bytes().iter().any(|byte| b" \t\n=!<>()'\"".contains(byte))
}
