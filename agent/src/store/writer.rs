//! Writes chunks to wherever the capture is kept, within its limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use capture_format::{ChunkSummary, EncodedBlock, FormatError, Header, MetadataKey, MetadataRecord};

use super::file::{Segment, is_full};
use super::limits::Limits;
use super::names::{self, Names};
use super::series::{Series, on_disk};
use super::space::{self, Reserve};
use super::sync::Syncer;
use super::unwritten::Unwritten;
use crate::containers::Hierarchy;
use crate::record::{Destination, End, Progress};
use crate::store::header::renewed;
use crate::store::output::Output;
use ktape_reader::text::units::size_text;

/// What the last word about losses may take, bytes.
const LAST_WORD: u64 = 16 << 10;

/// Where files are made.
pub enum Place {
    /// There is one output.
    One(Box<Output>),
    /// A series.
    Series(Box<Series>),
}

/// The writing end of a capture.
pub struct Store {
    limits: Limits,
    header: Header,
    series: Option<Series>,
    segment: Segment,
    syncer: Option<Syncer>,
    reserve: Option<Reserve>,
    unwritten: Unwritten,
    names: Names,
    /// Nothing but the last word is written any more.
    closed: bool,
    /// Bytes of segments that have ended.
    before: u64,
    progress: Arc<Progress>,
}

impl Store {
    /// Writes the header of the first file.
    ///
    /// # Errors
    /// That fails, or there is too little room from the start.
    pub fn begin(
        place: Place,
        limits: Limits,
        header: Header,
        (hierarchy, level): (Hierarchy, i32),
        progress: &Arc<Progress>,
    ) -> anyhow::Result<Self> {
        let (series, segment) = match place {
            Place::One(output) => (None, Segment::begin(*output, &header)?),
            Place::Series(mut series) => {
                series.trim(limits.keep_files, limits.keep_age);
                while short_of_room(series.handle(), &limits, 0).is_some() && series.delete_oldest() {}
                let first = series.begin(&header, limits.sync)?;
                (Some(*series), first)
            }
        };
        if let Some(file) = &segment.file
            && let Some(short) = short_of_room(file, &limits, 0)
        {
            if let Some(path) = &segment.path {
                let _ = std::fs::remove_file(path);
            }
            anyhow::bail!("{short}; make room, or say --min-free 0");
        }
        let syncer = (limits.sync && segment.file.is_some()).then(Syncer::start).transpose()?;
        let dir = segment.path.as_deref().and_then(|path| path.parent());
        let dir = dir.map(|dir| if dir.as_os_str().is_empty() { std::path::Path::new(".") } else { dir });
        let reserve = dir.and_then(Reserve::make);
        let unwritten = Unwritten::new(header.schema.clone(), hierarchy, level);
        let progress = progress.clone();
        progress.files.store(1, Ordering::Relaxed);
        let store = Self {
            limits,
            header,
            series,
            segment,
            syncer,
            reserve,
            unwritten,
            names: Names::default(),
            closed: false,
            before: 0,
            progress,
        };
        store.show();
        store.dirty(true);
        Ok(store)
    }

    /// Ends the file that is written, and begins the next.
    fn rotate(&mut self) -> Result<(), FormatError> {
        let Some(series) = &mut self.series else { return Ok(()) };
        let mut ended = self.segment.end();
        while ended.as_ref().is_err_and(is_full) && series.delete_oldest() {
            ended = self.segment.end();
        }
        // Without an index it can be read as well.
        if let Err(error) = ended
            && !is_full(&error)
        {
            return Err(error);
        }
        let bytes = self.segment.bytes();
        self.before += bytes;
        if let Some(path) = self.segment.path.clone() {
            series.add(path, bytes);
        }
        if let (Some(syncer), Some(file)) = (&self.syncer, &self.segment.file) {
            syncer.dirty(file);
        }
        series.trim(self.limits.keep_files, self.limits.keep_age);
        self.segment = loop {
            match series.begin(&renewed(&self.header), self.limits.sync) {
                Ok(segment) => break segment,
                Err(error) if was_full(&error) && series.delete_oldest() => {}
                Err(error) => {
                    let error = std::io::Error::other(format!("{error:#}"));
                    return Err(FormatError::io("begin the next file")(error));
                }
            }
        };
        self.progress.files.fetch_add(1, Ordering::Relaxed);
        self.progress.deleted.store(series.deleted(), Ordering::Relaxed);
        self.dirty(true);
        let known = self.names.all();
        self.put_names(&known)
    }

    /// Writes what is known of containers, deleting what is oldest for it. Where there is no room for it the next chunk
    /// will find out what that means.
    fn put_names(&mut self, names: &[MetadataRecord]) -> Result<(), FormatError> {
        let bytes = names.iter().map(names::size).sum::<usize>() as u64;
        if names.is_empty() || self.make_room(bytes).is_some() {
            return Ok(());
        }
        loop {
            match self.segment.name(names) {
                Err(error) if is_full(&error) => {
                    if !self.series.as_mut().is_some_and(Series::delete_oldest) {
                        return Ok(());
                    }
                }
                done => return done,
            }
        }
    }

    /// Whether the file that is written has reached its end, before so many bytes more.
    fn is_due(&self, more: u64) -> bool {
        if self.series.is_none() || self.segment.chunks == 0 {
            return false;
        }
        let size = self.segment.bytes() + more + self.segment.bytes_to_finish();
        self.progress.next_file.swap(false, Ordering::Relaxed)
            || self.limits.rotate_bytes.is_some_and(|most| size > most)
            || self.limits.rotate_every.is_some_and(|most| self.segment.began.elapsed() >= most)
            // So that there is something to delete when the limit of all comes.
            || self.limits.max_bytes.is_some_and(|most| size > most / 2)
    }

