//! What one listener counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use postern_identity::{Refusal, TlsSession};
use postern_tls::Reason;

use super::refusals::Refusals;

/// Since the start. How many are open is counted where they are let in.
#[derive(Debug, Default)]
pub(crate) struct ListenerMetrics {
    accepted: AtomicU64,
    admitted: AtomicU64,
    /// TLS 1.2, TLS 1.3
    handshakes: [AtomicU64; 2],
    /// Of these, in the same order.
    resumed: [AtomicU64; 2],
    /// In the order of [`Reason::ALL`].
    handshake_failures: [AtomicU64; Reason::ALL.len()],
    refused: Refusals,
    revoked: Refusals,
}

/// The protocol versions that handshakes end with.
pub(super) const TLS_VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// A version in the words of logs and labels.
pub(crate) fn tls_word(version: rustls::ProtocolVersion) -> &'static str {
    TLS_VERSIONS[usize::from(version == rustls::ProtocolVersion::TLSv1_3)]
}

impl ListenerMetrics {
    /// A connection was taken from the kernel.
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// Its handshake is done, and was a short one where it resumed a session.
    pub(crate) fn secured(&self, tls: TlsSession) {
        let place = usize::from(tls.version == TLS_VERSIONS[1]);
        self.handshakes[place].fetch_add(1, Relaxed);
        if tls.resumed {
            self.resumed[place].fetch_add(1, Relaxed);
        }
    }

    /// Its handshake failed.
    pub(crate) fn handshake_failed(&self, reason: Reason) {
        self.handshake_failures[reason as usize].fetch_add(1, Relaxed);
    }

    /// Its CONNECT was let in by the gate.
    pub(crate) fn admitted(&self) {
        self.admitted.fetch_add(1, Relaxed);
    }

    /// It was refused on its way.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.refused.add(refusal.at.label(), refusal.why.label());
    }

    /// It was in, and may not stay.
    pub(crate) fn revoked(&self, reason: &'static str) {
        self.revoked.add("revoked", reason);
    }

    /// By reason.
    pub(super) fn revoked_total(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.revoked.read().into_iter().map(|((_, reason), count)| (reason, count))
    }

    pub(super) fn accepted_total(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    pub(super) fn admitted_total(&self) -> u64 {
        self.admitted.load(Relaxed)
    }

    /// In the order of [`TLS_VERSIONS`].
    pub(super) fn handshakes_total(&self) -> [u64; 2] {
        self.handshakes.each_ref().map(|count| count.load(Relaxed))
    }

    /// In the order of [`TLS_VERSIONS`].
    pub(super) fn resumed_total(&self) -> [u64; 2] {
        self.resumed.each_ref().map(|count| count.load(Relaxed))
    }

    /// By reason.
    pub(super) fn handshake_failures_total(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reason::ALL
            .into_iter()
            .zip(&self.handshake_failures)
            .map(|(reason, count)| (reason.label(), count.load(Relaxed)))
    }

    /// By stage and reason.
    pub(super) fn refused_total(&self) -> Vec<((&'static str, &'static str), u64)> {
        self.refused.read()
    }
}
