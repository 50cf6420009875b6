//! Maps the schema that a file carries to this version's kinds and columns. Kinds are matched by number, columns by
//! name and type; unknown ones keep the name that the file gives them and are shown with it.

use std::ptr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use capture_format::{ColumnType, Header, Schema, TableId, TableRole, TableSchema, Vocabulary};
use events::{COMMON, Kind, Ty};

use super::calls::Calls;
use super::dictionaries::{CGROUP, DICTIONARIES, DictTy, FILE, PROCESS, TASK};
use super::schema;

/// A column of an event table in a file.
#[derive(Clone, Debug)]
pub struct BoundColumn {
    /// Its index in the file's table.
    pub index: u16,
    /// Its name.
    pub name: String,
    /// Its meaning; `None` if this version does not know the column.
    pub ty: Option<Ty>,
    /// Whether every kind has it.
    pub common: bool,
}

/// An event table of a file.
#[derive(Clone, Debug)]
pub struct EventTable {
    /// Its number.
    pub id: TableId,
    /// Its name.
    pub name: String,
    /// The kind, if this version knows it.
    pub kind: Option<Kind>,
    /// The column with the end times of events.
    pub time: Option<u16>,
    /// The column with their durations.
    pub duration: Option<u16>,
    /// All columns, as the file has them.
    pub columns: Vec<BoundColumn>,
    /// Indices in `columns` of those that this version does not know.
    pub unknown: Vec<usize>,
    /// From this version's column index to the file's.
    known: Vec<Option<u16>>,
}

impl EventTable {
    fn new(table: &TableSchema) -> Self {
        let kind = u8::try_from(table.id.0).ok().and_then(Kind::from_number);
        let own: &[_] = kind.map_or(&[], |kind| kind.decl().columns);
        let declared: Vec<_> = COMMON.iter().chain(own).collect();
        let known = declared
            .iter()
            .map(|c| find(table, c.name, |ty| same_storage(ty, schema::storage(c.ty, 0))))
            .collect();
        let columns = table.columns.iter().enumerate().map(|(i, c)| BoundColumn {
            index: i as u16,
            name: c.name.clone(),
            ty: declared
                .iter()
                .find(|d| d.name == c.name && same_storage(c.ty, schema::storage(d.ty, 0)))
                .map(|d| d.ty),
            common: COMMON.iter().any(|d| d.name == c.name),
        });
        let columns: Vec<BoundColumn> = columns.collect();
        let used = |c: &BoundColumn| Some(c.index) == table.time || Some(c.index) == table.duration;
        Self {
            unknown: (0..columns.len()).filter(|i| columns[*i].ty.is_none() && !used(&columns[*i])).collect(),
            id: table.id,
            name: table.name.clone(),
            kind,
            time: table.time,
            duration: table.duration,
            columns,
            known,
        }
    }

    /// The kind with whose name the fields of its columns begin ([`Kind::field_owner`]).
    #[inline]
    pub fn field_owner(&self) -> Option<Kind> {
        self.kind.map(Kind::field_owner)
    }

    /// The file's index of the column that this version has at `own` ([`schema::column`]).
    pub fn known(&self, own: u16) -> Option<u16> {
        *self.known.get(usize::from(own))?
    }
}

/// A dictionary of a file: from this version's column index to the file's.
#[derive(Clone, Debug)]
pub(super) struct DictTable {
    pub(super) id: TableId,
    pub(super) known: Vec<Option<u16>>,
}

/// The header of a segment, with its schema mapped to this version's.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The header.
    pub header: Arc<Header>,
    /// The event tables, in the file's order. Headers with equal schema and vocabularies share all of this.
    pub events: Arc<Vec<EventTable>>,
    /// Names and arguments of the syscalls.
    pub calls: Arc<Calls>,
    dictionaries: Arc<Vec<DictTable>>,
}

