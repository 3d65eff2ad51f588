//! Keeps OCSP responses (RFC 6960) at hand for the certificates of listeners. A handshake takes what is there, and never
//! waits for one.

mod keeper;
mod responders;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_tls::{Bundle, OcspAnswer, OcspFault, OcspQuestion};
use tokio::time::Instant;

use crate::clock::now_unix_s;
use crate::fetch::{Bounds, FetchError, Question, fetch};
use crate::pace;
pub(crate) use keeper::Keeper;
pub(crate) use responders::Responders;

/// Longest response, in bytes. They have 500 to 5000.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// A response that does not say until when it holds is stapled for so many pauses between two of them.
const PAUSES_WITHOUT_END: u32 = 2;

/// How a bundle is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nobody was asked yet.
    Waiting,
    /// The last answer is stapled.
    Good,
    /// There is no new answer; the last one holds still.
    Failing,
    /// There is no answer that holds.
    Empty,
    /// The certificate is revoked.
    Revoked,
}

impl Status {
    pub(crate) const ALL: [Self; 5] = [Self::Waiting, Self::Good, Self::Failing, Self::Empty, Self::Revoked];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Good => "good",
            Self::Failing => "failing",
            Self::Empty => "empty",
            Self::Revoked => "revoked",
        }
    }
}

/// How a response is come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Who is asked.
    pub(crate) responder: String,
    pub(crate) question: OcspQuestion,
    /// The longest pause between two answers.
    pub(crate) refresh: Duration,
    /// How long one may take.
    pub(crate) timeout: Duration,
}

/// A bundle whose response is kept at hand.
pub(crate) struct Subject {
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) source: Source,
    progress: Mutex<Progress>,
    fetches: AtomicU64,
    failures: Failures,
    /// A task has it.
    is_kept: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    status: Status,
    /// When somebody is asked again.
    due: Instant,
    /// In a row.
    failures: u32,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("{0}")]
    Answer(#[from] OcspFault),
}

/// The reasons for which there is no answer, in the words of metrics.
const REASONS: [&str; 9] =
    ["unreachable", "timeout", "http", "malformed", "responder", "signature", "other_certificate", "time", "unknown"];

#[derive(Debug, Default)]
struct Failures([AtomicU64; REASONS.len()]);

impl Failure {
    fn word(&self) -> &'static str {
        match self {
            Self::Fetch(FetchError::TimedOut(_)) => "timeout",
            Self::Fetch(FetchError::Connect(_) | FetchError::Address(_)) => "unreachable",
            Self::Fetch(_) => "http",
            Self::Answer(OcspFault::Unsuccessful(_)) => "responder",
            Self::Answer(OcspFault::Signer | OcspFault::Signature) => "signature",
            Self::Answer(OcspFault::OtherCertificate) => "other_certificate",
            Self::Answer(OcspFault::NotYetValid | OcspFault::Expired) => "time",
            Self::Answer(OcspFault::Unknown) => "unknown",
            Self::Answer(_) => "malformed",
        }
    }
}

impl Failures {
    fn add(&self, failure: &Failure) {
        let place = REASONS.iter().position(|word| *word == failure.word());
        self.0[place.expect("the words are those of the list")].fetch_add(1, Relaxed);
    }
}

impl Subject {
    pub(crate) fn new(bundle: Arc<Bundle>, source: Source) -> Self {
        let progress = Progress { status: Status::Waiting, due: Instant::now(), failures: 0 };
        Self {
            bundle,
            source,
            progress: Mutex::new(progress),
            fetches: AtomicU64::new(0),
            failures: Failures::default(),
            is_kept: AtomicBool::new(false),
        }
    }

    /// Goes on where another left off, whose bundle has the same certificate.
    pub(crate) fn inherit(&self, other: &Self) {
        if self.bundle.leaf().der != other.bundle.leaf().der || self.source.question != other.source.question {
            return;
        }
        self.bundle.inherit_staple(&other.bundle);
        *self.progress() = *other.progress();
        self.fetches.store(other.fetches_total(), Relaxed);
        for (count, (_, before)) in self.failures.0.iter().zip(other.failures_total()) {
            count.store(before, Relaxed);
        }
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self) -> Status {
        self.progress().status
    }

