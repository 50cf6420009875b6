//! Writes chunks to the output of a capture, within its limits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use capture_format::{ChunkSummary, EncodedBlock, FormatError, Header, MetadataKey, MetadataRecord};

use super::file::{SegmentFile, is_full};
use super::file_system::{self, FileSystem, Mounted, Reserve};
use super::header::renewed;
use super::limits::StoreLimits;
use super::metadata::{RepeatedMetadata, record_bytes};
use super::output::Output;
use super::rotated::{RotatedFiles, on_disk};
use super::sync::Syncer;
use super::unwritten::Unwritten;
use crate::containers::Hierarchy;
use crate::record::{Destination, End, Progress};
use ktape_reader::text::units::size_text;

/// Bytes that the last loss records may take.
const LAST_LOSS_BYTES: u64 = 16 << 10;

/// Where a capture goes.
pub enum StoreOutput {
    /// One file, or standard output.
    Single(Box<Output>),
    /// Rotated files.
    Rotated(Box<RotatedFiles>),
}

/// How a capture is stored.
pub struct StoreSettings {
    /// Limits on size, number and age of files.
    pub limits: StoreLimits,
    /// The hierarchy that identifies cgroups in loss records.
    pub hierarchy: Hierarchy,
    /// zstd's level for chunks that the store makes itself.
    pub level: i32,
    /// The file system, for free space, writing and fsync.
    file_system: Arc<dyn FileSystem>,
}

impl StoreSettings {
    /// For the file systems of this machine.
    pub fn new(limits: StoreLimits, hierarchy: Hierarchy, level: i32) -> Self {
        Self { limits, hierarchy, level, file_system: Arc::new(Mounted) }
    }

    /// The same on another file system.
    #[cfg(test)]
    pub(super) fn on(self, file_system: Arc<dyn FileSystem>) -> Self {
        Self { file_system, ..self }
    }
}

/// The last stage of recording: writes encoded chunks.
pub struct Store {
    limits: StoreLimits,
    file_system: Arc<dyn FileSystem>,
    header: Header,
    /// The ended files, where files are rotated.
    rotated: Option<RotatedFiles>,
    /// The file that is written.
    current: SegmentFile,
    syncer: Option<Syncer>,
    reserve: Option<Reserve>,
    unwritten: Unwritten,
    metadata: RepeatedMetadata,
    /// A limit or the disk has ended the capture: only loss records are written any more.
    closed: bool,
    /// Bytes written to files that have ended.
    ended_bytes: u64,
    progress: Arc<Progress>,
}

impl Store {
    /// Creates the first file, with its header.
    ///
    /// # Errors
    /// The file cannot be created or written, or less space is free than `--min-free` requires.
    pub fn begin(
        output: StoreOutput,
        settings: StoreSettings,
        header: Header,
        progress: &Arc<Progress>,
    ) -> anyhow::Result<Self> {
        let StoreSettings { limits, hierarchy, level, file_system } = settings;
        let (rotated, current) = match output {
            StoreOutput::Single(output) => (None, SegmentFile::begin(*output, &header, &file_system)?),
            StoreOutput::Rotated(mut rotated) => {
                rotated.trim(limits.keep_files, limits.keep_age);
                while limits.shortage(&*file_system, rotated.handle(), 0).is_some() && rotated.delete_oldest()
                {
                }
                let first = rotated.begin(&header, limits.sync)?;
                (Some(*rotated), first)
            }
        };
        if let Some(file) = &current.file
            && let Some(shortage) = limits.shortage(&*file_system, file, 0)
        {
            if let Some(path) = &current.path {
                let _ = std::fs::remove_file(path);
            }
            anyhow::bail!("{shortage}; free some space or pass --min-free 0");
        }
        let syncer = limits.sync && current.file.is_some();
        let syncer = syncer.then(|| Syncer::start(file_system.clone())).transpose()?;
        let reserve = current.path.as_deref().and_then(|path| file_system.reserve(directory_of(path)));
        let store = Self {
            limits,
            unwritten: Unwritten::new(header.schema.clone(), hierarchy, level),
            file_system,
            header,
            rotated,
            current,
            syncer,
            reserve,
            metadata: RepeatedMetadata::default(),
            closed: false,
            ended_bytes: 0,
            progress: progress.clone(),
        };
        store.progress.files.store(1, Ordering::Relaxed);
        store.show_progress();
        store.mark_dirty(true);
        Ok(store)
    }

