//! One client's session: what outlives its connections (section 4.1).

use std::collections::BTreeSet;
use std::sync::Arc;

use postern_mqtt::packet::{Connect, Packet, PacketId, QoS, SessionLifetime};
use postern_mqtt::{Filter, packet};

use crate::flow::{Flow, Gate, Now};
use crate::image::Image;
use crate::inflight::{Unreleased, Window};
use crate::limits::{MAX_WINDOW, RealmLimits};
use crate::queue::{Books, Outgoing, Queue};
use crate::replay::Replays;
use crate::size::{held_bytes, wire_bytes};
use crate::turn::{ConnId, Effect, Owner, Rights};
use crate::will::Will;

/// A session of this realm; never used for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// The connection of a session, and what its client asked for on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attachment {
    pub(crate) conn: ConnId,
    /// Messages that may be unacknowledged: the lower of the client's Receive Maximum and ours.
    window: usize,
    /// Maximum Packet Size of the client.
    packet_bytes: Option<u32>,
    /// 3.x can be told neither a Receive Maximum nor that a message was refused.
    pub(crate) speaks_v5: bool,
}

impl Attachment {
    pub(crate) fn new(conn: ConnId, connect: &Connect, limits: &RealmLimits) -> Self {
        let ours = limits.inflight_out.clamp(1, MAX_WINDOW);
        let window = connect.receive_maximum.map_or(ours, |theirs| ours.min(theirs.get()));
        Self {
            conn,
            window: usize::from(window),
            packet_bytes: connect.maximum_packet_size,
            speaks_v5: connect.version.has_properties(),
        }
    }

    fn takes(&self, publish: &packet::Publish) -> bool {
        self.packet_bytes.is_none_or(|limit| wire_bytes(publish) <= limit as usize)
    }

    pub(crate) fn send(&self, packet: Packet, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send { conn: self.conn, packet });
    }
}

/// What became of a retained message that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It was sent, or can never be.
    Taken,
    /// It can be sent in the next turn.
    NextTurn,
    /// It can be sent when the client has acknowledged or taken something.
    Waits,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    pub(crate) owner: Owner,
    pub(crate) rights: Rights,
    pub(crate) attachment: Option<Attachment>,
    /// Session Expiry Interval in seconds; 0 ends the session with its connection.
    pub(crate) expiry_s: u32,
    /// When it expires, while there is no connection.
    pub(crate) ends_ms: Option<u64>,
    pub(crate) subscriptions: BTreeSet<Filter>,
    pub(crate) will: Option<Will>,
    pub(crate) window: Window,
    pub(crate) unreleased: Unreleased,
    /// Retained messages that are still to come.
    pub(crate) replays: Replays,
    /// Of the connection that there is.
    pub(crate) flow: Flow,
    /// The realm comes back to it in the next turn.
    pub(crate) is_ready: bool,
    pub(crate) queue: Queue,
    /// What of it is written; none where it need not outlive the process.
    pub(crate) image: Option<Box<Image>>,
    /// It is to be looked at when the turn ends.
    pub(crate) is_touched: bool,
    /// What of `window` and `unreleased` is on the books.
    booked: (u32, u32),
}

impl Session {
    pub(crate) fn new(client_id: Arc<str>, owner: Owner) -> Self {
        Self {
            client_id,
            owner,
            rights: None,
            attachment: None,
            expiry_s: 0,
            ends_ms: None,
            subscriptions: BTreeSet::new(),
            will: None,
            window: Window::default(),
            unreleased: Unreleased::default(),
            replays: Replays::default(),
            flow: Flow::default(),
            is_ready: false,
            queue: Queue::default(),
            image: None,
            is_touched: false,
            booked: (0, 0),
        }
    }

    /// The connection is gone. What it was, if there was one.
    pub(crate) fn detach(&mut self, books: &mut Books) -> Option<Attachment> {
        let attachment = self.attachment.take()?;
        self.window.connection_lost();
        // Retained messages are for who is there.
        self.replays = Replays::default();
        self.flow = Flow::default();
        self.book(books);
        Some(attachment)
    }

    /// Whether a message of QoS 0 waits where it is to be kept: for a client that is absent or slow, and behind those that
    /// wait already.
    fn queues_qos_0(&self, now: Now, limits: &RealmLimits) -> bool {
        limits.queue_qos_0 && (self.attachment.is_none() || !self.queue.is_empty() || self.flow.gate(now) != Gate::Open)
    }

    /// Sends a message, or keeps it until it can be sent. QoS 0 is for who is there and keeps up, unless it is to be kept
    /// too. Whether there is more to send in the next turn.
    pub(crate) fn deliver(
        &mut self,
        outgoing: Outgoing,
        now: Now,
        limits: &RealmLimits,
        books: &mut Books,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if outgoing.qos != QoS::AtMostOnce || self.queues_qos_0(now, limits) {
            let lost = books.dropped.queue_full;
            self.queue.push(outgoing, limits, books);
            if books.dropped.queue_full > lost {
                self.replays.live_lost();
            }
            return self.pump(now, limits, books, effects);
        }
        let Some(attachment) = self.attachment else {
            books.dropped.offline += 1;
            return false;
        };
        if self.flow.gate(now) == Gate::Open {
            self.send(&attachment, outgoing, now, books, effects);
        } else {
            books.dropped.slow_consumer += 1;
            self.replays.live_lost();
        }
        false
    }

