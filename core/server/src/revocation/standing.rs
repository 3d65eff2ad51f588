//! Tells once of each list that is past its end, and once when it no longer is.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_identity::ListenerId;
use postern_tls::{Outdated, RevocationList};

use super::source::{Source, is_newest};

/// Lists that have passed a boundary, as the log was told.
#[derive(Default)]
pub(super) struct Standings {
    told: BTreeMap<(String, String), Standing>,
    /// What was looked at, and until when it stays as it is.
    looked: Option<(Vec<u64>, i64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Past its end, and taken for a while.
    Grace,
    /// Past it.
    Outdated,
}

impl Standings {
    pub(super) fn look(&mut self, listener: &ListenerId, sources: &[Arc<Source>], policy: Outdated, now: i64) {
        let versions: Vec<u64> = sources.iter().map(|source| source.version()).collect();
        if self.looked.as_ref().is_some_and(|(seen, until)| *seen == versions && now < *until) {
            return;
        }
        let mut until = i64::MAX;
        let mut standings = BTreeMap::new();
        for (source, list) in newest(sources) {
            let (end, last) = (list.next_update(), policy.taken_until(list.next_update()));
            let standing = match (now >= end, now >= last) {
                (_, true) => Standing::Outdated,
                (true, _) => Standing::Grace,
                _ => {
                    until = until.min(end);
                    continue;
                }
            };
            if standing == Standing::Grace {
                until = until.min(last);
            }
            standings.insert((source, list.issuer_dn().to_owned()), standing);
        }
        for ((source, issuer), standing) in &standings {
            if self.told.get(&(source.clone(), issuer.clone())) == Some(standing) {
                continue;
            }
            match standing {
                Standing::Grace => tracing::warn!(
                    %listener, source, issuer, "a revocation list is outdated; it is taken for as long as `outdated` says"
                ),
                Standing::Outdated => tracing::error!(
                    %listener, source, issuer, "a revocation list is outdated; clients that it covers are refused"
                ),
            }
        }
        for (source, issuer) in self.told.keys().filter(|key| !standings.contains_key(*key)) {
            tracing::info!(%listener, source, issuer, "there is a revocation list again that is not outdated");
        }
        self.told = standings;
        self.looked = Some((versions, until));
    }
}

/// The lists that others do not stand for, with the name of their source.
fn newest(sources: &[Arc<Source>]) -> Vec<(String, Arc<RevocationList>)> {
    let all: Vec<_> = sources.iter().map(|source| (source.place().to_string(), source.lists())).collect();
    let flat: Vec<Arc<RevocationList>> = all.iter().flat_map(|(_, lists)| lists.to_vec()).collect();
    let of_each = all.iter().flat_map(|(place, lists)| lists.iter().map(move |list| (place, list)));
    of_each.filter(|(_, list)| is_newest(list, &flat)).map(|(place, list)| (place.clone(), Arc::clone(list))).collect()
}
