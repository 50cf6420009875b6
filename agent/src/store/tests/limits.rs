//! `--max-size`, `--min-free` and `--keep`.

use super::*;

#[test]
fn a_single_file_ends_before_its_maximum_size() {
    let mut fixture = Fixture::new(64 << 20);
    let most = 512 << 10;
    let mut store = fixture.single(StoreLimits { max_bytes: Some(most), ..unlimited() }).unwrap();
    let mut written = 0;
    while fixture.progress.wants_to_end().is_none() {
        store.write(&mut fixture.chunk(10), 0).unwrap();
        written += 10;
    }
    assert_eq!(fixture.progress.wants_to_end(), Some(End::MaxSize(most)));
    store.write(&mut fixture.chunk(1), 0).unwrap();
    store.finish().unwrap();
    let size = fs::metadata(fixture.single_path()).unwrap().len();
    assert!(size <= most && size > most / 2, "{size}");
    let contents = read(&fixture.single_path());
    assert_eq!(contents.calls, written - 10);
    assert_eq!(
        contents.losses.iter().map(|loss| (&*loss.stage, loss.count)).collect::<Vec<_>>(),
        [("writer", 11)]
    );
}

#[test]
fn rotated_files_together_stay_below_the_maximum_size() {
    let mut fixture = Fixture::new(64 << 20);
    let most = 1 << 20;
    let limits = StoreLimits {
        max_bytes: Some(most),
        rotate_every: Some(std::time::Duration::from_secs(3600)),
        ..unlimited()
    };
    let mut store = fixture.rotated(limits).unwrap();
    for _ in 0..100 {
        store.write(&mut fixture.chunk(10), 0).unwrap();
        let used = (64 << 20) - fixture.disk.free() - RESERVE;
        assert!(used <= most, "{used}");
        assert!(Fixture::count(&fixture.progress.kept) <= most);
    }
    store.finish().unwrap();
    assert_eq!(fixture.progress.wants_to_end(), None);
    assert!(Fixture::count(&fixture.progress.deleted) > 3);
    // Without --rotate SIZE a file ends at half of the maximum.
    for file in fixture.files() {
        assert!(fs::metadata(&file).unwrap().len() <= most / 2);
        assert_eq!(read(&file).losses, []);
    }
}

#[test]
fn too_little_free_space_at_the_start_leaves_no_file_behind() {
    let mut fixture = Fixture::new(1 << 20);
    let limits = StoreLimits { min_free: MinFree::Bytes(1 << 20), ..StoreLimits::default() };
    let error = fixture.single(limits.clone()).err().unwrap().to_string();
    assert_eq!(
        error,
        format!(
            "not enough disk space: {} free, below the --min-free limit of 1.0 MiB; free some space or pass --min-free 0",
            ktape_reader::text::units::size_text((1 << 20) - header_bytes())
        )
    );
    assert_eq!(fixture.files(), Vec::<PathBuf>::new());
    let limits = StoreLimits { rotate_bytes: Some(256 << 10), ..limits };
    assert!(fixture.rotated(limits).is_err());
    assert_eq!(fixture.files(), Vec::<PathBuf>::new());
}

/// Bytes that the header of a file takes.
fn header_bytes() -> u64 {
    let fixture = Fixture::new(1 << 20);
    drop(fixture.single(unlimited()).unwrap());
    fs::metadata(fixture.single_path()).unwrap().len()
}

