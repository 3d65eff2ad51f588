//! What goes into a turn of the realm, and what comes out of it.

use std::sync::Arc;

use bytes::Bytes;
use postern_identity::Acl;
use postern_mqtt::packet::{ConnAck, Connect, Disconnect};
use postern_mqtt::{Filter, Packet, ReasonCode, Topic};

/// One network connection. Given by the driver, which never uses a number twice in the life of a realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// The principal that owns a session: whom a certificate or a password proved the client to be, none for a client
/// that proved nothing. A session is resumed, taken over or replaced by its owner alone.
pub type Owner = Option<Arc<str>>;

/// What the client may do; none where there are no rules, and it may do everything.
pub type Rights = Option<Arc<Acl>>;

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A CONNECT that the gate has let in, and given a client identifier where it had none. It is answered with a
    /// CONNACK in any case.
    Connect {
        /// From where.
        conn: ConnId,
        /// The packet.
        connect: Box<Connect>,
        /// Who it is.
        owner: Owner,
        /// What it may do from now on, and when it is away.
        rights: Rights,
        /// What the gate has to say in the CONNACK of a client that is let in: Server Keep Alive, Assigned Client
        /// Identifier and the like. The realm adds its own limits.
        greeting: Box<ConnAck>,
    },
    /// Any later packet but PINGREQ.
    Packet {
        /// From where.
        conn: ConnId,
        /// The packet.
        packet: Packet,
    },
    /// What the client may do has changed.
    Rights {
        /// Whose.
        conn: ConnId,
        /// From now on.
        rights: Rights,
    },
    /// The broker itself has something to say, at QoS 0. Clients cannot publish there, and what is retained counts
    /// against none of their limits.
    Announce {
        /// `$SYS` or below; any other is not announced.
        topic: Topic,
        /// The figure or event.
        payload: Bytes,
        /// Whether it is kept for who subscribes later, in place of what was kept under the topic before.
        retain: bool,
    },
    /// The connection does not take what it was given: it gets no PUBLISH until it is [`Input::Resumed`]. What waits in
    /// its session's queue stays there, QoS 0 is dropped; answers go on.
    Parked {
        /// Which.
        conn: ConnId,
    },
    /// A parked connection has taken what it was given.
    Resumed {
        /// Which.
        conn: ConnId,
    },
    /// The connection is gone, or the driver is closing it.
    Closed {
        /// Which.
        conn: ConnId,
        /// How it ended.
        departure: Departure,
    },
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub enum Departure {
    /// With a DISCONNECT. Reason 0x00 discards the will (MQTT-3.14.4-3), any other publishes it.
    Goodbye(Disconnect),
    /// Without one: the will is published.
    Lost,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a packet. In one turn a connection gets about [`crate::TURN_BYTES`] of PUBLISH at most.
    Send {
        /// To where.
        conn: ConnId,
        /// The packet.
        packet: Packet,
    },
    /// Close the connection. The realm has forgotten it: whatever still comes from it is ignored.
    Close {
        /// Which.
        conn: ConnId,
        /// A DISCONNECT to send before, where the version has one.
        farewell: Option<Disconnect>,
    },
    /// Nothing to do: a request was refused, which its client may learn or not, and the operator may.
    Refused {
        /// Whose.
        conn: ConnId,
        /// What it was.
        request: Refused,
        /// As 5.0 names it.
        reason: ReasonCode,
    },
}

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A PUBLISH to this topic. With a reason of quota it was delivered and not retained.
    Publish(Topic),
    /// A subscription to this filter.
    Subscribe(Filter),
}

impl Refused {
    /// The topic or filter.
    pub fn about(&self) -> &str {
        match self {
            Self::Publish(topic) => topic.as_str(),
            Self::Subscribe(filter) => filter.as_str(),
        }
    }

    /// A lower-case word for logs and metric labels.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Publish(_) => "publish",
            Self::Subscribe(_) => "subscribe",
        }
    }
}

/// A look at the realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Sessions with a connection.
    pub connected: usize,
    /// The most that ever were connected at once.
    pub connected_max: usize,
    /// Sessions that ended because their client did not come back in time.
    pub expired: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Of these, shared ones.
    pub shared_subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Bytes of the retained messages.
    pub retained_bytes: usize,
    /// Messages that wait for a window or for their client.
    pub queued: usize,
    /// Bytes of these and of those in flight, each message counted for each of its subscribers.
    pub queued_bytes: usize,
    /// Messages sent and not yet acknowledged to the end.
    pub in_flight: usize,
    /// QoS 2 packet ids received and not yet released.
    pub unreleased: usize,
    /// What was not delivered, since the birth of the realm.
    pub dropped: Dropped,
    /// How often which limit was reached, since the birth of the realm.
    pub exhausted: Exhausted,
}

/// How often room was used up and something refused for it, by limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exhausted {
    /// CONNECT packets: the tenant has all its sessions.
    pub sessions: u64,
    /// CONNECT packets: the tenant has all its connections.
    pub connections: u64,
    /// CONNECT packets: their owner has all its connections.
    pub connections_of_owner: u64,
    /// Filters: the client or the tenant has all its subscriptions.
    pub subscriptions: u64,
}

/// Deliveries that did not happen, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// The oldest of a session's full queue made room for a new one.
    pub queue_full: u64,
    /// The Message Expiry Interval passed in a queue (MQTT-3.3.2-5).
    pub expired: u64,
    /// QoS 0 to a session without a connection.
    pub offline: u64,
    /// QoS 0 to a connection that is parked, or beyond what one connection is given in one turn.
    pub slow_consumer: u64,
    /// More than the subscriber's Maximum Packet Size (MQTT-3.1.2-25).
    pub too_large: u64,
    /// Not retained, since the retained store is full or the payload too long for it.
    pub retained_full: u64,
    /// Published by a client to a topic of the broker's own.
    pub reserved_topic: u64,
    /// Against the rights of the publisher (its will included) or of the subscriber.
    pub not_authorized: u64,
}
