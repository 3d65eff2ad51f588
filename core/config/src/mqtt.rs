//! `mqtt` and `retainer`: what one connection and one session may ask for, and what is kept of retained messages.
//!
//! The defaults are those of the rooms that hold the limits (`postern_mqtt::Limits`, `postern_realm::RealmLimits`),
//! where their reasons stand; a test of the server compares them.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::model::PeerCert;

/// `mqtt`: limits of connections and sessions, and the standard way from certificates to names. Names that EMQX does
/// not have are marked as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Mqtt {
    /// Longest packet accepted, in bytes.
    pub max_packet_size: u32,
    /// Longest CONNECT, in bytes. Ours.
    pub max_connect_packet_size: u32,
    /// Longest client identifier, in bytes.
    pub max_clientid_len: usize,
    /// Longest topic name or filter, in bytes. Ours.
    pub max_topic_len: usize,
    /// Levels of a topic name or filter.
    pub max_topic_levels: usize,
    /// Topic aliases that a client may set.
    pub max_topic_alias: u16,
    /// User properties of one packet. Ours.
    pub max_user_properties: usize,
    /// Bytes of the user properties of one packet. Ours.
    pub max_user_properties_size: usize,
    /// Filters of one SUBSCRIBE or UNSUBSCRIBE. Ours.
    pub max_subscribe_filters: usize,
    /// Highest QoS that a client may publish at, and that is granted to subscriptions: 0 to 2.
    pub max_qos_allowed: u8,
    /// Whether messages can be retained.
    pub retain_available: bool,
    /// Whether filters may have wildcards.
    pub wildcard_subscription: bool,
    /// Whether there are shared subscriptions.
    pub shared_subscription: bool,
    /// Whether messages of a client of 3.x are kept from itself, as No Local of 5.0 does.
    pub ignore_loop_deliver: bool,
    /// What a client of 5.0 gets as Response Information that asks for it; none is nothing.
    pub response_information: Option<String>,
    /// Whether the user name becomes the client identifier.
    pub use_username_as_clientid: bool,
    /// From accept to the end of CONNECT.
    pub idle_timeout: Duration,
    /// The keep alive of all 5.0 clients, in seconds; none is what each asks for.
    pub server_keepalive: Option<NonZeroU16>,
    /// Longest keep alive of a 5.0 client, in seconds; 0 is without limit. Ours.
    pub max_keepalive: u16,
    /// Keep alive of a 5.0 client that asks for none, in seconds; 0 lets it be silent for ever. Ours.
    pub default_keepalive: u16,
    /// After how much of its keep alive a silent client is given up.
    pub keepalive_multiplier: KeepAliveMultiplier,
    /// Subscriptions of one client.
    pub max_subscriptions: usize,
    /// Whether a message is delivered at the subscription's QoS where its own is lower.
    pub upgrade_qos: bool,
    /// Messages of QoS 1 and 2 on their way to one client.
    pub max_inflight: u16,
    /// Receive Maximum: messages of QoS 2 from one client that it has not released.
    pub max_awaiting_rel: NonZeroU16,
    /// After this time a message of QoS 2 that was not released gives its place up where it is needed; none is never.
    pub await_rel_timeout: Option<Duration>,
    /// How long the session of an absent MQTT 3.x client is kept, which cannot say it itself.
    pub session_expiry_interval: Duration,
    /// Longest session of an absent client, whatever it asks for. Ours.
    pub max_session_expiry_interval: Duration,
    /// Expiry of messages that say none themselves; none is never.
    pub message_expiry_interval: Option<Duration>,
    /// Messages that wait for one client.
    pub max_mqueue_len: usize,
    /// Bytes of the messages that wait for one client. Ours.
    pub max_mqueue_size: usize,
    /// Whether messages of QoS 0 wait for an absent client.
    pub mqueue_store_qos0: bool,
    /// What becomes of the will of a client whose certificate is no longer valid. Ours.
    pub revoked_will: RevokedWill,
    /// For listeners that say nothing themselves.
    pub peer_cert_as_username: PeerCert,
    /// For listeners that say nothing themselves.
    pub peer_cert_as_clientid: PeerCert,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            max_packet_size: 1 << 20,
            max_connect_packet_size: 16 << 10,
            max_clientid_len: 256,
            max_topic_len: 1024,
            max_topic_levels: 64,
            max_topic_alias: 16,
            max_user_properties: 64,
            max_user_properties_size: 16 << 10,
            max_subscribe_filters: 1024,
            max_qos_allowed: 2,
            retain_available: true,
            wildcard_subscription: true,
            shared_subscription: true,
            ignore_loop_deliver: false,
            response_information: None,
            use_username_as_clientid: false,
            // Long for a client, short for who only holds a socket open.
            idle_timeout: Duration::from_secs(10),
            server_keepalive: None,
            max_keepalive: 1200,
            default_keepalive: 600,
            keepalive_multiplier: KeepAliveMultiplier::default(),
            max_subscriptions: 1000,
            upgrade_qos: false,
            max_inflight: 32,
            max_awaiting_rel: NonZeroU16::new(64).expect("64 is not 0"),
            await_rel_timeout: None,
            session_expiry_interval: Duration::from_hours(2),
            max_session_expiry_interval: Duration::from_hours(7 * 24),
            message_expiry_interval: None,
            max_mqueue_len: 1000,
            max_mqueue_size: 8 << 20,
            mqueue_store_qos0: false,
            revoked_will: RevokedWill::Publish,
            peer_cert_as_username: PeerCert::Disabled,
            peer_cert_as_clientid: PeerCert::Disabled,
        }
    }
}

