//! containerd's own API: containers of `ctr` and nerdctl, which CRI does not know.

use std::collections::HashMap;

use tonic::{Code, Status};

use super::cri::{created, of_kubelet};
use super::facts::{Facts, names};
use super::grpc::Server;
use crate::containers::is_name;

#[derive(Clone, PartialEq, prost::Message)]
struct ListNamespacesRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListNamespacesResponse {
    #[prost(message, repeated, tag = "1")]
    namespaces: Vec<Namespace>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Namespace {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListContainersRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetContainerRequest {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetContainerResponse {
    #[prost(message, optional, tag = "1")]
    container: Option<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Container {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(map = "string, string", tag = "2")]
    labels: HashMap<String, String>,
    #[prost(string, tag = "3")]
    image: String,
    #[prost(message, optional, tag = "8")]
    created_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

const NAMESPACES: &str = "/containerd.services.namespaces.v1.Namespaces/List";
const CONTAINERS: &str = "/containerd.services.containers.v1.Containers/List";
const CONTAINER: &str = "/containerd.services.containers.v1.Containers/Get";

/// The label that nerdctl keeps a container's name in.
const NERDCTL_NAME: &str = "nerdctl/name";
/// The label of containers that CRI made: it knows more of these, and above all their pods.
const OF_CRI: &str = "io.cri-containerd.kind";
/// Docker's own namespace: Docker knows more of these.
const DOCKER: &str = "moby";

async fn namespaces(server: &Server) -> Result<Vec<String>, Status> {
    let all: ListNamespacesResponse = server.call(NAMESPACES, ListNamespacesRequest {}, None).await?;
    Ok(all.namespaces.into_iter().map(|namespace| namespace.name).filter(|name| name != DOCKER).collect())
}

/// All containers of all namespaces.
///
/// # Errors
/// The runtime does not tell.
pub async fn all(server: &Server) -> Result<Vec<(String, Facts)>, Status> {
    let mut found = Vec::new();
    for namespace in namespaces(server).await? {
        let all: ListContainersResponse =
            server.call(CONTAINERS, ListContainersRequest {}, Some(&namespace)).await?;
        let own = all.containers.iter().filter(|container| !container.labels.contains_key(OF_CRI));
        found.extend(own.map(|container| (container.id.clone(), of(container))));
    }
    Ok(found)
}

/// One container; `None` if it is not known.
///
/// # Errors
/// The runtime does not tell.
pub async fn one(server: &Server, id: &str) -> Result<Option<Facts>, Status> {
    for namespace in namespaces(server).await? {
        let question = GetContainerRequest { id: id.to_owned() };
        let answer: Result<GetContainerResponse, Status> =
            server.call(CONTAINER, question, Some(&namespace)).await;
        match answer {
            Ok(GetContainerResponse { container: Some(container) }) if container.id == id => {
                let is_own = !container.labels.contains_key(OF_CRI);
                return Ok(is_own.then(|| of(&container)));
            }
            Ok(_) => {}
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status),
        }
    }
    Ok(None)
}

fn of(container: &Container) -> Facts {
    let mut facts = Facts::default();
    let labels = &container.labels;
    match labels.get(NERDCTL_NAME).or_else(|| labels.get("io.kubernetes.container.name")) {
        Some(name) => facts.set(names::NAME, name.as_str()),
        // `ctr` users choose the id.
        None if is_name(container.id.as_bytes()) => facts.set(names::NAME, container.id.as_str()),
        None => {}
    }
    facts.set(names::IMAGE, container.image.as_str());
    if let Some(at) = &container.created_at {
        let ns = at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanos));
        facts.set(names::CREATED, created(ns));
    }
    facts.set_all(names::LABEL, labels.iter().map(|(k, v)| (k, v.as_str())));
    of_kubelet(&mut facts, |key| labels.get(key).map(String::as_str));
    facts
}
