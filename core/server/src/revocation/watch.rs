//! Keeps the lists of all listeners up to date, for as long as the broker runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{Lists, Source};
use crate::clock::now_unix_s;
use crate::door::Door;
use crate::revalidation::Revalidation;

/// Between two looks at files and at the clock. A file that has changed is read when two looks find it the same.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Fetches at the same time, of all addresses.
const MAX_FETCHES: usize = 8;

/// Looks after whatever the listeners serve by at the time, until told to stop.
/// Whoever is in is judged again when lists have changed.
pub(crate) async fn keep_up(
    doors: Vec<Arc<Door>>,
    revalidation: Arc<Revalidation>,
    mut stop: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fetches = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stopping| *stopping) => break,
            Some(_) = fetches.join_next() => {}
            _ = looks.tick() => {}
        }
        let all: Vec<Arc<Lists>> =
            doors.iter().filter_map(|door| door.policy().tls().and_then(|tls| tls.lists.clone())).collect();
        if all.is_empty() {
            continue;
        }
        let now_unix_s = now_unix_s();
        for source in each_once(&all) {
            if fetches.len() < MAX_FETCHES && source.is_due(Instant::now()) {
                fetches.spawn(source.fetch(now_unix_s));
            }
        }
        // Reading a large file, and verifying its list, would hold up connections.
        let looked = tokio::task::spawn_blocking(move || {
            for source in each_once(&all) {
                source.look();
            }
            let mut is_changed = false;
            for lists in all {
                is_changed |= lists.take();
                lists.look_at_the_clock(now_unix_s);
            }
            is_changed
        });
        match looked.await {
            Ok(true) => revalidation.begin_epoch(),
            Ok(false) => {}
            Err(_) => tracing::error!(
                "revocation lists cannot be looked at; those that were read count until they are outdated"
            ),
        }
    }
    drop(alive);
}

/// The sources of all; listeners may share some.
pub(super) fn each_once(all: &[Arc<Lists>]) -> Vec<Arc<Source>> {
    let mut found: Vec<Arc<Source>> = Vec::new();
    for source in all.iter().flat_map(|lists| lists.sources()) {
        if !found.iter().any(|known| Arc::ptr_eq(known, source)) {
            found.push(Arc::clone(source));
        }
    }
    found
}
