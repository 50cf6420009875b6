//! The Kubernetes container runtime interface, `runtime.v1`: containers and their pods.

use std::collections::HashMap;

use serde::Deserialize;
use tonic::Status;

use super::attributes::{Attributes, Mount};
use super::grpc::GrpcClient;
use ktape_reader::model::attribute_names as names;

#[derive(Clone, PartialEq, prost::Message)]
struct ListContainersRequest {
    #[prost(message, optional, tag = "1")]
    filter: Option<IdFilter>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct IdFilter {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Container {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    image: Option<ImageSpec>,
    #[prost(string, tag = "5")]
    image_ref: String,
    #[prost(int64, tag = "7")]
    created_at: i64,
    #[prost(map = "string, string", tag = "8")]
    labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "9")]
    annotations: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
    /// The image as the user wrote it; since CRI of Kubernetes 1.29.
    #[prost(string, tag = "18")]
    user_specified_image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    filter: Option<IdFilter>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandbox {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(int64, tag = "4")]
    created_at: i64,
    #[prost(map = "string, string", tag = "5")]
    labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerStatusRequest {
    #[prost(string, tag = "1")]
    container_id: String,
    /// With the runtime's own description, too.
    #[prost(bool, tag = "2")]
    verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<ContainerStatus>,
    /// What the runtime has to add, as JSON.
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerStatus {
    /// 2 is "exited".
    #[prost(int32, tag = "3")]
    state: i32,
    #[prost(int32, tag = "7")]
    exit_code: i32,
    #[prost(message, repeated, tag = "14")]
    mounts: Vec<CriMount>,
    #[prost(message, optional, tag = "16")]
    resources: Option<ContainerResources>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CriMount {
    #[prost(string, tag = "1")]
    container_path: String,
    #[prost(string, tag = "2")]
    host_path: String,
    #[prost(bool, tag = "3")]
    readonly: bool,
    /// `MountPropagation`.
    #[prost(int32, tag = "5")]
    propagation: i32,
}

/// What containerd and CRI-O add to a status.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info {
    /// CRI-O's.
    privileged: Option<bool>,
    /// containerd's.
    config: Option<InfoConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InfoConfig {
    linux: Option<InfoLinux>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InfoLinux {
    security_context: Option<InfoSecurity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InfoSecurity {
    /// Left out where it is false.
    privileged: bool,
}

impl Info {
    /// Whether the container is privileged; `None` if the runtime does not report it.
    fn privileged(&self) -> Option<bool> {
        let linux = self.config.as_ref().and_then(|config| config.linux.as_ref());
        let security = linux.map(|linux| linux.security_context.as_ref().is_some_and(|c| c.privileged));
        self.privileged.or(security)
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerResources {
    #[prost(message, optional, tag = "1")]
    linux: Option<LinuxContainerResources>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxContainerResources {
    #[prost(int64, tag = "1")]
    cpu_period: i64,
    #[prost(int64, tag = "2")]
    cpu_quota: i64,
    #[prost(int64, tag = "3")]
    cpu_shares: i64,
    #[prost(int64, tag = "4")]
    memory_limit_in_bytes: i64,
}

const LIST_CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";
const LIST_PODS: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const EXITED: i32 = 2;

/// All containers, including the sandbox containers of pods.
///
/// # Errors
/// The runtime does not answer, or reports an error.
pub async fn all(client: &GrpcClient) -> Result<Vec<(String, Attributes)>, Status> {
    let pods: ListPodSandboxResponse =
        client.call(LIST_PODS, ListPodSandboxRequest { filter: None }, None).await?;
    let containers: ListContainersResponse =
        client.call(LIST_CONTAINERS, ListContainersRequest { filter: None }, None).await?;
    let by_id: HashMap<&str, &PodSandbox> = pods.items.iter().map(|pod| (pod.id.as_str(), pod)).collect();
    let of_containers = containers.containers.iter().map(|container| {
        let pod = by_id.get(container.pod_sandbox_id.as_str()).copied();
        (container.id.clone(), of_container(container, pod))
    });
    Ok(of_containers.chain(pods.items.iter().map(|pod| (pod.id.clone(), of_sandbox(pod)))).collect())
}

/// One container; `None` if CRI does not have it.
///
/// # Errors
/// The runtime does not answer, or reports an error.
pub async fn one(client: &GrpcClient, id: &str) -> Result<Option<Attributes>, Status> {
    let filter = || Some(IdFilter { id: id.to_owned() });
    let found: ListContainersResponse =
        client.call(LIST_CONTAINERS, ListContainersRequest { filter: filter() }, None).await?;
    // The filter also matches prefixes of ids.
    let Some(container) = found.containers.iter().find(|container| container.id == id) else {
        let pods: ListPodSandboxResponse =
            client.call(LIST_PODS, ListPodSandboxRequest { filter: filter() }, None).await?;
        return Ok(pods.items.iter().find(|pod| pod.id == id).map(of_sandbox));
    };
    let filter = Some(IdFilter { id: container.pod_sandbox_id.clone() });
    let pods: ListPodSandboxResponse = client.call(LIST_PODS, ListPodSandboxRequest { filter }, None).await?;
    let pod = pods.items.iter().find(|pod| pod.id == container.pod_sandbox_id);
    let mut attributes = of_container(container, pod);
    let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
    // The container may be gone by now; the other attributes stay.
    let answer: Result<ContainerStatusResponse, Status> = client.call(STATUS, request, None).await;
    if let Ok(ContainerStatusResponse { status: Some(status), info }) = answer {
        add_status(&mut attributes, &status);
        add_info(&mut attributes, &info);
    }
    Ok(Some(attributes))
}

fn of_container(container: &Container, pod: Option<&PodSandbox>) -> Attributes {
    let mut attributes = Attributes::default();
    if let Some(metadata) = &container.metadata {
        attributes.set(names::NAME, metadata.name.as_str());
    }
    if let Some(image) = &container.image {
        attributes.set(names::IMAGE, image.image.as_str());
        attributes.set(names::IMAGE, image.user_specified_image.as_str());
    }
    attributes.set(names::IMAGE_ID, container.image_ref.as_str());
    attributes.set(names::CREATED, created(container.created_at));
    attributes.set_all(names::LABEL, container.labels.iter().map(|(k, v)| (k, v.as_str())));
    attributes.set_all(names::ANNOTATION, container.annotations.iter().map(|(k, v)| (k, v.as_str())));
    add_kubelet_labels(&mut attributes, |key| container.labels.get(key).map(String::as_str));
    if let Some(pod) = pod {
        add_pod(&mut attributes, pod);
    }
    attributes
}

fn of_sandbox(pod: &PodSandbox) -> Attributes {
    let mut attributes = Attributes::default();
    // The kubelet's name for sandbox containers.
    attributes.set(names::NAME, "POD");
    attributes.set(names::POD_SANDBOX, "true");
    attributes.set(names::CREATED, created(pod.created_at));
    add_pod(&mut attributes, pod);
    attributes
}

fn add_pod(attributes: &mut Attributes, pod: &PodSandbox) {
    if let Some(metadata) = &pod.metadata {
        attributes.set(names::POD_NAME, metadata.name.as_str());
        attributes.set(names::POD_NAMESPACE, metadata.namespace.as_str());
        attributes.set(names::POD_UID, metadata.uid.as_str());
    }
    attributes.set_all(names::POD_LABEL, pod.labels.iter().map(|(k, v)| (k, v.as_str())));
}

fn add_status(attributes: &mut Attributes, status: &ContainerStatus) {
    if status.state == EXITED {
        attributes.set(names::EXIT_CODE, status.exit_code.to_string());
    }
    attributes.set_mounts(status.mounts.iter().map(|mount| Mount {
        source: &mount.host_path,
        destination: &mount.container_path,
        mode: "",
        is_writable: !mount.readonly,
        propagation: match mount.propagation {
            0 => "private",
            1 => "rslave",
            2 => "rshared",
            _ => "",
        },
    }));
    let Some(linux) = status.resources.as_ref().and_then(|resources| resources.linux.as_ref()) else {
        return;
    };
    attributes.set_number(names::MEMORY_LIMIT, linux.memory_limit_in_bytes);
    attributes.set_number(names::CPU_SHARES, linux.cpu_shares);
    attributes.set_cpu_limit(linux.cpu_quota, linux.cpu_period);
}

/// Adds what the runtime describes in its own way.
fn add_info(attributes: &mut Attributes, info: &HashMap<String, String>) {
    let info: Option<Info> = info.get("info").and_then(|text| serde_json::from_str(text).ok());
    if let Some(is_privileged) = info.and_then(|info| info.privileged()) {
        attributes.set_privileged(is_privileged);
    }
}

/// Adds the attributes of the pod that the kubelet writes into labels, for every runtime.
pub fn add_kubelet_labels<'a>(attributes: &mut Attributes, label: impl Fn(&str) -> Option<&'a str>) {
    for (key, name) in [
        ("io.kubernetes.pod.name", names::POD_NAME),
        ("io.kubernetes.pod.namespace", names::POD_NAMESPACE),
        ("io.kubernetes.pod.uid", names::POD_UID),
    ] {
        if let Some(value) = label(key) {
            attributes.set(name, value);
        }
    }
}

/// Nanoseconds since 1970 as RFC 3339; empty for 0, which means unknown.
pub fn created(ns: i64) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(time) if ns > 0 => time.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_privileges_are_in_the_status() {
        let status = ContainerStatus {
            mounts: vec![
                CriMount {
                    container_path: "/etc/hosts".into(),
                    host_path: "/var/lib/kubelet/hosts".into(),
                    readonly: true,
                    propagation: 0,
                },
                CriMount {
                    container_path: "/h".into(),
                    host_path: "/".into(),
                    readonly: false,
                    propagation: 2,
                },
            ],
            ..ContainerStatus::default()
        };
        let mut attributes = Attributes::default();
        add_status(&mut attributes, &status);
        assert_eq!(
            attributes.get(names::MOUNTS),
            Some("/var/lib/kubelet/hosts:/etc/hosts::false:private,/:/h::true:rshared")
        );
        assert_eq!(attributes.get("container.mount[1]"), Some("/:/h::true:rshared"));

        let privileged = |text: &str| {
            let mut attributes = Attributes::default();
            add_info(&mut attributes, &HashMap::from([("info".to_owned(), text.to_owned())]));
            attributes.get(names::PRIVILEGED).map(str::to_owned)
        };
        let containerd = r#"{"pid":1,"config":{"linux":{"security_context":{"privileged":true}}}}"#;
        assert_eq!(privileged(containerd).as_deref(), Some("true"));
        assert_eq!(privileged(r#"{"config":{"linux":{"resources":{}}}}"#).as_deref(), Some("false"));
        assert_eq!(privileged(r#"{"sandboxID":"x","privileged":true}"#).as_deref(), Some("true"), "CRI-O");
        assert_eq!(privileged(r#"{"pid":1}"#), None);
    }

    #[test]
    fn containers_inherit_the_attributes_of_their_pod() {
        let map = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let pod = PodSandbox {
            id: "s".into(),
            metadata: Some(PodSandboxMetadata {
                name: "web-0".into(),
                uid: "u".into(),
                namespace: "shop".into(),
            }),
            created_at: 1,
            labels: map(&[("app", "x")]),
        };
        let container = Container {
            id: "c".into(),
            pod_sandbox_id: "s".into(),
            metadata: Some(ContainerMetadata { name: "nginx".into() }),
            image: Some(ImageSpec { image: "sha256:00".into(), user_specified_image: "nginx:1".into() }),
            created_at: 1_000_000_000,
            labels: map(&[("tier", "front")]),
            ..Container::default()
        };
        let attributes = of_container(&container, Some(&pod));
        let all: Vec<_> = attributes.iter().collect();
        let expected = [
            ("container.created", "1970-01-01T00:00:01Z"),
            ("container.image", "nginx:1"),
            ("container.label[tier]", "front"),
            ("container.name", "nginx"),
            ("k8s.ns.name", "shop"),
            ("k8s.pod.label[app]", "x"),
            ("k8s.pod.name", "web-0"),
            ("k8s.pod.uid", "u"),
        ];
        assert_eq!(all, expected);
    }
}
