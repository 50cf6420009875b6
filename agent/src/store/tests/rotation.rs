//! When a file ends, and what the next one begins with.

use std::time::Duration;

use super::*;

#[test]
fn a_file_ends_before_its_size_and_every_event_is_in_one_file() {
    let mut fixture = Fixture::new(64 << 20);
    let most = 256 << 10;
    let mut store = fixture.rotated(StoreLimits { rotate_bytes: Some(most), ..unlimited() }).unwrap();
    for _ in 0..60 {
        store.write(&mut fixture.chunk(10), 0).unwrap();
    }
    store.finish().unwrap();
    let files = fixture.files();
    assert_eq!(files.len() as u64, Fixture::count(&fixture.progress.files));
    let sizes: Vec<u64> = files.iter().map(|file| fs::metadata(file).unwrap().len()).collect();
    let (last, full) = sizes.split_last().unwrap();
    assert!(full.iter().all(|size| (most / 2..=most).contains(size)), "{sizes:?}");
    assert_eq!(Fixture::count(&fixture.progress.bytes), full.iter().sum::<u64>() + last);
    assert_eq!(files.iter().map(|file| read(file).calls).sum::<usize>(), 600);
}

#[test]
fn a_chunk_larger_than_a_file_gets_a_file_of_its_own() {
    let mut fixture = Fixture::new(64 << 20);
    let mut store = fixture.rotated(StoreLimits { rotate_bytes: Some(256 << 10), ..unlimited() }).unwrap();
    for _ in 0..3 {
        store.write(&mut fixture.chunk(100), 0).unwrap();
    }
    store.finish().unwrap();
    assert_eq!(fixture.files().iter().map(|file| read(file).calls).collect::<Vec<_>>(), [100; 3]);
}

#[test]
fn a_file_ends_after_its_time_with_the_next_chunk() {
    let mut fixture = Fixture::new(64 << 20);
    let limits = StoreLimits { rotate_every: Some(Duration::ZERO), ..unlimited() };
    let mut store = fixture.rotated(limits).unwrap();
    for _ in 0..4 {
        store.write(&mut fixture.chunk(1), 0).unwrap();
    }
    store.finish().unwrap();
    assert_eq!(fixture.files().iter().map(|file| read(file).calls).collect::<Vec<_>>(), [1; 4]);
}

#[test]
fn on_request_the_next_file_begins_once() {
    let mut fixture = Fixture::new(64 << 20);
    let limits = StoreLimits { rotate_every: Some(Duration::from_secs(3600)), ..unlimited() };
    let mut store = fixture.rotated(limits).unwrap();
    // Without a chunk there is nothing to end.
    fixture.progress.next_file.store(true, Ordering::Relaxed);
    store.write(&mut fixture.chunk(1), 0).unwrap();
    assert_eq!(fixture.files().len(), 1);
    store.write(&mut fixture.chunk(2), 0).unwrap();
    store.write(&mut fixture.chunk(3), 0).unwrap();
    store.finish().unwrap();
    assert_eq!(fixture.files().iter().map(|file| read(file).calls).collect::<Vec<_>>(), [1, 5]);
}

#[test]
fn each_file_begins_with_the_metadata_of_living_containers() {
    let mut fixture = Fixture::new(64 << 20);
    let limits = StoreLimits { rotate_every: Some(Duration::from_secs(3600)), ..unlimited() };
    let mut store = fixture.rotated(limits).unwrap();
    store.write(&mut fixture.chunk(1), 0).unwrap();
    store.name(vec![named(1, 10), named(2, 10)], &[]).unwrap();
    store.name(Vec::new(), &[named(1, 10).key]).unwrap();
    fixture.progress.next_file.store(true, Ordering::Relaxed);
    // New metadata may end a file, too.
    store.name(vec![named(3, 10)], &[]).unwrap();
    store.write(&mut fixture.chunk(1), 0).unwrap();
    store.finish().unwrap();
    let named: Vec<Vec<u64>> = fixture.files().iter().map(|file| read(file).named).collect();
    assert_eq!(named, [vec![1, 2], vec![2, 3]]);
}

#[test]
fn a_single_file_never_ends_early() {
    let mut fixture = Fixture::new(64 << 20);
    let mut store = fixture.single(unlimited()).unwrap();
    fixture.progress.next_file.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        store.write(&mut fixture.chunk(1), 0).unwrap();
        store.name(vec![named(1, 10)], &[named(1, 10).key]).unwrap();
    }
    store.finish().unwrap();
    assert_eq!(Fixture::count(&fixture.progress.files), 1);
    let contents = read(&fixture.single_path());
    assert_eq!((contents.calls, contents.named), (3, vec![1]));
}

#[test]
fn the_header_of_the_next_file_has_the_same_identity_and_a_later_time() {
    let mut fixture = Fixture::new(64 << 20);
    let mut store =
        fixture.rotated(StoreLimits { rotate_every: Some(Duration::ZERO), ..unlimited() }).unwrap();
    store.write(&mut fixture.chunk(1), 0).unwrap();
    store.write(&mut fixture.chunk(1), 0).unwrap();
    store.finish().unwrap();
    let headers: Vec<Header> = fixture
        .files()
        .iter()
        .map(|file| (*CaptureFile::open(file).unwrap().segments()[0].header).clone())
        .collect();
    let [first, next] = &headers[..] else { panic!("{}", headers.len()) };
    assert_eq!(first.option("series"), Some("x"));
    assert!(next.created > first.created, "{} {}", next.created, first.created);
    let same = Header {
        created: first.created,
        wall_offset: first.wall_offset,
        utc_offset: first.utc_offset,
        ..next.clone()
    };
    assert_eq!(same, *first);
}

#[test]
fn a_capture_that_was_killed_goes_on_in_the_next_file() {
    let mut fixture = Fixture::new(64 << 20);
    let limits = StoreLimits { rotate_every: Some(Duration::from_secs(3600)), ..unlimited() };
    let mut store = fixture.rotated(limits.clone()).unwrap();
    store.write(&mut fixture.chunk(7), 0).unwrap();
    // Without an index and without a trailer.
    drop(store);
    fixture.header = header(9);
    let mut store = fixture.rotated(limits).unwrap();
    store.write(&mut fixture.chunk(8), 0).unwrap();
    store.finish().unwrap();
    let contents: Vec<Contents> = fixture.files().iter().map(|file| read(file)).collect();
    assert_eq!(contents.iter().map(|file| file.calls).collect::<Vec<_>>(), [7, 8]);
    assert!(contents.iter().all(|file| file.uuid == [1; 16]));
}
