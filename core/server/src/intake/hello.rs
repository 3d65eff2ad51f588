//! Reads the `ClientHello`, and nothing behind it.

use std::time::Instant;

use postern_identity::{ClientHello, Refusal, Stage, Why};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::StartHandshake;

use super::FIRST_BYTE_WAIT;
use super::handshake::{explain, send_alert};
use crate::report::Story;

/// The client has said what it wants; no key has been touched yet.
pub(crate) struct Greeted {
    pub(super) start: StartHandshake<TcpStream>,
    pub(super) hello: ClientHello,
}

/// The caller sets the deadline of the whole handshake; here is only the one of its first byte.
pub(crate) async fn read_hello(socket: TcpStream, at: Instant, story: &mut Story) -> Result<Greeted, Refusal> {
    let first_byte = tokio::time::Instant::from_std(at + FIRST_BYTE_WAIT);
    let silent = || Refusal::new(Stage::Hello, Why::TimedOut, format!("not a byte within {FIRST_BYTE_WAIT:?}"));
    // A peek and not `readable`, which may come back before there is anything to read.
    let peeked = tokio::time::timeout_at(first_byte, socket.peek(&mut [0])).await.map_err(|_| silent())?;
    peeked.map_err(|error| Refusal::new(Stage::Hello, Why::Protocol, error.to_string()))?;

    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), socket);
    let mut start = acceptor.await.map_err(|error| explain(Stage::Hello, &error))?;
    match postern_tls::sanitize_hello(&start.client_hello()) {
        Ok(hello) => {
            story.server_name.clone_from(&hello.server_name);
            Ok(Greeted { start, hello })
        }
        Err(refusal) => {
            send_alert(&mut start.io, refusal.why).await;
            Err(refusal)
        }
    }
}
