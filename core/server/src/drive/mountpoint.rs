//! The mountpoint: a prefix that a listener's clients live under and never see.

use std::sync::Arc;

use postern_identity::Namespace;
use postern_mqtt::Packet;
use postern_mqtt::packet::{Connect, Message, Publish, Subscribe, Unsubscribe};
use postern_mqtt::reason::ReasonCode;
use postern_mqtt::topic::{Filter, Topic};

/// A listener's `mountpoint`, with its placeholders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mountpoint(String);

/// A mountpoint with its placeholders filled in for one client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mounted(String);

/// A client's value cannot stand in the mountpoint: it would reach other clients' topics.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mountpoint takes {placeholder}, which must be one topic level without '/', '+' and '#', and not empty")]
pub(crate) struct Unmountable {
    placeholder: &'static str,
}

impl Mountpoint {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Fills in the placeholders. A value that is not exactly one literal topic level is refused.
    pub(crate) fn mount(
        &self,
        client_id: &str,
        username: Option<&str>,
        namespace: &Namespace,
    ) -> Result<Mounted, Unmountable> {
        let values = [
            ("${clientid}", Some(client_id)),
            ("${username}", username),
            ("${namespace}", namespace.name().map(AsRef::as_ref)),
        ];
        let mut text = self.0.clone();
        for (placeholder, value) in values {
            if text.contains(placeholder) {
                let level = |v: &&str| !v.is_empty() && !v.contains(['/', '+', '#', '\0']);
                let value = value.filter(level).ok_or(Unmountable { placeholder })?;
                text = text.replace(placeholder, value);
            }
        }
        Ok(Mounted(text))
    }
}

impl Mounted {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What stands before each topic.
    pub(crate) fn prefix(&self) -> &str {
        &self.0
    }

    /// Puts the will of a CONNECT under the prefix.
    pub(crate) fn enter_connect(&self, connect: &mut Connect) -> Result<(), ReasonCode> {
        if let Some(will) = &mut connect.will {
            self.enter_message(&mut will.message)?;
        }
        Ok(())
    }

    /// Puts what a client sends under the prefix.
    pub(crate) fn enter(&self, packet: &mut Packet) -> Result<(), ReasonCode> {
        match packet {
            Packet::Publish(Publish { message, .. }) => self.enter_message(message),
            Packet::Subscribe(Subscribe { subscriptions, .. }) => {
                for filter in subscriptions.iter_mut().filter_map(|s| s.filter.as_mut().ok()) {
                    *filter = self.enter_filter(filter)?;
                }
                Ok(())
            }
            Packet::Unsubscribe(Unsubscribe { filters, .. }) => {
                for filter in filters.iter_mut().filter_map(|f| f.as_mut().ok()) {
                    *filter = self.enter_filter(filter)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn enter_message(&self, message: &mut Arc<Message>) -> Result<(), ReasonCode> {
        let prefixed = format!("{}{}", self.0, message.topic.as_str());
        let topic = Topic::new(&prefixed).map_err(|_| ReasonCode::TOPIC_NAME_INVALID)?;
        Arc::make_mut(message).topic = topic;
        Ok(())
    }

    fn enter_filter(&self, filter: &Filter) -> Result<Filter, ReasonCode> {
        let prefixed = match filter.share() {
            Some(share) => format!("$share/{share}/{}{}", self.0, filter.as_str()),
            None => format!("{}{}", self.0, filter.as_str()),
        };
        Filter::new(&prefixed).map_err(|_| ReasonCode::TOPIC_FILTER_INVALID)
    }

    /// Takes the prefix off what a client receives.
    pub(crate) fn leave(&self, packet: &mut Packet) {
        if let Packet::Publish(Publish { message, .. }) = packet {
            let Some(rest) = message.topic.as_str().strip_prefix(&self.0) else { return };
            if let Ok(topic) = Topic::new(rest) {
                Arc::make_mut(message).topic = topic;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn publish(topic: &str) -> Packet {
        Packet::Publish(Publish {
            dup: false,
            qos: postern_mqtt::packet::QoS::AtMostOnce,
            retain: false,
            packet_id: None,
            message: Arc::new(Message::new(Topic::new(topic).unwrap(), Bytes::new())),
            expiry_left: None,
            subscription_ids: Vec::new(),
        })
    }

    #[test]
    fn a_message_enters_and_leaves_with_the_same_topic() {
        let mounted = Mountpoint::new("fleet/${clientid}/").mount("a1", None, &Namespace::Global).unwrap();
        let mut packet = publish("t/x");
        mounted.enter(&mut packet).unwrap();
        let Packet::Publish(inside) = &packet else { unreachable!() };
        assert_eq!(inside.message.topic.as_str(), "fleet/a1/t/x");
        mounted.leave(&mut packet);
        assert_eq!(packet, publish("t/x"));
    }

    #[test]
    fn a_value_that_is_not_one_literal_level_is_refused() {
        let mountpoint = Mountpoint::new("u/${username}/");
        for name in ["+", "#", "a/b", "", "a+"] {
            assert!(mountpoint.mount("c", Some(name), &Namespace::Global).is_err(), "{name:?}");
        }
        assert!(mountpoint.mount("c", None, &Namespace::Global).is_err());
        assert!(mountpoint.mount("c", Some("alice"), &Namespace::Global).is_ok());
    }

    #[test]
    fn a_shared_filter_keeps_its_share() {
        let mounted = Mountpoint::new("m/").mount("c", None, &Namespace::Global).unwrap();
        let filter = mounted.enter_filter(&Filter::new("$share/g/a/#").unwrap()).unwrap();
        assert_eq!((filter.share(), filter.as_str()), (Some("g"), "m/a/#"));
    }
}
