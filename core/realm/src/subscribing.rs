//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 to 3.11).

use postern_mqtt::Filter;
use postern_mqtt::packet::{Packet, QoS, RetainHandling, SubAck, Subscribe, Subscription, Unsubscribe};
use postern_mqtt::reason::ReasonCode;

use crate::announcing::is_announced;
use crate::realm::Realm;
use crate::retained::Retained;
use crate::session::SessionId;
use crate::topics::Options;
use crate::turn::{Effect, Refused};

impl Realm {
    pub(crate) fn subscribe(&mut self, id: SessionId, subscribe: Subscribe, effects: &mut Vec<Effect>) {
        let is_shared = |s: &Subscription| s.filter.as_ref().is_ok_and(|filter| filter.share().is_some());
        if subscribe.subscriptions.iter().any(|s| s.no_local && is_shared(s)) {
            // MQTT-3.8.3-4
            self.expel(id, ReasonCode::PROTOCOL_ERROR, effects);
            return;
        }
        let Subscribe { packet_id, subscription_id, subscriptions, .. } = subscribe;
        let mut reasons = Vec::with_capacity(subscriptions.len());
        let mut replays = Vec::new();
        let mut denied = false;
        for Subscription { filter, qos, no_local, retain_as_published, retain_handling } in subscriptions {
            let filter = match filter {
                Ok(filter) => filter,
                Err(invalid) => {
                    reasons.push(invalid.reason);
                    continue;
                }
            };
            let options = Options {
                qos: qos.min(self.limits.maximum_qos),
                no_local: no_local || self.spares_own(id, &filter),
                retain_as_published,
                subscription_id,
            };
            match self.subscribe_one(id, &filter, options) {
                Ok(is_new) => {
                    reasons.push(granted(options.qos));
                    replays.push((wants_replay(&filter, retain_handling, is_new), filter, options));
                }
                Err(reason) => {
                    denied |= reason == ReasonCode::NOT_AUTHORIZED;
                    self.refuse(id, Refused::Subscribe(filter), reason, effects);
                    reasons.push(reason);
                }
            }
        }
        self.reply(id, Packet::SubAck(SubAck { packet_id, reasons, reason_string: None }), effects);
        if denied {
            self.deny(id, effects);
        }
        let numbers = [&self.retained, &self.announced].map(Retained::last_number);
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| session.attachment.is_some()) {
            for (begins, filter, options) in replays {
                if begins {
                    let last = numbers[usize::from(is_announced(&filter))];
                    session.replays.begin(filter, options, last);
                } else {
                    session.replays.change(&filter, options);
                }
            }
            self.come_back(id);
        }
    }

    /// Whether a client that cannot set No Local is treated as if it had.
    fn spares_own(&self, id: SessionId, filter: &Filter) -> bool {
        let attachment = self.sessions.get(&id).and_then(|session| session.attachment);
        self.limits.no_local_untold && filter.share().is_none() && attachment.is_some_and(|a| !a.speaks_v5)
    }

    /// Whether there are subscriptions like this one.
    fn serves(&self, filter: &Filter) -> Result<(), ReasonCode> {
        if !self.limits.shared_subscription && filter.share().is_some() {
            return Err(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        if !self.limits.wildcard_subscription && filter.levels().any(|level| matches!(level, "+" | "#")) {
            return Err(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        Ok(())
    }

    /// Whether the subscription is new.
    fn subscribe_one(&mut self, id: SessionId, filter: &Filter, options: Options) -> Result<bool, ReasonCode> {
        self.serves(filter)?;
        let session = self.sessions.get_mut(&id).ok_or(ReasonCode::UNSPECIFIED)?;
        if !session.may_subscribe(filter, options.qos) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        if self.is_full && session.image.is_some() {
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        if !session.subscriptions.contains(filter) {
            let of_client = session.subscriptions.len() >= self.limits.subscriptions_per_client;
            if of_client || self.topics.count() >= self.limits.subscriptions {
                self.books.exhausted.subscriptions += 1;
                return Err(ReasonCode::QUOTA_EXCEEDED);
            }
            session.subscriptions.insert(filter.clone());
        }
        session.filter_changed(filter);
        Ok(self.topics.subscribe(id, filter, options))
    }

    pub(crate) fn unsubscribe(&mut self, id: SessionId, unsubscribe: &Unsubscribe, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let reasons = unsubscribe.filters.iter().map(|filter| match filter {
            Err(invalid) => invalid.reason,
            Ok(filter) if session.subscriptions.remove(filter) => {
                session.replays.end(filter);
                session.filter_changed(filter);
                self.topics.unsubscribe(id, filter);
                ReasonCode::SUCCESS
            }
            Ok(_) => ReasonCode::NO_SUBSCRIPTION_EXISTED,
        });
        let reasons = reasons.collect();
        let packet_id = unsubscribe.packet_id;
        self.reply(id, Packet::UnsubAck(SubAck { packet_id, reasons, reason_string: None }), effects);
    }
}

fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::SUCCESS,
        QoS::AtLeastOnce => ReasonCode::GRANTED_QOS_1,
        QoS::ExactlyOnce => ReasonCode::GRANTED_QOS_2,
    }
}

/// Shared subscriptions get none (4.8.2); else as Retain Handling says [MQTT-3.3.1-9] to [MQTT-3.3.1-11].
fn wants_replay(filter: &Filter, handling: RetainHandling, is_new: bool) -> bool {
    filter.share().is_none()
        && match handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        }
}
