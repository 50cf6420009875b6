//! Where full chunks go: encoded by one thread, written by another, or shown live.
//!
//! Both queues are short and bounded. When the first is full the drain stops reading the flood
//! rings, so that what is lost is counted in the kernel, by cgroup; lifecycle events are still read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use capture_format::{
    ChunkBuilder, EncodeOptions, EncodedBlock, Encoder, FormatError, MetadataKey, MetadataRecord, Schema,
};
use events::KINDS;

use super::gate::Gate;
use ktape_reader::model::event_table;
use ktape_reader::scan::Live;

/// Chunks that may wait to be encoded.
const QUEUE: usize = 4;
/// Chunks that may wait to be written.
const WRITE_QUEUE: usize = 4;

/// What the stages tell while they run.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events in chunks that are handed over, before any filter.
    pub events: AtomicU64,
    /// Events in chunks that are encoded.
    pub encoded: AtomicU64,
    /// Events lost, at any stage.
    pub lost: AtomicU64,
    /// Bytes written, in all files.
    pub bytes: AtomicU64,
    /// Files begun.
    pub files: AtomicU64,
    /// Files of a series that were deleted.
    pub deleted: AtomicU64,
    /// Bytes of a series that are there.
    pub kept: AtomicU64,
    /// Events that reached the writer and could not be written.
    pub unwritten: AtomicU64,
    /// Set to have the next file of a series begun.
    pub next_file: AtomicBool,
    /// How often the drain went round: it stands still if it is stuck.
    pub beats: AtomicU64,
    /// Why the writer wants to end.
    end: Mutex<Option<End>>,
    /// Events of containers that nobody named in time, which a filter by names left out.
    pub undecided: AtomicU64,
    /// Events that a live view was too slow for.
    pub unshown: AtomicU64,
    /// Set when a stage cannot go on.
    pub failed: AtomicBool,
}

/// Why the writer wants a capture to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The capture may not become larger, bytes.
    MaxSize(u64),
    /// The file system is filling up, in words.
    NoRoom(String),
    /// The file system is full.
    Full,
}

impl Progress {
    /// The writer wants to end; the first reason is the one.
    pub fn end(&self, end: End) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(end);
    }

    /// Why the writer wants to end, if it does.
    pub fn wants_to_end(&self) -> Option<End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where encoded chunks go.
pub trait Destination: Send + 'static {
    /// Takes a chunk, which tells of so many lost events.
    ///
    /// # Errors
    ///
    /// Nothing can be written any more.
    fn write(&mut self, block: &mut EncodedBlock, lost: u64) -> Result<(), FormatError>;

    /// Takes what became known of containers, and of which of them nothing more will come.
    ///
    /// # Errors
    ///
    /// Nothing can be written any more.
    fn name(&mut self, names: Vec<MetadataRecord>, forgotten: &[MetadataKey]) -> Result<(), FormatError>;

    /// Ends what is being written.
    ///
    /// # Errors
    ///
    /// That cannot be written.
    fn finish(self: Box<Self>) -> Result<(), FormatError>;
}

/// A stage's thread, with whatever its output is.
pub type Stage<T> = JoinHandle<Result<T, FormatError>>;

/// A chunk on its way.
#[derive(Debug)]
pub struct Filled {
    /// Its rows.
    pub builder: ChunkBuilder,
    /// Lost events that it tells of.
    pub lost: u64,
    /// What is told with it.
    pub along: Along,
}

/// What is told with a chunk, of containers.
#[derive(Debug, Default)]
pub struct Along {
    /// What became known of them.
    pub names: Vec<MetadataRecord>,
    /// Those of which nothing more will come.
    pub forgotten: Vec<MetadataKey>,
    /// With a filter that needs names: cgroups that turned out to be wanted, by id.
    pub accepted: Vec<u64>,
    /// With such a filter: cgroups whose runtime told of them, and that are not wanted.
    pub rejected: Vec<u64>,
    /// The number of the chunk.
    pub chunk: u64,
    /// Whether it has events of containers of which it is not known whether they are wanted, or was not then.
    pub undecided: bool,
    /// The first chunk of which that is not known even now.
    pub undecided_since: Option<u64>,
}

