//! Rows of the cgroup dictionary.

use super::table::Cgroup;
use crate::record::columns::{Dictionaries, cgroup as c};
use crate::record::dictionary_rows::CachedRow;
use ktape_reader::containers::OTHER;

/// The container columns of the row of a cgroup.
#[derive(Default)]
struct ContainerColumns {
    container: String,
    runtime: &'static str,
    pod: String,
    chain: String,
}

impl Cgroup {
    fn container_columns(&self, hidden: bool) -> ContainerColumns {
        if hidden {
            return ContainerColumns {
                container: OTHER.to_owned(),
                chain: OTHER.to_owned(),
                ..ContainerColumns::default()
            };
        }
        let chain = self.chain.joined();
        match self.chain.innermost() {
            Some(inner) => ContainerColumns {
                container: inner.id.clone(),
                runtime: inner.runtime.name(),
                pod: inner.pod_uid.clone().unwrap_or_default(),
                chain,
            },
            None => ContainerColumns { chain, ..ContainerColumns::default() },
        }
    }

    /// Writes its row and returns the number. If it is hidden, neither its path nor its containers are written.
    pub(super) fn write_row(
        &mut self,
        chunk: &mut Dictionaries<'_>,
        id: u64,
        hierarchy: u64,
        hidden: bool,
    ) -> u32 {
        let columns = self.container_columns(hidden);
        let path = chunk.builder.intern(if hidden { b"" } else { &self.path });
        let container = chunk.builder.intern(columns.container.as_bytes());
        let runtime = chunk.builder.intern(columns.runtime.as_bytes());
        let all = chunk.builder.intern(columns.chain.as_bytes());
        let pod = chunk.builder.intern(columns.pod.as_bytes());
        let table = chunk.builder.table_at(chunk.index.cgroup);
        table.push_u64(c::ID, id);
        table.push_u64(c::BIRTH, self.birth);
        table.push_u64(c::HIERARCHY, hierarchy);
        table.push_bytes(c::PATH, path);
        table.push_bytes(c::CONTAINER, container);
        table.push_bytes(c::RUNTIME, runtime);
        table.push_bytes(c::CHAIN, all);
        table.push_bytes(c::POD_UID, pod);
        self.row = CachedRow { chunk: chunk.number, row: table.end_row() };
        self.row.row
    }
}
