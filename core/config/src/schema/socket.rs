//! A listener's sockets: who may connect, how fast, through which proxies, and the operating system's settings.

use std::time::Duration;

use postern_identity::Network;

use crate::emqx;
use crate::model::ListenerKind;
use crate::reader::{Item, Reader, Section, shown};
use crate::transport::{AccessRule, KeepAlive, ProxyProtocol, ProxyTls, PublishRates, Rate, TcpOptions};
use crate::units;
use crate::value::Value;

/// Rules, or trusted networks, of one listener: each connection goes through all of them.
const MAX_LIST: usize = 1_000;
/// As in EMQX.
const PROXY_TIMEOUT: Duration = Duration::from_secs(3);
/// The shortest and the longest that may be asked for.
const PROXY_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(1));
/// The shortest and the longest time that a rate is counted in.
const RATE_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_hours(24));
/// How long a client that takes nothing may be waited for.
const SEND_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_hours(1));
/// Kernel buffers, in bytes.
const BUFFER_RANGE: (u64, u64) = (1024, 64 << 20);
/// The most that Linux takes for the idle time and the interval, in seconds.
const MAX_KEEPALIVE_S: u64 = 32_767;
/// The most that Linux takes.
const MAX_PROBES: u64 = 127;

/// What was read.
pub(super) struct Settings {
    pub(super) access_rules: Vec<AccessRule>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    pub(super) tcp_options: TcpOptions,
    pub(super) max_conn_rate: Option<Rate>,
    pub(super) max_conn_burst: Option<Rate>,
    pub(super) publish_rates: PublishRates,
}

pub(super) fn settings(reader: &mut Reader<'_>, kind: ListenerKind, section: &mut Section<'_>) -> Settings {
    let access_rules = section.take("access_rules").and_then(|item| access_rules(reader, &item)).unwrap_or_default();
    let proxy_protocol = proxy_protocol(reader, kind, section);
    let [max_conn_rate, max_conn_burst] = metered(reader, section, ["max_conn_rate", "max_conn_burst"], Unit::One);
    let publish_rates = publish_rates(reader, section);
    let tcp_options = section.take("tcp_options").and_then(|item| tcp_options(reader, &item)).unwrap_or_default();
    Settings { access_rules, proxy_protocol, tcp_options, max_conn_rate, max_conn_burst, publish_rates }
}

/// The items of a list, or the pieces of one text with commas, each with the item it is in.
fn pieces<'n>(reader: &mut Reader<'_>, item: &Item<'n>) -> Option<Vec<(Item<'n>, String)>> {
    let items = match &item.node.value {
        Value::List(_) => reader.list(item)?,
        _ => vec![item.clone()],
    };
    let mut pieces = Vec::new();
    for item in items {
        let text = reader.text(&item)?;
        pieces.extend(text.split(',').map(|piece| (item.clone(), piece.trim().to_owned())));
    }
    if pieces.len() > MAX_LIST {
        reader.wrong(item, format!("{} entries, at most {MAX_LIST} fit one listener", pieces.len()), None);
        return None;
    }
    Some(pieces)
}

