//! One text out of a certificate: where it stands, which of several counts, what it must look like.
//!
//! A certificate that says a thing twice, or in bytes that have no one reading, says nothing: the answer is a
//! refusal then, and no other rule is asked, so that a certificate cannot choose the rule that reads it.

use std::borrow::Cow;

use crate::config::{Section, one_of, suggestion};
use crate::expression::{Expression, Template};
use crate::known::Known;
use crate::texts::{self, MAX_BYTES};
use crate::wit::certificates::{Certificate, NameAttribute, San};

/// The object identifier of a common name (RFC 4519 section 2.3).
const COMMON_NAME: &str = "2.5.4.3";

/// Subject attributes with a short name here, and their object identifiers (RFC 4519).
const SUBJECT_ATTRIBUTES: [(&str, &str); 5] = [
    ("subject.cn", COMMON_NAME),
    ("subject.o", "2.5.4.10"),
    ("subject.ou", "2.5.4.11"),
    ("subject.serialnumber", "2.5.4.5"),
    ("subject.uid", "0.9.2342.19200300.100.1.1"),
];

/// All words that a source may be, for suggestions.
const SOURCES: [&str; 14] = [
    "subject.cn",
    "subject.o",
    "subject.ou",
    "subject.serialnumber",
    "subject.uid",
    "subject.rdn(OID)",
    "subject.dn",
    "san.dns",
    "san.uri",
    "san.email",
    "san.ip",
    "serial+issuer",
    "sha256(cert)",
    "sha256(spki)",
];

/// Largest `index(N)`.
const MAX_INDEX: usize = 99;

/// Where in a certificate a text stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Attributes of the subject, by object identifier.
    Subject(String),
    /// The subject as RFC 4514 text.
    SubjectDn,
    /// dNSName entries of the `SubjectAltName`.
    SanDns,
    /// uniformResourceIdentifier entries.
    SanUri,
    /// rfc822Name entries.
    SanEmail,
    /// iPAddress entries.
    SanIp,
    /// Serial number and issuer, as `SERIAL:ISSUER`.
    SerialIssuer,
    /// SHA-256 of the certificate.
    CertificateSha256,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    SpkiSha256,
    /// MD5 of the certificate, as EMQX writes it.
    CertificateMd5,
}

impl Source {
    /// Reads a source. `md5` has no word: it serves EMQX's shorthand alone.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = text.to_ascii_lowercase();
        if let Some((_, oid)) = SUBJECT_ATTRIBUTES.iter().find(|(name, _)| *name == word) {
            return Ok(Self::Subject((*oid).to_owned()));
        }
        if let Some(oid) = word.strip_prefix("subject.rdn(").and_then(|rest| rest.strip_suffix(')')) {
            return object_identifier(oid).map(Self::Subject);
        }
        match word.as_str() {
            "subject.dn" => Ok(Self::SubjectDn),
            "san.dns" => Ok(Self::SanDns),
            "san.uri" => Ok(Self::SanUri),
            "san.email" => Ok(Self::SanEmail),
            "san.ip" => Ok(Self::SanIp),
            "serial+issuer" => Ok(Self::SerialIssuer),
            "sha256(cert)" => Ok(Self::CertificateSha256),
            "sha256(spki)" => Ok(Self::SpkiSha256),
            _ => Err(format!("\"{text}\" is not a source; {}", suggestion(&word, &SOURCES))),
        }
    }

    /// All texts that stand there; none for one that cannot be read.
    fn values<'c>(&self, known: Known<'c>) -> Vec<Option<Cow<'c, str>>> {
        let certificate = match known {
            Known::Whole(certificate) => certificate,
            Known::CommonName(name) if matches!(self, Self::Subject(oid) if oid == COMMON_NAME) => {
                return vec![Some(Cow::Borrowed(name))];
            }
            Known::CommonName(_) => return Vec::new(),
        };
        match self {
            Self::Subject(oid) => attributes(&certificate.subject, oid),
            Self::SubjectDn => distinguished_name(&certificate.subject, &certificate.subject_dn),
            Self::SanDns => sans(certificate, |san| if let San::Dns(text) = san { Some(text) } else { None }),
            Self::SanUri => sans(certificate, |san| if let San::Uri(text) = san { Some(text) } else { None }),
            Self::SanEmail => sans(certificate, |san| if let San::Email(text) = san { Some(text) } else { None }),
            Self::SanIp => sans(certificate, |san| if let San::Ip(text) = san { Some(text) } else { None }),
            Self::SerialIssuer => distinguished_name(&certificate.issuer, &certificate.issuer_dn)
                .into_iter()
                .map(|issuer| issuer.map(|issuer| Cow::Owned(format!("{}:{issuer}", certificate.serial_hex))))
                .collect(),
            Self::CertificateSha256 => vec![Some(Cow::Borrowed(&certificate.fingerprint_sha256))],
            Self::SpkiSha256 => vec![Some(Cow::Borrowed(&certificate.spki_sha256))],
            Self::CertificateMd5 => vec![Some(Cow::Owned(format!("{:x}", md5::compute(&certificate.der))))],
        }
    }
}

