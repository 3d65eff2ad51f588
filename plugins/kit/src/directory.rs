//! The bundles within the listener's reach.

use crate::dns;
use crate::wit::bundle_directory;
use crate::wit::types::BundleRef;

/// What the host's directory answers; a list in tests.
pub trait Directory {
    /// The bundle that answers to exactly this name; `*.example.org` matches only itself.
    fn by_name(&self, name: &str) -> Option<BundleRef>;
    /// Whether the bundle is attached to the listener.
    fn has(&self, bundle: &BundleRef) -> bool;
    /// The listener's default bundle.
    fn default_bundle(&self) -> Option<BundleRef>;
}

/// The bundle that answers to a folded name: the exact one, else the wildcard that covers it.
pub fn answering(directory: &impl Directory, name: &str) -> Option<BundleRef> {
    directory.by_name(name).or_else(|| directory.by_name(&dns::covering_wildcard(name)?))
}

/// The host's.
#[derive(Debug, Clone, Copy)]
pub struct HostDirectory;

impl Directory for HostDirectory {
    fn by_name(&self, name: &str) -> Option<BundleRef> {
        bundle_directory::by_name(name).map(|info| info.ref_)
    }

    fn has(&self, bundle: &BundleRef) -> bool {
        bundle_directory::get(bundle).is_some()
    }

    fn default_bundle(&self) -> Option<BundleRef> {
        bundle_directory::default().map(|info| info.ref_)
    }
}