    /// Makes room for so many bytes more, by deleting what is oldest; why it cannot.
    fn make_room(&mut self, more: u64) -> Option<End> {
        if let Some(most) = self.limits.max_bytes {
            let needs = more + self.segment.bytes_to_finish() + LAST_WORD;
            let own = on_disk(self.segment.bytes() + needs);
            while self.series.as_ref().map_or(0, Series::bytes) + own > most {
                if !self.series.as_mut().is_some_and(Series::delete_oldest) {
                    return Some(End::MaxSize(most));
                }
            }
        }
        loop {
            let file = self.segment.file.as_ref()?;
            let short = short_of_room(file, &self.limits, more)?;
            if !self.series.as_mut().is_some_and(Series::delete_oldest) {
                return Some(End::NoRoom(short));
            }
        }
    }

    /// Writes a chunk, deleting what is oldest when the disk is full.
    fn put(&mut self, block: &mut EncodedBlock) -> Result<(), FormatError> {
        loop {
            match self.segment.write(block) {
                Err(error) if is_full(&error) => {
                    if !self.series.as_mut().is_some_and(Series::delete_oldest) {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    /// From here on nothing is written but the last word.
    fn close(&mut self, end: End) {
        self.closed = true;
        self.reserve = None;
        self.progress.end(end);
    }

    fn leave_out(&mut self, summary: &ChunkSummary, lost: u64) {
        let events = self.unwritten.add(summary, lost);
        self.progress.unwritten.fetch_add(events, Ordering::Relaxed);
    }

    /// Tells what could not be written, if there is anything.
    fn tell_unwritten(&mut self) -> Result<(), FormatError> {
        if let Some(mut block) = self.unwritten.block()? {
            self.put(&mut block)?;
            self.unwritten.told();
        }
        Ok(())
    }

    /// The file is to be brought to the disk; and the directory, if it was made.
    fn dirty(&self, made: bool) {
        let Some(syncer) = &self.syncer else { return };
        if let Some(file) = &self.segment.file {
            syncer.dirty(file);
        }
        if let Some(series) = self.series.as_ref().filter(|_| made) {
            syncer.dirty(series.handle());
        }
    }

    fn show(&self) {
        self.progress.bytes.store(self.before + self.segment.bytes(), Ordering::Relaxed);
        if let Some(series) = &self.series {
            self.progress.deleted.store(series.deleted(), Ordering::Relaxed);
            self.progress.kept.store(series.bytes() + self.segment.bytes(), Ordering::Relaxed);
        }
    }
}

impl Destination for Store {
    fn write(&mut self, block: &mut EncodedBlock, lost: u64) -> Result<(), FormatError> {
        if let Some(error) = self.syncer.as_ref().and_then(Syncer::failed) {
            return Err(FormatError::io("bring the file to the disk")(error));
        }
        if self.closed {
            self.leave_out(&block.summary, lost);
            return Ok(());
        }
        let more = block.size() as u64;
        if self.is_due(more) {
            self.rotate()?;
        }
        if let Some(end) = self.make_room(more) {
            self.close(end);
            self.leave_out(&block.summary, lost);
            return Ok(());
        }
        match self.tell_unwritten().and_then(|()| self.put(block)) {
            Err(error) if is_full(&error) => {
                self.leave_out(&block.summary, lost);
                self.close(End::Full);
            }
            done => done?,
        }
        self.dirty(false);
        self.show();
        Ok(())
    }

    fn name(&mut self, names: Vec<MetadataRecord>, forgotten: &[MetadataKey]) -> Result<(), FormatError> {
        if self.series.is_some() {
            names.iter().for_each(|record| self.names.add(record));
            forgotten.iter().for_each(|key| self.names.forget(key));
        }
        if names.is_empty() || self.closed {
            return Ok(());
        }
        let bytes = names.iter().map(names::size).sum::<usize>() as u64;
        if self.is_due(bytes) {
            // The next file begins with all of them.
            return self.rotate();
        }
        self.put_names(&names)?;
        self.dirty(false);
        self.show();
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        self.reserve = None;
        let told = self.tell_unwritten();
        match told.and_then(|()| self.segment.end()) {
            // It was said that the disk is full, and the file is readable without an index.
            Err(error) if is_full(&error) && self.closed => {}
            done => done?,
        }
        self.show();
        self.dirty(false);
        match self.syncer.take() {
            Some(syncer) => syncer.finish().map_err(FormatError::io("bring the file to the disk")),
            None => Ok(()),
        }
    }
}

/// Whether there was no room.
fn was_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<FormatError>().is_some_and(is_full)
            || cause.downcast_ref::<std::io::Error>().is_some_and(space::is_full)
    })
}

/// Says so if less than what has to stay free would be left after so many bytes more.
fn short_of_room(file: &std::fs::File, limits: &Limits, more: u64) -> Option<String> {
    let (whole, free) = space::of(&file).ok()?;
    let least = limits.min_free.of(whole);
    // What the reserve takes is free in the end.
    (least > 0 && free.saturating_sub(more) < least).then(|| {
        format!(
            "only {} are free on the file system of the output, and {} shall stay free (--min-free)",
            size_text(free),
            size_text(least)
        )
    })
}
