//! What of a session is written, so that the end of a turn can tell what has changed.
//!
//! A session is looked at when something was done with it, and only at what can have changed since: its window, both ends
//! of its queue, the filters of its latest requests. Whoever changes a session needs not know of this.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use postern_mqtt::Filter;
use postern_mqtt::packet::{Message, PacketId};

use crate::journal::Journal;
use crate::queue::Outgoing;
use crate::records::{
    Content, DeliveryRecord, Key, SessionRecord, Stage, WillRecord, encode_options, encode_unreleased,
};
use crate::session::{Session, SessionId};
use crate::topics::Topics;
use crate::will::Will;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Image {
    header: Option<Header>,
    /// Filters that were subscribed to or given up since.
    pub(crate) changed_filters: Vec<Filter>,
    window: Vec<Entry>,
    queue: VecDeque<Entry>,
    unreleased: BTreeSet<PacketId>,
}

/// What the record of the session itself says, by the monotonic clock.
#[derive(Debug)]
struct Header {
    expiry_s: u32,
    ends_ms: Option<u64>,
    will: Option<Will>,
}

/// A delivery as it is written.
#[derive(Debug)]
struct Entry {
    number: u64,
    stage: Stage,
    /// None once it is completed.
    message: Option<Arc<Message>>,
}

impl Session {
    /// Whether there is something of it to be kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.expiry_s > 0 || self.will.is_some()
    }

    /// Notes that the session has a subscription, or other options for it, or has it no more.
    pub(crate) fn filter_changed(&mut self, filter: &Filter) {
        if let Some(image) = &mut self.image {
            image.changed_filters.push(filter.clone());
        }
    }

    /// Tells the journal what has changed since the last time.
    pub(crate) fn write(&mut self, id: SessionId, topics: &Topics, journal: &mut Journal) {
        if !self.is_kept() {
            if let Some(image) = self.image.take() {
                image.erase(id, &self.subscriptions, journal);
            }
            return;
        }
        let is_new = self.image.is_none();
        let mut image = self.image.take().unwrap_or_default();
        image.write_header(id, self, journal);
        if self.expiry_s > 0 {
            if is_new {
                image.changed_filters = self.subscriptions.iter().cloned().collect();
            }
            for filter in image.changed_filters.drain(..) {
                let key = Key::Subscription(id, filter.clone());
                match topics.options(id, &filter) {
                    Some(options) => journal.put(key, encode_options(options)),
                    None => journal.cut(key),
                }
            }
            image.write_window(id, self, journal);
            image.write_queue(id, self, journal);
            image.write_unreleased(id, self, journal);
        }
        self.image = Some(image);
    }
}

impl Image {
    /// The session is over, or not to be kept any more.
    pub(crate) fn erase(self, id: SessionId, subscriptions: &BTreeSet<Filter>, journal: &mut Journal) {
        journal.cut(Key::Session(id));
        for filter in subscriptions.iter().chain(&self.changed_filters) {
            journal.cut(Key::Subscription(id, filter.clone()));
        }
        for entry in self.window.into_iter().chain(self.queue) {
            entry.erase(id, journal);
        }
        for packet_id in self.unreleased {
            journal.cut(Key::Unreleased(id, packet_id));
        }
    }

    fn write_header(&mut self, id: SessionId, session: &Session, journal: &mut Journal) {
        let Session { expiry_s, ends_ms, will, .. } = session;
        let is_same = self.header.as_ref().is_some_and(|header| {
            header.expiry_s == *expiry_s && header.ends_ms == *ends_ms && same_will(header.will.as_ref(), will.as_ref())
        });
        if is_same {
            return;
        }
        let record = SessionRecord {
            client_id: Arc::clone(&session.client_id),
            owner: session.owner.clone(),
            expiry_s: *expiry_s,
            ends: ends_ms.map(|at| journal.to_wall(at)),
            will: will.clone().map(|will| WillRecord {
                fires: will.fires_ms().map(|at| journal.to_wall(at)),
                testament: will.into_testament(),
            }),
        };
        journal.put(Key::Session(id), record.encode());
        self.header = Some(Header { expiry_s: *expiry_s, ends_ms: *ends_ms, will: will.clone() });
    }

