//! From a verified path to an identity.
//!
//! For each thing that the rules set, the first rule whose requirements hold and whose field says something sets
//! it. What a certificate says twice, or unreadably, ends the whole with a refusal. What no rule finds ends it too,
//! unless all rules for it are optional.

use postern_kit::field::Said;
use postern_kit::known::Known;
use postern_kit::texts;
use postern_kit::wit::certificates::Certificate;
use postern_kit::wit::types::{CacheHint, Inputs, Proxied, RejectCode, Rejection};
use postern_kit::wit::{rejection, reusable};

use crate::rules::{Rules, Target, TargetRules};

/// How long an identity holds for the same certificate. The host ends it earlier with the certificate.
const ALLOWED_TTL_MS: u32 = 5 * 60_000;
/// How long a refusal holds for the same certificate.
const DENIED_TTL_MS: u32 = 30_000;

/// Who a client is.
#[derive(Debug, Default)]
pub struct Who {
    /// The user name; none only where the configuration leaves it to CONNECT.
    pub username: Option<String>,
    /// The client identifier.
    pub client_id: Option<String>,
    /// Further facts.
    pub attributes: Vec<(String, String)>,
    /// Whether the answer may be used again.
    pub cache: Option<CacheHint>,
}

impl Rules {
    /// Asks every rule. `chain` is the verified path, the client's certificate first.
    pub fn identify(&self, chain: &[Certificate], proxied: Option<&Proxied>) -> Result<Who, Rejection> {
        let Some((client, issuers)) = Known::of(chain, proxied) else {
            return Err(denied(RejectCode::BadCertificate, "there is no certificate".to_owned()));
        };
        let mut who = Who { cache: reusable(ALLOWED_TTL_MS, looked_at()), ..Who::default() };
        for target in &self.targets {
            let Some(text) = self.value(target, client, issuers)? else { continue };
            match &target.target {
                Target::Username => who.username = Some(text),
                Target::ClientId => who.client_id = Some(text),
                Target::Attribute(name) => who.attributes.push((name.clone(), text)),
            }
        }
        Ok(who)
    }

    fn value(
        &self,
        target: &TargetRules,
        client: Known<'_>,
        issuers: &[Certificate],
    ) -> Result<Option<String>, Rejection> {
        let mut asked = 0_usize;
        for rule in target.rules.iter().filter(|rule| rule.require.hold(client, issuers)) {
            asked += 1;
            let reason = match rule.field.read(client) {
                Said::Nothing => continue,
                Said::Refused(reason) => reason,
                Said::Text(text) => match texts::usable(&text, self.topic_characters) {
                    Ok(()) => return Ok(Some(text)),
                    Err(unusable) => unusable.reason(),
                },
            };
            return Err(denied(RejectCode::BadCertificate, format!("{}: the field {reason}", rule.place)));
        }
        if target.rules.iter().all(|rule| rule.optional) {
            return Ok(None);
        }
        let name = &target.target;
        Err(if asked == 0 {
            denied(RejectCode::NotAllowed, format!("no rule for {name} has requirements that the certificate meets"))
        } else {
            denied(RejectCode::BadCertificate, format!("the certificate has no field that a rule for {name} asks for"))
        })
    }
}

/// The certificate decides; the namespace is named so that tenants never share a cached answer.
fn looked_at() -> Inputs {
    Inputs::CERTIFICATE | Inputs::NAMESPACE
}

fn denied(code: RejectCode, detail: String) -> Rejection {
    rejection(code, detail, reusable(DENIED_TTL_MS, looked_at()))
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Username => f.write_str("username"),
            Self::ClientId => f.write_str("client_id"),
            Self::Attribute(name) => write!(f, "attribute.{name}"),
        }
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
