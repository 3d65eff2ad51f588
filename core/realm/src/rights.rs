//! What a client may do, where it is asked: at its CONNECT for the will, at SUBSCRIBE, at PUBLISH, and again for
//! each message on its way out, since a filter that is allowed may match a topic that is not.
//!
//! Rights are those of the last CONNECT, and stay with the session while its client is away. Where they change,
//! what already waits for the client is looked through once, so that nothing needs a second look when it is sent.

use std::sync::Arc;

use postern_identity::Acl;
use postern_identity::acl::DenyAction;
use postern_mqtt::packet::{Publish, QoS, Will};
use postern_mqtt::reason::ReasonCode;
use postern_mqtt::{Filter, Topic};

use crate::queue::Books;
use crate::realm::Realm;
use crate::session::{Session, SessionId};
use crate::turn::{Effect, Rights};

/// Whether a will may be published.
pub(crate) fn may_will(rights: &Rights, will: &Will) -> bool {
    rights.as_ref().is_none_or(|acl| acl.may_publish(will.message.topic.as_str(), will.qos as u8, will.retain))
}

/// Whether a message of this topic may come by a subscription of this QoS.
pub(crate) fn may_receive(rights: Option<&Acl>, topic: &Topic, qos: QoS) -> bool {
    rights.is_none_or(|acl| acl.may_receive(topic.as_str(), qos as u8))
}

impl Session {
    pub(crate) fn may_publish(&self, publish: &Publish) -> bool {
        let topic = publish.message.topic.as_str();
        self.rights.as_ref().is_none_or(|acl| acl.may_publish(topic, publish.qos as u8, publish.retain))
    }

    /// A shared subscription is one to its filter (4.8.2).
    pub(crate) fn may_subscribe(&self, filter: &Filter, qos: QoS) -> bool {
        self.rights.as_ref().is_none_or(|acl| acl.may_subscribe(filter.as_str(), qos as u8))
    }

    /// Gives the session other rights, and takes from it what waits for its client and may not reach it any more.
    pub(crate) fn set_rights(&mut self, rights: Rights, books: &mut Books) {
        if self.rights == rights {
            return;
        }
        self.rights = rights;
        if let Some(acl) = self.rights.as_ref().map(Arc::clone) {
            self.revoke(|outgoing| may_receive(Some(&acl), &outgoing.message.topic, outgoing.qos), books);
        }
    }
}

impl Realm {
    /// The rights of a live connection are others from now on.
    pub(crate) fn change_rights(&mut self, id: SessionId, rights: Rights) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.set_rights(rights, &mut self.books);
            // What was taken back may have been what a replay waited for.
            self.come_back(id);
        }
    }

    /// Answers what a client may not do as its rules want it: told by this reason, or with the connection's end.
    pub(crate) fn deny(&mut self, id: SessionId, effects: &mut Vec<Effect>) -> ReasonCode {
        let rights = self.sessions.get(&id).and_then(|session| session.rights.as_deref());
        if rights.is_some_and(|acl| acl.deny_action() == DenyAction::Disconnect) {
            self.expel(id, ReasonCode::NOT_AUTHORIZED, effects);
        }
        ReasonCode::NOT_AUTHORIZED
    }
}