    /// Ends the current file, and begins the next.
    fn rotate(&mut self) -> Result<(), FormatError> {
        self.end_current()?;
        let Some(rotated) = &mut self.rotated else { return Ok(()) };
        self.current = loop {
            match rotated.begin(&renewed(&self.header), self.limits.sync) {
                Ok(segment) => break segment,
                Err(error) if was_full(&error) && rotated.delete_oldest() => {}
                Err(error) => {
                    let error = std::io::Error::other(format!("{error:#}"));
                    return Err(FormatError::io("begin the next file")(error));
                }
            }
        };
        self.progress.files.fetch_add(1, Ordering::Relaxed);
        self.progress.deleted.store(rotated.deleted(), Ordering::Relaxed);
        self.mark_dirty(true);
        self.put_metadata(&self.metadata.all())
    }

    /// Ends the current file, deleting the oldest ones if there is no space for its index; without one it is readable, too.
    fn end_current(&mut self) -> Result<(), FormatError> {
        let mut ended = self.current.end();
        while ended.as_ref().is_err_and(is_full) && self.delete_oldest() {
            ended = self.current.end();
        }
        if let Err(error) = ended
            && !is_full(&error)
        {
            return Err(error);
        }
        let bytes = self.current.bytes();
        self.ended_bytes += bytes;
        self.mark_dirty(false);
        if let Some(rotated) = &mut self.rotated {
            if let Some(path) = self.current.path.clone() {
                rotated.add(path, bytes);
            }
            rotated.trim(self.limits.keep_files, self.limits.keep_age);
        }
        Ok(())
    }

    /// Deletes the oldest rotated file; false if there is none.
    fn delete_oldest(&mut self) -> bool {
        self.rotated.as_mut().is_some_and(RotatedFiles::delete_oldest)
    }

    /// Writes, deleting the oldest files while the disk is full.
    fn write_with_space(
        &mut self,
        mut write: impl FnMut(&mut SegmentFile) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        loop {
            match write(&mut self.current) {
                Err(error) if is_full(&error) && self.delete_oldest() => {}
                done => return done,
            }
        }
    }

    /// Writes metadata of containers. If there is no space for it, it is dropped: the next chunk then ends the capture.
    fn put_metadata(&mut self, records: &[MetadataRecord]) -> Result<(), FormatError> {
        let bytes = records.iter().map(record_bytes).sum::<usize>() as u64;
        if records.is_empty() || self.make_space(bytes).is_some() {
            return Ok(());
        }
        match self.write_with_space(|current| current.write_metadata(records)) {
            Err(error) if is_full(&error) => Ok(()),
            done => done,
        }
    }

    /// Whether the current file ends before it gets `more` bytes.
    fn is_due(&self, more: u64) -> bool {
        if self.rotated.is_none() || self.current.chunks == 0 {
            return false;
        }
        let size = self.current.bytes() + more + self.current.bytes_to_finish();
        self.progress.next_file.swap(false, Ordering::Relaxed)
            || self.limits.rotate_bytes.is_some_and(|most| size > most)
            || self.limits.rotate_every.is_some_and(|most| self.current.began.elapsed() >= most)
            // So that there is an older file to delete when --max-size is reached.
            || self.limits.max_bytes.is_some_and(|most| size > most / 2)
    }

    /// Makes space for `more` bytes by deleting the oldest files. Returns why that was not enough.
    fn make_space(&mut self, more: u64) -> Option<End> {
        if let Some(most) = self.limits.max_bytes {
            let needed = more + self.current.bytes_to_finish() + LAST_LOSS_BYTES;
            let current = on_disk(self.current.bytes() + needed);
            while self.rotated.as_ref().map_or(0, RotatedFiles::bytes) + current > most {
                if !self.delete_oldest() {
                    return Some(End::MaxSize(most));
                }
            }
        }
        loop {
            let file = self.current.file.as_ref()?;
            let shortage = self.limits.shortage(&*self.file_system, file, more)?;
            if !self.delete_oldest() {
                return Some(End::NoRoom(shortage));
            }
        }
    }

    /// Ends the capture: from here on only loss records are written, into the reserve.
    fn close(&mut self, end: End) {
        self.closed = true;
        self.reserve = None;
        self.progress.end(end);
    }

