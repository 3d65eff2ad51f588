//! The library's client for 3.1.1.

use std::time::Duration;

use rumqttc::mqttbytes::qos;
use rumqttc::{
    AsyncClient, ClientError, ConnectReturnCode, ConnectionError, Event, LastWill, MqttOptions, Outgoing, Packet, QoS,
    SubscribeReasonCode,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::{Awaited, PACKET_BYTES, REQUESTS, hex, host, number, port, small, tell, text, transport, unhex};

/// Plays one client until its connection ends or it is told to end.
pub(crate) async fn play(told: Value, mut commands: Receiver<Value>) {
    let name = text(&told, "client");
    let (client, mut events) = AsyncClient::new(options(&told), REQUESTS);
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
                    _ => {}
                }
                if let Err(error) = act(&client, &command, &mut awaited).await {
                    tell(&name, "fault", json!({ "why": error.to_string() }));
                }
            }
            event = events.poll() => match event {
                Ok(event) => seen(&name, event, &mut awaited),
                Err(ConnectionError::ConnectionRefused(code)) => {
                    return tell(&name, "connected", json!({ "code": refusal(code) }));
                }
                Err(error) => {
                    if !leaving {
                        eprintln!("{name}: {error}");
                    }
                    return tell(&name, "closed", json!({}));
                }
            },
        }
    }
}

fn options(told: &Value) -> MqttOptions {
    let at = &told["at"];
    let mut options = MqttOptions::new(text(told, "id"), host(at), port(at));
    options
        .set_transport(transport(at))
        .set_keep_alive(Duration::from_secs(u64::from(number(told, "keep_alive").unwrap_or(30))))
        .set_clean_session(told["clean"] == true)
        .set_max_packet_size(PACKET_BYTES, PACKET_BYTES);
    if let Some(will) = told.get("will") {
        let retain = will["retain"] == true;
        let payload = unhex(&text(will, "payload"));
        options.set_last_will(LastWill::new(text(will, "topic"), payload, qos_of(will), retain));
    }
    options
}

fn qos_of(told: &Value) -> QoS {
    qos(small(told, "qos")).expect("a QoS")
}

async fn act(client: &AsyncClient, told: &Value, awaited: &mut Awaited) -> Result<(), ClientError> {
    match told["do"].as_str() {
        Some("subscribe") => client.subscribe(text(told, "filter"), qos_of(told)).await,
        Some("unsubscribe") => client.unsubscribe(text(told, "filter")).await,
        Some("publish") => {
            let payload = unhex(&text(told, "payload"));
            client.publish(text(told, "topic"), qos_of(told), told["retain"] == true, payload).await
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

fn seen(name: &str, event: Event, awaited: &mut Awaited) {
    match event {
        Event::Incoming(Packet::ConnAck(told)) => {
            tell(name, "connected", json!({ "code": 0, "session_present": told.session_present }));
        }
        Event::Incoming(Packet::SubAck(told)) => {
            let code = match told.return_codes.first() {
                Some(SubscribeReasonCode::Success(qos)) => *qos as u8,
                _ => 0x80,
            };
            tell(name, "subscribed", json!({ "code": code }));
        }
        Event::Incoming(Packet::UnsubAck(_)) => tell(name, "unsubscribed", json!({})),
        // Identifier 0: a message of QoS 0, which nobody acknowledges.
        Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) | Event::Outgoing(Outgoing::Publish(0)) => {
            awaited.acknowledged(name, 0);
        }
        Event::Incoming(Packet::Publish(told)) => {
            let (topic, payload) = (&told.topic, hex(&told.payload));
            let event = json!({ "topic": topic, "payload": payload, "qos": told.qos as u8, "retain": told.retain });
            tell(name, "message", event);
        }
        _ => {}
    }
}

fn refusal(code: ConnectReturnCode) -> u8 {
    code as u8
}
