//! One log line for each connection that came in, was refused or ended.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postern_identity::{BundleRef, DnsName, ListenerId, Namespace, Peer, PluginName, Refusal, TlsSession};
use postern_mqtt::ReasonCode;
use postern_mqtt::packet::{Connect, Version};
use postern_realm::Dropped;
use postern_tls::Reason;

use crate::drive::storage::News;
use crate::revalidation::Invalid;

/// What has been decided about a connection so far, and by whom.
pub(crate) struct Story {
    pub(crate) peer: Peer,
    pub(crate) server_name: Option<DnsName>,
    pub(crate) namespace: Namespace,
    pub(crate) namespace_by: Option<PluginName>,
    pub(crate) bundle: Option<BundleRef>,
    pub(crate) bundle_by: Option<PluginName>,
    pub(crate) identity_by: Option<PluginName>,
    /// What the TLS handshake agreed on.
    pub(crate) tls: Option<TlsSession>,
    /// What the CONNECT says, once it is there.
    pub(crate) client_id: Option<Arc<str>>,
    /// Why the TLS handshake failed, if it did.
    pub(crate) reason: Option<Reason>,
}

impl Story {
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer,
            server_name: None,
            namespace: Namespace::Global,
            namespace_by: None,
            bundle: None,
            bundle_by: None,
            identity_by: None,
            tls: None,
            client_id: None,
            reason: None,
        }
    }

    /// Said where it is so.
    fn resumed(&self) -> Option<bool> {
        self.tls.and_then(|tls| tls.resumed.then_some(true))
    }

    /// The client is in.
    pub(crate) fn admitted(&self, username: Option<&str>, client_id: &str, version: &str) {
        tracing::info!(
            connection = self.peer.connection,
            listener = %self.peer.listener,
            peer = %self.peer.address,
            tls = self.tls.map(|tls| tls.version),
            resumed = self.resumed(),
            server_name = self.server_name.as_ref().map(tracing::field::display),
            namespace = %self.namespace,
            namespace_by = self.namespace_by.as_ref().map(tracing::field::display),
            bundle = self.bundle.as_ref().map(tracing::field::display),
            bundle_by = self.bundle_by.as_ref().map(tracing::field::display),
            identity_by = self.identity_by.as_ref().map(tracing::field::display),
            client_id = Refusal::foreign(client_id),
            username = username.map(Refusal::foreign),
            version,
            "admitted"
        );
    }

    /// The client is not.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        tracing::info!(
            connection = self.peer.connection,
            listener = %self.peer.listener,
            peer = %self.peer.address,
            resumed = self.resumed(),
            server_name = self.server_name.as_ref().map(tracing::field::display),
            namespace = %self.namespace,
            client_id = self.client_id.as_deref().filter(|id| !id.is_empty()).map(Refusal::foreign),
            at = refusal.at.label(),
            why = refusal.why.label(),
            reason = self.reason.map(Reason::label),
            detail = refusal.detail.as_str(),
            by = refusal.by.as_ref().map(tracing::field::display),
            "refused"
        );
    }
}

/// Who an admitted connection is, for every line of the log that concerns it.
pub(crate) struct Who {
    pub(crate) connection: u64,
    listener: ListenerId,
    peer: SocketAddr,
    local_port: u16,
    pub(crate) namespace: Namespace,
    pub(crate) client_id: Arc<str>,
    username: Option<Arc<str>>,
    version: Version,
    keep_alive_s: u16,
    clean_start: bool,
    session_expiry_s: u32,
    since: SystemTime,
}

/// One line about a connection with who it is.
macro_rules! tell {
    ($level:ident, $who:expr, $($rest:tt)*) => {
        tracing::$level!(
            connection = $who.connection,
            listener = %$who.listener,
            peer = %$who.peer,
            namespace = %$who.namespace,
            client_id = Refusal::foreign(&$who.client_id),
            username = $who.username.as_deref().map(Refusal::foreign),
            $($rest)*
        )
    };
}

impl Who {
    /// `username` is the one that counts.
    pub(crate) fn new(story: Story, connect: &Connect, username: Option<Arc<str>>) -> Self {
        let Story { peer, namespace, .. } = story;
        Self {
            connection: peer.connection,
            listener: peer.listener,
            peer: peer.address,
            local_port: peer.local_port,
            namespace,
            client_id: Arc::clone(&connect.client_id),
            username,
            version: connect.version,
            keep_alive_s: connect.keep_alive,
            clean_start: connect.clean_start,
            session_expiry_s: connect.session_expiry.unwrap_or(0),
            since: SystemTime::now(),
        }
    }

    /// The connection is over.
    pub(crate) fn closed(&self, reason: &str) {
        tell!(info, self, reason, "closed");
    }

    /// The client may not stay, by its certificate of this subject or by its identity.
    pub(crate) fn revoked(&self, subject: Option<&str>, invalid: &Invalid) {
        tell!(warn, self, subject, reason = invalid.reason, detail = invalid.detail, "no longer valid");
    }

    /// A fault of the broker.
    pub(crate) fn lost_realm(&self) {
        tell!(error, self, "the realm is gone");
    }

    /// As EMQX tells of a client.
    pub(crate) fn to_json(&self, now_ms: u64) -> serde_json::Value {
        let since = self.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        serde_json::json!({
            "clientid": &*self.client_id,
            "username": self.username.as_deref(),
            "ipaddress": self.peer.ip().to_string(),
            "sockport": self.local_port,
            "protocol": "mqtt",
            "proto_name": "MQTT",
            "proto_ver": self.version.level(),
            "keepalive": self.keep_alive_s,
            "clean_start": self.clean_start,
            "expiry_interval": self.session_expiry_s,
            "connected_at": u64::try_from(since).unwrap_or(u64::MAX),
            "ts": now_ms,
        })
    }
}

