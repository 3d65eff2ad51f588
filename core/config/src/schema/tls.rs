//! `ssl_options` of a listener.

use std::collections::HashMap;
use std::time::Duration;

use postern_identity::names::{BundleName, BundleRef, DnsName, Namespace, NamespaceName};

use crate::emqx;
use crate::model::{
    CertFiles, CertSource, ClientAuth, ManagedCert, PasswordSource, PemSource, Secret, Tls, UnknownSni, Versions,
};
use crate::problem::{Origin, Spanned};
use crate::reader::{Item, Reader, Section, shown};
use crate::reference;
use crate::value::Value;

/// EMQX allows 15 s. A third of that is ten round trips over a bad line, and sockets that only wait are gone sooner.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest and the longest that may be asked for.
const HANDSHAKE_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(5));
/// A listener's certificate can have a key of one of three types, and there is one in `certfile`.
const MAX_ADDITIONAL: usize = 2;
/// Bundles of one listener, in the configuration.
const MAX_MANAGED: usize = 100_000;

pub(super) fn options(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Tls> {
    let mut section = reader.section(item)?.described(&reference::SSL_OPTIONS);
    let cacertfile = section.take("cacertfile").and_then(|item| pem(reader, &item));
    let source = source(reader, &mut section);
    let client_auth = client_auth(reader, &mut section);
    let crl = super::revocation::crl(reader, &mut section, client_auth);
    let unknown_sni = section.take("unknown_sni").and_then(|item| unknown_sni(reader, &item));
    let versions = section.take("versions").and_then(|item| versions(reader, &item));
    let versions = versions.unwrap_or(Versions { tls12: true, tls13: true });
    let negotiation = super::negotiation::of_listener(reader, &mut section, versions);
    let client_path = super::negotiation::of_clients(reader, &mut section);
    let resumption = super::resumption::of_listener(reader, &mut section, versions);
    let (least, most) = HANDSHAKE_RANGE;
    let timeout = section.take("handshake_timeout").and_then(|item| reader.duration(&item, least, most));
    let stapling = section.take("ocsp").and_then(|item| super::stapling::stapling(reader, &item));
    reader.finish(&section, emqx::SSL_OPTIONS);
    let source = source?;
    if matches!(source, CertSource::Files { .. }) && client_auth != ClientAuth::Off && cacertfile.is_none() {
        let path = section.inner("cacertfile");
        let text = "is missing: with `verify_peer` it says who signs the clients' certificates";
        reader.problem(section.at, &path, text, None);
    }
    Some(Tls {
        source,
        client_auth,
        cacertfile,
        client_path,
        versions,
        negotiation,
        resumption,
        crl,
        stapling,
        unknown_sni: unknown_sni.unwrap_or_default(),
        handshake_timeout: timeout.unwrap_or(HANDSHAKE_TIMEOUT),
    })
}

/// A path, PEM as it is, or nothing where the text is empty.
pub(super) fn pem(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Spanned<PemSource>> {
    let text = reader.text(item)?;
    let at = reader.origin(item.node.at);
    if text.trim().is_empty() {
        return None;
    }
    if text.contains("-----BEGIN ") {
        return Some(Spanned { value: PemSource::Inline(Secret::new(text)), at });
    }
    let path = super::path_of(reader, item, &text)?;
    Some(Spanned { value: PemSource::Path(path), at })
}

fn source(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<CertSource> {
    let own = FileItems::take(section);
    let additional = section.take("additional_certs");
    if let Some(managed) = section.take("managed_certs") {
        for item in [&own.cert, &own.key, &own.password, &additional].into_iter().flatten() {
            reader.warn(item.key_at, &item.path, "has no effect beside `managed_certs`", Some("remove one of them"));
        }
        return managed_certs(reader, &managed).map(CertSource::Managed);
    }
    let additional = additional.and_then(|item| additional_certs(reader, &item));
    let files = own.read(reader, section, &["certfile", "keyfile", "managed_certs"])?;
    Some(CertSource::Files { files, additional: additional.unwrap_or_default() })
}

fn additional_certs(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<CertFiles>> {
    let items = reader.list(item)?;
    if items.len() > MAX_ADDITIONAL {
        let text = format!("{} certificates; beside `certfile` there can be {MAX_ADDITIONAL}", items.len());
        reader.wrong(item, text, Some("keep one each with an RSA, an ECDSA and an Ed25519 key"));
        return None;
    }
    let certs = items.iter().filter_map(|item| {
        let mut section = reader.section(item)?.described(&reference::ADDITIONAL_CERTS);
        let files = FileItems::take(&mut section).read(reader, &section, &["certfile", "keyfile"]);
        reader.finish(&section, &[]);
        files
    });
    Some(certs.collect())
}

/// What a certificate in files is written as.
struct FileItems<'n> {
    cert: Option<Item<'n>>,
    key: Option<Item<'n>>,
    password: Option<Item<'n>>,
}

impl<'n> FileItems<'n> {
    fn take(section: &mut Section<'n>) -> Self {
        let [cert, key, password] = ["certfile", "keyfile", "password"].map(|key| section.take(key));
        Self { cert, key, password }
    }

    /// `sources` are the keys of which a misspelt one says enough.
    fn read(&self, reader: &mut Reader<'_>, section: &Section<'_>, sources: &[&'static str]) -> Option<CertFiles> {
        let found = reader.problems.len();
        let certfile = self.cert.as_ref().and_then(|item| pem(reader, item));
        let keyfile = self.key.as_ref().and_then(|item| pem(reader, item));
        let password = self.password.as_ref().and_then(|item| password_source(reader, item));
        if let (Some(certfile), Some(keyfile)) = (certfile.clone(), keyfile.clone()) {
            return Some(CertFiles { certfile, keyfile, password });
        }
        let broken = |item: &&Item<'_>| matches!(item.node.value, Value::Broken);
        let broken = [&self.cert, &self.key].into_iter().flatten().any(|item| broken(&item));
        if reader.problems.len() > found || broken || section.misspelt(sources) {
            return None;
        }
        let (text, hint) = match (certfile, keyfile) {
            (Some(_), None) => ("there is a `certfile`, but no `keyfile`", "add the private key's file"),
            (None, Some(_)) => ("there is a `keyfile`, but no `certfile`", "add the certificate's file"),
            _ if sources.contains(&"managed_certs") => {
                ("there is no certificate", "add `certfile` and `keyfile`, or `managed_certs`")
            }
            _ => ("there is no certificate", "add `certfile` and `keyfile`"),
        };
        reader.problem(section.at, &section.path, text, Some(hint));
        None
    }
}

fn unknown_sni(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<UnknownSni> {
    reader.word(item, &[("default", UnknownSni::Default), ("refuse", UnknownSni::Refuse)])
}

fn password_source(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Spanned<PasswordSource>> {
    let text = reader.text(item)?;
    let at = reader.origin(item.node.at);
    let value = match text.strip_prefix("file://") {
        Some(path) => PasswordSource::File(super::path_of(reader, item, path)?),
        None => PasswordSource::Inline(Secret::new(text)),
    };
    Some(Spanned { value, at })
}

fn client_auth(reader: &mut Reader<'_>, section: &mut Section<'_>) -> ClientAuth {
    let verify = section.take("verify");
    let verify = verify.and_then(|item| reader.word(&item, &[("verify_none", false), ("verify_peer", true)]));
    let fail = section.take("fail_if_no_peer_cert");
    let must = fail.as_ref().and_then(|item| reader.boolean(item)).unwrap_or(false);
    match (verify.unwrap_or(false), must, fail) {
        (true, true, _) => ClientAuth::Required,
        (true, false, _) => ClientAuth::Optional,
        (false, true, Some(item)) => {
            let text = "has no effect with `verify = verify_none`: clients are not asked for a certificate";
            reader.warn(item.node.at, &item.path, text, Some("write `verify = verify_peer` for mutual TLS"));
            ClientAuth::Off
        }
        _ => ClientAuth::Off,
    }
}

fn versions(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Versions> {
    let mut versions = Versions { tls12: false, tls13: false };
    for item in reader.list(item)? {
        let text = reader.text(&item)?;
        match text.as_str() {
            "tlsv1.2" => versions.tls12 = true,
            "tlsv1.3" => versions.tls13 = true,
            "tlsv1" | "tlsv1.1" => {
                let text = format!("{} is broken and not spoken here (RFC 8996)", shown(&text));
                reader.wrong(&item, text, Some("use `tlsv1.2` and `tlsv1.3`"));
            }
            _ => {
                reader.word(&item, &[("tlsv1.2", ()), ("tlsv1.3", ())]);
            }
        }
    }
    if versions == (Versions { tls12: false, tls13: false }) {
        reader.wrong(item, "no version of TLS is left", Some("write `[tlsv1.3, tlsv1.2]`, or remove it"));
        return None;
    }
    Some(versions)
}

/// One object, or a list of them; the first one is the default.
fn managed_certs(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<Spanned<ManagedCert>>> {
    if matches!(item.node.value, Value::Object(_)) {
        return managed_cert(reader, item).map(|(cert, _)| vec![cert]);
    }
    let items = reader.list(item)?;
    if items.is_empty() {
        reader.wrong(item, "must define at least one managed cert bundle", None);
        return None;
    }
    if items.len() > MAX_MANAGED {
        reader.wrong(item, format!("{} bundles, at most {MAX_MANAGED} fit one listener", items.len()), None);
        return None;
    }
    let mut seen: HashMap<String, Vec<(BundleRef, Origin)>> = HashMap::new();
    let mut certs = Vec::new();
    for item in &items {
        let Some((cert, sni)) = managed_cert(reader, item) else { continue };
        if let (Some(name), Some(sni)) = (&cert.value.sni, sni) {
            let here = reader.origin(sni.node.at);
            let others = seen.entry(name.clone()).or_default();
            claimed(reader, &sni, &cert.value.bundle, others);
            others.push((cert.value.bundle.clone(), here));
        }
        certs.push(cert);
    }
    Some(certs)
}

/// A name may have several bundles of one owner. That their keys are of different types, the certificates show.
fn claimed(reader: &mut Reader<'_>, sni: &Item<'_>, bundle: &BundleRef, others: &[(BundleRef, Origin)]) {
    let Some((first, at)) = others.first() else { return };
    let why = if others.iter().any(|(other, _)| other == bundle) {
        "the same one"
    } else if first.namespace != bundle.namespace {
        "one of another namespace"
    } else if others.len() > MAX_ADDITIONAL {
        "and more than there are types of keys"
    } else {
        return;
    };
    let text = format!("the name was given a bundle already at {at}, {why}");
    reader.wrong(sni, text, Some("one name has one bundle, or one each with an RSA, an ECDSA and an Ed25519 key"));
}

fn managed_cert<'n>(reader: &mut Reader<'_>, item: &Item<'n>) -> Option<(Spanned<ManagedCert>, Option<Item<'n>>)> {
    let mut section = reader.section(item)?.described(&reference::MANAGED_CERTS);
    let namespace = match section.take("namespace") {
        None => Some(Namespace::Global),
        Some(item) => name(reader, &item, "namespace", NamespaceName::new).map(Namespace::Tenant),
    };
    let bundle = section.take("bundle_name");
    if bundle.is_none() && !section.misspelt(&["bundle_name"]) {
        reader.problem(item.node.at, &item.path, "`bundle_name` is missing", None);
    }
    let bundle = bundle.and_then(|item| name(reader, &item, "bundle name", BundleName::new));
    // An empty `sni` is written by EMQX's dashboard where none was given.
    let sni_item = section.take("sni").filter(|item| !matches!(&item.node.value, Value::Text(text) if text.is_empty()));
    let sni = sni_item.as_ref().map(|item| name(reader, item, "server name", server_name));
    reader.finish(&section, &[]);
    let bundle = BundleRef { namespace: namespace?, name: bundle? };
    let value = ManagedCert { bundle, sni: sni.flatten() };
    Some((Spanned { value, at: reader.origin(item.node.at) }, sni_item))
}

/// Exact, or with one `*.` in front that stands for one label (RFC 6125, section 6.4.3).
fn server_name(text: &str) -> Result<String, postern_identity::names::NameError> {
    match text.strip_prefix("*.") {
        Some(parent) => DnsName::new(parent).map(|name| format!("*.{name}")),
        None => DnsName::new(text).map(|name| name.as_str().to_owned()),
    }
}

/// A name that is valid by construction.
pub(super) fn name<T>(
    reader: &mut Reader<'_>,
    item: &Item<'_>,
    kind: &str,
    new: impl Fn(&str) -> Result<T, postern_identity::names::NameError>,
) -> Option<T> {
    let text = reader.text(item)?;
    new(&text).map_err(|why| reader.wrong(item, format!("{} is no {kind}: {why}", shown(&text)), None)).ok()
}
