//! Workloads on files and disks.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use ktape_tests::device::Loop;

use super::{BenchWorkload, ExpectedEvents, WorkCommands, WorkloadSetup, syscalls};
use crate::compare::machine;

const OWN: &str = "proc.name = ktape-workload";
/// Files per execution of md5sum.
const FILES_PER_MD5SUM: usize = 16;

pub fn md5sum(setup: &WorkloadSetup) -> Result<BenchWorkload> {
    let files = setup.units(50_000, 10_000) as usize;
    let dir = setup.dir.join("files");
    let list = small_files(&dir, files)?;
    let words = ["xargs", "-a", &list, "-P2", &format!("-n{FILES_PER_MD5SUM}"), "md5sum"];
    let opened = format!(
        "evt.type = openat and proc.name = md5sum and evt.arg.filename startswith \"{}\"",
        dir.display()
    );
    Ok(BenchWorkload {
        name: "md5sum",
        title: format!("xargs -P2 -n{FILES_PER_MD5SUM} md5sum over {files} small cached files"),
        unit: "file",
        units: files as u64,
        expect: vec![
            ExpectedEvents {
                expression: "evt.category = exec and proc.name = md5sum".to_owned(),
                kind: "exec",
                count: files.div_ceil(FILES_PER_MD5SUM) as u64,
            },
            syscalls(opened, files as u64),
        ],
        work: WorkCommands::Whole(words.map(str::to_owned).to_vec()),
        _beside: Vec::new(),
    })
}

pub fn direct(setup: &WorkloadSetup) -> BenchWorkload {
    let n = setup.units(30_000, 10_000);
    let device = Loop::over(&setup.dir.join("disk"), 64 << 20, false);
    device.fill();
    let path = device.path().to_owned();
    let expression = format!("evt.category = block and block.dev = {} and {OWN}", device.name());
    BenchWorkload {
        name: "direct",
        title: "direct reads of 4 KiB from a loop device".to_owned(),
        unit: "read",
        units: n,
        expect: vec![
            ExpectedEvents { expression, kind: "block", count: n },
            syscalls(format!("evt.type = pread64 and {OWN} and evt.rawres = 4096"), n),
        ],
        work: WorkCommands::Gated(vec![setup.words(&["direct", &n.to_string(), &path])]),
        _beside: vec![Box::new(device)],
    }
}

pub fn buffered(setup: &WorkloadSetup) -> BenchWorkload {
    let n = setup.units(200_000, 50_000);
    BenchWorkload {
        name: "buffered",
        title: "buffered writes of 4 KiB, and an fsync at the end".to_owned(),
        unit: "write",
        units: n,
        expect: vec![syscalls(format!("evt.type = write and {OWN} and evt.rawres = 4096"), n)],
        work: WorkCommands::Gated(vec![setup.words(&["buffered", &n.to_string(), &setup.file("buffered")])]),
        _beside: Vec::new(),
    }
}

/// SQLite with default settings: for each transaction it writes a journal, syncs it and the database, and removes it.
pub fn transactions(setup: &WorkloadSetup) -> Result<BenchWorkload> {
    let n = setup.units(2_000, 500);
    let (database, script) = (setup.file("transactions.db"), setup.file("transactions.sql"));
    let mut text = "CREATE TABLE orders(id INTEGER PRIMARY KEY, item TEXT);\n".to_owned();
    for i in 1..=n {
        let _ = writeln!(
            text,
            "BEGIN; INSERT INTO orders(item) VALUES('item {i}'); \
             UPDATE orders SET item = item || '+' WHERE id = {}; COMMIT;",
            i.div_ceil(2)
        );
    }
    fs::write(&script, text).context("cannot write the transactions")?;
    let run = "rm -f \"$1\" && exec sqlite3 \"$1\" \".read $2\"";
    let words = ["sh", "-c", run, "sh", &database, &script];
    Ok(BenchWorkload {
        name: "transactions",
        title: "SQLite transactions, an insert and an update each, synced to the disk".to_owned(),
        unit: "transaction",
        units: n,
        // The journal of each transaction, and that of the table's creation.
        expect: vec![syscalls(
            format!("evt.type = unlink and evt.arg.pathname = \"{database}-journal\" and evt.rawres = 0"),
            n + 1,
        )],
        work: WorkCommands::Whole(words.map(str::to_owned).to_vec()),
        _beside: Vec::new(),
    })
}

/// Creates small files below `dir`, which stay in the page cache. Returns the path of a file that lists them.
fn small_files(dir: &Path, count: usize) -> Result<String> {
    let list = dir.join("list");
    let mut names = String::new();
    for i in 0..count {
        let sub = dir.join(format!("{:02}", i % 50));
        if i < 50 {
            fs::create_dir_all(&sub).with_context(|| format!("cannot create {}", sub.display()))?;
        }
        let file = sub.join(format!("{i}.txt"));
        // 300 to 4,300 bytes.
        let body = vec![b'a' + (i % 26) as u8; 300 + i * 37 % 4000];
        fs::write(&file, body).with_context(|| format!("cannot write {}", file.display()))?;
        names.push_str(&file.to_string_lossy());
        names.push('\n');
    }
    let mut file = File::create(&list).with_context(|| format!("cannot write {}", list.display()))?;
    file.write_all(names.as_bytes()).context("cannot write the list of files")?;
    machine::settle();
    Ok(list.to_string_lossy().into_owned())
}
