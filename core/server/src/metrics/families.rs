//! The figures as families of samples, for whoever shows them. Names are a contract with dashboards and alerts.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use postern_identity::{BundleRef, Namespace};
use postern_plugin::{DURATION_BOUNDS_S, Plugin, PluginStats};

use super::listener::TLS_VERSIONS;
use super::process::Process;
use super::realm::RealmMetrics;
use super::traffic::{FlowFigures, TYPES};
use super::{Metrics, VERSION};
use crate::door::Door;
use crate::revocation::{Figures, Source};

/// What a family's values do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They only grow, and begin anew with the process.
    Counter,
    /// They go up and down.
    Gauge,
    /// Each is a distribution.
    Histogram,
}

/// Samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// As it is shown, unit included.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What its values do.
    pub kind: Kind,
    /// One for each combination of labels.
    pub samples: Vec<Sample>,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Names and values. The values may hold any text.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Value,
}

/// A number or a distribution.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// Any number.
    Number(f64),
    /// Upper bounds with the count of what is between each and the one before, the count of what is above all, the sum.
    Histogram(Vec<(f64, u64)>, u64, f64),
}

impl Metrics {
    /// All figures, as they are now. Reads `/proc`, which can take some milliseconds with many open files.
    pub fn families(&self) -> Vec<Family> {
        let mut families = Families(Vec::new());
        self.broker(&mut families);
        self.changes(&mut families);
        self.listeners(&mut families);
        self.certificates(&mut families);
        self.revocation(&mut families);
        self.stapling(&mut families);
        self.plugins(&mut families);
        self.traffic(&mut families);
        self.sessions(&mut families);
        families.0
    }

    fn broker(&self, families: &mut Families) {
        let info = labels([("node", self.node.clone()), ("version", VERSION.to_owned())]);
        families.gauge("postern_build_info", "The running broker; always 1.", [(info, 1)]);
        let uptime = Value::Number(self.began.elapsed().as_secs_f64());
        families.plain("postern_uptime_seconds", "Time since the broker started.", Kind::Gauge, Some(uptime));
        // The names that every client library uses for these, so that what is made for them shows them.
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let help = "Start of the process in seconds since the Unix epoch.";
        families.plain("process_start_time_seconds", help, Kind::Gauge, Some(Value::Number(started)));
        let process = Process::look();
        let cpu = Value::Number(process.cpu.as_secs_f64());
        families.plain("process_cpu_seconds_total", "Processor time used.", Kind::Counter, Some(cpu));
        let resident = process.resident_bytes.map(Value::Count);
        families.plain("process_resident_memory_bytes", "Resident memory.", Kind::Gauge, resident);
        families.plain("process_open_fds", "Open file descriptors.", Kind::Gauge, process.open_fds.map(Value::Count));
        let max = process.max_fds.map(Value::Count);
        families.plain("process_max_fds", "File descriptors that may be open.", Kind::Gauge, max);
    }

    fn changes(&self, families: &mut Families) {
        let of = |what: &str| vec![("what", what.to_owned())];
        let all = self.reloads.read();
        let results = all.iter().flat_map(|reload| {
            let results = [("served", reload.served), ("refused", reload.refused)];
            results.map(|(result, count)| (and(of(reload.what), [("result", result.to_owned())]), count))
        });
        let help = "Changes of certificates and of the configuration while the broker runs, by what came of them.";
        families.counter("postern_reloads_total", help, results);
        let current = all.iter().map(|reload| (of(reload.what), u64::from(reload.is_current)));
        let help = "Whether what is served is what the files say: 0 from a refused change until it is mended.";
        families.gauge("postern_reload_current", help, current);
        let last = all.iter().map(|reload| (of(reload.what), reload.last_served));
        let help = "When what is served was changed last, or the start, in seconds since the Unix epoch.";
        families.gauge("postern_reload_timestamp_seconds", help, last);
    }

