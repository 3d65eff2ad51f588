//! What is written of a realm: which records there are, and how each looks. Nobody else knows.
//!
//! Numbers are big endian, so that keys are in the order of what they count. Each value begins with the number of its
//! form, which rises when the form changes; times are wall-clock milliseconds since 1970.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use postern_mqtt::packet::{Message, PacketId, QoS, Will as Testament};
use postern_mqtt::{Filter, Topic};

use crate::session::SessionId;
use crate::topics::Options;

/// The number of the whole format: raised when a record or a table changes its meaning, so that an older version refuses.
pub const FORMAT: u32 = 1;

/// The form that values have now.
const FORM: u8 = 1;

const MESSAGE: u8 = 0;
const SESSION: u8 = 1;
const SUBSCRIPTION: u8 = 2;
const DELIVERY: u8 = 3;
const UNRELEASED: u8 = 4;
const RETAINED: u8 = 5;

/// Where a record is. What others refer to is in an earlier table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// A message, once for all that wait for it.
    Message(u64),
    Session(SessionId),
    Subscription(SessionId, Filter),
    /// A message on its way to a session; in the order of their numbers.
    Delivery(SessionId, u64),
    /// A QoS 2 packet id that a client has not released.
    Unreleased(SessionId, PacketId),
    Retained(Topic),
}

/// A record of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionRecord {
    pub(crate) client_id: Arc<str>,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) expiry_s: u32,
    /// When it expires; none while there is a connection.
    pub(crate) ends: Option<u64>,
    pub(crate) will: Option<WillRecord>,
}

/// A will that has not gone out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WillRecord {
    pub(crate) testament: Testament,
    /// When it goes out; none while there is a connection.
    pub(crate) fires: Option<u64>,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It waits.
    Queued,
    /// It was sent, and waits for PUBACK.
    Acknowledged(PacketId),
    /// It was sent, and waits for PUBREC.
    Received(PacketId),
    /// Its PUBREL was sent, and waits for PUBCOMP; the message is done with.
    Completed(PacketId),
}

/// A record of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryRecord {
    pub(crate) stage: Stage,
    /// What is delivered; none once it is completed.
    pub(crate) content: Option<Content>,
}

/// What is delivered, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) message: u64,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) expires: Option<u64>,
    pub(crate) subscription_ids: Vec<u32>,
}

/// A record of a retained message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetainedRecord {
    pub(crate) message: u64,
    pub(crate) qos: QoS,
    pub(crate) expires: Option<u64>,
    pub(crate) publisher: Arc<str>,
}

/// A value that is read.
#[derive(Debug)]
pub(crate) enum Value {
    Message(Message),
    Session(SessionRecord),
    Subscription(Options),
    Delivery(DeliveryRecord),
    /// When the message was taken.
    Unreleased(u64),
    Retained(RetainedRecord),
}

impl Key {
    /// The table, and the key in it.
    pub(crate) fn encode(&self) -> (u8, Vec<u8>) {
        let two = |session: &SessionId, rest: &[u8]| [&session.0.to_be_bytes()[..], rest].concat();
        match self {
            Self::Message(id) => (MESSAGE, id.to_be_bytes().to_vec()),
            Self::Session(session) => (SESSION, session.0.to_be_bytes().to_vec()),
            Self::Subscription(session, filter) => (SUBSCRIPTION, two(session, written(filter).as_bytes())),
            Self::Delivery(session, number) => (DELIVERY, two(session, &number.to_be_bytes())),
            Self::Unreleased(session, id) => (UNRELEASED, two(session, &id.get().to_be_bytes())),
            Self::Retained(topic) => (RETAINED, topic.as_str().as_bytes().to_vec()),
        }
    }
}

/// A filter as a SUBSCRIBE has it.
fn written(filter: &Filter) -> String {
    filter.share().map_or_else(|| filter.as_str().to_owned(), |name| format!("$share/{name}/{}", filter.as_str()))
}

