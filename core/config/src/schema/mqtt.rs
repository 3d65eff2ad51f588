//! `mqtt`.

use std::num::NonZeroU16;
use std::time::Duration;

use super::peer_cert;
use crate::emqx;
use crate::model::PeerCert;
use crate::mqtt::{KeepAliveMultiplier, Mqtt, RevokedWill};
use crate::reader::{Item, Reader, Section, shown};
use crate::value::Value;

/// The largest that the protocol can carry: MQTT 5.0, section 1.5.5 and 2.1.4.
const MAX_PACKET: u64 = 268_435_455 + 5;
/// MQTT 5.0, section 1.5.4: texts have two bytes of length.
const MAX_TEXT: u64 = 65_535;
/// The tree of topics is not made for more.
const MAX_LEVELS: u64 = 128;
/// Each costs an allocation while the packet is read.
const MAX_USER_PROPERTIES: u64 = 10_000;
/// Each is an insertion into the tree of topics.
const MAX_FILTERS: u64 = 100_000;
/// A window is searched from its front.
const MAX_WINDOW: u64 = 1_024;
/// A queue is memory: this many messages is far more than any client catches up with.
const MAX_QUEUE: u64 = 1_000_000;
/// Far more than any client reads.
const MAX_SUBSCRIPTIONS: u64 = 1_000_000;
/// Bytes of one queue.
const QUEUE_BYTES: (u64, u64) = (1024, 1 << 32);
/// MQTT 5.0, section 3.1.2.11.2: intervals of sessions and messages are four byte integers of seconds.
pub(super) const MAX_EXPIRY: Duration = Duration::from_secs(u32::MAX as u64);
/// The shortest and the longest that may be asked for.
const CONNECT_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));
/// Longest Response Information, in bytes: it is in each CONNACK that asks for it.
const MAX_RESPONSE_INFORMATION: usize = 1_024;

