//! What a connection meets before its first byte of TLS or MQTT: the PROXY header, access rules, limits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use postern_config::{ProxyTls, TcpOptions};
use postern_identity::{ListenerId, Proxied, Refusal, Stage, Why};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::admission::{Admission, ConnectionCount, ConnectionSlot, UnauthenticatedSlot};
use crate::intake::proxy::{self, Told};
use crate::metrics::ListenerMetrics;
use crate::policy::ListenerPolicy;
use crate::report::RefusalLog;

/// One open listener's own things.
pub(crate) struct Door {
    pub(crate) id: ListenerId,
    /// By what it serves now. A connection loads it once, when it is accepted.
    policy: ArcSwap<ListenerPolicy>,
    pub(crate) port: u16,
    pub(crate) refusals: RefusalLog,
    pub(crate) metrics: ListenerMetrics,
    count: Arc<ConnectionCount>,
}

/// What a connection holds that was let in so far.
pub(crate) struct Entry {
    pub(crate) connection: ConnectionSlot,
    /// None behind a proxy, whose header says whose the slot is.
    unauthenticated: Option<UnauthenticatedSlot>,
}

/// A connection whose client's address is known.
pub(crate) struct Located {
    pub(crate) address: SocketAddr,
    /// What the proxy in front says.
    pub(crate) proxied: Option<Arc<Proxied>>,
    pub(crate) connection: ConnectionSlot,
    pub(crate) unauthenticated: UnauthenticatedSlot,
}

impl Door {
    pub(crate) fn new(policy: ListenerPolicy, port: u16) -> Self {
        let (refusals, metrics, count) =
            (RefusalLog::new(policy.id.to_string()), ListenerMetrics::default(), Arc::default());
        judge_by_its_lists(&policy);
        Self { id: policy.id.clone(), policy: ArcSwap::from_pointee(policy), port, refusals, metrics, count }
    }

    /// By what it serves now.
    pub(crate) fn policy(&self) -> Arc<ListenerPolicy> {
        self.policy.load_full()
    }

    /// Serves new connections by this from now on; those that are in or on their way keep what they have.
    pub(crate) fn serve_by(&self, policy: ListenerPolicy) {
        judge_by_its_lists(&policy);
        self.policy.store(Arc::new(policy));
    }

    /// Connections that are in, or on their way.
    pub(crate) fn open_connections(&self) -> u64 {
        self.count.now() as u64
    }

    /// Decides before a byte is read; a refused socket is closed at once.
    pub(crate) fn open(
        &self,
        policy: &ListenerPolicy,
        admission: &Arc<Admission>,
        address: SocketAddr,
    ) -> Option<Entry> {
        self.enter(policy, admission, address).map_err(|refusal| self.report(address, &refusal)).ok()
    }

    fn enter(
        &self,
        policy: &ListenerPolicy,
        admission: &Arc<Admission>,
        address: SocketAddr,
    ) -> Result<Entry, Refusal> {
        match &policy.proxy {
            Some(proxy) if !proxy.trusted.iter().any(|network| network.contains(address.ip())) => {
                let detail = "the address is not among proxy_protocol_trusted";
                return Err(Refusal::new(Stage::Accept, Why::NotAllowed, detail));
            }
            Some(_) => {}
            None => check_rules(policy, address)?,
        }
        let full = || Refusal::new(Stage::Accept, Why::RateLimited, "the listener has max_connections already");
        let connection = self.count.enter(policy.max_connections).ok_or_else(full)?;
        let unauthenticated = match &policy.proxy {
            Some(_) => None,
            None => Some(take_slot(policy, admission, address)?),
        };
        Ok(Entry { connection, unauthenticated })
    }

    /// Whose connection it is: the socket's, or the one that the proxy's header names. Then the rules and
    /// limits hold for that address.
    pub(crate) async fn locate(
        &self,
        policy: &ListenerPolicy,
        socket: &mut TcpStream,
        (address, entry): (SocketAddr, Entry),
        admission: &Arc<Admission>,
    ) -> Option<Located> {
        let Entry { connection, unauthenticated } = entry;
        let (Some(settings), None) = (&policy.proxy, &unauthenticated) else {
            return unauthenticated.map(|slot| Located { address, proxied: None, connection, unauthenticated: slot });
        };
        let timeout = settings.timeout;
        let refuse = |why, detail| Refusal::new(Stage::Proxy, why, detail);
        let located = match tokio::time::timeout(timeout, proxy::read_header(socket)).await {
            Err(_) => Err(refuse(Why::TimedOut, format!("no PROXY header within {timeout:?}"))),
            Ok(Err(detail)) => Err(refuse(Why::Protocol, detail)),
            Ok(Ok(None)) => Ok((address, None)),
            Ok(Ok(Some(Told { source, authority, alpn, tls }))) => {
                let trusted = settings.tls != ProxyTls::Inform;
                Ok((source, Some(Arc::new(Proxied { proxy: address.ip(), trusted, authority, alpn, tls }))))
            }
        };
        match located {
            Err(refusal) => {
                self.report(address, &refusal);
                None
            }
            Ok((peer, proxied)) => {
                let slot = check_rules(policy, peer).and_then(|()| take_slot(policy, admission, peer));
                let unauthenticated = slot.map_err(|refusal| self.report(peer, &refusal)).ok()?;
                Some(Located { address: peer, proxied, connection, unauthenticated })
            }
        }
    }

