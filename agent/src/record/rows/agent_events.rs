//! Events of the agent's own threads.

use capture_format::ChunkBuilder;

use super::RowWriter;
use crate::agent_events::AgentEvent;

impl RowWriter {
    /// Writes an event of one of the agent's threads.
    pub fn add_agent_event(&mut self, builder: &mut ChunkBuilder, event: &AgentEvent) {
        if self.scope.has(event.kind()) {
            match event {
                AgentEvent::Sample(row) => self.sample(builder, row),
                AgentEvent::SampleHost(row) => self.sample_host(builder, row),
                AgentEvent::SampleDisk(row) => self.sample_disk(builder, row),
                AgentEvent::SampleFs(row) => self.sample_fs(builder, row),
                AgentEvent::Stall(stall) => self.stall(builder, stall),
                AgentEvent::Open(connections) => self.open_connections(builder, connections),
            }
        }
    }
}
