//! Strategies: any packet that a version and an end can say, in the form in which it comes back.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use postern_mqtt::packet::{
    Ack, Auth, AuthenticationData, ConnAck, Connect, Disconnect, InvalidFilter, Message, Packet, Password, Publish,
    QoS, RetainHandling, SubAck, Subscribe, Subscription, Unsubscribe, UserProperties, Version, Will,
};
use postern_mqtt::wire::Sender;
use postern_mqtt::{Filter, ReasonCode, Topic};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const VAR_INT_MAX: u32 = 268_435_455;

fn text() -> impl Strategy<Value = Arc<str>> {
    "[^\\x00]{0,12}".prop_map(Arc::from)
}

/// What a client identifier and a user name may be made of.
fn name() -> impl Strategy<Value = Arc<str>> {
    "[^\\p{C}]{0,12}".prop_map(Arc::from)
}

fn data() -> impl Strategy<Value = Bytes> {
    prop_oneof![9 => vec(any::<u8>(), 0..64), 1 => vec(any::<u8>(), 4_090..5_000)].prop_map(Bytes::from)
}

fn pairs() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..4)
}

pub(crate) fn topic() -> impl Strategy<Value = Topic> {
    "[^\\p{C}+#]{1,12}(/[a-z]{0,3}){0,4}".prop_map(|text| Topic::new(&text).expect("a topic"))
}

pub(crate) fn filter() -> impl Strategy<Value = Filter> {
    let level = prop_oneof![Just("+".to_owned()), "[a-c]{0,2}", "[^\\p{C}+#/$]{1,4}"];
    let share = prop_oneof![Just(String::new()), "\\$share/[a-z ]{1,4}/"];
    (share, vec(level, 1..5), any::<bool>()).prop_map(|(share, levels, open)| {
        let mut text = format!("{share}{}", levels.join("/"));
        text.push_str(if open || levels == [""] { "/#" } else { "" });
        Filter::new(&text).expect("a filter")
    })
}

