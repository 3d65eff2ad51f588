//! What was found about a client's certificate while rustls shook hands.
//!
//! rustls asks for the verification in the middle of a poll, and passes on neither the path that proved a certificate nor
//! which certificate it refused. Both are kept aside here until the same poll returns, for the handshake that is
//! being polled and no other.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use postern_identity::{CertFacts, Refusal};
use rustls_pki_types::CertificateDer;

/// The path that proved a client's certificate, its own first and the trust anchor last; or why there is none.
pub type Verdict = Result<Vec<Arc<CertFacts>>, Rejected>;

/// A client's certificate that is not accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Its subject (RFC 4514), escaped and cut; none where the certificate cannot be read.
    pub subject: Option<String>,
    /// Why, as the handshake is told.
    pub error: rustls::Error,
}

impl Rejected {
    pub(crate) fn new(presented: &CertificateDer<'_>, error: rustls::Error) -> Self {
        let facts = CertFacts::from_der(presented).ok();
        Self { subject: facts.map(|facts| Refusal::foreign(&facts.subject_dn)), error }
    }
}

thread_local! {
    static LAST: Cell<Option<Verdict>> = const { Cell::new(None) };
}

/// Keeps the verdict for [`observed`].
pub(crate) fn keep(verdict: Verdict) {
    LAST.set(Some(verdict));
}

/// Runs a handshake, and gives the verdict on the client's certificate with its outcome. None where no certificate was
/// verified: the client showed none, or the session was resumed.
pub async fn observed<H: Future>(handshake: H) -> (H::Output, Option<Verdict>) {
    let mut handshake = pin!(handshake);
    let mut verdict = None;
    let outcome = poll_fn(|context| {
        LAST.set(None);
        let polled = handshake.as_mut().poll(context);
        // The thread may poll another handshake before it comes back to this one.
        if let Some(found) = LAST.take() {
            verdict = Some(found);
        }
        polled
    })
    .await;
    (outcome, verdict)
}
