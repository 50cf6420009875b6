//! `ktape views`: lists, explains and checks the views of `ktape stats`.

mod text;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::session::messages::message;
use crate::usage::usage;
use ktape_reader::stats::views::{View, Views};

/// Views for all users of a host.
const OF_HOST: &str = "/etc/ktape/views";

const AFTER_HELP: &str = "\
A view is a file NAME.toml in ~/.config/ktape/views ($XDG_CONFIG_HOME) or
/etc/ktape/views, or the file of `ktape stats --view FILE`. NAME has small
letters, digits and hyphens. A view of yours replaces the one of the same name.

    title = \"Slow reads\"                     a few words
    question = \"Which files are slow?\"       one sentence
    kinds = [\"read\", \"pread64\"]              events and syscalls, as for -e
    filter = \"evt.latency > 1ms\"             which of these events
    by = [\"fd.name\"]                         groups, as for stats --by
    columns = [                              as for stats --columns
        \"reads = count\",                     TITLE = EXPRESSION
        \"slowest = max(evt.latency)\",
    ]
    sort = [\"slowest\"]                       titles or groups, also with :asc
    enter = { view = \"processes\" }           what opening a row shows

title and question are required, and by, columns or both. There are also:
    per = \"1s\"                               a row for each second, too
    having = \"reads > 10\"                    only rows of which this is true
    top = 20                                 at most this many rows
    needs = \"capture --stall 100ms\"          what has to be recorded
    enter = { view = \"threads\", filter = \"proc.pid = {proc.pid}\" }
                                             {GROUP}: the value of the row

Columns are made of count, count(EXPR), sum(FIELD), avg, min, max, p50, p99,
distinct(FIELD), first, last(FIELD), rate (per second), rate(FIELD), share and
sum(FIELD if EXPR), with + - * / between them; `ktape stats --help` has more.
`ktape fields` lists the fields and how to compare them. Units follow from the
fields: bytes, durations, and percent of a CPU for rate(switch.ran).

To start from a view that there is:
    mkdir -p ~/.config/ktape/views
    ktape views files --toml > ~/.config/ktape/views/slow-reads.toml
    ktape views --check ~/.config/ktape/views/slow-reads.toml
    ktape stats my.ktape slow-reads

Examples:
  ktape views                     what there is
  ktape views files               its question, groups and columns
  ktape views files --toml        its file
  ktape stats my.ktape files      its answer";

/// Arguments of `ktape views`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct ViewsArgs {
    /// Explain this view: its question, groups, columns, and what it needs in a capture
    #[arg(value_name = "VIEW")]
    name: Option<String>,
    /// Print the file of the view
    #[arg(long, requires = "name", conflicts_with_all = ["check", "format"])]
    toml: bool,
    /// Check these files, and exit with code 1 if one of them is not a valid view
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "name")]
    check: Vec<PathBuf>,
    /// Output format: text, or json (one JSON object per view)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// Prints or checks views.
///
/// # Errors
/// There is no view of this name, it is not valid, or standard output cannot be written.
pub fn run(args: &ViewsArgs) -> Result<ExitCode> {
    let mut out = Vec::new();
    if !args.check.is_empty() {
        let code = check(&args.check, &mut out)?;
        return print(&out, code);
    }
    let views = all()?;
    match &args.name {
        Some(name) => {
            let view = named(&views, name)?;
            match args.format {
                _ if args.toml => out.extend_from_slice(view.text.as_bytes()),
                Format::Text => text::explain(&view, &mut out),
                Format::Json => text::json(&view, &mut out),
            }
        }
        None => {
            let (valid, wrong): (Vec<_>, Vec<_>) = views.all().into_iter().partition(Result::is_ok);
            let valid: Vec<View> = valid.into_iter().flatten().collect();
            match args.format {
                Format::Text => text::list(&valid, &mut out),
                Format::Json => valid.iter().for_each(|view| text::json(view, &mut out)),
            }
            wrong.into_iter().filter_map(Result::err).for_each(message);
        }
    }
    print(&out, ExitCode::SUCCESS)
}

/// Prints the text. A closed pipe is no failure.
fn print(out: &[u8], code: ExitCode) -> Result<ExitCode> {
    match io::stdout().lock().write_all(out) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(code),
        result => Ok(result.map(|()| code)?),
    }
}

/// Short names for fields, of this host and of this user: the files `names.toml` beside the directories of views.
///
/// # Errors
/// A file is not valid, or cannot be read.
pub fn names() -> Result<BTreeMap<String, String>> {
    const NONE: [io::ErrorKind; 3] =
        [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory, io::ErrorKind::PermissionDenied];
    let mut all = BTreeMap::new();
    for directory in directories(env::var_os("XDG_CONFIG_HOME"), env::var_os("HOME")) {
        let path = directory.with_file_name("names.toml");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let names = ktape_reader::stats::names::parse(&text);
                all.extend(names.map_err(|error| usage(format!("{}: {error}", path.display())))?);
            }
            // There is none, or the home directory is someone else's (sudo -u).
            Err(error) if NONE.contains(&error.kind()) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    Ok(all)
}

/// The views that are built in, of this host, and of this user.
///
/// # Errors
/// As [`names`].
pub fn all() -> Result<Views> {
    let directories = directories(env::var_os("XDG_CONFIG_HOME"), env::var_os("HOME"));
    Ok(Views::with_directories(&directories).with_names(names()?))
}

/// Where views are looked for; later ones come before earlier ones.
fn directories(config: Option<OsString>, home: Option<OsString>) -> Vec<PathBuf> {
    // As the specification of base directories has it, a relative path counts as none.
    let of_user = config
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| home.map(|home| PathBuf::from(home).join(".config")).filter(|path| path.is_absolute()));
    let of_user = of_user.map(|path| path.join("ktape/views"));
    std::iter::once(PathBuf::from(OF_HOST)).chain(of_user).collect()
}

/// The view with this name.
///
/// # Errors
/// There is none, or its file is not valid.
pub fn named(views: &Views, name: &str) -> Result<View> {
    match views.get(name) {
        Some(Ok(view)) => Ok(view),
        Some(Err(error)) => bail!("{error}"),
        None => Err(usage(format!(
            "no view is named `{name}`{}; `ktape views` lists all views",
            views.hint(name)
        ))),
    }
}

/// Checks files, which may open each other.
fn check(files: &[PathBuf], out: &mut Vec<u8>) -> Result<ExitCode> {
    let mut views = all()?;
    let names = names()?;
    files.iter().for_each(|file| views.add(file));
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match View::open(file, &names).and_then(|view| views.check_enter(&view).map(|()| view)) {
            Ok(view) => writeln!(out, "{}: the view {} is valid", file.display(), view.name)?,
            Err(error) => {
                message(error);
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_views_come_after_those_of_the_host() {
        let of = |config: Option<&str>, home: Option<&str>| {
            let found = directories(config.map(OsString::from), home.map(OsString::from));
            let found: Vec<String> = found.into_iter().map(|path| path.display().to_string()).collect();
            found.join(" ")
        };
        assert_eq!(of(None, Some("/home/a")), "/etc/ktape/views /home/a/.config/ktape/views");
        assert_eq!(of(Some("/c"), Some("/home/a")), "/etc/ktape/views /c/ktape/views");
        assert_eq!(of(Some("c"), Some("/home/a")), "/etc/ktape/views /home/a/.config/ktape/views");
        assert_eq!(of(Some(""), None), "/etc/ktape/views");
    }
}