fn attributes<'c>(name: &'c [NameAttribute], oid: &str) -> Vec<Option<Cow<'c, str>>> {
    let read = |attribute: &'c NameAttribute| attribute.value.as_deref().map(Cow::Borrowed);
    name.iter().filter(|attribute| attribute.oid == oid).map(read).collect()
}

/// A name with an unreadable attribute is unreadable as a whole; an empty name is none.
fn distinguished_name<'c>(name: &[NameAttribute], text: &'c str) -> Vec<Option<Cow<'c, str>>> {
    if name.is_empty() {
        return Vec::new();
    }
    vec![name.iter().all(|attribute| attribute.value.is_some()).then_some(Cow::Borrowed(text))]
}

fn sans<'c>(certificate: &'c Certificate, of: impl Fn(&'c San) -> Option<&'c String>) -> Vec<Option<Cow<'c, str>>> {
    certificate.sans.iter().filter_map(of).map(|text| Some(Cow::Borrowed(text.as_str()))).collect()
}

/// Reads a dotted object identifier.
pub fn object_identifier(text: &str) -> Result<String, String> {
    let arcs = text.split('.').count();
    let numbers = text.split('.').all(|arc| {
        !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'))
    });
    if numbers && arcs >= 2 && text.len() <= 128 {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is not an object identifier: write numbers with dots, such as 2.5.4.3"))
    }
}

/// Which of several values counts.
#[derive(Debug, Clone)]
pub enum Pick {
    /// There must be exactly one.
    Only,
    /// The first of the certificate.
    First,
    /// This one, counted from 0.
    Index(usize),
    /// The one that matches the expression, or, without one, `match`. Two that match are ambiguous.
    AnyMatching(Option<Expression>),
}

impl Pick {
    /// Reads `only`, `first`, `index(N)`, `any-matching` or `any-matching(REGEX)`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(number) = argument(text, "index") {
            let index = number.parse().ok().filter(|index| *index <= MAX_INDEX);
            return index.map(Self::Index).ok_or_else(|| format!("index(N) takes a number from 0 to {MAX_INDEX}"));
        }
        if let Some(expression) = argument(text, "any-matching") {
            return Expression::parse(expression).map(|expression| Self::AnyMatching(Some(expression)));
        }
        one_of(text, &[("only", 0), ("first", 1), ("any-matching", 2), ("index(N)", 3)]).and_then(|word| match word {
            0 => Ok(Self::Only),
            1 => Ok(Self::First),
            2 => Ok(Self::AnyMatching(None)),
            _ => Err(format!("index(N) takes a number from 0 to {MAX_INDEX}")),
        })
    }
}

fn argument<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')')
}

/// What happens to the letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Nothing.
    Keep,
    /// `A` to `Z` become `a` to `z`; every other character stays as it is.
    LowerAscii,
}