    /// Both are in the order of their numbers.
    fn write_window(&mut self, id: SessionId, session: &Session, journal: &mut Journal) {
        let mut former = std::mem::take(&mut self.window).into_iter().peekable();
        for (number, stage, outgoing) in session.window.deliveries() {
            while let Some(gone) = former.next_if(|entry| entry.number < number) {
                gone.erase(id, journal);
            }
            let entry = match former.next_if(|entry| entry.number == number) {
                Some(same) if same.stage == stage => same,
                Some(mut changed) => {
                    changed.stage = stage;
                    put_entry(&changed, id, outgoing, journal);
                    let message = outgoing.map(|outgoing| Arc::clone(&outgoing.message));
                    if let Some(done) = std::mem::replace(&mut changed.message, message).filter(|_| outgoing.is_none())
                    {
                        journal.release(&done);
                    }
                    changed
                }
                None => new_entry(id, number, stage, outgoing, journal),
            };
            self.window.push(entry);
        }
        for gone in former {
            gone.erase(id, journal);
        }
    }

    /// A queue grows at its end and shrinks at its front; only where something went from between is it gone through whole.
    fn write_queue(&mut self, id: SessionId, session: &Session, journal: &mut Journal) {
        let queue = &session.queue;
        let first = queue.deliveries().next().map_or(u64::MAX, |outgoing| outgoing.number);
        while let Some(gone) = self.queue.pop_front_if(|entry| entry.number < first) {
            gone.erase(id, journal);
        }
        let last = self.queue.back().map(|entry| entry.number);
        let added = queue.deliveries().rev().take_while(|outgoing| last.is_none_or(|last| outgoing.number > last));
        let added: Vec<&Outgoing> = added.collect();
        for outgoing in added.into_iter().rev() {
            self.queue.push_back(new_entry(id, outgoing.number, Stage::Queued, Some(outgoing), journal));
        }
        if self.queue.len() == queue.delivery_count() {
            return;
        }
        let mut live = queue.deliveries().map(|outgoing| outgoing.number).peekable();
        let entries = std::mem::take(&mut self.queue);
        for entry in entries {
            if live.next_if(|number| *number == entry.number).is_some() {
                self.queue.push_back(entry);
            } else {
                entry.erase(id, journal);
            }
        }
    }

    fn write_unreleased(&mut self, id: SessionId, session: &Session, journal: &mut Journal) {
        if self.unreleased.len() == session.unreleased.len()
            && self.unreleased.iter().all(|packet_id| session.unreleased.taken_ms(*packet_id).is_some())
        {
            return;
        }
        self.unreleased.retain(|&packet_id| {
            let stays = session.unreleased.taken_ms(packet_id).is_some();
            if !stays {
                journal.cut(Key::Unreleased(id, packet_id));
            }
            stays
        });
        for (packet_id, taken_ms) in session.unreleased.iter() {
            if self.unreleased.insert(packet_id) {
                let taken = journal.to_wall(taken_ms);
                journal.put(Key::Unreleased(id, packet_id), encode_unreleased(taken));
            }
        }
    }
}

impl Entry {
    fn erase(self, id: SessionId, journal: &mut Journal) {
        journal.cut(Key::Delivery(id, self.number));
        if let Some(message) = self.message {
            journal.release(&message);
        }
    }
}

fn new_entry(id: SessionId, number: u64, stage: Stage, outgoing: Option<&Outgoing>, journal: &mut Journal) -> Entry {
    let message = outgoing.map(|outgoing| Arc::clone(&outgoing.message));
    if let Some(message) = &message {
        journal.hold(message);
    }
    let entry = Entry { number, stage, message };
    put_entry(&entry, id, outgoing, journal);
    entry
}

/// The entry's message is held already.
fn put_entry(entry: &Entry, id: SessionId, outgoing: Option<&Outgoing>, journal: &mut Journal) {
    let content = outgoing.map(|outgoing| Content {
        message: journal.number_of(&outgoing.message),
        qos: outgoing.qos,
        retain: outgoing.retain,
        expires: outgoing.expires_ms.map(|at| journal.to_wall(at)),
        subscription_ids: outgoing.subscription_ids.clone(),
    });
    let record = DeliveryRecord { stage: entry.stage, content };
    journal.put(Key::Delivery(id, entry.number), record.encode());
}

fn same_will(first: Option<&Will>, second: Option<&Will>) -> bool {
    match (first, second) {
        (None, None) => true,
        (Some(first), Some(second)) => first.is_same(second),
        _ => false,
    }
}
