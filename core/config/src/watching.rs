//! How an operator watches the broker: the management address, and what is told under `$SYS`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::problem::Spanned;

/// `dashboard`: what is served over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dashboard {
    /// `dashboard.listeners.http`; none where it is not opened.
    pub http: Option<HttpListener>,
}

/// The management address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpListener {
    /// The address to listen on; port 0 is any free one.
    pub bind: Spanned<SocketAddr>,
    /// Connections at the same time; one more waits to be accepted.
    pub max_connections: usize,
}

/// `sys_topics`: what each namespace is told of itself under `$SYS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SysTopics {
    /// `sys_msg_interval`: between two tellings of the figures; none where they are not told.
    pub msg_interval: Option<Duration>,
    /// `sys_heartbeat_interval`: between two tellings of the uptime and the time of day; none where they are not told.
    pub heartbeat_interval: Option<Duration>,
    /// `sys_event_messages.client_connected`: whether each client that enters is told of.
    pub client_connected: bool,
    /// `sys_event_messages.client_disconnected`: whether the end of each client's connection is told of.
    pub client_disconnected: bool,
}

impl Default for SysTopics {
    fn default() -> Self {
        Self {
            msg_interval: Some(Duration::from_mins(1)),
            heartbeat_interval: Some(Duration::from_secs(30)),
            client_connected: false,
            client_disconnected: false,
        }
    }
}
