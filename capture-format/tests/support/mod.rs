//! A schema and events such as a recorder of syscalls makes, from a seed.

#![allow(dead_code, missing_docs, unused_imports, reason = "each test uses a part of it")]

pub mod blocks;

use std::sync::Arc;

pub use blocks::{Block, blocks, fix_checksums};
use capture_format::{
    CaptureFile, Chunk, ChunkBuilder, ChunkEntry, ColumnSchema, ColumnType, ColumnView, EncodeOptions,
    Encoder, FormatError, Header, Schema, SegmentWriter, StrId, StreamItem, StreamReader, TableId, TableRole,
    TableSchema, Vocabulary,
};

pub const SYSCALL: TableId = TableId(1);
pub const EXIT: TableId = TableId(4);
pub const PROCESS: TableId = TableId(0x100);
pub const TASK: TableId = TableId(0x101);
pub const CGROUP: TableId = TableId(0x102);

/// A small, fast, seeded generator (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Mostly small, sometimes very large.
    pub fn skewed(&mut self) -> u64 {
        let bits = self.below(64) * self.below(64) / 63;
        self.next() & ((1 << bits) - 1)
    }
}

fn columns(columns: &[(&str, ColumnType)]) -> Vec<ColumnSchema> {
    let column = |&(name, ty): &(&str, ColumnType)| ColumnSchema {
        name: name.into(),
        ty,
        semantic: "u64".into(),
        doc: String::new(),
    };
    columns.iter().map(column).collect()
}

pub fn schema() -> Arc<Schema> {
    use ColumnType::{Bytes, I64, Ref, U64};
    let common = [("time", U64), ("cpu", U64), ("task", Ref(TASK)), ("flags", U64)];
    let event = |id, name: &str, own: &[(&str, ColumnType)], duration, summary| TableSchema {
        id,
        name: name.into(),
        role: TableRole::Event,
        columns: columns(&[&common[..], own].concat()),
        time: Some(0),
        duration,
        summary,
    };
    let dictionary = |id, name: &str, own: &[(&str, ColumnType)], summary| TableSchema {
        id,
        name: name.into(),
        role: TableRole::Dictionary,
        columns: columns(own),
        time: None,
        duration: None,
        summary,
    };
    let syscall = [
        ("dur", U64),
        ("nr", U64),
        ("ret", I64),
        ("args", ColumnType::U64List { key: 5 }),
        ("strs", ColumnType::BytesList { key: 5 }),
        ("other", Ref(TASK)),
    ];
    let process = [
        ("pid", U64),
        ("start", U64),
        ("ppid", U64),
        ("pname", Bytes),
        ("name", Bytes),
        ("exe", Bytes),
        ("args", Bytes),
    ];
    let task = [
        ("process", Ref(PROCESS)),
        ("tid", U64),
        ("name", Bytes),
        ("uid", U64),
        ("user", Bytes),
        ("cgroup", Ref(CGROUP)),
    ];
    let cgroup = [
        ("id", U64),
        ("birth", U64),
        ("hierarchy", U64),
        ("path", Bytes),
        ("container", Bytes),
        ("chain", Bytes),
    ];
    let tables = vec![
        event(SYSCALL, "syscall", &syscall, Some(4), vec![5]),
        event(EXIT, "exit", &[("status", I64), ("signal", U64)], None, vec![]),
        dictionary(PROCESS, "process", &process, vec![]),
        dictionary(TASK, "task", &task, vec![]),
        dictionary(CGROUP, "cgroup", &cgroup, vec![5]),
    ];
    Arc::new(Schema::new(tables).expect("a schema"))
}

pub fn header(schema: &Arc<Schema>, seed: u8) -> Header {
    Header {
        capture_uuid: [seed; 16],
        host: format!("host{seed}"),
        kernel: "6.18.0".into(),
        arch: "x86_64".into(),
        boot_id: [seed ^ 0xff; 16],
        created: 1_790_000_000_000_000_000,
        wall_offset: 1_789_999_000_000_000_000,
        time_zone: "Europe/Berlin".into(),
        utc_offset: 7200,
        agent_version: "0.1.0".into(),
        command_line: vec![b"ktape".to_vec(), b"capture".to_vec(), b"\xff".to_vec()],
        labels: vec![("role".into(), "test".into())],
        options: vec![("buffer".into(), "8MiB".into())],
        vocabularies: Arc::new(vec![Vocabulary {
            name: "syscall".into(),
            entries: (0..400).map(|nr| (nr, format!("call{nr}(fd:fd, buf:ptr, count:size)"))).collect(),
        }]),
        schema: schema.clone(),
        ..Header::default()
    }
}

