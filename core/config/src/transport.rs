//! What a listener's connections come by: the part of the model beside TLS and MQTT.

use std::time::Duration;

/// `websocket` of a `ws` or `wss` listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocket {
    /// `mqtt_path`: the only path that is served. Begins with `/`.
    pub mqtt_path: String,
    /// `supported_subprotocols`: the names that a client may offer. Never empty.
    pub subprotocols: Vec<String>,
    /// `fail_if_no_subprotocol`: whether a client must offer one.
    pub subprotocol_required: bool,
    /// `max_frame_size`: the longest frame, and the longest message of several frames, in bytes.
    pub max_frame_bytes: u32,
    /// `idle_timeout`: a client that sends no frame for so long is cut off.
    pub idle_timeout: Duration,
    /// `check_origin_enable` and its neighbours; none where the `Origin` header is not looked at.
    pub origins: Option<Origins>,
}

/// Which web pages may open a connection (RFC 6455, section 10.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    /// `check_origins`: in lower case, each `SCHEME://HOST` or `SCHEME://HOST:PORT`.
    pub allowed: Vec<String>,
    /// `allow_origin_absence`: whether a client that is no web page may come without one.
    pub absence_allowed: bool,
}
