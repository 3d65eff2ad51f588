//! The bundles of one listener. A bundle outside it does not exist for the listener and its plugins.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use postern_identity::{BundleDirectory, BundleInfo, BundleRef, DnsName, Namespace, NamespaceName, Refusal};

use crate::bundle::{Bundle, served_name};

/// A bundle as the listener attaches it.
#[derive(Debug, Clone)]
pub struct KeyringEntry {
    /// The bundle.
    pub bundle: Arc<Bundle>,
    /// The name it answers to here, exact or with one leading `*.`. None: the DNS names of its certificate.
    pub sni: Option<String>,
    /// Bundles with keys of other types that stand in for this one wherever it answers.
    pub siblings: Vec<Arc<Bundle>>,
}

/// Why entries do not make a keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// Two bundles are to answer to one name.
    #[error("the `sni` {name:?} is given to both {first} and {second}, and {mismatch}")]
    NameTwice {
        /// The name.
        name: String,
        /// The bundle that had it.
        first: BundleRef,
        /// The bundle that wants it too.
        second: BundleRef,
        /// Why the one cannot stand in for the other.
        mismatch: Mismatch,
    },
    /// A bundle that is to stand in for another, and cannot.
    #[error("{second} is to stand in for {first}, and {mismatch}")]
    NoSibling {
        /// The bundle that comes first.
        first: BundleRef,
        /// The other one.
        second: BundleRef,
        /// Why not.
        mismatch: Mismatch,
    },
    /// Two bundles answer to one name, and one of them to a name more.
    #[error(
        "{first} and {second} answer to one `sni` with keys of different types, but only one of them to {name:?}; give \
         both the same names"
    )]
    NamesDiffer {
        /// The name that one of them has not.
        name: String,
        /// One bundle.
        first: BundleRef,
        /// The other one.
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

/// Why one bundle cannot stand in for another: which of them answers is decided by what the client offers, and nothing
/// else may depend on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// They are not one owner's.
    #[error("they are of different namespaces; one name has one owner")]
    Namespace,
    /// There is nothing to choose by.
    #[error(
        "both have a key of the same type; one name has one bundle, or one each with an RSA, ECDSA and Ed25519 key"
    )]
    KeyType,
    /// The client would choose whom to be trusted by.
    #[error("their client CAs differ; give both the same `ca.pem`")]
    ClientCas,
}

/// The bundles of one listener and the names they answer to. Immutable; every look-up is one hash.
#[derive(Debug, Default)]
pub struct Keyring {
    bundles: Vec<(Arc<Bundle>, BundleInfo)>,
    by_ref: HashMap<BundleRef, usize>,
    by_name: HashMap<String, usize>,
    /// Those that answer in each other's place, in the order of the entries; for each of them.
    siblings: HashMap<usize, Vec<usize>>,
    namespaces: Vec<NamespaceName>,
}