/// A mix of calls: number, how often, arguments (and how large they are), strings, usual duration.
const CALLS: &[(u64, u64, &[u64], usize, u64)] = &[
    (0, 22, &[40, 70_000], 0, 900),
    (1, 18, &[40, 5_000], 0, 1_100),
    (3, 9, &[40], 0, 250),
    (9, 3, &[u64::MAX >> 17, 1 << 20, 4, 40], 0, 1_500),
    (39, 10, &[], 0, 120),
    (202, 15, &[u64::MAX >> 17, 200, 4], 0, 40_000),
    (232, 8, &[20, 512, 1000], 0, 900_000),
    (257, 8, &[1, 0, 4, 500], 1, 3_000),
    (262, 4, &[1, 3], 1, 1_200),
    (45, 3, &[40, 65_536, 64], 1, 2_500),
];

/// Fills a chunk with `events` syscalls (and some exits) of `containers` containers in the second after `start` ns.
pub fn fill(builder: &mut ChunkBuilder, random: &mut Random, start: u64, events: u64, containers: u64) {
    builder.set_wall_offset(1_789_999_000_000_000_000 + start as i64 % 7);
    let mut tasks = Vec::new();
    for c in 0..containers {
        let id: String =
            (0..4).map(|i| format!("{:016x}", (c + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 + i))).collect();
        let path = builder.intern(format!("/system.slice/docker-{id}.scope").as_bytes());
        let container = builder.intern(id.as_bytes());
        let cgroup = builder.table(CGROUP);
        cgroup.push_u64(0, 4000 + c * 77);
        cgroup.push_u64(1, 0);
        cgroup.push_u64(2, 0);
        cgroup.push_bytes(3, path);
        cgroup.push_bytes(4, container);
        cgroup.push_bytes(5, container);
        let cgroup = cgroup.end_row();
        for p in 0..3 {
            let name = builder.intern(["nginx", "postgres", "sh"][p as usize].as_bytes());
            let exe = builder.intern(
                ["/usr/sbin/nginx", "/usr/lib/postgresql/15/bin/postgres", "/bin/dash"][p as usize]
                    .as_bytes(),
            );
            let user = builder.intern(b"www-data");
            let parent = builder.intern(b"containerd-shim");
            let process = builder.table(PROCESS);
            process.push_u64(0, 10_000 + c * 100 + p);
            process.push_u64(1, 5_000_000_000 + c * 1_234_567 + p * 1_000);
            process.push_u64(2, 9_000 + c);
            process.push_bytes(3, parent);
            process.push_bytes(4, name);
            process.push_bytes(5, exe);
            process.push_bytes(6, exe);
            let process = process.end_row();
            let task = builder.table(TASK);
            task.push_ref(0, process);
            task.push_u64(1, 10_000 + c * 100 + p);
            task.push_bytes(2, name);
            task.push_u64(3, 33);
            task.push_bytes(4, user);
            task.push_ref(5, cgroup);
            tasks.push(task.end_row());
        }
    }
    let mut time = start;
    let gap = 1_000_000_000 / events.max(1);
    let mut running = [tasks[0]; 4];
    for _ in 0..events {
        time += gap / 4 + random.below(gap * 3 / 2 + 1);
        let cpu = random.below(4);
        if random.below(40) == 0 {
            running[cpu as usize] = tasks[random.below(tasks.len() as u64) as usize];
        }
        let mut pick = random.below(100);
        let &(nr, _, args, strings, usual) = CALLS
            .iter()
            .find(|c| {
                let hit = pick < c.1;
                pick = pick.wrapping_sub(c.1);
                hit
            })
            .unwrap_or(&CALLS[0]);
        let mut list = [0; 6];
        for (value, &size) in list.iter_mut().zip(args) {
            *value = match size {
                1 => -100i64 as u64,
                0 => 0,
                2..100 => random.below(size) * random.below(size) / size,
                _ if random.below(3) > 0 => size & !7,
                _ => random.below(size),
            };
        }
        let mut names = [StrId::EMPTY; 2];
        for name in &mut names[..strings] {
            let file = random.below(300) * random.below(300) / 300;
            *name = builder.intern(format!("/var/lib/app/data/{:03}/file-{file}.dat", file % 17).as_bytes());
        }
        let row = builder.table(SYSCALL);
        row.push_u64(0, time);
        row.push_u64(1, cpu);
        row.push_ref(2, running[cpu as usize]);
        row.push_u64(3, u64::from(random.below(500) == 0));
        row.push_u64(
            4,
            usual / 2
                + random.below(usual)
                + if random.below(50) == 0 { random.skewed() % (1 << 26) } else { 0 },
        );
        row.push_u64(5, nr);
        row.push_i64(
            6,
            match random.below(20) {
                0 => -11,
                1 => -2,
                _ => list[1].min(4096) as i64,
            },
        );
        row.push_list_u64(7, &list[..args.len()]);
        row.push_list_bytes(8, &names[..strings]);
        // Of most calls of a sort the same.
        let other = if random.below(50) == 0 { random.below(100) } else { nr };
        row.push_ref(9, tasks[other as usize % tasks.len()]);
        row.end_row();
        if random.below(200) == 0 {
            let row = builder.table(EXIT);
            row.push_u64(0, time);
            row.push_u64(1, cpu);
            row.push_ref(2, running[cpu as usize]);
            row.push_u64(3, 0);
            row.push_i64(4, random.below(3) as i64);
            row.push_u64(5, 0);
            row.end_row();
        }
    }
}

