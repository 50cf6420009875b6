//! Chooses the client for a protocol: Docker's API has its own; a gRPC socket may offer CRI, containerd's API, or both.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tonic::{Code, Status};

use super::attributes::Attributes;
use super::grpc::GrpcClient;
use super::registry::{ContainerRegistry, Lookup, RequestTime};
use super::retry::LookupQueue;
use super::sockets::{Protocol, Socket};
use super::{containerd, cri, docker, events};

/// Time between two listings of all containers while lookups are pending.
const LIST_INTERVAL: Duration = Duration::from_secs(10);

/// Follows one runtime until its `lookups` are closed. Its answers go to the registry.
pub async fn follow(socket: Socket, registry: Rc<RefCell<ContainerRegistry>>, lookups: Receiver<Lookup>) {
    match socket.protocol {
        Protocol::Docker | Protocol::Podman => docker::follow(socket, registry, lookups).await,
        Protocol::Containerd | Protocol::Cri => follow_grpc(&socket, registry, lookups).await,
    }
}

async fn follow_grpc(
    socket: &Socket,
    registry: Rc<RefCell<ContainerRegistry>>,
    mut lookups: Receiver<Lookup>,
) {
    let runtime = GrpcRuntime { client: GrpcClient::new(&socket.path), protocol: socket.protocol };
    let queue = LookupQueue::new(registry);
    if runtime.protocol == Protocol::Containerd {
        tokio::task::spawn_local(events::follow(runtime.client.clone(), queue.clone()));
    }
    runtime.list(&queue);
    let mut again = tokio::time::interval_at(tokio::time::Instant::now() + LIST_INTERVAL, LIST_INTERVAL);
    loop {
        tokio::select! {
            lookup = lookups.recv() => match lookup {
                Some(lookup) => {
                    let runtime = runtime.clone();
                    queue.resolve(lookup.id, async move |id| runtime.one(id).await);
                }
                None => return,
            },
            _ = again.tick() => {
                if !queue.registry.borrow().pending(runtime.protocol).is_empty() {
                    runtime.list(&queue);
                }
            }
        }
    }
}

/// The client of a gRPC socket, and its protocol.
#[derive(Clone)]
struct GrpcRuntime {
    client: GrpcClient,
    protocol: Protocol,
}

impl GrpcRuntime {
    /// Lists all containers, in a task of its own.
    fn list(&self, queue: &LookupQueue) {
        let (this, queue) = (self.clone(), queue.clone());
        tokio::task::spawn_local(async move {
            let request = async || (RequestTime::now(), this.all().await);
            let (requested, all) = queue.run(request()).await;
            for (id, attributes) in all {
                queue.registry.borrow_mut().update(&id, &attributes, true, requested);
            }
        });
    }

    async fn all(&self) -> Vec<(String, Attributes)> {
        let mut found = or_default(cri::all(&self.client).await);
        if self.protocol == Protocol::Containerd {
            found.extend(or_default(containerd::all(&self.client).await));
        }
        found
    }

    async fn one(&self, id: &str) -> Option<Attributes> {
        let of_cri = or_default(cri::one(&self.client, id).await);
        if self.protocol != Protocol::Containerd {
            return of_cri;
        }
        match of_cri {
            None => or_default(containerd::one(&self.client, id).await),
            Some(mut attributes) => {
                containerd::add_pid(&self.client, containerd::CRI_NAMESPACE, id, &mut attributes).await;
                Some(attributes)
            }
        }
    }
}

/// The answer, or the default after an error, which is logged for debugging.
fn or_default<T: Default>(answer: Result<T, Status>) -> T {
    answer.unwrap_or_else(|status| {
        if !matches!(status.code(), Code::Unimplemented | Code::NotFound) {
            tracing::debug!(%status, "container runtime does not answer");
        }
        T::default()
    })
}
