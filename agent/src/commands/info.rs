//! `ktape info`: a summary of captures, from headers and summaries of chunks; of the events, only loss events are read.

mod compression;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use capture_format::{Header, SummaryValue, SummaryValues};
use events::Kind;
use serde_json::{Map, json};

use compression::CompressedLess;
use ktape_reader::filter::prune;
use ktape_reader::model::metadata;
use ktape_reader::scan::{Capture, Captures, Input, LossTally, Query};
use ktape_reader::text::escape::{Place, escaped};
use ktape_reader::text::time;
use ktape_reader::text::units::{count_text, duration_text, size_text};

/// Containers that the text lists, at most.
const LISTED_MAX: usize = 20;

/// The option in a capture's header that is the size of all ring buffers, bytes.
pub const RING_BUFFERS: &str = "ring_buffer_bytes";

const EXAMPLES: &str = "\
Examples:
  ktape info web.ktape
  ktape info --json web.ktape";

/// Arguments of `ktape info`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct InfoArgs {
    /// Captures or directories of captures
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The summary of all captures.
#[derive(Debug, Default)]
struct CaptureInfo {
    events: u64,
    kinds: BTreeMap<String, u64>,
    loss: LossTally,
    start: i64,
    end: i64,
    bytes: u64,
    chunks: u64,
    compressed_less: CompressedLess,
    unfinished: u64,
    damage: Vec<String>,
    /// By full id: events and name.
    containers: BTreeMap<Vec<u8>, (u64, Option<String>)>,
    /// Whether the summary of a chunk has no counts of containers, because there were too many.
    containers_incomplete: bool,
}

/// Prints the summary.
///
/// # Errors
/// A capture cannot be read.
pub fn run(args: &InfoArgs) -> Result<ExitCode> {
    let Input::Files(listing) = Input::open(&args.files)? else {
        anyhow::bail!(
            "`ktape info` cannot read standard input: save the capture to a file first (ktape capture -o FILE)"
        );
    };
    let captures = listing.open(None, None)?;
    let mut info = gather(&captures)?;
    info.damage.extend(captures.unreadable().iter().map(ToString::to_string));
    let captures = captures.files();
    let text = if args.json {
        let mut line = to_json(captures, &info).to_string();
        line.push('\n');
        line
    } else {
        to_text(captures, &info)
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => Ok(result.map(|()| ExitCode::SUCCESS)?),
    }
}

fn gather(captures: &Captures) -> Result<CaptureInfo> {
    let (span, names) = (captures.span(), captures.names());
    let mut info =
        CaptureInfo { start: span.start, end: span.end.unwrap_or(span.start), ..CaptureInfo::default() };
    let losses = captures.query(Query::parse("evt.category = loss")?)?.count();
    info.loss = losses.lost;
    let mut segments = 0;
    for capture in captures.files() {
        info.bytes += capture.file.bytes();
        let damage = |text: String| format!("{}: {text}", capture.path.display());
        let bytes = capture.file.bytes();
        let real = capture.file.damage().iter().filter(|d| !d.is_cut_end(bytes));
        info.damage.extend(real.map(|d| damage(d.to_string())));
        for segment in capture.file.segments() {
            info.unfinished += u64::from(!segment.complete);
        }
        for entry in capture.file.chunks() {
            info.chunks += 1;
            // No span reaches over the end of a segment.
            info.compressed_less.add(info.chunks + segments + entry.segment as u64, entry);
            let binding = &capture.bindings[entry.segment];
            for table in binding.events.iter() {
                let rows = u64::from(entry.summary.rows(table.id));
                if rows == 0 {
                    continue;
                }
                if table.kind == Some(Kind::Clock) {
                    continue;
                }
                if table.kind != Some(Kind::Loss) {
                    info.events += rows;
                    *info.kinds.entry(table.name.clone()).or_default() += rows;
                }
            }
            match prune::chains(binding, &entry.summary) {
                SummaryValues::Kept(values) => {
                    for (value, count) in values {
                        let SummaryValue::Bytes(chain) = value else { continue };
                        for id in ktape_reader::scan::container_match::elements(chain) {
                            let known = info.containers.entry(id.to_vec()).or_default();
                            known.0 = known.0.saturating_add(count);
                            if known.1.is_none() {
                                let boot_id = binding.header.boot_id;
                                let name = names.of_container(boot_id, id, metadata::NAME);
                                known.1 = name.map(str::to_owned);
                            }
                        }
                    }
                }
                _ => info.containers_incomplete = true,
            }
        }
        segments += capture.file.segments().len() as u64;
    }
    info.damage.extend(losses.damaged.of_chunks().map(str::to_owned));
    Ok(info)
}

fn text(bytes: &[u8]) -> String {
    escaped(bytes, Place::Free).into_owned()
}

