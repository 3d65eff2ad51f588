//! Bounds the work of verifying a client's certificates.
//!
//! webpki's search for a path tries every order that names allow and gives up after 200,000 steps, each of
//! which reads every presented certificate again. Fifty small certificates, in five layers of ten of one name
//! that lead nowhere, keep a core busy for seconds before the first signature is checked (measured with
//! rustls-webpki 0.103.17), and anyone who can connect may send them. rustls takes up to 64 KiB of
//! certificates and has no setting for their number. With few of them there are few orders to try.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use crate::chain::MAX_PRESENTED;

/// webpki's verification of clients, for chains of at most [`MAX_PRESENTED`] certificates.
#[derive(Debug)]
pub(crate) struct BoundedVerifier(pub(crate) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for BoundedVerifier {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= MAX_PRESENTED {
            let reason = OtherError(Arc::new(webpki::Error::MaximumPathDepthExceeded));
            return Err(Error::InvalidCertificate(CertificateError::Other(reason)));
        }
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.0.requires_raw_public_keys()
    }
}
