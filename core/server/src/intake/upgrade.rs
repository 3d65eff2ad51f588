//! The WebSocket upgrade (RFC 6455 section 4.2). The request is read and judged here, within a bound and
//! the deadline of CONNECT; on `wss` this comes after the TLS handshake and after the gate has decided.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use postern_config::WebSocket;
use postern_identity::{DnsName, Refusal, Stage, Why};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tungstenite::error::{Error, ProtocolError};
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tungstenite::http::HeaderValue;

use super::websocket::{FrameLimits, WebSocketBytes};
use super::{Identified, Stream};
use crate::drive::connection::say_farewell;
use crate::policy::ListenerPolicy;
use crate::report::Story;

/// Longest request, with all its headers, in bytes.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Headers of one request. Browsers send about fifteen.
const HEADERS_MAX: usize = 64;

/// A refused client reads its answer within this time.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// MQTT can be read; in WebSocket frames where the listener speaks them.
pub(super) struct Carried(pub(super) Identified);

impl Identified {
    /// A refusal is told with an HTTP status.
    pub(super) async fn carry(self, policy: &ListenerPolicy, at: Instant, story: &Story) -> Result<Carried, Refusal> {
        let Some(websocket) = &policy.websocket else { return Ok(Carried(self)) };
        let Self { mut stream, identity, common_name, credential } = self;
        let deadline = tokio::time::Instant::from_std(at + policy.connect_wait);
        let upgrade = upgrade(&mut stream, websocket, story.server_name.as_ref());
        let late = || {
            let detail = format!("no WebSocket upgrade within {:?} of the connection's begin", policy.connect_wait);
            Refusal::new(Stage::Upgrade, Why::TimedOut, detail)
        };
        let early = tokio::time::timeout_at(deadline, upgrade).await.map_err(|_| late())??;
        let bytes = usize::try_from(websocket.max_frame_bytes).unwrap_or(usize::MAX);
        // Room for the longest CONNECT and for packets sent behind it.
        let stranger_bytes = usize::try_from(policy.link_limits.connect_packet_bytes).unwrap_or(usize::MAX);
        let limits = FrameLimits { stranger_bytes: bytes.min(2 * stranger_bytes), bytes, idle: websocket.idle_timeout };
        let stream = Stream::WebSocket(Box::new(WebSocketBytes::new(stream, early, limits)));
        Ok(Carried(Identified { stream, identity, common_name, credential }))
    }
}

/// Gives the bytes that came behind the request.
async fn upgrade(
    stream: &mut Stream,
    websocket: &WebSocket,
    server_name: Option<&DnsName>,
) -> Result<Vec<u8>, Refusal> {
    let protocol = |detail: String| Refusal::new(Stage::Upgrade, Why::Protocol, detail);
    let judged = match read_head(stream).await.map_err(protocol)? {
        None => Err(Rejection::new("431 Request Header Fields Too Large", "the request is too long")),
        Some((head, early)) => {
            parse(&head).and_then(|request| judge(&request, websocket, server_name)).map(|response| (response, early))
        }
    };
    match judged {
        Ok((response, early)) => {
            let mut answer = Vec::new();
            write_response(&mut answer, &response).map_err(|error| protocol(error.to_string()))?;
            stream.write_all(&answer).await.map_err(|error| protocol(error.to_string()))?;
            stream.flush().await.map_err(|error| protocol(error.to_string()))?;
            Ok(early)
        }
        Err(rejection) => {
            let mut answer = BytesMut::from(rejection.answer().as_bytes());
            let _ = tokio::time::timeout(ANSWER_WAIT, say_farewell(stream, &mut answer)).await;
            Err(protocol(format!("{}: {}", rejection.status, rejection.why)))
        }
    }
}

