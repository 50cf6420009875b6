//! A second reader, written from docs/format.md alone: it shares no code with the crate, and must see the same.

mod support;

use std::collections::BTreeMap;

use capture_format::{Chunk, ColumnView};
use support::open;

/// Reads from the front of bytes; panics at the end, since the file is a good one.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(n);
        self.0 = rest;
        bytes
    }

    fn fixed(&mut self, n: usize) -> u64 {
        self.bytes(n).iter().rev().fold(0, |v, &b| v << 8 | u64::from(b))
    }

    fn varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.fixed(1);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn signed(&mut self) -> u64 {
        let v = self.varint();
        if v & 1 == 0 { v / 2 } else { !(v / 2) }
    }

    fn vec<T>(&mut self, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.fixed(8)).map(|_| element(self)).collect()
    }

    fn text(&mut self) -> String {
        let n = self.fixed(8) as usize;
        String::from_utf8(self.bytes(n).to_vec()).expect("UTF-8")
    }

    fn planes(&mut self, count: usize, width: usize) -> Vec<u64> {
        let bytes = self.bytes(count * width);
        (0..count).map(|i| (0..width).map(|p| u64::from(bytes[p * count + i]) << (8 * p)).sum()).collect()
    }

    fn stream(&mut self, count: usize) -> Vec<u64> {
        if count == 0 {
            return Vec::new();
        }
        let tag = self.fixed(1);
        let width = (tag >> 4) as usize;
        match tag & 15 {
            0 => vec![self.signed(); count],
            1 => {
                let base = self.signed();
                self.planes(count, width).iter().map(|n| base.wrapping_add(*n)).collect()
            }
            2 => {
                let (mut value, base) = (self.signed(), self.signed());
                let mut values = vec![value];
                for n in self.planes(count - 1, width) {
                    value = value.wrapping_add(base).wrapping_add(n);
                    values.push(value);
                }
                values
            }
            3 => {
                let k = self.varint() as usize;
                let values = self.stream(k);
                self.planes(count, width).iter().map(|&n| values[n as usize]).collect()
            }
            other => panic!("encoding {other}"),
        }
    }

    fn numbers(&mut self, count: usize, keys: Option<&[u64]>) -> Vec<u64> {
        if self.0[0] != 4 {
            return self.stream(count);
        }
        self.bytes(1);
        let mut values = vec![0; count];
        for rows in groups(keys.expect("a key")) {
            for (&row, value) in rows.iter().zip(self.stream(rows.len())) {
                values[row] = value;
            }
        }
        values
    }

    fn lists(&mut self, keys: &[u64]) -> Vec<Vec<u64>> {
        let groups = if self.fixed(1) == 1 { groups(keys) } else { vec![(0..keys.len()).collect()] };
        let lengths: Vec<Vec<u64>> = groups
            .iter()
            .map(|rows| match self.varint() {
                0 => self.stream(rows.len()),
                same => vec![same - 1; rows.len()],
            })
            .collect();
        let mut lists = vec![Vec::new(); keys.len()];
        for (rows, lengths) in groups.iter().zip(&lengths) {
            for p in 0..lengths.iter().copied().max().unwrap_or(0) {
                let having: Vec<usize> =
                    rows.iter().zip(lengths).filter(|(_, l)| **l > p).map(|(&r, _)| r).collect();
                for (&row, value) in having.iter().zip(self.stream(having.len())) {
                    lists[row].push(value);
                }
            }
        }
        lists
    }
}

fn groups(keys: &[u64]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (row, &key) in keys.iter().enumerate() {
        groups.entry(key).or_default().push(row);
    }
    groups.into_values().collect()
}

struct Table {
    id: u64,
    /// Variant and parameter of each column's type.
    columns: Vec<(u64, u64)>,
}

fn unpack(body: &[u8]) -> Vec<u8> {
    let mut input = In(body);
    let len = input.fixed(4) as usize;
    let raw = zstd::bulk::decompress(input.0, len).expect("zstd");
    assert_eq!(raw.len(), len);
    raw
}

