use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use capture_format::{CaptureFile, EncodedBlock, MetadataKey, MetadataRecord, Pressure, SegmentWriter};
use events::Kind;
use ktape_reader::model::event_table;
use ktape_reader::model::testing::{self, TestChunk, call, header, id};
use ktape_reader::scan::{Live, Query};

use super::encoder::EncoderStage;
use super::writer::WriterInput;
use super::*;
use crate::record::chunk::ContainerUpdates;
use crate::record::testing::SeenChunk;

/// A chunk of `count` closes of one container, the first one at `time`.
fn closes(time: u64, count: u64) -> TestChunk {
    let mut chunk = TestChunk::new(&header(1));
    let cgroup = chunk.cgroup(11, "/docker/a", &[id('a')]);
    let task = chunk.task(10, 10, "a", cgroup);
    for i in 0..count {
        chunk.call(time + i, task, &call("close", &[3], 0));
    }
    chunk
}

fn filled(chunk: TestChunk, updates: ContainerUpdates) -> FilledChunk {
    FilledChunk { builder: chunk.builder, lost: 0, updates }
}

fn plain(time: u64, count: u64) -> FilledChunk {
    filled(closes(time, count), ContainerUpdates::default())
}

/// The times of closes in chunks.
fn times(chunks: impl IntoIterator<Item = ChunkBuilder>) -> Vec<Vec<u64>> {
    chunks.into_iter().map(|chunk| SeenChunk::new(chunk).times(Kind::Syscall)).collect()
}

fn by_names() -> Option<Live> {
    Some(Live::new(header(1), Query::default(), jiff::tz::TimeZone::UTC).unwrap())
}

fn key(cgroup: u64) -> MetadataKey {
    MetadataKey { boot_id: [1; 16], cgroup, birth: 0 }
}

fn name(cgroup: u64) -> MetadataRecord {
    MetadataRecord { key: key(cgroup), values: vec![("container.name".to_owned(), "web".to_owned())] }
}

/// A destination that keeps what it gets, and fails when it has this many chunks.
#[derive(Clone, Default)]
struct Kept {
    log: Arc<Mutex<Vec<String>>>,
    fail_at: Option<usize>,
}

