//! Where filled chunks go: to an encoder and a writer, each a thread of its own, or to a live view.
//!
//! All queues are short and bounded. When the first one is full the drain stops reading the event ring buffers, so
//! that the kernel counts what is lost, by cgroup; lifecycle events are still read.

mod effort;
mod encoder;
mod viewer;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use capture_format::{ChunkBuilder, FormatError, Schema};

use super::chunk::FilledChunk;
use super::pending::PendingChunks;
use super::progress::Progress;
use encoder::EncoderStage;
use ktape_reader::scan::Live;
pub use viewer::Viewer;
use viewer::ViewerStage;
pub use writer::Destination;
use writer::WriterStage;

/// Chunks that may wait to be encoded.
pub(super) const QUEUE: usize = 4;
/// Emptied builders that are kept for later chunks; each takes up to 16 MiB.
const SPARE: usize = 1;
/// Blocks that may wait to be written.
const WRITE_QUEUE: usize = 4;

/// What to do when the queue is full.
#[derive(Clone, Copy, Debug)]
enum Overrun {
    /// Give the chunk back: the drain waits.
    Wait,
    /// Drop its rows and count them in [`Progress::unshown`]: a live view is rather incomplete than late.
    Drop,
}

/// The drain's end of the pipeline.
pub struct ChunkSender {
    sender: SyncSender<FilledChunk>,
    recycled: Receiver<ChunkBuilder>,
    schema: Arc<Schema>,
    spare: Option<ChunkBuilder>,
    overrun: Overrun,
    progress: Arc<Progress>,
}

/// What the stage behind a [`ChunkSender`] works with: the other ends of its queues.
pub(super) struct ChunkReceiver {
    /// Chunks in the order in which they were sent.
    pub chunks: Receiver<FilledChunk>,
    /// Takes builders back, emptied, while there is room: what was needed when the stage fell behind is not kept.
    pub recycle: SyncSender<ChunkBuilder>,
}

/// What became of a chunk that was sent.
#[derive(Debug)]
pub enum Sent {
    /// It is taken.
    Taken,
    /// Its rows were dropped because the queue was full; it comes back empty, with its updates.
    Dropped(Box<FilledChunk>),
    /// The queue is full.
    Full(Box<FilledChunk>),
    /// The stage behind has ended.
    Gone(Box<FilledChunk>),
}

impl ChunkSender {
    fn new(schema: Arc<Schema>, overrun: Overrun, progress: Arc<Progress>) -> (Self, ChunkReceiver) {
        let (sender, chunks) = sync_channel(QUEUE);
        let (recycle, recycled) = sync_channel(SPARE);
        (Self { sender, recycled, schema, spare: None, overrun, progress }, ChunkReceiver { chunks, recycle })
    }

    /// A sink whose other end the caller reads. The drain waits when it is full.
    pub(super) fn waiting(schema: Arc<Schema>, progress: Arc<Progress>) -> (Self, ChunkReceiver) {
        Self::new(schema, Overrun::Wait, progress)
    }

    /// The same, and what finds the queue full is dropped and counted.
    pub(super) fn dropping(schema: Arc<Schema>, progress: Arc<Progress>) -> (Self, ChunkReceiver) {
        Self::new(schema, Overrun::Drop, progress)
    }

    /// An empty builder: one that was used before, if there is one.
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