/// The end of the drain's pipeline.
pub struct Sink {
    sender: SyncSender<Filled>,
    recycled: Receiver<ChunkBuilder>,
    schema: Arc<Schema>,
    spare: Option<ChunkBuilder>,
    /// Where chunks are counted that are dropped for want of room: a live view is rather
    /// incomplete than late.
    dropped: Option<Arc<Progress>>,
}

impl Sink {
    /// A builder to fill: one that was used before, if there is one.
    pub fn builder(&mut self) -> ChunkBuilder {
        if let Some(builder) = self.spare.take() {
            return builder;
        }
        self.recycled.try_recv().unwrap_or_else(|_| ChunkBuilder::new(self.schema.clone()))
    }

    /// Takes an unused builder back.
    pub fn keep(&mut self, builder: ChunkBuilder) {
        self.spare = Some(builder);
    }

    /// Hands over a full chunk, or gives it back.
    pub fn send(&self, chunk: Filled) -> Sent {
        match (self.sender.try_send(chunk), &self.dropped) {
            (Ok(()), _) => Sent::Taken,
            (Err(TrySendError::Full(mut chunk)), Some(progress)) => {
                progress.unshown.fetch_add(chunk.builder.event_rows() as u64, Ordering::Relaxed);
                chunk.builder.clear();
                // What is told with it goes along with the next one.
                Sent::Dropped(Box::new(chunk))
            }
            (Err(TrySendError::Full(chunk)), None) => Sent::Full(Box::new(chunk)),
            (Err(TrySendError::Disconnected(chunk)), _) => Sent::Gone(Box::new(chunk)),
        }
    }

    /// Hands over the last chunk, however long that takes: whoever waits for the end gives up in time.
    pub fn send_last(self, chunk: Filled) {
        // If nobody takes it there is nobody to tell.
        let _ = self.sender.send(chunk);
    }
}

/// What became of a chunk.
#[derive(Debug)]
pub enum Sent {
    /// It is taken.
    Taken,
    /// Its rows were dropped for want of room.
    Dropped(Box<Filled>),
    /// There is no room for it now.
    Full(Box<Filled>),
    /// Nobody takes chunks any more.
    Gone(Box<Filled>),
}

/// The threads behind a [`Sink`].
pub struct Stages<W> {
    encoder: Option<Stage<()>>,
    writer: Stage<W>,
}

