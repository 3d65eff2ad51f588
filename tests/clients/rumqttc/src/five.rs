//! The library's client for 5.0.

use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, Filter, LastWill, Packet, PubAckReason, PubCompReason, PubRecReason, Publish, PublishProperties,
    RetainForwardRule, SubscribeProperties, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{QoS, qos};
use rumqttc::v5::{AsyncClient, ClientError, ConnectionError, Event, MqttOptions, StateError};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::{Awaited, PACKET_BYTES, REQUESTS, hex, host, number, port, small, tell, text, transport, unhex};

/// In seconds; the library panics at a shorter keep alive.
const KEEP_ALIVE_MIN_S: u32 = 5;

/// Plays one client until its connection ends or it is told to end.
pub(crate) async fn play(told: Value, mut commands: Receiver<Value>) {
    let name = text(&told, "client");
    if number(&told, "topic_alias_maximum").is_some() {
        let why = "rumqttc shows a message as it came: by a topic alias of the broker alone, its topic is empty";
        return tell(&name, "unspoken", json!({ "why": why }));
    }
    let (client, mut events) = AsyncClient::new(options(&told), REQUESTS);
    let keep_alive_s = keep_alive_s(&told);
    let mut awaited = Awaited::default();
    let mut leaving = false;
    loop {
        tokio::select! {
            command = commands.recv() => {
                let command = command.unwrap_or_else(|| json!({ "do": "end" }));
                match command["do"].as_str() {
                    Some("vanish") => {
                        drop(events);
                        return tell(&name, "vanished", json!({}));
                    }
                    Some("end") if leaving => {}
                    Some("end") => return,
                    Some("disconnect") => leaving = true,
                    Some("publish") if text(&command, "topic").is_empty() => {
                        let why = "rumqttc refuses a message without a topic, so its aliases never shorten one";
                        tell(&name, "unspoken", json!({ "why": why }));
                        continue;
                    }
                    _ => {}
                }
                if let Err(error) = act(&client, &command, &mut awaited).await {
                    tell(&name, "fault", json!({ "why": error.to_string() }));
                }
            }
            event = events.poll() => match event {
                Ok(event) => seen(&name, event, keep_alive_s, &mut awaited),
                Err(ConnectionError::ConnectionRefused(code)) => {
                    eprintln!("{name}: {code:?}");
                    return tell(&name, "connected", json!({ "code": 0x80 }));
                }
                Err(error) => {
                    return tell(&name, "closed", json!({ "code": ended(&name, &error, leaving) }));
                }
            },
        }
    }
}

/// The code of the DISCONNECT that ended the connection, if one did.
fn ended(name: &str, error: &ConnectionError, leaving: bool) -> Option<u8> {
    if let ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) = error {
        return Some(*reason_code as u8);
    }
    if !leaving {
        eprintln!("{name}: {error}");
    }
    None
}

fn options(told: &Value) -> MqttOptions {
    let at = &told["at"];
    let mut options = MqttOptions::new(text(told, "id"), host(at), port(at));
    options
        .set_transport(transport(at))
        .set_keep_alive(Duration::from_secs(u64::from(keep_alive_s(told))))
        .set_clean_start(told["clean"] == true);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = number(told, "session_expiry");
    properties.max_packet_size = u32::try_from(PACKET_BYTES).ok();
    options.set_connect_properties(properties);
    if let Some(will) = told.get("will") {
        let retain = will["retain"] == true;
        let payload = unhex(&text(will, "payload"));
        options.set_last_will(LastWill::new(text(will, "topic"), payload, qos_of(will), retain, None));
    }
    options
}

fn keep_alive_s(told: &Value) -> u32 {
    number(told, "keep_alive").unwrap_or(30).max(KEEP_ALIVE_MIN_S)
}

fn qos_of(told: &Value) -> QoS {
    qos(small(told, "qos")).expect("a QoS")
}

