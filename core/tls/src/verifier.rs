//! Who is let in by certificate: webpki's path to the bundle's own CA, and what the listener asks beyond it.
//!
//! The number of certificates is bounded before webpki sees them. Its search for a path tries every order that names
//! allow and gives up after 200,000 steps, each of which reads every presented certificate again. Fifty small
//! certificates, in five layers of ten of one name that lead nowhere, keep a core busy for seconds before the first
//! signature is checked (measured with rustls-webpki 0.103.17), and anyone who can connect may send them. rustls takes up
//! to 64 KiB of certificates and has no setting for their number. With few of them there are few orders to try.

use std::sync::Arc;

use postern_identity::CertFacts;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use crate::chain::{self, MAX_PRESENTED};
use crate::crl::Revocation;
use crate::policy::ClientPath;
use crate::trust::Anchored;
use crate::verdict::{self, Rejected, Unacceptable, Verdict};

/// The verification of clients where one bundle answers on one listener.
#[derive(Debug)]
pub(crate) struct Verifier {
    webpki: Arc<dyn ClientCertVerifier>,
    trust: Anchored,
    asked: ClientPath,
    /// None where revocation is not checked.
    revocation: Option<Arc<Revocation>>,
}

impl Verifier {
    pub(crate) fn new(
        webpki: Arc<dyn ClientCertVerifier>,
        trust: Anchored,
        asked: ClientPath,
        revocation: Option<Arc<Revocation>>,
    ) -> Self {
        Self { webpki, trust, asked, revocation }
    }

    /// The verdict on what a client presented, its own certificate first: in its handshake, and whenever it is asked again.
    pub(crate) fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Verdict {
        self.find_path(end_entity, intermediates, now).map_err(|error| Rejected::new(end_entity, intermediates, error))
    }

    fn find_path(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Vec<Arc<CertFacts>>, Error> {
        if intermediates.len() >= MAX_PRESENTED {
            return Err(other(webpki::Error::MaximumPathDepthExceeded));
        }
        let others = self.trust.with_helpers(end_entity, intermediates);
        self.webpki.verify_client_cert(end_entity, &others, now)?;
        let path = chain::verified_path(end_entity, &others, &self.trust, now).map_err(other)?;
        self.check(&path).map_err(other)?;
        if let Some(revocation) = &self.revocation {
            let now_unix_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            revocation.judge(&path, now_unix_s).map_err(other)?;
        }
        Ok(path)
    }
}

/// What the listener asks beyond a path.
impl Verifier {
    fn check(&self, path: &[Arc<CertFacts>]) -> Result<(), Unacceptable> {
        let depth = self.asked.depth;
        let between = path.get(1..path.len().saturating_sub(1)).unwrap_or_default();
        // RFC 5280, section 6.1.4 (l): one that issued itself is not counted, so that CAs can change their keys.
        let found = between.iter().filter(|facts| facts.subject_dn != facts.issuer_dn).count();
        if found > depth {
            return Err(Unacceptable::TooDeep { found, depth });
        }
        let has = |usage: &String| path.first().is_some_and(|leaf| leaf.extended_key_usages.contains(usage));
        match self.asked.usages.iter().find(|usage| !has(usage)) {
            Some(usage) => Err(Unacceptable::MissingUsage(usage.clone())),
            None => Ok(()),
        }
    }
}

/// A reason that rustls has no word for.
fn other(reason: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.webpki.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.webpki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdict = self.judge(end_entity, intermediates, now);
        let told = verdict.as_ref().map(|_| ClientCertVerified::assertion()).map_err(Rejected::for_alert);
        verdict::keep(verdict);
        told
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.webpki.requires_raw_public_keys()
    }
}
