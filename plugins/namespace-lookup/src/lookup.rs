//! From a `ClientHello`, and where it takes one a certificate, to a namespace.

use postern_kit::config::{self, Issue, Section};
use postern_kit::directory::{self, Directory};
use postern_kit::dns::{self, Pattern};
use postern_kit::field::{Field, Said};
use postern_kit::known::Known;
use postern_kit::texts;
use postern_kit::wit::certificates::Certificate;
use postern_kit::wit::types::{CacheHint, Inputs, Proxied, RejectCode, Rejection};
use postern_kit::wit::{rejection, reusable};

/// Most rules; each one costs time in every handshake that no earlier rule decides.
const MAX_RULES: usize = 256;
/// How long an answer holds.
const FOUND_TTL_MS: u32 = 60_000;
/// How long a refusal holds.
const REFUSED_TTL_MS: u32 = 10_000;
/// The keys of a rule.
const RULE_KEYS: [&str; 7] = ["sni", "client_ca", "source", "pick", "match", "case", "namespace"];

/// The plugin's configuration, ready to be asked.
#[derive(Debug)]
pub struct Lookup {
    rules: Vec<Rule>,
    otherwise: Otherwise,
}

/// Every condition that a rule has must hold.
#[derive(Debug)]
struct Rule {
    sni: Option<Pattern>,
    client_ca: Option<Authority>,
    names: Names,
}

/// Where a rule has its namespace from.
#[derive(Debug)]
enum Names {
    This(String),
    Field(Field),
}

/// A certificate authority on the verified path.
#[derive(Debug)]
enum Authority {
    Fingerprint(String),
    Spki(String),
    SubjectDn(String),
}

/// What holds where no rule decides.
#[derive(Debug)]
enum Otherwise {
    Listener,
    Refuse,
    DefaultBundle,
    Namespace(String),
}

/// The answer.
#[derive(Debug)]
pub enum Answer {
    /// This namespace; none is the global one.
    Found {
        /// Its name.
        name: Option<String>,
        /// Whether the answer may be used again.
        cache: Option<CacheHint>,
    },
    /// A rule wants the client's certificate.
    NeedCertificate,
    /// Somebody else's to say; at the end, the listener's own namespace holds.
    Pass,
    /// Nobody's.
    Reject(Rejection),
}

/// What one rule says.
enum Ruling {
    Namespace(String),
    DoesNotApply,
    NeedCertificate,
    Refused(&'static str),
}

impl Lookup {
    /// Reads the `config` section.
    pub fn from_json(json: &str) -> Result<Self, Vec<Issue>> {
        config::read(json, &["rules", "default"], |section| {
            let sections = section.sections("rules", MAX_RULES, &RULE_KEYS);
            let count = sections.len();
            let rules: Vec<Rule> = sections.iter().filter_map(Rule::configured).collect();
            let otherwise = Otherwise::configured(section, count == 0)?;
            (rules.len() == count).then_some(Self { rules, otherwise })
        })
    }

