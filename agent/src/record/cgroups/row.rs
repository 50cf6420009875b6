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
    fn container_columns(&self) -> ContainerColumns {
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

    /// Writes its row and returns the number.
    pub(super) fn write_row(&mut self, chunk: &mut Dictionaries<'_>, id: u64, hierarchy: u64) -> u32 {
        let numbers = [id, self.birth, hierarchy];
        let row = write(chunk, numbers, &self.path, &self.container_columns());
        self.row = CachedRow { chunk: chunk.number, row };
        row
    }
}

/// Writes the row that stands for all hidden cgroups, the same as in filtered copies.
pub(super) fn write_hidden(chunk: &mut Dictionaries<'_>) -> u32 {
    let other = ContainerColumns {
        container: OTHER.to_owned(),
        chain: OTHER.to_owned(),
        ..ContainerColumns::default()
    };
    write(chunk, [0; 3], b"", &other)
}

fn write(
    chunk: &mut Dictionaries<'_>,
    [id, birth, hierarchy]: [u64; 3],
    path: &[u8],
    columns: &ContainerColumns,
) -> u32 {
    let path = chunk.builder.intern(path);
    let container = chunk.builder.intern(columns.container.as_bytes());
    let runtime = chunk.builder.intern(columns.runtime.as_bytes());
    let all = chunk.builder.intern(columns.chain.as_bytes());
    let pod = chunk.builder.intern(columns.pod.as_bytes());
    let table = chunk.builder.table_at(chunk.index.cgroup);
    table.push_u64(c::ID, id);
    table.push_u64(c::BIRTH, birth);
    table.push_u64(c::HIERARCHY, hierarchy);
    table.push_bytes(c::PATH, path);
    table.push_bytes(c::CONTAINER, container);
    table.push_bytes(c::RUNTIME, runtime);
    table.push_bytes(c::CHAIN, all);
    table.push_bytes(c::POD_UID, pod);
    table.end_row()
}
