//! HTTP/1.1 over a unix socket: one connection for each request, bounded in time and size.

use std::io;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::retry::{ANSWER_MAX, ANSWER_TIMEOUT};

/// How long a line of a stream may be, bytes.
const LINE: usize = 1 << 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Connecting to the socket failed.
    #[error("cannot connect: {0}")]
    Io(#[from] io::Error),
    /// The answer is not HTTP, or the connection broke.
    #[error("not HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// No answer within [`ANSWER_TIMEOUT`].
    #[error("no answer in {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut,
    /// Neither 200 nor 404.
    #[error("status {0}")]
    Status(StatusCode),
    /// The body is larger than [`ANSWER_MAX`], or incomplete.
    #[error("cannot read the answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The body is not the JSON that the API promises.
    #[error("not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
}

async fn request(socket: &Path, path: &str) -> Result<Response<Incoming>, HttpError> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the response, whose reader sees what went wrong.
    tokio::task::spawn_local(connection);
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, concat!("ktape/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(sender.send_request(request).await?)
}

/// The answer to a GET request; `None` for status 404.
///
/// # Errors
/// There is no answer in time, or it is not what it should be.
pub async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<Option<T>, HttpError> {
    let whole = async {
        let response = request(socket, path).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            other => return Err(HttpError::Status(other)),
        }
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(HttpError::Body)?;
        Ok(Some(serde_json::from_slice(&body.to_bytes())?))
    };
    tokio::time::timeout(ANSWER_TIMEOUT, whole).await.unwrap_or(Err(HttpError::TimedOut))
}

/// JSON values, one a line, without end.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    read: Vec<u8>,
}

impl Lines {
    /// Begins to read them.
    ///
    /// # Errors
    /// There is no answer in time, or it is not what it should be.
    pub async fn open(socket: &Path, path: &str) -> Result<Self, HttpError> {
        let response = tokio::time::timeout(ANSWER_TIMEOUT, request(socket, path)).await;
        let response = response.unwrap_or(Err(HttpError::TimedOut))?;
        match response.status() {
            StatusCode::OK => Ok(Self { body: response.into_body(), read: Vec::new() }),
            other => Err(HttpError::Status(other)),
        }
    }

    /// The next one, as soon as it is there; `None` at the end. May be dropped while it waits.
    ///
    /// # Errors
    /// The stream breaks, or it is no JSON.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, HttpError> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.read.len() > LINE {
                return Err(HttpError::Body("a line without end".into()));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                None => return Ok(None),
            }
        }
    }
}
