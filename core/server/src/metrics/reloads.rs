//! How often certificates and the configuration were changed while the broker runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// What can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// The bundles of listeners, when their files change.
    Certificates,
    /// The configuration file, on SIGHUP.
    Configuration,
}

/// Since the start, which is the first generation.
#[derive(Debug)]
pub(crate) struct Reloads([Reload; 2]);

#[derive(Debug)]
struct Reload {
    served: AtomicU64,
    refused: AtomicU64,
    /// Whether what is served is what the files say.
    is_current: AtomicBool,
    /// Seconds since the Unix epoch.
    last_served: AtomicU64,
}

/// One kind's figures.
pub(super) struct Figures {
    pub(super) what: &'static str,
    pub(super) served: u64,
    pub(super) refused: u64,
    pub(super) is_current: bool,
    pub(super) last_served: u64,
}

impl Default for Reloads {
    fn default() -> Self {
        let reload = || Reload {
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            is_current: AtomicBool::new(true),
            last_served: AtomicU64::new(now()),
        };
        Self([reload(), reload()])
    }
}

impl Reloads {
    /// New handshakes have what is new.
    pub(crate) fn served(&self, what: Reloaded) {
        let reload = &self.0[what as usize];
        reload.served.fetch_add(1, Relaxed);
        reload.last_served.store(now(), Relaxed);
    }

    /// What is new cannot be served, or not all of it.
    pub(crate) fn refused(&self, what: Reloaded) {
        self.0[what as usize].refused.fetch_add(1, Relaxed);
    }

    /// Whether what is served is what the files say.
    pub(crate) fn set_current(&self, what: Reloaded, is_current: bool) {
        self.0[what as usize].is_current.store(is_current, Relaxed);
    }

    pub(super) fn read(&self) -> [Figures; 2] {
        [("certificates", &self.0[0]), ("configuration", &self.0[1])].map(|(what, reload)| Figures {
            what,
            served: reload.served.load(Relaxed),
            refused: reload.refused.load(Relaxed),
            is_current: reload.is_current.load(Relaxed),
            last_served: reload.last_served.load(Relaxed),
        })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