impl Kept {
    fn push(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Destination for Kept {
    fn write(&mut self, block: &mut EncodedBlock, lost: u64) -> Result<(), FormatError> {
        if self.fail_at == Some(self.lines().len()) {
            return Err(FormatError::Io { what: "write", source: std::io::Error::other("full") });
        }
        let calls = block.summary.rows(event_table(Kind::Syscall));
        self.push(format!("{calls} calls, {lost} lost"));
        Ok(())
    }

    fn name(&mut self, names: Vec<MetadataRecord>, forgotten: &[MetadataKey]) -> Result<(), FormatError> {
        self.push(format!("{} names, {} forgotten", names.len(), forgotten.len()));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), FormatError> {
        self.push("end".to_owned());
        Ok(())
    }
}

/// A viewer that keeps times, and wants no more after this many chunks.
#[derive(Debug, Default)]
struct Seen {
    chunks: Vec<Vec<u64>>,
    names: usize,
    wants: Option<usize>,
}

impl Viewer for Seen {
    fn learn(&mut self, updates: &ContainerUpdates) {
        self.names += updates.names.len();
    }

    fn show(&mut self, builder: ChunkBuilder) -> Result<bool, FormatError> {
        self.chunks.extend(times([builder]));
        Ok(self.wants.is_none_or(|wants| self.chunks.len() < wants))
    }
}

fn encoder(
    filter: Option<Live>,
    progress: &Arc<Progress>,
) -> (EncoderStage, Receiver<WriterInput>, Receiver<ChunkBuilder>) {
    let (output, items) = sync_channel(64);
    let (recycle, recycled) = sync_channel(64);
    let pending = PendingChunks::new(filter, progress.clone());
    (EncoderStage::new(1, pending, output, recycle, progress.clone()).unwrap(), items, recycled)
}

#[test]
fn metadata_goes_ahead_of_the_chunk_it_came_with() {
    let progress = Arc::new(Progress::default());
    let (stage, items, recycled) = encoder(None, &progress);
    let mut chunk = closes(1, 3);
    chunk.loss((0, 5), 1, 0, 0, 17);
    let mut first = filled(
        chunk,
        ContainerUpdates { names: vec![name(11)], forgotten: vec![key(9)], ..ContainerUpdates::default() },
    );
    first.lost = 17;
    let empty = FilledChunk { builder: TestChunk::new(&header(1)).builder, ..plain(0, 0) };
    stage.run([first, empty, plain(9, 2)]).unwrap();
    let kept = Kept::default();
    WriterStage::new(Box::new(kept.clone())).run(items).unwrap();
    assert_eq!(
        kept.lines(),
        ["1 names, 1 forgotten", "3 calls, 17 lost", "2 calls, 0 lost", "end"],
        "an empty chunk is not written"
    );
    assert_eq!(progress.encoded.load(Ordering::Relaxed), 5, "loss rows are not counted");
    let builders: Vec<ChunkBuilder> = recycled.iter().collect();
    assert_eq!(builders.len(), 2);
    assert!(builders.iter().all(ChunkBuilder::is_empty));
}

#[test]
fn an_encoder_ends_with_its_writer() {
    let progress = Arc::new(Progress::default());
    let (stage, items, _recycled) = encoder(None, &progress);
    drop(items);
    stage.run((0..).map(|time| plain(time, 1))).unwrap();
}

#[test]
fn a_writer_that_fails_fails_the_recording_and_ends_every_stage() {
    let progress = Arc::new(Progress::default());
    let kept = Kept { fail_at: Some(1), ..Kept::default() };
    let schema = header(1).schema;
    let (sink, stages) = to_destination(Box::new(kept.clone()), &schema, 1, None, &progress).unwrap();
    let mut time = 0;
    // The first refusal comes when all queues are closed; until then chunks are taken or the queue is full.
    while !matches!(sink.send(plain(time, 1)), Sent::Gone(_)) {
        time += 1;
        thread::yield_now();
    }
    assert!(progress.failed.load(Ordering::Acquire));
    drop(sink);
    assert!(stages.join().unwrap_err().to_string().contains("full"));
    assert_eq!(kept.lines(), ["1 calls, 0 lost"]);
}

#[test]
fn stages_write_all_chunks_in_order_and_recycle_builders() {
    let progress = Arc::new(Progress::default());
    let kept = Kept::default();
    let schema = header(1).schema;
    let (mut sink, stages) = to_destination(Box::new(kept.clone()), &schema, 1, None, &progress).unwrap();
    for count in 1..=20 {
        let mut chunk = plain(1, count);
        while let Sent::Full(back) = sink.send(chunk) {
            chunk = *back;
            thread::yield_now();
        }
    }
    assert!(sink.builder().is_empty());
    sink.send_last(plain(1, 21));
    stages.join().unwrap();
    let mut expected: Vec<String> = (1..=21).map(|count| format!("{count} calls, 0 lost")).collect();
    expected.push("end".to_owned());
    assert_eq!(kept.lines(), expected);
    assert!(!progress.failed.load(Ordering::Acquire));
}

#[test]
fn a_full_queue_gives_the_chunk_back() {
    let progress = Arc::new(Progress::default());
    let (sink, output) = ChunkSender::waiting(header(1).schema, progress.clone());
    for _ in 0..QUEUE {
        assert!(matches!(sink.send(plain(1, 2)), Sent::Taken));
    }
    assert_eq!(progress.waiting.load(Ordering::Relaxed), QUEUE);
    let Sent::Full(back) = sink.send(plain(9, 2)) else { panic!("the queue is full") };
    assert_eq!(times([back.builder]), [[9, 10]]);
    assert_eq!(progress.waiting.load(Ordering::Relaxed), QUEUE, "what is given back does not wait");
    drop(output);
    let Sent::Gone(back) = sink.send(plain(9, 2)) else { panic!("the stage has ended") };
    assert_eq!(times([back.builder]), [[9, 10]]);
}

#[test]
fn a_viewer_that_is_too_slow_loses_events_and_no_names() {
    let progress = Arc::new(Progress::default());
    let (sink, output) = ChunkSender::dropping(header(1).schema, progress.clone());
    for _ in 0..QUEUE {
        assert!(matches!(sink.send(plain(1, 2)), Sent::Taken));
    }
    let late =
        filled(closes(9, 5), ContainerUpdates { names: vec![name(11)], ..ContainerUpdates::default() });
    let Sent::Dropped(back) = sink.send(late) else { panic!("the queue is full") };
    assert!(back.builder.is_empty());
    assert_eq!(back.updates.names.len(), 1, "they go with the next chunk");
    assert_eq!(progress.unshown.load(Ordering::Relaxed), 5);
    drop(sink);
    let stage =
        ViewerStage::new(Seen::default(), PendingChunks::new(None, progress.clone()), progress.clone());
    let seen = stage.run(output.chunks).unwrap();
    assert_eq!(seen.chunks, vec![vec![1, 2]; QUEUE]);
    assert!(!progress.failed.load(Ordering::Acquire));
}

#[test]
fn a_viewer_that_wants_no_more_ends_the_recording() {
    let progress = Arc::new(Progress::default());
    let viewer = Seen { wants: Some(2), ..Seen::default() };
    let (sink, stages) = to_viewer(header(1).schema, viewer, None, &progress);
    while !matches!(sink.send(plain(1, 1)), Sent::Gone(_)) {
        thread::yield_now();
    }
    drop(sink);
    let seen = stages.join().unwrap();
    assert_eq!(seen.chunks, [[1], [1]]);
    assert!(progress.failed.load(Ordering::Acquire));
}

#[test]
fn chunks_wait_until_their_containers_are_named() {
    let progress = Arc::new(Progress::default());
    let mut pending = PendingChunks::new(by_names(), progress.clone());
    let updates = |chunk, pending_since| ContainerUpdates {
        chunk,
        has_pending: true,
        pending_since,
        ..ContainerUpdates::default()
    };
    let mut push = |chunk, updates| {
        times(pending.push(filled(chunk, updates)).unwrap().into_iter().map(|ready| ready.builder))
    };
    assert_eq!(push(closes(1, 2), updates(1, Some(1))), Vec::<Vec<u64>>::new());
    assert_eq!(push(closes(3, 2), updates(2, Some(1))), Vec::<Vec<u64>>::new());
    let named = ContainerUpdates { accepted: vec![11], ..updates(3, Some(3)) };
    assert_eq!(push(closes(5, 2), named), [[1, 2], [3, 4]], "the third has another pending container");
    assert_eq!(push(closes(7, 1), updates(4, None)), [vec![5, 6], vec![7]]);
    assert_eq!(progress.unidentified.load(Ordering::Relaxed), 0);
}

#[test]
fn unnamed_containers_are_dropped_and_counted_rejected_ones_only_dropped() {
    for (rejected, unidentified) in [(vec![], 2), (vec![11], 0)] {
        let progress = Arc::new(Progress::default());
        let mut pending = PendingChunks::new(by_names(), progress.clone());
        let updates = ContainerUpdates {
            chunk: 1,
            has_pending: true,
            pending_since: None,
            rejected,
            ..Default::default()
        };
        let ready = pending.push(filled(closes(1, 2), updates)).unwrap();
        assert!(ready.iter().all(|ready| ready.builder.is_empty()));
        assert_eq!(progress.unidentified.load(Ordering::Relaxed), unidentified);
    }
}

#[test]
fn chunks_that_wait_at_the_end_go_on_without_pending_containers() {
    let progress = Arc::new(Progress::default());
    let (stage, items, _recycled) = encoder(by_names(), &progress);
    let updates =
        ContainerUpdates { chunk: 1, has_pending: true, pending_since: Some(1), ..Default::default() };
    stage.run([filled(closes(1, 2), updates)]).unwrap();
    assert_eq!(items.iter().count(), 0, "nothing is left of it");
    assert_eq!(progress.unidentified.load(Ordering::Relaxed), 2);
}

#[test]
fn beyond_the_largest_size_the_oldest_chunk_goes_on() {
    let progress = Arc::new(Progress::default());
    let one = closes(1, 100).builder.approx_bytes();
    let mut pending = PendingChunks::new(by_names(), progress.clone()).with_max(2 * one);
    let updates = |chunk| ContainerUpdates {
        chunk,
        has_pending: true,
        pending_since: Some(1),
        ..ContainerUpdates::default()
    };
    let mut push = |chunk| pending.push(filled(closes(1, 100), updates(chunk))).unwrap().len();
    assert_eq!([push(1), push(2), push(3), push(4)], [0, 0, 1, 1]);
    assert_eq!(progress.unidentified.load(Ordering::Relaxed), 200);
}

#[test]
fn the_filter_of_the_command_line_applies_before_encoding() {
    let progress = Arc::new(Progress::default());
    let filter = ktape_reader::filter::Filter::parse("evt.type = openat").unwrap();
    let query = Query { filter: Some(filter), ..Query::default() };
    let live = Live::new(header(1), query, jiff::tz::TimeZone::UTC).unwrap();
    let (stage, items, _recycled) = encoder(Some(live), &progress);
    let mut chunk = closes(1, 3);
    chunk.call(9, 0, &testing::openat(b"/etc/hosts", 3));
    stage.run([filled(chunk, ContainerUpdates::default())]).unwrap();
    let kept = Kept::default();
    WriterStage::new(Box::new(kept.clone())).run(items).unwrap();
    assert_eq!(kept.lines(), ["1 calls, 0 lost", "end"]);
}

#[test]
fn chunks_behind_which_others_wait_are_compressed_less_and_marked() {
    let progress = Arc::new(Progress::default());
    let (sink, output) = ChunkSender::waiting(header(1).schema, progress.clone());
    let (stage, items, _recycled) = encoder(None, &progress);
    // The encoder does not run yet.
    for i in 0..QUEUE as u64 {
        assert!(matches!(sink.send(plain(1 + 10_000 * i, 10_000)), Sent::Taken));
    }
    drop(sink);
    stage.run(taken(output.chunks, progress.clone())).unwrap();
    assert_eq!(progress.waiting.load(Ordering::Relaxed), 0);

    let mut writer = SegmentWriter::new(Vec::new(), &header(1)).unwrap();
    let mut less = 0;
    for item in items {
        let WriterInput::Chunk { mut block, .. } = item else { panic!("no metadata was sent") };
        if block.summary.pressure.has(Pressure::QUEUE) {
            less += block.size() as u64;
        }
        writer.write_block(&mut block).unwrap();
    }
    assert_eq!(progress.less_bytes.load(Ordering::Relaxed), less);
    let file = CaptureFile::from_reader(std::io::Cursor::new(writer.finish().unwrap())).unwrap();
    let entries: Vec<_> = file.chunks().collect();
    assert_eq!(entries.len(), QUEUE);
    // Three and two chunks waited behind these. The last two follow within a second, unless this machine stalls.
    assert_eq!(
        entries[..2].iter().map(|entry| entry.summary.pressure).collect::<Vec<_>>(),
        [Pressure::QUEUE; 2]
    );
    let marked = entries.iter().filter(|entry| !entry.summary.pressure.is_none()).count() as u64;
    assert_eq!(progress.less_chunks.load(Ordering::Relaxed), marked);
    for (i, entry) in entries.into_iter().enumerate() {
        let chunk = file.read_chunk(entry).unwrap();
        chunk.verify().unwrap();
        assert_eq!(chunk.summary().rows(event_table(Kind::Syscall)), 10_000);
        assert_eq!(chunk.summary().end_min, 1 + 10_000 * i as u64);
    }
}

#[test]
fn a_full_ring_buffer_is_pressure_and_an_empty_queue_is_not() {
    for (fill, pressure) in [(900, Pressure::BUFFERS), (100, Pressure::NONE)] {
        let progress = Arc::new(Progress::default());
        progress.fill.store(fill, Ordering::Relaxed);
        let (stage, items, _recycled) = encoder(None, &progress);
        stage.run([plain(1, 100)]).unwrap();
        let Ok(WriterInput::Chunk { block, .. }) = items.recv() else { panic!("a chunk") };
        assert_eq!(block.summary.pressure, pressure);
        let less = progress.less_chunks.load(Ordering::Relaxed);
        assert_eq!(less, u64::from(!pressure.is_none()));
    }
}