pub fn encoder() -> Encoder {
    Encoder::new(EncodeOptions::default()).expect("zstd")
}

/// A file of one segment with `chunks` chunks of `events` events.
pub fn file(seed: u8, chunks: u64, events: u64, finish: bool) -> Vec<u8> {
    let schema = schema();
    let mut writer = SegmentWriter::new(Vec::new(), &header(&schema, seed)).expect("a header");
    let mut builder = ChunkBuilder::new(schema);
    let mut random = Random::new(seed.into());
    let mut encoder = encoder();
    for i in 0..chunks {
        builder.clear();
        fill(&mut builder, &mut random, (1000 + i) * 1_000_000_000, events, 1 + i % 3);
        writer.write_block(&mut encoder.encode(&builder).expect("a chunk")).expect("to memory");
    }
    if finish { writer.finish().expect("to memory") } else { writer.get_ref().clone() }
}

/// All values of a chunk, strings resolved, as one number.
pub fn digest(chunk: &Chunk) -> u64 {
    let mut state = 0u64;
    let mut add = |v: u64| state = (state ^ v).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    let string = |id: &StrId| chunk.str(*id).iter().fold(7, |h: u64, b| h.wrapping_mul(31) + u64::from(*b));
    for table in chunk.tables() {
        add(u64::from(table.id().0) << 32 | table.rows() as u64);
        for c in 0..table.schema().columns.len() as u16 {
            match table.column(c).expect("a readable column") {
                ColumnView::U64(v) => v.iter().for_each(|&v| add(v)),
                ColumnView::I64(v) => v.iter().for_each(|&v| add(v as u64)),
                ColumnView::Ref(_, v) => v.iter().for_each(|&v| add(v.into())),
                ColumnView::Bytes(v) => v.iter().for_each(|v| add(string(v))),
                ColumnView::U64List(v) => (0..v.rows()).for_each(|r| {
                    add(v.get(r).len() as u64);
                    v.get(r).iter().for_each(|&v| add(v));
                }),
                ColumnView::BytesList(v) => (0..v.rows()).for_each(|r| {
                    add(v.get(r).len() as u64);
                    v.get(r).iter().for_each(|v| add(string(v)));
                }),
            }
        }
    }
    state
}

/// A file in memory.
pub fn open(bytes: &[u8]) -> Result<CaptureFile, FormatError> {
    CaptureFile::from_reader(std::io::Cursor::new(bytes.to_vec()))
}

/// A chunk that can be read, with a digest of all its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadableChunk {
    pub offset: u64,
    pub len: u64,
    pub digest: u64,
}

/// All chunks that can be read.
pub fn readable(bytes: &[u8]) -> Vec<ReadableChunk> {
    let Ok(file) = open(bytes) else { return Vec::new() };
    let read = |entry: &ChunkEntry| {
        let chunk = file.read_chunk(entry).ok()?;
        chunk.verify().ok()?;
        Some(ReadableChunk { offset: entry.offset, len: entry.len, digest: digest(&chunk) })
    };
    file.chunks().filter_map(read).collect()
}

/// Digests of all chunks that can be read from a stream.
pub fn streamed(bytes: &[u8]) -> Vec<u64> {
    let mut reader = StreamReader::new(bytes);
    let mut digests = Vec::new();
    while let Ok(Some(item)) = reader.next_item() {
        if let StreamItem::Chunk(chunk) = item
            && chunk.verify().is_ok()
        {
            digests.push(digest(&chunk));
        }
    }
    digests
}