fn any_filter() -> impl Strategy<Value = Result<Filter, InvalidFilter>> {
    let invalid = InvalidFilter { reason: ReasonCode::TOPIC_FILTER_INVALID };
    prop_oneof![9 => filter().prop_map(Ok), 1 => Just(Err(invalid))]
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn id() -> impl Strategy<Value = NonZeroU16> {
    any::<NonZeroU16>()
}

prop_compose! {
    fn message(version: Version)(
        (topic, payload) in (topic(), data()),
        (payload_is_utf8, expiry) in (any::<Option<bool>>(), any::<Option<u32>>()),
        response_topic in option::of(topic()),
        correlation_data in option::of(data()),
        content_type in option::of(text()),
        user_properties in pairs(),
    ) -> Arc<Message> {
        let plain = Message::new(topic, payload);
        Arc::new(if version == Version::V5 {
            Message { payload_is_utf8, expiry, response_topic, correlation_data, content_type, user_properties, ..plain }
        } else {
            plain
        })
    }
}

prop_compose! {
    fn will(version: Version)(qos in qos(), retain in any::<bool>(), delay in any::<u32>(), message in message(version))
        -> Will
    {
        Will { qos, retain, delay: if version == Version::V5 { delay } else { 0 }, message }
    }
}

prop_compose! {
    fn connect(version: Version)(
        (clean_start, keep_alive, client_id) in (any::<bool>(), any::<u16>(), name()),
        (will, username, password) in (option::of(will(version)), option::of(name()), option::of(data())),
        (session_expiry, receive_maximum) in (any::<Option<u32>>(), option::of(id())),
        (maximum_packet_size, topic_alias_maximum) in (option::of(1..=u32::MAX), any::<Option<u16>>()),
        (request_response_information, request_problem_information) in any::<(bool, bool)>(),
        (user_properties, method, data) in (pairs(), option::of(text()), option::of(data())),
    ) -> Packet {
        let is_v5 = version == Version::V5;
        let client_id: Arc<str> = if client_id.is_empty() && !is_v5 { "x".into() } else { client_id };
        let plain = Connect {
            password: password.filter(|_| is_v5 || username.is_some()).map(Password),
            ..Connect { clean_start, keep_alive, client_id, will, username, ..crate::talk::connect(version) }
        };
        Packet::Connect(Box::new(if is_v5 {
            Connect {
                session_expiry,
                receive_maximum,
                maximum_packet_size,
                topic_alias_maximum,
                request_response_information,
                request_problem_information,
                user_properties,
                authentication_data: data.filter(|_| method.is_some()).map(AuthenticationData),
                authentication_method: method,
                ..plain
            }
        } else {
            plain
        }))
    }
}

prop_compose! {
    fn conn_ack(version: Version)(
        (session_present, reason) in (any::<bool>(), prop_oneof![Just(0_u8), Just(0x84), Just(0x85), Just(0x86), Just(0x87), Just(0x88)]),
        (session_expiry, receive_maximum, topic_alias_maximum) in (any::<Option<u32>>(), option::of(id()), any::<Option<u16>>()),
        maximum_qos in option::of(prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)]),
        available in any::<[Option<bool>; 4]>(),
        (maximum_packet_size, server_keep_alive) in (option::of(1..=u32::MAX), any::<Option<u16>>()),
        texts in proptest::array::uniform5(option::of(text())),
        (user_properties, authentication_data) in (pairs(), option::of(data())),
    ) -> Packet {
        let reason = ReasonCode(reason);
        let session_present = session_present && version != Version::V3_1 && reason == ReasonCode::SUCCESS;
        let plain = ConnAck { session_present, reason, ..ConnAck::default() };
        let [assigned_client_id, reason_string, response_information, server_reference, authentication_method] = texts;
        let [retain_available, wildcard, ids, shared] = available;
        Packet::ConnAck(Box::new(if version == Version::V5 {
            ConnAck {
                session_expiry, receive_maximum, topic_alias_maximum, maximum_qos, retain_available,
                wildcard_subscription_available: wildcard,
                subscription_ids_available: ids,
                shared_subscription_available: shared,
                maximum_packet_size, server_keep_alive, assigned_client_id, reason_string, response_information,
                server_reference, authentication_method, user_properties,
                authentication_data: authentication_data.map(AuthenticationData),
                ..plain
            }
        } else {
            plain
        }))
    }
}

prop_compose! {
    fn publish(version: Version, sender: Sender)(
        (dup, retain, qos, id) in (any::<bool>(), any::<bool>(), qos(), id()),
        message in message(version),
        ids in vec(1..=VAR_INT_MAX, 0..4),
    ) -> Packet {
        let is_acknowledged = qos != QoS::AtMostOnce;
        let subscription_ids = if version == Version::V5 && sender == Sender::Server { ids } else { Vec::new() };
        Packet::Publish(Publish {
            dup: dup && is_acknowledged,
            qos,
            retain,
            packet_id: is_acknowledged.then_some(id),
            message,
            expiry_left: None,
            subscription_ids,
        })
    }
}

prop_compose! {
    fn ack(version: Version, reasons: &'static [u8])(
        packet_id in id(),
        reason in proptest::sample::select(reasons),
        reason_string in option::of(text()),
        user_properties in pairs(),
    ) -> Ack {
        if version == Version::V5 {
            Ack { packet_id, reason: ReasonCode(reason), reason_string, user_properties }
        } else {
            Ack::new(packet_id, ReasonCode::SUCCESS)
        }
    }
}

prop_compose! {
    fn sub_ack(version: Version, is_unsub: bool)(
        packet_id in id(),
        codes in vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(0x80)], 1..6),
        reason_string in option::of(text()),
    ) -> SubAck {
        let reasons: Vec<ReasonCode> = codes.into_iter().map(ReasonCode).collect();
        match (version, is_unsub) {
            (Version::V5, _) => SubAck { packet_id, reasons, reason_string },
            (_, true) => SubAck { packet_id, reasons: Vec::new(), reason_string: None },
            (_, false) => SubAck { packet_id, reasons, reason_string: None },
        }
    }
}