/// `revoked_will`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RevokedWill {
    /// As that of any client that is lost (MQTT-3.1.2-8).
    #[default]
    Publish,
    /// It is discarded: who may not publish any more does not do so by dying.
    Discard,
}

/// `keepalive_multiplier`, in percent: 150 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAliveMultiplier(pub(crate) u16);

impl KeepAliveMultiplier {
    /// 150 is one and a half keep alives.
    pub fn percent(self) -> u16 {
        self.0
    }
}

impl Default for KeepAliveMultiplier {
    fn default() -> Self {
        Self(150)
    }
}

/// `retainer`: what is kept of retained messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retainer {
    /// Whether messages are retained at all. Where it is false, clients are told as by `mqtt.retain_available`.
    pub enable: bool,
    /// Longest payload that is retained, in bytes; a longer one is delivered and not retained.
    pub max_payload_size: usize,
    /// Expiry of retained messages that say none themselves; none is never.
    pub msg_expiry_interval: Option<Duration>,
    /// `backend.storage_type`: `disc` keeps retained messages in the data directory, `ram` in memory alone.
    pub storage: RetainerStorage,
    /// `backend.max_retained_messages`: of one tenant.
    pub max_retained_messages: usize,
    /// `backend.max_retained_size`: bytes of all retained messages of one tenant. Ours.
    pub max_retained_size: usize,
}

impl Default for Retainer {
    fn default() -> Self {
        Self {
            enable: true,
            max_payload_size: 1 << 20,
            msg_expiry_interval: None,
            storage: RetainerStorage::Disc,
            max_retained_messages: 1_000_000,
            max_retained_size: 256 << 20,
        }
    }
}

/// `retainer.backend.storage_type`, in EMQX's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainerStorage {
    /// They outlive the process.
    Disc,
    /// They do not.
    Ram,
}

/// `durable_sessions`: whether sessions outlive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableSessions {
    /// Sessions with an expiry above 0 are in the data directory, with what waits for them, and so are wills.
    pub enable: bool,
    /// Each acknowledgement waits until the disk says that it has what is acknowledged, retained messages included, so
    /// that it survives a power cut too. Ours.
    pub fsync: bool,
}

impl Default for DurableSessions {
    fn default() -> Self {
        Self { enable: true, fsync: false }
    }
}