/// Reads a record.
///
/// # Errors
/// Where there is no such record.
pub(crate) fn decode(table: u8, key: &[u8], value: &[u8]) -> Result<(Key, Value), String> {
    let read = || {
        let mut value = Reader(value);
        if value.u8()? != FORM {
            return None;
        }
        let mut key = Reader(key);
        let record = match table {
            MESSAGE => (Key::Message(key.u64()?), Value::Message(message(&mut value)?)),
            SESSION => (Key::Session(SessionId(key.u64()?)), Value::Session(session(&mut value)?)),
            SUBSCRIPTION => {
                let session = SessionId(key.u64()?);
                let filter = Filter::new(key.rest()?).ok()?;
                (Key::Subscription(session, filter), Value::Subscription(options(&mut value)?))
            }
            DELIVERY => (Key::Delivery(SessionId(key.u64()?), key.u64()?), Value::Delivery(delivery(&mut value)?)),
            UNRELEASED => (Key::Unreleased(SessionId(key.u64()?), key.packet_id()?), Value::Unreleased(value.u64()?)),
            RETAINED => (Key::Retained(Topic::new(key.rest()?).ok()?), Value::Retained(retained(&mut value)?)),
            _ => return None,
        };
        (key.0.is_empty() && value.0.is_empty()).then_some(record)
    };
    read().ok_or_else(|| format!("a record of table {table} cannot be read"))
}

/// Writes values.
#[derive(Debug)]
struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        Self(vec![FORM])
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn bytes(self, value: &[u8]) -> Self {
        // What came in an MQTT packet is far below 4 GiB.
        let mut this = self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        this.0.extend(value);
        this
    }

    fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    fn option<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            None => self.u8(0),
            Some(value) => write(self.u8(1), value),
        }
    }

    fn message(self, message: &Message) -> Self {
        let Message { topic, payload, payload_is_utf8, expiry, response_topic, correlation_data, .. } = message;
        let mut this = self
            .text(topic.as_str())
            .bytes(payload)
            .option(*payload_is_utf8, |w, is| w.u8(is.into()))
            .option(*expiry, Self::u32)
            .option(response_topic.as_ref(), |w, topic| w.text(topic.as_str()))
            .option(correlation_data.as_ref(), |w, data| w.bytes(data))
            .option(message.content_type.as_deref(), Self::text);
        let count = u32::try_from(message.user_properties.len()).unwrap_or(u32::MAX);
        this = this.u32(count);
        for (name, value) in &message.user_properties {
            this = this.text(name).text(value);
        }
        this
    }
}

pub(crate) fn encode_message(message: &Message) -> Vec<u8> {
    Writer::new().message(message).0
}

impl SessionRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Writer::new()
            .text(&self.client_id)
            .option(self.owner.as_deref(), Writer::text)
            .u32(self.expiry_s)
            .option(self.ends, Writer::u64)
            .option(self.will.as_ref(), |w, will| {
                let Testament { qos, retain, delay, message } = &will.testament;
                w.u8(*qos as u8).u8((*retain).into()).u32(*delay).option(will.fires, Writer::u64).message(message)
            })
            .0
    }
}

impl DeliveryRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (stage, packet_id) = match self.stage {
            Stage::Queued => (0, 0),
            Stage::Acknowledged(id) => (1, id.get()),
            Stage::Received(id) => (2, id.get()),
            Stage::Completed(id) => (3, id.get()),
        };
        Writer::new()
            .u8(stage)
            .u32(packet_id.into())
            .option(self.content.as_ref(), |w, content| {
                let Content { message, qos, retain, expires, subscription_ids } = content;
                let w = w.u64(*message).u8(*qos as u8).u8((*retain).into()).option(*expires, Writer::u64);
                subscription_ids.iter().fold(w, |w, &id| w.u32(id))
            })
            .0
    }
}

impl RetainedRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Writer::new().u64(self.message).u8(self.qos as u8).option(self.expires, Writer::u64).text(&self.publisher).0
    }
}

pub(crate) fn encode_options(options: Options) -> Vec<u8> {
    Writer::new()
        .u8(options.qos as u8)
        .u8(options.no_local.into())
        .u8(options.retain_as_published.into())
        .option(options.subscription_id, Writer::u32)
        .0
}

pub(crate) fn encode_unreleased(taken: u64) -> Vec<u8> {
    Writer::new().u64(taken).0
}

