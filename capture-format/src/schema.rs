//! Tables and columns: the declaration of a file's content, stored in its header.

use std::{collections::HashSet, fmt};

use crate::{
    column_type::{ColumnType, TableId},
    derive::{Decode, Encode},
    error::FormatError,
    limits::{MAX_COLUMNS, MAX_TABLES},
};

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum TableRole {
    /// Events, approximately in the order of their end.
    Event,
    /// Processes, cgroups and the like, which rows of other tables refer to by row number.
    Dictionary,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ColumnSchema {
    /// Unique in the table.
    pub name: String,
    /// How values are stored.
    pub ty: ColumnType,
    /// What values mean, such as "time" or "path", for programs that print them. This crate does not interpret it.
    pub semantic: String,
    /// One line of documentation.
    pub doc: String,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TableSchema {
    /// Unique in the schema.
    pub id: TableId,
    /// Unique in the schema.
    pub name: String,
    /// Whether rows are events or referred to by other tables.
    pub role: TableRole,
    /// In the order in which they are stored.
    pub columns: Vec<ColumnSchema>,
    /// The U64 column with the end of a row's event, in ns of the boot clock.
    pub time: Option<u16>,
    /// The U64 column with the duration of the event, in ns.
    pub duration: Option<u16>,
    /// Columns (U64 or Bytes) whose distinct values are listed in each chunk's summary.
    pub summary: Vec<u16>,
}

impl TableSchema {
    /// The index of the column with this name.
    pub fn column(&self, name: &str) -> Option<u16> {
        self.columns.iter().position(|c| c.name == name).map(|i| i as u16)
    }

    /// The column that groups the rows of the table for storage: the key of the first list column.
    pub(crate) fn key(&self) -> Option<u16> {
        self.columns.iter().find_map(|c| match c.ty {
            ColumnType::U64List { key } | ColumnType::BytesList { key } => Some(key),
            ColumnType::U64 | ColumnType::I64 | ColumnType::Bytes | ColumnType::Ref(_) => None,
        })
    }
}

/// Why a schema is not accepted. The caller that read it from a file adds the place.
fn refused(what: impl fmt::Display, expected: impl fmt::Display, found: impl fmt::Display) -> FormatError {
    let (what, expected, found) = (what.to_string(), expected.to_string(), found.to_string());
    FormatError::Schema { offset: None, what, expected, found }
}

/// All tables of a segment. Event tables may refer to dictionaries, dictionaries to other dictionaries, never in a cycle.
/// A dictionary may also refer to itself: each row to an earlier one, or to itself if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    tables: Vec<TableSchema>,
    /// Dense index by table id, `u16::MAX` for none.
    by_id: Vec<u16>,
    /// Dense indices of the dictionaries, each before those it refers to.
    dictionaries: Vec<u16>,
}

impl Schema {
    /// A schema of these tables.
    ///
    /// # Errors
    /// [`FormatError::Schema`] if ids or names repeat, a column index or a reference points nowhere, a column has the wrong
    /// type for its purpose, references form a cycle or a limit is exceeded.
    pub fn new(tables: Vec<TableSchema>) -> Result<Self, FormatError> {
        if tables.len() > MAX_TABLES {
            let expected = format_args!("at most {MAX_TABLES}");
            return Err(refused("number of tables", expected, tables.len()));
        }
        let mut schema = Self { tables, by_id: Vec::new(), dictionaries: Vec::new() };
        let mut names = HashSet::new();
        for (i, table) in schema.tables.iter().enumerate() {
            let id = table.id.0 as usize;
            if schema.by_id.len() <= id {
                schema.by_id.resize(id + 1, u16::MAX);
            }
            if schema.by_id[id] != u16::MAX || !names.insert(&table.name) {
                let what = format_args!("table {} ({})", table.id, table.name);
                return Err(refused(what, "an id and a name of its own", "another table with one of them"));
            }
            schema.by_id[id] = i as u16;
        }
        for table in &schema.tables {
            schema.check_table(table)?;
        }
        schema.dictionaries = schema.order_dictionaries()?;
        Ok(schema)
    }

    fn check_table(&self, table: &TableSchema) -> Result<(), FormatError> {
        let name = &table.name;
        if table.columns.len() > MAX_COLUMNS {
            let what = format_args!("number of columns of table {name}");
            return Err(refused(what, format_args!("at most {MAX_COLUMNS}"), table.columns.len()));
        }
        let is_u64 = |c: u16| table.columns.get(c as usize).is_some_and(|c| c.ty == ColumnType::U64);
        let mut names = HashSet::new();
        for column in &table.columns {
            let what = || format!("column {} of table {name}", column.name);
            if !names.insert(&column.name) {
                return Err(refused(what(), "a name of its own", "another column with the same name"));
            }
            match column.ty {
                ColumnType::U64 | ColumnType::I64 | ColumnType::Bytes => {}
                ColumnType::Ref(to) => {
                    if self.get(to).is_none_or(|t| t.role != TableRole::Dictionary) {
                        let found = format_args!("table {to}, which is none");
                        return Err(refused(what(), "a reference to a dictionary", found));
                    }
                }
                ColumnType::U64List { key } | ColumnType::BytesList { key } => {
                    if !is_u64(key) {
                        let found = format_args!("column {key}, which is none");
                        return Err(refused(what(), "a U64 column as its key", found));
                    }
                }
            }
        }
        if let Some(c) = table.time.into_iter().chain(table.duration).find(|&c| !is_u64(c)) {
            let what = format_args!("time or duration of table {name}");
            return Err(refused(what, "a U64 column", format_args!("column {c}, which is none")));
        }
        for &c in &table.summary {
            match table.columns.get(c as usize).map(|c| c.ty) {
                Some(ColumnType::U64 | ColumnType::Bytes) => {}
                Some(_) | None => {
                    let what = format_args!("summary of table {name}");
                    let found = format_args!("column {c}, which is none");
                    return Err(refused(what, "a U64 or Bytes column", found));
                }
            }
        }
        Ok(())
    }

    /// Depth-first, which finds cycles. In the result each dictionary is before those that it refers to.
    fn order_dictionaries(&self) -> Result<Vec<u16>, FormatError> {
        const NEW: u8 = 0;
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        fn visit(s: &Schema, i: usize, state: &mut [u8], out: &mut Vec<u16>) -> Result<(), FormatError> {
            match state[i] {
                DONE => return Ok(()),
                OPEN => {
                    let what = format_args!("table {}", s.tables[i].name);
                    return Err(refused(what, "references that form no cycle", "one that leads back to it"));
                }
                _ => state[i] = OPEN,
            }
            for column in &s.tables[i].columns {
                if let Some(to) = column.ty.reference().and_then(|to| s.index(to)).filter(|to| *to != i) {
                    visit(s, to, state, out)?;
                }
            }
            state[i] = DONE;
            if s.tables[i].role == TableRole::Dictionary {
                out.push(i as u16);
            }
            Ok(())
        }
        let mut out = Vec::new();
        let mut state = vec![NEW; self.tables.len()];
        for i in 0..self.tables.len() {
            visit(self, i, &mut state, &mut out)?;
        }
        out.reverse();
        Ok(out)
    }

    /// All tables in the order of declaration. The position of a table in this slice is its dense index.
    pub fn tables(&self) -> &[TableSchema] {
        &self.tables
    }

    /// The dense index of a table, `None` if the schema has no such table.
    #[inline]
    pub fn index(&self, id: TableId) -> Option<usize> {
        match self.by_id.get(id.0 as usize) {
            Some(&i) if i != u16::MAX => Some(i as usize),
            _ => None,
        }
    }

    /// The table with this number.
    pub fn get(&self, id: TableId) -> Option<&TableSchema> {
        self.index(id).map(|i| &self.tables[i])
    }

    /// The table with this name.
    pub fn by_name(&self, name: &str) -> Option<&TableSchema> {
        self.tables.iter().find(|t| t.name == name)
    }

    /// Memory of the lookup by id: two bytes can make it 128 KiB.
    pub(crate) fn lookup_bytes(&self) -> usize {
        self.by_id.len() * size_of::<u16>()
    }

    /// Dense indices of the dictionaries, each before those it refers to.
    pub(crate) fn dictionaries(&self) -> &[u16] {
        &self.dictionaries
    }
}

#[cfg(test)]
mod tests;
