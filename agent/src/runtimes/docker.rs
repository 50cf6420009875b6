//! Docker's Engine API, which Podman has too: all containers, then their events, and each new one in detail.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use serde::Deserialize;
use tokio::sync::mpsc::Receiver;

use super::ask::{Backoff, Questions};
use super::facts::Facts;
use super::http::{self, HttpError, Lines};
use super::join::{Ask, Asked, Join};
use super::sockets::Socket;
use ktape_reader::containers::is_name;
use ktape_reader::model::attribute_names as names;

/// Names, labels and options of containers: `GET /containers/json`.
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
    config: Config,
    state: State,
    host_config: HostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    image: String,
    labels: Option<HashMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    status: String,
    pid: i64,
    exit_code: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
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

/// Attributes of events that are no labels.
const NO_LABELS: &[&str] =
    &["image", "name", "exitCode", "containerExitCode", "signal", "execID", "execDuration", "podId"];

/// Follows a runtime as long as anyone asks.
pub async fn follow(socket: Socket, join: Rc<RefCell<Join>>, mut asks: Receiver<Ask>) {
    let mut backoff = Backoff::new();
    loop {
        match session(&socket, Questions::new(Rc::clone(&join)), &mut asks).await {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(socket = %socket.path.display(), %error, "a runtime does not answer");
                // What was asked is asked again when it is back.
                while asks.try_recv().is_ok() {}
                backoff.wait().await;
            }
        }
    }
}

/// One connection; `Ok` if nobody asks any more.
async fn session(socket: &Socket, questions: Questions, asks: &mut Receiver<Ask>) -> Result<(), HttpError> {
    // Events first, so that nothing falls between.
    let mut events =
        Lines::open(&socket.path, "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D").await?;
    list(socket, &questions);
    let open = questions.join.borrow().open(socket.protocol);
    for ask in open {
        inspect(socket, &questions, ask.id);
    }
    loop {
        tokio::select! {
            ask = asks.recv() => match ask {
                Some(ask) => inspect(socket, &questions, ask.id),
                None => return Ok(()),
            },
            event = events.next::<Event>() => match event? {
                Some(event) => {
                    if let Some((id, facts)) = of_event(&event) {
                        questions.join.borrow_mut().learn(&id, &facts, false, Asked::BEFORE);
                    }
                }
                None => return Err(HttpError::Body("the stream of events ended".into())),
            },
        }
    }
}

/// Asks for all containers, beside everything else.
fn list(socket: &Socket, questions: &Questions) {
    let (path, questions) = (socket.path.clone(), questions.clone());
    tokio::task::spawn_local(async move {
        match questions.ask(http::get::<Vec<Listed>>(&path, "/containers/json?all=1")).await {
            Ok(all) => {
                for listed in all.unwrap_or_default() {
                    let facts = of_listed(&listed);
                    questions.join.borrow_mut().learn(&listed.id, &facts, false, Asked::BEFORE);
                }
            }
            Err(error) => tracing::debug!(%error, "a runtime does not list its containers"),
        }
    });
}

/// Asks for one container, beside everything else.
fn inspect(socket: &Socket, questions: &Questions, id: String) {
    // Whatever else it is, it is no id of Docker's, and nothing to put into a path.
    if is_name(id.as_bytes()) {
        return;
    }
    let path = socket.path.clone();
    questions.ask_for(id, async move |id| {
        match http::get::<Inspected>(&path, &format!("/containers/{id}/json")).await {
            Ok(answer) => {
                answer.filter(|inspected| inspected.id == id).map(|inspected| of_inspected(&inspected))
            }
            Err(error) => {
                tracing::debug!(id, %error, "a runtime does not tell of a container");
                None
            }
        }
    });
}

fn of_listed(listed: &Listed) -> Facts {
    let mut facts = Facts::default();
    if let Some(name) = listed.names.first() {
        facts.set(names::NAME, plain_name(name));
    }
    facts.set(names::IMAGE, listed.image.as_str());
    facts.set(names::IMAGE_ID, listed.image_id.as_str());
    labels(&mut facts, listed.labels.as_ref());
    facts
}

