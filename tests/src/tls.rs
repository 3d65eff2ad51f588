//! An honest TLS client, told what to offer, that reports what it was served and how it was refused.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::pki::Credentials;
use crate::raw::{ANSWER_WITHIN, Duplex, RawClient, timed_out};
use crate::wire::{self, Connect, Packet, kind};

/// A TLS client over TCP.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// What the client offers.
#[derive(Clone, Default)]
pub struct Offer {
    /// The name to ask for; none sends no server_name extension.
    pub server_name: Option<String>,
    /// The certificate to show where one is asked for.
    pub credentials: Option<Credentials>,
    /// The protocols of the ALPN extension.
    pub alpn: Vec<Vec<u8>>,
    /// Offer TLS 1.2 alone.
    pub tls12_only: bool,
}

/// Asks for a name and shows no certificate.
pub fn naming(server_name: &str) -> Offer {
    Offer { server_name: Some(server_name.to_owned()), ..Offer::default() }
}

/// Asks for no name and shows no certificate.
pub fn nameless() -> Offer {
    Offer::default()
}

/// How an attempt to enter ended.
pub enum Entry {
    /// CONNACK 0.
    Admitted(Box<RawClient<TlsStream>>, Packet),
    /// The handshake ended with this alert.
    Alert(AlertDescription),
    /// The handshake was complete, CONNACK said no.
    Connack(u8),
    /// The socket was closed without a word.
    Closed,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Admitted(_, connack) => write!(f, "admitted with {connack:02x?}"),
            Self::Alert(alert) => write!(f, "alert {alert:?}"),
            Self::Connack(code) => write!(f, "CONNACK {code:#04x}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

impl Entry {
    /// The client, which must have been let in.
    pub fn admitted(self) -> RawClient<TlsStream> {
        match self {
            Self::Admitted(client, _) => *client,
            other => panic!("not let in: {other:?}"),
        }
    }

    /// The alert, which must have ended the handshake.
    pub fn alert(self) -> AlertDescription {
        match self {
            Self::Alert(alert) => alert,
            other => panic!("no alert: {other:?}"),
        }
    }

    /// The CONNACK's code, which must have refused the client.
    pub fn connack(self) -> u8 {
        match self {
            Self::Connack(code) => code,
            other => panic!("no refusing CONNACK: {other:?}"),
        }
    }

    /// Whether the client was let in.
    pub fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted(..))
    }
}

impl Offer {
    /// Shows this certificate.
    #[must_use]
    pub fn showing(mut self, credentials: &Credentials) -> Self {
        self.credentials = Some(credentials.clone());
        self
    }

    /// Offers these protocols.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Offers TLS 1.2 alone.
    #[must_use]
    pub fn tls12(mut self) -> Self {
        self.tls12_only = true;
        self
    }

    /// The configuration for rustls. The server's certificate is taken as it comes: which one it is is what the tests ask.
    pub fn config(&self) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[_] = if self.tls12_only { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(algorithms(&provider))));
        let mut config = match &self.credentials {
            None => builder.with_no_client_auth(),
            Some(shown) => builder.with_client_auth_cert(shown.chain.clone(), shown.private_key()).unwrap(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.enable_sni = self.server_name.is_some();
        config
    }

    /// Opens a connection and ends the handshake as far as the client can tell: in TLS 1.3 a refused
    /// client certificate shows only in what is read next.
    pub fn dial(&self, address: SocketAddr) -> io::Result<RawClient<TlsStream>> {
        self.returning().dial(address)
    }

    /// A handshake that the server must end with an alert; with the client's own address, by which the log knows it.
    ///
    /// # Panics
    /// Where it does not.
    pub fn refused_from(&self, address: SocketAddr) -> (SocketAddr, AlertDescription) {
        let socket = TcpStream::connect_timeout(&address, ANSWER_WITHIN).unwrap();
        let own = socket.local_addr().unwrap();
        // Nothing is written: it could meet a closed socket, whose reset would overtake the alert.
        let ended = self.returning().over(socket).and_then(|mut client| client.stream.read(&mut [0]));
        (own, refusal(&ended.expect_err("let in")).alert())
    }

    /// A client that keeps what it is given to resume its sessions, and comes back.
    pub fn returning(&self) -> Returning {
        let name = self.server_name.clone().unwrap_or_else(|| "unnamed.invalid".to_owned());
        Returning { name: ServerName::try_from(name).unwrap(), config: Arc::new(self.config()) }
    }

    /// The leaf that the server shows.
    pub fn served(&self, address: SocketAddr) -> Result<Vec<u8>, Entry> {
        let mut client = self.dial(address).map_err(|error| refusal(&error))?;
        let leaf = client.stream.conn.peer_certificates().unwrap()[0].to_vec();
        client.stream.shut_writes();
        Ok(leaf)
    }

    /// Opens a connection and asks to enter.
    pub fn enter(&self, address: SocketAddr, connect: &Connect) -> Entry {
        self.enter_from(address, connect).1
    }

    /// As [`Offer::enter`], with the client's own address, by which the broker's log knows it.
    pub fn enter_from(&self, address: SocketAddr, connect: &Connect) -> (SocketAddr, Entry) {
        self.returning().enter_from(address, connect)
    }
}

/// A client with the sessions that it can resume.
pub struct Returning {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Returning {
    /// As [`Offer::dial`].
    pub fn dial(&self, address: SocketAddr) -> io::Result<RawClient<TlsStream>> {
        self.over(TcpStream::connect_timeout(&address, ANSWER_WITHIN)?)
    }

    /// As [`Offer::enter_from`].
    pub fn enter_from(&self, address: SocketAddr, connect: &Connect) -> (SocketAddr, Entry) {
        let socket = TcpStream::connect_timeout(&address, ANSWER_WITHIN).unwrap();
        let own = socket.local_addr().unwrap();
        let entry = match self.over(socket) {
            Ok(client) => ask(client, connect),
            Err(error) => refusal(&error),
        };
        (own, entry)
    }

    fn over(&self, socket: TcpStream) -> io::Result<RawClient<TlsStream>> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut stream = StreamOwned::new(connection.unwrap(), socket);
        stream.sock.set_nodelay(true)?;
        stream.sock.set_write_timeout(Some(ANSWER_WITHIN))?;
        stream.read_deadline(ANSWER_WITHIN);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(RawClient::over(stream))
    }
}

/// Asks to enter over a stream whose handshake has ended as far as the client can tell.
fn ask(mut client: RawClient<TlsStream>, connect: &Connect) -> Entry {
    client.send(&connect.bytes());
    match wire::read_packet(&mut client.stream) {
        Ok(Some(packet)) if packet.connack_code() == Some(0) => {
            Entry::Admitted(Box::new(client.speaking(connect.version)), packet)
        }
        Ok(Some(packet)) => {
            assert_eq!(packet.kind(), kind::CONNACK, "{packet:?}");
            client.closed();
            Entry::Connack(packet.body[1])
        }
        Ok(None) => Entry::Closed,
        Err(error) => refusal(&error),
    }
}

/// What an error says about the end of a handshake.
///
/// # Panics
/// Where nothing happened in time, or where the fault is the client's own.
pub fn refusal(error: &io::Error) -> Entry {
    assert!(!timed_out(error), "neither let in nor refused: {error}");
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Entry::Alert(*alert),
        Some(other) => panic!("the client itself failed: {other}"),
        None => Entry::Closed,
    }
}

fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}

#[derive(Debug)]
struct AnyServer(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
