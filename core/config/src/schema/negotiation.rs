//! What a handshake may end with, and what is asked of client certificates: keys of `ssl_options`.

use crate::handshake::{ClientPath, Negotiation, PartialChain};
use crate::model::Versions;
use crate::reader::{Item, Reader, Section, nearest, shown};
use crate::suites::{self, Named};
use crate::value::Value;

/// Longest list of suites or groups. OpenSSL knows about 170 suites.
const MAX_NAMES: usize = 1_000;
/// Names that one message shows.
const MAX_SHOWN: usize = 4;
/// The largest `depth` that can be written.
const MAX_DEPTH: u64 = 255;
/// The verifier follows no longer paths (`postern_tls::chain::MAX_INTERMEDIATES`).
const MOST_INTERMEDIATES: u64 = 6;
/// Usages of one certificate.
const MAX_USAGES: usize = 64;

/// `ciphers`, `honor_cipher_order` and `groups`.
pub(super) fn of_listener(reader: &mut Reader<'_>, section: &mut Section<'_>, versions: Versions) -> Negotiation {
    let mut negotiation = Negotiation::default();
    if let Some(item) = section.take("ciphers") {
        negotiation.ciphers = ciphers(reader, &item, versions).unwrap_or_default();
    }
    let honor = section.take("honor_cipher_order").and_then(|item| reader.boolean(&item));
    negotiation.honor_cipher_order = honor.unwrap_or(true);
    if let Some(item) = section.take("groups")
        && let Some(groups) = groups(reader, &item, versions)
    {
        negotiation.groups = groups;
    }
    negotiation
}

/// The words of a list, or of a text in which they stand between commas or colons, as EMQX and OpenSSL have it.
fn words(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<String>> {
    let found: Vec<String> = if matches!(item.node.value, Value::List(_)) {
        let items = reader.list(item)?;
        items.iter().map(|item| reader.text(item)).collect::<Option<_>>()?
    } else {
        reader.text(item)?.split([',', ':']).map(str::to_owned).collect()
    };
    if found.len() > MAX_NAMES {
        reader.wrong(item, format!("{} names, at most {MAX_NAMES} are read", found.len()), None);
        return None;
    }
    Some(found.iter().map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect())
}

/// What is known of the names of a list.
struct Sorted<T: 'static> {
    /// In their order, each once.
    spoken: Vec<&'static T>,
    unspoken: Vec<String>,
}