    pub(crate) fn fetches_total(&self) -> u64 {
        self.fetches.load(Relaxed)
    }

    pub(crate) fn failures_total(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.into_iter().zip(self.failures.0.iter().map(|count| count.load(Relaxed)))
    }

    /// Until when something is stapled, if it is.
    pub(crate) fn stapled_until(&self) -> Option<i64> {
        self.bundle.staple().ends_unix_s().filter(|ends| now_unix_s() < *ends)
    }

    /// Asks once, when it is this one's turn.
    pub(crate) async fn ask(&self, responders: &Responders) {
        let turn = responders.turn(&self.source.responder).await;
        self.fetches.fetch_add(1, Relaxed);
        let body = (OcspQuestion::REQUEST_TYPE, self.source.question.request().to_vec());
        let question = Question { url: &self.source.responder, body: Some(body), accept: OcspQuestion::RESPONSE_TYPE };
        let answer = fetch(question, Bounds { timeout: self.source.timeout, bytes: RESPONSE_BYTES_MAX }).await;
        drop(turn);
        let now = now_unix_s();
        let verified = answer.map_err(Failure::from).and_then(|bytes| Ok(self.source.question.verify(&bytes, now)?));
        self.take(verified, now);
    }

    fn take(&self, answer: Result<OcspAnswer, Failure>, now_unix_s: i64) {
        let Source { refresh, .. } = self.source;
        let before = *self.progress();
        let (status, pause, failures) = match &answer {
            Ok(answer) => {
                let unlimited =
                    || now_unix_s.saturating_add_unsigned(refresh.as_secs() * u64::from(PAUSES_WITHOUT_END));
                let ends = answer.next_update.unwrap_or_else(unlimited);
                self.bundle.staple_until(answer.clone(), ends);
                (Status::Good, pace::after_answer(refresh, ends - now_unix_s), 0)
            }
            Err(Failure::Answer(OcspFault::Revoked { .. })) => {
                self.bundle.staple().clear();
                (Status::Revoked, pace::after_answer(refresh, i64::MAX), 0)
            }
            Err(failure) => {
                self.failures.add(failure);
                let failures = before.failures.saturating_add(1);
                // What is revoked stays so until somebody who knows says otherwise.
                let status = if before.status == Status::Revoked { Status::Revoked } else { self.without_answer() };
                (status, pace::after_failure(refresh, failures), failures)
            }
        };
        *self.progress() = Progress { status, due: Instant::now() + pause, failures };
        if status != before.status {
            self.tell(status, answer.err().as_ref());
        }
    }

    /// What is stapled may have come to its end.
    fn settle(&self) {
        let before = self.status();
        if before == Status::Failing && self.without_answer() == Status::Empty {
            self.progress().status = Status::Empty;
            self.tell(Status::Empty, None);
        }
    }

    fn without_answer(&self) -> Status {
        if self.stapled_until().is_some() {
            return Status::Failing;
        }
        self.bundle.staple().clear();
        Status::Empty
    }

    /// One line for each change.
    fn tell(&self, status: Status, failure: Option<&Failure>) {
        macro_rules! tell {
            ($level:ident, $what:expr) => {
                tracing::$level!(
                    bundle = %self.bundle.name(),
                    certificate = self.bundle.leaf().subject_dn,
                    responder = self.source.responder,
                    ends_unix_s = self.bundle.staple().ends_unix_s(),
                    must_staple = self.bundle.must_staple().then_some(true),
                    why = failure.map(tracing::field::display),
                    $what
                )
            };
        }
        match status {
            Status::Waiting => {}
            Status::Good => tell!(info, "an OCSP response is stapled"),
            Status::Failing => tell!(warn, "no new OCSP response; the last one is stapled until it ends"),
            Status::Empty if self.bundle.must_staple() => tell!(
                error,
                "no OCSP response, which the certificate demands: it is served without, and clients may refuse it"
            ),
            Status::Empty => tell!(warn, "no OCSP response: the certificate is served without"),
            Status::Revoked => tell!(
                error,
                "the certificate is revoked: nothing is stapled any more, and clients that ask elsewhere will refuse it"
            ),
        }
    }
}
