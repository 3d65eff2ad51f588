//! Shared subscriptions: of the members of a group, one receives each message (section 4.8.2).

use crate::session::SessionId;
use crate::topics::Options;

/// The sessions that share one filter under one name.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: Vec<(SessionId, Options)>,
    /// Whose turn it is.
    next: usize,
}

impl Group {
    /// Adds a member, or gives it new options in its place. Whether it is new.
    pub(crate) fn join(&mut self, session: SessionId, options: Options) -> bool {
        if let Some(member) = self.members.iter_mut().find(|member| member.0 == session) {
            member.1 = options;
            return false;
        }
        self.members.push((session, options));
        true
    }

    /// Whether it was a member.
    pub(crate) fn leave(&mut self, session: SessionId) -> bool {
        let Some(index) = self.members.iter().position(|member| member.0 == session) else { return false };
        self.members.remove(index);
        if index < self.next {
            self.next -= 1;
        }
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Who gets the next message: round-robin among the members with a connection, and where none has
    /// one, among all, so that the message waits in a queue.
    pub(crate) fn pick(&mut self, is_connected: impl Fn(SessionId) -> bool) -> Option<(SessionId, Options)> {
        let count = self.members.len();
        let turn = (0..count).map(|step| (self.next + step) % count);
        let index = turn.clone().find(|&i| is_connected(self.members[i].0)).or_else(|| turn.clone().next())?;
        self.next = index + 1;
        Some(self.members[index])
    }
}

#[cfg(test)]
mod tests {
    use postern_mqtt::packet::QoS;

    use super::*;

    fn group(members: u64) -> Group {
        let mut group = Group::default();
        for session in 0..members {
            group.join(SessionId(session), Options::plain(QoS::AtMostOnce));
        }
        group
    }

    fn picks(group: &mut Group, count: usize, connected: &[u64]) -> Vec<u64> {
        (0..count).map(|_| group.pick(|s| connected.contains(&s.0)).unwrap().0.0).collect()
    }

    #[test]
    fn members_take_turns() {
        assert_eq!(picks(&mut group(3), 7, &[0, 1, 2]), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn members_without_a_connection_are_passed_over_while_another_has_one() {
        assert_eq!(picks(&mut group(3), 4, &[0, 2]), [0, 2, 0, 2]);
        assert_eq!(picks(&mut group(3), 4, &[]), [0, 1, 2, 0]);
    }

    #[test]
    fn a_member_that_leaves_costs_no_other_its_turn() {
        let mut group = group(3);
        assert_eq!(picks(&mut group, 2, &[0, 1, 2]), [0, 1]);
        assert!(group.leave(SessionId(0)));
        assert!(!group.leave(SessionId(0)));
        assert_eq!(picks(&mut group, 3, &[1, 2]), [2, 1, 2]);
        group.leave(SessionId(1));
        group.leave(SessionId(2));
        assert!(group.is_empty());
        assert!(group.pick(|_| true).is_none());
    }
}
