//! TLS as a device speaks it, with the server name chosen apart from the address.
//!
//! MQTT clients take the server name from the host they connect to. Here one address answers to several
//! names, so the TLS connection is made first and handed to the MQTT client as a [`Tunnel`].

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A handshake on this machine takes milliseconds; this is for one that is busy.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No TCP connection, or none any more.
    #[error("{0}")]
    Tcp(#[source] io::Error),
    /// The handshake failed: the text says which alert the broker sent.
    #[error("{0}")]
    Handshake(#[source] io::Error),
    /// Neither success nor failure in time.
    #[error("the handshake did not end within {0} s")]
    TimedOut(u64),
    /// The certificates to use cannot be used.
    #[error("{0}")]
    Config(String),
}

impl From<rustls::Error> for DialError {
    fn from(error: rustls::Error) -> Self {
        Self::Config(error.to_string())
    }
}

impl From<InvalidDnsNameError> for DialError {
    fn from(error: InvalidDnsNameError) -> Self {
        Self::Config(error.to_string())
    }
}

/// Whom the client believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A certificate of the authority for the name that was asked for.
    Name,
    /// A certificate of the authority for any name: to look at what is served, never to talk.
    AnyName,
}

/// A certificate chain and its key. `Debug` does not show the key.
#[derive(Debug)]
pub struct Credentials {
    /// The device's certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// A client's TLS settings.
pub fn client_config(
    authority: &CertificateDer<'static>,
    trust: Trust,
    credentials: Option<Credentials>,
) -> Result<ClientConfig, DialError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| DialError::Config(error.to_string()))?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Name => inner,
        Trust::AnyName => Arc::new(AnyName { inner, provider: Arc::clone(&provider) }),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match credentials {
        Some(Credentials { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    })
}

/// Connects to `address` and asks for `server_name`: [`connect`] and [`handshake`] in one.
pub async fn dial(
    address: SocketAddr,
    server_name: Option<&str>,
    config: ClientConfig,
) -> Result<TlsStream<TcpStream>, DialError> {
    handshake(connect(address).await?, server_name, config).await
}

/// The TCP connection alone: its local address is the name of the connection in the broker's log.
pub async fn connect(address: SocketAddr) -> Result<TcpStream, DialError> {
    let tcp = TcpStream::connect(address).await.map_err(DialError::Tcp)?;
    tcp.set_nodelay(true).map_err(DialError::Tcp)?;
    Ok(tcp)
}

/// Asks for `server_name`; for none, the server name extension is left out and the certificate must be
/// for `localhost`.
pub async fn handshake(
    tcp: TcpStream,
    server_name: Option<&str>,
    mut config: ClientConfig,
) -> Result<TlsStream<TcpStream>, DialError> {
    config.enable_sni = server_name.is_some();
    let name = ServerName::try_from(server_name.unwrap_or("localhost").to_owned())?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    timeout(HANDSHAKE_WITHIN, handshake)
        .await
        .map_err(|_| DialError::TimedOut(HANDSHAKE_WITHIN.as_secs()))?
        .map_err(DialError::Handshake)
}

/// A TLS connection behind a Unix socket that only this user can open, for one MQTT client.
#[derive(Debug)]
pub struct Tunnel {
    directory: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Tunnel {
    /// Puts the connection behind a socket; the first to connect has it.
    pub fn open(mut tls: TlsStream<TcpStream>) -> io::Result<Self> {
        // `tempdir` is for its owner alone.
        let directory = tempfile::tempdir()?;
        let listener = UnixListener::bind(directory.path().join("mqtt"))?;
        let task = tokio::spawn(async move {
            if let Ok((mut plain, _)) = listener.accept().await {
                // Either end may go first; the other notices by the end of its stream.
                let _ = copy_bidirectional(&mut plain, &mut tls).await;
            }
        });
        Ok(Self { directory, task })
    }

    /// The socket.
    pub fn path(&self) -> PathBuf {
        Path::join(self.directory.path(), "mqtt")
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Leaves out the comparison of the name; everything else is checked.
#[derive(Debug)]
struct AnyName {
    inner: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is compared last, so all else was good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{self, Ca};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UnixStream};

    /// A server that shows a certificate for `mqtt.acme.example.org` and echoes.
    async fn server(ca: &Ca) -> SocketAddr {
        let issued = ca.issue(&pki::server(&["mqtt.acme.example.org"]).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(issued.chain().to_vec(), issued.key())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(tls) = acceptor.accept(tcp).await else { continue };
                let (mut reader, mut writer) = tokio::io::split(tls);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn the_name_asked_for_must_be_served_in_any_case_of_letters() {
        let ca = Ca::new("ca").unwrap();
        let address = server(&ca).await;
        let config = client_config(ca.der(), Trust::Name, None).unwrap();
        for name in ["mqtt.acme.example.org", "MQTT.Acme.Example.Org"] {
            dial(address, Some(name), config.clone()).await.unwrap();
        }
        assert!(matches!(
            dial(address, Some("mqtt.globex.example.org"), config.clone()).await,
            Err(DialError::Handshake(_))
        ));
        assert!(matches!(dial(address, None, config).await, Err(DialError::Handshake(_))));
    }

    #[tokio::test]
    async fn any_name_is_still_only_the_authoritys_own_certificate() {
        let (ca, other) = (Ca::new("ca").unwrap(), Ca::new("other").unwrap());
        let address = server(&ca).await;
        let right = client_config(ca.der(), Trust::AnyName, None).unwrap();
        assert!(dial(address, Some("elsewhere.example.org"), right).await.is_ok());
        let wrong = client_config(other.der(), Trust::AnyName, None).unwrap();
        assert!(matches!(dial(address, Some("elsewhere.example.org"), wrong).await, Err(DialError::Handshake(_))));
    }

    #[tokio::test]
    async fn bytes_pass_the_tunnel_both_ways() {
        let ca = Ca::new("ca").unwrap();
        let address = server(&ca).await;
        let config = client_config(ca.der(), Trust::Name, None).unwrap();
        let tunnel = Tunnel::open(dial(address, Some("mqtt.acme.example.org"), config).await.unwrap()).unwrap();
        let mut plain = UnixStream::connect(tunnel.path()).await.unwrap();
        plain.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        plain.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
    }
}