/// Reads what [`Writer`] wrote; none where it did not.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn rest(&mut self) -> Option<&'a str> {
        std::str::from_utf8(std::mem::take(&mut self.0)).ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    fn packet_id(&mut self) -> Option<PacketId> {
        NonZeroU16::new(self.take(2)?.try_into().ok().map(u16::from_be_bytes)?)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.u32()?;
        self.take(usize::try_from(count).ok()?)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn qos(&mut self) -> Option<QoS> {
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].get(usize::from(self.u8()?)).copied()
    }

    #[expect(clippy::option_option, reason = "the outer one is whether it can be read, the inner one what it says")]
    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.bool()? { read(self).map(Some) } else { Some(None) }
    }
}

fn message(reader: &mut Reader<'_>) -> Option<Message> {
    let mut message = Message::new(Topic::new(reader.text()?).ok()?, Bytes::copy_from_slice(reader.bytes()?));
    message.payload_is_utf8 = reader.option(Reader::bool)?;
    message.expiry = reader.option(Reader::u32)?;
    message.response_topic = reader.option(|r| Topic::new(r.text()?).ok())?;
    message.correlation_data = reader.option(|r| r.bytes().map(Bytes::copy_from_slice))?;
    message.content_type = reader.option(|r| r.text().map(Arc::from))?;
    for _ in 0..reader.u32()? {
        message.user_properties.push((reader.text()?.into(), reader.text()?.into()));
    }
    Some(message)
}

fn session(reader: &mut Reader<'_>) -> Option<SessionRecord> {
    Some(SessionRecord {
        client_id: reader.text()?.into(),
        owner: reader.option(|r| r.text().map(Arc::from))?,
        expiry_s: reader.u32()?,
        ends: reader.option(Reader::u64)?,
        will: reader.option(|r| {
            let (qos, retain, delay) = (r.qos()?, r.bool()?, r.u32()?);
            let fires = r.option(Reader::u64)?;
            let message = Arc::new(message(r)?);
            Some(WillRecord { testament: Testament { qos, retain, delay, message }, fires })
        })?,
    })
}

fn options(reader: &mut Reader<'_>) -> Option<Options> {
    Some(Options {
        qos: reader.qos()?,
        no_local: reader.bool()?,
        retain_as_published: reader.bool()?,
        subscription_id: reader.option(Reader::u32)?,
    })
}

fn delivery(reader: &mut Reader<'_>) -> Option<DeliveryRecord> {
    let stage = reader.u8()?;
    let packet_id = u16::try_from(reader.u32()?).ok().and_then(NonZeroU16::new);
    let stage = match (stage, packet_id) {
        (0, None) => Stage::Queued,
        (1, Some(id)) => Stage::Acknowledged(id),
        (2, Some(id)) => Stage::Received(id),
        (3, Some(id)) => Stage::Completed(id),
        _ => return None,
    };
    let content = reader.option(|r| {
        let mut content = Content {
            message: r.u64()?,
            qos: r.qos()?,
            retain: r.bool()?,
            expires: r.option(Reader::u64)?,
            subscription_ids: Vec::new(),
        };
        while !r.0.is_empty() {
            content.subscription_ids.push(r.u32()?);
        }
        Some(content)
    })?;
    (content.is_none() == matches!(stage, Stage::Completed(_))).then_some(DeliveryRecord { stage, content })
}

