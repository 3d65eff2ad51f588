//! One task for each bundle, as long as a listener serves by it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Responders, Status, Subject};
use crate::clock::now_unix_s;
use crate::policy::ListenerPolicy;
use crate::stage::Staged;

/// Longest sleep: so long a subject can be kept that nobody serves by any more.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// Keeps the responses of listeners, up to the shutdown.
#[derive(Clone)]
pub(crate) struct Keeper {
    responders: Arc<Responders>,
    stop: watch::Receiver<bool>,
    /// Each task has a sender.
    alive: mpsc::WeakSender<()>,
}

impl Keeper {
    pub(crate) fn new(stop: watch::Receiver<bool>, alive: &mpsc::Sender<()>) -> Self {
        Self { responders: Arc::default(), stop, alive: alive.downgrade() }
    }

    /// Begins with what this listener serves by, where that has not begun. It ends when nobody serves by it any more.
    pub(crate) fn keep(&self, policy: &ListenerPolicy) {
        for subject in policy.tls().into_iter().flat_map(|tls| &tls.stapling) {
            let Some(alive) = self.alive.upgrade().filter(|_| !subject.is_kept.swap(true, Relaxed)) else { continue };
            let (subject, responders, mut stop) =
                (Arc::downgrade(subject), Arc::clone(&self.responders), self.stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stopping| *stopping) => {}
                    () = keep(&subject, &responders) => {}
                }
                drop(alive);
            });
        }
    }
}

async fn keep(subject: &Weak<Subject>, responders: &Responders) {
    loop {
        let Some(kept) = subject.upgrade() else { return };
        let due = kept.progress().due;
        if due <= Instant::now() {
            kept.ask(responders).await;
            continue;
        }
        kept.settle();
        let pause = due.min(Instant::now() + LOOK_EVERY.min(until_end(&kept)));
        drop(kept);
        tokio::time::sleep_until(pause).await;
    }
}

/// Until what is stapled without a successor ends.
fn until_end(subject: &Subject) -> Duration {
    match (subject.status(), subject.stapled_until()) {
        (Status::Failing, Some(ends)) => Duration::from_secs(u64::try_from(ends - now_unix_s()).unwrap_or_default()),
        _ => LOOK_EVERY,
    }
}

impl Staged {
    /// Asks about certificates that demand a stapled response (RFC 7633), as long as one answer may take: whoever comes
    /// first should find it there. What goes wrong is told and tried again later.
    pub async fn fetch_demanded_staples(&self) {
        let subjects = self.listeners.iter().filter_map(ListenerPolicy::tls).flat_map(|tls| &tls.stapling);
        let mut demanded: Vec<&Arc<Subject>> = subjects.filter(|subject| subject.bundle.must_staple()).collect();
        demanded.sort_by_key(|subject| Arc::as_ptr(subject));
        demanded.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let responders = Responders::default();
        let longest = demanded.iter().map(|subject| subject.source.timeout).max().unwrap_or_default();
        let all = join_all(demanded.iter().map(|subject| subject.ask(&responders)));
        if tokio::time::timeout(longest, all).await.is_err() {
            tracing::warn!("not all certificates that demand a stapled OCSP response have one within {longest:?}");
        }
    }
}
