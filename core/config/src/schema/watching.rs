//! `dashboard` and `sys_topics`.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::emqx;
use crate::model::Listener;
use crate::problem::Spanned;
use crate::reader::{Item, Reader};
use crate::value::Value;
use crate::watching::{Dashboard, HttpListener, SysTopics};

/// Connections of the management address unless it is said otherwise: some scrapers, some people, some health checks.
const MAX_HTTP_CONNECTIONS: usize = 64;
/// More figures than once a second help nobody; fewer than once a day are none.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(24));

pub(super) fn dashboard(reader: &mut Reader<'_>, item: &Item<'_>, listeners: &[Listener]) -> Option<Dashboard> {
    let mut section = reader.section(item)?;
    let http = section.take("listeners").and_then(|item| {
        let mut section = reader.section(&item)?;
        let http = section.take("http").and_then(|item| http(reader, &item, listeners));
        reader.finish(&section, emqx::DASHBOARD_LISTENERS);
        http
    });
    reader.finish(&section, emqx::DASHBOARD);
    Some(Dashboard { http })
}

fn http(reader: &mut Reader<'_>, item: &Item<'_>, listeners: &[Listener]) -> Option<HttpListener> {
    let mut section = reader.section(item)?;
    let max = section.take("max_connections").and_then(|item| reader.integer(&item, 1, 65_535));
    // As in EMQX, 0 alone is no address.
    let closed = |item: &Item<'_>| matches!(&item.node.value, Value::Number(port) if port == "0");
    let bind = match section.take("bind").filter(|item| !closed(item)) {
        None => None,
        Some(item) => super::listener::bind_to(reader, &item, Ipv4Addr::LOCALHOST).map(|bind| (item, bind)),
    };
    reader.finish(&section, emqx::DASHBOARD_HTTP);
    let (item, bind) = bind?;
    check(reader, &item, &bind, listeners);
    let max_connections =
        max.map_or(MAX_HTTP_CONNECTIONS, |n| usize::try_from(n).expect("the range ends within 16 bits"));
    Some(HttpListener { bind, max_connections })
}

fn check(reader: &mut Reader<'_>, item: &Item<'_>, bind: &Spanned<std::net::SocketAddr>, listeners: &[Listener]) {
    if let Some(taken) = super::listener::taken(bind.value, listeners) {
        let text = format!("{} is taken by `{}` at {}", bind.value, taken.id, taken.bind.at);
        reader.wrong(item, text, Some("give one of them another port"));
    }
    if !bind.value.ip().is_loopback() {
        let text = "metrics can be read without a password by anyone who can reach this address: names of listeners, \
                    namespaces, bundles and plugins are among them";
        let hint = "bind it to 127.0.0.1, or let a firewall admit those alone who are to see them";
        reader.warn(item.node.at, &item.path, text, Some(hint));
    }
}

pub(super) fn sys_topics(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<SysTopics> {
    let mut section = reader.section(item)?;
    let mut sys = SysTopics::default();
    if let Some(item) = section.take("sys_msg_interval") {
        sys.msg_interval = interval(reader, &item);
    }
    if let Some(item) = section.take("sys_heartbeat_interval") {
        sys.heartbeat_interval = interval(reader, &item);
    }
    if let Some(item) = section.take("sys_event_messages")
        && let Some(mut events) = reader.section(&item)
    {
        let mut event = |key| events.take(key).and_then(|item| reader.boolean(&item)).unwrap_or(false);
        (sys.client_connected, sys.client_disconnected) = (event("client_connected"), event("client_disconnected"));
        reader.finish(&events, emqx::SYS_EVENT_MESSAGES);
    }
    reader.finish(&section, &[]);
    Some(sys)
}

/// A time, or `disabled`.
fn interval(reader: &mut Reader<'_>, item: &Item<'_>) -> Option<Duration> {
    if matches!(&item.node.value, Value::Text(text) if text == "disabled") {
        return None;
    }
    reader.duration(item, INTERVALS.0, INTERVALS.1)
}