    fn listeners(&self, families: &mut Families) {
        let each = |of: fn(&Door) -> u64| self.doors.iter().map(move |door| (of_door(door), of(door)));
        let help = "Connections taken from the kernel.";
        families.counter("postern_connections_accepted_total", help, each(|door| door.metrics.accepted_total()));
        let help = "Connections that are open, those on their way in included.";
        families.gauge("postern_connections_open", help, each(Door::open_connections));
        let help = "Connections that the gate has let in.";
        families.counter("postern_connections_admitted_total", help, each(|door| door.metrics.admitted_total()));
        let refused = self.doors.iter().flat_map(|door| {
            let with = move |((stage, reason), count): ((&str, &str), u64)| {
                (and(of_door(door), [("stage", stage.to_owned()), ("reason", reason.to_owned())]), count)
            };
            door.metrics.refused_total().into_iter().map(with)
        });
        let help = "Connections refused on their way in, by the stage where and the reason.";
        families.counter("postern_connections_refused_total", help, refused);
        let revoked = self.doors.iter().flat_map(|door| {
            let with = move |(reason, count): (&str, u64)| (and(of_door(door), [("reason", reason.to_owned())]), count);
            door.metrics.revoked_total().map(with)
        });
        let help = "Connections closed since their certificate or identity was no longer valid, by the reason.";
        families.counter("postern_connections_revoked_total", help, revoked);
        let by_version = |of: fn(&Door) -> [u64; 2]| {
            self.doors.iter().filter(|door| door.policy().tls().is_some()).flat_map(move |door| {
                let counts = TLS_VERSIONS.into_iter().zip(of(door));
                counts.map(|(version, count)| (and(of_door(door), [("version", version.to_owned())]), count))
            })
        };
        let help = "TLS handshakes that were finished, by protocol version.";
        families.counter("postern_tls_handshakes_total", help, by_version(|door| door.metrics.handshakes_total()));
        let help = "TLS handshakes among these that resumed an earlier session.";
        let resumed = by_version(|door| door.metrics.resumed_total());
        families.counter("postern_tls_resumed_handshakes_total", help, resumed);
        let failed = self.doors.iter().filter(|door| door.policy().tls().is_some()).flat_map(|door| {
            let counts = door.metrics.handshake_failures_total();
            counts.map(|(reason, count)| (and(of_door(door), [("reason", reason.to_owned())]), count))
        });
        let help = "TLS handshakes that failed, by reason.";
        families.counter("postern_tls_handshake_failures_total", help, failed);
    }

    fn certificates(&self, families: &mut Families) {
        let bundles = self.doors.iter().filter_map(|door| Some((door, Arc::clone(&door.policy().tls()?.keyring))));
        let samples = bundles.flat_map(|(door, keyring)| {
            let samples = keyring.bundles().map(|bundle| {
                let labels = and(of_door(door), of_bundle(bundle.name()));
                #[expect(clippy::cast_precision_loss, reason = "dates are far below 2^53 seconds")]
                Sample { labels, value: Value::Number(bundle.leaf().not_after as f64) }
            });
            samples.collect::<Vec<_>>()
        });
        families.0.push(Family {
            name: "postern_certificate_expiry_timestamp_seconds",
            help: "End of a bundle's certificate in seconds since the Unix epoch.",
            kind: Kind::Gauge,
            samples: samples.collect(),
        });
    }

