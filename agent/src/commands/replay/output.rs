//! Where the events of `ktape replay` go, and what is reported at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;

use super::ReplayArgs;
use crate::commands::report;
use crate::store::output::{is_stdout, refuse_terminal};
use crate::usage::usage;
use ktape_reader::scan::{Capture, Playback, PrintSink, ScanReport, Search};

/// Prints to standard output, in the format of the arguments.
///
/// # Errors
/// A name is no field.
pub fn sink(
    args: &ReplayArgs,
    zone: TimeZone,
    pace: Option<Playback>,
) -> Result<PrintSink<io::StdoutLock<'static>>> {
    Ok(PrintSink::new(args.output.view(zone)?, io::stdout().lock(), args.limit, pace))
}

/// Copies the matching events into a new capture.
///
/// # Errors
/// The file exists without `force`, is one of the captures, or cannot be written.
pub fn copy(path: &Path, force: bool, search: &Search<'_>) -> Result<ScanReport> {
    let captures = search.captures().files();
    if is_stdout(path) {
        let mut out = stdout(captures)?;
        let report = search.copy(&mut out).context("cannot write to standard output")?;
        out.flush().context("cannot write to standard output")?;
        return Ok(report);
    }
    let mut out = create(path, captures, force)?;
    search.copy(&mut out).with_context(|| format!("cannot write {}", path.display()))
}

/// Standard output, if a capture may be written to it.
fn stdout(captures: &[Capture]) -> Result<io::BufWriter<io::StdoutLock<'static>>> {
    let stdout = io::stdout().lock();
    refuse_terminal(&stdout)?;
    let meta = File::from(stdout.as_fd().try_clone_to_owned()?).metadata()?;
    if is_input(&meta, captures) {
        return Err(usage("cannot write to standard output: it is also the input"));
    }
    Ok(io::BufWriter::new(stdout))
}

/// Whether a file is one of the captures that are read.
fn is_input(meta: &fs::Metadata, captures: &[Capture]) -> bool {
    captures.iter().any(|capture| {
        fs::metadata(&capture.path).is_ok_and(|m| (m.dev(), m.ino()) == (meta.dev(), meta.ino()))
    })
}

/// Prints the count and what was lost, damaged or not found; returns the exit code.
///
/// # Errors
/// Standard output cannot be written.
pub fn finish(args: &ReplayArgs, report: &ScanReport) -> Result<ExitCode> {
    if args.count {
        writeln!(io::stdout(), "{}", report.matching)?;
    }
    Ok(report::finish(report, args.strict))
}

/// Creates the file of `-w`.
fn create(path: &Path, captures: &[Capture], force: bool) -> Result<io::BufWriter<File>> {
    if fs::metadata(path).is_ok_and(|old| is_input(&old, captures)) {
        return Err(usage(format!("cannot write {}: it is also the input", path.display())));
    }
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(usage(format!("cannot write {}: file exists; use --force to overwrite it", path.display())))
        }
        result => {
            Ok(io::BufWriter::new(result.with_context(|| format!("cannot create {}", path.display()))?))
        }
    }
}
