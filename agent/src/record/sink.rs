//! Where full chunks go: encoded by one thread, written by another, or shown live.
//!
//! Both queues are short and bounded. When the first is full the drain stops reading the flood
//! rings, so that what is lost is counted in the kernel, by cgroup; lifecycle events are still read.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread::{self, JoinHandle};

use agent_ebpf::kinds::KINDS;
use capture_format::{
    ChunkBuilder, EncodeOptions, EncodedBlock, Encoder, FormatError, Header, Schema, SegmentWriter,
};

use crate::model::event_table;
use crate::replay::Live;

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
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Events that a live view was too slow for.
    pub unshown: AtomicU64,
    /// Set when a stage cannot go on.
    pub failed: AtomicBool,
}

/// A stage's thread, with whatever its output is.
pub type Stage<T> = JoinHandle<Result<T, FormatError>>;

/// The end of the drain's pipeline.
pub struct Sink {
    sender: SyncSender<ChunkBuilder>,
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
    pub fn send(&self, builder: ChunkBuilder) -> Sent {
        match (self.sender.try_send(builder), &self.dropped) {
            (Ok(()), _) => Sent::Taken,
            (Err(TrySendError::Full(builder)), Some(progress)) => {
                progress.unshown.fetch_add(builder.event_rows() as u64, Ordering::Relaxed);
                Sent::Taken
            }
            (Err(TrySendError::Full(builder)), None) => Sent::Full(Box::new(builder)),
            (Err(TrySendError::Disconnected(builder)), _) => Sent::Gone(Box::new(builder)),
        }
    }
}

impl Sink {
    /// Hands over the last chunk, however long that takes: whoever waits for the end gives up in time.
    pub fn send_last(self, builder: ChunkBuilder) {
        // If nobody takes it there is nobody to tell.
        let _ = self.sender.send(builder);
    }
}

/// What became of a chunk.
#[derive(Debug)]
pub enum Sent {
    /// It is taken.
    Taken,
    /// There is no room for it now.
    Full(Box<ChunkBuilder>),
    /// Nobody takes chunks any more.
    Gone(Box<ChunkBuilder>),
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

/// Counts what is written.
#[derive(Debug)]
struct Counted<W> {
    out: W,
    progress: Arc<Progress>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.progress.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Starts the stages that write a file: the header at once, the index at the end.
///
/// # Errors
///
/// The header cannot be written, or zstd not be started.
pub fn to_file<W: Write + Send + 'static>(
    out: W,
    header: &Header,
    level: i32,
    mut filter: Option<Live>,
    progress: &Arc<Progress>,
) -> Result<(Sink, Stages<W>), FormatError> {
    let (sender, chunks) = sync_channel::<ChunkBuilder>(QUEUE);
    let (recycle, recycled) = channel();
    let (blocks_in, blocks) = sync_channel::<EncodedBlock>(WRITE_QUEUE);
    let out = Counted { out, progress: progress.clone() };
    let mut writer = SegmentWriter::new(out, header)?;
    let mut encoder = Encoder::new(EncodeOptions { level, ..EncodeOptions::default() })?;
    let shared = progress.clone();
    let encoder = spawn("ktape-encode", move || {
        let result = (|| {
            for mut builder in chunks {
                if let Some(filter) = &mut filter {
                    builder = filter.filter(builder)?;
                }
                if builder.is_empty() {
                    continue;
                }
                let block = encoder.encode(&builder)?;
                shared.encoded.fetch_add(recorded_rows(&builder), Ordering::Relaxed);
                builder.clear();
                // The drain may be gone already.
                let _ = recycle.send(builder);
                if blocks_in.send(block).is_err() {
                    break;
                }
            }
            Ok(())
        })();
        if result.is_err() {
            shared.failed.store(true, Ordering::Release);
        }
        result
    });
    let shared = progress.clone();
    let writer = spawn("ktape-write", move || {
        let result = (|| {
            for block in blocks {
                writer.write_block(block)?;
            }
            Ok(writer.finish()?.out)
        })();
        if result.is_err() {
            shared.failed.store(true, Ordering::Release);
        }
        result
    });
    let sink = Sink { sender, recycled, schema: header.schema.clone(), spare: None, dropped: None };
    Ok((sink, Stages { encoder: Some(encoder), writer }))
}

/// Hands chunks to a function instead of a file: the live view. It ends the capture when it
/// returns false or fails.
pub fn to_function<T: Send + 'static>(
    schema: Arc<Schema>,
    mut state: T,
    mut show: impl FnMut(&mut T, ChunkBuilder) -> Result<bool, FormatError> + Send + 'static,
    progress: &Arc<Progress>,
) -> (Sink, Stages<T>) {
    let (sender, chunks) = sync_channel::<ChunkBuilder>(QUEUE);
    // A shown chunk keeps its builder, so nothing ever comes back.
    let (_, recycled) = channel();
    let shared = progress.clone();
    let writer = spawn("ktape-view", move || {
        let mut result = Ok(true);
        for builder in chunks {
            result = show(&mut state, builder);
            if !matches!(result, Ok(true)) {
                shared.failed.store(true, Ordering::Release);
                break;
            }
        }
        result.map(|_| state)
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
            super::prefer_this_thread();
            body()
        })
        .expect("the system has room for one more thread")
}
