//! The rule list, from the `config` section.

use postern_kit::config::{self, Issue, Section, suggestion};
use postern_kit::field::{Field, Source, object_identifier};
use postern_kit::known::Known;
use postern_kit::texts;
use postern_kit::wit::certificates::Certificate;

/// Most rules.
const MAX_RULES: usize = 64;
/// Most attributes; the host keeps no more (`client-authorizer.identity`).
const MAX_ATTRIBUTES: usize = 32;
/// Longest name of an attribute, in bytes.
const MAX_ATTRIBUTE_NAME_BYTES: usize = 64;
/// The keys of a rule.
const RULE_KEYS: [&str; 8] = ["source", "pick", "match", "template", "case", "set", "require", "optional"];
/// The keys of the section.
const KEYS: [&str; 5] =
    ["rules", "peer_cert_as_username", "peer_cert_as_clientid", "allow_topic_characters", "username_from_connect"];

/// What a rule sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Username,
    ClientId,
    Attribute(String),
}

/// All rules for one target, in their order.
#[derive(Debug)]
pub(crate) struct TargetRules {
    pub(crate) target: Target,
    pub(crate) rules: Vec<Rule>,
}

/// How a target may get its value.
#[derive(Debug)]
pub(crate) struct Rule {
    /// What messages call it: `rules[2]`.
    pub(crate) place: String,
    pub(crate) require: Requirements,
    pub(crate) field: Field,
    pub(crate) optional: bool,
}

/// What a certificate must be like for a rule to look at it.
#[derive(Debug, Default)]
pub(crate) struct Requirements {
    issuer_spki: Option<String>,
    issuer_dn: Option<String>,
    usages: Vec<String>,
}

/// The plugin's configuration, ready to be asked.
#[derive(Debug)]
pub struct Rules {
    pub(crate) targets: Vec<TargetRules>,
    pub(crate) topic_characters: bool,
}

impl Rules {
    /// Reads the `config` section.
    pub fn from_json(json: &str) -> Result<Self, Vec<Issue>> {
        config::read(json, &KEYS, |section| {
            let mut targets = Vec::new();
            for (place, section) in section.sections("rules", MAX_RULES, &RULE_KEYS).iter().enumerate() {
                if let Some((target, rule)) = Rule::configured(section, place) {
                    add(&mut targets, target, rule);
                }
            }
            shorthand(section, "peer_cert_as_username", Target::Username, &mut targets);
            shorthand(section, "peer_cert_as_clientid", Target::ClientId, &mut targets);
            let topic_characters = section.flag("allow_topic_characters");
            checked(section, &targets);
            Some(Self { targets, topic_characters })
        })
    }
}

fn add(targets: &mut Vec<TargetRules>, target: Target, rule: Rule) {
    match targets.iter_mut().find(|known| known.target == target) {
        Some(known) => known.rules.push(rule),
        None => targets.push(TargetRules { target, rules: vec![rule] }),
    }
}

/// What only the whole list shows. Rules at fault are missing from `targets`; their own issues come first.
fn checked(section: &Section<'_>, targets: &[TargetRules]) {
    let attributes = targets.iter().filter(|known| matches!(known.target, Target::Attribute(_))).count();
    if attributes > MAX_ATTRIBUTES {
        section.issue("rules", format!("set {attributes} attributes, at most {MAX_ATTRIBUTES} are kept"));
    }
    let from_connect = section.flag("username_from_connect");
    let sets_username = targets.iter().any(|known| known.target == Target::Username);
    if targets.is_empty() && !section.has("rules") {
        section.issue(
            "rules",
            "there must be at least one rule, such as { source = subject.cn, set = username }, \
             or peer_cert_as_username = cn",
        );
    } else if !sets_username && !from_connect {
        section.issue(
            "rules",
            "no rule sets username, so every client would be refused; \
             to let CONNECT name any user, say username_from_connect = true",
        );
    } else if sets_username && from_connect {
        section.issue("username_from_connect", "contradicts the rule that sets username; one of the two must go");
    }
}

