//! The realm: what happened is handed to who deals with it, and connections come and go.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use postern_mqtt::Packet;
use postern_mqtt::packet::{ConnAck, Connect, Disconnect};
use postern_mqtt::reason::ReasonCode;

use crate::deadlines::{Deadlines, Due};
use crate::flow::Now;
use crate::inflight::OutOfOrder;
use crate::journal::Journal;
use crate::limits::RealmLimits;
use crate::queue::Books;
use crate::retained::Retained;
use crate::rights::may_will;
use crate::routing::{SYSTEM, is_reserved};
use crate::session::{Attachment, Session, SessionId, granted_expiry_s};
use crate::sessions::Sessions;
use crate::topics::Topics;
use crate::turn::{ConnId, Departure, Effect, Input, Owner, Rights, Stats};
use crate::will::{Left, Will};

/// One tenant's world. See the crate.
#[derive(Debug)]
pub struct Realm {
    pub(crate) limits: RealmLimits,
    pub(crate) now_ms: u64,
    /// How many there were, the present one included.
    turns: u64,
    // The hash maps are never walked where the order shows, so that a turn has one outcome.
    pub(crate) sessions: Sessions,
    pub(crate) clients: HashMap<Arc<str>, SessionId>,
    conns: HashMap<ConnId, SessionId>,
    /// Connections of each owner that has some.
    owners: HashMap<Arc<str>, usize>,
    pub(crate) topics: Topics,
    pub(crate) retained: Retained,
    /// What the broker itself keeps for later subscribers, beside what clients do.
    pub(crate) announced: Retained,
    pub(crate) deadlines: Deadlines,
    /// Sessions that have more to send than one turn takes, each once.
    pub(crate) ready: VecDeque<SessionId>,
    pub(crate) books: Books,
    pub(crate) journal: Journal,
    /// Nothing that must be kept is taken on: there is no room for it.
    pub(crate) is_full: bool,
    pub(crate) sessions_born: u64,
}

impl Realm {
    /// An empty realm.
    pub fn new(limits: RealmLimits) -> Self {
        Self {
            limits,
            now_ms: 0,
            turns: 0,
            sessions: Sessions::default(),
            clients: HashMap::new(),
            conns: HashMap::new(),
            owners: HashMap::new(),
            topics: Topics::default(),
            retained: Retained::default(),
            announced: Retained::default(),
            deadlines: Deadlines::default(),
            ready: VecDeque::new(),
            books: Books::default(),
            journal: Journal::default(),
            is_full: false,
            sessions_born: 0,
        }
    }

    /// One turn: fires what is due at `now_ms` (monotonic milliseconds; a smaller value than before counts
    /// as that one), then takes all `inputs` in their order, then goes on with what earlier turns left, and appends
    /// what is to be done to `effects`.
    pub fn turn(&mut self, now_ms: u64, inputs: &mut Vec<Input>, effects: &mut Vec<Effect>) {
        self.now_ms = self.now_ms.max(now_ms);
        self.turns += 1;
        self.fire_deadlines(effects);
        for input in inputs.drain(..) {
            match input {
                Input::Connect { conn, connect, owner, rights, greeting } => {
                    self.connect(conn, *connect, (owner, rights), *greeting, effects);
                }
                Input::Rights { conn, rights } => {
                    if let Some(&session) = self.conns.get(&conn) {
                        self.change_rights(session, rights);
                    }
                }
                // What is not known has been closed: its late packets mean nothing.
                Input::Packet { conn, packet } => {
                    if let Some(&session) = self.conns.get(&conn) {
                        self.packet(session, packet, effects);
                    }
                }
                Input::Announce { topic, payload, retain } => self.announce(topic, payload, retain, effects),
                Input::Parked { conn } => self.park(conn, true),
                Input::Resumed { conn } => self.park(conn, false),
                Input::Closed { conn, departure } => {
                    if let Some(&session) = self.conns.get(&conn) {
                        self.closed(session, departure, effects);
                    }
                }
            }
        }
        self.go_on(effects);
    }

    /// Whether another turn has something to do at once. A driver that asks sees what came in meanwhile first, and
    /// whether connections keep up.
    pub fn has_more(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn now(&self) -> Now {
        Now { ms: self.now_ms, turn: self.turns }
    }

    fn park(&mut self, conn: ConnId, parked: bool) {
        let Some(&id) = self.conns.get(&conn) else { return };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.flow.park(parked);
        }
        if !parked {
            self.come_back(id);
        }
    }

