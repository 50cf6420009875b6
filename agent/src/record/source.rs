//! What is below the drain: the ring buffers that it reads and the kernel that it controls. Both are traits, so that
//! everything above runs in tests and benchmarks from bytes, without root.

use agent_ebpf::records::block::Block;

use crate::kernel::{self, EventLoss, LoadError, LoadedPrograms, ScannedTask};

/// One ring buffer of records, as the drain reads it. Used once per record: by static dispatch only.
pub trait RecordSource {
    /// The first record, if the kernel has finished it. It stays until [`Self::advance`].
    fn peek(&mut self) -> Option<&[u8]>;

    /// Passes over the record that [`Self::peek`] returned, `len` bytes long. Its space returns to the kernel with
    /// the next [`Self::release`].
    fn advance(&mut self, len: usize);

    /// Returns the space of all passed records to the kernel.
    fn release(&mut self);

    /// Bytes that are passed but not returned to the kernel.
    fn unreleased(&self) -> u64;

    /// Bytes that wait to be read, those of unfinished records included.
    fn backlog(&self) -> u64;

    /// Size in bytes.
    fn size(&self) -> u64;
}

/// The ring buffers of a recording, one of each kind per CPU.
#[derive(Debug)]
pub struct Sources<S> {
    /// Event ring buffers: system calls and all other frequent events.
    pub events: Vec<S>,
    /// Lifecycle ring buffers.
    pub lifecycle: Vec<S>,
}

/// What the drain does to the kernel while it records.
pub trait Kernel {
    /// Puts a cgroup into the set of recorded cgroups, or takes it out.
    ///
    /// # Errors
    ///
    /// The set is full.
    fn set_allowed(&mut self, cgroup: u64, allow: bool) -> Result<(), LoadError>;

    /// The same for cgroups of the hierarchy in which block I/O is charged.
    ///
    /// # Errors
    ///
    /// The set is full.
    fn set_allowed_io(&mut self, cgroup: u64, allow: bool) -> Result<(), LoadError>;

    /// Lists every thread of the machine, with the call that it is in.
    ///
    /// # Errors
    ///
    /// The iterator could not be created or read.
    fn scan_tasks(&mut self) -> Result<Vec<ScannedTask>, LoadError>;

    /// What the kernel side lost since the last call.
    fn take_losses(&mut self) -> Vec<EventLoss>;

    /// Detaches all hooks but the lifecycle hooks, so that calls and requests in flight no longer change.
    fn detach_events(&mut self);

    /// Detaches all hooks that are left.
    fn detach_all(&mut self);

    /// Block requests that began until `now` (ns of the boot clock) and have not completed, once the hooks are
    /// detached.
    fn blocks_in_flight(&self, now: u64) -> Vec<Block>;

    /// Passes the messages of the programs on to the log.
    fn flush_log(&mut self);
}

impl RecordSource for kernel::RingBuffer {
    #[inline]
    fn peek(&mut self) -> Option<&[u8]> {
        kernel::RingBuffer::peek(self)
    }

    #[inline]
    fn advance(&mut self, len: usize) {
        kernel::RingBuffer::advance(self, len);
    }

    #[inline]
    fn release(&mut self) {
        kernel::RingBuffer::release(self);
    }

    #[inline]
    fn unreleased(&self) -> u64 {
        kernel::RingBuffer::unreleased(self)
    }

    fn backlog(&self) -> u64 {
        kernel::RingBuffer::backlog(self)
    }

    #[inline]
    fn size(&self) -> u64 {
        kernel::RingBuffer::size(self)
    }
}

impl From<kernel::RingBuffers> for Sources<kernel::RingBuffer> {
    fn from(rings: kernel::RingBuffers) -> Self {
        Self { events: rings.events, lifecycle: rings.lifecycle }
    }
}

impl Kernel for LoadedPrograms {
    fn set_allowed(&mut self, cgroup: u64, allow: bool) -> Result<(), LoadError> {
        LoadedPrograms::set_allowed(self, cgroup, allow)
    }

    fn set_allowed_io(&mut self, cgroup: u64, allow: bool) -> Result<(), LoadError> {
        LoadedPrograms::set_allowed_io(self, cgroup, allow)
    }

    fn scan_tasks(&mut self) -> Result<Vec<ScannedTask>, LoadError> {
        LoadedPrograms::scan_tasks(self)
    }

    fn take_losses(&mut self) -> Vec<EventLoss> {
        LoadedPrograms::take_losses(self)
    }

    fn detach_events(&mut self) {
        self.detach_event_hooks();
    }

    fn detach_all(&mut self) {
        LoadedPrograms::detach_all(self);
    }

    fn blocks_in_flight(&self, now: u64) -> Vec<Block> {
        LoadedPrograms::blocks_in_flight(self, now)
    }

    fn flush_log(&mut self) {
        LoadedPrograms::flush_log(self);
    }
}
