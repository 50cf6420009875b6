//! The writer: hands encoded blocks and metadata to their destination.

use capture_format::{EncodedBlock, FormatError, MetadataKey, MetadataRecord};

/// Where encoded chunks go.
pub trait Destination: Send + 'static {
    /// Takes a chunk, whose loss rows report `lost` events.
    ///
    /// # Errors
    ///
    /// Nothing can be written any more.
    fn write(&mut self, block: &mut EncodedBlock, lost: u64) -> Result<(), FormatError>;

    /// Takes what became known of containers, and the cgroups of which no more events come.
    ///
    /// # Errors
    ///
    /// Nothing can be written any more.
    fn name(&mut self, names: Vec<MetadataRecord>, forgotten: &[MetadataKey]) -> Result<(), FormatError>;

    /// Ends what is being written.
    ///
    /// # Errors
    ///
    /// The end cannot be written.
    fn finish(self: Box<Self>) -> Result<(), FormatError>;
}

/// What the encoder hands to the writer.
#[derive(Debug)]
pub(super) enum WriterInput {
    /// A chunk, and how many lost events its loss rows report.
    Chunk { block: EncodedBlock, lost: u64 },
    /// What became known of containers, ahead of the chunk that it came with.
    Metadata { names: Vec<MetadataRecord>, forgotten: Vec<MetadataKey> },
}

/// Writes blocks in the order in which they come.
pub(super) struct WriterStage {
    destination: Box<dyn Destination>,
}

impl WriterStage {
    pub fn new(destination: Box<dyn Destination>) -> Self {
        Self { destination }
    }

    /// Writes everything and ends the destination.
    ///
    /// # Errors
    /// The destination cannot write.
    pub fn run(mut self, input: impl IntoIterator<Item = WriterInput>) -> Result<(), FormatError> {
        for item in input {
            match item {
                WriterInput::Chunk { mut block, lost } => self.destination.write(&mut block, lost)?,
                WriterInput::Metadata { names, forgotten } => self.destination.name(names, &forgotten)?,
            }
        }
        self.destination.finish()
    }
}
