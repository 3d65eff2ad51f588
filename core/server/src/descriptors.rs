//! File descriptors: how many the process may have, and how many of them connections may take.
//!
//! Some stay for everything else, so that the log, certificates and plugins still work when all connections that fit are
//! there. One connection takes one.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::admission::{ConnectionCount, ConnectionSlot};

/// Kept from connections: so many, and a share of all.
const RESERVE: u64 = 64;
const RESERVE_SHARE: u64 = 20;

/// The connections of all listeners.
pub(crate) struct Descriptors {
    limit: u64,
    connections: usize,
    count: Arc<ConnectionCount>,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, and plans with what it then is.
    pub(crate) fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: maximum, maximum };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(error) => {
                tracing::warn!(%error, "the limit of open files cannot be raised to its hard limit (ulimit -Hn)");
                current
            }
        };
        // None is no limit.
        Self::plan(limit.unwrap_or(u64::MAX))
    }

    fn plan(limit: u64) -> Self {
        let left = limit.saturating_sub(RESERVE + limit / RESERVE_SHARE).max(1);
        Self { limit, connections: usize::try_from(left).unwrap_or(usize::MAX), count: Arc::default() }
    }

    /// A connection's descriptor, as long as it is held; none where there are no more for connections.
    pub(crate) fn enter(&self) -> Option<ConnectionSlot> {
        self.count.enter(self.connections)
    }

    /// Open files that the process may have.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// How many of them connections may take.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_and_64_descriptors_are_kept_and_one_connection_always_fits() {
        for (limit, connections) in [(1024, 909), (128, 58), (1_048_576, 996_084), (66, 1), (0, 1)] {
            assert_eq!(Descriptors::plan(limit).connections(), connections, "{limit}");
        }
    }

    #[test]
    fn a_connection_gives_its_descriptor_back() {
        let descriptors = Descriptors::plan(69);
        let held = [descriptors.enter(), descriptors.enter()];
        assert!(held.iter().all(Option::is_some));
        assert!(descriptors.enter().is_none());
        drop(held);
        assert!(descriptors.enter().is_some());
    }
}
