//! Runs pods as the kubelet does: through containerd's CRI.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::UnixStream;
use tonic::transport::{Endpoint, Uri};
use tonic_prost::ProstCodec;

use super::{Engine, IMAGE, run};

#[derive(Clone, PartialEq, prost::Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(string, tag = "3")]
    log_directory: String,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
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
struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security_context: Option<SecurityContext>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamespaceOption {
    /// 2 means the host's network, which needs no network plugin.
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EmptyResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Id>,
    #[prost(message, optional, tag = "2")]
    image: Option<Id>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(map = "string, string", tag = "9")]
    labels: HashMap<String, String>,
}

/// A pod with its containers.
pub struct Pod {
    /// ID of the container that holds its namespaces.
    pub sandbox: String,
    /// IDs of its containers, in order.
    pub containers: Vec<String>,
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Engine {
    /// Runs a pod with these containers (name and labels), each with the same command. The first tuple is the pod's
    /// namespace, name and UID.
    ///
    /// # Panics
    /// If containerd reports an error.
    pub fn pod(
        &self,
        (namespace, name, uid): (&str, &str, &str),
        labels: &[(&str, &str)],
        containers: &[(&str, &[(&str, &str)])],
        command: &[&str],
    ) -> Pod {
        let parent = format!("/kubepods/burstable/pod{uid}");
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                uid: uid.into(),
                namespace: namespace.into(),
            }),
            log_directory: self.path("logs"),
            labels: map(labels),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: parent.clone(),
                security_context: Some(SecurityContext {
                    namespace_options: Some(NamespaceOption { network: 2 }),
                }),
            }),
        };
        let sandbox: Id = self.call("RunPodSandbox", RunPodSandboxRequest { config: Some(config.clone()) });
        self.cgroups().push(format!("{parent}/{}", sandbox.id));
        let mut ids = Vec::new();
        for (name, labels) in containers {
            let request = CreateContainerRequest {
                pod_sandbox_id: sandbox.id.clone(),
                config: Some(ContainerConfig {
                    metadata: Some(Id { id: (*name).into() }),
                    image: Some(Id { id: IMAGE.into() }),
                    command: command.iter().map(|word| (*word).to_owned()).collect(),
                    labels: map(labels),
                }),
                sandbox_config: Some(config.clone()),
            };
            let container: Id = self.call("CreateContainer", request);
            self.cgroups().push(format!("{parent}/{}", container.id));
            let _: EmptyResponse = self.call("StartContainer", container.clone());
            ids.push(container.id);
        }
        Pod { sandbox: sandbox.id, containers: ids }
    }

    /// Stops and removes a pod with all its containers.
    ///
    /// # Panics
    /// If containerd reports an error.
    pub fn remove_pod(&self, pod: &Pod) {
        let id = || Id { id: pod.sandbox.clone() };
        let _: EmptyResponse = self.call("StopPodSandbox", id());
        let _: EmptyResponse = self.call("RemovePodSandbox", id());
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let path = Arc::new(self.socket());
        let response = reactor.block_on(async move {
            let connect = tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(&*path).await.map(TokioIo::new) }
            });
            let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await;
            let mut client = tonic::client::Grpc::new(channel.expect("containerd listens"));
            client.ready().await.expect("containerd listens");
            let path = format!("/runtime.v1.RuntimeService/{method}").parse().expect("a path");
            client.unary(tonic::Request::new(request), path, ProstCodec::<Q, A>::default()).await
        });
        let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
        response.unwrap_or_else(|status| panic!("{method}: {status}\n{}", log())).into_inner()
    }

    /// Builds an OCI image by hand and imports it for the CRI, because there is no registry.
    pub(super) fn import_for_cri(&self) {
        let dir = self.dir().join("oci");
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("a directory");
        let put = |content: &[u8]| -> String {
            let file = dir.join("blob");
            fs::write(&file, content).expect("a file");
            let sum = run(Command::new("sha256sum").arg(&file));
            let digest = sum.split(' ').next().expect("a sum").to_owned();
            fs::rename(&file, blobs.join(&digest)).expect("the same file system");
            digest
        };
        let layer = fs::read(self.path("rootfs.tar")).expect("the layer");
        let layer_digest = put(&layer);
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/bin/sleep", "1000"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
        })
        .to_string();
        let config_digest = put(config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": format!("sha256:{config_digest}"), "size": config.len() },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": format!("sha256:{layer_digest}"), "size": layer.len() }],
        })
        .to_string();
        let manifest_digest = put(manifest.as_bytes());
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{ "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": format!("sha256:{manifest_digest}"), "size": manifest.len(),
                "annotations": { "io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": "1" } }],
        });
        fs::write(dir.join("index.json"), index.to_string()).expect("a file");
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
        let tar = self.path("image.tar");
        run(Command::new("tar").arg("-C").arg(&dir).args(["-cf", &tar, "blobs", "index.json", "oci-layout"]));
        self.must(&["-n", "k8s.io", "images", "import", "--snapshotter", "native", &tar]);
    }
}