    /// Hands over a filled chunk without waiting, or gives it back.
    pub fn send(&self, chunk: FilledChunk) -> Sent {
        // Before the chunk is sent: the stage behind may take it at once.
        self.progress.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.sender.try_send(chunk);
        if sent.is_err() {
            self.progress.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        match (sent, self.overrun) {
            (Ok(()), _) => Sent::Taken,
            (Err(TrySendError::Full(mut chunk)), Overrun::Drop) => {
                self.progress.unshown.fetch_add(chunk.builder.event_rows() as u64, Ordering::Relaxed);
                chunk.builder.clear();
                Sent::Dropped(Box::new(chunk))
            }
            (Err(TrySendError::Full(chunk)), Overrun::Wait) => Sent::Full(Box::new(chunk)),
            (Err(TrySendError::Disconnected(chunk)), _) => Sent::Gone(Box::new(chunk)),
        }
    }

    /// Hands over the last chunk, however long that takes: the session ends the process in time.
    pub fn send_last(self, chunk: FilledChunk) {
        self.progress.waiting.fetch_add(1, Ordering::Relaxed);
        // A stage that has ended has no use for it.
        let _ = self.sender.send(chunk);
    }
}

/// A stage's thread, with whatever its output is.
type StageThread<T> = JoinHandle<Result<T, FormatError>>;

/// The threads behind a [`ChunkSender`].
pub struct Stages<W> {
    encoder: Option<StageThread<()>>,
    last: StageThread<W>,
}

impl<W> Stages<W> {
    /// Waits for all stages; the drain must have dropped the [`ChunkSender`]. Returns what the last one has left.
    ///
    /// # Errors
    ///
    /// Whatever stopped one of them.
    pub fn join(self) -> Result<W, FormatError> {
        let encoded = self.encoder.map_or(Ok(()), |encoder| {
            encoder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let written = self.last.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        encoded.and(written)
    }
}

/// Starts the stages that write to a file, or to wherever else.
///
/// # Errors
///
/// zstd cannot be started.
pub fn to_destination(
    destination: Box<dyn Destination>,
    schema: &Arc<Schema>,
    level: i32,
    filter: Option<Live>,
    progress: &Arc<Progress>,
) -> Result<(ChunkSender, Stages<()>), FormatError> {
    let (sink, ChunkReceiver { chunks, recycle }) = ChunkSender::waiting(schema.clone(), progress.clone());
    let (output, items) = sync_channel(WRITE_QUEUE);
    let pending = PendingChunks::new(filter, progress.clone());
    let encoder = EncoderStage::new(level, pending, output, recycle, progress.clone())?;
    let chunks = taken(chunks, progress.clone());
    let encoder = spawn("ktape-encode", progress, move || encoder.run(chunks));
    let writer = WriterStage::new(destination);
    let last = spawn("ktape-write", progress, move || writer.run(items));
    Ok((sink, Stages { encoder: Some(encoder), last }))
}

/// Hands chunks to a viewer instead of a file. It ends the capture when it wants no more, or fails.
pub fn to_viewer<V: Viewer>(
    schema: Arc<Schema>,
    viewer: V,
    filter: Option<Live>,
    progress: &Arc<Progress>,
) -> (ChunkSender, Stages<V>) {
    view(ChunkSender::dropping(schema, progress.clone()), viewer, filter, progress)
}

/// The same for a viewer that counts: the drain waits for it, so that the kernel counts what is lost, as it does for a file.
pub fn to_counter<V: Viewer>(
    schema: Arc<Schema>,
    viewer: V,
    filter: Option<Live>,
    progress: &Arc<Progress>,
) -> (ChunkSender, Stages<V>) {
    view(ChunkSender::waiting(schema, progress.clone()), viewer, filter, progress)
}

fn view<V: Viewer>(
    (sink, receiver): (ChunkSender, ChunkReceiver),
    viewer: V,
    filter: Option<Live>,
    progress: &Arc<Progress>,
) -> (ChunkSender, Stages<V>) {
    // A shown chunk keeps its builder, so nothing ever comes back.
    let ChunkReceiver { chunks, .. } = receiver;
    let stage = ViewerStage::new(viewer, PendingChunks::new(filter, progress.clone()), progress.clone());
    let chunks = taken(chunks, progress.clone());
    let last = spawn("ktape-view", progress, move || stage.run(chunks));
    (sink, Stages { encoder: None, last })
}

/// The chunks of a queue; each one that is taken no longer counts as waiting.
fn taken(chunks: Receiver<FilledChunk>, progress: Arc<Progress>) -> impl Iterator<Item = FilledChunk> {
    chunks.into_iter().inspect(move |_| {
        progress.waiting.fetch_sub(1, Ordering::Relaxed);
    })
}

/// Runs a stage in a thread of its own. When it fails, so does the recording.
fn spawn<T: Send + 'static>(
    name: &str,
    progress: &Arc<Progress>,
    stage: impl FnOnce() -> Result<T, FormatError> + Send + 'static,
) -> StageThread<T> {
    let progress = progress.clone();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            crate::background::prefer_this_thread();
            fail_with(&progress, stage())
        })
        .expect("the system has room for one more thread")
}

/// Marks the recording as failed if a stage has.
fn fail_with<T>(progress: &Progress, result: Result<T, FormatError>) -> Result<T, FormatError> {
    if result.is_err() {
        progress.failed.store(true, Ordering::Release);
    }
    result
}
