//! Who is asked about each certificate of a listener that staples.

use std::collections::HashMap;
use std::sync::Arc;

use postern_config::{Listener, PemSource, Problem, Stapling, Tls};
use postern_identity::BundleRef;
use postern_tls::{Bundle, Keyring, ocsp};
use rustls::pki_types::CertificateDer;

use super::bundles::read_file;
use crate::fetch::is_fetchable;
use crate::stapling::{Source, Subject};

/// Longest file of issuers, in bytes.
const ISSUERS_BYTES_MAX: u64 = 1024 * 1024;

/// Certificates whose responses are kept, by their bundles' names. Files that listeners name are all of one name.
#[derive(Default)]
pub(super) struct Subjects(HashMap<BundleRef, Vec<Arc<Subject>>>);

impl Subjects {
    fn of<'s>(all: impl IntoIterator<Item = &'s Arc<Subject>>) -> Self {
        let mut subjects = Self::default();
        all.into_iter().for_each(|subject| subjects.add(subject));
        subjects
    }

    fn add(&mut self, subject: &Arc<Subject>) {
        self.0.entry(subject.bundle.name().clone()).or_default().push(Arc::clone(subject));
    }

    fn named_as(&self, bundle: &Bundle) -> &[Arc<Subject>] {
        self.0.get(bundle.name()).map_or(&[], Vec::as_slice)
    }

    fn find(&self, bundle: &Arc<Bundle>, source: &Source) -> Option<&Arc<Subject>> {
        let is_it = |subject: &&Arc<Subject>| Arc::ptr_eq(&subject.bundle, bundle) && subject.source == *source;
        self.named_as(bundle).iter().find(is_it)
    }
}

/// What is stapled on a listener.
pub(super) struct Stapled {
    /// The certificates whose responses are kept.
    pub(super) subjects: Vec<Arc<Subject>>,
    /// Why there is none for others.
    pub(super) without: Vec<Problem>,
    /// What the operator should know besides.
    pub(super) warnings: Vec<Problem>,
}

impl Stapled {
    /// One of many that cannot be asked about is no reason to serve none of them; where there is no other, it is.
    pub(super) fn checked(mut self, warnings: &mut Vec<Problem>) -> Result<Vec<Arc<Subject>>, Vec<Problem>> {
        if self.subjects.is_empty() && !self.without.is_empty() {
            return Err(self.without);
        }
        warnings.append(&mut self.without);
        warnings.append(&mut self.warnings);
        Ok(self.subjects)
    }

    /// A new certificate is served in any case: the old one's days are numbered.
    pub(super) fn anyhow(mut self, warnings: &mut Vec<Problem>) -> Vec<Arc<Subject>> {
        warnings.append(&mut self.without);
        warnings.append(&mut self.warnings);
        self.subjects
    }
}

/// The certificates whose responses are kept. `before` are those of the same listener so far, which go on where they are
/// the same; `others` are those of other listeners, which may have the same bundle.
pub(super) fn of_listener(
    listener: &Listener,
    tls: &Tls,
    keyring: &Keyring,
    (before, others): (&[Arc<Subject>], &mut Subjects),
) -> Stapled {
    let path = format!("listeners.{}.{}.ssl_options.ocsp", listener.kind.word(), listener.name);
    let mut stapled = Stapled { subjects: Vec::new(), without: Vec::new(), warnings: Vec::new() };
    let Some(stapling) = &tls.stapling else {
        stapled.warnings.extend(keyring.bundles().filter(|bundle| bundle.must_staple()).map(|bundle| Problem {
            path: path.clone(),
            at: listener.at.clone(),
            text: format!(
                "the certificate of {} demands a stapled OCSP response (must-staple), and none will be there",
                bundle.name()
            ),
            hint: Some("write `ocsp { enable_ocsp_stapling = true }`".to_owned()),
        }));
        return stapled;
    };
    let before = Subjects::of(before);
    let issuers = match issuers(stapling, &path) {
        Ok(issuers) => issuers,
        Err(problem) => {
            stapled.without.push(problem);
            return stapled;
        }
    };
    for bundle in keyring.bundles() {
        match source(bundle, stapling, &issuers) {
            Ok(source) => stapled.subjects.push(subject(bundle, source, &before, others)),
            Err(text) => stapled.without.push(Problem {
                path: path.clone(),
                at: stapling.at.clone(),
                text: format!("no OCSP response can be had for {}: {text}", bundle.name()),
                hint: None,
            }),
        }
    }
    stapled
}

fn issuers(stapling: &Stapling, path: &str) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let Some(source) = &stapling.issuer_pem else { return Ok(Vec::new()) };
    let wrong = |text| Problem { path: format!("{path}.issuer_pem"), at: source.at.clone(), text, hint: None };
    let pem = match &source.value {
        PemSource::Inline(pem) => pem.expose().as_bytes().to_vec(),
        PemSource::Path(file) => read_file(file, ISSUERS_BYTES_MAX).map_err(wrong)?,
    };
    ocsp::read_issuers(&pem).map_err(|fault| wrong(fault.to_string()))
}

fn source(bundle: &Bundle, stapling: &Stapling, issuers: &[CertificateDer<'_>]) -> Result<Source, String> {
    let question = bundle.ocsp_question(issuers).map_err(|error| error.to_string())?;
    let own = || bundle.ocsp_responders().into_iter().find(|url| is_fetchable(url));
    let responder = stapling.responder_url.as_ref().map(|url| url.value.clone()).or_else(own).ok_or(
        "its certificate names no responder that can be asked by http:// (authority information access); \
         give one by `ocsp.responder_url`",
    )?;
    if !is_fetchable(&responder) {
        return Err(format!("`{}` is no address that can be asked", responder.escape_debug()));
    }
    Ok(Source { responder, question, refresh: stapling.refresh_interval, timeout: stapling.http_timeout })
}

/// One that is there already, or a new one that goes on where the listener's last one of that certificate left off.
fn subject(bundle: &Arc<Bundle>, source: Source, before: &Subjects, others: &mut Subjects) -> Arc<Subject> {
    if let Some(same) = before.find(bundle, &source).or_else(|| others.find(bundle, &source)) {
        return Arc::clone(same);
    }
    let new = Subject::new(Arc::clone(bundle), source);
    if let Some(last) = before.named_as(bundle).first() {
        new.inherit(last);
    }
    let new = Arc::new(new);
    others.add(&new);
    new
}
