//! What of a new configuration is in force at once, and what waits for the next start.

use postern_config::{Config, Listener};
use postern_identity::ListenerId;

use crate::stage::tenants_of;

/// The configuration to serve by: what cannot change while the broker runs is that of its start, listeners that are
/// open stay. And one sentence for each thing that waits.
pub(super) fn in_force(started: &Config, running: &Config, wanted: Config) -> (Config, Vec<String>) {
    let mut later = Vec::new();
    let mut waits = |differs: bool, what: &str| {
        if differs {
            later.push(format!("{what}: the change takes effect at the next start"));
        }
    };
    waits(started.node != wanted.node, "node");
    waits(started.log != wanted.log, "log");
    waits(started.durable_sessions != wanted.durable_sessions, "durable_sessions");
    waits(started.retainer.storage != wanted.retainer.storage, "retainer.backend.storage_type");
    waits(started.dashboard != wanted.dashboard, "dashboard");
    waits(started.sys_topics != wanted.sys_topics, "sys_topics");
    let tenants = tenants_of(started) != tenants_of(&wanted);
    waits(tenants, "limits of sessions, retained messages and tenants (mqtt, retainer, multi_tenancy)");
    let is_open = |id: &ListenerId| started.listeners.iter().any(|listener| listener.enable && listener.id == *id);
    for listener in wanted.listeners.iter().filter(|listener| listener.enable && !is_open(&listener.id)) {
        later.push(format!("{}: {} is opened at the next start", listener.at, shown(listener)));
    }
    let mut listeners = Vec::new();
    for open in started.listeners.iter().filter(|listener| listener.enable) {
        match wanted.listeners.iter().find(|listener| listener.id == open.id) {
            Some(listener) if listener.enable => {
                later.extend(socket_waits(open, listener));
                listeners.push(listener.clone());
            }
            gone => {
                let at = gone.map(|listener| format!("{}: ", listener.at)).unwrap_or_default();
                later.push(format!("{at}{} is closed at the next start; until then it serves as before", shown(open)));
                listeners.extend(running.listeners.iter().find(|listener| listener.id == open.id).cloned());
            }
        }
    }
    let config = Config {
        node: started.node.clone(),
        log: started.log,
        durable_sessions: started.durable_sessions,
        dashboard: started.dashboard.clone(),
        sys_topics: started.sys_topics,
        listeners,
        ..wanted
    };
    (config, later)
}

/// What belongs to the socket that listens.
fn socket_waits(open: &Listener, wanted: &Listener) -> Option<String> {
    let tcp = |listener: &Listener| {
        let options = listener.tcp_options;
        (options.backlog, options.reuseaddr, options.recbuf, options.sndbuf)
    };
    let mut keys = Vec::new();
    if open.bind.value != wanted.bind.value {
        keys.push("bind");
    }
    if tcp(open) != tcp(wanted) {
        keys.push("tcp_options (backlog, reuseaddr, recbuf, sndbuf)");
    }
    let keys = keys.join(" and ");
    (!keys.is_empty())
        .then(|| format!("{}: {}.{keys}: the change takes effect at the next start", wanted.at, shown(wanted)))
}

fn shown(listener: &Listener) -> String {
    format!("listeners.{}.{}", listener.kind.word(), listener.name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Config {
        let include = &mut |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        postern_config::load(Path::new("c"), text, &[], include).unwrap().config
    }

    const START: &str = "listeners.tcp { a { bind = 1 }, b { bind = 2 } }\n";

    #[test]
    fn what_holds_for_each_connection_is_in_force_at_once() {
        let started = read(START);
        let wanted = read(&format!(
            "{START} listeners.tcp.a {{ max_connections = 5, access_rules = [\"deny all\"] }}\n mqtt.idle_timeout = 3s"
        ));
        let (config, later) = in_force(&started, &started, wanted);
        assert_eq!(later, Vec::<String>::new());
        assert_eq!(config.listeners[0].max_connections, Some(5));
        assert_eq!(config.mqtt.idle_timeout.as_secs(), 3);
    }

    #[test]
    fn what_needs_a_start_is_said_once_each_and_each_time() {
        let started = read(START);
        let text = "node.name = other\n log.level = debug\n durable_sessions.enable = false\n mqtt.max_mqueue_len = 7\n\
                    sys_topics.sys_msg_interval = 9s\n retainer.backend.storage_type = ram\n\
                    listeners.tcp { a { bind = 3, tcp_options.backlog = 9, max_connections = 5 }, c { bind = 4 } }";
        let (config, later) = in_force(&started, &started, read(text));
        let told = |what: &str| later.iter().filter(|line| line.contains(what)).count();
        for what in ["node:", "log:", "durable_sessions:", "sys_topics:", "retainer.backend.storage_type:"] {
            assert_eq!(told(what), 1, "{what}: {later:?}");
        }
        assert_eq!(told("limits of sessions"), 1, "{later:?}");
        assert_eq!(told("listeners.tcp.a.bind and tcp_options"), 1, "{later:?}");
        assert_eq!(told("listeners.tcp.b is closed at the next start"), 1, "{later:?}");
        assert_eq!(told("listeners.tcp.c is opened at the next start"), 1, "{later:?}");
        assert_eq!(later.len(), 9, "{later:?}");
        assert_eq!((&config.node, config.log), (&started.node, started.log));
        let names: Vec<_> = config.listeners.iter().map(|listener| &*listener.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(config.listeners[0].max_connections, Some(5), "the rest of the listener is in force");
        let (_, again) = in_force(&started, &config, read(text));
        assert_eq!(again, later);
    }
}
