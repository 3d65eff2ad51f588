//! The bounds of a realm.

use std::num::NonZeroU16;
use std::sync::Arc;

use postern_mqtt::packet::{ConnAck, Connect, QoS};

/// The largest outgoing window, whatever is configured: a window is searched from its front.
pub(crate) const MAX_WINDOW: u16 = 1024;

/// Bytes of PUBLISH that one connection is given in one turn, as [`crate::held_bytes`] counts them; the message that
/// reaches it is the last. The rest of a queue goes in later turns, when it is known whether the connection keeps up.
pub const TURN_BYTES: usize = 1 << 20;

/// Places of the retained tree that the replays of one session may visit in one turn.
pub(crate) const REPLAY_VISITS: usize = 512;

/// The same for all sessions together: what the replays of one turn cost everybody else.
pub(crate) const REPLAY_VISITS_TOTAL: usize = 4096;

/// How much a tenant may hold, and what it may use. Every list in the realm is bounded by one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct RealmLimits {
    /// Sessions, connected or not; a CONNECT that needs one more gets 0x97.
    pub sessions: usize,
    /// Sessions with a connection; a CONNECT that needs one more gets 0x97.
    pub connections: usize,
    /// Connections of one owner, for owners that are known; as above.
    pub connections_per_owner: usize,
    /// Subscriptions of all sessions; one more gets 0x97.
    pub subscriptions: usize,
    /// Subscriptions of one session; one more gets 0x97.
    pub subscriptions_per_client: usize,
    /// Messages that wait for one session; one more drops the oldest.
    pub queue_messages: usize,
    /// Bytes that wait for one session; more drop the oldest. Bytes that are sent to it and not yet acknowledged have
    /// the same bound: beyond it, messages wait.
    pub queue_bytes: usize,
    /// Bytes that wait for all sessions together or are not yet acknowledged, each message counted for each session;
    /// more drop the oldest that waits for the session in question.
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
    /// Longest payload of a retained message in bytes; as above.
    pub retained_payload_bytes: usize,
    /// Expiry in seconds of a retained message that says none itself; none is never.
    pub retained_expiry_s: Option<u32>,
    /// Expiry in seconds of any message that says none itself; none is never. Subscribers are told it.
    pub message_expiry_s: Option<u32>,
    /// In seconds: the id of a QoS 2 message that was not released for so long gives its place to a new one where
    /// there is no other; none is never, as the client may still send the message again.
    pub release_wait_s: Option<u32>,
    /// Highest QoS of a PUBLISH or a will: more gets 0x9B. Subscriptions are granted no more.
    pub maximum_qos: QoS,
    /// Whether messages are retained: where not, a PUBLISH or will with RETAIN gets 0x9A.
    pub retain_available: bool,
    /// Whether filters may have wildcards; where not, they get 0xA2.
    pub wildcard_subscription: bool,
    /// Whether subscriptions may be shared; where not, they get 0x9E.
    pub shared_subscription: bool,
    /// Whether a client of 3.x gets no message of its own, as if it could set No Local.
    pub no_local_untold: bool,
    /// Whether a message goes out at the QoS of the subscription where its own is lower.
    pub upgrade_qos: bool,
    /// Whether messages of QoS 0 wait for an absent client.
    pub queue_qos_0: bool,
    /// What a client gets that asks for Response Information.
    pub response_information: Option<Arc<str>>,
    /// How long a session of 3.x with Clean Session 0 outlives its connection, in seconds: 3.x cannot say.
    pub session_expiry_default_s: u32,
    /// The longest Session Expiry Interval in seconds; a longer wish is lowered, and the client is told.
    pub session_expiry_max_s: u32,
}

impl Default for RealmLimits {
    fn default() -> Self {
        Self {
            sessions: 100_000,
            connections: 100_000,
            connections_per_owner: 100_000,
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
            retained_payload_bytes: 1 << 20,
            retained_expiry_s: None,
            message_expiry_s: None,
            release_wait_s: None,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscription: true,
            shared_subscription: true,
            no_local_untold: false,
            upgrade_qos: false,
            queue_qos_0: false,
            response_information: None,
            session_expiry_default_s: 2 * 3600,
            session_expiry_max_s: 7 * 24 * 3600,
        }
    }
}

impl RealmLimits {
    /// Adds to a CONNACK the Receive Maximum, what there is not, and what the client asked for. What there is, is not
    /// said.
    pub(crate) fn announce(&self, conn_ack: ConnAck, connect: &Connect) -> ConnAck {
        let lacking = |has: bool| (!has).then_some(false);
        ConnAck {
            receive_maximum: Some(self.receive_maximum),
            maximum_qos: Some(self.maximum_qos).filter(|&qos| qos < QoS::ExactlyOnce),
            retain_available: lacking(self.retain_available),
            wildcard_subscription_available: lacking(self.wildcard_subscription),
            shared_subscription_available: lacking(self.shared_subscription),
            // MQTT-3.1.2-28
            response_information: self.response_information.clone().filter(|_| connect.request_response_information),
            ..conn_ack
        }
    }
}
