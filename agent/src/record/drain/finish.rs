//! The end of a recording: calls and requests in flight are written, and a blocked output is waited for only for a limited
//! time.

use std::time::{Duration, Instant};

use super::{Drain, MARGIN, Outcome, RETRY};
use crate::background::END_TIMEOUT;
use crate::clock::Clock;
use crate::kernel::{EventLoss, OpenCall, ScannedTask};
use crate::record::chunk::FilledChunk;
use crate::record::merge::Pass;
use crate::record::sink::ChunkSender;
use crate::record::source::{Kernel, RecordSource};

/// How long the end of a recording waits for a blocked output.
pub(super) const OUTPUT_TIMEOUT: Duration = Duration::from_secs(3);

/// An ended recording, and its last chunk if the output did not take it in time.
pub(super) struct Ending {
    pub outcome: Outcome,
    pub unsent: Option<UnsentChunk>,
}

/// The chunk that reports the events lost to a blocked output.
pub(super) struct UnsentChunk {
    pub sink: ChunkSender,
    pub chunk: FilledChunk,
}

impl Ending {
    /// Hands over the last chunk, however long that takes: the session ends the process in time.
    pub fn deliver(self) -> Outcome {
        if let Some(UnsentChunk { sink, chunk }) = self.unsent {
            sink.send_last(chunk);
        }
        self.outcome
    }
}

/// Calls in flight when the recording ended.
struct InFlight {
    /// When it ended, ns of the boot clock.
    end: u64,
    /// All threads, with their calls.
    tasks: Vec<ScannedTask>,
    /// Calls of threads that have not left their CPU.
    open: Vec<OpenCall>,
}

impl<K: Kernel, S: RecordSource, C: Clock> Drain<K, S, C> {
    pub(super) fn finish(mut self) -> Ending {
        let deadline = self.clock.now() + OUTPUT_TIMEOUT;
        for thread in &mut self.background {
            thread.stop();
        }
        self.end_connections();
        // While completions are seen: what completes between the end and a later look at the device was in flight at the end.
        self.rows.note_idle_devices(self.clock.boot_ns());
        let in_flight = self.detach();
        let complete = self.read_rest(deadline);
        self.end_threads(deadline);
        if complete {
            self.write_calls(&in_flight, deadline);
            self.write_blocks(in_flight.end, deadline);
            self.write_urings(in_flight.end, deadline);
        }
        self.merge.drop_rest();
        self.collect_losses();
        self.write_losses();
        // The last row: the capture extends to this time, even if nothing happened.
        self.chunk.write_clock(&mut self.rows, in_flight.end, 0);
        let flushed = self.flush_until(deadline);
        if !flushed {
            self.give_up_chunk();
        }
        self.kernel.flush_log();
        self.end(flushed)
    }

    /// Takes the last list of open connections while the hooks still record how others end.
    fn end_connections(&mut self) {
        let Some(mut thread) = self.connections.take() else { return };
        thread.stop();
        let deadline = self.clock.now() + END_TIMEOUT;
        while !thread.is_finished() && self.has_time(deadline) {
            self.round();
            self.clock.sleep(RETRY);
        }
        self.background.push(thread);
    }

    /// Detaches the programs, and looks in between which calls are in flight.
    fn detach(&mut self) -> InFlight {
        let end = self.clock.boot_ns();
        self.kernel.detach_events();
        let tasks = self.kernel.scan_tasks().unwrap_or_else(|error| {
            tracing::warn!(%error, "calls in flight are not recorded");
            Vec::new()
        });
        self.kernel.detach_all();
        // A program that was running when its hook was detached finishes within this.
        self.clock.sleep(MARGIN);
        InFlight { end, tasks, open: self.kernel.open_calls() }
    }

    /// Whether the output may still be waited for.
    fn has_time(&self, deadline: Instant) -> bool {
        self.clock.now() < deadline && !self.output.has_failed()
    }

