//! The words of the WIT and the words of the house, in both directions. The only place that knows both.

use std::sync::Arc;

use postern_identity::{
    BundleInfo, BundleName, BundleRef, CertFacts, ClientAuthWish, ClientHello, NameAttribute, Namespace, Peer, Proxied,
    SubjectAltName, TlsSession, Transport, Why,
};

use crate::bindings::exports::postern::gate::client_authorizer;
use crate::bindings::postern::gate::{bundle_directory, certificates, types};
use crate::failure::Failure;

pub(crate) fn connection(peer: &Peer) -> types::Connection {
    types::Connection {
        id: peer.connection,
        listener: peer.listener.to_string(),
        transport: match peer.transport {
            Transport::Tcp => types::Transport::Tcp,
            Transport::WebSocket => types::Transport::Websocket,
        },
        peer_ip: peer.address.ip().to_canonical().to_string(),
        peer_port: peer.address.port(),
        local_port: peer.local_port,
        proxied: peer.proxied.as_deref().map(proxied),
    }
}

fn proxied(said: &Proxied) -> types::Proxied {
    types::Proxied {
        proxy_ip: said.proxy.to_canonical().to_string(),
        trusted: said.trusted,
        authority: said.authority.clone(),
        alpn: said.alpn.clone(),
        tls: said.tls.as_ref().map(|tls| types::ProxiedTls {
            version: tls.version.clone(),
            cipher: tls.cipher.clone(),
            verified: tls.verified,
            common_name: tls.common_name.clone(),
        }),
    }
}

pub(crate) fn client_hello(hello: &ClientHello) -> types::ClientHello {
    types::ClientHello {
        server_name: hello.server_name.as_ref().map(ToString::to_string),
        alpn: hello.alpn.clone(),
        cipher_suites: hello.cipher_suites.clone(),
        signature_schemes: hello.signature_schemes.clone(),
        named_groups: hello.named_groups.clone(),
    }
}

pub(crate) fn namespace(namespace: &Namespace) -> Option<String> {
    namespace.name().map(ToString::to_string)
}

pub(crate) fn bundle_ref(bundle: &BundleRef) -> types::BundleRef {
    types::BundleRef { namespace: namespace(&bundle.namespace), name: bundle.name.to_string() }
}

/// A reference as a guest wrote it; an error where it cannot be one.
pub(crate) fn bundle_ref_in(bundle: &types::BundleRef) -> Result<BundleRef, postern_identity::names::NameError> {
    Ok(BundleRef {
        namespace: Namespace::from_option(bundle.namespace.as_deref())?,
        name: BundleName::new(&bundle.name)?,
    })
}

pub(crate) fn bundle_info(info: &BundleInfo) -> bundle_directory::BundleInfo {
    bundle_directory::BundleInfo {
        ref_: bundle_ref(&info.bundle),
        names: info.names.clone(),
        subject_dn: info.subject_dn.clone(),
        key_type: info.key_type.to_owned(),
        not_before: info.not_before,
        not_after: info.not_after,
        fingerprint_sha256: info.fingerprint_sha256.clone(),
        has_client_ca: info.has_client_ca,
    }
}

pub(crate) fn tls_session(session: TlsSession) -> client_authorizer::TlsSession {
    let TlsSession { version, cipher_suite, resumed } = session;
    client_authorizer::TlsSession { version: version.to_owned(), cipher_suite, resumed }
}

pub(crate) fn chain(chain: &[Arc<CertFacts>]) -> Vec<certificates::Certificate> {
    chain.iter().map(|facts| certificate(facts)).collect()
}

fn certificate(facts: &CertFacts) -> certificates::Certificate {
    certificates::Certificate {
        subject: facts.subject.iter().map(attribute).collect(),
        subject_dn: facts.subject_dn.clone(),
        issuer: facts.issuer.iter().map(attribute).collect(),
        issuer_dn: facts.issuer_dn.clone(),
        serial_hex: facts.serial_hex.clone(),
        sans: facts.sans.iter().map(san).collect(),
        not_before: facts.not_before,
        not_after: facts.not_after,
        extended_key_usages: facts.extended_key_usages.clone(),
        fingerprint_sha256: facts.fingerprint_hex(),
        spki_sha256: facts.spki_sha256_hex(),
        der: facts.der.clone(),
    }
}

fn attribute(attribute: &NameAttribute) -> certificates::NameAttribute {
    certificates::NameAttribute {
        oid: attribute.oid.clone(),
        short_name: attribute.short_name.clone(),
        value: attribute.value.clone(),
    }
}

fn san(name: &SubjectAltName) -> certificates::San {
    match name {
        SubjectAltName::Dns(name) => certificates::San::Dns(name.clone()),
        SubjectAltName::Email(address) => certificates::San::Email(address.clone()),
        SubjectAltName::Uri(uri) => certificates::San::Uri(uri.clone()),
        SubjectAltName::Ip(address) => certificates::San::Ip(address.to_string()),
    }
}

pub(crate) fn client_auth(wish: types::ClientAuth) -> ClientAuthWish {
    match wish {
        types::ClientAuth::None => ClientAuthWish::None,
        types::ClientAuth::Optional => ClientAuthWish::Optional,
        types::ClientAuth::Required => ClientAuthWish::Required,
    }
}

pub(crate) fn why(code: types::RejectCode) -> Why {
    match code {
        types::RejectCode::UnknownName => Why::UnknownName,
        types::RejectCode::NotAllowed => Why::NotAllowed,
        types::RejectCode::BadCertificate => Why::BadCertificate,
        types::RejectCode::RateLimited => Why::RateLimited,
        types::RejectCode::Unavailable => Why::Unavailable,
    }
}

pub(crate) fn failure(failure: &types::Failure) -> Failure {
    let kept = postern_identity::Refusal::foreign;
    match failure {
        types::Failure::Transient(text) => Failure::Transient(kept(text)),
        types::Failure::Misconfigured(text) => Failure::Misconfigured(kept(text)),
        types::Failure::Internal(text) => Failure::Internal(kept(text)),
    }
}