    /// Asks the rules in their order. `chain` is empty before the handshake.
    pub fn ask(
        &self,
        server_name: Option<&str>,
        chain: &[Certificate],
        proxied: Option<&Proxied>,
        directory: &impl Directory,
    ) -> Answer {
        let name = server_name.and_then(dns::folded);
        let looked_at = if chain.is_empty() { Inputs::SERVER_NAME } else { Inputs::SERVER_NAME | Inputs::CERTIFICATE };
        for (place, rule) in self.rules.iter().enumerate() {
            match rule.ask(name.as_deref(), Known::of(chain, proxied)) {
                Ruling::DoesNotApply => {}
                Ruling::NeedCertificate => return Answer::NeedCertificate,
                Ruling::Namespace(name) => return found(Some(name), looked_at),
                Ruling::Refused(reason) => {
                    let detail = format!("rules[{place}]: the field {reason}");
                    return refused(RejectCode::BadCertificate, detail, looked_at);
                }
            }
        }
        if self.rules.is_empty() {
            if let Some(bundle) = name.and_then(|name| directory::answering(directory, &name)) {
                return found(bundle.namespace, looked_at);
            }
        }
        match &self.otherwise {
            Otherwise::Listener => Answer::Pass,
            Otherwise::Refuse => refused(RejectCode::UnknownName, "no rule names a namespace".to_owned(), looked_at),
            Otherwise::DefaultBundle => {
                directory.default_bundle().map_or(Answer::Pass, |bundle| found(bundle.namespace, looked_at))
            }
            Otherwise::Namespace(name) => found(Some(name.clone()), looked_at),
        }
    }
}

fn found(name: Option<String>, looked_at: Inputs) -> Answer {
    Answer::Found { name, cache: reusable(FOUND_TTL_MS, looked_at) }
}

fn refused(code: RejectCode, detail: String, looked_at: Inputs) -> Answer {
    Answer::Reject(rejection(code, detail, reusable(REFUSED_TTL_MS, looked_at)))
}

impl Rule {
    fn configured(section: &Section<'_>) -> Option<Self> {
        let sni = section.parsed("sni", Pattern::parse);
        let client_ca = Authority::configured(section);
        if !section.has("sni") && !section.has("client_ca") && !section.has("source") {
            section.issue("", "has no condition: give it `sni`, `client_ca` or `source`");
            return None;
        }
        let names = if section.has("source") {
            section.required_text("namespace")?;
            Names::Field(Field::configured(section, "namespace")?)
        } else {
            for key in ["pick", "match", "case"].into_iter().filter(|key| section.has(key)) {
                section.issue(key, "says how `source` is read, and there is no `source`");
            }
            Names::This(section.required("namespace", texts::namespace)?)
        };
        Some(Self { sni, client_ca, names })
    }

    /// The name is asked first: it is known before the handshake, and may spare the wait for a certificate.
    fn ask(&self, name: Option<&str>, known: Option<(Known<'_>, &[Certificate])>) -> Ruling {
        if let Some(pattern) = &self.sni {
            if !name.is_some_and(|name| pattern.covers(name)) {
                return Ruling::DoesNotApply;
            }
        }
        let Some((client, path)) = known else {
            return match (&self.client_ca, &self.names) {
                (None, Names::This(name)) => Ruling::Namespace(name.clone()),
                _ => Ruling::NeedCertificate,
            };
        };
        if self.client_ca.as_ref().is_some_and(|authority| !path.iter().any(|ca| authority.is(ca))) {
            return Ruling::DoesNotApply;
        }
        match &self.names {
            Names::This(name) => Ruling::Namespace(name.clone()),
            Names::Field(field) => match field.read(client) {
                Said::Text(text) if texts::is_namespace(&text) => Ruling::Namespace(text),
                Said::Text(_) => Ruling::Refused("does not make the name of a namespace"),
                Said::Nothing => Ruling::DoesNotApply,
                Said::Refused(reason) => Ruling::Refused(reason),
            },
        }
    }
}

impl Authority {
    fn configured(section: &Section<'_>) -> Option<Self> {
        let keys = ["fingerprint_sha256", "spki_sha256", "subject_dn"];
        let inner = section.section("client_ca", &keys)?;
        if keys.iter().filter(|key| inner.has(key)).count() != 1 {
            inner.issue("", "takes exactly one of fingerprint_sha256, spki_sha256 and subject_dn");
            return None;
        }
        let fingerprint = inner.parsed("fingerprint_sha256", texts::sha256).map(Self::Fingerprint);
        let spki = || inner.parsed("spki_sha256", texts::sha256).map(Self::Spki);
        let subject = || inner.text("subject_dn").map(|text| Self::SubjectDn(text.to_owned()));
        fingerprint.or_else(spki).or_else(subject)
    }

    fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Fingerprint(digest) => *digest == certificate.fingerprint_sha256,
            Self::Spki(digest) => *digest == certificate.spki_sha256,
            Self::SubjectDn(text) => *text == certificate.subject_dn,
        }
    }
}

impl Otherwise {
    fn configured(section: &Section<'_>, without_rules: bool) -> Option<Self> {
        if !section.has("default") {
            return Some(if without_rules { Self::DefaultBundle } else { Self::Listener });
        }
        if section.is_section("default") {
            let inner = section.section("default", &["namespace"])?;
            return inner.required("namespace", texts::namespace).map(Self::Namespace);
        }
        match section.choice("default", &[("listener", 1), ("refuse", 2), ("default-bundle", 3)], 0) {
            1 => Some(Self::Listener),
            2 => Some(Self::Refuse),
            3 => Some(Self::DefaultBundle),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
