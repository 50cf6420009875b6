//! Docker's Engine API, which Podman also offers: lists all containers, follows their events, and inspects each new one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde::Deserialize;
use tokio::sync::mpsc::Receiver;

use super::attributes::{Attributes, Mount};
use super::http::{self, HttpError, Lines};
use super::registry::{ContainerRegistry, Lookup, RequestTime};
use super::retry::{Backoff, LookupQueue};
use super::sockets::{Protocol, Socket};
use ktape_reader::containers::{Runtime, is_name};
use ktape_reader::model::attribute_names as names;

/// `GET /containers/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    id: String,
    names: Vec<String>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    labels: Option<HashMap<String, String>>,
}

/// `GET /containers/ID/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    id: String,
    name: String,
    created: String,
    image: String,
    config: ContainerConfig,
    state: ContainerState,
    host_config: HostConfig,
    mounts: Option<Vec<MountPoint>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MountPoint {
    source: String,
    destination: String,
    mode: String,
    #[serde(rename = "RW")]
    is_writable: bool,
    propagation: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerConfig {
    image: String,
    labels: Option<HashMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerState {
    status: String,
    pid: i64,
    exit_code: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    privileged: Option<bool>,
    memory: i64,
    nano_cpus: i64,
    cpu_quota: i64,
    cpu_period: i64,
    cpu_shares: i64,
    pids_limit: Option<i64>,
}

/// `GET /events`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Event {
    action: String,
    actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    attributes: Option<HashMap<String, String>>,
}

/// Attributes of the event of a creation that are not labels: Docker's, and those that Podman adds.
const OF_ENGINE: [&str; 7] =
    ["image", "name", "containerExitCode", "exitCode", "podId", "health_status", "error"];

/// Follows a runtime until `lookups` is closed.
pub async fn follow(socket: Socket, registry: Rc<RefCell<ContainerRegistry>>, mut lookups: Receiver<Lookup>) {
    let mut backoff = Backoff::new();
    loop {
        match session(&socket, LookupQueue::new(Rc::clone(&registry)), &mut lookups).await {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(socket = %socket.path.display(), %error, "container runtime does not answer");
                // Pending lookups are made again after the reconnect.
                while lookups.try_recv().is_ok() {}
                backoff.wait().await;
            }
        }
    }
}

/// Follows one connection; `Ok` once `lookups` is closed.
async fn session(
    socket: &Socket,
    queue: LookupQueue,
    lookups: &mut Receiver<Lookup>,
) -> Result<(), HttpError> {
    // Subscribe to events before listing, so that no container is missed in between.
    let mut events =
        Lines::open(&socket.path, "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D").await?;
    list(socket, &queue);
    let pending = queue.registry.borrow().pending(socket.protocol);
    for lookup in pending {
        inspect(socket, &queue, lookup.id, None);
    }
    loop {
        tokio::select! {
            lookup = lookups.recv() => match lookup {
                Some(lookup) => inspect(socket, &queue, lookup.id, None),
                None => return Ok(()),
            },
            event = events.next::<Event>() => match event? {
                Some(event) => {
                    // Its labels, before it may be gone.
                    if event.action == "create" && !event.actor.id.is_empty() {
                        inspect(socket, &queue, event.actor.id.clone(), of_created(&event, socket.protocol));
                    } else if let Some((id, attributes)) = of_event(&event) {
                        let has_name = queue.registry.borrow().has_name(&id);
                        // A name without labels would decide about a container that is selected by them.
                        if attributes.get(names::NAME).is_none() || has_name {
                            queue.registry.borrow_mut().update(&id, &attributes, false, RequestTime::UNKNOWN);
                        } else {
                            inspect(socket, &queue, id, of_created(&event, socket.protocol));
                        }
                    }
                }
                None => return Err(HttpError::Body("the stream of events ended".into())),
            },
        }
    }
}

/// Lists all containers, in a task of its own.
fn list(socket: &Socket, queue: &LookupQueue) {
    let (path, kind, queue) = (socket.path.clone(), socket.protocol, queue.clone());
    tokio::task::spawn_local(async move {
        match queue.run(http::get::<Vec<Listed>>(&path, "/containers/json?all=1")).await {
            Ok(all) => {
                for listed in all.unwrap_or_default() {
                    let attributes = of_listed(&listed, kind);
                    queue.registry.borrow_mut().update(&listed.id, &attributes, false, RequestTime::UNKNOWN);
                }
            }
            Err(error) => tracing::debug!(%error, "container runtime does not list its containers"),
        }
    });
}