prop_compose! {
    fn subscription(version: Version)(
        filter in any_filter(),
        qos in qos(),
        (no_local, retain_as_published) in any::<(bool, bool)>(),
        retain_handling in prop_oneof![Just(RetainHandling::Always), Just(RetainHandling::IfNew), Just(RetainHandling::Never)],
    ) -> Subscription {
        let is_v5 = version == Version::V5;
        let is_shared = filter.as_ref().is_ok_and(|filter| filter.share().is_some());
        Subscription {
            filter,
            qos,
            no_local: is_v5 && no_local && !is_shared,
            retain_as_published: is_v5 && retain_as_published,
            retain_handling: if is_v5 { retain_handling } else { RetainHandling::Always },
        }
    }
}

prop_compose! {
    fn subscribe(version: Version)(
        packet_id in id(),
        subscription_id in option::of(1..=VAR_INT_MAX),
        user_properties in pairs(),
        subscriptions in vec(subscription(version), 1..5),
    ) -> Packet {
        let is_v5 = version == Version::V5;
        let user_properties = if is_v5 { user_properties } else { Vec::new() };
        Packet::Subscribe(Subscribe {
            packet_id,
            subscription_id: subscription_id.filter(|_| is_v5),
            user_properties,
            subscriptions,
        })
    }
}

prop_compose! {
    fn unsubscribe(version: Version)(packet_id in id(), pairs in pairs(), filters in vec(any_filter(), 1..5)) -> Packet {
        let user_properties = if version == Version::V5 { pairs } else { Vec::new() };
        Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters })
    }
}

prop_compose! {
    fn disconnect(version: Version)(
        reason in prop_oneof![Just(0_u8), Just(0x80), Just(0x81), Just(0x98)],
        session_expiry in any::<Option<u32>>(),
        (reason_string, server_reference) in (option::of(text()), option::of(text())),
        user_properties in pairs(),
    ) -> Packet {
        let reason = ReasonCode(reason);
        Packet::Disconnect(if version == Version::V5 {
            Disconnect { reason, session_expiry, reason_string, user_properties, server_reference }
        } else {
            Disconnect::default()
        })
    }
}

prop_compose! {
    fn auth()(
        reason in prop_oneof![Just(0_u8), Just(0x18), Just(0x19)],
        (method, data, reason_string) in (option::of(text()), option::of(data()), option::of(text())),
        user_properties in pairs(),
    ) -> Packet {
        let data = data.map(AuthenticationData);
        Packet::Auth(Auth { reason: ReasonCode(reason), method, data, reason_string, user_properties })
    }
}

const RECEIPTS: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const RELEASES: &[u8] = &[0x00, 0x92];

/// Any version.
pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V3_1), Just(Version::V3_1_1), Just(Version::V5)]
}

/// Either end.
pub(crate) fn sender() -> impl Strategy<Value = Sender> {
    prop_oneof![Just(Sender::Client), Just(Sender::Server)]
}

/// Any packet that `sender` may send in `version`.
pub(crate) fn packet(version: Version, sender: Sender) -> BoxedStrategy<Packet> {
    let mut kinds = vec![
        publish(version, sender).boxed(),
        ack(version, RECEIPTS).prop_map(Packet::PubAck).boxed(),
        ack(version, RECEIPTS).prop_map(Packet::PubRec).boxed(),
        ack(version, RELEASES).prop_map(Packet::PubRel).boxed(),
        ack(version, RELEASES).prop_map(Packet::PubComp).boxed(),
        disconnect(version).boxed(),
    ];
    match sender {
        Sender::Client => kinds.extend([
            connect(version).boxed(),
            subscribe(version).boxed(),
            unsubscribe(version).boxed(),
            Just(Packet::PingReq).boxed(),
        ]),
        Sender::Server => kinds.extend([
            conn_ack(version).boxed(),
            sub_ack(version, false).prop_map(Packet::SubAck).boxed(),
            sub_ack(version, true).prop_map(Packet::UnsubAck).boxed(),
            Just(Packet::PingResp).boxed(),
        ]),
    }
    if version == Version::V5 {
        kinds.push(auth().boxed());
    }
    proptest::strategy::Union::new(kinds).boxed()
}
