//! One port, several names: which certificate answers which.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Stage, Trouble, shown};
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

pub(super) async fn show(stage: &mut Stage<'_>) -> Result<(), Trouble> {
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
            Seen::Nothing { why, by } => [asked.clone(), format!("nothing: {why}"), "–".into(), format!("– (by {by})")],
        };
        if seen.bundle() == expected {
            table.right(cells);
        } else {
            table.wrong(cells);
            wrong.get_or_insert(format!("{asked}: {} instead of {}", seen.words(), expected.unwrap_or("nothing")));
        }
    }
    print!("{}", table.render(stage.colours));
    wrong.map_or(Ok(()), |why| Err(Trouble::Otherwise(why)))
}

enum Seen {
    Certificate { subject: String, bundle: Option<String>, digest: String },
    Nothing { why: String, by: String },
}

impl Seen {
    fn bundle(&self) -> Option<&str> {
        match self {
            // A certificate of no bundle of ours is no right answer to any name.
            Self::Certificate { bundle, .. } => Some(bundle.as_deref().unwrap_or("unknown")),
            Self::Nothing { .. } => None,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Certificate { subject, .. } => one_line(subject, 60),
            Self::Nothing { why, by } => format!("nothing, for {why} (by {by})"),
        }
    }
}

/// Without a certificate of its own, the client sees what is served and gets no further.
async fn look(stage: &mut Stage<'_>, name: Option<&str>) -> Result<Seen, Trouble> {
    let config = stage.client_config(Trust::AnyName, None)?;
    let tcp = dial::connect(stage.address).await?;
    let peer = tcp.local_addr()?;
    let tls = match dial::handshake(tcp, name, config).await {
        Ok(tls) => tls,
        Err(DialError::Handshake(_)) => {
            let event = stage.decision_on(peer).await?;
            let by = event.field("by").unwrap_or_else(|| "the broker".to_owned());
            return Ok(Seen::Nothing { why: shown(&event, "why"), by });
        }
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
