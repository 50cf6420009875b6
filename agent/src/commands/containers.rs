//! `ktape containers`: lists containers with their names, lifetimes and exit codes.

mod gather;
mod live;
mod print;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::host_root::HostRoot;
use crate::session::messages::message;
use crate::session::options::{self, selectors};
use crate::usage::usage;
use ktape_reader::containers::type_of;
use ktape_reader::model::ContainerSelector;
use ktape_reader::model::attribute_names as names;

const AFTER_HELP: &str = concat!(
    selectors!(),
    "
Examples:
  ktape containers web.ktape
  sudo ktape containers --live
  ktape containers web.ktape --container 'image:nginx*' --format json"
);

/// Options of `ktape containers`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct ContainersArgs {
    /// Captures or directories of captures
    #[arg(value_name = "FILE", required_unless_present = "live")]
    files: Vec<PathBuf>,
    /// List the containers that exist on this host now
    #[arg(long, conflicts_with = "files")]
    live: bool,
    /// Only this container (repeatable; see Selectors)
    #[arg(long, value_name = "SELECTOR")]
    container: Vec<String>,
    /// With --live: get container names from this runtime socket: docker=, podman=, containerd= or cri=PATH, or `off`
    /// (repeatable) [default: all sockets at their usual paths]
    #[arg(long, value_name = "RUNTIME=SOCKET", requires = "live")]
    runtime: Vec<String>,
    /// With --live: if ktape itself runs in a container, where the host's root is mounted
    #[arg(long, value_name = "DIR", requires = "live")]
    host_root: Option<PathBuf>,
    /// Output format: table, json (one JSON object per line) or csv (with a header line; labels as KEY=VALUE, separated by
    /// commas)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Aligned columns, without those that are empty.
    #[default]
    Table,
    /// One object per line.
    Json,
    /// With a header line.
    Csv,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    host: String,
    id: String,
    runtime: String,
    /// The ids of its outer containers and its own, outermost first, joined by `>`.
    chain: String,
    pod_uid: String,
    /// The attributes that the runtime reported, by the name of the field that shows them.
    attributes: BTreeMap<String, String>,
    /// Wall clock, ns; `None` if it existed before the capture.
    born: Option<i64>,
    /// When it was last started. Wall clock, ns.
    started: Option<i64>,
    died: Option<i64>,
    /// The exit code of the process that ended last; used if the runtime reported none.
    exit_code: Option<i64>,
    oom_kills: u64,
    processes: u64,
    events: u64,
}

impl Row {
    /// What the runtime reported, also that its type is not what its cgroup's path suggests.
    fn set_attributes(&mut self, attributes: BTreeMap<String, String>) {
        self.attributes = attributes;
        let reported = self.attributes.get(names::TYPE).map(String::as_bytes);
        let actual = type_of(self.runtime.as_bytes(), reported);
        self.runtime = String::from_utf8_lossy(actual).into_owned();
    }

    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// Its name; its id if the runtime uses names as ids.
    fn name(&self) -> &str {
        match self.attribute(names::NAME) {
            "" if ktape_reader::containers::is_name(self.id.as_bytes()) => &self.id,
            name => name,
        }
    }

    fn pod(&self) -> String {
        match (self.attribute(names::POD_NAMESPACE), self.attribute(names::POD_NAME)) {
            (_, "") => String::new(),
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        }
    }

    fn exit_code(&self) -> Option<i64> {
        self.attribute(names::EXIT_CODE).parse().ok().or(self.exit_code)
    }

    /// Labels of the container and of its pod, by key.
    fn labels(&self) -> BTreeMap<&str, &str> {
        let of = |name: &'static str| {
            self.attributes.iter().filter_map(move |(known, value)| {
                let key = known.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
                Some((key, value.as_str()))
            })
        };
        of(names::POD_LABEL).chain(of(names::LABEL)).collect()
    }

    fn matches_any(&self, wanted: &[ContainerSelector]) -> bool {
        let get = |name: &str| match name {
            names::NAME => Some(self.name()),
            name => self.attributes.get(name).map(String::as_str),
        };
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.matches_id(&self.id) || wanted.matches(get))
    }
}

/// Prints the containers.
///
/// # Errors
/// A capture cannot be read.
pub fn run(args: &ContainersArgs) -> Result<ExitCode> {
    let wanted = options::parse_selectors(&args.container).map_err(usage)?;
    if wanted.contains(&ContainerSelector::Host) {
        return Err(usage(
            "the host is not a container: `host` selects events, in capture, watch and replay",
        ));
    }
    let host = args.host_root.as_deref().map_or_else(HostRoot::default, HostRoot::at);
    let sockets = options::sockets(&args.runtime, &host).map_err(usage)?;
    let (mut rows, zone) = if args.live { live::now(sockets)? } else { gather::from(&args.files)? };
    for wanted in wanted.iter().filter(|one| !rows.iter().any(|row| row.matches_any(&[(*one).clone()]))) {
        message(format_args!("no container `{wanted}`; list all without --container"));
    }
    rows.retain(|row| row.matches_any(&wanted));
    let mut text = Vec::new();
    match args.format {
        Format::Table => print::table(&rows, &zone, args.live, &mut text),
        Format::Json => print::json(&rows, &mut text),
        Format::Csv => print::csv(&rows, &mut text),
    }
    match io::stdout().write_all(&text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}

#[cfg(test)]
mod tests;
