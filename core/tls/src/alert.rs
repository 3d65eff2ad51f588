//! How a handshake failed, in words for the operator, and how to say so to the client.

use postern_identity::{Refusal, Why};
use rustls::{
    AlertDescription, CertificateError, Error, ExtendedKeyPurpose, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};

use crate::crl::NotGood;

/// A fatal alert as one record, for a refusal between the `ClientHello` and the choice of a configuration.
///
/// rustls can send no alert of our choice at that point: it has no configuration yet, and any it were given
/// would end in an alert of rustls' choice. But nothing is encrypted yet in either version, so the alert is
/// seven known bytes: content type alert (21), `legacy_record_version` 0x0303 (RFC 8446 section 5.1; the
/// receiver ignores it), length 2, level fatal (2), description (section 6). TLS 1.2 writes the same
/// (RFC 5246 sections 6.2.1 and 7.2). After these bytes the connection is closed; a client in either version
/// must treat it as failed.
pub fn plaintext_alert(code: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, code]
}

/// The record that refuses for this reason.
pub fn alert_for(why: Why) -> [u8; 7] {
    plaintext_alert(why.alert())
}

/// What went wrong in a handshake: the kind for metrics, and a sentence for the log. Text of the peer in it
/// is escaped and cut.
pub fn explain(error: &Error) -> (Why, String) {
    match error {
        Error::NoCertificatesPresented => {
            (Why::NotAllowed, "the client sent no certificate and one is required".to_owned())
        }
        Error::InvalidCertificate(reason) => (Why::BadCertificate, certificate(reason)),
        Error::NoApplicationProtocol => (
            Why::NoApplicationProtocol,
            "the client offers only application protocols (ALPN) that are not served".to_owned(),
        ),
        Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName)
        | Error::InvalidMessage(InvalidMessage::InvalidServerName) => {
            (Why::InvalidName, "the server name in the ClientHello is not a DNS name".to_owned())
        }
        Error::PeerIncompatible(reason) => (Why::Protocol, incompatible(reason)),
        Error::InvalidMessage(reason) => (Why::Protocol, invalid(reason)),
        Error::AlertReceived(alert) => (Why::Protocol, received(*alert)),
        Error::PeerMisbehaved(reason) => (Why::Protocol, format!("the client broke the TLS protocol ({reason:?})")),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            (Why::Protocol, "the client sent a TLS message out of turn".to_owned())
        }
        Error::DecryptError => (Why::Protocol, "a record of the client could not be decrypted".to_owned()),
        Error::PeerSentOversizedRecord => (Why::Protocol, "the client sent a TLS record that is too long".to_owned()),
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes => {
            (Why::Unavailable, format!("the machine failed the handshake: {error}"))
        }
        other => (Why::Protocol, format!("the handshake failed: {}", Refusal::foreign(&other.to_string()))),
    }
}

fn certificate(reason: &CertificateError) -> String {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the client certificate expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the client certificate is not valid yet".to_owned()
        }
        CertificateError::Revoked => "the client certificate is revoked".to_owned(),
        CertificateError::UnknownIssuer => {
            "no client CA of the bundle issued the client certificate (unknown issuer, or an intermediate certificate \
             was not sent)"
                .to_owned()
        }
        CertificateError::BadSignature => {
            "a signature is wrong: the client certificate is forged, or the client does not have its key".to_owned()
        }
        CertificateError::InvalidPurpose => "the client certificate is not for client authentication".to_owned(),
        CertificateError::InvalidPurposeContext { presented, .. } => {
            format!(
                "the client certificate is not for client authentication (extended key usage: {})",
                purposes(presented)
            )
        }
        CertificateError::BadEncoding => "the client certificate cannot be read".to_owned(),
        CertificateError::UnhandledCriticalExtension => {
            "the client certificate has a critical extension that is not understood".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the client certificate is signed with an algorithm that is not accepted (SHA-1, or RSA under 2048 bits)"
                .to_owned()
        }
        CertificateError::Other(other) => match (other.0.downcast_ref::<webpki::Error>(), other.0.downcast_ref()) {
            (Some(reason), _) => path(reason),
            (_, Some(NotGood { subject, fault, .. })) => {
                format!("whether the client certificate is revoked cannot be told: {fault} (asked about {subject})")
            }
            _ => format!("the client certificate is refused: {}", Refusal::foreign(&other.to_string())),
        },
        other => format!("the client certificate is refused: {}", Refusal::foreign(&other.to_string())),
    }
}

/// At most this many purposes are named in a log line.
const MAX_PURPOSES: usize = 4;

fn purposes(presented: &[ExtendedKeyPurpose]) -> String {
    let names: Vec<String> = presented.iter().take(MAX_PURPOSES).map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { Refusal::foreign(&names.join(", ")) }
}

/// The reasons of path building that rustls passes on without words of its own.
fn path(reason: &webpki::Error) -> String {
    match reason {
        webpki::Error::CaUsedAsEndEntity => {
            "the client certificate is a CA certificate (basicConstraints CA:TRUE)".to_owned()
        }
        webpki::Error::EndEntityUsedAsCa => "the client certificate was issued by one that is not a CA".to_owned(),
        webpki::Error::PathLenConstraintViolated => {
            "the client's chain is longer than one of its CAs allows".to_owned()
        }
        webpki::Error::NameConstraintViolation => {
            "a name in the client certificate is outside the name constraints of its CA".to_owned()
        }
        webpki::Error::MaximumSignatureChecksExceeded
        | webpki::Error::MaximumPathBuildCallsExceeded
        | webpki::Error::MaximumPathDepthExceeded
        | webpki::Error::MaximumNameConstraintComparisonsExceeded => {
            "the client's chain takes more work to verify than is allowed".to_owned()
        }
        webpki::Error::UnsupportedCertVersion => "the client certificate is not X.509 version 3".to_owned(),
        other => format!("the client certificate is refused: {}", Refusal::foreign(&other.to_string())),
    }
}

fn incompatible(reason: &PeerIncompatible) -> String {
    match reason {
        PeerIncompatible::NoCipherSuitesInCommon => {
            "the client and the bundle have no cipher suite in common".to_owned()
        }
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            "the client offers no key exchange group that is accepted".to_owned()
        }
        PeerIncompatible::NoSignatureSchemesInCommon | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            "the client accepts no signature that the bundle's key can make".to_owned()
        }
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => "the client offers no TLS version that is enabled".to_owned(),
        other => format!("the client's offer cannot be met ({other:?})"),
    }
}

fn invalid(reason: &InvalidMessage) -> String {
    match reason {
        InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion => {
            "the client does not speak TLS (plain MQTT or HTTP on a TLS port?)".to_owned()
        }
        InvalidMessage::CertificatePayloadTooLarge => "the client's certificates exceed 64 KiB".to_owned(),
        other => format!("the client sent a TLS message that cannot be read ({other:?})"),
    }
}

fn received(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => {
            "the client does not trust the server's certificate (alert unknown_ca): it lacks the CA".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => {
            format!("the client refused the server's certificate (alert {alert:?})")
        }
        AlertDescription::CertificateExpired => "the client says that the server's certificate expired".to_owned(),
        AlertDescription::UserCanceled | AlertDescription::CloseNotify => {
            "the client broke off the handshake".to_owned()
        }
        other => format!("the client ended the handshake with the alert {other:?}"),
    }
}
