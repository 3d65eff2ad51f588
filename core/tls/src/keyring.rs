//! The bundles of one listener. A bundle outside it does not exist for the listener and its plugins.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use postern_identity::{BundleDirectory, BundleInfo, BundleRef, NamespaceName, Refusal};

use crate::bundle::{Bundle, served_name};

/// A bundle as the listener attaches it.
#[derive(Debug, Clone)]
pub struct KeyringEntry {
    /// The bundle.
    pub bundle: Arc<Bundle>,
    /// The name it answers to here, exact or with one leading `*.`. None: the DNS names of its certificate.
    pub sni: Option<String>,
}

/// Why entries do not make a keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Two bundles are to answer to one name.
    #[error("the `sni` {name:?} is given to both {first} and {second}; one name has one bundle")]
    NameTwice {
        /// The name.
        name: String,
        /// The bundle that had it.
        first: BundleRef,
        /// The bundle that wants it too.
        second: BundleRef,
    },
    /// Not a name that a client can ask for.
    #[error(
        "the `sni` {sni:?} of {bundle} is not a DNS name; write one such as \"mqtt.example.org\" or \"*.example.org\""
    )]
    InvalidName {
        /// The bundle.
        bundle: BundleRef,
        /// The text, escaped.
        sni: String,
    },
    /// One reference, two contents.
    #[error("two different bundles are called {bundle}")]
    TwoContents {
        /// The reference.
        bundle: BundleRef,
    },
}

/// The bundles of one listener and the names they answer to. Immutable; every look-up is one hash.
#[derive(Debug, Default)]
pub struct Keyring {
    bundles: Vec<(Arc<Bundle>, BundleInfo)>,
    by_ref: HashMap<BundleRef, usize>,
    by_name: HashMap<String, usize>,
    namespaces: Vec<NamespaceName>,
}

impl Keyring {
    /// Attaches the entries, the first one as the default, and the namespaces. A bundle may come in several
    /// entries with different names. A name in an `sni` beats the same name in a certificate; among
    /// certificates the first entry wins.
    ///
    /// # Errors
    /// [`KeyringError`] where a name is claimed twice by `sni`, is no name, or one reference has two contents.
    pub fn build(entries: Vec<KeyringEntry>, namespaces: Vec<NamespaceName>) -> Result<Self, KeyringError> {
        let mut keyring = Self::default();
        for namespace in namespaces {
            if !keyring.namespaces.contains(&namespace) {
                keyring.namespaces.push(namespace);
            }
        }
        let mut implied = Vec::new();
        for KeyringEntry { bundle, sni } in entries {
            let place = keyring.place_of(bundle)?;
            match sni {
                Some(sni) => keyring.claim(&sni, place)?,
                None => implied.push(place),
            }
        }
        for place in implied {
            keyring.claim_own_names(place);
        }
        Ok(keyring)
    }

    /// The bundle of this reference.
    pub fn bundle(&self, bundle: &BundleRef) -> Option<&Arc<Bundle>> {
        self.by_ref.get(bundle).map(|&place| &self.bundles[place].0)
    }

    /// The first bundle, which is the default one.
    pub fn first(&self) -> Option<&Arc<Bundle>> {
        self.bundles.first().map(|(bundle, _)| bundle)
    }

    /// All bundles, the default first.
    pub fn bundles(&self) -> impl Iterator<Item = &Arc<Bundle>> {
        self.bundles.iter().map(|(bundle, _)| bundle)
    }

    fn place_of(&mut self, bundle: Arc<Bundle>) -> Result<usize, KeyringError> {
        match self.by_ref.entry(bundle.name().clone()) {
            Entry::Occupied(known) => {
                let place = *known.get();
                if self.bundles[place].0.generation() != bundle.generation() {
                    return Err(KeyringError::TwoContents { bundle: bundle.name().clone() });
                }
                Ok(place)
            }
            Entry::Vacant(vacant) => {
                let place = *vacant.insert(self.bundles.len());
                let info = describe(&bundle);
                self.bundles.push((bundle, info));
                Ok(place)
            }
        }
    }

    fn claim(&mut self, sni: &str, place: usize) -> Result<(), KeyringError> {
        let own = self.bundles[place].0.name();
        let Some(name) = served_name(sni) else {
            return Err(KeyringError::InvalidName { bundle: own.clone(), sni: Refusal::foreign(sni) });
        };
        match self.by_name.entry(name) {
            Entry::Occupied(taken) if *taken.get() == place => Ok(()),
            Entry::Occupied(taken) => Err(KeyringError::NameTwice {
                name: taken.key().clone(),
                first: self.bundles[*taken.get()].0.name().clone(),
                second: own.clone(),
            }),
            Entry::Vacant(free) => {
                self.bundles[place].1.names.push(free.key().clone());
                free.insert(place);
                Ok(())
            }
        }
    }

    fn claim_own_names(&mut self, place: usize) {
        let (bundle, info) = &mut self.bundles[place];
        for name in bundle.dns_names() {
            if let Entry::Vacant(free) = self.by_name.entry(name.clone()) {
                free.insert(place);
                info.names.push(name.clone());
            }
        }
    }
}

fn describe(bundle: &Bundle) -> BundleInfo {
    let leaf = bundle.leaf();
    BundleInfo {
        bundle: bundle.name().clone(),
        names: Vec::new(),
        subject_dn: leaf.subject_dn.clone(),
        key_type: bundle.key_type(),
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        fingerprint_sha256: leaf.fingerprint_hex(),
        has_client_ca: bundle.has_client_ca(),
    }
}

impl BundleDirectory for Keyring {
    fn by_name(&self, name: &str) -> Option<&BundleInfo> {
        self.by_name.get(name).map(|&place| &self.bundles[place].1)
    }

    fn get(&self, bundle: &BundleRef) -> Option<&BundleInfo> {
        self.by_ref.get(bundle).map(|&place| &self.bundles[place].1)
    }

    fn default_bundle(&self) -> Option<&BundleInfo> {
        self.bundles.first().map(|(_, info)| info)
    }

    fn namespaces(&self) -> &[NamespaceName] {
        &self.namespaces
    }
}