    /// Sends what the window and the connection's share of this turn allow: first what an earlier connection left, then
    /// from the queue. Whether there is more to send in the next turn.
    pub(crate) fn pump(
        &mut self,
        now: Now,
        limits: &RealmLimits,
        books: &mut Books,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let has_more = self.send_waiting(now, limits, books, effects);
        self.book(books);
        has_more
    }

    /// Brings the books up to date with the window and the packet ids that are held.
    pub(crate) fn book(&mut self, books: &mut Books) {
        // Both are bounded by 65,535 packet ids.
        let now = [self.window.len(), self.unreleased.len()].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
        books.in_flight = books.in_flight + now[0] as usize - self.booked.0 as usize;
        books.unreleased = books.unreleased + now[1] as usize - self.booked.1 as usize;
        self.booked = now.into();
    }

    fn send_waiting(&mut self, now: Now, limits: &RealmLimits, books: &mut Books, effects: &mut Vec<Effect>) -> bool {
        let Some(attachment) = self.attachment else { return false };
        while self.window.has_unsent() {
            match self.flow.gate(now) {
                Gate::Open => {}
                gate => return gate == Gate::Spent,
            }
            let Some(packet) = self.window.resend(attachment.window, now.ms) else { break };
            if let Packet::Publish(publish) = &packet {
                self.flow.give(held_bytes(&publish.message), now);
            }
            attachment.send(packet, effects);
        }
        while let Some(next) = self.queue.front() {
            match self.flow.gate(now) {
                Gate::Open => {}
                gate => return gate == Gate::Spent,
            }
            if !self.takes_now(next, &attachment, limits) {
                return false;
            }
            let Some(outgoing) = self.queue.pop(books) else { return false };
            self.send(&attachment, outgoing, now, books, effects);
        }
        false
    }

    /// Whether the window has room; QoS 0 needs none.
    fn takes_now(&self, outgoing: &Outgoing, attachment: &Attachment, limits: &RealmLimits) -> bool {
        outgoing.qos == QoS::AtMostOnce || self.window.has_room(outgoing, attachment.window, limits.queue_bytes)
    }

    /// Sends a message that nothing holds back.
    fn send(
        &mut self,
        attachment: &Attachment,
        outgoing: Outgoing,
        now: Now,
        books: &mut Books,
        effects: &mut Vec<Effect>,
    ) {
        let packet_id = (outgoing.qos != QoS::AtMostOnce).then_some(PacketId::MAX);
        let publish = outgoing.publish(packet_id, false, now.ms);
        if outgoing.is_expired(now.ms) {
            books.dropped.expired += 1;
        } else if !attachment.takes(&publish) {
            books.dropped.too_large += 1;
        } else {
            self.flow.give(outgoing.bytes(), now);
            let packet = match packet_id {
                None => Packet::Publish(publish),
                Some(_) => self.window.send(outgoing, now.ms, books),
            };
            attachment.send(packet, effects);
        }
    }

    /// Sends a retained message if it can go now, behind whatever waits already; it never takes a place in the queue.
    pub(crate) fn offer(
        &mut self,
        outgoing: Outgoing,
        now: Now,
        limits: &RealmLimits,
        books: &mut Books,
        effects: &mut Vec<Effect>,
    ) -> Offered {
        let Some(attachment) = self.attachment else { return Offered::Waits };
        match self.flow.gate(now) {
            Gate::Open => {}
            Gate::Spent => return Offered::NextTurn,
            Gate::Parked => return Offered::Waits,
        }
        let waits = outgoing.qos != QoS::AtMostOnce && !self.queue.is_empty();
        if waits || !self.takes_now(&outgoing, &attachment, limits) {
            return Offered::Waits;
        }
        self.send(&attachment, outgoing, now, books, effects);
        self.book(books);
        Offered::Taken
    }

    /// Whether it has a connection that keeps up.
    pub(crate) fn is_here(&self) -> bool {
        self.attachment.is_some() && !self.flow.is_parked()
    }

    /// Takes back what is not `allowed` of all that waits for the client, sent and not yet acknowledged or not.
    pub(crate) fn revoke(&mut self, allowed: impl Fn(&Outgoing) -> bool, books: &mut Books) {
        self.window.revoke(&allowed, books);
        self.queue.revoke(&allowed, books);
        self.book(books);
    }

    /// The session is over: what it holds is taken off the books.
    pub(crate) fn strike_off(&self, books: &mut Books) {
        self.queue.strike_off(books);
        books.in_flight -= self.booked.0 as usize;
        books.unreleased -= self.booked.1 as usize;
        self.window.strike_off(books);
    }
}

/// The Session Expiry Interval that a CONNECT gets, in seconds. 3.x asks for none; its Clean Session 0 is
/// a session of the configured length, and Clean Session 1 ends with the connection.
pub(crate) fn granted_expiry_s(connect: &Connect, limits: &RealmLimits) -> u32 {
    let wanted = match connect.session_lifetime() {
        SessionLifetime::Seconds(seconds) => seconds,
        SessionLifetime::UntilFurtherNotice => limits.session_expiry_default_s,
    };
    wanted.min(limits.session_expiry_max_s)
}
