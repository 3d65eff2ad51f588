//! Opens the listeners, accepts, and ends it all cleanly.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use postern_config::{Config, PublishRates};
use postern_identity::{ListenerId, Peer, Refusal, Stage, Transport, Why};
use postern_mqtt::packet::Disconnect;
use postern_mqtt::reason::ReasonCode;
use postern_realm::ConnId;
use postern_store::StoreError;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::admission::Admission;
use crate::descriptors::Descriptors;
use crate::door::{Door, Entry, Located, listen, tune};
use crate::drive::allowance::Allowance;
use crate::drive::connection::Connection;
use crate::drive::outbox::{Outbox, Will};
use crate::drive::realm::{Command, Seat};
use crate::drive::stall::Stall;
use crate::intake::{Accepted, Admitted, Client, intake};
use crate::meter::{Meter, Traffic};
use crate::metrics::Metrics;
use crate::policy::ListenerPolicy;
use crate::realms::Realms;
use crate::reload::Reloader;
use crate::report::{Pauses, Story, Who};
use crate::revalidation::{Member, Revalidation};
use crate::revocation;
use crate::stage::{Staged, Stager};
use crate::stapling::Keeper;

/// Pause after an accept failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections get this long to end after a shutdown began.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A listener's address cannot be had.
    #[error("{listener} cannot listen on {address}: {source}")]
    Bind {
        /// Which.
        listener: ListenerId,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// What must survive cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An open listener.
#[derive(Debug, Clone)]
pub struct Bound {
    /// Which.
    pub listener: ListenerId,
    /// Where, with the port that the system chose if 0 was asked for.
    pub address: SocketAddr,
}

/// A running broker.
pub struct Server {
    bound: Vec<Bound>,
    shutdown: watch::Sender<bool>,
    /// Every task holds a sender; when the last one is gone, this ends.
    alive: mpsc::Receiver<()>,
    shared: Arc<Shared>,
    keeper: Keeper,
}

/// What all listeners and connections share.
struct Shared {
    admission: Arc<Admission>,
    realms: Realms,
    /// Connections that are attached to a realm.
    connections: DashMap<ConnId, Arc<Outbox>>,
    metrics: Arc<Metrics>,
    next_connection: AtomicU64,
    descriptors: Descriptors,
    /// Those who came in by what may end.
    revalidation: Arc<Revalidation>,
    began: Instant,
}

impl Server {
    /// Opens every listener; if one cannot be opened, none is.
    pub fn start(staged: Staged) -> Result<Self, ServerError> {
        let mut opened = Vec::new();
        for policy in staged.listeners {
            let failed = |source| ServerError::Bind { listener: policy.id.clone(), address: policy.bind, source };
            let listener = listen(policy.bind, &policy.tcp).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            opened.push((policy, listener, address));
        }
        let began = Instant::now();
        let doors = opened.into_iter().map(|(policy, listener, address)| {
            let door = Arc::new(Door::new(policy, address.port()));
            (door, listener, address)
        });
        let opened: Vec<_> = doors.collect();
        let doors = opened.iter().map(|(door, ..)| Arc::clone(door)).collect();
        let metrics = Arc::new(Metrics::new(staged.node, began, doors));
        let sys_topics = staged.sys_topics;
        let realms = Realms::new(staged.tenants, &staged.durability, sys_topics, began, Arc::clone(&metrics))?;
        realms.revive()?;
        let shared = Arc::new(Shared {
            admission: Arc::default(),
            realms,
            connections: DashMap::new(),
            metrics,
            next_connection: AtomicU64::new(1),
            descriptors: Descriptors::raise(),
            revalidation: Arc::default(),
            began,
        });
        tracing::info!(
            limit = shared.descriptors.limit(),
            connections = shared.descriptors.connections(),
            "open files: the limit, and how many of them connections may take"
        );
        let (shutdown, stop) = watch::channel(false);
        let (task_alive, alive) = mpsc::channel(1);
        tokio::spawn(Arc::clone(&shared.revalidation).run(stop.clone()));
        let mut bound = Vec::new();
        let keeper = Keeper::new(stop.clone(), &task_alive);
        for (door, listener, address) in opened {
            keeper.keep(&door.policy());
            bound.push(Bound { listener: door.id.clone(), address });
            tokio::spawn(accept_loop(listener, door, Arc::clone(&shared), stop.clone(), task_alive.clone()));
        }
        let revalidation = Arc::clone(&shared.revalidation);
        tokio::spawn(revocation::keep_up(shared.metrics.doors().to_vec(), revalidation, stop, task_alive));
        Ok(Self { bound, shutdown, alive, shared, keeper })
    }

    /// The open listeners.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// All figures.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// What keeps the listeners at what the files say. `stager` has staged what was started, out of `config`.
    pub fn reloader(&self, stager: Stager, config: Config) -> Reloader {
        let metrics = Arc::clone(&self.shared.metrics);
        let (revalidation, keeper) = (Arc::clone(&self.shared.revalidation), self.keeper.clone());
        Reloader::new((metrics.doors().to_vec(), revalidation), metrics, keeper, stager, config)
    }

    /// Stops accepting, tells every client (5.0: Server shutting down), and waits until they are gone or
    /// the time for it is over.
    pub async fn shut_down(mut self) {
        // Tasks that begin after this see it at once.
        let _ = self.shutdown.send(true);
        for entry in &self.shared.connections {
            entry.value().close(Some(Disconnect::new(ReasonCode::SERVER_SHUTTING_DOWN)));
            entry.value().wake();
        }
        if tokio::time::timeout(DRAIN_WAIT, self.alive.recv()).await.is_err() {
            tracing::warn!("connections that did not end within {DRAIN_WAIT:?} are cut off");
        }
        if tokio::time::timeout(DRAIN_WAIT, self.shared.realms.close()).await.is_err() {
            tracing::warn!("databases that were not closed within {DRAIN_WAIT:?} are left as they are");
        }
    }
}

async fn accept_loop(
    listener: TcpListener,
    door: Arc<Door>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) {
    let mut policy = door.policy();
    let mut meter = Meter::new(policy.max_conn_rate, policy.max_conn_burst, Instant::now());
    let (mut full, mut failing) = (Pauses::default(), Pauses::default());
    loop {
        let next = async {
            let wait = meter.wait(Instant::now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            listener.accept().await
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((socket, address)) => {
                // Before the policy: who is let in by the one of before is judged again.
                let epoch = shared.revalidation.epoch();
                let now_by = door.policy();
                if !Arc::ptr_eq(&policy, &now_by) {
                    if (policy.max_conn_rate, policy.max_conn_burst) != (now_by.max_conn_rate, now_by.max_conn_burst) {
                        meter = Meter::new(now_by.max_conn_rate, now_by.max_conn_burst, Instant::now());
                    }
                    policy = now_by;
                }
                meter.take(1, Instant::now());
                door.metrics.accepted();
                let Some(descriptor) = shared.descriptors.enter() else {
                    refuse_for_want_of_descriptors(&shared, &door, &mut full);
                    continue;
                };
                if let Some(entry) = door.open(&policy, &shared.admission, address) {
                    let come = Come { socket, address, entry, policy: Arc::clone(&policy), epoch };
                    let task = serve(come, Arc::clone(&door), Arc::clone(&shared), stop.clone());
                    let alive = alive.clone();
                    tokio::spawn(async move {
                        task.await;
                        drop((descriptor, alive));
                    });
                }
            }
            // The peer was gone before it was accepted: its business alone.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                if failing.permit(Instant::now()) {
                    tracing::error!(listener = %door.id, %error, "cannot accept; trying again and again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The socket that was accepted is closed: without a descriptor in reserve, the broker could do nothing else any more.
fn refuse_for_want_of_descriptors(shared: &Shared, door: &Door, pauses: &mut Pauses) {
    let why = "as many connections are open as the limit of open files (ulimit -Hn) has room for";
    door.metrics.refused(&Refusal::new(Stage::Accept, Why::Unavailable, why));
    if pauses.permit(Instant::now()) {
        let Shared { descriptors, .. } = shared;
        tracing::warn!(
            listener = %door.id,
            limit = descriptors.limit(),
            connections = descriptors.connections(),
            why,
            "new connections are closed at once"
        );
    }
}

/// A connection that was accepted.
struct Come {
    socket: TcpStream,
    address: SocketAddr,
    entry: Entry,
    /// By what it is served until it is in.
    policy: Arc<ListenerPolicy>,
    /// What was trusted when it came.
    epoch: u64,
}

/// One connection from accept to its end.
async fn serve(come: Come, door: Arc<Door>, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let Come { mut socket, address, entry, policy, epoch } = come;
    tune(&socket, &policy.tcp);
    let located = tokio::select! {
        biased;
        _ = stop.wait_for(|stopping| *stopping) => return,
        located = door.locate(&policy, &mut socket, (address, entry), &shared.admission) => located,
    };
    let Some(Located { address, proxied, connection: connection_slot, unauthenticated }) = located else { return };
    let at = Instant::now();
    let conn = ConnId(shared.next_connection.fetch_add(1, Ordering::Relaxed));
    let mut story = Story::new(Peer {
        connection: conn.0,
        listener: door.id.clone(),
        transport: if policy.websocket.is_some() { Transport::WebSocket } else { Transport::Tcp },
        address,
        local_port: door.port,
        proxied,
    });
    let accepted = Accepted { socket, at, policy: Arc::clone(&policy), began: shared.began };
    let admitted = tokio::select! {
        biased;
        _ = stop.wait_for(|stopping| *stopping) => return,
        admitted = Box::pin(intake(accepted, &mut story)) => admitted,
    };
    if let Some(tls) = story.tls {
        door.metrics.secured(tls);
    }
    match admitted {
        Ok(admitted) => {
            drop(unauthenticated);
            door.metrics.admitted();
            let (rates, send_timeout, will) = (policy.publish_rates, policy.tcp.send_timeout, policy.revoked_will);
            let terms = Terms { rates, send_timeout, will, epoch, door: Arc::clone(&door) };
            // A policy that was replaced must not live as long as its oldest client.
            drop(policy);
            attach(admitted, terms, story, &shared, &stop).await;
        }
        Err(refusal) => report_refusal(&door, &story, &refusal),
    }
    drop(connection_slot);
}

fn report_refusal(door: &Door, story: &Story, refusal: &Refusal) {
    door.metrics.refused(refusal);
    if let Some(reason) = story.reason {
        door.metrics.handshake_failed(reason);
    }
    if door.refusals.permit(Instant::now()) {
        story.refused(refusal);
    }
}

/// What a connection keeps of its listener.
struct Terms {
    rates: PublishRates,
    send_timeout: Duration,
    /// What becomes of its will if it may not stay.
    will: Will,
    /// What was trusted when it came.
    epoch: u64,
    door: Arc<Door>,
}

/// Binds an admitted connection to its realm and drives it.
async fn attach(admitted: Admitted, terms: Terms, story: Story, shared: &Arc<Shared>, stop: &watch::Receiver<bool>) {
    let Admitted { mut stream, link, input, arrival, answers, client, credential } = admitted;
    let Terms { rates, send_timeout, will, epoch, door } = terms;
    let Client { connect, greeting, owner, username, rights, mounted, reauthentication } = client;
    stream.admitted();
    let outbox = Arc::new(Outbox::default());
    let who = Arc::new(Who::new(story, &connect, username));
    let conn = ConnId(who.connection);
    let tenant = shared.realms.of(&who.namespace);
    let metrics = shared.metrics.realm(&who.namespace);
    metrics.received.add(&arrival);
    metrics.sent.add(&answers);
    let seat = Seat::new(Arc::clone(&outbox), Arc::clone(&who));
    let attach = Command::Attach { conn, connect, owner, rights, greeting, seat };
    if tenant.mailbox.send(attach).await.is_err() {
        who.lost_realm();
        return;
    }
    shared.connections.insert(conn, Arc::clone(&outbox));
    // The shutdown goes through the registry once; who enters it afterwards sees to itself.
    if *stop.borrow() {
        outbox.close(Some(Disconnect::new(ReasonCode::SERVER_SHUTTING_DOWN)));
    }
    let member = Member { door, credential, outbox: Arc::clone(&outbox), who: Arc::clone(&who), will };
    let membership = shared.revalidation.enter(conn, member, epoch);
    let own = Traffic::new(&rates, Instant::now());
    let connection = Connection {
        conn,
        stream,
        link,
        input,
        outbox,
        realm: tenant.mailbox,
        mounted,
        allowance: Allowance::new(own, tenant.traffic, Arc::clone(&metrics)),
        paused_until: None,
        reauthentication,
        began: shared.began,
        metrics,
        stall: Stall::new(send_timeout),
        unflushed: false,
        read_first: false,
    };
    let ended = Box::pin(connection.drive()).await;
    drop(membership);
    shared.connections.remove(&conn);
    who.closed(&ended.to_string());
}