/// Lets so many refusals of a listener or realm into the log each second and counts the others, so that a flood
/// of hopeless connections cannot fill a disk.
pub(crate) struct RefusalLog {
    /// The listener or namespace.
    of: String,
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    written: u32,
    left_out: u64,
}

impl RefusalLog {
    /// Lines a second.
    const LINES_PER_SECOND: u32 = 100;

    pub(crate) fn new(of: String) -> Self {
        Self { of, window: Mutex::new(Window { began: Instant::now(), written: 0, left_out: 0 }) }
    }

    /// Whether one more line may be written now.
    pub(crate) fn permit(&self, now: Instant) -> bool {
        let Ok(mut window) = self.window.lock() else { return false };
        if now.duration_since(window.began) >= Duration::from_secs(1) {
            if window.left_out > 0 {
                tracing::warn!(
                    of = self.of,
                    left_out = window.left_out,
                    "refusals left out of the log: too many in a second"
                );
            }
            *window = Window { began: now, written: 0, left_out: 0 };
        }
        if window.written < Self::LINES_PER_SECOND {
            window.written += 1;
            return true;
        }
        window.left_out += 1;
        false
    }
}

/// For a line that would come again and again: at once, and then at most every ten seconds.
#[derive(Default)]
pub(crate) struct Pauses {
    quiet_until: Option<Instant>,
}

impl Pauses {
    const PAUSE: Duration = Duration::from_secs(10);

    /// Whether the line may be written now.
    pub(crate) fn permit(&mut self, now: Instant) -> bool {
        let permitted = self.quiet_until.is_none_or(|until| now >= until);
        if permitted {
            self.quiet_until = Some(now + Self::PAUSE);
        }
        permitted
    }
}

/// What the log is told of a realm: requests that it refused, as far as there is room for them, and, with pauses,
/// messages that it lost for want of room.
pub(crate) struct RealmLog {
    namespace: Namespace,
    refusals: RefusalLog,
    told: Dropped,
    pauses: Pauses,
    /// It has been said that the realm cannot keep what it must.
    is_broken: bool,
}

impl RealmLog {
    pub(crate) fn new(namespace: Namespace) -> Self {
        let refusals = RefusalLog::new(namespace.to_string());
        Self { namespace, refusals, told: Dropped::default(), pauses: Pauses::default(), is_broken: false }
    }

    /// What is new of the disk; one line for each change.
    pub(crate) fn storage(&self, news: &News) {
        let namespace = &self.namespace;
        match news {
            News::Nothing => {}
            News::Full(error) => {
                tracing::error!(%namespace, %error, "no room: what must survive is refused until there is, the rest goes on");
            }
            News::Room => tracing::info!(%namespace, "there is room again: what must survive is taken on"),
        }
    }

    /// The realm cannot keep what it must; said once until it is back.
    pub(crate) fn broken(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_broken, true) {
            tracing::error!(
                namespace = %self.namespace,
                error,
                "the realm cannot keep what it must: its clients are sent away until it can"
            );
        }
    }

    /// The realm has all that was kept.
    pub(crate) fn revived(&mut self) {
        if std::mem::take(&mut self.is_broken) {
            tracing::info!(namespace = %self.namespace, "the realm is back, with what was kept of it");
        }
    }

    /// `about` is the topic or filter.
    pub(crate) fn refused(&self, who: &Who, request: &str, about: Option<&str>, reason: ReasonCode) {
        if self.refusals.permit(Instant::now()) {
            let topic = about.map(Refusal::foreign);
            tell!(info, who, request, topic, reason = reason.label(), "request refused");
        }
    }

    /// Returns whether there was something to tell and it was told.
    pub(crate) fn tell(&mut self, dropped: Dropped, now: Instant) -> bool {
        let queue_full = dropped.queue_full - self.told.queue_full;
        let retained_full = dropped.retained_full - self.told.retained_full;
        let slow_consumer = dropped.slow_consumer - self.told.slow_consumer;
        let nothing = queue_full == 0 && retained_full == 0 && slow_consumer == 0;
        if nothing || !self.pauses.permit(now) {
            return false;
        }
        self.told = dropped;
        tracing::warn!(
            namespace = %self.namespace,
            queue_full,
            retained_full,
            slow_consumer,
            "messages were dropped: subscribers are slower than publishers (queue_full: mqtt.max_mqueue_len; \
             slow_consumer: QoS 0, which does not wait), or a limit of retained messages was reached"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_at_once_and_then_with_pauses_and_none_is_left_out() {
        let mut log = RealmLog::new(Namespace::Global);
        let now = Instant::now();
        let lost = |queue_full| Dropped { queue_full, ..Dropped::default() };
        assert!(!log.tell(lost(0), now));
        assert!(log.tell(lost(3), now));
        assert!(!log.tell(lost(9), now + Duration::from_secs(9)));
        assert!(log.tell(lost(9), now + Duration::from_secs(10)));
        assert!(!log.tell(lost(9), now + Duration::from_mins(1)), "told once");
    }

    #[test]
    fn a_flood_of_refusals_is_cut_to_the_rate_and_goes_on_a_second_later() {
        let log = RefusalLog::new("tcp:a".to_owned());
        let now = Instant::now();
        let written = (0..1_000).filter(|_| log.permit(now)).count();
        assert_eq!(written, RefusalLog::LINES_PER_SECOND as usize);
        assert!(log.permit(now + Duration::from_secs(1)));
    }
}
