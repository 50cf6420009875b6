//! The other parties of an event: threads and cgroups that it refers to, besides the thread that it is about.

use capture_format::ColumnType;
use events::{Kind, Ty};

use crate::model::dictionaries::{CGROUP, TASK};
use crate::model::{ChunkView, Rows};

/// A column that refers to another party: a thread or a cgroup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party<'c> {
    /// Its index in the file's table.
    pub(super) column: u16,
    /// [`Ty::Task`] or [`Ty::Cgroup`].
    pub(super) ty: Ty,
    refs: &'c [u32],
}

impl Party<'_> {
    /// Its cgroup, and its thread if it is one, in a row of the table.
    pub(super) fn rows(&self, view: &ChunkView<'_>, row: usize) -> (Option<u32>, Option<u32>) {
        let found = self.refs.get(row).copied();
        match self.ty {
            Ty::Task => (found.and_then(|task| view.cgroup_of(task)), found),
            _ => (found, None),
        }
    }
}

/// The other parties of the events of a table, also in columns that this version does not know. A sample has none: it is
/// about its cgroup. No other columns are decoded.
pub(super) fn parties<'c>(rows: &Rows<'c>) -> impl Iterator<Item = Party<'c>> + use<'c> {
    let (event, table) = (rows.event, rows.table);
    let has_parties = event.kind != Some(Kind::Sample);
    let columns = event.columns.iter().filter(move |c| has_parties && !c.common);
    columns.filter_map(move |c| {
        let ty = match table.schema().columns.get(usize::from(c.index))?.ty {
            ColumnType::Ref(TASK) => Ty::Task,
            ColumnType::Ref(CGROUP) => Ty::Cgroup,
            _ => return None,
        };
        Some(Party { column: c.index, ty, refs: table.refs(c.index).ok()? })
    })
}

/// Whether `--container` finds events of this kind by their other parties too, as the recorder does. Not a stall by its
/// waker, who ends the sleep but does not cause it, and not losses, which belong to the cgroup that lost them.
pub(super) fn concerns_others(kind: Option<Kind>) -> bool {
    !matches!(kind, Some(Kind::Loss | Kind::Stall | Kind::StallOngoing))
}

/// A column with an id of another party, and the column that refers to the party.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartyId {
    pub(super) kind: Kind,
    pub(super) column: &'static str,
    pub(super) party: &'static str,
}

const fn id(kind: Kind, column: &'static str, party: &'static str) -> PartyId {
    PartyId { kind, column, party }
}

/// All columns of event kinds that hold ids of other parties.
pub(super) const IDS: &[PartyId] = &[
    id(Kind::Fork, "child_pid", "child_cgroup"),
    id(Kind::Fork, "child_tid", "child_cgroup"),
    id(Kind::CgroupAttach, "moved_pid", "cgroup"),
    id(Kind::CgroupAttach, "moved_tid", "cgroup"),
    id(Kind::Signal, "target_pid", "target"),
    id(Kind::Signal, "target_tid", "target"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use events::KINDS;

    #[test]
    fn every_id_in_an_event_belongs_to_a_party() {
        // The thread's own, before the exec.
        const OWN: &[(Kind, &str)] = &[(Kind::Exec, "old_tid")];
        for kind in KINDS {
            let columns = kind.decl().columns;
            for column in columns.iter().filter(|column| column.ty == Ty::Pid) {
                let own = OWN.contains(&(kind, column.name));
                let party = IDS.iter().find(|id| id.kind == kind && id.column == column.name);
                assert!(own != party.is_some(), "{kind:?}.{}: whose id is it?", column.name);
                let refers = |id: &PartyId| {
                    columns.iter().any(|c| c.name == id.party && matches!(c.ty, Ty::Task | Ty::Cgroup))
                };
                assert!(party.is_none_or(refers), "{kind:?}.{}", column.name);
            }
        }
    }
}