/// None where one is unknown, which is said.
fn sorted<T: 'static>(
    reader: &mut Reader<'_>,
    item: &Item<'_>,
    what: &str,
    known: impl Fn(&str) -> Option<Named<&'static T>>,
    all: impl Iterator<Item = &'static str>,
) -> Option<Sorted<T>> {
    let all: Vec<&str> = all.collect();
    let mut found = Sorted { spoken: Vec::new(), unspoken: Vec::new() };
    let problems = reader.problems.len();
    for word in words(reader, item)? {
        match known(&word) {
            Some(Named::Spoken(one)) if found.spoken.iter().any(|there| std::ptr::eq(*there, one)) => {}
            Some(Named::Spoken(one)) => found.spoken.push(one),
            Some(Named::Unspoken) => found.unspoken.push(word),
            None => {
                let guess = nearest(&word, all.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                reader.wrong(item, format!("{} is not the name of a {what}", shown(&word)), guess.as_deref());
            }
        }
    }
    (reader.problems.len() == problems).then_some(found)
}

/// One warning for all of them.
fn left_out(reader: &mut Reader<'_>, item: &Item<'_>, names: &[String], why: &str) {
    if names.is_empty() {
        return;
    }
    let more = names.len().saturating_sub(MAX_SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} others") };
    let names: Vec<String> = names.iter().take(MAX_SHOWN).map(|name| shown(name)).collect();
    reader.warn(item.node.at, &item.path, format!("left out: {}{more}: {why}", names.join(", ")), None);
}

fn ciphers(reader: &mut Reader<'_>, item: &Item<'_>, versions: Versions) -> Option<Vec<u16>> {
    let found = sorted(reader, item, "cipher suite", suites::suite, suites::suite_names())?;
    if found.spoken.is_empty() && found.unspoken.is_empty() {
        return None;
    }
    let names_tls13 =
        found.spoken.iter().any(|suite| suite.tls13) || found.unspoken.iter().any(|name| suites::is_tls13(name));
    let why = "never spoken here, for want of forward secrecy or of authenticated encryption";
    left_out(reader, item, &found.unspoken, why);
    let mut chosen = found.spoken;
    if versions.tls13 && !names_tls13 {
        // As EMQX has it: a list from the days of TLS 1.2 does not switch 1.3 off.
        chosen.splice(0..0, suites::SPOKEN.iter().filter(|suite| suite.tls13));
    }
    for (enabled, tls13, version) in [(versions.tls12, false, "1.2"), (versions.tls13, true, "1.3")] {
        if enabled && !chosen.iter().any(|suite| suite.tls13 == tls13) {
            let example = if tls13 { "TLS_AES_128_GCM_SHA256" } else { "ECDHE-ECDSA-AES128-GCM-SHA256" };
            let text = format!("no cipher suite of TLS {version} is left, and `versions` has it");
            let hint = format!("add one such as `{example}`, or take tlsv{version} out of `versions`");
            reader.wrong(item, text, Some(&hint));
        }
    }
    Some(chosen.iter().map(|suite| suite.number).collect())
}

fn groups(reader: &mut Reader<'_>, item: &Item<'_>, versions: Versions) -> Option<Vec<u16>> {
    let found = sorted(reader, item, "key exchange group", suites::group, suites::group_names())?;
    if found.spoken.is_empty() && found.unspoken.is_empty() {
        return None;
    }
    left_out(reader, item, &found.unspoken, "not spoken here");
    let hint = "add one such as `x25519`";
    if found.spoken.is_empty() {
        reader.wrong(item, "no key exchange group is left", Some(hint));
    } else if versions.tls12 && !found.spoken.iter().any(|group| group.tls12) {
        let text = "no key exchange group of TLS 1.2 is left, and `versions` has it";
        reader.wrong(item, text, Some("add one such as `x25519`, or take tlsv1.2 out of `versions`"));
    }
    Some(found.spoken.iter().map(|group| group.number).collect())
}

/// `depth`, `partial_chain` and `verify_peer_ext_key_usage`.
pub(super) fn of_clients(reader: &mut Reader<'_>, section: &mut Section<'_>) -> ClientPath {
    const CHAINS: [(&str, PartialChain); 4] = [
        ("false", PartialChain::Roots),
        ("true", PartialChain::Last),
        ("cacert_from_cacertfile", PartialChain::Last),
        ("two_cacerts_from_cacertfile", PartialChain::LastTwo),
    ];
    let mut path = ClientPath::default();
    if let Some(item) = section.take("depth")
        && let Some(depth) = reader.integer(&item, 0, MAX_DEPTH)
    {
        if depth > MOST_INTERMEDIATES {
            let text = format!("paths of more than {MOST_INTERMEDIATES} intermediate certificates are never followed");
            reader.warn(item.node.at, &item.path, text, Some("write 6, or remove it"));
        }
        path.depth = usize::try_from(depth).expect("the range ends within 8 bits");
    }
    if let Some(item) = section.take("partial_chain")
        && let Some(chain) = reader.word(&item, &CHAINS)
    {
        path.partial_chain = chain;
    }
    if let Some(item) = section.take("verify_peer_ext_key_usage") {
        path.usages = usages(reader, &item).unwrap_or_default();
    }
    path
}

fn usages(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<String>> {
    const WORDS: [(&str, &str); 6] = [
        ("clientAuth", "1.3.6.1.5.5.7.3.2"),
        ("serverAuth", "1.3.6.1.5.5.7.3.1"),
        ("codeSigning", "1.3.6.1.5.5.7.3.3"),
        ("emailProtection", "1.3.6.1.5.5.7.3.4"),
        ("timeStamping", "1.3.6.1.5.5.7.3.8"),
        ("ocspSigning", "1.3.6.1.5.5.7.3.9"),
    ];
    let (mut found, mut certain) = (Vec::new(), true);
    // An identifier has a colon in it, so that colons do not separate here.
    let texts: Vec<String> = if matches!(item.node.value, Value::List(_)) {
        let items = reader.list(item)?;
        items.iter().map(|item| reader.text(item)).collect::<Option<_>>()?
    } else {
        reader.text(item)?.split(',').map(str::to_owned).collect()
    };
    for word in texts.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
        let by_word = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, oid)| *oid);
        match by_word.or_else(|| word.strip_prefix("OID:").filter(|oid| is_oid(oid))) {
            Some(oid) if found.iter().any(|there| there == oid) => {}
            Some(oid) => found.push(oid.to_owned()),
            None => {
                let guess = nearest(word, WORDS.iter().map(|(known, _)| *known));
                let guess = guess.map(|near| format!("did you mean `{near}`?"));
                let text = format!("{} is not an extended key usage", shown(word));
                let hint = "write a word such as `clientAuth`, or `OID:1.2.3`";
                reader.wrong(item, text, Some(guess.as_deref().unwrap_or(hint)));
                certain = false;
            }
        }
    }
    if found.len() > MAX_USAGES {
        reader.wrong(item, format!("{} usages, at most {MAX_USAGES} are read", found.len()), None);
        return None;
    }
    certain.then_some(found)
}

fn is_oid(text: &str) -> bool {
    const MAX_BYTES: usize = 128;
    let arcs = text.split('.');
    text.len() <= MAX_BYTES
        && text.contains('.')
        && arcs.into_iter().all(|arc| arc.parse::<u64>().is_ok_and(|value| value.to_string() == arc))
}
