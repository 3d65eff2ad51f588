//! One ordered set of times for all sessions of a realm.

use std::collections::BTreeSet;

use crate::session::SessionId;

/// What is due. At the same time a will goes before the end of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A delayed will.
    Will,
    /// The session has expired.
    SessionEnd,
}

/// At most two entries per session, so bounded by the number of sessions.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    set: BTreeSet<(u64, Due, SessionId)>,
}

impl Deadlines {
    pub(crate) fn add(&mut self, at_ms: u64, due: Due, session: SessionId) {
        self.set.insert((at_ms, due, session));
    }

    pub(crate) fn cancel(&mut self, at_ms: u64, due: Due, session: SessionId) {
        self.set.remove(&(at_ms, due, session));
    }

    /// Takes the earliest entry that is not after `now_ms`.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<(Due, SessionId)> {
        let &entry @ (at_ms, due, session) = self.set.first()?;
        if at_ms > now_ms {
            return None;
        }
        self.set.remove(&entry);
        Some((due, session))
    }

    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.set.first().map(|entry| entry.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_will_goes_before_the_end_of_its_session() {
        let mut deadlines = Deadlines::default();
        deadlines.add(20, Due::SessionEnd, SessionId(1));
        deadlines.add(20, Due::Will, SessionId(2));
        assert_eq!(deadlines.next_ms(), Some(20));
        assert_eq!(deadlines.take_due(19), None);
        assert_eq!(deadlines.take_due(20), Some((Due::Will, SessionId(2))));
        assert_eq!(deadlines.take_due(20), Some((Due::SessionEnd, SessionId(1))));
        assert_eq!(deadlines.take_due(20), None);
    }

    #[test]
    fn a_cancelled_deadline_never_comes() {
        let mut deadlines = Deadlines::default();
        deadlines.add(20, Due::Will, SessionId(1));
        deadlines.cancel(20, Due::Will, SessionId(1));
        assert_eq!(deadlines.next_ms(), None);
    }
}
