//! Keys that EMQX knows and this version of Postern does not act on.
//!
//! A key of them is accepted where what it says is what Postern does anyway, and refused otherwise: a setting that
//! is silently ignored is worse than one that is missing.

/// A key of EMQX.
pub(crate) struct Foreign {
    pub(crate) key: &'static str,
    pub(crate) same: Same,
    /// Why other values are refused, and what to do instead; none where it may be there one day.
    pub(crate) instead: Option<(&'static str, &'static str)>,
}

/// What is accepted.
#[derive(Clone, Copy)]
pub(crate) enum Same {
    /// Nothing.
    Never,
    /// These values, silently.
    When(&'static [&'static str]),
    /// Everything, with a warning that says why it has no effect.
    Any(&'static str),
}

const fn never(key: &'static str) -> Foreign {
    Foreign { key, same: Same::Never, instead: None }
}

const fn when(key: &'static str, values: &'static [&'static str]) -> Foreign {
    Foreign { key, same: Same::When(values), instead: None }
}

const fn any(key: &'static str, why: &'static str) -> Foreign {
    Foreign { key, same: Same::Any(why), instead: None }
}

impl Foreign {
    /// It never will be there.
    const fn instead(mut self, why: &'static str, hint: &'static str) -> Self {
        self.instead = Some((why, hint));
        self
    }
}

/// Switches that are off here.
const OFF: &[&str] = &["false"];
const ON: &[&str] = &["true"];
const NO_LIMIT: &[&str] = &["infinity"];
const DURABLE: &str = "it tunes EMQX's own storage of sessions";
const ERLANG: &str = "it tunes the Erlang runtime";

/// `listeners.TYPE.NAME`, apart from `tcp_options` and `ssl_options`.
pub(crate) const LISTENER: &[Foreign] = &[
    any("acceptors", "Postern accepts with one task for each listener"),
    when("zone", &["default"]),
    when("allow_log_packet_data_from", &[""]),
    any("parse_unit", ERLANG),
    any("tcp_backend", ERLANG),
    when("delivery_messages_rate", NO_LIMIT),
    when("delivery_messages_burst", NO_LIMIT),
    when("delivery_bytes_rate", NO_LIMIT),
    when("delivery_bytes_burst", NO_LIMIT),
    when("subscribes_rate", NO_LIMIT),
    when("subscribes_burst", NO_LIMIT),
];

/// `websocket` of a listener.
pub(crate) const WEBSOCKET: &[Foreign] = &[
    when("mqtt_piggyback", &["multiple"]),
    when("compress", OFF),
    any("deflate_opts", "`compress` is off"),
    any("validate_utf8", "text frames end a connection (MQTT 5.0, section 6.0)"),
    // Any client can write these headers; addresses come from the PROXY protocol or from the socket.
    when("proxy_address_header", &[""]),
    when("proxy_port_header", &[""]),
];

/// `tcp_options` of a listener.
pub(crate) const TCP_OPTIONS: &[Foreign] = &[
    any("active_n", ERLANG),
    when("send_timeout_close", ON),
    any("buffer", ERLANG),
    any("high_watermark", ERLANG),
    when("nolinger", OFF),
];

/// `ssl_options` of a listener, apart from `ocsp`.
pub(crate) const SSL_OPTIONS: &[Foreign] = &[
    when("cacerts", OFF).instead("the CAs of the operating system are never trusted for clients", "write `cacertfile`"),
    when("client_renegotiation", OFF)
        .instead("no TLS session is ever renegotiated; TLS 1.3 has nothing of the kind", "write `false`, or remove it"),
    when("secure_renegotiate", ON).instead(
        "there is no renegotiation, and the extension that secures it (RFC 5746) is always answered",
        "write `true`, or remove it",
    ),
    any("hibernate_after", ERLANG),
    when("gc_after_handshake", OFF),
    never("dhfile").instead(
        "Diffie-Hellman over finite fields is not spoken: key exchange is by elliptic curves and ML-KEM",
        "remove it; the groups stand in `groups`",
    ),
    never("user_lookup_fun").instead(
        "TLS with pre-shared keys is not spoken",
        "remove it; clients show a certificate (`verify = verify_peer`), or a proof of their password (`mechanism = scram`)",
    ),
    any("log_level", "the level of all logs is `log.level`"),
];

/// `crl_cache`
pub(crate) const CRL_CACHE: &[Foreign] = &[any(
    "failure_threshold",
    "an address that fails is asked again until it answers, and what it gave before counts until its end",
)];

/// `mqtt`
pub(crate) const MQTT: &[Foreign] = &[
    when("shared_subscription_strategy", &["round_robin_per_group"]),
    never("shared_subscription_initial_sticky_pick"),
    when("exclusive_subscription", OFF),
    when("strict_mode", ON),
    any("keepalive_check_interval", "each connection has a timer of its own"),
    // MQTT-4.4.0-1: messages are sent again on a new connection alone.
    when("retry_interval", &["infinity"]),
    when("mqueue_priorities", &["disabled"]),
    any("mqueue_default_priority", "`mqueue_priorities` is disabled"),
    when("client_attrs_init", &["[]"]),
    when("clientid_override", &["disabled"]),
    when("namespace_as_mountpoint", OFF),
];

/// `multi_tenancy`
pub(crate) const MULTI_TENANCY: &[Foreign] = &[
    // A namespace is one that the operator gave to a listener; there are no others.
    when("allow_only_managed_namespaces", ON),
];

/// A tenant of `multi_tenancy`: as EMQX's HTTP API has it.
pub(crate) const TENANT: &[Foreign] = &[never("limiter"), never("session")];

/// `retainer`
pub(crate) const RETAINER: &[Foreign] = &[
    any("msg_clear_interval", "what has expired goes at once"),
    when("msg_expiry_interval_override", &["disabled"]),
    when("allow_never_expire", ON),
    any("flow_control", "what a SUBSCRIBE gets is bounded by the client's queue"),
    when("deliver_rate", NO_LIMIT),
    when("delivery_rate", NO_LIMIT),
    when("max_publish_rate", NO_LIMIT),
    when("stop_publish_clear_msg", OFF),
];

/// `backend` of `retainer`
pub(crate) const RETAINER_BACKEND: &[Foreign] = &[
    when("type", &["built_in_database"]),
    when("enable", ON),
    any("index_specs", "retained messages are found through a tree of topics"),
];

/// `durable_sessions`
pub(crate) const DURABLE_SESSIONS: &[Foreign] = &[
    any("batch_size", DURABLE),
    any("commit_timeout", DURABLE),
    any("idle_poll_interval", DURABLE),
    any("heartbeat_interval", DURABLE),
    any("checkpoint_interval", DURABLE),
    any("session_gc_interval", DURABLE),
    any("session_gc_batch_size", DURABLE),
    any("message_retention_period", "a message is kept as long as a session waits for it"),
    any("disconnected_session_count_refresh_interval", DURABLE),
    any("subscription_count_refresh_interval", DURABLE),
];

/// `node`
pub(crate) const NODE: &[Foreign] = &[
    any("cookie", ERLANG),
    any("process_limit", ERLANG),
    any("max_ports", ERLANG),
    any("dist_buffer_size", ERLANG),
    any("global_gc_interval", ERLANG),
    any("crash_dump_file", ERLANG),
    any("crash_dump_seconds", ERLANG),
    any("crash_dump_bytes", ERLANG),
    any("dist_net_ticktime", ERLANG),
    any("rpc_module", ERLANG),
    when("role", &["core"]),
    never("db_backend"),
    never("default_listener_address"),
    any("tls_stateless_tickets_seed", "each process seals tickets with random keys of its own and replaces them"),
];

/// `log`
pub(crate) const LOG: &[Foreign] = &[
    never("console"),
    never("file"),
    never("audit"),
    never("throttling"),
    never("console_handler"),
    never("file_handlers"),
];

/// `plugins`
pub(crate) const PLUGINS: &[Foreign] = &[never("install_dir"), never("states"), never("check_interval")];

/// An entry of `authentication`.
pub(crate) const AUTHENTICATION: &[Foreign] = &[never("precondition")];

/// A user of `authentication`.
pub(crate) const USER: &[Foreign] = &[never("salt"), never("password"), when("is_superuser", OFF)];

/// Mechanisms and backends of `authentication`.
pub(crate) const MECHANISMS: &[&str] = &["jwt", "cinfo", "gssapi"];
pub(crate) const BACKENDS: &[&str] = &["mysql", "postgresql", "mongodb", "redis", "http", "ldap", "kerberos"];

/// `authorization`
pub(crate) const AUTHORIZATION: &[Foreign] = &[
    when("sources", &["[]"]),
    any("cache", "each decision is made anew, from memory"),
    when("include_mountpoint", OFF),
];

/// `dashboard`: there is nobody to log in yet.
pub(crate) const DASHBOARD: &[Foreign] = &[
    never("default_username"),
    never("default_password"),
    never("bootstrap_users_file"),
    never("token_expired_time"),
    never("password_expired_time"),
    never("unsuccessful_login_max_attempts"),
    never("unsuccessful_login_lock_duration"),
    never("unsuccessful_login_interval"),
    never("force_mfa"),
    never("sso"),
    when("cors", OFF),
    when("swagger_support", OFF),
    never("i18n_lang"),
    never("sample_interval"),
    never("hwmark_expire_time"),
];

/// `dashboard.listeners`
pub(crate) const DASHBOARD_LISTENERS: &[Foreign] = &[never("https")];

/// `dashboard.listeners.http`
pub(crate) const DASHBOARD_HTTP: &[Foreign] = &[
    any("num_acceptors", "Postern accepts with one task for each listener"),
    never("backlog"),
    never("send_timeout"),
    when("inet6", OFF),
    when("ipv6_v6only", OFF),
    when("proxy_header", OFF),
];

/// `sys_topics.sys_event_messages`
pub(crate) const SYS_EVENT_MESSAGES: &[Foreign] = &[when("client_subscribed", OFF), when("client_unsubscribed", OFF)];

/// The whole configuration.
pub(crate) const ROOT: &[Foreign] = &[
    never("actions"),
    never("alarm"),
    never("api_key"),
    never("auto_subscribe"),
    never("bridges"),
    never("broker"),
    never("cluster"),
    never("conn_congestion"),
    never("connectors"),
    never("delayed"),
    never("durable_storage"),
    never("exhook"),
    never("flapping_detect"),
    never("force_gc"),
    never("force_shutdown"),
    never("gateway"),
    never("license"),
    never("limiter"),
    never("opentelemetry"),
    never("prometheus"),
    never("psk_authentication"),
    never("rewrite"),
    never("rpc"),
    never("rule_engine"),
    never("security_profile"),
    never("slow_subs"),
    never("sysmon"),
    never("telemetry"),
    never("zones"),
];

/// Types of listeners that EMQX has.
pub(crate) const LISTENERS: &[&str] = &["quic"];
