//! Wills: the last message of a client that went away without a goodbye (section 3.1.2.5).
//!
//! A will is armed at CONNECT, discarded by DISCONNECT 0x00 [MQTT-3.14.4-3], and otherwise published
//! exactly once: when its delay has passed or its session ends, whichever is first, and not at all if
//! the client is back before [MQTT-3.1.3-9]. Each way out takes it from its session, so none is twice.

use std::sync::Arc;

use postern_mqtt::packet::Will as Testament;

/// One client's will.
#[derive(Debug, Clone)]
pub(crate) enum Will {
    /// The client is here.
    Armed(Testament),
    /// The client is gone.
    Delayed {
        testament: Testament,
        /// When to publish, in milliseconds.
        fires_ms: u64,
    },
}

/// What a will does when its client leaves.
#[derive(Debug)]
pub(crate) enum Left {
    /// Publish now.
    Publish(Testament),
    /// Wait.
    Wait(Will),
}

impl Will {
    /// The client left without discarding it. Should the session end before the delay does, its end publishes the will.
    pub(crate) fn client_left(self, now_ms: u64) -> Left {
        let testament = self.into_testament();
        if testament.delay == 0 {
            return Left::Publish(testament);
        }
        let fires_ms = now_ms.saturating_add(u64::from(testament.delay) * 1000);
        Left::Wait(Self::Delayed { testament, fires_ms })
    }

    /// Whether both are one. A will of the same text from another CONNECT is another.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |a: &Testament, b: &Testament| {
            Arc::ptr_eq(&a.message, &b.message) && (a.qos, a.retain, a.delay) == (b.qos, b.retain, b.delay)
        };
        match (self, other) {
            (Self::Armed(a), Self::Armed(b)) => same(a, b),
            (Self::Delayed { testament: a, fires_ms: at }, Self::Delayed { testament: b, fires_ms: other_at }) => {
                at == other_at && same(a, b)
            }
            _ => false,
        }
    }

    pub(crate) fn fires_ms(&self) -> Option<u64> {
        match self {
            Self::Armed(_) => None,
            Self::Delayed { fires_ms, .. } => Some(*fires_ms),
        }
    }

    pub(crate) fn into_testament(self) -> Testament {
        match self {
            Self::Armed(testament) | Self::Delayed { testament, .. } => testament,
        }
    }
}
