//! Shared subscriptions: of the members of a group, one receives each message (section 4.8.2).

use crate::session::SessionId;
use crate::topics::Options;

/// How a member stands to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has a connection that keeps up.
    Here,
    /// It has none now.
    Away,
    /// It may not have the message, whose turn goes to another.
    Barred,
}

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

    /// With which options it is a member, if it is.
    pub(crate) fn options(&self, session: SessionId) -> Option<Options> {
        self.members.iter().find(|member| member.0 == session).map(|member| member.1)
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
    /// one, among those without, so that the message waits in a queue.
    pub(crate) fn pick(&mut self, standing: impl Fn(SessionId, Options) -> Standing) -> Option<(SessionId, Options)> {
        let count = self.members.len();
        let mut away = None;
        let here = (0..count).map(|step| (self.next + step) % count).find(|&index| {
            let (session, options) = self.members[index];
            let standing = standing(session, options);
            if standing == Standing::Away && away.is_none() {
                away = Some(index);
            }
            standing == Standing::Here
        });
        let index = here.or(away)?;
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

    fn standing(connected: &[u64], session: SessionId) -> Standing {
        if connected.contains(&session.0) { Standing::Here } else { Standing::Away }
    }

    fn picks(group: &mut Group, count: usize, connected: &[u64]) -> Vec<u64> {
        (0..count).map(|_| group.pick(|s, _| standing(connected, s)).unwrap().0.0).collect()
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
    fn a_member_that_may_not_have_the_message_is_passed_over_even_if_none_is_left() {
        let mut group = group(3);
        let barred = |barred: &'static [u64], here: &'static [u64]| {
            move |s: SessionId, _| if barred.contains(&s.0) { Standing::Barred } else { standing(here, s) }
        };
        assert_eq!(group.pick(barred(&[0], &[0, 1, 2])).unwrap().0, SessionId(1));
        assert_eq!(group.pick(barred(&[2], &[2])).unwrap().0, SessionId(0), "one who is away, rather than one barred");
        assert!(group.pick(barred(&[0, 1, 2], &[0, 1, 2])).is_none());
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
        assert!(group.pick(|_, _| Standing::Here).is_none());
    }
}
