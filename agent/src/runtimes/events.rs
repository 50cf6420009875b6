//! containerd's stream of events: which containers are made, and how they end.
//!
//! CRI has such a stream, too, which is left alone: until containerd 2.0 and CRI-O 1.28 all who read it share one queue, and
//! who reads takes events away from the kubelet. CRI is asked once more when a container is gone.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::ask::{Backoff, Questions};
use super::containerd::{self, DOCKER, OF_KUBELET, Timestamp};
use super::facts::Facts;
use super::grpc::Server;
use super::join::Asked;
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
    /// That of the container, or of a process that was added to it.
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
/// Containers that are asked for before their cgroup is seen, at a time. Beyond that they are asked for when it is.
const AHEAD: usize = 64;

/// Follows the events as long as this is polled.
pub async fn follow(server: Server, questions: Questions) {
    let mut backoff = Backoff::new();
    loop {
        let status = session(&server, &questions).await;
        if status.code() == Code::Unimplemented {
            return;
        }
        tracing::debug!(%status, "no events of a runtime");
        backoff.wait().await;
    }
}

/// One stream; why it ended.
async fn session(server: &Server, questions: &Questions) -> Status {
    let filters = [CREATE, START, EXIT].map(|topic| format!("topic==\"{topic}\"")).into();
    let mut events = match server.stream::<_, Envelope>(SUBSCRIBE, SubscribeRequest { filters }).await {
        Ok(events) => events,
        Err(status) => return status,
    };
    let ahead = Arc::new(Semaphore::new(AHEAD));
    loop {
        match events.message().await {
            Ok(Some(envelope)) if envelope.namespace == DOCKER => {}
            Ok(Some(envelope)) => match of_event(&envelope) {
                // CRI tells of its own, once it has noted them.
                Some(Event::Made(_)) if envelope.namespace == OF_KUBELET => {}
                Some(Event::Made(id)) => ask_ahead(server, questions, &ahead, envelope.namespace, id),
                Some(Event::At(at, id, facts)) => questions.join.borrow_mut().learn_at(&id, &facts, at),
                None => {}
            },
            Ok(None) => return Status::unavailable("the stream ended"),
            Err(status) => return status,
        }
    }
}

/// What an event tells.
#[derive(Debug, PartialEq)]
enum Event {
    /// A container was made; nothing runs yet.
    Made(String),
    /// Something of a container's life, at this moment, ns since 1970.
    At(i64, String, Facts),
}

fn of_event(envelope: &Envelope) -> Option<Event> {
    let value = envelope.event.as_ref()?.value.as_slice();
    let mut facts = Facts::default();
    let (at, id) = match envelope.topic.as_str() {
        CREATE => {
            let made: ContainerCreate = prost::Message::decode(value).ok()?;
            return Some(Event::Made(made.id));
        }
        START => {
            let started: TaskStart = prost::Message::decode(value).ok()?;
            facts.set_number(names::PID, started.pid.into());
            (envelope.timestamp?, started.container_id)
        }
        EXIT => {
            let exited: TaskExit = prost::Message::decode(value).ok()?;
            if exited.id != exited.container_id {
                return None;
            }
            facts.set(names::EXIT_CODE, exited.exit_status.to_string());
            (exited.exited_at?, exited.container_id)
        }
        _ => return None,
    };
    Some(Event::At(at.ns(), id, facts))
}

/// Asks for a container that was made: it may be gone again soon after its cgroup is seen.
fn ask_ahead(server: &Server, questions: &Questions, ahead: &Arc<Semaphore>, namespace: String, id: String) {
    let Ok(permit) = Arc::clone(ahead).try_acquire_owned() else { return };
    let (server, questions) = (server.clone(), questions.clone());
    tokio::task::spawn_local(async move {
        let asked = async || (Asked::now(), containerd::one_of(&server, &namespace, &id).await);
        if let (asked, Ok(Some(facts))) = questions.ask(asked()).await {
            questions.join.borrow_mut().learn(&id, &facts, false, asked);
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

    fn facts(name: &str, value: &str) -> Facts {
        let mut facts = Facts::default();
        facts.set(name, value);
        facts
    }

    #[test]
    fn what_events_tell() {
        let made = ContainerCreate { id: "web".into() };
        assert_eq!(of_event(&envelope(CREATE, &made)), Some(Event::Made("web".into())));
        let started = TaskStart { container_id: "web".into(), pid: 42 };
        let expected = Event::At(2_000_000_005, "web".into(), facts("container.pid", "42"));
        assert_eq!(of_event(&envelope(START, &started)), Some(expected));
        let exited_at = Some(Timestamp { seconds: 3, nanos: 0 });
        let exited = TaskExit { container_id: "web".into(), id: "web".into(), exit_status: 137, exited_at };
        let expected = Event::At(3_000_000_000, "web".into(), facts("container.exit_code", "137"));
        assert_eq!(of_event(&envelope(EXIT, &exited)), Some(expected));
        // Of a process that was added to the container.
        let added = TaskExit { id: "exec-1".into(), ..exited };
        assert_eq!(of_event(&envelope(EXIT, &added)), None);
        assert_eq!(of_event(&envelope("/tasks/oom", &started)), None);
        let garbage = Any { value: vec![0xff; 9] };
        assert_eq!(of_event(&Envelope { event: Some(garbage), ..envelope(EXIT, &started) }), None);
    }
}