    /// Reads what is left in the ring buffers. False if the output did not take all of it in time.
    fn read_rest(&mut self, deadline: Instant) -> bool {
        let mut complete = false;
        while !complete && self.has_time(deadline) {
            self.merge.pull_lifecycle();
            complete = self.pass(u64::MAX) == Pass::Done && !self.merge.is_busy();
            if !complete {
                self.clock.sleep(RETRY);
            }
        }
        complete
    }

    /// Ends the other threads, and takes what they have left.
    fn end_threads(&mut self, deadline: Instant) {
        self.rows.stop_resolving();
        for thread in std::mem::take(&mut self.background) {
            thread.finish();
        }
        self.take_agent_events();
        while self.chunk.is_full(&self.rows) && self.has_time(deadline) {
            self.make_room(deadline);
            self.take_agent_events();
        }
        self.inputs.agent_events.drop_rest();
        self.take_container_infos();
    }

    fn write_calls(&mut self, in_flight: &InFlight, deadline: Instant) {
        for task in &in_flight.tasks {
            self.rows.unfinished(self.chunk.builder(), task, in_flight.end);
            self.make_room(deadline);
        }
        for call in &in_flight.open {
            if let Some(stream) = self.merge.stream_mut(call.cpu) {
                self.rows.unfinished_on_cpu(self.chunk.builder(), stream, call, in_flight.end);
            }
            self.make_room(deadline);
        }
    }

    fn write_blocks(&mut self, end: u64, deadline: Instant) {
        for block in self.kernel.blocks_in_flight(end) {
            if let Some(lost) = self.rows.block_missed(&block) {
                self.add_loss(lost, end);
                continue;
            }
            self.rows.block_unfinished(self.chunk.builder(), &block);
            self.make_room(deadline);
        }
    }

    fn write_urings(&mut self, end: u64, deadline: Instant) {
        for request in self.kernel.urings_in_flight(end) {
            self.rows.uring_unfinished(self.chunk.builder(), &request, end);
            self.make_room(deadline);
        }
    }

    /// Hands the chunk over if it is full.
    fn make_room(&mut self, deadline: Instant) {
        while self.chunk.is_full(&self.rows) && !self.flush() && self.has_time(deadline) {
            self.clock.sleep(RETRY);
        }
    }

    /// Hands the chunk over. False if the output did not take it in time.
    fn flush_until(&mut self, deadline: Instant) -> bool {
        let mut flushed = self.flush();
        while !flushed && self.has_time(deadline) {
            self.clock.sleep(RETRY);
            flushed = self.flush();
        }
        flushed
    }

    /// Gives up a chunk that the output did not take in time: its events are lost, and only their number is written.
    fn give_up_chunk(&mut self) {
        let unwritten = self.rows.events() - self.chunk.events_before();
        // Loss rows in it are written again below.
        self.rows.next_chunk();
        let builder = self.output.sink.builder();
        drop(self.chunk.replace(builder));
        let lost = EventLoss { cpu: None, kind: None, cgroup: None, stage: "writer", count: unwritten };
        if unwritten > 0 {
            self.add_loss(lost, self.clock.boot_ns());
        }
        self.losses.write_again(&mut self.rows, &mut self.chunk);
    }

    fn end(mut self, flushed: bool) -> Ending {
        let outcome = Outcome {
            events: self.chunk.events_before(),
            lost: self.losses.total(),
            lost_by: self.losses.by_stage_and_kind(),
            busiest: self.rows.busiest(),
            matched: self.rows.has_matched(),
            damaged: self.rows.damaged(),
        };
        let unsent = (!flushed).then(|| UnsentChunk {
            chunk: FilledChunk {
                lost: self.rows.lost(),
                updates: self.rows.take_updates(),
                builder: self.chunk.into_builder(),
            },
            sink: self.output.sink,
        });
        Ending { outcome, unsent }
    }
}
