//! Whom a bundle trusts: of the certificates of its CA file, some are anchors, and the others help to build paths to them.

use std::sync::Arc;

use postern_identity::CertFacts;
use rustls::{Error, RootCertStore};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::chain::MAX_INTERMEDIATES;
use crate::policy::Anchors;

/// The certificates of a CA file.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    certificates: Vec<Member>,
    facts: Vec<Arc<CertFacts>>,
}

#[derive(Debug)]
struct Member {
    der: CertificateDer<'static>,
    /// It names itself as its issuer.
    is_root: bool,
}

/// A CA file as a listener takes it.
#[derive(Debug)]
pub(crate) struct Anchored {
    /// The anchors as webpki knows them.
    pub(crate) roots: Arc<RootCertStore>,
    /// The facts of the anchors, in the same order.
    pub(crate) facts: Vec<Arc<CertFacts>>,
    /// The others, which a path may go through.
    helpers: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Adds a certificate of the file, in the file's order.
    ///
    /// # Errors
    /// Where it could not be an anchor.
    pub(crate) fn add(
        &mut self,
        der: CertificateDer<'static>,
        facts: Arc<CertFacts>,
        is_root: bool,
    ) -> Result<(), Error> {
        RootCertStore::empty().add(der.clone())?;
        self.certificates.push(Member { der, is_root });
        self.facts.push(facts);
        Ok(())
    }

    /// The facts of all, in the file's order.
    pub(crate) fn all(&self) -> &[Arc<CertFacts>] {
        &self.facts
    }

    /// Whether there is an anchor among them.
    pub(crate) fn has_anchor(&self, anchors: Anchors) -> bool {
        !self.certificates.is_empty() && (anchors.last > 0 || self.certificates.iter().any(|member| member.is_root))
    }

    /// Divides them.
    pub(crate) fn anchored(&self, anchors: Anchors) -> Anchored {
        let first_of_last = self.certificates.len().saturating_sub(anchors.last);
        let (mut roots, mut facts, mut helpers) = (RootCertStore::empty(), Vec::new(), Vec::new());
        for (place, member) in self.certificates.iter().enumerate() {
            if member.is_root || place >= first_of_last {
                roots.add(member.der.clone()).expect("each could be added alone");
                facts.push(Arc::clone(&self.facts[place]));
            } else {
                helpers.push(member.der.clone());
            }
        }
        Anchored { roots: Arc::new(roots), facts, helpers }
    }
}

impl Anchored {
    /// What a client sent above its own certificate, and those of the CA file that a path from there may need: they bear
    /// the name of an issuer that is asked for. No more of them than a path can have, so that a large CA file does not
    /// give a hostile client more orders to try.
    pub(crate) fn with_helpers<'a>(
        &'a self,
        leaf: &'a CertificateDer<'a>,
        sent: &'a [CertificateDer<'a>],
    ) -> Vec<CertificateDer<'a>> {
        let mut others: Vec<CertificateDer<'a>> = sent.to_vec();
        if self.helpers.is_empty() {
            return others;
        }
        let helpers: Vec<EndEntityCert<'_>> =
            self.helpers.iter().filter_map(|der| EndEntityCert::try_from(der).ok()).collect();
        let read = std::iter::once(leaf).chain(sent).filter_map(|der| EndEntityCert::try_from(der).ok());
        let mut wanted: Vec<Vec<u8>> = read.map(|cert| cert.issuer().to_vec()).collect();
        let mut taken = vec![false; helpers.len()];
        let mut count = 0;
        while let Some(name) = wanted.pop() {
            for (place, helper) in helpers.iter().enumerate() {
                if count < MAX_INTERMEDIATES && !taken[place] && helper.subject() == name {
                    taken[place] = true;
                    count += 1;
                    wanted.push(helper.issuer().to_vec());
                    if !others.contains(&helper.der()) {
                        others.push(helper.der());
                    }
                }
            }
        }
        others
    }
}
