//! What a namespace is told of itself under `$SYS`, in mosquitto's words and in EMQX's.
//!
//! The figures are its own realm's alone, so that no tenant sees another's. They are put together when somebody first
//! asks for them, then at the configured intervals for as long as anybody is subscribed: a realm that nobody watches
//! pays nothing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use postern_config::SysTopics;
use postern_mqtt::packet::Packet;
use postern_mqtt::{Filter, ReasonCode, Topic};
use postern_realm::Input;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::metrics::{FlowFigures, PACKET_TYPES, RealmMetrics, VERSION};
use crate::report::Who;

/// Figures of this age are not put together anew for one more subscriber, however often it subscribes.
const FRESH: Duration = Duration::from_secs(1);

/// The windows of mosquitto's load averages, in minutes.
const WINDOWS: [u8; 3] = [1, 5, 15];

/// What mosquitto has load averages of.
const LOADS: [&str; 8] = [
    "messages/received",
    "messages/sent",
    "publish/received",
    "publish/sent",
    "publish/dropped",
    "bytes/received",
    "bytes/sent",
    "connections",
];

/// Packet types that EMQX's metrics name with `received`, and with `sent`.
const RECEIVED: [usize; 11] = [1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15];
const SENT: [usize; 11] = [2, 3, 4, 5, 6, 7, 9, 11, 13, 14, 15];

/// See the module.
pub(crate) struct SystemTopics {
    settings: SysTopics,
    node: Arc<str>,
    metrics: Arc<RealmMetrics>,
    began: Instant,
    figures_told: Option<Instant>,
    heartbeat_told: Option<Instant>,
    loads: Loads,
}

/// How a client's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It said goodbye.
    Goodbye,
    /// It did not.
    Lost,
    /// The realm closed it.
    Closed(ReasonCode),
}

impl Gone {
    /// EMQX's word where it has one.
    fn word(self) -> String {
        match self {
            Self::Goodbye => "normal".to_owned(),
            Self::Lost => "tcp_closed".to_owned(),
            Self::Closed(ReasonCode::SESSION_TAKEN_OVER) => "takenover".to_owned(),
            Self::Closed(reason) => reason.label().to_lowercase().replace(' ', "_"),
        }
    }
}

/// Averages that forget: mosquitto's, of events in a minute.
#[derive(Default)]
struct Loads {
    at: Option<Instant>,
    totals: [u64; LOADS.len()],
    averages: [[f64; WINDOWS.len()]; LOADS.len()],
}

impl SystemTopics {
    pub(crate) fn new(settings: SysTopics, node: Arc<str>, metrics: Arc<RealmMetrics>, began: Instant) -> Self {
        let loads = Loads::default();
        Self { settings, node, metrics, began, figures_told: None, heartbeat_told: None, loads }
    }

    /// Whether a client asks for what is told here.
    pub(crate) fn asked_for(packets: &[Packet]) -> bool {
        let is_system = |filter: &Filter| filter.levels().next() == Some("$SYS");
        packets.iter().any(|packet| match packet {
            Packet::Subscribe(subscribe) => {
                subscribe.subscriptions.iter().any(|s| s.filter.as_ref().is_ok_and(is_system))
            }
            _ => false,
        })
    }

    /// When the next telling is due, where anybody listens.
    pub(crate) fn next(&self) -> Option<Instant> {
        let of = |told: Option<Instant>, every: Option<Duration>| every.map(|every| told.unwrap_or(self.began) + every);
        let figures = of(self.figures_told, self.settings.msg_interval);
        figures.into_iter().chain(of(self.heartbeat_told, self.settings.heartbeat_interval)).min()
    }

    /// Tells what is due, or, where somebody `asked`, whatever is not fresh.
    pub(crate) fn tell(&mut self, asked: bool, now: Instant, inputs: &mut Vec<Input>) {
        let is_due = |told: Option<Instant>, every: Option<Duration>| {
            let age = told.map(|told| now.saturating_duration_since(told));
            every.is_some_and(|every| age.is_none_or(|age| age >= every || (asked && age >= FRESH)))
        };
        let mut told = Vec::new();
        if is_due(self.heartbeat_told, self.settings.heartbeat_interval) {
            self.heartbeat_told = Some(now);
            self.heartbeat(now, &mut told);
        }
        if is_due(self.figures_told, self.settings.msg_interval) {
            self.figures_told = Some(now);
            self.figures(now, &mut told);
        }
        inputs.extend(told.into_iter().filter_map(|(topic, text)| announcement(&topic, text, true)));
    }