impl<W> Stages<W> {
    /// Waits for both; the drain must have dropped the [`Sink`].
    ///
    /// # Errors
    ///
    /// Whatever stopped one of them.
    pub fn join(self) -> Result<W, FormatError> {
        let encoded = self.encoder.map_or(Ok(()), |encoder| {
            encoder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let written = self.writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        encoded.and(written)
    }
}

/// What the writer gets.
enum Item {
    Chunk(EncodedBlock, u64),
    Names(Vec<MetadataRecord>, Vec<MetadataKey>),
}

/// Starts the stages that write to a file, or to wherever else.
///
/// # Errors
///
/// zstd cannot be started.
pub fn to_destination(
    mut destination: Box<dyn Destination>,
    schema: &Arc<Schema>,
    level: i32,
    filter: Option<Live>,
    progress: &Arc<Progress>,
) -> Result<(Sink, Stages<()>), FormatError> {
    let (sender, chunks) = sync_channel::<Filled>(QUEUE);
    let (recycle, recycled) = channel();
    let (items_in, items) = sync_channel::<Item>(WRITE_QUEUE);
    let mut encoder = Encoder::new(EncodeOptions { level, ..EncodeOptions::default() })?;
    let shared = progress.clone();
    let encoder = spawn("ktape-encode", move || {
        let result = (|| {
            let mut gate = Gate::new(filter, shared.clone());
            let mut encode = |chunks: Vec<(ChunkBuilder, u64)>| {
                for (mut builder, lost) in chunks {
                    if builder.is_empty() {
                        continue;
                    }
                    let block = encoder.encode(&builder)?;
                    shared.encoded.fetch_add(recorded_rows(&builder), Ordering::Relaxed);
                    builder.clear();
                    // The drain may be gone already.
                    let _ = recycle.send(builder);
                    if items_in.send(Item::Chunk(block, lost)).is_err() {
                        return Ok(false);
                    }
                }
                Ok::<_, FormatError>(true)
            };
            for mut filled in chunks {
                let Along { names, forgotten, .. } = &mut filled.along;
                let told = Item::Names(names.clone(), std::mem::take(forgotten));
                let is_news =
                    matches!(&told, Item::Names(names, gone) if !names.is_empty() || !gone.is_empty());
                if is_news && items_in.send(told).is_err() || !encode(gate.pass(filled)?)? {
                    return Ok(());
                }
            }
            encode(gate.finish()?).map(|_| ())
        })();
        if result.is_err() {
            shared.failed.store(true, Ordering::Release);
        }
        result
    });
    let shared = progress.clone();
    let writer = spawn("ktape-write", move || {
        let result = (|| {
            for item in items {
                match item {
                    Item::Chunk(mut block, lost) => destination.write(&mut block, lost)?,
                    Item::Names(names, forgotten) => destination.name(names, &forgotten)?,
                }
            }
            destination.finish()
        })();
        if result.is_err() {
            shared.failed.store(true, Ordering::Release);
        }
        result
    });
    let sink = Sink { sender, recycled, schema: schema.clone(), spare: None, dropped: None };
    Ok((sink, Stages { encoder: Some(encoder), writer }))
}

/// Who is shown chunks as they are recorded.
pub trait Viewer: Send + 'static {
    /// Takes what became known of containers, before the chunks that it came with.
    fn learn(&mut self, along: &Along);

    /// Takes a chunk. False if no more are wanted.
    ///
    /// # Errors
    ///
    /// It cannot be shown.
    fn show(&mut self, builder: ChunkBuilder) -> Result<bool, FormatError>;
}

/// Hands chunks to a viewer instead of a file. It ends the capture when it wants no more, or fails.
pub fn to_viewer<V: Viewer>(
    schema: Arc<Schema>,
    mut viewer: V,
    filter: Option<Live>,
    progress: &Arc<Progress>,
) -> (Sink, Stages<V>) {
    let (sender, chunks) = sync_channel::<Filled>(QUEUE);
    // A shown chunk keeps its builder, so nothing ever comes back.
    let (_, recycled) = channel();
    let shared = progress.clone();
    let writer = spawn("ktape-view", move || {
        let show = |viewer: &mut V, chunks: Vec<(ChunkBuilder, u64)>| {
            for (builder, _) in chunks {
                if !viewer.show(builder)? {
                    return Ok(false);
                }
            }
            Ok::<_, FormatError>(true)
        };
        let result = (|| {
            let mut gate = Gate::new(filter, shared.clone());
            for filled in chunks {
                viewer.learn(&filled.along);
                if !show(&mut viewer, gate.pass(filled)?)? {
                    return Ok(false);
                }
            }
            show(&mut viewer, gate.finish()?)
        })();
        if !matches!(result, Ok(true)) {
            shared.failed.store(true, Ordering::Release);
        }
        result.map(|_| viewer)
    });
    let sink = Sink { sender, recycled, schema, spare: None, dropped: Some(progress.clone()) };
    (sink, Stages { encoder: None, writer })
}

/// Events that were recorded, not made by the recorder.
fn recorded_rows(builder: &ChunkBuilder) -> u64 {
    let own = KINDS.iter().filter(|kind| kind.is_about_recording());
    let own = own.filter_map(|kind| builder.schema().index(event_table(*kind)));
    builder.event_rows() as u64 - own.map(|index| u64::from(builder.rows_at(index))).sum::<u64>()
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            crate::background::prefer_this_thread();
            body()
        })
        .expect("the system has room for one more thread")
}