pub(super) fn mqtt(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Mqtt> {
    let mut section = reader.section(item)?;
    let mut mqtt = Mqtt::default();
    packets(reader, &mut section, &mut mqtt);
    offers(reader, &mut section, &mut mqtt);
    keep_alive(reader, &mut section, &mut mqtt);
    sessions(reader, &mut section, &mut mqtt);
    queues(reader, &mut section, &mut mqtt);
    let wills = [("publish", RevokedWill::Publish), ("discard", RevokedWill::Discard)];
    if let Some(will) = section.take("revoked_will").and_then(|item| reader.word(&item, &wills)) {
        mqtt.revoked_will = will;
    }
    mqtt.peer_cert_as_username = peer_cert(reader, section.take("peer_cert_as_username")).unwrap_or(PeerCert::Disabled);
    mqtt.peer_cert_as_clientid = peer_cert(reader, section.take("peer_cert_as_clientid")).unwrap_or(PeerCert::Disabled);
    reader.finish(&section, emqx::MQTT);
    Some(mqtt)
}

/// What one packet may be.
fn packets(reader: &mut Reader<'_>, section: &mut Section<'_>, mqtt: &mut Mqtt) {
    if let Some(size) = section.take("max_packet_size").and_then(|item| reader.size(&item, 64, MAX_PACKET)) {
        mqtt.max_packet_size = u32::try_from(size).expect("the range ends within 32 bits");
    }
    if let Some(size) = section.take("max_connect_packet_size").and_then(|item| reader.size(&item, 256, MAX_PACKET)) {
        mqtt.max_connect_packet_size = u32::try_from(size).expect("the range ends within 32 bits");
    }
    // 3.1.3.1: a server takes at least 23 bytes.
    count(reader, section.take("max_clientid_len"), (23, MAX_TEXT), &mut mqtt.max_clientid_len);
    count(reader, section.take("max_topic_len"), (1, MAX_TEXT), &mut mqtt.max_topic_len);
    count(reader, section.take("max_topic_levels"), (1, MAX_LEVELS), &mut mqtt.max_topic_levels);
    short(reader, section.take("max_topic_alias"), (0, MAX_TEXT), &mut mqtt.max_topic_alias);
    let properties = section.take("max_user_properties");
    count(reader, properties, (0, MAX_USER_PROPERTIES), &mut mqtt.max_user_properties);
    bytes(reader, section.take("max_user_properties_size"), (0, MAX_PACKET), &mut mqtt.max_user_properties_size);
    count(reader, section.take("max_subscribe_filters"), (1, MAX_FILTERS), &mut mqtt.max_subscribe_filters);
}

/// What there is for clients, and what they get unasked.
fn offers(reader: &mut Reader<'_>, section: &mut Section<'_>, mqtt: &mut Mqtt) {
    if let Some(qos) = section.take("max_qos_allowed").and_then(|item| reader.integer(&item, 0, 2)) {
        mqtt.max_qos_allowed = u8::try_from(qos).expect("the range ends with 2");
    }
    switch(reader, section.take("retain_available"), &mut mqtt.retain_available);
    switch(reader, section.take("wildcard_subscription"), &mut mqtt.wildcard_subscription);
    switch(reader, section.take("shared_subscription"), &mut mqtt.shared_subscription);
    switch(reader, section.take("ignore_loop_deliver"), &mut mqtt.ignore_loop_deliver);
    switch(reader, section.take("upgrade_qos"), &mut mqtt.upgrade_qos);
    switch(reader, section.take("use_username_as_clientid"), &mut mqtt.use_username_as_clientid);
    mqtt.response_information =
        section.take("response_information").and_then(|item| response_information(reader, &item));
}

fn response_information(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<String> {
    let text = reader.text(item)?;
    if text.len() > MAX_RESPONSE_INFORMATION || text.contains(char::is_control) {
        let text = format!("must be at most {MAX_RESPONSE_INFORMATION} bytes without control characters");
        reader.wrong(item, text, None);
    }
    Some(text).filter(|text| !text.is_empty())
}

fn keep_alive(reader: &mut Reader<'_>, section: &mut Section<'_>, mqtt: &mut Mqtt) {
    let (least, most) = CONNECT_WAIT;
    if let Some(wait) = section.take("idle_timeout").and_then(|item| reader.duration(&item, least, most)) {
        mqtt.idle_timeout = wait;
    }
    let server = section.take("server_keepalive").filter(|item| !is_word(item, "disabled"));
    let server = server.and_then(|item| reader.integer(&item, 1, MAX_TEXT));
    mqtt.server_keepalive = server.and_then(|seconds| NonZeroU16::new(narrow(seconds)));
    short(reader, section.take("max_keepalive"), (0, MAX_TEXT), &mut mqtt.max_keepalive);
    short(reader, section.take("default_keepalive"), (0, MAX_TEXT), &mut mqtt.default_keepalive);
    if let Some(multiplier) = section.take("keepalive_multiplier").and_then(|item| multiplier(reader, &item)) {
        mqtt.keepalive_multiplier = multiplier;
    }
}

/// `1.5`, `2`, `2.25`.
fn multiplier(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<KeepAliveMultiplier> {
    let text = reader.text(item)?;
    let (whole, part) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let percent = (digits(whole) && digits(part)).then(|| format!("{whole}{part:0<2}").parse().ok()).flatten();
    let multiplier = percent.filter(|percent| (150..=1000).contains(percent)).map(KeepAliveMultiplier);
    if multiplier.is_none() {
        let hint = "clients are promised 1.5 (MQTT-3.1.2-22); less would cut off some that keep to their keep alive";
        reader.wrong(item, format!("{} is not from 1.5 to 10", shown(&text)), Some(hint));
    }
    multiplier
}

/// What a client may hold.
fn sessions(reader: &mut Reader<'_>, section: &mut Section<'_>, mqtt: &mut Mqtt) {
    if let Some(item) = section.take("max_subscriptions") {
        // Without end is not: the bound of the tenant, and the memory, remain.
        let most = is_word(&item, "infinity").then_some(MAX_SUBSCRIPTIONS);
        if let Some(count) = most.or_else(|| reader.integer(&item, 1, MAX_SUBSCRIPTIONS)) {
            mqtt.max_subscriptions = wide(count);
        }
    }
    short(reader, section.take("max_inflight"), (1, MAX_WINDOW), &mut mqtt.max_inflight);
    if let Some(item) = section.take("max_awaiting_rel") {
        let most = is_word(&item, "infinity").then_some(MAX_TEXT);
        let count = most.or_else(|| reader.integer(&item, 1, MAX_TEXT));
        if let Some(count) = count.and_then(|count| NonZeroU16::new(narrow(count))) {
            mqtt.max_awaiting_rel = count;
        }
    }
    mqtt.await_rel_timeout = expiry(reader, section.take("await_rel_timeout"));
    for (key, interval) in [
        ("session_expiry_interval", &mut mqtt.session_expiry_interval),
        ("max_session_expiry_interval", &mut mqtt.max_session_expiry_interval),
    ] {
        if let Some(item) = section.take(key) {
            let most = is_word(&item, "infinity").then_some(MAX_EXPIRY);
            if let Some(time) = most.or_else(|| reader.duration(&item, Duration::ZERO, MAX_EXPIRY)) {
                *interval = time;
            }
        }
    }
    mqtt.message_expiry_interval = expiry(reader, section.take("message_expiry_interval"));
}

fn queues(reader: &mut Reader<'_>, section: &mut Section<'_>, mqtt: &mut Mqtt) {
    count(reader, section.take("max_mqueue_len"), (0, MAX_QUEUE), &mut mqtt.max_mqueue_len);
    bytes(reader, section.take("max_mqueue_size"), QUEUE_BYTES, &mut mqtt.max_mqueue_size);
    switch(reader, section.take("mqueue_store_qos0"), &mut mqtt.mqueue_store_qos0);
}

/// An expiry of at least a second; none where it is `infinity`.
pub(super) fn expiry(reader: &mut Reader<'_>, item: Option<Item<'_>>) -> Option<Duration> {
    let item = item.filter(|item| !is_word(item, "infinity"))?;
    reader.duration(&item, Duration::from_secs(1), MAX_EXPIRY)
}

pub(super) fn is_word(item: &Item<'_>, word: &str) -> bool {
    matches!(&item.node.value, Value::Text(text) if text == word)
}

fn switch(reader: &mut Reader<'_>, item: Option<Item<'_>>, into: &mut bool) {
    if let Some(on) = item.and_then(|item| reader.boolean(&item)) {
        *into = on;
    }
}

pub(super) fn count(reader: &mut Reader<'_>, item: Option<Item<'_>>, (min, max): (u64, u64), into: &mut usize) {
    if let Some(count) = item.and_then(|item| reader.integer(&item, min, max)) {
        *into = wide(count);
    }
}

pub(super) fn bytes(reader: &mut Reader<'_>, item: Option<Item<'_>>, (min, max): (u64, u64), into: &mut usize) {
    if let Some(size) = item.and_then(|item| reader.size(&item, min, max)) {
        *into = wide(size);
    }
}

fn short(reader: &mut Reader<'_>, item: Option<Item<'_>>, (min, max): (u64, u64), into: &mut u16) {
    if let Some(number) = item.and_then(|item| reader.integer(&item, min, max)) {
        *into = narrow(number);
    }
}

fn narrow(number: u64) -> u16 {
    u16::try_from(number).expect("the range ends within 16 bits")
}

fn wide(number: u64) -> usize {
    usize::try_from(number).expect("a machine word has 64 bits")
}
