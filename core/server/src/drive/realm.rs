//! Drives one realm: one task, one mailbox, one writer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_mqtt::Packet;
use postern_mqtt::packet::{ConnAck, Connect};
use postern_realm::{ConnId, Departure, Effect, Input, Owner, Realm, Rights};
use tokio::sync::mpsc;

use super::outbox::Outbox;
use crate::metrics::RealmMetrics;
use crate::report::LossLog;

/// Commands that wait for a realm. A connection that finds it full waits, and so stops reading its socket.
pub(crate) const MAILBOX_COMMANDS: usize = 1024;

/// Commands taken in one turn.
const TURN_COMMANDS: usize = 256;

/// What a connection wants of its realm.
pub(crate) enum Command {
    /// An admitted CONNECT, and where answers go.
    Attach {
        conn: ConnId,
        connect: Box<Connect>,
        owner: Owner,
        rights: Rights,
        greeting: Box<ConnAck>,
        outbox: Arc<Outbox>,
    },
    /// What came in one read.
    Packets { conn: ConnId, packets: Vec<Packet> },
    /// The connection is gone.
    Detach { conn: ConnId, departure: Departure },
}

/// Runs until every handle of the mailbox is gone.
pub(crate) async fn drive(
    mut realm: Realm,
    mut mailbox: mpsc::Receiver<Command>,
    began: Instant,
    mut losses: LossLog,
    metrics: Arc<RealmMetrics>,
) {
    let mut outboxes: HashMap<ConnId, Arc<Outbox>> = HashMap::new();
    let mut commands = Vec::with_capacity(TURN_COMMANDS);
    let mut inputs = Vec::new();
    let mut effects = Vec::new();
    let mut gone = Vec::new();
    loop {
        let deadline = realm.next_deadline_ms();
        let received = receive(&mut mailbox, &mut commands, began, deadline).await;
        if received == Some(0) {
            return;
        }
        for command in commands.drain(..) {
            accept(command, &mut outboxes, &mut inputs, &mut gone);
        }
        realm.turn(elapsed_ms(began), &mut inputs, &mut effects);
        let stats = realm.stats();
        // Before anybody is woken: who has an answer finds it counted.
        metrics.set(stats);
        deliver(&mut effects, &outboxes, &metrics);
        losses.tell(stats.dropped, Instant::now());
        for conn in gone.drain(..) {
            outboxes.remove(&conn);
        }
    }
}

/// The number of commands received; none where the realm's own deadline came first.
async fn receive(
    mailbox: &mut mpsc::Receiver<Command>,
    commands: &mut Vec<Command>,
    began: Instant,
    deadline_ms: Option<u64>,
) -> Option<usize> {
    let Some(deadline_ms) = deadline_ms else {
        return Some(mailbox.recv_many(commands, TURN_COMMANDS).await);
    };
    let deadline = tokio::time::Instant::from_std(began + Duration::from_millis(deadline_ms));
    tokio::select! {
        biased;
        received = mailbox.recv_many(commands, TURN_COMMANDS) => Some(received),
        () = tokio::time::sleep_until(deadline) => None,
    }
}

fn accept(
    command: Command,
    outboxes: &mut HashMap<ConnId, Arc<Outbox>>,
    inputs: &mut Vec<Input>,
    gone: &mut Vec<ConnId>,
) {
    match command {
        Command::Attach { conn, connect, owner, rights, greeting, outbox } => {
            outboxes.insert(conn, outbox);
            inputs.push(Input::Connect { conn, connect, owner, rights, greeting });
        }
        Command::Packets { conn, packets } => {
            inputs.extend(packets.into_iter().map(|packet| Input::Packet { conn, packet }));
        }
        Command::Detach { conn, departure } => {
            inputs.push(Input::Closed { conn, departure });
            gone.push(conn);
        }
    }
}

/// Hands the effects over and wakes each connection once.
fn deliver(effects: &mut Vec<Effect>, outboxes: &HashMap<ConnId, Arc<Outbox>>, metrics: &RealmMetrics) {
    let mut touched: Vec<ConnId> = Vec::new();
    for effect in effects.drain(..) {
        let (Effect::Send { conn, .. } | Effect::Close { conn, .. } | Effect::Refused { conn, .. }) = &effect;
        let conn = *conn;
        let Some(outbox) = outboxes.get(&conn) else { continue };
        match effect {
            Effect::Send { packet, .. } => {
                if let Packet::ConnAck(ack) = &packet
                    && ack.reason.is_error()
                {
                    metrics.refused.add("connect", ack.reason.label());
                }
                outbox.put(packet);
            }
            Effect::Refused { request, reason, .. } => {
                metrics.refused.add(request.word(), reason.label());
                continue;
            }
            Effect::Close { farewell, .. } => outbox.close(farewell),
        }
        if touched.last() != Some(&conn) {
            touched.push(conn);
        }
    }
    touched.sort_unstable();
    touched.dedup();
    for conn in touched {
        if let Some(outbox) = outboxes.get(&conn) {
            outbox.wake();
        }
    }
}

/// Milliseconds since the process began, which is the clock of links and realms.
pub(crate) fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