fn tables(header: &[u8]) -> (String, Vec<Table>) {
    let mut input = In(header);
    input.bytes(16);
    let host = input.text();
    (0..3).for_each(|_| drop(input.text()));
    input.bytes(16 + 8 + 8);
    input.text();
    input.bytes(4);
    input.text();
    input.vec(|i| i.vec(|i| i.fixed(1)));
    input.vec(|i| (i.text(), i.text()));
    input.bytes(1);
    input.vec(|i| (i.text(), i.text()));
    input.vec(|i| (i.text(), i.vec(|i| (i.fixed(8), i.text()))));
    let tables = input.vec(|i| {
        let id = i.fixed(2);
        i.text();
        i.fixed(4);
        let columns = i.vec(|i| {
            i.text();
            let variant = i.fixed(4);
            let parameter = if variant >= 3 { i.fixed(2) } else { 0 };
            i.text();
            i.text();
            (variant, parameter)
        });
        for _ in 0..2 {
            if i.fixed(1) == 1 {
                i.fixed(2);
            }
        }
        i.vec(|i| i.fixed(2));
        Table { id, columns }
    });
    assert!(input.0.is_empty());
    (host, tables)
}

/// Table id, column and its rows as lists; strings as their bytes after one another.
type Content = Vec<(u64, usize, Vec<Vec<u64>>)>;

fn content(schema: &[Table], body: &[u8]) -> Content {
    let mut input = In(body);
    let (len, packed) = (input.varint() as usize, input.varint() as usize);
    let first = zstd::bulk::decompress(input.bytes(packed), len).expect("frame 0");
    let mut frames = input;
    let mut input = In(&first);
    let mut column = |input: &mut In<'_>| {
        let head = input.varint();
        let len = (head >> 1) as usize;
        if head & 1 == 0 {
            return input.bytes(len).to_vec();
        }
        let packed = input.varint() as usize;
        zstd::bulk::decompress(frames.bytes(packed), len).expect("a frame")
    };
    let count = input.varint() as usize;
    let lengths = In(&column(&mut input)).stream(count);
    let bytes = column(&mut input);
    let mut rest = In(&bytes);
    let strings: Vec<Vec<u64>> = std::iter::once(0)
        .chain(lengths)
        .map(|len| rest.bytes(len as usize).iter().map(|&b| u64::from(b)).collect())
        .collect();
    assert!(rest.0.is_empty());
    let mut content = Vec::new();
    for _ in 0..input.varint() {
        let id = input.varint();
        let rows = input.varint() as usize;
        let schema = schema.iter().find(|t| t.id == id).expect("a table of the schema");
        let encoded: Vec<Vec<u8>> = schema.columns.iter().map(|_| column(&mut input)).collect();
        let key = schema.columns.iter().find(|c| c.0 >= 4).map(|c| c.1 as usize);
        let keys = key.map(|key| In(&encoded[key]).stream(rows));
        for (c, &(variant, parameter)) in schema.columns.iter().enumerate() {
            let mut input = In(&encoded[c]);
            let values = match variant {
                0 | 1 if key != Some(c) => {
                    input.numbers(rows, keys.as_deref()).iter().map(|&v| vec![v]).collect()
                }
                3 if key.is_some_and(|key| c > key) => {
                    input.numbers(rows, keys.as_deref()).iter().map(|&v| vec![v]).collect()
                }
                0 | 1 | 3 => input.stream(rows).iter().map(|&v| vec![v]).collect(),
                2 => input.stream(rows).iter().map(|&id| strings[id as usize].clone()).collect(),
                4 | 5 => {
                    let keys = In(&encoded[parameter as usize]).stream(rows);
                    let lists = input.lists(&keys);
                    let text =
                        |list: &Vec<u64>| list.iter().flat_map(|&id| strings[id as usize].clone()).collect();
                    if variant == 4 { lists } else { lists.iter().map(text).collect() }
                }
                other => panic!("column type {other}"),
            };
            assert!(input.0.is_empty(), "table {id}, column {c}");
            content.push((id, c, values));
        }
    }
    assert!(input.0.is_empty() && frames.0.is_empty());
    content.sort_by_key(|c| (c.0, c.1));
    content
}

