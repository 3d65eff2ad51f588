//! The first bytes of a connection whose `ClientHello` is refused: what they say that the TLS library does not.

use rustls::server::AcceptedAlert;
use rustls::{AlertDescription, Error};

use crate::alert::{explain, plaintext_alert};
use crate::reason::Reason;

/// Content type, record version and length; handshake type and length; the client's version.
const BYTES: usize = 11;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// TLS 1.2, and what TLS 1.3 writes in its place.
const TLS12: [u8; 2] = [3, 3];

/// As many of the first bytes as it takes to know the version that a client speaks.
#[derive(Debug, Default)]
pub struct Opening {
    bytes: [u8; BYTES],
    seen: usize,
}

impl Opening {
    /// The next bytes of the connection.
    pub fn see(&mut self, bytes: &[u8]) {
        let free = &mut self.bytes[self.seen..];
        let count = free.len().min(bytes.len());
        free[..count].copy_from_slice(&bytes[..count]);
        self.seen += count;
    }

    /// Why the `ClientHello` is refused: the kind, the words, and the record to send.
    ///
    /// A client older than TLS 1.2 fails for want of an extension that came with it; what it should hear, and the
    /// operator too, is that its version is not spoken. A name that is no name gets the alert that every other
    /// name gets that is not served.
    pub fn refuse(&self, error: &Error, mut alert: AcceptedAlert) -> (Reason, String, Vec<u8>) {
        if let Some(version) = self.outdated() {
            let words =
                format!("the client speaks {version} at most, and TLS 1.2 is the oldest version that is spoken here");
            let record = plaintext_alert(u8::from(AlertDescription::ProtocolVersion));
            return (Reason::NoCommonVersion, words, record.to_vec());
        }
        let (reason, words) = explain(error, None, None);
        if reason == Reason::InvalidName {
            return (reason, words, plaintext_alert(reason.why().alert()).to_vec());
        }
        let mut record = Vec::new();
        alert.write_all(&mut record).expect("a vector takes every byte");
        (reason, words, record)
    }

    fn outdated(&self) -> Option<&'static str> {
        // SSL 2: a length with its highest bit set, the message's type, and the version, which it may say is a later one.
        let is_ssl2 =
            self.seen >= 4 && self.bytes[0] & 0x80 != 0 && self.bytes[2] == CLIENT_HELLO && self.bytes[3] <= 3;
        if is_ssl2 {
            return Some("SSL in the format of its version 2");
        }
        let version = [self.bytes[9], self.bytes[10]];
        let is_hello = self.seen == BYTES && self.bytes[0] == HANDSHAKE && self.bytes[5] == CLIENT_HELLO;
        match version {
            _ if !is_hello || version >= TLS12 => None,
            [3, 2] => Some("TLS 1.1"),
            [3, 1] => Some("TLS 1.0"),
            _ => Some("SSL 3"),
        }
    }
}
