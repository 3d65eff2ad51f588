//! The response that is stapled to handshakes with one bundle.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

/// Where a bundle's response is, if it has one. What is put here was verified before.
#[derive(Default)]
pub struct StapleSlot(ArcSwapOption<Staple>);

struct Staple {
    /// The bundle's chain and key with the response.
    certified: Arc<CertifiedKey>,
    /// From then on it is not sent any more, in seconds since the Unix epoch.
    ends_unix_s: i64,
}

impl fmt::Debug for StapleSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StapleSlot").field(&self.ends_unix_s()).finish()
    }
}

impl StapleSlot {
    /// Until when what is here is sent, in seconds since the Unix epoch; none where nothing is here.
    pub fn ends_unix_s(&self) -> Option<i64> {
        self.0.load().as_ref().map(|staple| staple.ends_unix_s)
    }

    pub(crate) fn put(&self, bare: &CertifiedKey, response: Vec<u8>, ends_unix_s: i64) {
        let certified = Arc::new(CertifiedKey { ocsp: Some(response), ..bare.clone() });
        self.0.store(Some(Arc::new(Staple { certified, ends_unix_s })));
    }

    /// Sends nothing any more.
    pub fn clear(&self) {
        self.0.store(None);
    }

    /// The response itself.
    pub(crate) fn response(&self) -> Option<(Vec<u8>, i64)> {
        let staple = self.0.load_full()?;
        Some((staple.certified.ocsp.clone()?, staple.ends_unix_s))
    }
}

/// Answers with one bundle, and with its response as long as that holds. rustls sends it to clients that ask for it alone.
pub(crate) struct StaplingCert {
    pub(crate) bare: Arc<CertifiedKey>,
    pub(crate) slot: Arc<StapleSlot>,
    pub(crate) clock: Arc<dyn TimeProvider>,
}

impl fmt::Debug for StaplingCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaplingCert").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for StaplingCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let staple = self.slot.0.load();
        let now = self.clock.current_time().and_then(|now| i64::try_from(now.as_secs()).ok());
        let current = staple.as_ref().filter(|staple| now.is_some_and(|now| now < staple.ends_unix_s));
        Some(Arc::clone(current.map_or(&self.bare, |staple| &staple.certified)))
    }
}
