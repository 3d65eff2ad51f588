//! What a connection is given, so that what it has not taken stays bounded: so many bytes in one turn, and none while
//! the driver has parked it.

use crate::limits::TURN_BYTES;

/// A point of a realm's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Monotonic milliseconds.
    pub(crate) ms: u64,
    /// The number of the turn.
    pub(crate) turn: u64,
}

/// Whether a connection may be given a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// It had its share of this turn; the next has a new one.
    Spent,
    /// Not before it is resumed.
    Parked,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    parked: bool,
    /// The turn that `given` belongs to.
    turn: u64,
    given: usize,
}

impl Flow {
    pub(crate) fn gate(&self, now: Now) -> Gate {
        if self.parked {
            Gate::Parked
        } else if self.turn == now.turn && self.given >= TURN_BYTES {
            Gate::Spent
        } else {
            Gate::Open
        }
    }

    /// So much was given.
    pub(crate) fn give(&mut self, bytes: usize, now: Now) {
        if self.turn != now.turn {
            (self.turn, self.given) = (now.turn, 0);
        }
        self.given = self.given.saturating_add(bytes);
    }

    pub(crate) fn park(&mut self, parked: bool) {
        self.parked = parked;
    }

    pub(crate) fn is_parked(&self) -> bool {
        self.parked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_has_a_share_and_a_parked_connection_has_none() {
        let [first, second] = [1, 2].map(|turn| Now { ms: 0, turn });
        let mut flow = Flow::default();
        flow.give(TURN_BYTES - 1, first);
        assert_eq!(flow.gate(first), Gate::Open);
        flow.give(1, first);
        assert_eq!((flow.gate(first), flow.gate(second)), (Gate::Spent, Gate::Open));
        flow.give(1, second);
        assert_eq!(flow.gate(second), Gate::Open, "what the first turn gave is forgotten");
        flow.park(true);
        assert_eq!(flow.gate(second), Gate::Parked);
    }
}