    /// Tells of clients that entered and left, where that is wanted.
    pub(crate) fn came_and_went(&self, came: &[&Who], went: &[(&Who, Gone)], inputs: &mut Vec<Input>) {
        let now_ms = unix_ms();
        if self.settings.client_connected {
            inputs.extend(came.iter().filter_map(|who| self.event(who, "connected", &who.to_json(now_ms))));
        }
        if self.settings.client_disconnected {
            inputs.extend(went.iter().filter_map(|(who, gone)| {
                let mut json = who.to_json(now_ms);
                json["reason"] = gone.word().into();
                json["disconnected_at"] = now_ms.into();
                self.event(who, "disconnected", &json)
            }));
        }
    }

    fn event(&self, who: &Who, what: &str, json: &serde_json::Value) -> Option<Input> {
        let topic = format!("$SYS/brokers/{}/clients/{}/{what}", self.node, who.client_id);
        announcement(&topic, json.to_string(), false)
    }

    fn heartbeat(&self, now: Instant, told: &mut Vec<(String, String)>) {
        let uptime = now.saturating_duration_since(self.began);
        let node = &self.node;
        told.push(("$SYS/broker/uptime".into(), format!("{} seconds", uptime.as_secs())));
        told.push((format!("$SYS/brokers/{node}/uptime"), uptime.as_millis().to_string()));
        let datetime = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default();
        told.push((format!("$SYS/brokers/{node}/datetime"), datetime));
    }

