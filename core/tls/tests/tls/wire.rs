//! TLS in memory: a rustls client against our settings, and `ClientHello`s written byte by byte.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use postern_tls::{Bundle, ClientAuth, Reason, ServerConfigs, TlsPolicy, Verdict, Versions, explain, observed};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::server::{Accepted, Acceptor};
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection};

use crate::pki::Pair;

pub(crate) const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

pub(crate) fn policy(client_auth: ClientAuth) -> TlsPolicy {
    TlsPolicy { client_auth, ..TlsPolicy::default() }
}

pub(crate) fn server_config(bundle: &Arc<Bundle>, client_auth: ClientAuth) -> Arc<ServerConfig> {
    let configs = ServerConfigs::new(policy(client_auth));
    configs.get(bundle, postern_identity::ClientAuthWish::None).unwrap()
}

pub(crate) fn only_tls12() -> Versions {
    Versions { tls12: true, tls13: false }
}

/// A client that trusts this authority and shows these certificates, its own first.
pub(crate) fn client(
    trusted: &CertificateDer<'_>,
    identity: Option<(&Pair, &[&CertificateDer<'static>])>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some((pair, issuers)) => {
            let mut chain = vec![pair.cert.clone()];
            chain.extend(issuers.iter().map(|&issuer| issuer.clone()));
            builder.with_client_auth_cert(chain, pair.key_der()).unwrap()
        }
    }
}

/// What a finished handshake left.
pub(crate) struct Done {
    pub(crate) server: ServerConnection,
    pub(crate) client: ClientConnection,
}

/// A handshake that the server ended.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// What was found about the client's certificate.
    pub(crate) verdict: Option<Verdict>,
    /// The alert that the client got.
    pub(crate) alert: Option<AlertDescription>,
}

impl Failed {
    /// As the log has it.
    pub(crate) fn explained(&self) -> (Reason, String) {
        explain(&self.error, self.verdict.as_ref(), None)
    }
}

/// Runs a handshake to its end.
pub(crate) fn handshake(server: &Arc<ServerConfig>, client: ClientConfig, name: &str) -> Result<Done, Box<Failed>> {
    shake(server, &Arc::new(client), name)
}

/// The same, with a client configuration that is used again: it holds the client's session store.
pub(crate) fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &str) -> Result<Done, Box<Failed>> {
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name.to_owned().try_into().unwrap()).unwrap();
    // A handshake takes three flights; the rest carries alerts and tickets, if there are any.
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        feed(&mut &*bytes, |from| server.read_tls(from));
        let (processed, verdict) = at_once(observed(async { server.process_new_packets().map(|_| ()) }));
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        feed(&mut &*bytes, |from| client.read_tls(from));
        let told = client.process_new_packets();
        if let Err(error) = processed {
            let alert = match told {
                Err(Error::AlertReceived(alert)) => Some(alert),
                _ => None,
            };
            return Err(Box::new(Failed { error, verdict, alert }));
        }
        told.expect("the client is content");
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok(Done { server, client })
}

/// What has nothing to wait for.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("there is nothing to wait for"),
    }
}

fn feed(bytes: &mut &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    while !bytes.is_empty() {
        read(bytes).unwrap();
    }
}

// ---- ClientHello ---------------------------------------------------------------------------------------

fn with_len16(content: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(content);
    out
}

fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    [number.to_be_bytes().as_slice(), &with_len16(content)].concat()
}

/// A `ClientHello` record with these extensions beside the two that the acceptor needs.
pub(crate) fn hello(extensions: &[Vec<u8>], suites: &[u16]) -> Vec<u8> {
    let signatures = extension(13, &with_len16(&[4, 3]));
    let groups = extension(10, &with_len16(&[0, 0x1D, 0, 0x17]));
    let all = [extensions.concat(), signatures, groups].concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let body = [[3, 3].as_slice(), &[7; 32], &[0], &with_len16(&suites), &[1, 0], &with_len16(&all)].concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [[1].as_slice(), &len[1..], &body].concat();
    [[22, 3, 1].as_slice(), &with_len16(&message)].concat()
}

/// The `server_name` extension with these host names.
pub(crate) fn sni(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| [[0].as_slice(), &with_len16(name)].concat()).collect();
    extension(0, &with_len16(&list))
}

/// The ALPN extension.
pub(crate) fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    let entry = |protocol: &&[u8]| [[u8::try_from(protocol.len()).unwrap()].as_slice(), protocol].concat();
    extension(16, &with_len16(&protocols.iter().flat_map(entry).collect::<Vec<u8>>()))
}

/// What the acceptor makes of these bytes; with an error, the alert that it wants to send.
pub(crate) fn accept(bytes: &[u8]) -> Result<Accepted, (Error, Vec<u8>)> {
    let mut acceptor = Acceptor::default();
    feed(&mut &*bytes, |from| acceptor.read_tls(from));
    match acceptor.accept() {
        Ok(accepted) => Ok(accepted.expect("a whole ClientHello")),
        Err((error, mut alert)) => {
            let mut bytes = Vec::new();
            alert.write_all(&mut bytes).unwrap();
            Err((error, bytes))
        }
    }
}
