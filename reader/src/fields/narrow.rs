//! Columns of kinds whose fields have a narrower type than the type of the column implies.

use events::Kind;

use super::field_type::FieldType::{self, OneOf, Size};
use super::words;

/// One row for each such column.
static COLUMNS: &[(Kind, &str, FieldType)] = &[
    (Kind::Loss, "stage", OneOf(&words::LOSS_STAGES)),
    (Kind::Block, "op", OneOf(&words::BLOCK_OPS)),
    (Kind::Block, "rq_flags", FieldType::Flags(&words::BLOCK_FLAGS)),
    (Kind::Block, "bytes", Size),
    (Kind::Block, "owner_kind", OneOf(&words::BLOCK_OWNERS)),
    (Kind::Net, "old", OneOf(&words::TCP_STATES)),
    (Kind::Net, "new", OneOf(&words::NET_CHANGES)),
    (Kind::Net, "role", OneOf(&words::NET_ROLES)),
    (Kind::Net, "reason", OneOf(&words::NET_REASONS)),
    (Kind::Signal, "cause", OneOf(&words::SIGNAL_CAUSES)),
    (Kind::Signal, "result", OneOf(&words::SIGNAL_RESULTS)),
    (Kind::Oom, "scope", OneOf(&words::OOM_SCOPES)),
    (Kind::Stall, "phase", OneOf(&words::STALL_PHASES)),
    (Kind::Stall, "dev_from", OneOf(&words::STALL_DEVICES)),
    (Kind::ThreadState, "state", OneOf(&words::THREAD_STATES)),
    (Kind::Conn, "proto", OneOf(&words::CONN_PROTOCOLS)),
    (Kind::Conn, "state", OneOf(&words::CONN_STATES)),
    (Kind::Uring, "sqe_flags", FieldType::Flags(&words::URING_FLAGS)),
];

/// The type of a column's field, where it is narrower than that of the column's type.
pub(super) fn of(kind: Kind, column: &str) -> Option<FieldType> {
    COLUMNS.iter().find(|(k, name, _)| *k == kind && *name == column).map(|(_, _, ty)| *ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_column() {
        for (kind, name, _) in COLUMNS {
            assert!(kind.decl().columns.iter().any(|c| c.name == *name), "{}.{name}", kind.decl().name);
        }
    }
}