/// The last mapping, while it is in use, and the schema and vocabularies that it is of.
#[derive(Default)]
struct Last {
    schema: Weak<Schema>,
    vocabularies: Weak<Vec<Vocabulary>>,
    events: Weak<Vec<EventTable>>,
    calls: Weak<Calls>,
    dictionaries: Weak<Vec<DictTable>>,
}

static LAST: LazyLock<Mutex<Last>> = LazyLock::new(Mutex::default);

impl Last {
    fn of(&self, header: &Arc<Header>) -> Option<Binding> {
        let is_same = ptr::eq(self.schema.as_ptr(), Arc::as_ptr(&header.schema))
            && ptr::eq(self.vocabularies.as_ptr(), Arc::as_ptr(&header.vocabularies));
        is_same.then_some(())?;
        Some(Binding {
            header: header.clone(),
            events: self.events.upgrade()?,
            calls: self.calls.upgrade()?,
            dictionaries: self.dictionaries.upgrade()?,
        })
    }
}

impl Binding {
    /// Maps the schema of a header.
    pub fn new(header: Arc<Header>) -> Self {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = last.of(&header) {
            return same;
        }
        let new = Self::understand(header);
        *last = Last {
            schema: Arc::downgrade(&new.header.schema),
            vocabularies: Arc::downgrade(&new.header.vocabularies),
            events: Arc::downgrade(&new.events),
            calls: Arc::downgrade(&new.calls),
            dictionaries: Arc::downgrade(&new.dictionaries),
        };
        new
    }

    fn understand(header: Arc<Header>) -> Self {
        let tables = header.schema.tables();
        let events: Vec<EventTable> =
            tables.iter().filter(|t| t.role == TableRole::Event).map(EventTable::new).collect();
        let dictionaries: Vec<DictTable> = DICTIONARIES
            .iter()
            .map(|dictionary| DictTable {
                id: dictionary.id,
                known: match header.schema.get(dictionary.id) {
                    None => vec![None; dictionary.columns.len()],
                    Some(table) => dictionary
                        .columns
                        .iter()
                        .map(|c| {
                            let wanted = match c.ty {
                                DictTy::Value(ty) => schema::storage(ty, 0),
                                DictTy::Row(id) => ColumnType::Ref(id),
                            };
                            find(table, c.name, |ty| ty == wanted)
                        })
                        .collect(),
                },
            })
            .collect();
        let calls = Calls::new(&header);
        Self {
            events: Arc::new(events),
            calls: Arc::new(calls),
            dictionaries: Arc::new(dictionaries),
            header,
        }
    }

    /// The table of a kind.
    pub fn table_of(&self, kind: Kind) -> Option<&EventTable> {
        self.events.iter().find(|t| t.kind == Some(kind))
    }

    /// The file's column of a kind's column ([`schema::column`]).
    pub fn column_of(&self, kind: Kind, own: u16) -> Option<(TableId, u16)> {
        let table = self.table_of(kind)?;
        Some((table.id, table.known(own)?))
    }

    pub(super) fn dictionary(&self, id: TableId) -> Option<&DictTable> {
        self.dictionaries.iter().find(|d| d.id == id)
    }

    /// The file's column of a dictionary's column ([`super::dictionaries::dict_column`]).
    pub fn dict_column(&self, id: TableId, own: u16) -> Option<u16> {
        *self.dictionary(id)?.known.get(usize::from(own))?
    }
}

fn find(table: &TableSchema, name: &str, wanted: impl Fn(ColumnType) -> bool) -> Option<u16> {
    let at = table.column(name)?;
    wanted(table.columns.get(usize::from(at))?.ty).then_some(at)
}

/// Whether values are stored as the same type; the key of a list may differ.
fn same_storage(a: ColumnType, b: ColumnType) -> bool {
    match (a, b) {
        (ColumnType::U64List { .. }, ColumnType::U64List { .. })
        | (ColumnType::BytesList { .. }, ColumnType::BytesList { .. }) => true,
        (ColumnType::Ref(a), ColumnType::Ref(b)) => a == b && [PROCESS, TASK, CGROUP, FILE].contains(&a),
        _ => a == b,
    }
}
