//! The containers of this host, from cgroups and container runtimes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use capture_format::MetadataKey;
use jiff::tz::TimeZone;

use super::Row;
use crate::containers::Hierarchy;
use crate::runtimes::{self, NewContainer, Sockets};
use ktape_reader::containers;

/// How long answers of the runtimes are waited for.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(2);

/// The containers that exist now, ordered by name, and this host's time zone.
pub fn now(sockets: Sockets) -> Result<(Vec<Row>, TimeZone)> {
    let hierarchy = Hierarchy::detect()?;
    let cgroups = hierarchy.scan().context("cannot list cgroups")?;
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let any_available = sockets.any_available();
    let (thread, handle, infos) = runtimes::start(sockets).context("cannot query container runtimes")?;
    let host = crate::store::header::host_name();
    for (id, path) in cgroups {
        let chain = containers::identify(&path);
        let Some(inner) = chain.innermost() else { continue };
        let row = rows.entry(inner.id.clone()).or_insert_with(|| {
            let key = MetadataKey { boot_id: [0; 16], cgroup: id, birth: 0 };
            // The queue takes thousands of lookups; beyond that, containers are listed without names.
            let _ = handle.resolve(NewContainer { key, id: inner.id.clone(), runtime: inner.runtime });
            Row {
                host: host.clone(),
                id: inner.id.clone(),
                runtime: inner.runtime.name().to_owned(),
                chain: chain.joined(),
                pod_uid: inner.pod_uid.clone().unwrap_or_default(),
                ..Row::default()
            }
        });
        row.processes += hierarchy.processes(&path);
    }
    let deadline = Instant::now() + RUNTIME_TIMEOUT;
    let mut waiting: Vec<String> = if any_available { rows.keys().cloned().collect() } else { Vec::new() };
    while !waiting.is_empty()
        && let Ok(info) = infos.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        let is_whole =
            info.values.iter().any(|(name, _)| name == ktape_reader::model::attribute_names::CREATED);
        waiting.retain(|id| !is_whole || *id != info.id);
        if let Some(row) = rows.get_mut(&info.id) {
            row.set_attributes(info.values.into_iter().collect());
        }
    }
    drop(handle);
    thread.finish();
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|a, b| a.name().cmp(b.name()).then_with(|| a.id.cmp(&b.id)));
    Ok((rows, TimeZone::system()))
}
