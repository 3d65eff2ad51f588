//! The TLS handshake, with the verification of the client's certificate.

use std::io;
use std::sync::Arc;

use postern_identity::{CertFacts, ClientAuthWish, ClientHello, Refusal, Stage, TlsSession, Why};
use postern_tls::{Bundle, Reason, Verdict};
use rustls::{HandshakeKind, ServerConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::choose::Chosen;
use crate::clock::now_unix_s;
use crate::metrics::tls_word;
use crate::policy::TlsGate;
use crate::report::Story;

/// The handshake is done; `chain` is empty where the client showed no certificate.
pub(crate) struct Secured {
    pub(super) stream: Box<TlsStream<TcpStream>>,
    pub(super) hello: ClientHello,
    /// The verified path, the client's certificate first, the trust anchor last.
    pub(super) chain: Vec<Arc<CertFacts>>,
    pub(super) namespace_open: bool,
    /// The one that answered, and how strictly a plugin asked for a certificate.
    pub(super) bundle: Arc<Bundle>,
    pub(super) client_auth: ClientAuthWish,
}

impl Chosen {
    /// The caller sets the deadline.
    pub(super) async fn handshake(self, tls: &TlsGate, story: &mut Story) -> Result<Secured, Refusal> {
        let Self { start, hello, bundle, client_auth, namespace_open } = self;
        let config = tls
            .configs
            .get(&bundle, client_auth)
            .map_err(|error| Refusal::new(Stage::Handshake, Why::Unavailable, error.to_string()))?;
        let (stream, verdict) = postern_tls::observed(start.into_stream(config)).await;
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => return Err(explain(Stage::Handshake, &error, (verdict.as_ref(), Some(&hello)), story)),
        };
        let (_, session) = stream.get_ref();
        story.tls = agreed(session);
        let verdict = match (verdict, session.peer_certificates()) {
            // What was true when the session began need not be true any more.
            (None, Some(presented)) => tls
                .configs
                .judge(&bundle, client_auth, presented, now_unix_s())
                .map_err(|error| Refusal::new(Stage::Handshake, Why::Unavailable, error.to_string()))?,
            (verdict, _) => verdict,
        };
        let chain = verdict.transpose().map_err(|rejected| {
            let reason = rejected.reason();
            story.reason = Some(reason);
            Refusal::new(Stage::Handshake, reason.why(), rejected.to_string())
        })?;
        let chain = chain.unwrap_or_default();
        Ok(Secured { stream: Box::new(stream), hello, chain, namespace_open, bundle, client_auth })
    }
}

/// There once the handshake is done.
fn agreed(session: &ServerConnection) -> Option<TlsSession> {
    let version = tls_word(session.protocol_version()?);
    let cipher_suite = u16::from(session.negotiated_cipher_suite()?.suite());
    Some(TlsSession { version, cipher_suite, resumed: session.handshake_kind() == Some(HandshakeKind::Resumed) })
}

/// An error of the TLS library in the words of the log.
pub(super) fn explain(
    at: Stage,
    error: &io::Error,
    (verdict, hello): (Option<&Verdict>, Option<&ClientHello>),
    story: &mut Story,
) -> Refusal {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let (reason, detail) = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => postern_tls::explain(tls, verdict, hello),
        None if matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe) => {
            (Reason::Closed, "the client closed the connection in the middle of the handshake".to_owned())
        }
        None => (Reason::BadMessage, error.to_string()),
    };
    story.reason = Some(reason);
    Refusal::new(at, reason.why(), detail)
}

/// Tells the client why, where no TLS configuration was chosen yet and the alert goes in the clear.
pub(super) async fn send_alert(socket: &mut TcpStream, why: Why) {
    send(socket, &postern_tls::plaintext_alert(why.alert())).await;
}

/// Ends the connection with this record.
pub(super) async fn send(socket: &mut TcpStream, alert: &[u8]) {
    // Some bytes into an empty send buffer: this does not wait, and if the peer is gone nobody minds.
    let _ = socket.write_all(alert).await;
    let _ = socket.shutdown().await;
}
