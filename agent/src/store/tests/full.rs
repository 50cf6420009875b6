//! A disk that is full, or fails.

use super::*;

#[test]
fn a_full_disk_ends_the_capture_with_a_whole_file_and_loss_records() {
    let mut fixture = Fixture::new(512 << 10);
    let mut store = fixture.single(unlimited()).unwrap();
    let mut written = 0;
    let mut from = 0;
    while fixture.progress.wants_to_end().is_none() {
        from = fixture.time + 1_000_000;
        store.write(&mut fixture.chunk(10), 0).unwrap();
        written += 10;
    }
    assert_eq!(fixture.progress.wants_to_end(), Some(End::Full));
    // Chunks that were in the queue, one of which reports losses of its own.
    store.write(&mut fixture.chunk(3), 40).unwrap();
    store.write(&mut fixture.chunk(4), 2).unwrap();
    assert_eq!(Fixture::count(&fixture.progress.unwritten), 10 + 3 + 4);
    // Nothing of the failed chunk stayed behind.
    store.finish().unwrap();
    let contents = read(&fixture.single_path());
    assert_eq!(contents.calls, written - 10);
    let lost = |kind, count| LossRecord {
        kind,
        stage: "writer".to_owned(),
        count,
        from: from - 12_400,
        to: fixture.time,
    };
    assert_eq!(contents.losses, [lost(Some(Kind::Syscall), 17), lost(None, 42)]);
    assert_eq!(Fixture::count(&fixture.progress.bytes), fs::metadata(fixture.single_path()).unwrap().len());
}

#[test]
fn without_a_reserve_a_full_disk_leaves_a_readable_file() {
    let mut fixture = Fixture::new(512 << 10);
    fixture.disk.can_reserve.store(false, Ordering::Relaxed);
    let mut store = fixture.single(unlimited()).unwrap();
    let mut written = 0;
    while fixture.progress.wants_to_end().is_none() {
        store.write(&mut fixture.chunk(10), 0).unwrap();
        written += 10;
    }
    // Not a byte is left for loss records and index.
    fixture.disk.capacity.store(0, Ordering::Relaxed);
    store.finish().unwrap();
    let contents = read(&fixture.single_path());
    assert_eq!((contents.calls, contents.losses), (written - 10, vec![]));
    assert_eq!(Fixture::count(&fixture.progress.unwritten), 10, "counted for the summary all the same");
}

#[test]
fn a_full_disk_deletes_the_oldest_rotated_files() {
    let mut fixture = Fixture::new(1 << 20);
    let limits = StoreLimits { rotate_bytes: Some(256 << 10), ..unlimited() };
    let mut store = fixture.rotated(limits).unwrap();
    for _ in 0..100 {
        store.write(&mut fixture.chunk(10), 0).unwrap();
    }
    store.finish().unwrap();
    assert_eq!(fixture.progress.wants_to_end(), None);
    assert_eq!(Fixture::count(&fixture.progress.unwritten), 0);
    let (files, begun, deleted) =
        (fixture.files(), Fixture::count(&fixture.progress.files), Fixture::count(&fixture.progress.deleted));
    assert!(deleted > 5, "{deleted}");
    assert_eq!(files.len() as u64, begun - deleted);
    let contents: Vec<Contents> = files.iter().map(|file| read(file)).collect();
    assert!(contents.iter().all(|file| file.losses.is_empty() && file.uuid == [1; 16]));
    let calls: usize = contents.iter().map(|file| file.calls).sum();
    assert!((100..1000).contains(&calls), "{calls}");
}

#[test]
fn a_full_disk_with_nothing_left_to_delete_ends_rotated_files_too() {
    let mut fixture = Fixture::new(1 << 20);
    let limits = StoreLimits { rotate_bytes: Some(512 << 10), ..unlimited() };
    let mut store = fixture.rotated(limits).unwrap();
    store.write(&mut fixture.chunk(10), 0).unwrap();
    // Other programs fill the disk.
    let used = (1 << 20) - fixture.disk.free();
    fixture.disk.capacity.store(used, Ordering::Relaxed);
    // Metadata is dropped without an error.
    store.name(vec![named(7, 80_000)], &[]).unwrap();
    store.write(&mut fixture.chunk(5), 0).unwrap();
    assert_eq!(fixture.progress.wants_to_end(), Some(End::Full));
    // Nothing but losses is written to a capture that has ended.
    store.name(vec![named(8, 10)], &[]).unwrap();
    store.finish().unwrap();
    let contents = read(&fixture.files()[0]);
    assert_eq!((contents.calls, contents.named), (10, vec![]));
    assert_eq!(contents.losses.iter().map(|loss| loss.count).collect::<Vec<_>>(), [5]);
}

