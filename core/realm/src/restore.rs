//! From records back to a realm.

use std::collections::HashMap;
use std::sync::Arc;

use postern_mqtt::packet::Message;

use crate::deadlines::Due;
use crate::journal::{Journal, Kept};
use crate::limits::RealmLimits;
use crate::queue::Outgoing;
use crate::realm::Realm;
use crate::records::{Content, DeliveryRecord, Key, RetainedRecord, SessionRecord, Stage, Value, decode};
use crate::retained::Held;
use crate::session::{Session, SessionId};
use crate::will::Will;

/// A realm on its way back: it takes the records of one in the order of tables and keys, which is that of
/// [`Realm::take_writes`] sorted.
#[derive(Debug)]
pub struct Restore {
    realm: Realm,
    messages: HashMap<u64, Arc<Message>>,
    /// Sessions whose clients were connected.
    lost: Vec<SessionId>,
    /// Records of what is not kept any more.
    unkept: Vec<Key>,
}

impl Restore {
    /// A realm that holds nothing yet and keeps what is `kept`. The clocks show `now_ms` (as in [`Realm::turn`]) and
    /// `wall_ms` milliseconds since 1970.
    pub fn new(limits: RealmLimits, kept: Kept, now_ms: u64, wall_ms: u64) -> Self {
        let mut realm = Realm::new(limits);
        realm.now_ms = now_ms;
        realm.journal = Journal::new(kept);
        realm.journal.tell_time(now_ms, wall_ms);
        if kept.retained {
            realm.retained.note_changes();
        }
        Self { realm, messages: HashMap::new(), lost: Vec::new(), unkept: Vec::new() }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// A sentence, where it cannot be read or does not fit those before it.
    pub fn take(&mut self, table: u8, key: &[u8], value: &[u8]) -> Result<(), String> {
        let (key, value) = decode(table, key, value)?;
        let kept = self.realm.journal.kept;
        let is_kept = match &key {
            Key::Message(_) => true,
            Key::Retained(_) => kept.retained,
            _ => kept.sessions,
        };
        if !is_kept {
            self.unkept.push(key);
            return Ok(());
        }
        match (key, value) {
            (Key::Message(id), Value::Message(message)) => {
                let message = Arc::new(message);
                self.realm.journal.recall(id, Arc::clone(&message));
                self.messages.insert(id, message);
                Ok(())
            }
            (Key::Session(id), Value::Session(record)) => self.session(id, record),
            (Key::Subscription(id, filter), Value::Subscription(options)) => {
                session(&mut self.realm, id)?.subscriptions.insert(filter.clone());
                self.realm.topics.subscribe(id, &filter, options);
                Ok(())
            }
            (Key::Delivery(id, number), Value::Delivery(record)) => self.delivery(id, number, record),
            (Key::Unreleased(id, packet_id), Value::Unreleased(taken)) => {
                let taken_ms = self.realm.journal.monotonic(taken);
                session(&mut self.realm, id)?.unreleased.hold(packet_id, taken_ms);
                Ok(())
            }
            (Key::Retained(topic), Value::Retained(record)) => {
                let message = self.message(record.message)?;
                if message.topic != topic {
                    return Err("a retained message has another topic than it is under".to_owned());
                }
                self.retained(message, record);
                Ok(())
            }
            _ => Err("a record is in another table than its own".to_owned()),
        }
    }

    /// The realm. Clients that were connected are lost from now on: [`Realm::take_writes`] and the effects of the next
    /// turn have what follows from that.
    pub fn finish(self) -> Realm {
        let Self { mut realm, lost, unkept, .. } = self;
        // What was read is what is written: brings the images into being, and counts who refers to which message.
        realm.sessions.keep_all();
        realm.write();
        realm.journal.discard();
        realm.journal.forget_unreferred();
        for key in unkept {
            realm.journal.cut(key);
        }
        let mut effects = Vec::new();
        for id in lost {
            realm.left(id, &mut effects);
        }
        debug_assert!(effects.is_empty(), "there is no connection yet");
        realm
    }

    fn message(&self, id: u64) -> Result<Arc<Message>, String> {
        self.messages.get(&id).cloned().ok_or_else(|| format!("message {id} is missing, though it is referred to"))
    }

    fn session(&mut self, id: SessionId, record: SessionRecord) -> Result<(), String> {
        let realm = &mut self.realm;
        let SessionRecord { client_id, owner, expiry_s, ends, will } = record;
        if realm.clients.insert(Arc::clone(&client_id), id).is_some() {
            return Err("two sessions are of one client".to_owned());
        }
        realm.sessions_born = realm.sessions_born.max(id.0.saturating_add(1));
        let mut session = Session::new(client_id, owner);
        session.expiry_s = expiry_s;
        session.ends_ms = ends.map(|at| realm.journal.monotonic(at));
        session.will = will.map(|will| match will.fires {
            None => Will::Armed(will.testament),
            Some(at) => {
                let fires_ms = realm.journal.monotonic(at);
                Will::Delayed { testament: will.testament, fires_ms }
            }
        });
        match session.ends_ms {
            None => self.lost.push(id),
            Some(ends_ms) => realm.deadlines.add(ends_ms, Due::SessionEnd, id),
        }
        if let Some(fires_ms) = session.will.as_ref().and_then(Will::fires_ms) {
            realm.deadlines.add(fires_ms, Due::Will, id);
        }
        realm.sessions.insert(id, session);
        Ok(())
    }

    fn delivery(&mut self, id: SessionId, number: u64, record: DeliveryRecord) -> Result<(), String> {
        let outgoing = match record.content {
            None => None,
            Some(Content { message, qos, retain, expires, subscription_ids }) => {
                let message = self.message(message)?;
                let expires_ms = expires.map(|at| self.realm.journal.monotonic(at));
                Some(Outgoing { number, message, qos, retain, subscription_ids, expires_ms })
            }
        };
        self.realm.books.next_delivery = self.realm.books.next_delivery.max(number);
        let session = self.realm.sessions.get_mut(&id).ok_or_else(|| missing(id))?;
        let fits = match (record.stage, outgoing) {
            (Stage::Queued, Some(outgoing)) => {
                session.queue.put(outgoing, &mut self.realm.books);
                true
            }
            (stage, outgoing) => session.window.restore(number, stage, outgoing, &mut self.realm.books),
        };
        session.book(&mut self.realm.books);
        if fits { Ok(()) } else { Err("a delivery does not fit the others of its session".to_owned()) }
    }

    /// However many there are: they were within the limits once.
    fn retained(&mut self, message: Arc<Message>, record: RetainedRecord) {
        let RetainedRecord { qos, expires, publisher, .. } = record;
        let expires_ms = expires.map(|at| self.realm.journal.monotonic(at));
        let unlimited = RealmLimits {
            retained_messages: usize::MAX,
            retained_bytes: usize::MAX,
            retained_payload_bytes: usize::MAX,
            ..RealmLimits::default()
        };
        // It was not refused by lower limits, so it is not by these.
        let _ = self.realm.retained.put(Held { message, qos, expires_ms, publisher, number: 0 }, &unlimited);
    }
}

fn session(realm: &mut Realm, id: SessionId) -> Result<&mut Session, String> {
    realm.sessions.get_mut(&id).ok_or_else(|| missing(id))
}

fn missing(id: SessionId) -> String {
    format!("session {} is missing, though it has records", id.0)
}
