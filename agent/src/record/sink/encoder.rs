//! The encoder: applies the filter, encodes columns and compresses them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use capture_format::{ChunkBuilder, EncodeOptions, Encoder, FormatError};
use events::KINDS;

use super::effort::{EffortControl, Load};
use super::writer::WriterInput;
use crate::record::chunk::FilledChunk;
use crate::record::pending::{PendingChunks, ReadyChunk};
use crate::record::progress::Progress;
use ktape_reader::model::event_table;

/// Whether the stage behind takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    More,
    /// It has ended.
    Ended,
}

/// Encodes chunks, in the order in which they are released.
pub(super) struct EncoderStage {
    encoder: Encoder,
    effort: EffortControl,
    /// The writer had no room for the last block.
    output_full: bool,
    pending: PendingChunks,
    output: SyncSender<WriterInput>,
    recycle: SyncSender<ChunkBuilder>,
    progress: Arc<Progress>,
}

impl EncoderStage {
    /// With this level of zstd. Builders go back through `recycle` when they are encoded.
    ///
    /// # Errors
    /// zstd cannot be started.
    pub fn new(
        level: i32,
        pending: PendingChunks,
        output: SyncSender<WriterInput>,
        recycle: SyncSender<ChunkBuilder>,
        progress: Arc<Progress>,
    ) -> Result<Self, FormatError> {
        let encoder = Encoder::new(EncodeOptions { level, ..EncodeOptions::default() })?;
        let effort = EffortControl::default();
        Ok(Self { encoder, effort, output_full: false, pending, output, recycle, progress })
    }

    /// Encodes all chunks, until there are no more or the writer has ended.
    ///
    /// # Errors
    /// A chunk cannot be encoded.
    pub fn run(mut self, chunks: impl IntoIterator<Item = FilledChunk>) -> Result<(), FormatError> {
        for filled in chunks {
            if self.take(filled)? == Demand::Ended {
                return Ok(());
            }
        }
        let rest = self.pending.finish()?;
        self.encode(rest)?;
        Ok(())
    }

    fn take(&mut self, mut filled: FilledChunk) -> Result<Demand, FormatError> {
        let names = filled.updates.names.clone();
        let forgotten = std::mem::take(&mut filled.updates.forgotten);
        if (!names.is_empty() || !forgotten.is_empty())
            && self.output.send(WriterInput::Metadata { names, forgotten }).is_err()
        {
            return Ok(Demand::Ended);
        }
        let ready = self.pending.push(filled)?;
        self.encode(ready)
    }

    fn encode(&mut self, chunks: Vec<ReadyChunk>) -> Result<Demand, FormatError> {
        for ReadyChunk { mut builder, lost } in chunks {
            if builder.is_empty() {
                continue;
            }
            let load = Load::of(&self.progress, self.output_full);
            let pressure = self.effort.next(load, Instant::now());
            self.encoder.set_pressure(pressure)?;
            let block = self.encoder.encode(&builder)?;
            if !pressure.is_none() {
                self.progress.less_chunks.fetch_add(1, Ordering::Relaxed);
                self.progress.less_bytes.fetch_add(block.size() as u64, Ordering::Relaxed);
            }
            self.progress.encoded.fetch_add(recorded_rows(&builder), Ordering::Relaxed);
            builder.clear();
            // There may be enough of them, and the drain may have ended.
            let _ = self.recycle.try_send(builder);
            if self.hand_over(WriterInput::Chunk { block, lost }) == Demand::Ended {
                return Ok(Demand::Ended);
            }
        }
        Ok(Demand::More)
    }

    /// Hands a block to the writer, and notes whether it had to wait.
    fn hand_over(&mut self, block: WriterInput) -> Demand {
        let sent = match self.output.try_send(block) {
            Err(TrySendError::Full(block)) => {
                self.output_full = true;
                self.output.send(block).is_ok()
            }
            sent => {
                self.output_full = false;
                sent.is_ok()
            }
        };
        if sent { Demand::More } else { Demand::Ended }
    }
}

/// Events without those that the recorder reports of itself.
fn recorded_rows(builder: &ChunkBuilder) -> u64 {
    let own = KINDS.iter().filter(|kind| kind.is_about_recording());
    let own = own.filter_map(|kind| builder.schema().index(event_table(*kind)));
    builder.event_rows() as u64 - own.map(|index| u64::from(builder.rows_at(index))).sum::<u64>()
}
