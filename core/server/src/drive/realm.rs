//! Drives one realm: one task, one mailbox, one writer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_mqtt::Packet;
use postern_mqtt::packet::{ConnAck, Connect, Disconnect};
use postern_mqtt::reason::ReasonCode;
use postern_realm::{ConnId, Departure, Effect, Input, Owner, Realm, Rights};
use tokio::sync::mpsc;

use super::outbox::Outbox;
use super::storage::{Broken, Storage};
use super::system::{Gone, SystemTopics};
use crate::metrics::RealmMetrics;
use crate::report::{RealmLog, Who};

/// Commands that wait for a realm. A connection that finds it full waits, and so stops reading its socket.
pub(crate) const MAILBOX_COMMANDS: usize = 1024;

/// Commands taken in one turn.
const TURN_COMMANDS: usize = 256;

/// What a connection wants of its realm.
pub(crate) enum Command {
    /// An admitted CONNECT, and where answers go.
    Attach { conn: ConnId, connect: Box<Connect>, owner: Owner, rights: Rights, greeting: Box<ConnAck>, seat: Seat },
    /// What came in one read.
    Packets { conn: ConnId, packets: Vec<Packet> },
    /// The connection was parked and has taken most of what it was given.
    Resumed { conn: ConnId },
    /// The connection is gone.
    Detach { conn: ConnId, departure: Departure },
}

/// What the driver knows of one connection.
pub(crate) struct Seat {
    outbox: Arc<Outbox>,
    who: Arc<Who>,
    /// Its CONNACK let it in.
    entered: bool,
    /// Why the realm closed it, if it did.
    closed: Option<ReasonCode>,
}

impl Seat {
    pub(crate) fn new(outbox: Arc<Outbox>, who: Arc<Who>) -> Self {
        Self { outbox, who, entered: false, closed: None }
    }

    /// Ends the connection.
    pub(super) fn close(&self, reason: ReasonCode) {
        self.outbox.close(Some(Disconnect::new(reason)));
        self.outbox.wake();
    }

    /// Answers the CONNECT with no.
    pub(super) fn send_away(&self, reason: ReasonCode) {
        self.outbox.put(Packet::ConnAck(Box::new(ConnAck { reason, ..ConnAck::default() })));
        self.outbox.close(None);
        self.outbox.wake();
    }
}

/// What is seen of a realm from outside.
pub(crate) struct Watch {
    pub(crate) metrics: Arc<RealmMetrics>,
    pub(crate) system: SystemTopics,
    pub(crate) log: RealmLog,
}

/// Runs until every handle of the mailbox is gone, or the realm cannot keep what it must.
pub(super) async fn drive(
    realm: &mut Realm,
    storage: &mut Storage,
    mailbox: &mut mpsc::Receiver<Command>,
    seats: &mut HashMap<ConnId, Seat>,
    (began, watch): (Instant, &mut Watch),
) -> Result<(), Broken> {
    let mut commands = Vec::with_capacity(TURN_COMMANDS);
    let mut round = Round::default();
    // The first turn has what follows from the time in which there was no process.
    let mut is_first = true;
    loop {
        let telling = watch.system.next().filter(|_| realm.hears_announcements());
        let own = realm.next_deadline_ms().map(|ms| began + Duration::from_millis(ms));
        let due = own.into_iter().chain(telling).chain(storage.retry_at()).min();
        let due = if std::mem::take(&mut is_first) { Some(began) } else { due };
        let received = receive(mailbox, &mut commands, due, realm.has_more()).await;
        if received == Some(0) {
            return Ok(());
        }
        watch.log.storage(&storage.retry(realm, &mut round.effects).await?);
        round.deliver(seats, watch);
        let asked = commands.iter().any(Command::asks_for_figures);
        if asked || telling.is_some() {
            watch.system.tell(asked, Instant::now(), &mut round.inputs);
        }
        let mut gone = Vec::new();
        for command in commands.drain(..) {
            accept(command, seats, &mut round.inputs, &mut gone);
        }
        turn(realm, storage, &mut round, seats, (began, watch)).await?;
        let dropped = realm.stats().dropped;
        if realm.hears_announcements() {
            let (came, went) = (seats_of(seats, &round.entered), gone_from(seats, &gone));
            watch.system.came_and_went(&came, &went, &mut round.inputs);
            if !round.inputs.is_empty() {
                turn(realm, storage, &mut round, seats, (began, watch)).await?;
            }
        }
        watch.log.tell(dropped, Instant::now());
        round.entered.clear();
        for (conn, _) in gone {
            seats.remove(&conn);
        }
    }
}

/// What goes through the loop; empty vectors are kept for their memory.
#[derive(Default)]
struct Round {
    inputs: Vec<Input>,
    effects: Vec<Effect>,
    /// Connections that were let in.
    entered: Vec<ConnId>,
}

impl Round {
    fn deliver(&mut self, seats: &mut HashMap<ConnId, Seat>, watch: &mut Watch) {
        deliver(&mut self.effects, seats, watch, &mut self.entered, &mut self.inputs);
    }
}

