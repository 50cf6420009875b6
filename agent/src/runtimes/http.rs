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

/// Longest line of a stream, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The socket does not accept the connection.
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
    /// The body or a line is too long, or the body is incomplete.
    #[error("cannot read the answer: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The body is not the JSON that the API specifies.
    #[error("not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
}

async fn request(socket: &Path, path: &str) -> Result<Response<Incoming>, HttpError> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the response; the reader of the response gets its errors.
    tokio::task::spawn_local(connection);
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, concat!("ktape/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(sender.send_request(request).await?)
}

/// Sends a GET request and returns the answer; `None` for status 404.
///
/// # Errors
/// There is no answer in time, or it cannot be parsed.
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

/// An endless stream of JSON values, one per line.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    read: Vec<u8>,
}

impl Lines {
    /// Opens the stream.
    ///
    /// # Errors
    /// There is no answer in time, or its status is not 200.
    pub async fn open(socket: &Path, path: &str) -> Result<Self, HttpError> {
        let response = tokio::time::timeout(ANSWER_TIMEOUT, request(socket, path)).await;
        let response = response.unwrap_or(Err(HttpError::TimedOut))?;
        match response.status() {
            StatusCode::OK => Ok(Self { body: response.into_body(), read: Vec::new() }),
            other => Err(HttpError::Status(other)),
        }
    }

    /// Waits for the next value; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// The connection breaks, or a line is too long or not the expected JSON.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, HttpError> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.read.len() > LINE_BYTES_MAX {
                return Err(HttpError::Body("a line is too long".into()));
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
