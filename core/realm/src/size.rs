//! How much a message weighs: in memory, and as a PUBLISH of 5.0 on the wire.

use postern_mqtt::Topic;
use postern_mqtt::packet::{Message, Publish};

/// What the bookkeeping of one held message costs beside its texts, in bytes; a round figure.
const HELD: usize = 128;

/// Bytes that a held message is charged with.
pub fn held_bytes(message: &Message) -> usize {
    HELD + message.topic.as_str().len()
        + message.payload.len()
        + message.response_topic.as_ref().map_or(0, |t| t.as_str().len())
        + message.correlation_data.as_deref().map_or(0, <[u8]>::len)
        + message.content_type.as_ref().map_or(0, |t| t.len())
        + message.user_properties.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

/// Bytes of a PUBLISH in 5.0 without a topic alias (section 3.3). Only 5.0 clients have a Maximum Packet Size.
pub(crate) fn wire_bytes(publish: &Publish) -> usize {
    let message = &*publish.message;
    let properties = property_bytes(publish);
    let packet_id = if publish.packet_id.is_some() { 2 } else { 0 };
    let topic = 2 + message.topic.as_str().len();
    let remaining = topic + packet_id + variable_integer_bytes(properties) + properties + message.payload.len();
    1 + variable_integer_bytes(remaining) + remaining
}

fn property_bytes(publish: &Publish) -> usize {
    let message = &*publish.message;
    let text = |len: usize| 3 + len;
    let mut bytes = 0;
    bytes += message.payload_is_utf8.map_or(0, |_| 2);
    bytes += publish.expiry_left.map_or(0, |_| 5);
    bytes += message.response_topic.as_ref().map(Topic::as_str).map_or(0, |t| text(t.len()));
    bytes += message.correlation_data.as_deref().map_or(0, |d| text(d.len()));
    bytes += message.content_type.as_ref().map_or(0, |t| text(t.len()));
    bytes += message.user_properties.iter().map(|(name, value)| 5 + name.len() + value.len()).sum::<usize>();
    bytes += publish.subscription_ids.iter().map(|&id| 1 + variable_integer_bytes(id as usize)).sum::<usize>();
    bytes
}

/// Length of a Variable Byte Integer (1.5.5).
fn variable_integer_bytes(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use postern_mqtt::packet::{PacketId, QoS};

    use super::*;

    fn publish(payload: usize) -> Publish {
        let topic = Topic::new("a/b").unwrap();
        Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            packet_id: PacketId::new(1),
            message: Arc::new(Message::new(topic, Bytes::from(vec![0; payload]))),
            expiry_left: None,
            subscription_ids: Vec::new(),
        }
    }

    #[test]
    fn a_plain_publish_has_header_topic_id_and_empty_properties() {
        // 1 type, 1 length, 2 + 3 topic, 2 id, 1 property length, payload
        assert_eq!(wire_bytes(&publish(0)), 10);
        assert_eq!(wire_bytes(&publish(119)), 129);
        // The remaining length passes 127 and needs a second byte.
        assert_eq!(wire_bytes(&publish(120)), 131);
    }

    #[test]
    fn properties_are_counted_as_the_wire_has_them() {
        let mut publish = publish(0);
        publish.expiry_left = Some(7);
        publish.subscription_ids = vec![1, 200];
        let mut message = Message::clone(&publish.message);
        message.user_properties.push(("k".into(), "vv".into()));
        message.content_type = Some("x".into());
        publish.message = Arc::new(message);
        assert_eq!(wire_bytes(&publish), 10 + 5 + 2 + 3 + 8 + 4);
    }
}