/// The same of a chunk that the crate read.
fn seen(chunk: &Chunk) -> Content {
    let text = |id| chunk.str(id).iter().map(|&b| u64::from(b)).collect::<Vec<u64>>();
    let mut content = Vec::new();
    for table in chunk.tables() {
        for c in 0..table.schema().columns.len() {
            let rows = 0..table.rows();
            let values = match table.column(c as u16).expect("a column") {
                ColumnView::U64(v) => v.iter().map(|&v| vec![v]).collect(),
                ColumnView::I64(v) => v.iter().map(|&v| vec![v as u64]).collect(),
                ColumnView::Ref(_, v) => v.iter().map(|&v| vec![v.into()]).collect(),
                ColumnView::Bytes(v) => v.iter().map(|&id| text(id)).collect(),
                ColumnView::U64List(v) => rows.map(|r| v.get(r).to_vec()).collect(),
                ColumnView::BytesList(v) => {
                    rows.map(|r| v.get(r).iter().flat_map(|&id| text(id)).collect()).collect()
                }
            };
            content.push((table.id().0.into(), c, values));
        }
    }
    content.sort_by_key(|c| (c.0, c.1));
    content
}

#[test]
fn independent_reader_sees_the_same_values() {
    for events in [10, 300, 20_000] {
        let bytes = support::file(7, 3, events, true);
        let file = open(&bytes).expect("a capture");
        let mut entries = file.chunks();
        let mut schema = Vec::new();
        let mut kinds = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let mut header = In(&bytes[at..]);
            assert_eq!(header.bytes(8), b"\xf5ktape\r\n");
            assert_eq!(header.fixed(2), 2);
            let kind = header.fixed(2);
            assert_eq!(header.fixed(4), u64::from(crc32fast::hash(&[7; 16])));
            let (summary_len, body_len) = (header.fixed(4) as usize, header.fixed(8) as usize);
            let (summary_crc, body_crc) = (header.fixed(4), header.fixed(4));
            assert_eq!(header.fixed(4), u64::from(crc32fast::hash(&bytes[at..at + 36])));
            let summary = header.bytes(summary_len);
            let body = header.bytes(body_len);
            assert_eq!(summary_crc, u64::from(crc32fast::hash(summary)));
            assert_eq!(body_crc, u64::from(crc32fast::hash(body)));
            match kind {
                1 => {
                    let (host, tables) = tables(&unpack(body));
                    assert_eq!(host, "host7");
                    schema = tables;
                }
                2 => {
                    let entry = entries.next().expect("as many chunks");
                    assert_eq!(entry.offset, at as u64);
                    let chunk = file.read_chunk(entry).expect("a chunk");
                    assert!(content(&schema, body) == seen(&chunk), "chunk at {at}");
                    let mut summary = In(summary);
                    let told = [summary.fixed(8), summary.fixed(8), summary.fixed(8), summary.fixed(8)];
                    let known = chunk.summary();
                    assert_eq!(
                        told,
                        [known.start_min, known.end_min, known.end_max, known.wall_offset as u64]
                    );
                    let len = summary.fixed(8) as usize;
                    // The pressure, which was appended.
                    assert_eq!(summary.0[len..], [0]);
                    let tables: Vec<(u64, u64)> =
                        (0..summary.varint()).map(|_| (summary.varint(), summary.varint())).collect();
                    let known: Vec<(u64, u64)> =
                        known.tables().map(|(t, n)| (t.0.into(), n.into())).collect();
                    assert_eq!(tables, known);
                }
                4 => {
                    let raw = unpack(body);
                    let mut index = In(&raw);
                    assert_eq!(index.fixed(8), 0);
                    let len = index.fixed(8) as usize;
                    assert_eq!(tables(index.bytes(len)).0, "host7");
                    let places = index.vec(|i| {
                        let place = (i.fixed(8), i.fixed(8));
                        i.vec(|i| i.fixed(1));
                        place
                    });
                    assert_eq!(places, file.chunks().map(|c| (c.offset, c.len)).collect::<Vec<_>>());
                }
                5 => {
                    let mut trailer = In(summary);
                    assert_eq!(trailer.fixed(8), bytes.len() as u64);
                    let index = trailer.fixed(8) as usize;
                    assert_eq!(bytes[index + 10], 4);
                    assert_eq!(bytes.len() - at, 56);
                }
                other => panic!("block kind {other}"),
            }
            kinds.push(kind);
            at += 40 + summary_len + body_len;
        }
        assert_eq!(kinds, [1, 2, 2, 2, 4, 5]);
        assert!(entries.next().is_none());
    }
}