/// What a field says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// This text.
    Text(String),
    /// Nothing: the field is absent, or does not match.
    Nothing,
    /// Something that must not be guessed at; the reason, without the text.
    Refused(&'static str),
}

/// How one text is read out of a certificate.
#[derive(Debug, Clone)]
pub struct Field {
    source: Source,
    pick: Pick,
    expression: Option<Expression>,
    template: Template,
    case: Case,
}

impl Field {
    /// The keys that [`Field::configured`] reads, besides the template's.
    pub const KEYS: [&'static str; 4] = ["source", "pick", "match", "case"];

    /// A source as it stands: exactly one value, whole, unchanged.
    pub fn plain(source: Source) -> Self {
        Self { source, pick: Pick::Only, expression: None, template: Template::whole(), case: Case::Keep }
    }

    /// Reads `source`, `pick`, `match` and `case`, and the template under the given key.
    pub fn configured(section: &Section<'_>, template_key: &str) -> Option<Self> {
        let source = section.required("source", Source::parse);
        let pick = if section.has("pick") { section.parsed("pick", Pick::parse) } else { Some(Pick::Only) };
        let expression = section.parsed("match", Expression::parse);
        if section.has("match") && expression.is_none() {
            return None;
        }
        let template = match section.text(template_key) {
            Some(_) => section.parsed(template_key, |text| Template::parse(text, expression.as_ref())),
            None => Some(Template::whole()),
        };
        let case = section.choice("case", &[("keep", Case::Keep), ("lower-ascii", Case::LowerAscii)], Case::Keep);
        let pick = pick?;
        if matches!(pick, Pick::AnyMatching(None)) && expression.is_none() {
            section.issue("pick", "any-matching needs `match`, or an expression of its own: any-matching(REGEX)");
            return None;
        }
        Some(Self { source: source?, pick, expression, template: template?, case })
    }

    /// Reads it.
    pub fn read<'c>(&self, client: impl Into<Known<'c>>) -> Said {
        let values = self.source.values(client.into());
        if values.is_empty() {
            return Said::Nothing;
        }
        let Some(values) = values.into_iter().collect::<Option<Vec<_>>>() else {
            return Said::Refused("is in an encoding that is not read");
        };
        match self.pick(&values) {
            Ok(Some(value)) => self.transformed(value),
            Ok(None) => Said::Nothing,
            Err(reason) => Said::Refused(reason),
        }
    }

    fn pick<'v>(&self, values: &'v [Cow<'_, str>]) -> Result<Option<&'v str>, &'static str> {
        let (matching, more) = match (&self.pick, values) {
            (Pick::Only, [value]) => return Ok(Some(value)),
            (Pick::Only, _) => return Err("stands there more than once"),
            (Pick::First, values) => return Ok(values.first().map(AsRef::as_ref)),
            (Pick::Index(index), values) => return Ok(values.get(*index).map(AsRef::as_ref)),
            (Pick::AnyMatching(own), values) => {
                let expression = own.as_ref().or(self.expression.as_ref());
                let mut matching = values.iter().filter(|value| expression.is_some_and(|e| e.matches(value)));
                (matching.next(), matching.next())
            }
        };
        if more.is_some() { Err("has more than one value that matches") } else { Ok(matching.map(AsRef::as_ref)) }
    }

    fn transformed(&self, value: &str) -> Said {
        if value.len() > MAX_BYTES {
            return Said::Refused(texts::Unusable::TooLong.reason());
        }
        // Before the expression: `.` must not carry away what a log or a topic would stumble over.
        if let Err(unusable) = texts::usable(value, true) {
            return Said::Refused(unusable.reason());
        }
        let groups = match &self.expression {
            Some(expression) => match expression.groups(value) {
                Some(groups) => Some(groups),
                None => return Said::Nothing,
            },
            None => None,
        };
        let Some(mut text) = self.template.fill(value, groups.as_ref()) else { return Said::Nothing };
        if self.case == Case::LowerAscii {
            text.make_ascii_lowercase();
        }
        Said::Text(text)
    }
}

#[cfg(test)]
#[path = "field_tests.rs"]
mod tests;