    /// Counts the events of a chunk as lost.
    pub(super) fn count_unwritten(&mut self, summary: &ChunkSummary, lost: u64) {
        let events = self.unwritten.add(summary, lost);
        self.progress.unwritten.fetch_add(events, Ordering::Relaxed);
    }

    /// Writes loss records for what could not be written so far.
    fn report_unwritten(&mut self) -> Result<(), FormatError> {
        if let Some(mut block) = self.unwritten.loss_block()? {
            self.write_with_space(|current| current.write(&mut block))?;
            self.unwritten.clear();
        }
        Ok(())
    }

    /// Requests an fsync of the current file, and of the directory if the file is new.
    fn mark_dirty(&self, is_new: bool) {
        let Some(syncer) = &self.syncer else { return };
        if let Some(file) = &self.current.file {
            syncer.mark_dirty(file);
        }
        if let Some(rotated) = self.rotated.as_ref().filter(|_| is_new) {
            syncer.mark_dirty(rotated.handle());
        }
    }

    fn show_progress(&self) {
        self.progress.bytes.store(self.ended_bytes + self.current.bytes(), Ordering::Relaxed);
        if let Some(rotated) = &self.rotated {
            self.progress.deleted.store(rotated.deleted(), Ordering::Relaxed);
            self.progress.kept.store(rotated.bytes() + self.current.bytes(), Ordering::Relaxed);
        }
    }
}

impl Destination for Store {
    fn write(&mut self, block: &mut EncodedBlock, lost: u64) -> Result<(), FormatError> {
        if let Some(error) = self.syncer.as_ref().and_then(Syncer::take_error) {
            return Err(FormatError::io("sync the file")(error));
        }
        if self.closed {
            self.count_unwritten(&block.summary, lost);
            return Ok(());
        }
        let more = block.size() as u64;
        if self.is_due(more) {
            self.rotate()?;
        }
        if let Some(end) = self.make_space(more) {
            self.close(end);
            self.count_unwritten(&block.summary, lost);
            return Ok(());
        }
        match self.report_unwritten().and_then(|()| self.write_with_space(|current| current.write(block))) {
            Err(error) if is_full(&error) => {
                self.count_unwritten(&block.summary, lost);
                self.close(End::Full);
            }
            done => done?,
        }
        self.mark_dirty(false);
        self.show_progress();
        Ok(())
    }

    fn name(&mut self, records: Vec<MetadataRecord>, forgotten: &[MetadataKey]) -> Result<(), FormatError> {
        if self.rotated.is_some() {
            records.iter().for_each(|record| self.metadata.add(record));
            forgotten.iter().for_each(|key| self.metadata.remove(key));
        }
        if records.is_empty() || self.closed {
            return Ok(());
        }
        let bytes = records.iter().map(record_bytes).sum::<usize>() as u64;
        if self.is_due(bytes) {
            // The next file begins with all metadata.
            return self.rotate();
        }
        self.put_metadata(&records)?;
        self.mark_dirty(false);
        self.show_progress();
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        self.reserve = None;
        match self.report_unwritten().and_then(|()| self.current.end()) {
            // The user gets a message that the disk is full, and the file is readable without an index.
            Err(error) if is_full(&error) && self.closed => {}
            done => done?,
        }
        self.show_progress();
        self.mark_dirty(false);
        match self.syncer.take() {
            Some(syncer) => syncer.finish().map_err(FormatError::io("sync the file")),
            None => Ok(()),
        }
    }
}

/// The directory of a file.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether the error means that the disk is full.
fn was_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<FormatError>().is_some_and(is_full)
            || cause.downcast_ref::<std::io::Error>().is_some_and(file_system::is_full)
    })
}

impl StoreLimits {
    /// Describes the shortage if writing `more` bytes would leave less space than `min_free`; for messages. What the
    /// reserve takes counts as used.
    fn shortage(&self, file_system: &dyn FileSystem, file: &std::fs::File, more: u64) -> Option<String> {
        let space = file_system.space(file).ok()?;
        let least = self.min_free.of(space.total);
        (least > 0 && space.free.saturating_sub(more) < least).then(|| {
            format!(
                "not enough disk space: {} free, below the --min-free limit of {}",
                size_text(space.free),
                size_text(least)
            )
        })
    }
}
