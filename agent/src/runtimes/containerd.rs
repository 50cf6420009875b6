//! containerd's own API: containers of `ctr` and nerdctl, which CRI does not list.

use std::collections::HashMap;

use tonic::{Code, Status};

use super::attributes::Attributes;
use super::cri::{add_kubelet_labels, created};
use super::grpc::GrpcClient;
use ktape_reader::containers::{Runtime, is_name};
use ktape_reader::model::attribute_names as names;

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

#[derive(Clone, PartialEq, prost::Message)]
struct GetTaskRequest {
    #[prost(string, tag = "1")]
    container_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetTaskResponse {
    #[prost(message, optional, tag = "1")]
    process: Option<Process>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Process {
    #[prost(uint32, tag = "3")]
    pid: u32,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds after that second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// Nanoseconds since 1970.
    pub fn ns(self) -> i64 {
        self.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(self.nanos))
    }
}

const NAMESPACES: &str = "/containerd.services.namespaces.v1.Namespaces/List";
const CONTAINERS: &str = "/containerd.services.containers.v1.Containers/List";
const CONTAINER: &str = "/containerd.services.containers.v1.Containers/Get";
const TASK: &str = "/containerd.services.tasks.v1.Tasks/Get";

/// The label in which nerdctl stores a container's name.
const NERDCTL_NAME: &str = "nerdctl/name";
/// The label of containers that CRI created: CRI has more attributes of these, above all their pods.
const CRI_LABEL: &str = "io.cri-containerd.kind";
/// Docker's own namespace, ignored here: Docker's API has more attributes of these.
pub const DOCKER_NAMESPACE: &str = "moby";
/// The namespace of containers of CRI.
pub const CRI_NAMESPACE: &str = "k8s.io";

async fn namespaces(client: &GrpcClient) -> Result<Vec<String>, Status> {
    let all: ListNamespacesResponse = client.call(NAMESPACES, ListNamespacesRequest {}, None).await?;
    Ok(all
        .namespaces
        .into_iter()
        .map(|namespace| namespace.name)
        .filter(|name| name != DOCKER_NAMESPACE)
        .collect())
}

/// All containers of all namespaces.
///
/// # Errors
/// The runtime does not answer, or reports an error.
pub async fn all(client: &GrpcClient) -> Result<Vec<(String, Attributes)>, Status> {
    let mut found = Vec::new();
    for namespace in namespaces(client).await? {
        let all: ListContainersResponse =
            client.call(CONTAINERS, ListContainersRequest {}, Some(&namespace)).await?;
        let own = all.containers.iter().filter(|container| !container.labels.contains_key(CRI_LABEL));
        found.extend(own.map(|container| (container.id.clone(), of(container))));
    }
    Ok(found)
}

/// One container; `None` if no namespace has it.
///
/// # Errors
/// The runtime does not answer, or reports an error.
pub async fn one(client: &GrpcClient, id: &str) -> Result<Option<Attributes>, Status> {
    for namespace in namespaces(client).await? {
        if let Some(mut attributes) = one_of(client, &namespace, id).await? {
            add_pid(client, &namespace, id, &mut attributes).await;
            return Ok(Some(attributes));
        }
    }
    Ok(None)
}

/// One container of a namespace; `None` if the namespace does not have it, or CRI created it.
///
/// # Errors
/// The runtime does not answer, or reports an error.
pub async fn one_of(client: &GrpcClient, namespace: &str, id: &str) -> Result<Option<Attributes>, Status> {
    let request = GetContainerRequest { id: id.to_owned() };
    let answer: Result<GetContainerResponse, Status> = client.call(CONTAINER, request, Some(namespace)).await;
    match answer {
        Ok(GetContainerResponse { container: Some(container) }) if container.id == id => {
            Ok((!container.labels.contains_key(CRI_LABEL)).then(|| of(&container)))
        }
        Ok(_) => Ok(None),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// Adds the id of a container's first process, if it runs.
pub async fn add_pid(client: &GrpcClient, namespace: &str, id: &str, attributes: &mut Attributes) {
    let request = GetTaskRequest { container_id: id.to_owned() };
    let answer: Result<GetTaskResponse, Status> = client.call(TASK, request, Some(namespace)).await;
    if let Ok(GetTaskResponse { process: Some(process) }) = answer {
        attributes.set_number(names::PID, process.pid.into());
    }
}

fn of(container: &Container) -> Attributes {
    let mut attributes = Attributes::default();
    attributes.set(names::TYPE, Runtime::Containerd.name());
    let labels = &container.labels;
    match labels.get(NERDCTL_NAME).or_else(|| labels.get("io.kubernetes.container.name")) {
        Some(name) => attributes.set(names::NAME, name.as_str()),
        // `ctr` users choose the id.
        None if is_name(container.id.as_bytes()) => attributes.set(names::NAME, container.id.as_str()),
        None => {}
    }
    attributes.set(names::IMAGE, container.image.as_str());
    if let Some(at) = &container.created_at {
        attributes.set(names::CREATED, created(at.ns()));
    }
    attributes.set_all(names::LABEL, labels.iter().map(|(k, v)| (k, v.as_str())));
    add_kubelet_labels(&mut attributes, |key| labels.get(key).map(String::as_str));
    attributes
}
