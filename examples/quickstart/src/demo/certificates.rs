//! One port, several names: which certificate answers which.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Stage, Trouble};
use crate::dial::{self, DialError, Trust};
use crate::pki::sha256_hex;
use crate::screen::{Table, one_line};

/// Enough of a fingerprint to tell certificates apart, in hexadecimal digits.
const DIGITS_SHOWN: usize = 16;

/// A server name to ask for, and the bundle that must answer; none where nothing may.
const ASKED: [(Option<&str>, Option<&str>); 5] = [
    (None, Some("global/default")),
    (Some("localhost"), Some("global/default")),
    (Some("mqtt.acme.example.org"), Some("acme/mqtt")),
    (Some("MQTT.Globex.Example.ORG"), Some("globex/mqtt")),
    (Some("mqtt.unknown.example.org"), None),
];

pub(super) async fn show(stage: &Stage<'_>) -> Result<(), Trouble> {
    stage.heading("1. One port: the certificate follows the server name (SNI)");
    let mut table = Table::new(["asked for", "served", "bundle", "SHA-256"]);
    let mut wrong = None;
    for (name, expected) in ASKED {
        let asked = name.unwrap_or("(no name)").to_owned();
        let seen = look(stage, name).await?;
        let cells = match &seen {
            Seen::Certificate { subject, bundle, digest } => [
                asked.clone(),
                one_line(subject, 60),
                bundle.clone().unwrap_or_else(|| "unknown".to_owned()),
                digest[..DIGITS_SHOWN].to_owned(),
            ],
            Seen::Nothing { why } => [asked.clone(), format!("nothing: {}", one_line(why, 80)), "–".into(), "–".into()],
        };
        if seen.bundle() == expected {
            table.right(cells);
        } else {
            table.wrong(cells);
            wrong.get_or_insert(format!("{asked} must be answered by {}", expected.unwrap_or("nothing")));
        }
    }
    print!("{}", table.render(stage.colours));
    wrong.map_or(Ok(()), |why| Err(Trouble::Otherwise(why)))
}

enum Seen {
    Certificate { subject: String, bundle: Option<String>, digest: String },
    Nothing { why: String },
}

impl Seen {
    fn bundle(&self) -> Option<&str> {
        match self {
            // A certificate of no bundle of ours is no right answer to any name.
            Self::Certificate { bundle, .. } => Some(bundle.as_deref().unwrap_or("unknown")),
            Self::Nothing { .. } => None,
        }
    }
}

/// Without a certificate of its own, the client sees what is served and gets no further.
async fn look(stage: &Stage<'_>, name: Option<&str>) -> Result<Seen, Trouble> {
    let config = stage.client_config(Trust::AnyName, None)?;
    let tls = match dial::dial(stage.address, name, config).await {
        Ok(tls) => tls,
        Err(DialError::Handshake(error)) => return Ok(Seen::Nothing { why: error.to_string() }),
        Err(other) => return Err(other.into()),
    };
    let leaf = tls
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .ok_or_else(|| Trouble::Otherwise("the broker showed no certificate".to_owned()))?;
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| Trouble::Otherwise(format!("the broker's certificate cannot be read: {error}")))?;
    Ok(Seen::Certificate {
        subject: parsed.subject().to_string(),
        bundle: stage.set.bundle_of(leaf).map(|bundle| bundle.label()),
        digest: sha256_hex(leaf),
    })
}
