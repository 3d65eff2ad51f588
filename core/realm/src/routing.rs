//! A PUBLISH on its way through the realm: from its publisher to the retained store and the subscribers.

use std::slice;
use std::sync::Arc;

use postern_mqtt::Topic;
use postern_mqtt::packet::{Ack, Message, Packet, Publish, QoS, Will};
use postern_mqtt::reason::ReasonCode;

use crate::inflight::Arrival;
use crate::queue::Outgoing;
use crate::realm::Realm;
use crate::retained::{Full, Held};
use crate::rights::{may_receive, may_will};
use crate::session::SessionId;
use crate::shared::Standing;
use crate::topics::{Hit, Options};
use crate::turn::{Effect, Refused, Rights};

/// What is published, and by whom.
pub(crate) struct Publication {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Client id of the publisher.
    pub(crate) publisher: Arc<str>,
    /// Its session; none for a will whose session is over, and for the broker itself.
    pub(crate) session: Option<SessionId>,
    /// A publisher that an acknowledgement can tell of a refusal; for others it is better to deliver what can not be retained.
    pub(crate) refusable: bool,
}

/// The first level of the broker's own topics.
pub(crate) const SYSTEM: &str = "$SYS";

/// Whether a topic is not for clients to publish to: `$SYS` and below, which are the broker's, and `$share` and below,
/// which no ordinary subscription can name. Other topics with a leading `$` are for clients to use.
pub(crate) fn is_reserved(topic: &Topic) -> bool {
    matches!(topic.levels().next(), Some(SYSTEM | "$share"))
}

impl Realm {
    /// A PUBLISH from a client. Acknowledged in the same turn, after its deliveries.
    pub(crate) fn incoming(&mut self, id: SessionId, publish: Publish, effects: &mut Vec<Effect>) {
        if let Err(reason) = self.offers(publish.qos, publish.retain) {
            // MQTT-3.2.2-11 and MQTT-3.2.2-14 bind the client, which was told.
            return self.expel(id, reason, effects);
        }
        if self.refuse_for_want_of_room(id, &publish, effects) {
            return;
        }
        match (publish.qos, publish.packet_id) {
            (QoS::AtMostOnce, _) => {
                self.accept(id, publish, effects);
            }
            (QoS::AtLeastOnce, Some(packet_id)) => {
                let reason = self.accept(id, publish, effects);
                self.reply(id, Packet::PubAck(Ack::new(packet_id, reason)), effects);
            }
            (QoS::ExactlyOnce, Some(packet_id)) => {
                let maximum = self.receive_maximum(id);
                let given_up_ms =
                    self.limits.release_wait_s.map_or(0, |s| self.now_ms.saturating_sub(1000 * u64::from(s)));
                let Some(session) = self.sessions.get_mut(&id) else { return };
                let reason = match session.unreleased.arrival(packet_id, maximum, given_up_ms) {
                    Arrival::TooMany => return self.expel(id, ReasonCode::RECEIVE_MAXIMUM_EXCEEDED, effects),
                    Arrival::Repeated => ReasonCode::SUCCESS,
                    Arrival::New => self.accept(id, publish, effects),
                };
                if let Some(session) = self.sessions.get_mut(&id).filter(|_| !reason.is_error()) {
                    session.unreleased.hold(packet_id, self.now_ms);
                    session.book(&mut self.books);
                }
                self.reply(id, Packet::PubRec(Ack::new(packet_id, reason)), effects);
            }
            // The wire has no such packet [MQTT-2.2.1-2].
            (QoS::AtLeastOnce | QoS::ExactlyOnce, None) => self.expel(id, ReasonCode::PROTOCOL_ERROR, effects),
        }
    }

    /// Whether a message may be published like this.
    pub(crate) fn offers(&self, qos: QoS, retain: bool) -> Result<(), ReasonCode> {
        if qos > self.limits.maximum_qos {
            return Err(ReasonCode::QOS_NOT_SUPPORTED);
        }
        if retain && !self.limits.retain_available {
            return Err(ReasonCode::RETAIN_NOT_SUPPORTED);
        }
        Ok(())
    }

    fn receive_maximum(&self, id: SessionId) -> u16 {
        let attachment = self.sessions.get(&id).and_then(|session| session.attachment);
        let told = attachment.is_some_and(|attachment| attachment.speaks_v5);
        if told { self.limits.receive_maximum.get() } else { self.limits.receive_maximum_untold.get() }
    }

    fn accept(&mut self, id: SessionId, publish: Publish, effects: &mut Vec<Effect>) -> ReasonCode {
        let Some(session) = self.sessions.get(&id) else { return ReasonCode::UNSPECIFIED };
        if is_reserved(&publish.message.topic) {
            self.books.dropped.reserved_topic += 1;
            self.refuse(id, Refused::Publish(publish.message.topic.clone()), ReasonCode::NOT_AUTHORIZED, effects);
            return ReasonCode::NOT_AUTHORIZED;
        }
        if !session.may_publish(&publish) {
            self.books.dropped.not_authorized += 1;
            self.refuse(id, Refused::Publish(publish.message.topic.clone()), ReasonCode::NOT_AUTHORIZED, effects);
            return self.deny(id, effects);
        }
        let publication = Publication {
            refusable: publish.qos != QoS::AtMostOnce && session.attachment.is_some_and(|a| a.speaks_v5),
            message: publish.message,
            qos: publish.qos,
            retain: publish.retain,
            publisher: Arc::clone(&session.client_id),
            session: Some(id),
        };
        self.publish(&publication, effects)
    }