    /// When [`Realm::turn`] has something to do though nothing happens, in the milliseconds of its `now_ms`.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.deadlines.next_ms().into_iter().chain(self.retained.next_ms()).min()
    }

    /// Whether anybody is subscribed to what is announced, present or not.
    pub fn hears_announcements(&self) -> bool {
        self.topics.has_first_level(SYSTEM)
    }

    /// What the realm holds, and has lost since it began. It costs nothing to ask.
    pub fn stats(&self) -> Stats {
        Stats {
            sessions: self.sessions.len(),
            connected: self.conns.len(),
            connected_max: self.books.connected_max,
            expired: self.books.expired,
            subscriptions: self.topics.count(),
            shared_subscriptions: self.topics.shared_count(),
            retained: self.retained.count(),
            retained_bytes: self.retained.bytes(),
            queued: self.books.queued,
            queued_bytes: self.books.bytes,
            in_flight: self.books.in_flight,
            unreleased: self.books.unreleased,
            dropped: self.books.dropped,
            exhausted: self.books.exhausted,
        }
    }

    fn packet(&mut self, id: SessionId, packet: Packet, effects: &mut Vec<Effect>) {
        match packet {
            Packet::Publish(publish) => self.incoming(id, publish, effects),
            Packet::Subscribe(subscribe) => self.subscribe(id, subscribe, effects),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(id, &unsubscribe, effects),
            Packet::PubAck(ack) => {
                self.acknowledged(id, effects, |session, books| {
                    session.window.pub_ack(ack.packet_id, books).map(|()| None)
                });
            }
            Packet::PubRec(ack) => {
                self.acknowledged(id, effects, |session, books| session.window.pub_rec(&ack, books));
            }
            Packet::PubRel(ack) => {
                self.acknowledged(id, effects, |session, _| Ok(Some(session.unreleased.release(ack.packet_id))));
            }
            Packet::PubComp(ack) => {
                self.acknowledged(id, effects, |session, books| {
                    session.window.pub_comp(ack.packet_id, books).map(|()| None)
                });
            }
            Packet::Disconnect(disconnect) => self.disconnect(id, &disconnect, effects),
            // The link answers it.
            Packet::PingReq => {}
            // A second CONNECT [MQTT-3.1.0-2], AUTH without an exchange, or what only a server sends.
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Auth(_) => self.expel(id, ReasonCode::PROTOCOL_ERROR, effects),
        }
    }

    /// Takes one step of a QoS 1 or 2 exchange, sends its answer, and what the window then allows. A step that the
    /// exchange does not have ends the connection (MQTT-4.13.1-1, MQTT-4.8.0-1 of 3.1.1).
    fn acknowledged(
        &mut self,
        id: SessionId,
        effects: &mut Vec<Effect>,
        step: impl FnOnce(&mut Session, &mut Books) -> Result<Option<Packet>, OutOfOrder>,
    ) {
        let now = self.now();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Ok(answer) = step(session, &mut self.books) else {
            return self.expel(id, ReasonCode::PROTOCOL_ERROR, effects);
        };
        if let (Some(answer), Some(attachment)) = (answer, session.attachment) {
            attachment.send(answer, effects);
        }
        let has_more = session.pump(now, &self.limits, &mut self.books, effects);
        if has_more || !session.replays.is_empty() {
            self.come_back(id);
        }
    }

    fn connect(
        &mut self,
        conn: ConnId,
        connect: Connect,
        (owner, rights): (Owner, Rights),
        greeting: ConnAck,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(&session) = self.conns.get(&conn) {
            self.expel(session, ReasonCode::PROTOCOL_ERROR, effects);
            return;
        }
        if let Err(reason) = self.admit(&connect, &owner, &rights) {
            let packet = Packet::ConnAck(Box::new(ConnAck { reason, ..ConnAck::default() }));
            effects.push(Effect::Send { conn, packet });
            effects.push(Effect::Close { conn, farewell: None });
            return;
        }
        self.clear_the_way(&connect, effects);

        let former = self.clients.get(&connect.client_id).copied();
        let id = former.unwrap_or_else(|| self.create(Arc::clone(&connect.client_id), owner));
        let expiry_s = granted_expiry_s(&connect, &self.limits);
        let conn_ack = ConnAck {
            session_present: former.is_some(),
            session_expiry: connect.session_expiry.filter(|&wanted| wanted != expiry_s).map(|_| expiry_s),
            ..self.limits.announce(greeting, &connect)
        };
        effects.push(Effect::Send { conn, packet: Packet::ConnAck(Box::new(conn_ack)) });
        self.change_rights(id, rights);
        self.attach(id, Attachment::new(conn, &connect, &self.limits), expiry_s, connect, effects);
    }

    /// Whether this CONNECT may have a session.
    fn admit(&mut self, connect: &Connect, owner: &Owner, rights: &Rights) -> Result<(), ReasonCode> {
        // The gate has assigned one already to whom it may be assigned to.
        if connect.client_id.is_empty() {
            return Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        }
        if connect.will.as_ref().is_some_and(|will| is_reserved(&will.message.topic) || !may_will(rights, will)) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        if let Some(will) = &connect.will {
            self.offers(will.qos, will.retain)?;
        }
        match self.clients.get(&connect.client_id).and_then(|id| self.sessions.get(id)) {
            Some(former) if former.owner != *owner => Err(ReasonCode::NOT_AUTHORIZED),
            former if self.is_full && self.must_keep(connect, former) => Err(ReasonCode::QUOTA_EXCEEDED),
            // It takes the place of its own connection.
            Some(former) if former.attachment.is_some() => Ok(()),
            former => {
                let needs_session = former.is_none();
                self.has_room(needs_session, owner)
            }
        }
    }

    /// Whether there may be one more connection, and one more session where it needs one.
    fn has_room(&mut self, needs_session: bool, owner: &Owner) -> Result<(), ReasonCode> {
        let exhausted = &mut self.books.exhausted;
        let connections = owner.as_ref().and_then(|owner| self.owners.get(owner)).copied().unwrap_or(0);
        let reason = if needs_session && self.sessions.len() >= self.limits.sessions {
            &mut exhausted.sessions
        } else if self.conns.len() >= self.limits.connections {
            &mut exhausted.connections
        } else if connections >= self.limits.connections_per_owner {
            &mut exhausted.connections_of_owner
        } else {
            return Ok(());
        };
        *reason += 1;
        Err(ReasonCode::QUOTA_EXCEEDED)
    }

    /// Ends the client's other connection, if it has one [MQTT-3.1.4-3], and with Clean Start its session
    /// too [MQTT-3.1.2-4]. That connection counts as lost: its will goes out unless it has a delay and the
    /// session goes on, and a session of expiry 0 ends with it.
    fn clear_the_way(&mut self, connect: &Connect, effects: &mut Vec<Effect>) {
        let Some(&former) = self.clients.get(&connect.client_id) else { return };
        self.expel(former, ReasonCode::SESSION_TAKEN_OVER, effects);
        if connect.clean_start {
            self.end_session(former, effects);
        }
    }

    fn create(&mut self, client_id: Arc<str>, owner: Owner) -> SessionId {
        let id = SessionId(self.sessions_born);
        self.sessions_born += 1;
        self.clients.insert(Arc::clone(&client_id), id);
        self.sessions.insert(id, Session::new(client_id, owner));
        id
    }

    fn attach(
        &mut self,
        id: SessionId,
        attachment: Attachment,
        expiry_s: u32,
        connect: Connect,
        effects: &mut Vec<Effect>,
    ) {
        self.cancel_deadlines(id);
        let now = self.now();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        self.conns.insert(attachment.conn, id);
        self.books.connected_max = self.books.connected_max.max(self.conns.len());
        if let Some(owner) = &session.owner {
            *self.owners.entry(Arc::clone(owner)).or_insert(0) += 1;
        }
        session.attachment = Some(attachment);
        session.expiry_s = expiry_s;
        session.ends_ms = None;
        // MQTT-3.1.3-9: a delayed will of the connection before is not sent.
        session.will = connect.will.map(Will::Armed);
        if session.pump(now, &self.limits, &mut self.books, effects) {
            self.come_back(id);
        }
        if self.journal.kept.sessions {
            self.sessions.keep(id);
        }
    }

    fn closed(&mut self, id: SessionId, departure: Departure, effects: &mut Vec<Effect>) {
        match departure {
            Departure::Goodbye(disconnect) if self.goodbye(id, &disconnect).is_err() => {
                self.expel(id, ReasonCode::PROTOCOL_ERROR, effects);
            }
            Departure::Goodbye(_) | Departure::Lost => self.depart(id, effects),
        }
    }

    fn disconnect(&mut self, id: SessionId, disconnect: &Disconnect, effects: &mut Vec<Effect>) {
        let Some(conn) = self.sessions.get(&id).and_then(|session| session.attachment).map(|a| a.conn) else { return };
        match self.goodbye(id, disconnect) {
            Ok(()) => {
                effects.push(Effect::Close { conn, farewell: None });
                self.depart(id, effects);
            }
            Err(reason) => self.expel(id, reason, effects),
        }
    }

    /// What a DISCONNECT says of the will and the session.
    fn goodbye(&mut self, id: SessionId, disconnect: &Disconnect) -> Result<(), ReasonCode> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        if let Some(expiry_s) = disconnect.session_expiry {
            if session.expiry_s == 0 && expiry_s != 0 {
                // 3.14.2.2.2: what was 0 at CONNECT stays 0.
                return Err(ReasonCode::PROTOCOL_ERROR);
            }
            session.expiry_s = expiry_s.min(self.limits.session_expiry_max_s);
        }
        if disconnect.reason == ReasonCode::SUCCESS {
            session.will = None;
        }
        Ok(())
    }

    /// Closes a session's connection for a reason, if it has one.
    pub(crate) fn expel(&mut self, id: SessionId, reason: ReasonCode, effects: &mut Vec<Effect>) {
        if let Some(attachment) = self.sessions.get(&id).and_then(|session| session.attachment) {
            effects.push(Effect::Close { conn: attachment.conn, farewell: Some(Disconnect::new(reason)) });
            self.depart(id, effects);
        }
    }

    /// The connection of a session is over; what is left of its will and its expiry begins.
    fn depart(&mut self, id: SessionId, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(attachment) = session.detach(&mut self.books) else { return };
        self.conns.remove(&attachment.conn);
        if let Some(owner) = &session.owner
            && let Entry::Occupied(mut connections) = self.owners.entry(Arc::clone(owner))
        {
            *connections.get_mut() -= 1;
            if *connections.get() == 0 {
                connections.remove();
            }
        }
        self.left(id, effects);
    }

    /// A session is without connection from now on.
    pub(crate) fn left(&mut self, id: SessionId, effects: &mut Vec<Effect>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.expiry_s == 0 {
            self.end_session(id, effects);
            return;
        }
        let ends_ms = self.now_ms.saturating_add(u64::from(session.expiry_s) * 1000);
        session.ends_ms = Some(ends_ms);
        self.deadlines.add(ends_ms, Due::SessionEnd, id);
        match session.will.take().map(|will| will.client_left(self.now_ms)) {
            None => {}
            Some(Left::Publish(testament)) => {
                let (client_id, rights) = (Arc::clone(&session.client_id), session.rights.clone());
                self.publish_will(client_id, &rights, testament, effects);
            }
            Some(Left::Wait(will)) => {
                if let Some(fires_ms) = will.fires_ms() {
                    self.deadlines.add(fires_ms, Due::Will, id);
                }
                session.will = Some(will);
            }
        }
    }

    /// Forgets a session and all it holds. Its will, if it was waiting, goes out now (3.1.3.2.2).
    fn end_session(&mut self, id: SessionId, effects: &mut Vec<Effect>) {
        self.cancel_deadlines(id);
        let Some(session) = self.sessions.remove(&id) else { return };
        self.clients.remove(&session.client_id);
        session.strike_off(&mut self.books);
        for filter in &session.subscriptions {
            self.topics.unsubscribe(id, filter);
        }
        if let Some(will) = session.will {
            self.publish_will(session.client_id, &session.rights, will.into_testament(), effects);
        }
    }

    fn cancel_deadlines(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        if let Some(ends_ms) = session.ends_ms {
            self.deadlines.cancel(ends_ms, Due::SessionEnd, id);
        }
        if let Some(fires_ms) = session.will.as_ref().and_then(Will::fires_ms) {
            self.deadlines.cancel(fires_ms, Due::Will, id);
        }
    }

    fn fire_deadlines(&mut self, effects: &mut Vec<Effect>) {
        self.retained.expire(self.now_ms);
        while let Some((due, id)) = self.deadlines.take_due(self.now_ms) {
            match due {
                Due::SessionEnd => {
                    self.books.expired += 1;
                    self.end_session(id, effects);
                }
                Due::Will => {
                    let Some(session) = self.sessions.get_mut(&id) else { continue };
                    let (client_id, rights) = (Arc::clone(&session.client_id), session.rights.clone());
                    if let Some(will) = session.will.take() {
                        self.publish_will(client_id, &rights, will.into_testament(), effects);
                    }
                }
            }
        }
    }
}