#[test]
fn a_file_system_that_fills_up_ends_the_capture_before_the_last_bytes() {
    let mut fixture = Fixture::new(1 << 20);
    let least = 256 << 10;
    let mut store =
        fixture.single(StoreLimits { min_free: MinFree::Bytes(least), ..StoreLimits::default() }).unwrap();
    while fixture.progress.wants_to_end().is_none() {
        store.write(&mut fixture.chunk(10), 0).unwrap();
    }
    match fixture.progress.wants_to_end() {
        Some(End::NoRoom(why)) => {
            assert!(why.starts_with("not enough disk space: "), "{why}");
            assert!(why.ends_with(" free, below the --min-free limit of 256.0 KiB"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    store.finish().unwrap();
    assert!(fixture.disk.free() >= least);
    assert_eq!(read(&fixture.single_path()).losses.iter().map(|loss| loss.count).collect::<Vec<_>>(), [10]);
}

#[test]
fn the_oldest_files_are_deleted_to_keep_space_free() {
    let mut fixture = Fixture::new(2 << 20);
    let least = 1 << 20;
    let limits = StoreLimits {
        rotate_bytes: Some(256 << 10),
        min_free: MinFree::Share(0.5, u64::MAX),
        ..StoreLimits::default()
    };
    let mut store = fixture.rotated(limits.clone()).unwrap();
    for _ in 0..60 {
        store.write(&mut fixture.chunk(10), 0).unwrap();
        assert!(fixture.disk.free() >= least);
    }
    store.finish().unwrap();
    assert_eq!(fixture.progress.wants_to_end(), None);
    assert!(Fixture::count(&fixture.progress.deleted) > 3);
    // The same at the start of the next run.
    let before = fixture.files();
    fixture.disk.capacity.fetch_sub(512 << 10, Ordering::Relaxed);
    fixture.header = header(2);
    let limits = StoreLimits { min_free: MinFree::Bytes(least), ..limits };
    let store = fixture.rotated(limits).unwrap();
    assert!(!before[0].exists() && before[before.len() - 1].exists());
    drop(store);
    assert!(
        fixture.files().iter().all(|file| read(file).uuid == [1; 16]),
        "the run goes on with the old UUID"
    );
}

#[test]
fn at_most_the_given_number_of_files_is_kept() {
    let mut fixture = Fixture::new(64 << 20);
    let limits = StoreLimits { rotate_bytes: Some(256 << 10), keep_files: Some(3), ..unlimited() };
    let mut store = fixture.rotated(limits.clone()).unwrap();
    for _ in 0..60 {
        store.write(&mut fixture.chunk(10), 0).unwrap();
        assert!(fixture.files().len() <= 3);
    }
    store.finish().unwrap();
    assert_eq!(fixture.files().len(), 3);
    // Files of the run before count.
    let _store = fixture.rotated(limits).unwrap();
    assert_eq!(fixture.files().len(), 3);
}

#[test]
fn files_older_than_the_given_age_are_deleted_at_rotation() {
    let mut fixture = Fixture::new(64 << 20);
    let limits = StoreLimits {
        rotate_bytes: Some(256 << 10),
        keep_age: Some(std::time::Duration::ZERO),
        ..unlimited()
    };
    let mut store = fixture.rotated(limits).unwrap();
    for _ in 0..30 {
        store.write(&mut fixture.chunk(10), 0).unwrap();
    }
    store.finish().unwrap();
    assert_eq!(fixture.files().len(), 1);
    assert_eq!(Fixture::count(&fixture.progress.deleted) + 1, Fixture::count(&fixture.progress.files));
}

#[test]
fn pipes_and_devices_have_no_limits() {
    let mut fixture = Fixture::new(1 << 20);
    let output = Output::open(Some(Path::new("/dev/null")), true).unwrap();
    let limits = StoreLimits { min_free: MinFree::Bytes(u64::MAX), sync: true, ..StoreLimits::default() };
    let settings = fixture.settings(limits);
    let output = StoreOutput::Single(Box::new(output));
    let mut store =
        Box::new(Store::begin(output, settings, fixture.header.clone(), &fixture.progress).unwrap());
    store.write(&mut fixture.chunk(10), 0).unwrap();
    store.name(vec![named(1, 10)], &[]).unwrap();
    store.finish().unwrap();
    assert_eq!(fixture.progress.wants_to_end(), None);
    assert!(Fixture::count(&fixture.progress.bytes) > 10 * STRING as u64);
}
