//! containerd's stream of events: containers that are created, started and exit.
//!
//! The event stream of CRI is not used: before containerd 2.0 and CRI-O 1.28, all readers share one queue, and another
//! reader takes events away from the kubelet. Instead, CRI is queried once more when a container's cgroup is removed.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::attributes::Attributes;
use super::containerd::{self, CRI_NAMESPACE, DOCKER_NAMESPACE, Timestamp};
use super::grpc::GrpcClient;
use super::registry::RequestTime;
use super::retry::{Backoff, LookupQueue};
use ktape_reader::model::attribute_names as names;

#[derive(Clone, PartialEq, prost::Message)]
struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    topic: String,
    #[prost(message, optional, tag = "4")]
    event: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerCreate {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TaskStart {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(uint32, tag = "2")]
    pid: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TaskExit {
    #[prost(string, tag = "1")]
    container_id: String,
    /// The id of the container, or of a process that was added to it by exec.
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint32, tag = "4")]
    exit_status: u32,
    #[prost(message, optional, tag = "5")]
    exited_at: Option<Timestamp>,
}

const SUBSCRIBE: &str = "/containerd.services.events.v1.Events/Subscribe";
const CREATE: &str = "/containers/create";
const START: &str = "/tasks/start";
const EXIT: &str = "/tasks/exit";
/// Concurrent lookups of containers whose cgroup was not seen yet. Beyond that, containers are looked up when it is seen.
const AHEAD_MAX: usize = 64;

/// Follows the events until the runtime turns out not to have this API.
pub async fn follow(client: GrpcClient, queue: LookupQueue) {
    let mut backoff = Backoff::new();
    loop {
        let status = session(&client, &queue).await;
        if status.code() == Code::Unimplemented {
            return;
        }
        tracing::debug!(%status, "no events from the container runtime");
        backoff.wait().await;
    }
}

/// Reads one stream; returns why it ended.
async fn session(client: &GrpcClient, queue: &LookupQueue) -> Status {
    let filters = [CREATE, START, EXIT].map(|topic| format!("topic==\"{topic}\"")).into();
    let mut events = match client.stream::<_, Envelope>(SUBSCRIBE, SubscribeRequest { filters }).await {
        Ok(events) => events,
        Err(status) => return status,
    };
    let ahead = Arc::new(Semaphore::new(AHEAD_MAX));
    loop {
        match events.message().await {
            Ok(Some(envelope)) if envelope.namespace == DOCKER_NAMESPACE => {}
            Ok(Some(envelope)) => match of_event(&envelope) {
                // CRI has more attributes of its own containers, and they are looked up there.
                Some(Event::Created(_)) if envelope.namespace == CRI_NAMESPACE => {}
                Some(Event::Created(id)) => look_up_ahead(client, queue, &ahead, envelope.namespace, id),
                Some(Event::Happened(at, id, attributes)) => {
                    queue.registry.borrow_mut().update_at(&id, &attributes, at);
                }
                None => {}
            },
            Ok(None) => return Status::unavailable("the stream ended"),
            Err(status) => return status,
        }
    }
}

/// A decoded event.
#[derive(Debug, PartialEq)]
enum Event {
    /// A container was created, but not started; its id.
    Created(String),
    /// A container was started or has exited: time, ns since 1970, id, and attributes.
    Happened(i64, String, Attributes),
}

fn of_event(envelope: &Envelope) -> Option<Event> {
    let value = envelope.event.as_ref()?.value.as_slice();
    let mut attributes = Attributes::default();
    let (at, id) = match envelope.topic.as_str() {
        CREATE => {
            let created: ContainerCreate = prost::Message::decode(value).ok()?;
            return Some(Event::Created(created.id));
        }
        START => {
            let started: TaskStart = prost::Message::decode(value).ok()?;
            attributes.set_number(names::PID, started.pid.into());
            (envelope.timestamp?, started.container_id)
        }
        EXIT => {
            let exited: TaskExit = prost::Message::decode(value).ok()?;
            if exited.id != exited.container_id {
                return None;
            }
            attributes.set(names::EXIT_CODE, exited.exit_status.to_string());
            (exited.exited_at?, exited.container_id)
        }
        _ => return None,
    };
    Some(Event::Happened(at.ns(), id, attributes))
}

/// Looks up a container that was just created: a lookup after its cgroup is seen may be too late.
fn look_up_ahead(
    client: &GrpcClient,
    queue: &LookupQueue,
    ahead: &Arc<Semaphore>,
    namespace: String,
    id: String,
) {
    let Ok(permit) = Arc::clone(ahead).try_acquire_owned() else { return };
    let (client, queue) = (client.clone(), queue.clone());
    tokio::task::spawn_local(async move {
        let request = async || (RequestTime::now(), containerd::one_of(&client, &namespace, &id).await);
        if let (requested, Ok(Some(attributes))) = queue.run(request()).await {
            queue.registry.borrow_mut().update(&id, &attributes, false, requested);
        }
        drop(permit);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(topic: &str, event: &impl prost::Message) -> Envelope {
        Envelope {
            timestamp: Some(Timestamp { seconds: 2, nanos: 5 }),
            namespace: "default".into(),
            topic: topic.into(),
            event: Some(Any { value: event.encode_to_vec() }),
        }
    }

    fn attributes(name: &str, value: &str) -> Attributes {
        let mut attributes = Attributes::default();
        attributes.set(name, value);
        attributes
    }

    #[test]
    fn events_become_attributes() {
        let created = ContainerCreate { id: "web".into() };
        assert_eq!(of_event(&envelope(CREATE, &created)), Some(Event::Created("web".into())));
        let started = TaskStart { container_id: "web".into(), pid: 42 };
        let expected = Event::Happened(2_000_000_005, "web".into(), attributes("container.pid", "42"));
        assert_eq!(of_event(&envelope(START, &started)), Some(expected));
        let exited_at = Some(Timestamp { seconds: 3, nanos: 0 });
        let exited = TaskExit { container_id: "web".into(), id: "web".into(), exit_status: 137, exited_at };
        let expected = Event::Happened(3_000_000_000, "web".into(), attributes("container.exit_code", "137"));
        assert_eq!(of_event(&envelope(EXIT, &exited)), Some(expected));
        // The exit of a process that was added to the container.
        let added = TaskExit { id: "exec-1".into(), ..exited };
        assert_eq!(of_event(&envelope(EXIT, &added)), None);
        assert_eq!(of_event(&envelope("/tasks/oom", &started)), None);
        let garbage = Any { value: vec![0xff; 9] };
        assert_eq!(of_event(&Envelope { event: Some(garbage), ..envelope(EXIT, &started) }), None);
    }
}
