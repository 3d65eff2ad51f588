//! One log line for each connection that came in, was refused or ended.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use postern_identity::{BundleRef, DnsName, Namespace, Peer, PluginName, Refusal};
use postern_realm::Dropped;

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
    pub(crate) tls_version: Option<rustls::ProtocolVersion>,
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
            tls_version: None,
        }
    }

    /// The client is in.
    pub(crate) fn admitted(&self, username: Option<&str>, client_id: &str, version: &str) {
        tracing::info!(
            connection = self.peer.connection,
            listener = %self.peer.listener,
            peer = %self.peer.address,
            server_name = self.server_name.as_ref().map(tracing::field::display),
            namespace = %self.namespace,
            namespace_by = self.namespace_by.as_ref().map(tracing::field::display),
            bundle = self.bundle.as_ref().map(tracing::field::display),
            bundle_by = self.bundle_by.as_ref().map(tracing::field::display),
            identity_by = self.identity_by.as_ref().map(tracing::field::display),
            username = username.map(|text| text.escape_debug().to_string()),
            client_id = client_id.escape_debug().to_string(),
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
            server_name = self.server_name.as_ref().map(tracing::field::display),
            namespace = %self.namespace,
            at = refusal.at.label(),
            why = refusal.why.label(),
            detail = refusal.detail.as_str(),
            by = refusal.by.as_ref().map(tracing::field::display),
            "refused"
        );
    }
}

/// Lets so many refusals of a listener into the log each second and counts the others, so that a flood
/// of hopeless connections cannot fill a disk.
pub(crate) struct RefusalLog {
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    written: u32,
    left_out: u64,
}

impl RefusalLog {
    /// Lines a second and listener.
    const LINES_PER_SECOND: u32 = 100;

    pub(crate) fn new() -> Self {
        Self { window: Mutex::new(Window { began: Instant::now(), written: 0, left_out: 0 }) }
    }

    /// Whether one more line may be written now.
    pub(crate) fn permit(&self, now: Instant) -> bool {
        let Ok(mut window) = self.window.lock() else { return false };
        if now.duration_since(window.began) >= Duration::from_secs(1) {
            if window.left_out > 0 {
                tracing::warn!(left_out = window.left_out, "refusals left out of the log: too many in a second");
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

/// Tells of messages that a realm lost for want of room: at once, and then at most every ten seconds.
pub(crate) struct LossLog {
    namespace: Namespace,
    told: Dropped,
    quiet_until: Option<Instant>,
}

impl LossLog {
    const PAUSE: Duration = Duration::from_secs(10);

    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { namespace, told: Dropped::default(), quiet_until: None }
    }

    /// Returns whether there was something to tell and it was told.
    pub(crate) fn tell(&mut self, dropped: Dropped, now: Instant) -> bool {
        let queue_full = dropped.queue_full - self.told.queue_full;
        let retained_full = dropped.retained_full - self.told.retained_full;
        let replay_cut = dropped.replay_cut - self.told.replay_cut;
        let nothing = queue_full == 0 && retained_full == 0 && replay_cut == 0;
        if nothing || self.quiet_until.is_some_and(|until| now < until) {
            return false;
        }
        self.told = dropped;
        self.quiet_until = Some(now + Self::PAUSE);
        tracing::warn!(
            namespace = %self.namespace,
            queue_full,
            retained_full,
            replay_cut,
            "messages were dropped: subscribers are slower than publishers (mqtt.max_mqueue_len), or a limit of \
             retained messages was reached"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_at_once_and_then_with_pauses_and_none_is_left_out() {
        let mut log = LossLog::new(Namespace::Global);
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
        let log = RefusalLog::new();
        let now = Instant::now();
        let written = (0..1_000).filter(|_| log.permit(now)).count();
        assert_eq!(written, RefusalLog::LINES_PER_SECOND as usize);
        assert!(log.permit(now + Duration::from_secs(1)));
    }
}