    fn revocation(&self, families: &mut Families) {
        let of_each = |door: &Arc<Door>| {
            let lists = door.policy().tls().and_then(|tls| tls.lists.clone());
            let sources = lists.into_iter().flat_map(|lists| lists.sources().to_vec());
            let with =
                |source: Arc<Source>| (and(of_door(door), [("source", source.place().to_string())]), source.figures());
            sources.map(with).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.doors.iter().flat_map(of_each).collect();
        let each = |of: fn(&Figures) -> u64| all.iter().map(move |(labels, figures)| (labels.clone(), of(figures)));
        let help = "Revocation lists of a source that count.";
        families.gauge("postern_crl_lists", help, each(|figures| figures.lists));
        let help = "Revoked certificates on these lists.";
        families.gauge("postern_crl_entries", help, each(|figures| figures.entries));
        let times = |of: fn(&Figures) -> Option<i64>| {
            all.iter().filter_map(move |(labels, figures)| {
                #[expect(clippy::cast_precision_loss, reason = "dates are far below 2^53 seconds")]
                of(figures).map(|time| Sample { labels: labels.clone(), value: Value::Number(time as f64) })
            })
        };
        let help = "When the oldest of these lists was made, in seconds since the Unix epoch.";
        families.times("postern_crl_this_update_timestamp_seconds", help, times(|figures| figures.this_update));
        let help = "End of the list of these that ends first, in seconds since the Unix epoch.";
        families.times("postern_crl_next_update_timestamp_seconds", help, times(|figures| figures.next_update));
        let help = "Fetches without a usable answer, and times that a file or directory was found to be bad.";
        families.counter("postern_crl_failures_total", help, each(|figures| figures.failures));
    }

    fn plugins(&self, families: &mut Families) {
        let of_each = |door: &Arc<Door>| {
            let policy = door.policy();
            let plugins = policy.plugins().iter().enumerate();
            plugins.map(|(i, plugin)| (of_plugin(door, i, plugin), plugin.stats())).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.doors.iter().flat_map(of_each).collect();
        let each = |of: fn(&PluginStats) -> u64| all.iter().map(move |(labels, stats)| (labels.clone(), of(stats)));
        let help = "Questions that went to a plugin.";
        families.counter("postern_plugin_calls_total", help, each(|stats| stats.calls));
        let help = "Calls without a usable answer: traps, timeouts, impossible answers.";
        families.counter("postern_plugin_failures_total", help, each(|stats| stats.failures));
        let help = "Connections that a plugin refused, by a new answer or a kept one.";
        families.counter("postern_plugin_refusals_total", help, each(|stats| stats.refused));
        let help = "Questions that a kept answer served.";
        families.counter("postern_plugin_cache_hits_total", help, each(|stats| stats.cache_hits));
        let help = "Decisions and refusals that are kept.";
        let kept = each(|stats| (stats.kept_decisions + stats.kept_refusals) as u64);
        families.gauge("postern_plugin_cache_entries", help, kept);
        let help = "Instances started.";
        families.counter("postern_plugin_instances_started_total", help, each(|stats| stats.instances_started));
        let help = "Instances thrown away: after a trap or a timeout, when worn out, or after each call.";
        families.counter("postern_plugin_instances_discarded_total", help, each(|stats| stats.instances_discarded));
        let help = "Log lines of a plugin that were left out: too many.";
        families.counter("postern_plugin_log_lines_dropped_total", help, each(|stats| stats.log_lines_dropped));
        families.0.push(Family {
            name: "postern_plugin_call_duration_seconds",
            help: "How long calls took, waiting for an instance included.",
            kind: Kind::Histogram,
            samples: all
                .iter()
                .map(|(labels, stats)| Sample { labels: labels.clone(), value: durations(stats) })
                .collect(),
        });
    }

    fn traffic(&self, families: &mut Families) {
        let flows: Vec<(Labels, [FlowFigures; 2])> =
            self.each_realm(|labels, realm| (labels, [realm.received.read(), realm.sent.read()]));
        for (direction, packets, publishes, payload, bytes) in [
            (
                0,
                ("postern_packets_received_total", "MQTT packets from clients that were let in, by type."),
                ("postern_publishes_received_total", "PUBLISH packets from clients, by QoS."),
                ("postern_publish_received_bytes_total", "Payload bytes of PUBLISH packets from clients."),
                ("postern_received_bytes_total", "Bytes of MQTT packets from clients that were let in."),
            ),
            (
                1,
                ("postern_packets_sent_total", "MQTT packets to clients that were let in, by type."),
                ("postern_publishes_sent_total", "PUBLISH packets to clients, by QoS."),
                ("postern_publish_sent_bytes_total", "Payload bytes of PUBLISH packets to clients."),
                ("postern_sent_bytes_total", "Bytes of MQTT packets to clients that were let in."),
            ),
        ] {
            let flows = || flows.iter().map(move |(labels, both)| (labels, &both[direction]));
            let by_type = flows().flat_map(|(labels, flow)| {
                let types = TYPES.into_iter().zip(flow.packets).skip(1);
                types.map(|(name, count)| (and(labels.clone(), [("type", name.to_owned())]), count))
            });
            families.counter(packets.0, packets.1, by_type);
            let by_qos = flows().flat_map(|(labels, flow)| {
                let levels = ["0", "1", "2"].into_iter().zip(flow.publishes);
                levels.map(|(qos, count)| (and(labels.clone(), [("qos", qos.to_owned())]), count))
            });
            families.counter(publishes.0, publishes.1, by_qos);
            families.counter(payload.0, payload.1, flows().map(|(labels, flow)| (labels.clone(), flow.payload_bytes)));
            families.counter(bytes.0, bytes.1, flows().map(|(labels, flow)| (labels.clone(), flow.bytes)));
        }
    }

    fn sessions(&self, families: &mut Families) {
        let dropped = self.each_realm(|labels, realm| {
            realm.dropped().map(|(reason, count)| (and(labels.clone(), [("reason", reason.to_owned())]), count))
        });
        let help = "Messages that did not reach a subscriber or the retained store, by reason.";
        families.counter("postern_messages_dropped_total", help, dropped.into_iter().flatten());
        let refused = self.each_realm(|labels, realm| {
            let with = move |((request, reason), count): ((&str, &str), u64)| {
                let reason = reason.to_lowercase().replace(' ', "_");
                (and(labels.clone(), [("request", request.to_owned()), ("reason", reason)]), count)
            };
            realm.refused.read().into_iter().map(with).collect::<Vec<_>>()
        });
        let help = "CONNECT, PUBLISH and SUBSCRIBE requests refused for want of rights or room, by reason code.";
        families.counter("postern_requests_refused_total", help, refused.into_iter().flatten());
        let limits = self.each_realm(|labels, realm| {
            realm.limits_reached().map(|(limit, count)| (and(labels.clone(), [("limit", limit.to_owned())]), count))
        });
        let help = "How often a limit was reached: what it refused, and for rates how often a publisher had to wait.";
        families.counter("postern_limits_reached_total", help, limits.into_iter().flatten());
        let stats = self.each_realm(|labels, realm| (labels, realm.stats()));
        let each = |of: fn(&postern_realm::Stats) -> u64| stats.iter().map(move |(labels, s)| (labels.clone(), of(s)));
        families.gauge("postern_sessions", "Sessions, connected or not.", each(|s| s.sessions as u64));
        families.gauge("postern_sessions_connected", "Sessions with a connection.", each(|s| s.connected as u64));
        let help = "The most sessions that ever were connected at once.";
        families.gauge("postern_sessions_connected_max", help, each(|s| s.connected_max as u64));
        let help = "Sessions that ended since their client did not come back in time.";
        families.counter("postern_sessions_expired_total", help, each(|s| s.expired));
        families.gauge("postern_subscriptions", "Subscriptions of all sessions.", each(|s| s.subscriptions as u64));
        let help = "Shared subscriptions of all sessions.";
        families.gauge("postern_shared_subscriptions", help, each(|s| s.shared_subscriptions as u64));
        families.gauge("postern_retained_messages", "Retained messages.", each(|s| s.retained as u64));
        families.gauge("postern_retained_bytes", "Memory of retained messages.", each(|s| s.retained_bytes as u64));
        let help = "Connections closed because their client did not take what was sent to it.";
        let slow: Vec<_> = self.each_realm(|labels, realm| (labels, realm.closed_as_slow_total()));
        families.counter("postern_slow_consumers_closed_total", help, slow);
        let help = "Messages that wait for a window or for their client.";
        families.gauge("postern_queued_messages", help, each(|s| s.queued as u64));
        families.gauge(
            "postern_queued_bytes",
            "Memory of these and of those in flight.",
            each(|s| s.queued_bytes as u64),
        );
        let help = "Messages of QoS 1 and 2 sent and not yet acknowledged to the end.";
        families.gauge("postern_inflight_messages", help, each(|s| s.in_flight as u64));
        let help = "QoS 2 packet identifiers received and not yet released.";
        families.gauge("postern_unreleased_packet_ids", help, each(|s| s.unreleased as u64));
    }

    /// In the order of namespaces, so that two looks can be compared.
    fn each_realm<T>(&self, of: impl Fn(Labels, &RealmMetrics) -> T) -> Vec<T> {
        let mut realms: Vec<_> =
            self.realms.iter().map(|entry| (entry.key().clone(), std::sync::Arc::clone(entry.value()))).collect();
        realms.sort_by(|(a, _), (b, _)| a.cmp(b));
        realms.iter().map(|(namespace, realm)| of(of_namespace(namespace), realm)).collect()
    }
}

pub(super) type Labels = Vec<(&'static str, String)>;

/// Families in the making.
pub(super) struct Families(pub(super) Vec<Family>);

impl Families {
    fn push(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        all: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let samples = all.into_iter().map(|(labels, count)| Sample { labels, value: Value::Count(count) }).collect();
        self.0.push(Family { name, help, kind, samples });
    }

    pub(super) fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        all: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.push(name, help, Kind::Counter, all);
    }

    pub(super) fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        all: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        self.push(name, help, Kind::Gauge, all);
    }

    fn times(&mut self, name: &'static str, help: &'static str, samples: impl Iterator<Item = Sample>) {
        self.0.push(Family { name, help, kind: Kind::Gauge, samples: samples.collect() });
    }

    fn plain(&mut self, name: &'static str, help: &'static str, kind: Kind, value: Option<Value>) {
        let samples = value.map(|value| Sample { labels: Vec::new(), value }).into_iter().collect();
        self.0.push(Family { name, help, kind, samples });
    }
}

fn labels<const N: usize>(of: [(&'static str, String); N]) -> Labels {
    of.into()
}

pub(super) fn and<const N: usize>(mut labels: Labels, more: [(&'static str, String); N]) -> Labels {
    labels.extend(more);
    labels
}

pub(super) fn of_door(door: &Door) -> Labels {
    labels([("listener", door.id.to_string())])
}

pub(super) fn of_bundle(bundle: &BundleRef) -> [(&'static str, String); 2] {
    [("namespace", bundle.namespace.to_string()), ("bundle", bundle.name.to_string())]
}

/// A plugin may be listed twice, with two configurations: its place tells them apart.
fn of_plugin(door: &Door, index: usize, plugin: &Plugin) -> Labels {
    and(of_door(door), [("plugin", plugin.name().to_string()), ("position", (index + 1).to_string())])
}

fn of_namespace(namespace: &Namespace) -> Labels {
    labels([("namespace", namespace.to_string())])
}

fn durations(stats: &PluginStats) -> Value {
    let counts = stats.durations.counts;
    let above = counts.last().copied().unwrap_or(0);
    let within = DURATION_BOUNDS_S.into_iter().zip(counts).collect();
    Value::Histogram(within, above, stats.durations.sum.as_secs_f64())
}
