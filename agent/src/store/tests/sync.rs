//! `--sync`.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::*;

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn files_and_their_directory_are_synced() {
    let mut fixture = Fixture::new(64 << 20);
    let limits = StoreLimits { rotate_every: Some(Duration::ZERO), sync: true, ..unlimited() };
    let mut store = fixture.rotated(limits).unwrap();
    for _ in 0..3 {
        store.write(&mut fixture.chunk(1), 0).unwrap();
    }
    store.finish().unwrap();
    let synced = fixture.disk.synced.lock().unwrap().clone();
    let expected: BTreeSet<u64> =
        fixture.files().iter().map(|file| inode(file)).chain([inode(fixture.dir.path())]).collect();
    assert_eq!(synced, expected);
}

#[test]
fn without_sync_nothing_is_synced() {
    let mut fixture = Fixture::new(64 << 20);
    let mut store =
        fixture.rotated(StoreLimits { rotate_every: Some(Duration::ZERO), ..unlimited() }).unwrap();
    store.write(&mut fixture.chunk(1), 0).unwrap();
    store.finish().unwrap();
    assert_eq!(*fixture.disk.synced.lock().unwrap(), BTreeSet::new());
}

#[test]
fn a_file_that_cannot_be_synced_gets_no_name() {
    let mut fixture = Fixture::new(64 << 20);
    fixture.disk.sync_errno.store(libc::EIO, Ordering::Relaxed);
    let limits = StoreLimits { rotate_every: Some(Duration::ZERO), sync: true, ..unlimited() };
    let error = fixture.rotated(limits).err().unwrap().to_string();
    assert!(error.starts_with("cannot sync "), "{error}");
    assert_eq!(fixture.files(), Vec::<PathBuf>::new());
}

#[test]
fn an_error_of_fsync_ends_the_recording() {
    let mut fixture = Fixture::new(64 << 20);
    let mut store = fixture.single(StoreLimits { sync: true, ..unlimited() }).unwrap();
    fixture.disk.sync_errno.store(libc::EIO, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(20);
    // Reported by a later write: the first ones only wake the thread.
    let error = loop {
        match store.write(&mut fixture.chunk(1), 0) {
            Err(error) => break error.to_string(),
            Ok(()) => assert!(Instant::now() < deadline, "no error of fsync"),
        }
    };
    assert!(error.contains("sync the file"), "{error}");
}

#[test]
fn an_error_of_the_last_fsync_is_reported_at_the_end() {
    let mut fixture = Fixture::new(64 << 20);
    let mut store = fixture.single(StoreLimits { sync: true, ..unlimited() }).unwrap();
    store.write(&mut fixture.chunk(1), 0).unwrap();
    fixture.disk.sync_errno.store(libc::EIO, Ordering::Relaxed);
    let error = store.finish().unwrap_err().to_string();
    assert!(error.contains("sync the file"), "{error}");
    assert_eq!(read(&fixture.single_path()).calls, 1);
}
