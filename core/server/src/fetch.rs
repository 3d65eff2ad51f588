//! Gets what listeners need from elsewhere, revocation lists and OCSP responses, by plain HTTP: both are signed, and
//! a responder behind TLS could need itself to be verified. Never on the way of a connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longest header of an answer, in bytes.
const HEADER_BYTES: usize = 16 * 1024;

/// What is asked for.
pub(crate) struct Question<'q> {
    pub(crate) url: &'q str,
    /// Sent by POST with this media type; none is GET.
    pub(crate) body: Option<(&'static str, Vec<u8>)>,
    pub(crate) accept: &'static str,
}

/// How much is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// From the beginning of the connection to the last byte.
    pub(crate) timeout: Duration,
    /// Longest body, in bytes.
    pub(crate) bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{0} is not an http:// address")]
    Address(String),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// Whether [`fetch`] would try it.
pub(crate) fn is_fetchable(url: &str) -> bool {
    authority(url).is_some()
}

fn authority(url: &str) -> Option<(Uri, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let is_http = uri.scheme_str() == Some("http");
    let host = uri.host().filter(|host| is_http && !host.is_empty())?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(80);
    Some((uri, host, port))
}

/// Asks once. Redirections are not followed: they would lead where the operator did not point.
pub(crate) async fn fetch(question: Question<'_>, bounds: Bounds) -> Result<Bytes, FetchError> {
    let timeout = bounds.timeout;
    tokio::time::timeout(timeout, ask(question, bounds.bytes)).await.map_err(|_| FetchError::TimedOut(timeout))?
}

async fn ask(question: Question<'_>, max_bytes: usize) -> Result<Bytes, FetchError> {
    let Question { url, body, accept } = question;
    let (uri, host, port) = authority(url).ok_or_else(|| FetchError::Address(url.to_owned()))?;
    let socket = TcpStream::connect((host, port)).await.map_err(FetchError::Connect)?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(HEADER_BYTES).handshake(TokioIo::new(socket)).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let named = uri.authority().map_or("", |authority| authority.as_str());
    let mut request = Request::builder().uri(path).header(HOST, named).header(ACCEPT, accept);
    let mut content = Bytes::new();
    if let Some((media_type, body)) = body {
        request = request.method(Method::POST).header(CONTENT_TYPE, media_type);
        content = body.into();
    }
    let request = request.body(Full::new(content)).map_err(|_| FetchError::Address(url.to_owned()))?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        if answer.body().size_hint().lower() > max_bytes as u64 {
            return Err(FetchError::TooLong(max_bytes));
        }
        let body = Limited::new(answer.into_body(), max_bytes).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                FetchError::TooLong(max_bytes)
            } else {
                FetchError::Broken(error.to_string())
            }
        })
    };
    // The connection is driven here and nowhere else: it is gone when this is.
    tokio::select! {
        biased;
        answer = exchange => answer,
        ended = async { connection.await?; std::future::pending::<Result<(), FetchError>>().await } => {
            Err(ended.err().unwrap_or_else(|| FetchError::Broken("the connection was closed".to_owned())))
        }
    }
}