fn access_rules(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<AccessRule>> {
    let rules: Vec<AccessRule> =
        pieces(reader, item)?.iter().filter_map(|(item, text)| access_rule(reader, item, text)).collect();
    let narrows = rules.iter().any(|rule| rule.network.is_some());
    if narrows && rules.iter().all(|rule| rule.allow) {
        let text = "no rule denies anything, so that every address may connect";
        reader.warn(item.key_at, &item.path, text, Some("end the list with `deny all`"));
    }
    Some(rules)
}

fn access_rule(reader: &mut Reader<'_>, item: &Item<'_>, text: &str) -> Option<AccessRule> {
    let mut words = text.split_ascii_whitespace();
    let allow = match words.next() {
        Some("allow") => Some(true),
        Some("deny") => Some(false),
        _ => None,
    };
    let (Some(allow), Some(whom), None) = (allow, words.next(), words.next()) else {
        let hint = "write `allow 192.168.0.0/24` or `deny all`";
        reader.wrong(item, format!("{} is no access rule", shown(text)), Some(hint));
        return None;
    };
    let network = if whom == "all" { None } else { Some(network(reader, item, whom)?) };
    Some(AccessRule { allow, network })
}

fn network(reader: &mut Reader<'_>, item: &Item<'_>, text: &str) -> Option<Network> {
    let wrong = |why| reader.wrong(item, format!("{} is no address and no network: {why}", shown(text)), None);
    text.parse().map_err(wrong).ok()
}

fn proxy_protocol(reader: &mut Reader<'_>, kind: ListenerKind, section: &mut Section<'_>) -> Option<ProxyProtocol> {
    let switch = section.take("proxy_protocol");
    let on = switch.as_ref().and_then(|item| reader.boolean(item)).unwrap_or(false);
    let (least, most) = PROXY_RANGE;
    let timeout = section.take("proxy_protocol_timeout").and_then(|item| reader.duration(&item, least, most));
    let item = section.take("proxy_protocol_trusted");
    let trusted = item.as_ref().and_then(|item| trusted(reader, item));
    let tls = section.take("proxy_protocol_tls");
    if let Some(item) = tls.as_ref().filter(|_| !on) {
        let text = "has no effect without `proxy_protocol = true`";
        reader.warn(item.key_at, &item.path, text, Some("add that, or remove it"));
    }
    let tls = tls.and_then(|item| proxy_tls(reader, &item, kind)).unwrap_or_default();
    let switch = switch.filter(|_| on)?;
    if item.is_none() && !section.misspelt(&["proxy_protocol_trusted"]) {
        let text = "`proxy_protocol_trusted` is missing: who can reach the listener past the proxy could write any \
                    address into a header, and so must not be believed";
        let hint = "name the proxies, for example `proxy_protocol_trusted = [\"10.0.0.5\", \"10.1.0.0/16\"]`";
        reader.problem(switch.key_at, &switch.path, text, Some(hint));
    }
    Some(ProxyProtocol { timeout: timeout.unwrap_or(PROXY_TIMEOUT), trusted: trusted?, tls })
}

fn proxy_tls(reader: &mut Reader<'_>, item: &Item<'_>, kind: ListenerKind) -> Option<ProxyTls> {
    const WORDS: [(&str, ProxyTls); 3] =
        [("inform", ProxyTls::Inform), ("trust", ProxyTls::Trust), ("require", ProxyTls::Require)];
    let word = reader.word(item, &WORDS)?;
    if kind.is_tls() && word != ProxyTls::Inform {
        let text = format!("TLS ends at this `{}` listener, which verifies certificates itself", kind.word());
        let hint = "remove it, and set `verify` in `ssl_options`; it is for listeners behind a proxy that ends TLS";
        reader.wrong(item, text, Some(hint));
    }
    Some(word)
}

fn trusted(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Vec<Network>> {
    let found = reader.problems.len();
    let networks: Vec<Network> =
        pieces(reader, item)?.iter().filter_map(|(item, text)| network(reader, item, text)).collect();
    if networks.is_empty() && reader.problems.len() == found {
        reader.wrong(item, "nobody is trusted, so that no connection could be accepted", None);
    }
    Some(networks)
}

/// `messages_rate`, `messages_burst`, `bytes_rate`, `bytes_burst`.
pub(super) fn publish_rates(reader: &mut Reader<'_>, section: &mut Section<'_>) -> PublishRates {
    let [messages_rate, messages_burst] = metered(reader, section, ["messages_rate", "messages_burst"], Unit::One);
    let [bytes_rate, bytes_burst] = metered(reader, section, ["bytes_rate", "bytes_burst"], Unit::Bytes);
    PublishRates { messages_rate, messages_burst, bytes_rate, bytes_burst }
}

/// What is counted.
#[derive(Clone, Copy)]
enum Unit {
    One,
    Bytes,
}

/// A rate, and what may be spent beyond it.
fn metered(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    [rate_key, burst_key]: [&'static str; 2],
    unit: Unit,
) -> [Option<Rate>; 2] {
    let of = section.take(rate_key).and_then(|item| rate(reader, &item, unit));
    let item = section.take(burst_key);
    let burst = item.as_ref().and_then(|item| rate(reader, item, unit));
    if let (Some(item), Some(_), None) = (item, burst, of) {
        let text = format!("has no effect without `{rate_key}`, which it goes beyond");
        reader.warn(item.key_at, &item.path, text, Some("add that, or remove it"));
    }
    [of, burst]
}

/// `1000/s`, `50/10s`, `1MB/s`, or `infinity`.
fn rate(reader: &mut Reader<'_>, item: &Item<'_>, unit: Unit) -> Option<Rate> {
    let text = reader.text(item)?;
    if text == "infinity" {
        return None;
    }
    let count = |text: &str| match unit {
        Unit::One => text.parse().ok(),
        Unit::Bytes => units::size(text).and_then(|bytes| u32::try_from(bytes).ok()),
    };
    let rate = text.split_once('/').and_then(|(number, per)| {
        let per = per.trim();
        let per = if per.starts_with(|c: char| c.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
        let has_unit = per.ends_with(|c: char| c.is_ascii_alphabetic());
        Some(Rate { count: count(number.trim())?, per: units::duration(&per).filter(|_| has_unit)? })
    });
    let (least, most) = RATE_RANGE;
    let rate = rate.filter(|rate| rate.count > 0 && (least..=most).contains(&rate.per));
    if rate.is_none() {
        let hint = match unit {
            Unit::One => "write `1000/s` or `50/10s`: a whole number, and a time from 100ms to one day",
            Unit::Bytes => "write `1MB/s` or `64KB/10s`: a size below 4GB, and a time from 100ms to one day",
        };
        reader.wrong(item, format!("{} is no rate", shown(&text)), Some(hint));
    }
    rate
}

fn tcp_options(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<TcpOptions> {
    let mut section = reader.section(item)?;
    let mut options = TcpOptions::default();
    if let Some(on) = section.take("nodelay").and_then(|item| reader.boolean(&item)) {
        options.nodelay = on;
    }
    if let Some(on) = section.take("reuseaddr").and_then(|item| reader.boolean(&item)) {
        options.reuseaddr = on;
    }
    if let Some(count) = section.take("backlog").and_then(|item| reader.integer(&item, 1, 65_535)) {
        options.backlog = narrow(count);
    }
    let (least, most) = BUFFER_RANGE;
    options.recbuf = section.take("recbuf").and_then(|item| reader.size(&item, least, most)).map(narrow);
    options.sndbuf = section.take("sndbuf").and_then(|item| reader.size(&item, least, most)).map(narrow);
    let (least, most) = SEND_RANGE;
    let send_timeout = section.take("send_timeout").and_then(|item| reader.duration(&item, least, most));
    options.send_timeout = send_timeout.unwrap_or(options.send_timeout);
    options.keepalive = section.take("keepalive").and_then(|item| keepalive(reader, &item));
    reader.finish(&section, emqx::TCP_OPTIONS);
    Some(options)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).expect("the range ends within 32 bits")
}

/// `Idle,Interval,Probes`, or `none`.
fn keepalive(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<KeepAlive> {
    let text = reader.text(item)?;
    if text == "none" {
        return None;
    }
    let numbers: Option<Vec<u64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    if let Some(&[idle, interval, probes]) = numbers.as_deref()
        && (1..=MAX_KEEPALIVE_S).contains(&idle)
        && (1..=MAX_KEEPALIVE_S).contains(&interval)
        && (1..=MAX_PROBES).contains(&probes)
    {
        let [idle, interval] = [idle, interval].map(Duration::from_secs);
        return Some(KeepAlive { idle, interval, probes: narrow(probes) });
    }
    let hint = "write `none`, or seconds of silence, seconds between probes and their number: `\"240,30,5\"`";
    reader.wrong(item, format!("{} is no keep-alive", shown(&text)), Some(hint));
    None
}
