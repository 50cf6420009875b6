//! Tables and columns: what a file says about its own content.

use std::{collections::HashSet, fmt};

use crate::{
    codec::{Decode, Encode},
    error::FormatError,
    limits::{MAX_COLUMNS, MAX_TABLES},
};

/// The number of a table, chosen by whoever declares the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct TableId(pub u16);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What the rows of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum TableRole {
    /// Things that happened, in the order of their end.
    Event,
    /// Things that rows of other tables refer to by row number.
    Dictionary,
}

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ColumnType {
    /// Unsigned numbers.
    U64,
    /// Signed numbers.
    I64,
    /// Byte strings, each stored once in the chunk.
    Bytes,
    /// Row numbers of a dictionary table.
    Ref(TableId),
    /// Short lists of unsigned numbers.
    U64List {
        /// The U64 column of the same table by whose value lists are stored together.
        key: u16,
    },
    /// Short lists of byte strings.
    BytesList {
        /// The U64 column of the same table by whose value lists are stored together.
        key: u16,
    },
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ColumnSchema {
    /// Its name, unique in the table.
    pub name: String,
    /// The type of its values.
    pub ty: ColumnType,
    /// What the values mean, for those who print them; this crate does not read it.
    pub semantic: String,
    /// One line for people.
    pub doc: String,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TableSchema {
    /// Its number, unique in the schema.
    pub id: TableId,
    /// Its name, unique in the schema.
    pub name: String,
    /// What its rows are.
    pub role: TableRole,
    /// Its columns, in the order in which they are stored.
    pub columns: Vec<ColumnSchema>,
    /// The U64 column with the time at which a row's event ended, in ns of the boot clock.
    pub time: Option<u16>,
    /// The U64 column with how long the event took, in ns.
    pub duration: Option<u16>,
    /// Columns (U64 or Bytes) whose distinct values the chunk's summary names.
    pub summary: Vec<u16>,
}

impl TableSchema {
    /// The index of the column with this name.
    pub fn column(&self, name: &str) -> Option<u16> {
        self.columns.iter().position(|c| c.name == name).map(|i| i as u16)
    }

    /// The column by whose value the other columns of the table may be stored together: the key of the first list
    /// column.
    pub(crate) fn key(&self) -> Option<u16> {
        self.columns.iter().find_map(|c| match c.ty {
            ColumnType::U64List { key } | ColumnType::BytesList { key } => Some(key),
            ColumnType::U64 | ColumnType::I64 | ColumnType::Bytes | ColumnType::Ref(_) => None,
        })
    }
}

/// Why a schema is not accepted. Its place is added by whoever read it from a file.
fn refused(what: impl fmt::Display, expected: impl fmt::Display, found: impl fmt::Display) -> FormatError {
    let (what, expected, found) = (what.to_string(), expected.to_string(), found.to_string());
    FormatError::Schema { offset: None, what, expected, found }
}

/// All tables of a segment. Event tables may refer to dictionaries, dictionaries to other dictionaries, never in a cycle.
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
    /// [`FormatError::Schema`] if ids or names repeat, a column index or a reference points nowhere, a column
    /// has the wrong type for its purpose, references form a circle or a limit is passed.
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

    /// Depth-first, so that a circle is found; the result lists who refers before who is referred to.
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
                if let ColumnType::Ref(to) = column.ty
                    && let Some(to) = s.index(to)
                {
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

    /// All tables, in declaration order; a table's place here is its dense index.
    pub fn tables(&self) -> &[TableSchema] {
        &self.tables
    }

    /// The dense index of a table.
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
