//! gRPC over a unix socket: CRI and containerd's own API, which often share one.
//!
//! The few messages that are needed are declared beside their use: the crates that have all of them need `protoc` where
//! they are built.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc::Receiver;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::ask::{ANSWER, PATIENCE, Questions};
use super::facts::Facts;
use super::join::{Ask, Asked, Join};
use super::sockets::{Protocol, Socket};
use super::{containerd, cri, events};

/// How often everything is listed, as long as anything is not known.
const LIST: Duration = Duration::from_secs(10);

/// A runtime.
#[derive(Clone)]
pub struct Server {
    channel: Channel,
    protocol: Protocol,
}

impl Server {
    /// One at this socket; connected to when something is asked.
    fn new(socket: &Socket) -> Self {
        let path: Arc<PathBuf> = Arc::new(socket.path.clone());
        let connect = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(&*path).await.map(TokioIo::new) }
        });
        // The name is only what HTTP/2 wants to be told.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect);
        Self { channel, protocol: socket.protocol }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// There is none in time, or it is an error.
    pub async fn call<Q, A>(
        &self,
        path: &'static str,
        question: Q,
        namespace: Option<&str>,
    ) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut request = Request::new(question);
        if let Some(namespace) = namespace {
            let value = MetadataValue::try_from(namespace)
                .map_err(|_| Status::invalid_argument("no name of a namespace"))?;
            request.metadata_mut().insert("containerd-namespace", value);
        }
        let whole = async {
            let codec = ProstCodec::<Q, A>::default();
            let path = PathAndQuery::from_static(path);
            Ok(self.client().await?.unary(request, path, codec).await?.into_inner())
        };
        let late = || Err(Status::deadline_exceeded("no answer"));
        tokio::time::timeout(PATIENCE, whole).await.unwrap_or_else(|_| late())
    }

    /// Asks for a stream of answers. It may be there with the first of them only.
    ///
    /// # Errors
    /// There is none.
    pub async fn stream<Q, A>(&self, path: &'static str, question: Q) -> Result<Streaming<A>, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let mut client = self.client().await?;
        Ok(client.server_streaming(Request::new(question), path, codec).await?.into_inner())
    }

    async fn client(&self) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(client)
    }
}

/// Follows a runtime as long as anyone asks.
pub async fn follow(socket: Socket, join: Rc<RefCell<Join>>, mut asks: Receiver<Ask>) {
    let server = Server::new(&socket);
    let questions = Questions::new(join);
    if socket.protocol == Protocol::Containerd {
        tokio::task::spawn_local(events::follow(server.clone(), questions.clone()));
    }
    list(&server, &questions);
    let mut again = tokio::time::interval_at(tokio::time::Instant::now() + LIST, LIST);
    loop {
        tokio::select! {
            ask = asks.recv() => match ask {
                Some(ask) => {
                    let server = server.clone();
                    questions.ask_for(ask.id, async move |id| one(&server, id).await);
                }
                None => return,
            },
            _ = again.tick() => {
                if !questions.join.borrow().open(socket.protocol).is_empty() {
                    list(&server, &questions);
                }
            }
        }
    }
}

/// Asks for all containers, beside everything else.
fn list(server: &Server, questions: &Questions) {
    let (server, questions) = (server.clone(), questions.clone());
    tokio::task::spawn_local(async move {
        let asked = async || (Asked::now(), all(&server).await);
        let (asked, all) = questions.ask(asked()).await;
        for (id, facts) in all {
            questions.join.borrow_mut().learn(&id, &facts, true, asked);
        }
    });
}

async fn all(server: &Server) -> Vec<(String, Facts)> {
    let mut found = in_words(cri::all(server).await);
    if server.protocol == Protocol::Containerd {
        found.extend(in_words(containerd::all(server).await));
    }
    found
}

async fn one(server: &Server, id: &str) -> Option<Facts> {
    let of_cri = in_words(cri::one(server, id).await);
    if server.protocol != Protocol::Containerd {
        return of_cri;
    }
    match of_cri {
        None => in_words(containerd::one(server, id).await),
        Some(mut facts) => {
            containerd::add_pid(server, containerd::OF_KUBELET, id, &mut facts).await;
            Some(facts)
        }
    }
}

/// What was answered; why there is no answer is only for those who look for it.
fn in_words<T: Default>(answer: Result<T, Status>) -> T {
    answer.unwrap_or_else(|status| {
        if !matches!(status.code(), Code::Unimplemented | Code::NotFound) {
            tracing::debug!(%status, "a runtime does not answer");
        }
        T::default()
    })
}
