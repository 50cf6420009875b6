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
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::join::{Ask, Join};
use super::sockets::{Protocol, Socket};
use super::{containerd, cri};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How large an answer may be, bytes.
const ANSWER: usize = 32 << 20;
/// Questions at a time.
const AT_ONCE: usize = 4;
/// When a container is asked for again that was not known yet.
const TRIES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
];
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
            let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER);
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            Ok(client.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner())
        };
        let late = || Err(Status::deadline_exceeded("no answer"));
        tokio::time::timeout(PATIENCE, whole).await.unwrap_or_else(|_| late())
    }
}

/// Follows a runtime as long as anyone asks.
pub async fn follow(socket: Socket, join: Rc<RefCell<Join>>, mut asks: Receiver<Ask>) {
    let server = Server::new(&socket);
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    list(&server, &join, &permits);
    let mut again = tokio::time::interval_at(tokio::time::Instant::now() + LIST, LIST);
    loop {
        tokio::select! {
            ask = asks.recv() => match ask {
                Some(ask) => tell(&server, &join, &permits, ask.id),
                None => return,
            },
            _ = again.tick() => {
                if !join.borrow().open(socket.protocol).is_empty() {
                    list(&server, &join, &permits);
                }
            }
        }
    }
}

/// Asks for all containers, beside everything else.
fn list(server: &Server, join: &Rc<RefCell<Join>>, permits: &Arc<Semaphore>) {
    let (server, join, permits) = (server.clone(), Rc::clone(join), Arc::clone(permits));
    tokio::task::spawn_local(async move {
        let Ok(_permit) = permits.acquire().await else { return };
        for (id, facts) in in_words(cri::all(&server).await) {
            join.borrow_mut().learn(&id, &facts, true);
        }
        if server.protocol == Protocol::Containerd {
            for (id, facts) in in_words(containerd::all(&server).await) {
                join.borrow_mut().learn(&id, &facts, true);
            }
        }
    });
}

/// Asks for one container, beside everything else.
fn tell(server: &Server, join: &Rc<RefCell<Join>>, permits: &Arc<Semaphore>, id: String) {
    let (server, join, permits) = (server.clone(), Rc::clone(join), Arc::clone(permits));
    tokio::task::spawn_local(async move {
        for pause in TRIES {
            if !join.borrow().is_open(&id) {
                return;
            }
            let found = {
                let Ok(_permit) = permits.acquire().await else { return };
                let mut found = in_words(cri::one(&server, &id).await);
                if found.is_none() && server.protocol == Protocol::Containerd {
                    found = in_words(containerd::one(&server, &id).await);
                }
                found
            };
            if let Some(facts) = found {
                join.borrow_mut().learn(&id, &facts, true);
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
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
