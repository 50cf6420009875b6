//! Captures of two hosts in one file, where the same numbers mean different things.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use capture_format::{
    CaptureFile, ChunkBuilder, CopyCache, EncodeOptions, Encoder, MetadataKey, MetadataRecord, SegmentWriter,
    TableRole, copy_rows,
};

use ktape_tests::container::{Options, Runtime};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};
use ktape_tests::wait::until;
use ktape_tests::workload;

const ID: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";

/// The same events as if recorded on another host, where the runtime called the container `name`: every number is
/// equal, the cgroup's id and birth among them.
fn on_host(from: &Path, to: &Path, host: &str, mark: u8, name: &str) {
    let file = CaptureFile::open(from).unwrap();
    let mut header = (*file.segments()[0].header).clone();
    header.host = host.to_owned();
    header.host_id = format!("id of {host}");
    header.capture_uuid = [mark; 16];
    header.boot_id = [mark; 16];
    let mut writer = SegmentWriter::new(Vec::new(), &header).unwrap();
    let mut encoder = Encoder::new(EncodeOptions::default()).unwrap();
    let mut cache = CopyCache::new();
    let mut births = BTreeSet::new();
    for entry in file.chunks() {
        let chunk = file.read_chunk(entry).unwrap();
        let mut builder = ChunkBuilder::new(Arc::clone(chunk.schema()));
        builder.set_wall_offset(entry.summary.wall_offset);
        for table in chunk.tables() {
            if table.schema().role == TableRole::Event {
                let rows: Vec<u32> = (0..u32::try_from(table.rows()).unwrap()).collect();
                copy_rows(&chunk, &mut builder, table.id(), &rows, &mut cache).unwrap();
            }
            if table.schema().name == "cgroup" {
                let column = |name: &str| table.u64(table.schema().column(name).unwrap()).unwrap();
                let container = table.bytes(table.schema().column("container").unwrap()).unwrap();
                for (row, (id, birth)) in column("id").iter().zip(column("birth")).enumerate() {
                    if chunk.str(container[row]) == ID.as_bytes() {
                        births.insert((*id, *birth));
                    }
                }
            }
        }
        writer.write_block(&mut encoder.encode(&builder).unwrap()).unwrap();
    }
    let records: Vec<MetadataRecord> = births
        .into_iter()
        .map(|(cgroup, birth)| MetadataRecord {
            key: MetadataKey { boot_id: header.boot_id, cgroup, birth },
            values: vec![
                ("container.full_id".to_owned(), ID.to_owned()),
                ("container.name".to_owned(), name.to_owned()),
            ],
        })
        .collect();
    assert!(!records.is_empty(), "no cgroup of the container in {}", from.display());
    writer.write_metadata(&records).unwrap();
    fs::write(to, writer.finish().unwrap()).unwrap();
}

#[test]
#[ignore = "needs root, runc and container engines"]
fn equal_cgroup_ids_of_two_hosts_keep_their_names() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let runtime = Runtime::new(&[workload!()]);
    let capture = Capture::start(&path("x.ktape"), &[]);
    let args = ["/bin/ktape-workload", "getppid", "500"];
    let options = Options { cgroup: &format!("/docker/{ID}"), args: &args, seccomp: false };
    let container = runtime.start("hosts", &options);
    until("the container to end", ktape_tests::wait::TIMEOUT, || container.has_ended().then_some(()));
    drop(container);
    capture.stop();

    on_host(&path("x.ktape"), &path("a.ktape"), "alpha", 1, "front");
    on_host(&path("x.ktape"), &path("b.ktape"), "beta", 2, "back");
    let mut both = fs::read(path("a.ktape")).unwrap();
    both.extend(fs::read(path("b.ktape")).unwrap());
    fs::write(path("c.ktape"), both).unwrap();

    let count = |expression: &str| ktape::count(&path("c.ktape"), expression);
    assert_eq!(count("evt.type=getppid"), 2 * ktape::count(&path("x.ktape"), "evt.type=getppid"));
    for (host, own, other) in [("alpha", "front", "back"), ("beta", "back", "front")] {
        let calls = format!("evt.type=getppid and proc.name=ktape-workload and evt.hostname={host}");
        assert_eq!(count(&format!("{calls} and container.name={own}")), 500);
        assert_eq!(count(&format!("{calls} and container.name={other}")), 0);
    }
}
