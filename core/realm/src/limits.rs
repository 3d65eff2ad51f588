//! The bounds of a realm.

use std::num::NonZeroU16;

/// The largest outgoing window, whatever is configured: a window is searched from its front.
pub(crate) const MAX_WINDOW: u16 = 1024;

/// Places of the retained tree that the replays of one SUBSCRIBE may visit, so that its work is bounded however many
/// wildcards it has and however often it names a filter.
pub(crate) const MAX_REPLAY_VISITS: usize = 1_000_000;

/// How much a tenant may hold. Every list in the realm is bounded by one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealmLimits {
    /// Sessions, connected or not; a CONNECT that needs one more gets 0x97.
    pub sessions: usize,
    /// Subscriptions of all sessions; one more gets 0x97.
    pub subscriptions: usize,
    /// Subscriptions of one session; one more gets 0x97.
    pub subscriptions_per_client: usize,
    /// Messages that wait for one session; one more drops the oldest.
    pub queue_messages: usize,
    /// Bytes that wait for one session; more drop the oldest.
    pub queue_bytes: usize,
    /// Bytes that wait for all sessions together, each message counted for each of them; more drop the oldest of the
    /// session in question.
    pub queue_bytes_total: usize,
    /// QoS 1 and 2 messages sent to one client and not yet acknowledged; its Receive Maximum may lower it. 1 to 1024.
    pub inflight_out: u16,
    /// Receive Maximum of the server: QoS 2 messages from one client that it has not released. One more gets 0x93.
    pub receive_maximum: NonZeroU16,
    /// The same for a client of 3.x, which cannot be told: it is closed where it goes beyond any ordinary window.
    pub receive_maximum_untold: NonZeroU16,
    /// Retained messages; one more is delivered, not retained, and acknowledged with 0x97.
    pub retained_messages: usize,
    /// Bytes of all retained messages; as above.
    pub retained_bytes: usize,
    /// How long a session of 3.x with Clean Session 0 outlives its connection, in seconds: 3.x cannot say.
    pub session_expiry_default_s: u32,
    /// The longest Session Expiry Interval in seconds; a longer wish is lowered, and the client is told.
    pub session_expiry_max_s: u32,
    /// Maximum Packet Size of the server in bytes, to be told to the client; the link enforces it.
    pub packet_bytes: u32,
    /// Topic Alias Maximum of the server, to be told to the client; the link enforces it.
    pub topic_alias_maximum: u16,
}

impl Default for RealmLimits {
    fn default() -> Self {
        Self {
            sessions: 100_000,
            subscriptions: 1_000_000,
            subscriptions_per_client: 1000,
            queue_messages: 1000,
            queue_bytes: 8 << 20,
            queue_bytes_total: 512 << 20,
            inflight_out: 32,
            receive_maximum: NonZeroU16::new(64).expect("64 is not 0"),
            receive_maximum_untold: NonZeroU16::new(1024).expect("1024 is not 0"),
            retained_messages: 1_000_000,
            retained_bytes: 256 << 20,
            session_expiry_default_s: 2 * 3600,
            session_expiry_max_s: 7 * 24 * 3600,
            packet_bytes: 1 << 20,
            topic_alias_maximum: 16,
        }
    }
}
