//! Notifies the thread that queries the container runtimes of containers that start and stop, without waiting for it.

use std::collections::VecDeque;

use crate::runtimes::{NewContainer, RuntimeHandle};

/// Containers that may wait until there is room in the queue of that thread.
const UNSENT_MAX: usize = 65_536;

/// The way to the container runtimes.
#[derive(Debug)]
pub(super) struct RuntimeQueue {
    runtimes: RuntimeHandle,
    boot_id: [u8; 16],
    unsent: VecDeque<NewContainer>,
}

impl RuntimeQueue {
    pub fn new(runtimes: RuntimeHandle, boot_id: [u8; 16]) -> Self {
        Self { runtimes, boot_id, unsent: VecDeque::new() }
    }

    /// The boot id of this kernel, a part of the key of all metadata.
    pub fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }

    /// A container was started; reported later if there is no room now.
    pub fn started(&mut self, container: NewContainer) {
        if let Err(container) = self.runtimes.resolve(container)
            && self.unsent.len() < UNSENT_MAX
        {
            self.unsent.push_back(container);
        }
    }

    /// The cgroup of the container with this id was removed.
    pub fn stopped(&self, id: String) {
        self.runtimes.removed(id);
    }

    /// Reports containers that there was no room for.
    pub fn retry(&mut self) {
        while let Some(container) = self.unsent.pop_front() {
            if let Err(container) = self.runtimes.resolve(container) {
                self.unsent.push_front(container);
                break;
            }
        }
    }
}