fn retained(reader: &mut Reader<'_>) -> Option<RetainedRecord> {
    Some(RetainedRecord {
        message: reader.u64()?,
        qos: reader.qos()?,
        expires: reader.option(Reader::u64)?,
        publisher: reader.text()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_message() -> Message {
        let mut message = Message::new(Topic::new("a/b").unwrap(), Bytes::from_static(b"\0payload"));
        message.payload_is_utf8 = Some(true);
        message.expiry = Some(7);
        message.response_topic = Some(Topic::new("answer").unwrap());
        message.correlation_data = Some(Bytes::from_static(b"42"));
        message.content_type = Some("text".into());
        message.user_properties = vec![("k".into(), "v".into()), ("k".into(), String::new().into())];
        message
    }

    fn session_record() -> SessionRecord {
        let message = Arc::new(full_message());
        let testament = Testament { qos: QoS::ExactlyOnce, retain: true, delay: 9, message };
        SessionRecord {
            client_id: "sensor/1".into(),
            owner: Some("alice".into()),
            expiry_s: u32::MAX,
            ends: Some(1_700_000_000_000),
            will: Some(WillRecord { testament, fires: Some(5) }),
        }
    }

    fn records() -> Vec<(Key, Vec<u8>)> {
        let (id, session) = (PacketId::MAX, SessionId(3));
        let content = Content {
            message: 77,
            qos: QoS::AtLeastOnce,
            retain: true,
            expires: Some(6),
            subscription_ids: vec![1, 268_435_455],
        };
        let options =
            Options { qos: QoS::AtLeastOnce, no_local: true, retain_as_published: true, subscription_id: Some(4) };
        let retained = RetainedRecord { message: 5, qos: QoS::AtMostOnce, expires: None, publisher: "p".into() };
        let delivery = |stage, content| DeliveryRecord { stage, content }.encode();
        vec![
            (Key::Message(u64::MAX), encode_message(&full_message())),
            (Key::Session(session), session_record().encode()),
            (Key::Subscription(session, Filter::new("$share/g/a/+").unwrap()), encode_options(options)),
            (Key::Delivery(session, 8), delivery(Stage::Queued, Some(content.clone()))),
            (Key::Delivery(session, 9), delivery(Stage::Acknowledged(id), Some(content.clone()))),
            (Key::Delivery(session, 10), delivery(Stage::Received(id), Some(content))),
            (Key::Delivery(session, 11), delivery(Stage::Completed(id), None)),
            (Key::Unreleased(session, id), encode_unreleased(12)),
            (Key::Retained(Topic::new("a").unwrap()), retained.encode()),
        ]
    }

    fn encode(value: &Value) -> Vec<u8> {
        match value {
            Value::Message(message) => encode_message(message),
            Value::Session(record) => record.encode(),
            Value::Subscription(options) => encode_options(*options),
            Value::Delivery(record) => record.encode(),
            Value::Unreleased(taken) => encode_unreleased(*taken),
            Value::Retained(record) => record.encode(),
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for (key, value) in records() {
            let (table, bytes) = key.encode();
            let (read_key, read) = decode(table, &bytes, &value).unwrap();
            assert_eq!(read_key, key);
            assert_eq!(encode(&read), value, "{key:?}");
        }
        let (table, key) = Key::Session(SessionId(1)).encode();
        let Ok((_, Value::Session(read))) = decode(table, &key, &session_record().encode()) else { panic!() };
        assert_eq!(read, session_record());
        let (table, key) = Key::Message(1).encode();
        let Ok((_, Value::Message(read))) = decode(table, &key, &encode_message(&full_message())) else { panic!() };
        assert_eq!(read, full_message());
    }

    #[test]
    fn what_is_cut_short_too_long_or_of_another_form_is_no_record() {
        for (key, value) in records() {
            let (table, bytes) = key.encode();
            for length in 0..value.len() {
                let cut = decode(table, &bytes, &value[..length]);
                // Subscription identifiers end where the record does: a list that lacks its last one is a list.
                let is_list = matches!(key, Key::Delivery(..)) && length + 8 >= value.len();
                assert!(cut.is_err() || is_list, "{key:?} cut to {length}");
            }
            assert!(decode(table, &bytes, &[&value[..], b"x"].concat()).is_err(), "{key:?}");
            assert!(decode(table, &bytes, &[&[FORM + 1], &value[1..]].concat()).is_err(), "{key:?}");
            assert!(decode(9, &bytes, &value).is_err());
        }
    }

    proptest::proptest! {
        /// What is read of a record that nobody wrote, it would be written as.
        #[test]
        fn bytes_that_nobody_wrote_are_no_record_or_a_whole_one(
            table in 0..7_u8,
            key in proptest::collection::vec(0..4_u8, 0..20),
            value in proptest::collection::vec(0..4_u8, 0..60),
        ) {
            if let Ok((read_key, read)) = decode(table, &key, &value) {
                proptest::prop_assert_eq!(read_key.encode(), (table, key));
                proptest::prop_assert_eq!(encode(&read), value);
            }
        }
    }

    #[test]
    fn keys_are_in_the_order_of_what_they_count() {
        let key = |session, number| Key::Delivery(SessionId(session), number).encode();
        assert!(key(1, 255) < key(1, 256));
        assert!(key(1, u64::MAX) < key(2, 0));
    }
}
