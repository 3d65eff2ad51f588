//! How a handshake failed, in words for the operator, and how to say so to the client.

use postern_identity::{ClientHello, Refusal, Why};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use crate::reason::Reason;
use crate::verdict::{self, Verdict};

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
/// is escaped and cut. The verdict is what [`crate::observed`] found about the client's certificate: it knows more
/// than the error does, which is shaped for the alert. So does the hello, where there was one.
pub fn explain(error: &Error, verdict: Option<&Verdict>, hello: Option<&ClientHello>) -> (Reason, String) {
    match (error, verdict) {
        // A client that knows no groups at all would have its key transported by RSA.
        (Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon), _)
            if hello.is_some_and(|hello| hello.named_groups.is_empty()) =>
        {
            (Reason::NoCommonCipher, "the client offers no cipher suite with forward secrecy".to_owned())
        }
        (Error::InvalidCertificate(_), Some(Err(rejected))) => (rejected.reason(), rejected.to_string()),
        (Error::InvalidCertificate(CertificateError::BadSignature), Some(Ok(path))) => {
            let whose =
                path.first().map_or_else(String::new, |leaf| format!(": {}", Refusal::foreign(&leaf.subject_dn)));
            (
                Reason::BadSignature,
                format!("the client does not have the private key of the certificate it shows{whose}"),
            )
        }
        _ => of_tls(error),
    }
}

fn of_tls(error: &Error) -> (Reason, String) {
    match error {
        Error::NoCertificatesPresented => {
            (Reason::NoCertificate, "the client sent no certificate and one is required".to_owned())
        }
        Error::InvalidCertificate(reason) => verdict::of_certificate(reason, "client certificate"),
        Error::NoApplicationProtocol => {
            (Reason::Alpn, "the client offers only application protocols (ALPN) that are not served".to_owned())
        }
        Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName)
        | Error::InvalidMessage(InvalidMessage::InvalidServerName) => {
            (Reason::InvalidName, "the server name in the ClientHello is not a DNS name".to_owned())
        }
        Error::PeerIncompatible(reason) => incompatible(reason),
        Error::InvalidMessage(reason) => invalid(reason),
        Error::AlertReceived(alert) => received(*alert),
        Error::PeerMisbehaved(reason) => {
            (Reason::BadMessage, format!("the client broke the TLS protocol ({reason:?})"))
        }
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            (Reason::BadMessage, "the client sent a TLS message out of turn".to_owned())
        }
        Error::DecryptError => (Reason::BadMessage, "a record of the client could not be decrypted".to_owned()),
        Error::PeerSentOversizedRecord => {
            (Reason::BadMessage, "the client sent a TLS record that is too long".to_owned())
        }
        Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes => {
            (Reason::Unavailable, format!("the machine failed the handshake: {error}"))
        }
        other => (Reason::BadMessage, format!("the handshake failed: {}", Refusal::foreign(&other.to_string()))),
    }
}

fn incompatible(reason: &PeerIncompatible) -> (Reason, String) {
    let (kind, words) = match reason {
        PeerIncompatible::NoCipherSuitesInCommon => {
            (Reason::NoCommonCipher, "the client and the bundle have no cipher suite in common")
        }
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            (Reason::NoCommonGroup, "the client offers no key exchange group that is accepted")
        }
        PeerIncompatible::NoSignatureSchemesInCommon | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            (Reason::NoCommonSignature, "the client accepts no signature that the bundle's key can make")
        }
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => {
            (Reason::NoCommonVersion, "the client offers no TLS version that is enabled")
        }
        other => return (Reason::BadMessage, format!("the client's offer cannot be met ({other:?})")),
    };
    (kind, words.to_owned())
}

fn invalid(reason: &InvalidMessage) -> (Reason, String) {
    match reason {
        InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion => {
            (Reason::NotTls, "the client does not speak TLS (plain MQTT or HTTP on a TLS port?)".to_owned())
        }
        InvalidMessage::HandshakePayloadTooLarge => {
            let words = "a TLS message of the client exceeds 64 KiB, as one with too many certificates does";
            (Reason::BadMessage, words.to_owned())
        }
        InvalidMessage::CertificatePayloadTooLarge => {
            (Reason::BadCertificate, "the client's certificates exceed 64 KiB".to_owned())
        }
        other => (Reason::BadMessage, format!("the client sent a TLS message that cannot be read ({other:?})")),
    }
}

fn received(alert: AlertDescription) -> (Reason, String) {
    match alert {
        AlertDescription::UserCanceled | AlertDescription::CloseNotify => {
            (Reason::Closed, "the client broke off the handshake".to_owned())
        }
        AlertDescription::UnknownCA => (
            Reason::ClientAlert,
            "the client does not trust the server's certificate (alert unknown_ca): it lacks the CA".to_owned(),
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => {
            (Reason::ClientAlert, format!("the client refused the server's certificate (alert {alert:?})"))
        }
        AlertDescription::CertificateExpired => {
            (Reason::ClientAlert, "the client says that the server's certificate expired".to_owned())
        }
        other => (Reason::ClientAlert, format!("the client ended the handshake with the alert {other:?}")),
    }
}