fn to_json(captures: &[Capture], info: &CaptureInfo) -> serde_json::Value {
    let headers: Vec<_> = captures.iter().flat_map(|c| c.file.segments()).map(|s| &s.header).collect();
    let first = headers.first();
    let mut hosts: Vec<&str> = headers.iter().map(|h| h.host.as_str()).collect();
    hosts.dedup();
    let lost_by: Vec<_> = info
        .loss
        .by
        .iter()
        .map(|((kind, stage), count)| json!({"kind": text(kind.as_bytes()), "stage": text(stage.as_bytes()), "count": count}))
        .collect();
    let containers: Vec<_> = info
        .containers
        .iter()
        .map(|(id, (events, name))| {
            let mut object = Map::new();
            object.insert("id".into(), text(id).into());
            if let Some(name) = name {
                object.insert("name".into(), text(name.as_bytes()).into());
            }
            object.insert("events".into(), (*events).into());
            serde_json::Value::Object(object)
        })
        .collect();
    let labels: Map<String, serde_json::Value> = headers
        .iter()
        .flat_map(|h| &h.labels)
        .map(|(k, v)| (text(k.as_bytes()), text(v.as_bytes()).into()))
        .collect();
    let mut ids: Vec<String> = headers.iter().map(|header| uuid(header.capture_uuid)).collect();
    ids.dedup();
    let mut json = json!({
        "uuid": ids.first(),
        "events": info.events,
        "kinds": info.kinds.iter().map(|(k, n)| (text(k.as_bytes()), *n)).collect::<BTreeMap<_, _>>(),
        "lost": info.loss.total,
        "lost_by": lost_by,
        "start": time::rfc3339(info.start),
        "end": time::rfc3339(info.end),
        "host": text(first.map_or("", |h| &h.host).as_bytes()),
        "hosts": hosts.iter().map(|h| text(h.as_bytes())).collect::<Vec<_>>(),
        "kernel": text(first.map_or("", |h| &h.kernel).as_bytes()),
        "arch": text(first.map_or("", |h| &h.arch).as_bytes()),
        "time_zone": text(first.map_or("", |h| &h.time_zone).as_bytes()),
        "agent_version": text(first.map_or("", |h| &h.agent_version).as_bytes()),
        "command_line": first.map_or(Vec::new(), |h| h.command_line.iter().map(|a| text(a)).collect()),
        "labels": labels,
        "secrets_masked": headers.iter().all(|h| h.secrets_masked),
        "containers": containers,
        "containers_incomplete": info.containers_incomplete,
        "bytes": info.bytes,
        "files": captures.len(),
        "ring_buffer_bytes": first.and_then(|header| ring_buffers(header)),
        "segments": headers.len(),
        "unfinished": info.unfinished,
        "chunks": info.chunks,
        "damage": info.damage.iter().map(|d| text(d.as_bytes())).collect::<Vec<_>>(),
    });
    if !info.compressed_less.is_empty() {
        json["compressed_less"] = info.compressed_less.to_json();
    }
    json
}

/// Bytes of the ring buffers that a capture was recorded with, if it says so.
fn ring_buffers(header: &Header) -> Option<u64> {
    header.options.iter().find(|(name, _)| name == RING_BUFFERS)?.1.parse().ok()
}

/// The text form of a UUID, in lower case with hyphens.
fn uuid(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn to_text(captures: &[Capture], info: &CaptureInfo) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| out.push_str(&format!("{name:<11} {value}\n"));
    let zone = ktape_reader::scan::input::span(captures, None).zone;
    for (i, segment) in captures.iter().flat_map(|c| c.file.segments()).enumerate() {
        let h = &segment.header;
        let same = |f: fn(&Header) -> &str| {
            i > 0 && captures.iter().flat_map(|c| c.file.segments()).take(i).any(|s| f(&s.header) == f(h))
        };
        if same(|h| &h.host) && same(|h| &h.kernel) {
            continue;
        }
        line("host", &text(h.host.as_bytes()));
        line("kernel", &format!("{} ({})", text(h.kernel.as_bytes()), text(h.arch.as_bytes())));
        let arguments: Vec<String> = h.command_line.iter().map(|a| text(a)).collect();
        line("capture", &uuid(h.capture_uuid));
        line("recorded by", &format!("ktape {}: {}", text(h.agent_version.as_bytes()), arguments.join(" ")));
        if let Some(bytes) = ring_buffers(h) {
            line("memory", &format!("{} of ring buffers", size_text(bytes)));
        }
        for (key, value) in &h.labels {
            line("label", &format!("{}={}", text(key.as_bytes()), text(value.as_bytes())));
        }
    }
    line("start", &time::date_time(info.start, &zone));
    let length = info.end.saturating_sub(info.start).max(0) as u64;
    line("end", &format!("{} (after {})", time::date_time(info.end, &zone), duration_text(length)));
    let chunks = if info.chunks == 1 { "chunk" } else { "chunks" };
    line("size", &format!("{} in {} {chunks}", size_text(info.bytes), count_text(info.chunks)));
    if !info.compressed_less.is_empty() {
        for (i, text) in info.compressed_less.to_text(&zone).iter().enumerate() {
            line(if i == 0 { "pressure" } else { "" }, text);
        }
    }
    line("events", &count_text(info.events));
    for (kind, count) in &info.kinds {
        line("", &format!("{:>15} {}", count_text(*count), text(kind.as_bytes())));
    }
    line("lost", &count_text(info.loss.total));
    for ((kind, stage), count) in &info.loss.by {
        let (kind, stage) = (text(kind.as_bytes()), text(stage.as_bytes()));
        line("", &format!("{:>15} {kind} ({stage})", count_text(*count)));
    }
    let mut containers: Vec<_> = info.containers.iter().collect();
    containers.sort_by_key(|(id, (events, _))| (std::cmp::Reverse(*events), id.as_slice()));
    let more = if info.containers_incomplete { " or more" } else { "" };
    line("containers", &format!("{}{more}", containers.len()));
    for (id, (events, name)) in containers.iter().take(LISTED_MAX) {
        let name = name.as_ref().map_or(String::new(), |n| format!(" {}", text(n.as_bytes())));
        let id = text(ktape_reader::model::short_id(id));
        line("", &format!("{:>15} {id}{name}", count_text(*events)));
    }
    if containers.len() > LISTED_MAX {
        line("", &format!("{:>15} and {} more (--json lists all)", "", containers.len() - LISTED_MAX));
    }
    if info.unfinished > 0 {
        line("unfinished", "still being written, or not closed properly");
    }
    for damage in &info.damage {
        line("DAMAGE", &text(damage.as_bytes()));
    }
    out
}

#[cfg(test)]
mod tests;
