//! Reads the `ClientHello`, and nothing behind it.

use std::io;
use std::time::Instant;

use postern_identity::{ClientHello, Refusal, Stage, Why};
use postern_tls::Opening;
use rustls::server::{Accepted, Acceptor};
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;

use super::FIRST_BYTE_WAIT;
use super::handshake::{explain, send, send_alert};
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

    let (accepted, mut socket) = accept(socket, story).await?;
    match postern_tls::sanitize_hello(&accepted.client_hello()) {
        Ok(hello) => {
            story.server_name.clone_from(&hello.server_name);
            Ok(Greeted { start: StartHandshake::from_parts(accepted, socket), hello })
        }
        Err(refusal) => {
            send_alert(&mut socket, refusal.why).await;
            Err(refusal)
        }
    }
}

/// Reads until the message is whole. A loop of our own, since the alert is to fit what was wrong with it.
async fn accept(mut socket: TcpStream, story: &mut Story) -> Result<(Accepted, TcpStream), Refusal> {
    let mut acceptor = Acceptor::default();
    let mut opening = Opening::default();
    loop {
        let read = match socket.readable().await {
            Ok(()) => acceptor.read_tls(&mut Readable { socket: &socket, opening: &mut opening }),
            Err(error) => Err(error),
        };
        match read {
            Ok(0) => return Err(explain(Stage::Hello, &io::ErrorKind::UnexpectedEof.into(), (None, None), story)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(explain(Stage::Hello, &error, (None, None), story)),
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok((accepted, socket)),
            Err((error, alert)) => {
                let (reason, detail, record) = opening.refuse(&error, alert);
                send(&mut socket, &record).await;
                story.reason = Some(reason);
                return Err(Refusal::new(Stage::Hello, reason.why(), detail));
            }
        }
    }
}

/// What can be read without waiting.
struct Readable<'a> {
    socket: &'a TcpStream,
    opening: &'a mut Opening,
}

impl io::Read for Readable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.try_read(buffer)?;
        self.opening.see(&buffer[..count]);
        Ok(count)
    }
}