/// EMQX's `peer_cert_as_username` and `peer_cert_as_clientid`.
fn shorthand(section: &Section<'_>, key: &str, target: Target, targets: &mut Vec<TargetRules>) {
    let source = match section.text(key) {
        None | Some("disabled") => return,
        Some("cn") => Source::Subject("2.5.4.3".to_owned()),
        Some("dn") => Source::SubjectDn,
        Some("md5") => Source::CertificateMd5,
        Some(whole @ ("crt" | "pem")) => {
            section.issue(
                key,
                format!(
                    "\"{whole}\" is the whole certificate, which no identity of 256 bytes can hold; \
                     use a rule with source = \"sha256(cert)\" instead"
                ),
            );
            return;
        }
        Some(other) => {
            let known = ["disabled", "cn", "dn", "md5"];
            section
                .issue(key, format!("\"{other}\" is not one of disabled, cn, dn, md5; {}", suggestion(other, &known)));
            return;
        }
    };
    if targets.iter().any(|known| known.target == target) {
        section.issue(key, "a rule sets the same; one of the two must go");
        return;
    }
    let field = Field::plain(source);
    add(targets, target, Rule { place: key.to_owned(), require: Requirements::default(), field, optional: false });
}

impl Rule {
    fn configured(section: &Section<'_>, place: usize) -> Option<(Target, Self)> {
        let target = section.required("set", Target::parse);
        let field = Field::configured(section, "template");
        let require = Requirements::configured(section);
        let optional = section.flag("optional");
        if optional && target == Some(Target::Username) {
            section.issue("optional", "a client without a user name is refused, so this rule cannot be optional");
        }
        let rule = Self { place: format!("rules[{place}]"), require: require?, field: field?, optional };
        Some((target?, rule))
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "username" => return Ok(Self::Username),
            "client_id" => return Ok(Self::ClientId),
            _ => {}
        }
        let Some(name) = text.strip_prefix("attribute.").or_else(|| text.strip_prefix("attribute ")) else {
            let known = ["username", "client_id", "attribute.NAME"];
            return Err(format!("\"{text}\" cannot be set; {}", suggestion(text, &known)));
        };
        let name = name.trim();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if (1..=MAX_ATTRIBUTE_NAME_BYTES).contains(&name.len()) && name.bytes().all(plain) {
            Ok(Self::Attribute(name.to_owned()))
        } else {
            Err(format!("an attribute's name has 1 to {MAX_ATTRIBUTE_NAME_BYTES} letters, digits, '_', '-' or '.'"))
        }
    }
}

impl Requirements {
    fn configured(section: &Section<'_>) -> Option<Self> {
        if !section.has("require") {
            return Some(Self::default());
        }
        let inner = section.section("require", &["issuer_spki", "issuer_dn", "eku", "policy_oid"])?;
        if inner.has("policy_oid") {
            inner.issue("policy_oid", "certificate policies are not read; require issuer_spki or eku instead");
        }
        let usages = inner
            .texts("eku")
            .into_iter()
            .filter_map(|word| usage(word).map_err(|message| inner.issue("eku", message)).ok());
        Some(Self {
            usages: usages.collect(),
            issuer_spki: inner.parsed("issuer_spki", texts::sha256),
            issuer_dn: inner.text("issuer_dn").map(str::to_owned),
        })
    }

    /// Whether they hold for the client's certificate, whose issuer is the first of the others. A bare common name
    /// meets none.
    pub(crate) fn hold(&self, client: Known<'_>, issuers: &[Certificate]) -> bool {
        let Known::Whole(client) = client else {
            return self.issuer_spki.is_none() && self.issuer_dn.is_none() && self.usages.is_empty();
        };
        let spki = |digest: &String| issuers.first().is_some_and(|issuer| issuer.spki_sha256 == *digest);
        self.issuer_spki.as_ref().is_none_or(spki)
            && self.issuer_dn.as_ref().is_none_or(|text| client.issuer_dn == *text)
            && self.usages.iter().all(|usage| client.extended_key_usages.contains(usage))
    }
}

/// An extended key usage by EMQX's word for it, or as an object identifier (RFC 5280 section 4.2.1.12).
fn usage(word: &str) -> Result<String, String> {
    const WORDS: [(&str, &str); 6] = [
        ("serverAuth", "1.3.6.1.5.5.7.3.1"),
        ("clientAuth", "1.3.6.1.5.5.7.3.2"),
        ("codeSigning", "1.3.6.1.5.5.7.3.3"),
        ("emailProtection", "1.3.6.1.5.5.7.3.4"),
        ("timeStamping", "1.3.6.1.5.5.7.3.8"),
        ("ocspSigning", "1.3.6.1.5.5.7.3.9"),
    ];
    if let Some((_, oid)) = WORDS.iter().find(|(known, _)| *known == word) {
        return Ok((*oid).to_owned());
    }
    object_identifier(word.strip_prefix("OID:").unwrap_or(word)).map_err(|_| {
        let known: Vec<&str> = WORDS.iter().map(|(known, _)| *known).collect();
        format!("\"{word}\" is not a key usage; {}", suggestion(word, &known))
    })
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
