//! A device: `rumqttc` over a TLS connection of our own.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::Transport;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::dial::Tunnel;

/// Everything happens on one machine; this is for one that is busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Packets that may wait to be looked at, and requests that may wait to be sent. The demonstration has a
/// handful under way.
const WAITING_MAX: usize = 64;

/// Why a device did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The connection is over.
    #[error("the connection ended: {0}")]
    Ended(String),
    /// No answer in time.
    #[error("no {what} within {seconds} s")]
    Silent {
        /// What was awaited.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
    /// The broker answered otherwise.
    #[error("{0}")]
    Unexpected(String),
}

/// A message as a subscriber received it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub topic: String,
    /// What it says.
    pub payload: String,
}

impl From<&Publish> for Message {
    fn from(publish: &Publish) -> Self {
        Self {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: String::from_utf8_lossy(&publish.payload).into_owned(),
        }
    }
}

/// A connected MQTT 5.0 client.
#[derive(Debug)]
pub struct Device {
    client: AsyncClient,
    incoming: mpsc::Receiver<Result<Packet, String>>,
    /// Messages that came while something else was awaited: a publisher may be its own subscriber.
    messages: VecDeque<Message>,
    pump: tokio::task::JoinHandle<()>,
    /// The address that the broker knows it by.
    pub address: SocketAddr,
    _tunnel: Tunnel,
}

impl Device {
    /// Sends CONNECT through the tunnel and waits for the CONNACK.
    pub async fn connect(tunnel: Tunnel, address: SocketAddr, client_id: &str) -> Result<Self, DeviceError> {
        let mut options = MqttOptions::new(client_id, tunnel.path().to_string_lossy(), 0);
        options.set_transport(Transport::unix()).set_clean_start(true);
        let (client, events) = AsyncClient::new(options, WAITING_MAX);
        let (sender, incoming) = mpsc::channel(WAITING_MAX);
        let pump = tokio::spawn(pump(events, sender));
        let mut device = Self { client, incoming, messages: VecDeque::new(), pump, address, _tunnel: tunnel };
        device.wait_for("CONNACK", |packet| matches!(packet, Packet::ConnAck(_)).then_some(())).await?;
        Ok(device)
    }

    /// Subscribes at QoS 1 and waits for the SUBACK.
    pub async fn subscribe(&mut self, filter: &str) -> Result<(), DeviceError> {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.map_err(|error| DeviceError::Ended(error.to_string()))?;
        let granted = self
            .wait_for("SUBACK", |packet| match packet {
                Packet::SubAck(answer) => Some(answer.return_codes.clone()),
                _ => None,
            })
            .await?;
        match granted.as_slice() {
            [SubscribeReasonCode::Success(_)] => Ok(()),
            other => Err(DeviceError::Unexpected(format!("the subscription to {filter} was answered with {other:?}"))),
        }
    }

    /// Publishes at QoS 1 and waits for the PUBACK.
    pub async fn publish(&mut self, topic: &str, payload: &str) -> Result<(), DeviceError> {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload.to_owned())
            .await
            .map_err(|error| DeviceError::Ended(error.to_string()))?;
        self.wait_for("PUBACK", |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await
    }

    /// The next message.
    pub async fn message(&mut self) -> Result<Message, DeviceError> {
        if let Some(message) = self.messages.pop_front() {
            return Ok(message);
        }
        self.wait_for("message", |packet| match packet {
            Packet::Publish(publish) => Some(Message::from(publish)),
            _ => None,
        })
        .await
    }

    /// Says goodbye and lets the connection end.
    pub async fn disconnect(mut self) {
        if self.client.disconnect().await.is_ok() {
            // The end of the stream is the answer; one that does not come is the broker's loss.
            let _ = timeout(ANSWER_WITHIN, async { while let Some(Ok(_)) = self.incoming.recv().await {} }).await;
        }
    }

    /// Messages before the wanted packet are kept, other packets are passed over: PINGRESP, and
    /// acknowledgements that nobody waits for.
    async fn wait_for<T>(
        &mut self,
        what: &'static str,
        wanted: impl Fn(&Packet) -> Option<T>,
    ) -> Result<T, DeviceError> {
        let search = async {
            loop {
                let packet = match self.incoming.recv().await {
                    Some(Ok(packet)) => packet,
                    Some(Err(reason)) => return Err(DeviceError::Ended(reason)),
                    None => return Err(DeviceError::Ended("it was closed before".to_owned())),
                };
                if let Some(found) = wanted(&packet) {
                    return Ok(found);
                }
                if let Packet::Publish(publish) = &packet {
                    if self.messages.len() == WAITING_MAX {
                        return Err(DeviceError::Unexpected(format!("more than {WAITING_MAX} messages came unasked")));
                    }
                    self.messages.push_back(Message::from(publish));
                }
            }
        };
        timeout(ANSWER_WITHIN, search)
            .await
            .map_err(|_| DeviceError::Silent { what, seconds: ANSWER_WITHIN.as_secs() })?
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn pump(mut events: EventLoop, sender: mpsc::Sender<Result<Packet, String>>) {
    loop {
        let item = match events.poll().await {
            Ok(Event::Incoming(packet)) => Ok(packet),
            Ok(Event::Outgoing(_)) => continue,
            // `rumqttc` would connect again; one connection is what is looked at here.
            Err(error) => Err(reason(&error)),
        };
        let over = item.is_err();
        if sender.send(item).await.is_err() || over {
            return;
        }
    }
}

fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => format!("CONNACK {code:?}"),
        other => other.to_string(),
    }
}