    fn figures(&mut self, now: Instant, told: &mut Vec<(String, String)>) {
        let node = &self.node;
        told.push(("$SYS/broker/version".into(), format!("postern version {VERSION}")));
        told.push(("$SYS/brokers".into(), node.to_string()));
        told.push((format!("$SYS/brokers/{node}/version"), VERSION.into()));
        told.push((format!("$SYS/brokers/{node}/sysdescr"), "Postern".into()));
        let (received, sent) = (self.metrics.received.read(), self.metrics.sent.read());
        let dropped = self.metrics.dropped_total();
        let mosquitto = mosquitto(&self.metrics, &received, &sent, dropped);
        told.extend(mosquitto.map(|(name, value)| (format!("$SYS/broker/{name}"), value.to_string())));
        let totals = [
            received.all_packets(),
            sent.all_packets(),
            received.all_publishes(),
            sent.all_publishes(),
            dropped,
            received.bytes,
            sent.bytes,
            received.packets[1],
        ];
        self.loads.update(totals, now);
        for (name, averages) in LOADS.into_iter().zip(self.loads.averages) {
            for (window, average) in WINDOWS.into_iter().zip(averages) {
                told.push((format!("$SYS/broker/load/{name}/{window}min"), format!("{average:.2}")));
            }
        }
        let prefix = format!("$SYS/brokers/{node}");
        let stats =
            emqx_stats(&self.metrics).map(|(name, value)| (format!("{prefix}/stats/{name}"), value.to_string()));
        told.extend(stats);
        for (name, value) in emqx_metrics(&self.metrics, &received, &sent, dropped) {
            told.push((format!("{prefix}/metrics/{name}"), value.to_string()));
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// None where a name makes no topic, such as a client identifier with a wildcard in it.
pub(crate) fn announcement(topic: &str, payload: impl Into<Bytes>, retain: bool) -> Option<Input> {
    let topic = Topic::new(topic).ok()?;
    Some(Input::Announce { topic, payload: payload.into(), retain })
}

fn mosquitto(
    metrics: &RealmMetrics,
    received: &FlowFigures,
    sent: &FlowFigures,
    dropped: u64,
) -> impl Iterator<Item = (&'static str, u64)> {
    let stats = metrics.stats();
    let count = |number: usize| number as u64;
    let stored = count(stats.retained + stats.queued + stats.in_flight);
    let away = count(stats.sessions - stats.connected.min(stats.sessions));
    [
        ("clients/total", count(stats.sessions)),
        ("clients/connected", count(stats.connected)),
        ("clients/active", count(stats.connected)),
        ("clients/disconnected", away),
        ("clients/inactive", away),
        ("clients/maximum", count(stats.connected_max)),
        ("clients/expired", stats.expired),
        ("messages/received", received.all_packets()),
        ("messages/sent", sent.all_packets()),
        ("messages/stored", stored),
        ("messages/inflight", count(stats.in_flight)),
        ("store/messages/count", stored),
        ("store/messages/bytes", count(stats.retained_bytes + stats.queued_bytes)),
        ("publish/messages/received", received.all_publishes()),
        ("publish/messages/sent", sent.all_publishes()),
        ("publish/messages/dropped", dropped),
        ("publish/bytes/received", received.payload_bytes),
        ("publish/bytes/sent", sent.payload_bytes),
        ("bytes/received", received.bytes),
        ("bytes/sent", sent.bytes),
        ("subscriptions/count", count(stats.subscriptions)),
        ("shared_subscriptions/count", count(stats.shared_subscriptions)),
        ("retained messages/count", count(stats.retained)),
    ]
    .into_iter()
}

fn emqx_stats(metrics: &RealmMetrics) -> impl Iterator<Item = (&'static str, u64)> {
    let stats = metrics.stats();
    [
        ("connections/count", stats.sessions),
        ("live_connections/count", stats.connected),
        ("live_connections/max", stats.connected_max),
        ("sessions/count", stats.sessions),
        ("subscriptions/count", stats.subscriptions),
        ("subscriptions/shared/count", stats.shared_subscriptions),
        ("retained/count", stats.retained),
    ]
    .into_iter()
    .map(|(name, value)| (name, value as u64))
}

fn emqx_metrics(
    metrics: &RealmMetrics,
    received: &FlowFigures,
    sent: &FlowFigures,
    dropped: u64,
) -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> = vec![
        ("bytes/received".into(), received.bytes),
        ("bytes/sent".into(), sent.bytes),
        ("packets/received".into(), received.all_packets()),
        ("packets/sent".into(), sent.all_packets()),
        ("messages/received".into(), received.all_publishes()),
        ("messages/sent".into(), sent.all_publishes()),
        ("messages/dropped".into(), dropped),
    ];
    for (direction, flow, types) in [("received", received, RECEIVED), ("sent", sent, SENT)] {
        let packets = types.map(|place| (format!("packets/{}/{direction}", PACKET_TYPES[place]), flow.packets[place]));
        all.extend(packets);
        let levels = flow.publishes.iter().enumerate();
        all.extend(levels.map(|(qos, &count)| (format!("messages/qos{qos}/{direction}"), count)));
    }
    let drops = metrics.dropped().into_iter();
    all.extend(drops.map(|(reason, count)| (format!("delivery/dropped/{reason}"), count)));
    all
}

impl Loads {
    fn update(&mut self, totals: [u64; LOADS.len()], now: Instant) {
        let seconds = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        if seconds > 0.0 {
            for ((average, total), before) in self.averages.iter_mut().zip(totals).zip(self.totals) {
                // A realm that began anew after a fault begins to count anew.
                #[expect(clippy::cast_precision_loss, reason = "an average is none the worse for it")]
                let rate = total.saturating_sub(before) as f64 * 60.0 / seconds;
                for (window, average) in WINDOWS.into_iter().zip(average) {
                    *average = rate + (-seconds / (60.0 * f64::from(window))).exp() * (*average - rate);
                }
            }
        }
        (self.at, self.totals) = (Some(now), totals);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postern_mqtt::packet::{Connect, Version};
    use postern_realm::Stats;

    use super::*;
    use crate::metrics::Tally;

    fn system(settings: SysTopics, began: Instant) -> SystemTopics {
        SystemTopics::new(settings, "n@h".into(), Arc::default(), began)
    }

    fn told(system: &mut SystemTopics, asked: bool, now: Instant) -> BTreeMap<String, String> {
        let mut inputs = Vec::new();
        system.tell(asked, now, &mut inputs);
        let text = |input| match input {
            Input::Announce { topic, payload, retain: true } => {
                (topic.as_str().to_owned(), String::from_utf8(payload.to_vec()).unwrap())
            }
            other => panic!("{other:?}"),
        };
        inputs.into_iter().map(text).collect()
    }

    #[test]
    fn both_brokers_names_have_the_realms_own_figures() {
        let began = Instant::now();
        let mut system = system(SysTopics::default(), began);
        let mut tally = Tally::default();
        tally.packet(&Packet::Connect(Box::new(Connect::new(Version::V5, "a"))));
        tally.packet(&Packet::PingReq);
        tally.bytes(20);
        system.metrics.received.add(&tally);
        let dropped = postern_realm::Dropped { queue_full: 3, ..Default::default() };
        let counts = (5, 2, 4, 3, 1, 7, 2);
        let (sessions, connected, connected_max, retained, queued, subscriptions, shared_subscriptions) = counts;
        let some = Stats { sessions, connected, connected_max, retained, queued, subscriptions, ..Stats::default() };
        system.metrics.set(Stats { shared_subscriptions, expired: 9, dropped, ..some });
        let told = told(&mut system, true, began + Duration::from_secs(61));
        for (topic, value) in [
            ("$SYS/broker/uptime", "61 seconds"),
            ("$SYS/broker/version", concat!("postern version ", env!("CARGO_PKG_VERSION"))),
            ("$SYS/broker/clients/total", "5"),
            ("$SYS/broker/clients/connected", "2"),
            ("$SYS/broker/clients/disconnected", "3"),
            ("$SYS/broker/clients/maximum", "4"),
            ("$SYS/broker/clients/expired", "9"),
            ("$SYS/broker/messages/received", "2"),
            ("$SYS/broker/messages/stored", "4"),
            ("$SYS/broker/bytes/received", "20"),
            ("$SYS/broker/publish/messages/dropped", "3"),
            ("$SYS/broker/retained messages/count", "3"),
            ("$SYS/broker/shared_subscriptions/count", "2"),
            ("$SYS/broker/load/bytes/received/15min", "0.00"),
            ("$SYS/brokers", "n@h"),
            ("$SYS/brokers/n@h/uptime", "61000"),
            ("$SYS/brokers/n@h/sysdescr", "Postern"),
            ("$SYS/brokers/n@h/stats/live_connections/count", "2"),
            ("$SYS/brokers/n@h/stats/subscriptions/shared/count", "2"),
            ("$SYS/brokers/n@h/metrics/packets/connect/received", "1"),
            ("$SYS/brokers/n@h/metrics/packets/pingreq/received", "1"),
            ("$SYS/brokers/n@h/metrics/messages/qos0/sent", "0"),
            ("$SYS/brokers/n@h/metrics/messages/dropped", "3"),
        ] {
            assert_eq!(told.get(topic).map(String::as_str), Some(value), "{topic}");
        }
        let datetime = &told["$SYS/brokers/n@h/datetime"];
        assert!(OffsetDateTime::parse(datetime, &Rfc3339).is_ok(), "{datetime}");
    }

    #[test]
    fn it_is_told_at_its_intervals_and_when_asked_though_not_again_and_again() {
        let began = Instant::now();
        let mut system = system(SysTopics::default(), began);
        let at = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(system.next(), Some(at(30)));
        assert!(told(&mut system, true, at(1)).len() > 50);
        assert_eq!(told(&mut system, true, at(1)).len(), 0, "fresh");
        assert!(told(&mut system, true, at(2)).len() > 50);
        assert_eq!(system.next(), Some(at(32)));
        assert_eq!(told(&mut system, false, at(31)).len(), 0);
        assert_eq!(told(&mut system, false, at(32)).len(), 3, "the heartbeat alone");
        assert!(told(&mut system, false, at(62)).len() > 50);
    }

    #[test]
    fn what_is_disabled_is_not_told() {
        let began = Instant::now();
        let none = SysTopics { msg_interval: None, heartbeat_interval: None, ..SysTopics::default() };
        let mut system = system(none, began);
        assert_eq!(system.next(), None);
        assert_eq!(told(&mut system, true, began + Duration::from_hours(1)).len(), 0);
    }

    #[test]
    fn loads_go_towards_the_rate_and_forget_it_again() {
        let began = Instant::now();
        let mut loads = Loads::default();
        let minute = |n: u64| began + Duration::from_mins(n);
        loads.update([0; 8], minute(0));
        loads.update([60; 8], minute(1));
        let [one, five, fifteen] = loads.averages[0];
        assert!((one - 37.93).abs() < 0.01 && (five - 10.88).abs() < 0.01 && (fifteen - 3.87).abs() < 0.01);
        loads.update([60; 8], minute(31));
        assert!(loads.averages[0][0] < 0.01 && loads.averages[0][2] < 1.0);
    }

    #[test]
    fn only_subscriptions_below_sys_ask() {
        let subscribe = |filter: &str| {
            use postern_mqtt::packet::{PacketId, QoS, RetainHandling, Subscribe, Subscription};
            let filter = Filter::new(filter).map_err(|_| unreachable!());
            let (no_local, retain_as_published, retain_handling) = (false, false, RetainHandling::Always);
            let one = Subscription { filter, qos: QoS::AtMostOnce, no_local, retain_as_published, retain_handling };
            let packet_id = PacketId::new(1).unwrap();
            let (subscription_id, user_properties) = (None, Vec::new());
            Packet::Subscribe(Subscribe { packet_id, subscription_id, user_properties, subscriptions: vec![one] })
        };
        for (filter, asks) in
            [("$SYS/#", true), ("$SYS", true), ("$share/g/$SYS/broker/+", true), ("#", false), ("a/$SYS", false)]
        {
            assert_eq!(SystemTopics::asked_for(&[Packet::PingReq, subscribe(filter)]), asks, "{filter}");
        }
    }
}