#[test]
fn a_disk_that_is_full_at_rotation_gives_up_an_old_file_for_the_next() {
    let mut fixture = Fixture::new(1 << 20);
    let limits = StoreLimits { rotate_bytes: Some(256 << 10), ..unlimited() };
    let mut store = fixture.rotated(limits).unwrap();
    while Fixture::count(&fixture.progress.files) < 3 {
        store.write(&mut fixture.chunk(10), 0).unwrap();
    }
    // There is no space for the index of this file, nor for the header of the next one.
    let used = (1 << 20) - fixture.disk.free();
    fixture.disk.capacity.store(used, Ordering::Relaxed);
    fixture.progress.next_file.store(true, Ordering::Relaxed);
    store.write(&mut fixture.chunk(10), 0).unwrap();
    assert_eq!(Fixture::count(&fixture.progress.files), 4);
    assert_eq!(Fixture::count(&fixture.progress.deleted), 1);
    assert_eq!(fixture.progress.wants_to_end(), None);
    store.finish().unwrap();
    for file in fixture.files() {
        assert_eq!(read(&file).losses, []);
    }
}

#[test]
fn loss_records_come_with_the_next_chunk_that_is_written() {
    let mut fixture = Fixture::new(4 << 20);
    let mut store = fixture.single(unlimited()).unwrap();
    store.write(&mut fixture.chunk(2), 0).unwrap();
    // The store never resumes by itself; what it counted so far is in the file before the next chunk.
    let chunk = fixture.chunk(6);
    store.count_unwritten(&chunk.summary, 1);
    store.write(&mut fixture.chunk(2), 0).unwrap();
    let losses = |fixture: &Fixture| {
        read(&fixture.single_path()).losses.iter().map(|loss| loss.count).collect::<Vec<_>>()
    };
    assert_eq!(losses(&fixture), [6, 1]);
    // Once is enough.
    store.write(&mut fixture.chunk(2), 0).unwrap();
    store.finish().unwrap();
    assert_eq!(losses(&fixture), [6, 1]);
}

#[test]
fn other_write_errors_end_the_recording() {
    let mut fixture = Fixture::new(4 << 20);
    let limits = StoreLimits { rotate_bytes: Some(256 << 10), ..unlimited() };
    let mut store = fixture.rotated(limits).unwrap();
    store.write(&mut fixture.chunk(2), 0).unwrap();
    fixture.disk.write_errno.store(libc::EIO, Ordering::Relaxed);
    let error = store.write(&mut fixture.chunk(2), 0).unwrap_err().to_string();
    assert!(error.contains("write a block"), "{error}");
    assert!(store.name(vec![named(1, 10)], &[]).is_err());
    // The same when a file ends, and when the capture ends.
    fixture.progress.next_file.store(true, Ordering::Relaxed);
    assert!(store.write(&mut fixture.chunk(2), 0).is_err());
    assert!(store.finish().is_err());
    assert_eq!(read(&fixture.files()[0]).calls, 2, "without the half of a chunk");
}

#[test]
fn a_next_file_that_cannot_be_created_is_an_error() {
    let mut fixture = Fixture::new(4 << 20);
    let limits = StoreLimits { rotate_bytes: Some(256 << 10), ..unlimited() };
    let mut store = fixture.rotated(limits).unwrap();
    store.write(&mut fixture.chunk(2), 0).unwrap();
    fs::create_dir(fixture.dir.path().join(".x.new")).unwrap();
    fixture.progress.next_file.store(true, Ordering::Relaxed);
    let error = store.write(&mut fixture.chunk(2), 0).unwrap_err();
    let text = format!("{:#}", anyhow::Error::new(error));
    assert!(text.contains("begin the next file") && text.contains("cannot remove"), "{text}");
}