    /// Counted, and one line as far as there is room for it.
    fn report(&self, peer: SocketAddr, refusal: &Refusal) {
        self.metrics.refused(refusal);
        if self.refusals.permit(Instant::now()) {
            let (at, why) = (refusal.at.label(), refusal.why.label());
            tracing::info!(listener = %self.id, %peer, at, why, detail = refusal.detail.as_str(), "refused");
        }
    }
}

/// From when it is served by, and not before: it could be refused until then.
fn judge_by_its_lists(policy: &ListenerPolicy) {
    if let Some(lists) = policy.tls().and_then(|tls| tls.lists.as_ref()) {
        lists.take();
    }
}

/// The first rule that fits decides; without one the address may enter, as in EMQX.
fn check_rules(policy: &ListenerPolicy, address: SocketAddr) -> Result<(), Refusal> {
    let rule = policy.access_rules.iter().find(|rule| rule.fits(address.ip()));
    match rule {
        Some(rule) if !rule.allow => {
            let detail = format!("access_rules say `{rule}`");
            Err(Refusal::new(Stage::Accept, Why::NotAllowed, detail))
        }
        _ => Ok(()),
    }
}

fn take_slot(
    policy: &ListenerPolicy,
    admission: &Arc<Admission>,
    address: SocketAddr,
) -> Result<UnauthenticatedSlot, Refusal> {
    let limit = policy.max_unauthenticated_per_address;
    admission.enter(address.ip(), limit).ok_or_else(|| {
        let detail = "the address has max_unauthenticated_per_address sockets open that have not finished CONNECT";
        Refusal::new(Stage::Accept, Why::RateLimited, detail)
    })
}

/// Opens a listener. Buffers are set before it listens, so that its connections have them from their beginning.
pub(crate) fn listen(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A broker that is started anew must not wait for its old connections to time out.
    socket.set_reuseaddr(options.reuseaddr)?;
    if let Some(bytes) = options.recbuf {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.sndbuf {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(address)?;
    socket.listen(options.backlog)
}

/// Sets what each connection has of its own. A socket whose peer is gone already fails here, and again where it is read.
pub(crate) fn tune(socket: &TcpStream, options: &TcpOptions) {
    // Without it a CONNACK can wait for the client's delayed acknowledgement.
    let _ = socket.set_nodelay(options.nodelay);
    if let Some(keepalive) = options.keepalive {
        let times = TcpKeepalive::new()
            .with_time(keepalive.idle)
            .with_interval(keepalive.interval)
            .with_retries(keepalive.probes);
        let _ = SockRef::from(socket).set_tcp_keepalive(&times);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_config::KeepAlive;

    use super::*;

    /// A connection to a listener with these options, on the listener's side.
    async fn accepted(options: &TcpOptions) -> TcpStream {
        let listener = listen("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        tune(&socket, options);
        socket
    }

    #[tokio::test]
    async fn socket_options_reach_the_sockets() {
        let plain = accepted(&TcpOptions::default()).await;
        assert!(plain.nodelay().unwrap());
        assert!(!SockRef::from(&plain).keepalive().unwrap());

        let [idle, interval] = [60, 10].map(Duration::from_secs);
        let keepalive = Some(KeepAlive { idle, interval, probes: 3 });
        let buffers = (Some(64 * 1024), Some(32 * 1024));
        let options =
            TcpOptions { nodelay: false, keepalive, recbuf: buffers.0, sndbuf: buffers.1, ..TcpOptions::default() };
        let tuned = accepted(&options).await;
        assert!(!tuned.nodelay().unwrap());
        let tuned = SockRef::from(&tuned);
        assert!(tuned.keepalive().unwrap());
        assert_eq!((tuned.tcp_keepalive_time().unwrap(), tuned.tcp_keepalive_interval().unwrap()), (idle, interval));
        assert_eq!(tuned.tcp_keepalive_retries().unwrap(), 3);
        // Linux doubles what is asked for, for its own book-keeping.
        assert_eq!(tuned.recv_buffer_size().unwrap(), 2 * 64 * 1024);
        assert_eq!(tuned.send_buffer_size().unwrap(), 2 * 32 * 1024);
    }
}