/// The request up to its empty line, and what came behind it; none where it is too long.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<(Vec<u8>, Vec<u8>)>, String> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::with_capacity(1024);
    loop {
        let seen = head.len();
        let room = u64::try_from(REQUEST_BYTES_MAX - seen).unwrap_or(0);
        match (&mut *stream).take(room).read_buf(&mut head).await {
            Ok(0) => return Err("the client closed the connection before it asked for the upgrade".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        if !head[0].is_ascii_uppercase() {
            return Err("no HTTP request; does the client speak MQTT without WebSocket?".to_owned());
        }
        let from = seen.saturating_sub(END.len() - 1);
        if let Some(at) = head[from..].windows(END.len()).position(|window| window == END) {
            let early = head.split_off(from + at + END.len());
            return Ok(Some((head, early)));
        }
        if head.len() >= REQUEST_BYTES_MAX {
            return Ok(None);
        }
    }
}

/// Why there is no upgrade.
#[derive(Debug, PartialEq, Eq)]
struct Rejection {
    /// Code and phrase (RFC 9110 section 15).
    status: &'static str,
    /// For the client and the log; foreign text in it is escaped.
    why: String,
}

impl Rejection {
    fn new(status: &'static str, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }

    fn bad(why: impl Into<String>) -> Self {
        Self::new("400 Bad Request", why)
    }

    fn answer(&self) -> String {
        let Self { status, why } = self;
        // RFC 6455 section 4.4: whoever asked for another version learns of this one.
        let version =
            if status.starts_with("426") { "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n" } else { "" };
        let length = why.len() + 1;
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n{version}\
             Content-Length: {length}\r\n\r\n{why}\n"
        )
    }
}

fn parse(head: &[u8]) -> Result<Request, Rejection> {
    match Request::try_parse(head) {
        Ok(Some((_, request))) if request.headers().len() > HEADERS_MAX => {
            Err(Rejection::new("431 Request Header Fields Too Large", format!("more than {HEADERS_MAX} headers")))
        }
        Ok(Some((_, request))) => Ok(request),
        Ok(None) => Err(Rejection::bad("the request has no end")),
        Err(Error::Protocol(ProtocolError::WrongHttpMethod)) => {
            Err(Rejection::new("405 Method Not Allowed", "an upgrade is asked for with GET"))
        }
        Err(error) => Err(Rejection::bad(Refusal::foreign(&error.to_string()))),
    }
}

/// The answer to a request that may go on.
fn judge(request: &Request, websocket: &WebSocket, server_name: Option<&DnsName>) -> Result<Response, Rejection> {
    judge_host(request, server_name)?;
    if request.uri().path() != websocket.mqtt_path {
        let path = Refusal::foreign(request.uri().path());
        return Err(Rejection::new("404 Not Found", format!("nothing is served under {path}")));
    }
    let mut response = create_response(request).map_err(|error| match error {
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader,
        ) => Rejection::new("426 Upgrade Required", "MQTT is served here over WebSocket, version 13"),
        other => Rejection::bad(other.to_string()),
    })?;
    judge_origin(request, websocket)?;
    if let Some(name) = choose_subprotocol(request, websocket)? {
        let value = HeaderValue::from_str(name).map_err(|error| Rejection::bad(error.to_string()))?;
        response.headers_mut().insert("sec-websocket-protocol", value);
    }
    Ok(response)
}

/// Whose connection it is was decided by the TLS name. A request for another host would be served as
/// somebody it did not ask for, so it is refused (RFC 9110 section 15.5.20).
fn judge_host(request: &Request, server_name: Option<&DnsName>) -> Result<(), Rejection> {
    if request.uri().authority().is_some() {
        return Err(Rejection::bad("the request names a path and its host apart"));
    }
    let mut hosts = request.headers().get_all("host").iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Rejection::bad("a request has one Host header"));
    };
    let Some(server_name) = server_name else { return Ok(()) };
    let host = host.to_str().unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    if DnsName::new(name).is_ok_and(|name| name == *server_name) {
        return Ok(());
    }
    let why = format!("the Host header says {}, the TLS handshake {server_name}", Refusal::foreign(host));
    Err(Rejection::new("421 Misdirected Request", why))
}

fn judge_origin(request: &Request, websocket: &WebSocket) -> Result<(), Rejection> {
    let Some(origins) = &websocket.origins else { return Ok(()) };
    let mut given = request.headers().get_all("origin").iter().peekable();
    if given.peek().is_none() && origins.absence_allowed {
        return Ok(());
    }
    let mut given = given.map(|origin| origin.to_str().unwrap_or_default());
    let allowed = |origin: &str| origins.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
    match (given.next(), given.next()) {
        (Some(origin), None) if allowed(origin) => Ok(()),
        (None, _) => Err(Rejection::new("403 Forbidden", "a request without an Origin header")),
        (Some(origin), _) => {
            let why = format!("pages from {} may not connect", Refusal::foreign(origin));
            Err(Rejection::new("403 Forbidden", why))
        }
    }
}

/// The first one offered that is spoken here [MQTT-6.0.0-3], [MQTT-6.0.0-4].
fn choose_subprotocol<'w>(request: &Request, websocket: &'w WebSocket) -> Result<Option<&'w str>, Rejection> {
    let given = || request.headers().get_all("sec-websocket-protocol").iter();
    if given().next().is_none() {
        if websocket.subprotocol_required {
            return Err(Rejection::bad("no sub-protocol is offered; MQTT's is `mqtt`"));
        }
        return Ok(None);
    }
    let mut offered = given().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim);
    let chosen = offered.find_map(|name| websocket.subprotocols.iter().find(|ours| *ours == name));
    chosen.map(|name| Some(name.as_str())).ok_or_else(|| {
        let all = given().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(", ");
        Rejection::bad(format!("no sub-protocol of {} is spoken here", Refusal::foreign(&all)))
    })
}

#[cfg(test)]
mod tests;