/// One turn: takes the inputs, commits what must be kept, gives the effects out. Who is parked by that is among the
/// inputs of the next.
async fn turn(
    realm: &mut Realm,
    storage: &mut Storage,
    round: &mut Round,
    seats: &mut HashMap<ConnId, Seat>,
    (began, watch): (Instant, &mut Watch),
) -> Result<(), Broken> {
    let Round { inputs, effects, entered } = round;
    realm.turn(elapsed_ms(began), inputs, effects);
    // Before anybody is woken: who has an answer finds it counted.
    watch.metrics.set(realm.stats());
    let news = storage.settle(realm, effects, |early| deliver(early, seats, watch, entered, inputs)).await?;
    watch.log.storage(&news);
    round.deliver(seats, watch);
    Ok(())
}

impl Command {
    fn asks_for_figures(&self) -> bool {
        matches!(self, Self::Packets { packets, .. } if SystemTopics::asked_for(packets))
    }
}

/// Who came in.
fn seats_of<'s>(seats: &'s HashMap<ConnId, Seat>, entered: &[ConnId]) -> Vec<&'s Who> {
    entered.iter().filter_map(|conn| seats.get(conn)).map(|seat| &*seat.who).collect()
}

/// Who had come in and is gone, and why: as the realm had it, or else as the connection ended.
fn gone_from<'s>(seats: &'s HashMap<ConnId, Seat>, gone: &[(ConnId, Gone)]) -> Vec<(&'s Who, Gone)> {
    let with = |(conn, how): &(ConnId, Gone)| {
        let seat = seats.get(conn).filter(|seat| seat.entered)?;
        Some((&*seat.who, seat.closed.map_or(*how, Gone::Closed)))
    };
    gone.iter().filter_map(with).collect()
}

/// The number of commands received; none where the realm has something to do first.
async fn receive(
    mailbox: &mut mpsc::Receiver<Command>,
    commands: &mut Vec<Command>,
    deadline: Option<Instant>,
    has_more: bool,
) -> Option<usize> {
    if has_more {
        // Connections get to take what they were given.
        return tokio::select! {
            biased;
            received = mailbox.recv_many(commands, TURN_COMMANDS) => Some(received),
            () = tokio::task::yield_now() => None,
        };
    }
    let Some(deadline) = deadline else {
        return Some(mailbox.recv_many(commands, TURN_COMMANDS).await);
    };
    let deadline = tokio::time::Instant::from_std(deadline);
    tokio::select! {
        biased;
        received = mailbox.recv_many(commands, TURN_COMMANDS) => Some(received),
        () = tokio::time::sleep_until(deadline) => None,
    }
}

fn accept(
    command: Command,
    seats: &mut HashMap<ConnId, Seat>,
    inputs: &mut Vec<Input>,
    gone: &mut Vec<(ConnId, Gone)>,
) {
    match command {
        Command::Attach { conn, connect, owner, rights, greeting, seat } => {
            seats.insert(conn, seat);
            inputs.push(Input::Connect { conn, connect, owner, rights, greeting });
        }
        Command::Packets { conn, packets } => {
            inputs.extend(packets.into_iter().map(|packet| Input::Packet { conn, packet }));
        }
        Command::Resumed { conn } => inputs.push(Input::Resumed { conn }),
        Command::Detach { conn, departure } => {
            gone.push((conn, if matches!(departure, Departure::Lost) { Gone::Lost } else { Gone::Goodbye }));
            inputs.push(Input::Closed { conn, departure });
        }
    }
}

/// Hands the effects over and wakes each connection once. Those that now have too much waiting are parked with the next
/// turn.
fn deliver(
    effects: &mut Vec<Effect>,
    seats: &mut HashMap<ConnId, Seat>,
    watch: &mut Watch,
    entered: &mut Vec<ConnId>,
    inputs: &mut Vec<Input>,
) {
    let mut touched: Vec<ConnId> = Vec::new();
    for effect in effects.drain(..) {
        let (Effect::Send { conn, .. } | Effect::Close { conn, .. } | Effect::Refused { conn, .. }) = &effect;
        let conn = *conn;
        let Some(seat) = seats.get_mut(&conn) else { continue };
        match effect {
            Effect::Send { packet, .. } => {
                if let Packet::ConnAck(ack) = &packet {
                    answered(conn, seat, ack.reason, watch, entered);
                }
                seat.outbox.put(packet);
            }
            Effect::Close { farewell, .. } => {
                seat.closed = farewell.as_ref().map(|farewell| farewell.reason);
                seat.outbox.close(farewell);
            }
            Effect::Refused { request, reason, .. } => {
                watch.metrics.refused.add(request.word(), reason.label());
                watch.log.refused(&seat.who, request.word(), Some(request.about()), reason);
                continue;
            }
        }
        if touched.last() != Some(&conn) {
            touched.push(conn);
        }
    }
    touched.sort_unstable();
    touched.dedup();
    for conn in touched {
        if let Some(seat) = seats.get(&conn) {
            if seat.outbox.park() {
                inputs.push(Input::Parked { conn });
            }
            seat.outbox.wake();
        }
    }
}

/// The realm has answered a CONNECT.
fn answered(conn: ConnId, seat: &mut Seat, reason: ReasonCode, watch: &Watch, entered: &mut Vec<ConnId>) {
    if reason.is_error() {
        watch.metrics.refused.add("connect", reason.label());
        watch.log.refused(&seat.who, "connect", None, reason);
    } else {
        seat.entered = true;
        entered.push(conn);
    }
}

/// Milliseconds since the process began, which is the clock of links and realms.
pub(crate) fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