    /// A will goes out by the rights that its client has then, not by those of the CONNECT that brought it.
    pub(crate) fn publish_will(&mut self, publisher: Arc<str>, rights: &Rights, will: Will, effects: &mut Vec<Effect>) {
        if !may_will(rights, &will) {
            self.books.dropped.not_authorized += 1;
            return;
        }
        let Will { qos, retain, message, .. } = will;
        let session = None;
        self.publish(&Publication { message, qos, retain, publisher, session, refusable: false }, effects);
    }

    fn publish(&mut self, publication: &Publication, effects: &mut Vec<Effect>) -> ReasonCode {
        let message = &publication.message;
        let at = |expiry_s: u32| self.now_ms.saturating_add(u64::from(expiry_s) * 1000);
        let own_or_default = message.expiry.or(self.limits.message_expiry_s);
        let expires_ms = own_or_default.map(at);
        if publication.retain {
            let held = Held {
                message: Arc::clone(message),
                qos: publication.qos,
                expires_ms: message.expiry.or(self.limits.retained_expiry_s).or(own_or_default).map(at),
                publisher: Arc::clone(&publication.publisher),
                number: 0,
            };
            let no_room = self.is_full && self.journal.kept.retained;
            if no_room || self.retained.put(held, &self.limits) == Err(Full) {
                self.books.dropped.retained_full += 1;
                if let Some(id) = publication.session {
                    let topic = message.topic.clone();
                    self.refuse(id, Refused::Publish(topic), ReasonCode::QUOTA_EXCEEDED, effects);
                }
                if publication.refusable {
                    return ReasonCode::QUOTA_EXCEEDED;
                }
            }
        }
        if self.route(publication, expires_ms, effects) {
            ReasonCode::SUCCESS
        } else {
            ReasonCode::NO_MATCHING_SUBSCRIBERS
        }
    }

    /// Tells the operator of a request that was refused.
    pub(crate) fn refuse(&self, id: SessionId, request: Refused, reason: ReasonCode, effects: &mut Vec<Effect>) {
        if let Some(attachment) = self.sessions.get(&id).and_then(|session| session.attachment) {
            effects.push(Effect::Refused { conn: attachment.conn, request, reason });
        }
    }

    /// To each session once, however many of its subscriptions match (3.3.4), and to one member of each
    /// group. Whether there was anybody.
    pub(crate) fn route(
        &mut self,
        publication: &Publication,
        expires_ms: Option<u64>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let (mut own, mut shared) = (Vec::new(), Vec::new());
        let sessions = &self.sessions;
        let topic = &publication.message.topic;
        let standing = |id, options: Options| match sessions.get(&id) {
            Some(session) if !may_receive(session.rights.as_deref(), topic, options.qos) => Standing::Barred,
            Some(session) if session.is_here() => Standing::Here,
            _ => Standing::Away,
        };
        self.topics.hits(topic, standing, &mut own, &mut shared);
        // MQTT-3.8.3-3
        own.retain(|hit| !(hit.options.no_local && publication.session == Some(hit.session)));
        for hits in own.chunk_by(|a, b| a.session == b.session) {
            self.deliver(publication, hits, expires_ms, effects);
        }
        for hit in &shared {
            self.deliver(publication, slice::from_ref(hit), expires_ms, effects);
        }
        !(own.is_empty() && shared.is_empty())
    }

    /// One copy, at the highest QoS of the subscriptions that match [MQTT-3.3.4-2], with all their
    /// identifiers [MQTT-3.3.4-3]; RETAIN as it came if one of them asks for it [MQTT-3.3.1-13].
    fn deliver(&mut self, publication: &Publication, hits: &[Hit], expires_ms: Option<u64>, effects: &mut Vec<Effect>) {
        let Some(id) = hits.first().map(|hit| hit.session) else { return };
        let now = self.now();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let topic = &publication.message.topic;
        let allowed: Vec<Hit>;
        let hits = match session.rights.as_deref() {
            None => hits,
            rights => {
                allowed = hits.iter().filter(|hit| may_receive(rights, topic, hit.options.qos)).copied().collect();
                &allowed
            }
        };
        if hits.is_empty() {
            self.books.dropped.not_authorized += 1;
            return;
        }
        let granted = hits.iter().map(|hit| hit.options.qos).max().unwrap_or_default();
        let outgoing = Outgoing {
            number: 0,
            message: Arc::clone(&publication.message),
            qos: if self.limits.upgrade_qos { granted } else { publication.qos.min(granted) },
            retain: publication.retain && hits.iter().any(|hit| hit.options.retain_as_published),
            subscription_ids: hits.iter().filter_map(|hit| hit.options.subscription_id).collect(),
            expires_ms,
        };
        if session.deliver(outgoing, now, &self.limits, &mut self.books, effects) {
            self.come_back(id);
        }
    }

    /// Sends to the session's connection, if it has one.
    pub(crate) fn reply(&self, id: SessionId, packet: Packet, effects: &mut Vec<Effect>) {
        if let Some(attachment) = self.sessions.get(&id).and_then(|session| session.attachment) {
            attachment.send(packet, effects);
        }
    }
}
