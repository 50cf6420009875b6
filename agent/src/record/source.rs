//! What is below the drain: the ring buffers that it reads and the kernel that it controls. Both are traits, so that
//! everything above runs in tests and benchmarks from bytes, without root.

use agent_ebpf::records::block::Block;
use agent_ebpf::records::uring::Request as UringRequest;

use crate::kernel::{self, EventLoss, LoadError, LoadedPrograms, OpenCall, ScannedTask};

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
    /// The CPUs' own ring buffers, by the CPU's number: system calls and context switches.
    pub cpus: Vec<S>,
    /// Event ring buffers: all other frequent events.
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

    /// The same of requests of io_uring.
    fn urings_in_flight(&self, now: u64) -> Vec<UringRequest>;

    /// The calls of threads that have not left their CPU since the entry, once the hooks are detached.
    fn open_calls(&self) -> Vec<OpenCall>;

    /// Has the programs follow the boot clock, which has passed the monotonic clock by `offset` ns.
    fn set_clock_offset(&mut self, offset: u64);

    /// Has the programs define all files again.
    fn renew_files(&mut self);

    /// Passes the messages of the programs on to the log.
    fn flush_log(&mut self);
}

/// A ring buffer of either sort.
pub enum Ring {
    /// A CPU's own one.
    Cpu(kernel::CpuRing),
    /// One of the kernel's.
    Kernel(kernel::RingBuffer),
}

/// The same method of whatever ring buffer it is.
macro_rules! of_either {
    ($ring:expr, $name:ident $($arg:expr)?) => {
        match $ring {
            Ring::Cpu(ring) => ring.$name($($arg)?),
            Ring::Kernel(ring) => ring.$name($($arg)?),
        }
    };
}

impl RecordSource for Ring {
    #[inline]
    fn peek(&mut self) -> Option<&[u8]> {
        of_either!(self, peek)
    }

    #[inline]
    fn advance(&mut self, len: usize) {
        of_either!(self, advance len);
    }

    #[inline]
    fn release(&mut self) {
        of_either!(self, release);
    }

    #[inline]
    fn unreleased(&self) -> u64 {
        of_either!(self, unreleased)
    }

    fn backlog(&self) -> u64 {
        of_either!(self, backlog)
    }

    #[inline]
    fn size(&self) -> u64 {
        of_either!(self, size)
    }
}

impl From<kernel::RingBuffers> for Sources<Ring> {
    fn from(rings: kernel::RingBuffers) -> Self {
        Self {
            cpus: rings.cpus.into_iter().map(Ring::Cpu).collect(),
            events: rings.events.into_iter().map(Ring::Kernel).collect(),
            lifecycle: rings.lifecycle.into_iter().map(Ring::Kernel).collect(),
        }
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

    fn urings_in_flight(&self, now: u64) -> Vec<UringRequest> {
        LoadedPrograms::urings_in_flight(self, now)
    }

    fn open_calls(&self) -> Vec<OpenCall> {
        self.cpus().open_calls()
    }

    fn set_clock_offset(&mut self, offset: u64) {
        self.cpus().set_offset(offset);
    }

    fn renew_files(&mut self) {
        self.cpus().renew_files();
    }

    fn flush_log(&mut self) {
        LoadedPrograms::flush_log(self);
    }
}