async fn act(client: &AsyncClient, told: &Value, awaited: &mut Awaited) -> Result<(), ClientError> {
    match told["do"].as_str() {
        Some("subscribe") => {
            let filter = Filter {
                path: text(told, "filter"),
                qos: qos_of(told),
                nolocal: told["no_local"] == true,
                preserve_retain: told["retain_as_published"] == true,
                retain_forward_rule: match small(told, "retain_handling") {
                    0 => RetainForwardRule::OnEverySubscribe,
                    1 => RetainForwardRule::OnNewSubscribe,
                    _ => RetainForwardRule::Never,
                },
            };
            match told["identifier"].as_u64().and_then(|id| usize::try_from(id).ok()) {
                None => client.subscribe_many([filter]).await,
                Some(id) => {
                    let properties = SubscribeProperties { id: Some(id), user_properties: Vec::new() };
                    client.subscribe_many_with_properties([filter], properties).await
                }
            }
        }
        Some("unsubscribe") => client.unsubscribe(text(told, "filter")).await,
        Some("publish") => {
            let (payload, retain) = (unhex(&text(told, "payload")), told["retain"] == true);
            client.publish_with_properties(text(told, "topic"), qos_of(told), retain, payload, properties(told)).await
        }
        Some("burst") => {
            awaited.burst = told["count"].as_u64().unwrap_or(0);
            for number in 0..awaited.burst {
                client.publish(text(told, "topic"), qos_of(told), false, number.to_string()).await?;
            }
            Ok(())
        }
        _ => client.disconnect().await,
    }
}

fn properties(told: &Value) -> PublishProperties {
    let owned = |key: &str| told[key].as_str().map(str::to_owned);
    let pair = |pair: &Value| (text_at(pair, 0), text_at(pair, 1));
    PublishProperties {
        message_expiry_interval: number(told, "expiry"),
        topic_alias: number(told, "alias").and_then(|alias| u16::try_from(alias).ok()),
        response_topic: owned("response_topic"),
        correlation_data: told["correlation"].as_str().map(|digits| unhex(digits).into()),
        user_properties: told["user"].as_array().into_iter().flatten().map(pair).collect(),
        content_type: owned("content_type"),
        ..PublishProperties::default()
    }
}

fn text_at(pair: &Value, at: usize) -> String {
    pair[at].as_str().unwrap_or_default().to_owned()
}

fn seen(name: &str, event: Event, keep_alive_s: u32, awaited: &mut Awaited) {
    match event {
        Event::Incoming(Packet::ConnAck(told)) => {
            let server_keep_alive = told.properties.and_then(|properties| properties.server_keep_alive);
            let event = json!({
                "code": 0,
                "session_present": told.session_present,
                "server_keep_alive": server_keep_alive,
                "keep_alive": keep_alive_s,
            });
            tell(name, "connected", event);
        }
        Event::Incoming(Packet::SubAck(told)) => {
            let code = match told.return_codes.first() {
                Some(SubscribeReasonCode::Success(qos)) => *qos as u8,
                Some(SubscribeReasonCode::NotAuthorized) => 0x87,
                _ => 0x80,
            };
            tell(name, "subscribed", json!({ "code": code }));
        }
        Event::Incoming(Packet::UnsubAck(_)) => tell(name, "unsubscribed", json!({})),
        Event::Incoming(Packet::PubAck(told)) => awaited.acknowledged(name, code_of(told.reason)),
        Event::Incoming(Packet::PubRec(told)) if told.reason == PubRecReason::NotAuthorized => {
            awaited.acknowledged(name, 0x87);
        }
        Event::Incoming(Packet::PubComp(told)) => {
            awaited.acknowledged(name, if told.reason == PubCompReason::Success { 0 } else { 0x92 });
        }
        // Identifier 0: a message of QoS 0, which nobody acknowledges.
        Event::Outgoing(Outgoing::Publish(0)) => awaited.acknowledged(name, 0),
        Event::Incoming(Packet::Publish(told)) => tell(name, "message", message(&told)),
        _ => {}
    }
}

fn code_of(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => 0,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::NotAuthorized => 0x87,
        _ => 0x80,
    }
}

fn message(told: &Publish) -> Value {
    let given = told.properties.clone().unwrap_or_default();
    json!({
        "topic": String::from_utf8_lossy(&told.topic),
        "payload": hex(&told.payload),
        "qos": told.qos as u8,
        "retain": told.retain,
        "user": given.user_properties.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>(),
        "expiry": given.message_expiry_interval,
        "response_topic": given.response_topic,
        "correlation": given.correlation_data.as_deref().map(hex),
        "content_type": given.content_type,
        "identifiers": given.subscription_identifiers,
    })
}
