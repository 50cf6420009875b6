//! gRPC over a unix socket: the transport of CRI and of containerd's own API.
//!
//! The few messages that are needed are declared where they are used: crates with all messages need `protoc` to build.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::retry::{ANSWER_MAX, ANSWER_TIMEOUT};

/// A client of one unix socket; connects with the first call, and again after the connection was lost.
#[derive(Clone)]
pub struct GrpcClient {
    channel: Channel,
}

impl GrpcClient {
    /// A client of the socket at `path`.
    pub fn new(path: &Path) -> Self {
        let path: Arc<PathBuf> = Arc::new(path.to_owned());
        let connect = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(&*path).await.map(TokioIo::new) }
        });
        // HTTP/2 requires a host name.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect);
        Self { channel }
    }

    /// Calls a method, in a containerd `namespace` if one is given.
    ///
    /// # Errors
    /// The runtime reports an error, or does not answer within [`ANSWER_TIMEOUT`].
    pub async fn call<Q, A>(
        &self,
        path: &'static str,
        message: Q,
        namespace: Option<&str>,
    ) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut request = Request::new(message);
        if let Some(namespace) = namespace {
            let value = MetadataValue::try_from(namespace)
                .map_err(|_| Status::invalid_argument("not a valid namespace name"))?;
            request.metadata_mut().insert("containerd-namespace", value);
        }
        let whole = async {
            let codec = ProstCodec::<Q, A>::default();
            let path = PathAndQuery::from_static(path);
            Ok(self.client().await?.unary(request, path, codec).await?.into_inner())
        };
        let timed_out = || Err(Status::deadline_exceeded("no answer in time"));
        tokio::time::timeout(ANSWER_TIMEOUT, whole).await.unwrap_or_else(|_| timed_out())
    }

    /// Calls a method that answers with a stream. Some servers send nothing, not even headers, before the first message.
    ///
    /// # Errors
    /// The runtime cannot be reached, or reports an error.
    pub async fn stream<Q, A>(&self, path: &'static str, message: Q) -> Result<Streaming<A>, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let mut client = self.client().await?;
        Ok(client.server_streaming(Request::new(message), path, codec).await?.into_inner())
    }

    async fn client(&self) -> Result<tonic::client::Grpc<Channel>, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(client)
    }
}
