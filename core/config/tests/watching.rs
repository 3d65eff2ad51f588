//! `dashboard` and `sys_topics`.

mod support;

use std::time::Duration;

use postern_config::SysTopics;
use support::{bad, good, lines};

const LISTENER: &str = "listeners.tcp.a.bind = \"127.0.0.1:1883\"\n";

fn http(text: &str) -> Option<postern_config::HttpListener> {
    good(&format!("{LISTENER}{text}")).config.dashboard.http
}

#[test]
fn the_management_address_is_opened_only_where_it_is_written() {
    assert_eq!(http(""), None);
    assert_eq!(http("dashboard {}"), None);
    assert_eq!(http("dashboard.listeners.http {}"), None);
    assert_eq!(http("dashboard.listeners.http.bind = 0"), None, "as in EMQX");
}

#[test]
fn a_port_alone_is_this_machines_own() {
    for (text, address) in [
        ("18083", "127.0.0.1:18083"),
        ("\":18083\"", "127.0.0.1:18083"),
        ("\"127.0.0.1:0\"", "127.0.0.1:0"),
        ("\"[::1]:18083\"", "[::1]:18083"),
    ] {
        let loaded = good(&format!("{LISTENER}dashboard.listeners.http.bind = {text}"));
        let http = loaded.config.dashboard.http.expect(text);
        assert_eq!(http.bind.value.to_string(), address);
        assert!(!lines(&loaded.warnings).contains("dashboard"), "{}", lines(&loaded.warnings));
    }
}

#[test]
fn an_address_that_others_can_reach_is_warned_of() {
    let loaded = good(&format!("{LISTENER}dashboard.listeners.http.bind = \"0.0.0.0:18083\""));
    let said = lines(&loaded.warnings);
    assert!(
        said.contains("postern.conf:2:33: dashboard.listeners.http.bind: metrics can be read without a password"),
        "{said}"
    );
}

#[test]
fn an_address_that_is_taken_or_none_is_refused() {
    let said = lines(&bad(&format!("{LISTENER}dashboard.listeners.http.bind = 1883")));
    assert!(said.contains("127.0.0.1:1883 is taken by `tcp:a` at etc/postern.conf:1:"), "{said}");
    for wrong in ["70000", "here", "\"127.0.0.1\""] {
        let said = lines(&bad(&format!("{LISTENER}dashboard.listeners.http.bind = {wrong}")));
        assert!(said.contains("is no address to listen on"), "{said}");
    }
    bad(&format!("{LISTENER}dashboard.listeners.http {{ bind = 1, max_connections = 0 }}"));
}

#[test]
fn figures_are_told_each_minute_and_events_are_not_unless_it_is_said() {
    let sys = |text: &str| good(&format!("{LISTENER}{text}")).config.sys_topics;
    let minute = SysTopics {
        msg_interval: Some(Duration::from_mins(1)),
        heartbeat_interval: Some(Duration::from_secs(30)),
        client_connected: false,
        client_disconnected: false,
    };
    assert_eq!(sys(""), minute);
    let other = "sys_topics { sys_msg_interval = disabled, sys_heartbeat_interval = 5s\n\
                 sys_event_messages { client_connected = true } }";
    let expect = SysTopics {
        msg_interval: None,
        heartbeat_interval: Some(Duration::from_secs(5)),
        client_connected: true,
        client_disconnected: false,
    };
    assert_eq!(sys(other), expect);
    for wrong in
        ["sys_msg_interval = 10ms", "sys_heartbeat_interval = never", "sys_event_messages.client_connected = 1s"]
    {
        bad(&format!("{LISTENER}sys_topics {{ {wrong} }}"));
    }
}