impl Keyring {
    /// Attaches the entries, the first one as the default, and the namespaces. A bundle may come in several
    /// entries with different names. A name in an `sni` beats the same name in a certificate; among
    /// certificates the first entry wins. Bundles with the same `sni` stand in for each other, as those that an entry
    /// names as siblings do.
    ///
    /// # Errors
    /// [`KeyringError`] where a name is claimed by `sni` for two bundles that cannot stand in for each other, is no name,
    /// or one reference has two contents.
    pub fn build(entries: Vec<KeyringEntry>, namespaces: Vec<NamespaceName>) -> Result<Self, KeyringError> {
        let mut keyring = Self::default();
        for namespace in namespaces {
            if !keyring.namespaces.contains(&namespace) {
                keyring.namespaces.push(namespace);
            }
        }
        let mut implied = Vec::new();
        for KeyringEntry { bundle, sni, siblings } in entries {
            let place = keyring.place_of(bundle)?;
            for sibling in siblings {
                let other = keyring.place_of(sibling)?;
                keyring.pair(place, other).map_err(|mismatch| keyring.no_sibling(place, other, mismatch))?;
            }
            match sni {
                Some(sni) => keyring.claim(&sni, place)?,
                None => implied.push(place),
            }
        }
        keyring.check_names()?;
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

    /// Whether a bundle of this namespace, or a global one, answers to the name: to just this one, or by a wildcard.
    pub fn answers(&self, name: &DnsName, namespace: &Namespace) -> bool {
        let name = name.as_str();
        let wildcard = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        [Some(name), wildcard.as_deref()].into_iter().flatten().any(|name| {
            let owner = self.by_name(name).map(|info| &info.bundle.namespace);
            owner.is_some_and(|owner| *owner == Namespace::Global || owner == namespace)
        })
    }

    /// The bundles that may answer where this one was chosen: itself, then its siblings.
    pub fn candidates(&self, bundle: &BundleRef) -> impl Iterator<Item = &Arc<Bundle>> {
        let chosen = self.by_ref.get(bundle).copied();
        let siblings = chosen.and_then(|place| self.siblings.get(&place)).into_iter().flatten().copied();
        let places = chosen.into_iter().chain(siblings.filter(move |&place| Some(place) != chosen));
        places.map(|place| &self.bundles[place].0)
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
            Entry::Occupied(taken) => {
                let (name, first) = (taken.key().clone(), *taken.get());
                if let Err(mismatch) = self.pair(first, place) {
                    let [first, second] = [first, place].map(|place| self.bundles[place].0.name().clone());
                    return Err(KeyringError::NameTwice { name, first, second, mismatch });
                }
                let names = &mut self.bundles[place].1.names;
                if !names.contains(&name) {
                    names.push(name);
                }
                Ok(())
            }
            Entry::Vacant(free) => {
                self.bundles[place].1.names.push(free.key().clone());
                free.insert(place);
                Ok(())
            }
        }
    }

    /// The second stands in for the first, and for those that already do.
    fn pair(&mut self, first: usize, second: usize) -> Result<(), Mismatch> {
        let mut group = self.siblings.get(&first).cloned().unwrap_or_else(|| vec![first]);
        if group.contains(&second) {
            return Ok(());
        }
        for &other in &group {
            fits(&self.bundles[other].0, &self.bundles[second].0)?;
        }
        group.push(second);
        for &place in &group {
            self.siblings.insert(place, group.clone());
        }
        Ok(())
    }

    fn no_sibling(&self, first: usize, second: usize, mismatch: Mismatch) -> KeyringError {
        let [first, second] = [first, second].map(|place| self.bundles[place].0.name().clone());
        KeyringError::NoSibling { first, second, mismatch }
    }

    /// Where a bundle was chosen, by whatever name or none, each of its siblings must be as good.
    fn check_names(&self) -> Result<(), KeyringError> {
        // In the order of the entries, so that the same is told each time.
        for place in (0..self.bundles.len()).filter(|_| !self.siblings.is_empty()) {
            let names = &self.bundles[place].1.names;
            for &other in self.siblings.get(&place).into_iter().flatten() {
                let theirs = &self.bundles[other].1.names;
                // Those that an entry names as siblings have no `sni` of their own.
                if names.is_empty() || theirs.is_empty() {
                    continue;
                }
                if let Some(name) = names.iter().find(|name| !theirs.contains(name)) {
                    let bundle = |place: usize| self.bundles[place].0.name().clone();
                    let (first, second) = (bundle(place.min(other)), bundle(place.max(other)));
                    return Err(KeyringError::NamesDiffer { name: name.clone(), first, second });
                }
            }
        }
        Ok(())
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

/// Whether it makes no difference but that of the key which of the two answers.
fn fits(one: &Bundle, other: &Bundle) -> Result<(), Mismatch> {
    // In their order: `partial_chain` goes by it.
    let cas = |bundle: &Bundle| bundle.client_cas().iter().map(|ca| ca.fingerprint).collect::<Vec<_>>();
    if one.name().namespace != other.name().namespace {
        Err(Mismatch::Namespace)
    } else if one.algorithm() == other.algorithm() {
        Err(Mismatch::KeyType)
    } else if cas(one) != cas(other) {
        Err(Mismatch::ClientCas)
    } else {
        Ok(())
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