/// Inspects one container, in a task of its own. If it is gone, `otherwise` is all that will ever be known of it.
fn inspect(socket: &Socket, queue: &LookupQueue, id: String, otherwise: Option<Attributes>) {
    // Docker has no such ids, and a name is not safe to put into a path.
    if is_name(id.as_bytes()) {
        return;
    }
    let (path, kind) = (socket.path.clone(), socket.protocol);
    queue.resolve(id, async move |id| {
        match http::get::<Inspected>(&path, &format!("/containers/{id}/json")).await {
            Ok(answer) => {
                let inspected = answer.filter(|inspected| inspected.id == id);
                inspected.map(|inspected| of_inspected(&inspected, kind)).or_else(|| otherwise.clone())
            }
            Err(error) => {
                tracing::debug!(id, %error, "container runtime does not answer an inspect request");
                None
            }
        }
    });
}

fn of_listed(listed: &Listed, kind: Protocol) -> Attributes {
    let mut attributes = of_kind(kind);
    if let Some(name) = listed.names.first() {
        attributes.set(names::NAME, plain_name(name));
    }
    attributes.set(names::IMAGE, listed.image.as_str());
    attributes.set(names::IMAGE_ID, listed.image_id.as_str());
    labels(&mut attributes, listed.labels.as_ref());
    attributes
}

/// The type of all containers of an engine, whatever their cgroup is called.
fn of_kind(kind: Protocol) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.set(names::TYPE, kind.runtime().map_or("", Runtime::name));
    attributes
}

fn of_inspected(inspected: &Inspected, kind: Protocol) -> Attributes {
    let Inspected { name, created, image, config, state, host_config: host, .. } = inspected;
    let mut attributes = of_kind(kind);
    attributes.set(names::NAME, plain_name(name));
    attributes.set(names::CREATED, created.as_str());
    attributes.set(names::IMAGE, config.image.as_str());
    attributes.set(names::IMAGE_ID, image.as_str());
    labels(&mut attributes, config.labels.as_ref());
    attributes.set_number(names::PID, state.pid);
    attributes.set_number(names::MEMORY_LIMIT, host.memory);
    attributes.set_number(names::PIDS_LIMIT, host.pids_limit.unwrap_or(0));
    attributes.set_number(names::CPU_SHARES, host.cpu_shares);
    attributes.set_cpu_limit(host.cpu_quota, host.cpu_period);
    attributes.set_number(names::CPU_LIMIT, host.nano_cpus / 1_000_000);
    if let Some(is_privileged) = host.privileged {
        attributes.set_privileged(is_privileged);
    }
    let mounts = inspected.mounts.as_deref().unwrap_or_default();
    attributes.set_mounts(mounts.iter().map(|mount| Mount {
        source: &mount.source,
        destination: &mount.destination,
        mode: &mount.mode,
        is_writable: mount.is_writable,
        propagation: &mount.propagation,
    }));
    if matches!(state.status.as_str(), "exited" | "dead" | "stopped") {
        attributes.set(names::EXIT_CODE, state.exit_code.to_string());
    }
    attributes
}

/// The attributes in an event: name and image when a container is created, started or renamed, the exit code when it ends.
///
/// Labels are not taken from it: an event mixes them with what it reports itself (`oldName`, `execID`, `comment`, ...).
fn of_event(event: &Event) -> Option<(String, Attributes)> {
    let reported = event.actor.attributes.as_ref()?;
    let mut attributes = Attributes::default();
    match event.action.as_str() {
        "create" | "start" | "init" | "rename" => {
            let get = |name: &str| reported.get(name).map_or("", String::as_str);
            attributes.set(names::NAME, plain_name(get("name")));
            attributes.set(names::IMAGE, get("image"));
        }
        "die" | "died" => {
            let code = reported.get("exitCode").or_else(|| reported.get("containerExitCode"))?;
            attributes.set(names::EXIT_CODE, code.parse::<i64>().ok()?.to_string());
        }
        _ => return None,
    }
    (!event.actor.id.is_empty() && !attributes.is_empty()).then(|| (event.actor.id.clone(), attributes))
}

/// What an event reports of a container that was created, for one that is gone before it is inspected. Its attributes are the
/// labels and [`OF_ENGINE`].
fn of_created(event: &Event, kind: Protocol) -> Option<Attributes> {
    let reported = event.actor.attributes.as_ref()?;
    let (_, mut attributes) = of_event(event)?;
    attributes.merge(&of_kind(kind));
    let of_container = reported.iter().filter(|(key, _)| !OF_ENGINE.contains(&key.as_str()));
    let found = of_container.map(|(key, value)| (key.clone(), value.clone())).collect();
    labels(&mut attributes, Some(&found));
    Some(attributes)
}