fn of_inspected(inspected: &Inspected) -> Facts {
    let Inspected { name, created, image, config, state, host_config: host, .. } = inspected;
    let mut facts = Facts::default();
    facts.set(names::NAME, plain_name(name));
    facts.set(names::CREATED, created.as_str());
    facts.set(names::IMAGE, config.image.as_str());
    facts.set(names::IMAGE_ID, image.as_str());
    labels(&mut facts, config.labels.as_ref());
    facts.set_number(names::PID, state.pid);
    facts.set_number(names::MEMORY_LIMIT, host.memory);
    facts.set_number(names::PIDS_LIMIT, host.pids_limit.unwrap_or(0));
    facts.set_number(names::CPU_SHARES, host.cpu_shares);
    facts.set_cpu_limit(host.cpu_quota, host.cpu_period);
    facts.set_number(names::CPU_LIMIT, host.nano_cpus / 1_000_000);
    if matches!(state.status.as_str(), "exited" | "dead" | "stopped") {
        facts.set(names::EXIT_CODE, state.exit_code.to_string());
    }
    facts
}

/// What an event tells: who it is at the beginning, how it ended at the end.
fn of_event(event: &Event) -> Option<(String, Facts)> {
    let attributes = event.actor.attributes.as_ref()?;
    let mut facts = Facts::default();
    match event.action.as_str() {
        "create" | "start" | "init" | "rename" => {
            let get = |name: &str| attributes.get(name).map_or("", String::as_str);
            facts.set(names::NAME, plain_name(get("name")));
            facts.set(names::IMAGE, get("image"));
            let others = attributes.iter().filter(|(name, _)| !NO_LABELS.contains(&name.as_str()));
            let others: HashMap<String, String> = others.map(|(k, v)| (k.clone(), v.clone())).collect();
            labels(&mut facts, Some(&others));
        }
        "die" | "died" => {
            let code = attributes.get("exitCode").or_else(|| attributes.get("containerExitCode"))?;
            facts.set(names::EXIT_CODE, code.parse::<i64>().ok()?.to_string());
        }
        _ => return None,
    }
    (!event.actor.id.is_empty() && !facts.is_empty()).then(|| (event.actor.id.clone(), facts))
}

/// Docker puts a slash before it.
fn plain_name(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

fn labels(facts: &mut Facts, labels: Option<&HashMap<String, String>>) {
    let Some(labels) = labels else { return };
    facts.set_all(names::LABEL, labels.iter().map(|(k, v)| (k, v.as_str())));
    super::cri::of_kubelet(facts, |key| labels.get(key).map(String::as_str));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_tells() {
        let text = r#"{"Id":"ab","Name":"/web","Created":"2026-01-02T03:04:05.6Z","Image":"sha256:00",
            "Config":{"Image":"nginx:1","Labels":{"app":"x","io.kubernetes.pod.name":"web-0"}},
            "State":{"Status":"running","Pid":42,"ExitCode":0},
            "HostConfig":{"Memory":1048576,"NanoCpus":1500000000,"PidsLimit":null},"New":[1]}"#;
        let facts = of_inspected(&serde_json::from_str(text).unwrap());
        let all: Vec<_> = facts.iter().collect();
        let expected = [
            ("container.cpu.limit", "1500"),
            ("container.created", "2026-01-02T03:04:05.6Z"),
            ("container.image", "nginx:1"),
            ("container.image.id", "sha256:00"),
            ("container.label[app]", "x"),
            ("container.label[io.kubernetes.pod.name]", "web-0"),
            ("container.memory.limit", "1048576"),
            ("container.name", "web"),
            ("container.pid", "42"),
            ("k8s.pod.name", "web-0"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_events_tell() {
        let event = |text: &str| of_event(&serde_json::from_str(text).unwrap());
        let (id, facts) = event(
            r#"{"Type":"container","Action":"create","Actor":{"ID":"ab","Attributes":{"image":"bb:1","name":"web","a":"b"}}}"#,
        )
        .unwrap();
        assert_eq!(id, "ab");
        let all: Vec<_> = facts.iter().collect();
        assert_eq!(
            all,
            [("container.image", "bb:1"), ("container.label[a]", "b"), ("container.name", "web")]
        );
        let (_, facts) =
            event(r#"{"Action":"die","Actor":{"ID":"ab","Attributes":{"exitCode":"137","name":"web"}}}"#)
                .unwrap();
        assert_eq!(facts.iter().collect::<Vec<_>>(), [("container.exit_code", "137")]);
        assert_eq!(event(r#"{"Action":"exec_start: sh","Actor":{"ID":"ab","Attributes":{}}}"#), None);
        assert_eq!(event("{}"), None);
    }
}