/// The name without Docker's leading slash.
fn plain_name(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

fn labels(attributes: &mut Attributes, labels: Option<&HashMap<String, String>>) {
    let Some(labels) = labels else { return };
    attributes.set_all(names::LABEL, labels.iter().map(|(k, v)| (k, v.as_str())));
    super::cri::add_kubelet_labels(attributes, |key| labels.get(key).map(String::as_str));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inspect_answers_become_attributes() {
        let text = r#"{"Id":"ab","Name":"/web","Created":"2026-01-02T03:04:05.6Z","Image":"sha256:00",
            "Config":{"Image":"nginx:1","Labels":{"app":"x","io.kubernetes.pod.name":"web-0"}},
            "State":{"Status":"running","Pid":42,"ExitCode":0},
            "HostConfig":{"Memory":1048576,"NanoCpus":1500000000,"PidsLimit":null,"Privileged":true},
            "Mounts":[{"Type":"bind","Source":"/srv/a","Destination":"/data","Mode":"ro,z","RW":false,"Propagation":"rprivate"},
            {"Type":"volume","Name":"v","Source":"/var/lib/v","Destination":"/v","Mode":"","RW":true,"Propagation":""}],
            "New":[1]}"#;
        let attributes = of_inspected(&serde_json::from_str(text).unwrap(), Protocol::Docker);
        let all: Vec<_> = attributes.iter().collect();
        let expected = [
            ("container.cpu.limit", "1500"),
            ("container.created", "2026-01-02T03:04:05.6Z"),
            ("container.image", "nginx:1"),
            ("container.image.id", "sha256:00"),
            ("container.label[app]", "x"),
            ("container.label[io.kubernetes.pod.name]", "web-0"),
            ("container.memory.limit", "1048576"),
            ("container.mount[0]", "/srv/a:/data:ro,z:false:rprivate"),
            ("container.mount[1]", "/var/lib/v:/v::true:"),
            ("container.mounts", "/srv/a:/data:ro,z:false:rprivate,/var/lib/v:/v::true:"),
            ("container.name", "web"),
            ("container.pid", "42"),
            ("container.privileged", "true"),
            ("container.type", "docker"),
            ("k8s.pod.name", "web-0"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_container_that_is_gone_has_the_labels_of_its_creation() {
        let created = r#"{"Action":"create","Actor":{"ID":"ab","Attributes":
            {"image":"bb:1","name":"web","app":"x","containerExitCode":"0","podId":"cd"}}}"#;
        let attributes = of_created(&serde_json::from_str(created).unwrap(), Protocol::Podman).unwrap();
        let all: Vec<_> = attributes.iter().collect();
        let expected = [
            ("container.image", "bb:1"),
            ("container.label[app]", "x"),
            ("container.name", "web"),
            ("container.type", "podman"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn events_become_attributes() {
        let event = |text: &str| of_event(&serde_json::from_str(text).unwrap());
        let (id, attributes) = event(
            r#"{"Type":"container","Action":"create","Actor":{"ID":"ab","Attributes":{"image":"bb:1","name":"web","a":"b"}}}"#,
        )
        .unwrap();
        assert_eq!(id, "ab");
        let all: Vec<_> = attributes.iter().collect();
        assert_eq!(all, [("container.image", "bb:1"), ("container.name", "web")]);
        let (_, attributes) = event(
            r#"{"Action":"rename","Actor":{"ID":"ab","Attributes":{"image":"bb:1","name":"new","oldName":"/web","a":"b"}}}"#,
        )
        .unwrap();
        let all: Vec<_> = attributes.iter().collect();
        assert_eq!(all, [("container.image", "bb:1"), ("container.name", "new")]);
        for action in ["commit", "update", "kill", "exec_create: cat /none", "pause", "top", "attach"] {
            let text = format!(
                r#"{{"Action":"{action}","Actor":{{"ID":"ab","Attributes":{{"comment":"c","execID":"e","signal":"1","name":"web"}}}}}}"#
            );
            assert_eq!(event(&text), None, "{action}");
        }
        let (_, attributes) =
            event(r#"{"Action":"die","Actor":{"ID":"ab","Attributes":{"exitCode":"137","name":"web"}}}"#)
                .unwrap();
        assert_eq!(attributes.iter().collect::<Vec<_>>(), [("container.exit_code", "137")]);
        assert_eq!(event(r#"{"Action":"exec_start: sh","Actor":{"ID":"ab","Attributes":{}}}"#), None);
        assert_eq!(event("{}"), None);
    }
}
